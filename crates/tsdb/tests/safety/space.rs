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
    env, expected_all, time,
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
        db.tick(wall).unwrap();
        // Blocks go as parts of others; no sample does.
        if n % 10 == 9 {
            assert_same(&read_all(&db), &expected_all(n + 1));
        }
    }
    assert!(!db.blocks().is_empty());
    assert_same(&read_all(&db), &expected_all(80));
    drop(db);
    clock.set_wall(-YEAR);
    let db = sim_builder(&fs, &clock).retention(kept).open().unwrap();
    commit(&db, 80).unwrap();
    db.tick(-YEAR).unwrap();
    assert_same(&read_all(&db), &expected_all(81));
}

/// Unmounts when it is dropped.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The same on a real file system of 16 MiB, where this process may mount one.
#[test]
fn a_full_disk_of_the_real_kind() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir_all(&disk).unwrap();
    let mut mount = std::process::Command::new("mount");
    let mounted = mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|o| o.status.success()) {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: this process may not mount a disk");
        return;
    }
    let mounted = Mounted(disk.clone());
    let (clock, data) = (clock(), disk.join("data"));
    let open = || {
        firesteel_tsdb::Db::builder(&data)
            .clock(clock.clone())
            .block_range(Duration::from_secs(10))
            .wal_segment_size(256 << 10)
            .retention(None)
            .reserve(1 << 20)
            .open()
            .unwrap()
    };
    let free = || {
        let os = firesteel_tsdb::fs::OsFs::new();
        os.space(&disk).unwrap().free
    };
    let mut db = open();
    db.tick(0).unwrap();
    assert!(free() <= 15 << 20, "the reserve takes space: {}", free());
    let mut n = 0;
    for round in 0..env("FIRESTEEL_DISK_ROUNDS", 3) {
        for _ in 0..50 {
            commit(&db, n).unwrap();
            n += 1;
        }
        db.tick(time(n)).unwrap();
        let ballast = disk.join("ballast");
        let left = usize::try_from(free()).unwrap();
        std::fs::write(&ballast, vec![1; left - 40_000]).unwrap();
        while commit(&db, n).is_ok() {
            n += 1;
        }
        for _ in 0..5 {
            clock.advance(Duration::from_secs(11));
            let _ = db.tick(time(n));
            // Compaction may have made some space with the reserve's.
            match commit(&db, n) {
                Ok(_) => n += 1,
                Err(error) => assert!(matches!(error, AppendError::OutOfSpace(_)), "{error}"),
            }
            assert_same(&read_all(&db), &expected_all(n));
        }
        std::fs::remove_file(&ballast).unwrap();
        commit(&db, n).unwrap_or_else(|e| panic!("round {round}: {e}"));
        n += 1;
        clock.advance(Duration::from_millis(500));
        db.tick(time(n)).unwrap();
        // Dropped, not closed: as after a kill.
        drop(db);
        db = open();
        assert_same(&read_all(&db), &expected_all(n));
        db.tick(time(n)).unwrap();
        assert!(free() <= 15 << 20, "the reserve is there again: {}", free());
    }
    drop(db);
    drop(mounted);
}
