//! Full disks and clocks that jump.

use std::{sync::Arc, time::Duration};

use firesteel_model::storage::AppendError;
use firesteel_tsdb::{
    Event,
    fs::{Crash, Fs, SimFs},
};
use parking_lot::Mutex;

use crate::{
    clock, commit,
    common::{DIR, assert_same, read_all, sim_builder},
    expected_all, time,
};

fn name(event: &Event) -> &'static str {
    match event {
        Event::BlockWritten { .. } => "block written",
        Event::BlocksDeleted { .. } => "blocks deleted",
        Event::OutOfSpace { .. } => "out of space",
        Event::IngestionResumed => "resumed",
        _ => "other",
    }
}

#[test]
fn a_full_disk_stops_commits_only_and_they_come_back() {
    let (fs, clock) = (SimFs::new(), clock());
    fs.set_total(3 << 20);
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let db = sim_builder(&fs, &clock)
        .retention(None)
        .reserve(256 << 10)
        .on_event(Arc::new(move |e: &Event| heard.lock().push(name(e))))
        .open()
        .unwrap();
    db.tick(0).unwrap();
    let mut n = 0;
    for round in 0..5 {
        for _ in 0..20 {
            commit(&db, n).unwrap();
            n += 1;
        }
        db.tick(time(n)).unwrap();
        let free = || fs.space(std::path::Path::new(DIR)).unwrap().free;
        // Somebody else fills the disk.
        fs.set_total((3 << 20) - free() + 2000);
        let refused = loop {
            match commit(&db, n) {
                Ok(_) => n += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(&refused, AppendError::OutOfSpace(_)), "{refused}");
        assert!(refused.to_string().contains("space"), "{refused}");
        for _ in 0..20 {
            // Maintenance goes on with the reserve; commits do not take it.
            clock.advance(Duration::from_secs(11));
            let _ = db.tick(time(n));
            assert!(commit(&db, n).is_err());
        }
        assert!(events.lock().contains(&"out of space"), "round {round}");
        assert_same(&read_all(&db), &expected_all(n));
        fs.set_total(3 << 20);
        clock.advance(Duration::from_millis(500));
        db.tick(time(n)).unwrap();
        commit(&db, n).unwrap();
        n += 1;
        clock.advance(Duration::from_millis(500));
        db.tick(time(n)).unwrap();
        assert!(events.lock().contains(&"resumed"), "round {round}");
        events.lock().clear();
    }
    assert_same(&read_all(&db), &expected_all(n));
    drop(db);
    fs.crash(Crash::KeepAll);
    let db = sim_builder(&fs, &clock).retention(None).open().unwrap();
    assert_same(&read_all(&db), &expected_all(n));
}

/// A full disk when a block is due: the reserve lets it be written.
#[test]
fn the_reserve_lets_a_block_be_made() {
    let (fs, clock) = (SimFs::new(), clock());
    fs.set_total(4 << 20);
    let db = sim_builder(&fs, &clock).retention(None).reserve(1 << 20).open().unwrap();
    db.tick(0).unwrap();
    for n in 0..30 {
        commit(&db, n).unwrap();
    }
    let free = fs.space(std::path::Path::new(DIR)).unwrap().free;
    fs.set_total((4 << 20) - free);
    let mut made = 0;
    for _ in 0..4 {
        clock.advance(Duration::from_secs(1));
        // The first finds the disk full and frees the reserve.
        made += db.tick(time(30)).map_or(0, |done| done.blocks_made.len());
    }
    assert!(made > 0);
    assert_same(&read_all(&db), &expected_all(30));
}

/// The wall clock decides nothing but names.
#[test]
fn a_clock_that_jumps_neither_deletes_nor_blocks() {
    const YEAR: i64 = 365 * 86_400_000;
    let (fs, clock) = (SimFs::new(), clock());
    let kept = Some(Duration::from_secs(3600));
    let db = sim_builder(&fs, &clock).retention(kept).open().unwrap();
    for n in 0..80 {
        let wall = match n / 10 % 4 {
            0 => time(n),
            1 => time(n) + 30 * YEAR,
            2 => -20 * YEAR,
            _ => i64::MAX,
        };
        clock.set_wall(wall);
        commit(&db, n).unwrap();
        clock.advance(Duration::from_secs(61));
        clock.set_wall(wall);
        let done = db.tick(wall).unwrap();
        assert!(done.blocks_deleted.is_empty(), "at {wall}");
    }
    assert!(db.blocks().len() >= 4);
    assert_same(&read_all(&db), &expected_all(80));
    drop(db);
    clock.set_wall(-YEAR);
    let db = sim_builder(&fs, &clock).retention(kept).open().unwrap();
    commit(&db, 80).unwrap();
    db.tick(-YEAR).unwrap();
    assert_same(&read_all(&db), &expected_all(81));
}
