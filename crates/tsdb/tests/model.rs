//! The database against a map, under random work, restarts, crashes and failures.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code outside of test functions")]

mod common;

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::{
    Samples, append, commit_all, crashes::CrashTest, labels, read, read_all, read_newest,
    sim_builder,
};
use firesteel_model::{Labels, Matcher, clock::ManualClock, storage::Appendable};
use firesteel_tsdb::{
    Db, Durability, WalPosition,
    fs::{Crash, Fault, SimFs},
    wal::follow::{WalBatch, WalCursor, WalRead},
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Samples of a transaction: series, time relative to the newest, value; and whether it
    /// commits.
    Append(Vec<(usize, i64, u8)>, bool),
    Tick,
    Restart,
    Flush,
    Verify,
    /// Whoever follows the log reads up to its end.
    Follow,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let samples = prop::collection::vec((0_usize..12, -20_i64..60, any::<u8>()), 1..20);
    let step = prop_oneof![
        12 => (samples, prop::bool::weighted(0.9)).prop_map(|(s, c)| Step::Append(s, c)),
        2 => Just(Step::Tick),
        1 => Just(Step::Restart),
        1 => Just(Step::Flush),
        1 => Just(Step::Verify),
        1 => Just(Step::Follow),
    ];
    prop::collection::vec(step, 1..120)
}

/// What the database should hold.
#[derive(Default)]
struct Model {
    samples: Samples,
    newest: i64,
}

impl Model {
    /// Runs a transaction on both.
    fn transaction(&mut self, db: &Db, samples: &[(usize, i64, u8)], commit: bool) {
        let mut a = db.appender();
        let base = self.newest;
        let mut accepted: BTreeMap<(Labels, i64), u64> = BTreeMap::new();
        let mut last: BTreeMap<Labels, i64> = BTreeMap::new();
        for &(series, dt, v) in samples {
            let (labels, t, v) = (labels(series), base + dt, f64::from(v));
            if append(&mut *a, &labels, t, v).is_ok() {
                let known = self.samples.get(&labels).and_then(|s| s.last_key_value());
                let before = last.get(&labels).copied().or(known.map(|(t, _)| *t));
                // What is not newer is either there already or is left out by the commit.
                if before.is_none_or(|before| t > before) {
                    last.insert(labels.clone(), t);
                    accepted.insert((labels, t), v.to_bits());
                }
            }
        }
        if !commit {
            return;
        }
        let stats = a.commit().unwrap();
        assert_eq!(stats.samples, accepted.len() as u64);
        for ((labels, t), v) in accepted {
            self.samples.entry(labels).or_default().insert(t, v);
            self.newest = self.newest.max(t);
        }
    }
}

/// Who follows the log, over restarts.
#[derive(Default)]
struct Follower {
    position: WalPosition,
    cursor: Option<WalCursor>,
    series: BTreeMap<u64, Labels>,
    samples: Samples,
}

impl Follower {
    fn begin(&mut self, db: &Db) {
        let mut cursor = db.wal_cursor(Some(self.position)).unwrap();
        cursor.keep_segments(1 << 30);
        self.cursor = Some(cursor);
        self.series.clear();
    }

    /// Every sample comes once.
    fn read(&mut self) {
        let cursor = self.cursor.as_mut().unwrap();
        let mut batch = WalBatch::default();
        loop {
            match cursor.read(&mut batch).unwrap() {
                WalRead::Batch => {
                    self.series
                        .extend(batch.series.iter().map(|s| (s.reference, s.labels.clone())));
                    for s in &batch.samples {
                        let samples =
                            self.samples.entry(self.series[&s.series].clone()).or_default();
                        assert_eq!(samples.insert(s.t, s.v.to_bits()), None);
                    }
                }
                WalRead::CaughtUp => break,
                skipped @ WalRead::Skipped { .. } => panic!("{skipped:?}"),
            }
        }
        self.position = cursor.position();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: common::cases(40), max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_map(steps in steps()) {
        let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
        let open = || sim_builder(&fs, &clock).retention(None).open().unwrap();
        let mut db = open();
        let mut model = Model { newest: 5000, ..Model::default() };
        let mut follower = Follower::default();
        follower.begin(&db);
        for step in &steps {
            match step {
                Step::Append(samples, commit) => model.transaction(&db, samples, *commit),
                Step::Tick => {
                    clock.advance(Duration::from_secs(70));
                    db.tick(0).unwrap();
                }
                Step::Flush => drop(db.flush_full_ranges(0).unwrap()),
                Step::Restart => {
                    drop(db);
                    fs.crash(Crash::KeepAll);
                    db = open();
                    prop_assert!(db.open_report().is_clean(), "{}", db.open_report());
                    follower.begin(&db);
                }
                Step::Verify => {
                    let report = db.verify(&mut |_| ControlFlow::Continue(())).unwrap();
                    prop_assert_eq!(report.findings, []);
                }
                Step::Follow => follower.read(),
            }
            model.newest += 7;
        }
        prop_assert_eq!(read_all(&db), model.samples.clone());
        // What was read before may come out of memory now.
        for _ in 0..3 {
            prop_assert_eq!(read_all(&db), model.samples.clone());
        }
        for maxt in [i64::MAX, model.newest / 2, model.newest - 7] {
            let mint = maxt.saturating_sub(model.newest / 3);
            let mut newest = read(&db, mint, maxt, &[]);
            newest.values_mut().for_each(|s| *s = s.pop_last().into_iter().collect());
            prop_assert_eq!(read_newest(&db, mint, maxt), newest);
        }
        follower.read();
        prop_assert_eq!(&follower.samples, &model.samples);
        let mut odd = model.samples;
        odd.retain(|l, _| l.has("odd") && l.get("job") != Some("job-1"));
        let matchers = [Matcher::equal("odd", "odd"), Matcher::not_equal("job", "job-1")];
        prop_assert_eq!(read(&db, i64::MIN, i64::MAX, &matchers), odd);
    }
}

/// The work of the crash tests: commits of all series, each with a number, and maintenance. Calls
/// `acknowledged` after each commit. Stops at the first failure.
fn work(
    db: &Db,
    clock: &ManualClock,
    acknowledged: &mut dyn FnMut(i64),
) -> Result<(), Box<dyn std::error::Error>> {
    for n in 0..60_i64 {
        let mut a = db.appender();
        for i in 0..6 {
            append(&mut *a, &labels(i + (n / 20) as usize), 100 * n, n as f64)?;
        }
        a.commit()?;
        acknowledged(n);
        clock.advance(Duration::from_millis(400));
        if n % 3 == 0 {
            db.tick(0)?;
        }
    }
    Ok(db.close()?)
}

/// Checks a database after a crash: whole batches, in order, without gaps; returns how many.
fn check_prefix(db: &Db) -> i64 {
    let all = read_all(db);
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    for samples in all.values() {
        for (&t, &v) in samples {
            assert_eq!(v, ((t / 100) as f64).to_bits(), "a wrong value");
            *times.entry(t).or_default() += 1;
        }
    }
    for (i, (&t, &n)) in times.iter().enumerate() {
        assert_eq!((t, n), (100 * i as i64, 6), "a batch in part, or a gap: {}", db.open_report());
    }
    times.len() as i64
}

const CRASHES: CrashTest =
    CrashTest { builder: |fs, clock| sim_builder(fs, clock).retention(None), work, check_prefix };

/// Every n-th call to the file system is the last that works.
#[test]
fn a_crash_at_any_call_loses_nothing_acknowledged() {
    CRASHES.at_any_call(5, |_, db, _| commit_all(&db, 3, 100_000, 1.0));
}

/// A single call fails, the process goes on.
#[test]
fn a_single_failure_loses_nothing_acknowledged() {
    let calls = CRASHES.calls();
    for after in (0..calls).step_by(4) {
        for error in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other] {
            let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
            let open = || sim_builder(&fs, &clock).retention(None).open();
            fs.fail(Fault { kind: None, after, times: 1, error });
            let Ok(db) = open() else { continue };
            let mut expected = Samples::new();
            for n in 0..60_i64 {
                let mut a = db.appender();
                for i in 0..6 {
                    append(&mut *a, &labels(i), 100 * n, n as f64).unwrap();
                }
                if a.commit().is_ok() {
                    for i in 0..6 {
                        expected
                            .entry(labels(i))
                            .or_default()
                            .insert(100 * n, (n as f64).to_bits());
                    }
                }
                clock.advance(Duration::from_secs(11));
                let _ = db.tick(0);
            }
            let read = std::panic::catch_unwind(AssertUnwindSafe(|| read_all(&db)));
            assert_eq!(read.unwrap(), expected, "call {after} {error}");
            drop(db);
            fs.crash(Crash::KeepAll);
            let db = open().unwrap();
            assert_eq!(read_all(&db), expected, "call {after} {error}: {}", db.open_report());
        }
    }
}

/// Readers see batches whole, and what they have seen once they see again.
#[test]
fn a_reader_sees_a_batch_whole_or_not_at_all() {
    const SERIES: usize = 300;
    let db = Db::in_memory();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for t in 0..4000 {
                commit_all(&db, SERIES, t, 0.0);
            }
            stop.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut newest = 0;
                while !stop.load(Ordering::Acquire) {
                    let all = read_all(&db);
                    let lens: Vec<_> = all.values().map(BTreeMap::len).collect();
                    if let (Some(&min), Some(&max)) = (lens.iter().min(), lens.iter().max()) {
                        assert_eq!((min, lens.len()), (max, SERIES));
                        assert!(min >= newest, "samples vanished");
                        newest = min;
                    }
                }
            });
        }
    });
    assert_eq!(read_all(&db).len(), SERIES);
}

/// Several writers at once share the log.
#[test]
fn concurrent_commits_are_all_logged() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = sim_builder(&fs, &clock).durability(Durability::Sync).open().unwrap();
    std::thread::scope(|scope| {
        for w in 0..4_usize {
            let db = &db;
            scope.spawn(move || {
                for t in 1..100 {
                    let mut a = db.appender();
                    for i in 0..5 {
                        append(&mut *a, &labels(w * 5 + i), t, 1.0).unwrap();
                    }
                    assert_eq!(a.commit().unwrap().samples, 5);
                }
            });
        }
    });
    let all = read_all(&db);
    assert!(all.len() == 20 && all.values().all(|s| s.len() == 99));
    drop(db);
    fs.crash(Crash::DropUnsynced);
    let db = sim_builder(&fs, &clock).open().unwrap();
    assert_eq!(read_all(&db), all);
}
