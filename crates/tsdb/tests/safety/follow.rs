//! Following the log.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use firesteel_model::Labels;
use firesteel_tsdb::{
    WalPosition,
    fs::{Crash, Fs, Open, SimFs},
    wal::follow::{WalBatch, WalCursor, WalRead},
};

use crate::{
    batch, clock, commit,
    common::{DIR, sim_builder},
    time,
};

/// What a follower knows.
#[derive(Default)]
struct Follower {
    series: HashMap<u64, Labels>,
    /// Samples by commit.
    commits: Vec<(i64, Vec<Labels>)>,
    skipped: Vec<(WalPosition, WalPosition, String)>,
}

impl Follower {
    /// Reads up to the end; returns the batches that were new.
    fn read(&mut self, cursor: &mut WalCursor) -> usize {
        let (mut batch, mut n) = (WalBatch::default(), 0);
        loop {
            match cursor.read(&mut batch).unwrap() {
                WalRead::CaughtUp => return n,
                WalRead::Skipped { from, to, why } => self.skipped.push((from, to, why)),
                WalRead::Batch => {
                    assert_eq!(batch.bad_records, 0);
                    for s in &batch.series {
                        self.series.insert(s.reference, s.labels.clone());
                    }
                    if batch.known {
                        assert!(batch.samples.is_empty() && batch.histograms.is_empty());
                        continue;
                    }
                    n += 1;
                    let floats = batch.samples.iter().map(|s| (s.series, s.t));
                    let all = floats.chain(batch.histograms.iter().map(|h| (h.series, h.t)));
                    let (mut labels, mut t) = (Vec::new(), 0);
                    for (series, at) in all {
                        labels.push(self.series[&series].clone());
                        t = at;
                    }
                    self.commits.push((t / 100, labels));
                }
            }
        }
    }

    /// Whether it has these commits, each whole.
    fn check(&self, commits: impl Iterator<Item = i64>) {
        let expected: Vec<i64> = commits.collect();
        assert_eq!(self.commits.iter().map(|c| c.0).collect::<Vec<_>>(), expected);
        for (n, found) in &self.commits {
            let mut found = found.clone();
            let mut all: Vec<_> = batch(*n).into_iter().map(|(labels, _)| labels).collect();
            found.sort();
            all.sort();
            assert_eq!(found, all, "commit {n}");
        }
    }
}

#[test]
fn every_commit_once_over_segments_and_restarts() {
    let (fs, clock) = (SimFs::new(), clock());
    let open = || sim_builder(&fs, &clock).retention(None).open().unwrap();
    let mut db = open();
    let mut follower = Follower::default();
    let mut cursor = db.wal_cursor(Some(WalPosition::default())).unwrap();
    assert!(!cursor.wait(Duration::ZERO));
    for n in 0..40 {
        commit(&db, n).unwrap();
        if n % 3 == 0 {
            assert!(cursor.wait(Duration::ZERO));
            follower.read(&mut cursor);
            assert!(!cursor.wait(Duration::ZERO));
        }
        if n % 10 == 9 {
            // Another process, another cursor: it goes on where the last one was.
            let position = cursor.position();
            drop(db);
            fs.crash(Crash::KeepAll);
            db = open();
            follower.series.clear();
            cursor = db.wal_cursor(Some(position)).unwrap();
        }
    }
    follower.read(&mut cursor);
    assert_eq!(follower.skipped, []);
    follower.check(0..40);
    assert!(cursor.position().segment >= 4, "{cursor:?}");
    // From now on only what comes.
    let mut late = db.wal_cursor(None).unwrap();
    commit(&db, 40).unwrap();
    let mut follower = Follower::default();
    assert_eq!(follower.read(&mut late), 1);
    follower.check(40..41);
}

#[test]
fn a_position_that_is_gone_is_told_and_the_rest_is_read() {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).retention(None).open().unwrap();
    let mut slow = db.wal_cursor(None).unwrap();
    let mut kept = db.wal_cursor(None).unwrap();
    kept.keep_segments(1 << 20);
    let mut limited = db.wal_cursor(None).unwrap();
    limited.keep_segments(1000);
    drop(limited);
    for n in 0..60 {
        commit(&db, n).unwrap();
        db.tick(time(n)).unwrap();
    }
    let mut all = Follower::default();
    all.read(&mut kept);
    all.check(0..60);
    assert_eq!(all.skipped, []);
    // Once it has read them they go.
    for n in 60..80 {
        commit(&db, n).unwrap();
        db.tick(time(n)).unwrap();
    }
    let first = fs.read_dir(&Path::new(DIR).join("wal")).unwrap()[0].name.clone();
    assert_ne!(first, "00000000");
    let mut some = Follower::default();
    some.read(&mut slow);
    assert_eq!(some.skipped.len(), 1, "{:?}", some.skipped);
    let from = some.commits[0].0;
    assert!(from > 0);
    some.check(from..80);
}

#[test]
fn damage_is_skipped_and_told() {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).retention(None).open().unwrap();
    for n in 0..10 {
        commit(&db, n).unwrap();
    }
    let mut cursor = db.wal_cursor(Some(WalPosition::default())).unwrap();
    let (mut batch, mut middle) = (WalBatch::default(), 0);
    for _ in 0..5 {
        assert_eq!(cursor.read(&mut batch).unwrap(), WalRead::Batch);
        middle = cursor.position().offset;
    }
    let path = Path::new(DIR).join("wal/00000000");
    let file = fs.open(&path, Open::Write).unwrap();
    file.write_all_at(&[0xee; 4], middle + 30).unwrap();
    let mut cursor = db.wal_cursor(Some(WalPosition::default())).unwrap();
    let mut follower = Follower::default();
    let (mut commits, mut told) = (0, 0);
    loop {
        match cursor.read(&mut batch).unwrap() {
            WalRead::Batch => commits += 1,
            WalRead::Skipped { .. } => told += 1,
            WalRead::CaughtUp => break,
        }
    }
    assert!(told >= 1 && commits >= 9, "{commits} commits, told {told} times");
    // A position that the log never had.
    let far = WalPosition { segment: 99, offset: 5 };
    let mut cursor = db.wal_cursor(Some(far)).unwrap();
    follower.read(&mut cursor);
    assert!(follower.skipped.iter().any(|s| s.0 == far));
    drop(Arc::new(db));
}
