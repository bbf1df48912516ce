//! A block takes the place of samples in the head, and series end, while they are read and appended
//! to: nobody misses a sample, sees one twice, or finds another series' samples under a number.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use firesteel_model::{
    Labels, Value,
    clock::ManualClock,
    storage::{AppendError, AppendOptions, Appendable, Queryable, SeriesKey, SeriesRef},
};

use super::{Acknowledged, commit, head, read, series, whole_commits};
use crate::{
    Db,
    fs::SimFs,
    head::Head,
    sync::{
        RwLock,
        model::{Task, explore},
    },
};

struct Database {
    db: Db,
    all: Vec<Labels>,
    ended: Labels,
    acknowledged: Acknowledged,
}

/// The head is about to be due for a block.
fn database() -> Database {
    let db = Db::builder("/data")
        .fs(Arc::new(SimFs::new()))
        .clock(Arc::new(ManualClock::new(0)))
        .block_range(Duration::from_millis(4))
        .retention(None)
        .head_snapshots(None)
        .open_threads(1)
        .reserve(0)
        .seed(1);
    let db = db.open().unwrap();
    let all = vec![series(0, 0), series(0, 1)];
    let ended = series(1, 0);
    for t in 1..7 {
        let ended = (t < 3).then(|| ended.clone());
        commit(db.appender(), all.iter().cloned().chain(ended), t).unwrap();
    }
    Database { db, all, ended, acknowledged: Default::default() }
}

fn check(state: &Database, known: i64) {
    let querier = state.db.querier(i64::MIN, i64::MAX).unwrap();
    let all = read(&*querier, &[]);
    assert!(whole_commits(&all, &state.all, 1) >= known.max(6));
    assert_eq!(whole_commits(&all, std::slice::from_ref(&state.ended), 1), 2);
    assert_eq!(read(&*querier, &[]), all, "a view has changed");
}

#[test]
fn a_block_takes_the_place_of_samples_that_are_read() {
    let write = |state: &Database| {
        for t in 7..10 {
            commit(state.db.appender(), state.all.iter().cloned(), t).unwrap();
            state.acknowledged[0].store(t, Ordering::Release);
        }
    };
    let maintain = |state: &Database| {
        for _ in 0..2 {
            state.db.tick(0).unwrap();
        }
    };
    let reader = |state: &Database| {
        for _ in 0..2 {
            check(state, state.acknowledged[0].load(Ordering::Acquire));
        }
    };
    let after = |state: &Database| {
        state.db.tick(0).unwrap();
        check(state, 9);
        assert!(!state.db.blocks().is_empty(), "no block was made");
        assert_eq!(state.db.stats(0).num_series, 2);
    };
    explore(80, database, vec![Box::new(write), Box::new(maintain), Box::new(reader)], after);
}

struct Ending {
    head: Arc<Head>,
    /// As in the database: samples before this are not asked for any more.
    head_from: RwLock<i64>,
    old: Vec<(Labels, SeriesRef)>,
}

/// Series with samples at 1 and 2, which a truncation then takes away.
fn ending() -> Ending {
    let head = head(1000);
    let all: Vec<_> = (0..3).map(|i| series(0, i)).collect();
    for t in 1..3 {
        commit(head.appender(), all.iter().cloned(), t).unwrap();
    }
    let mut appender = head.appender();
    let mut reference = |labels: &Labels| {
        let (key, value) = (SeriesKey::Labels(labels), Value::Float(9.0));
        appender.append(key, 9, value, &AppendOptions::default()).unwrap()
    };
    let old = all.iter().map(|l| (l.clone(), reference(l))).collect();
    drop(appender);
    Ending { head, head_from: RwLock::new(i64::MIN), old }
}

/// The samples of a group are at its own times: the old and the new series have none in common.
fn check_group(all: &super::Samples, group: &str, times: std::ops::Range<i64>) {
    for (labels, samples) in all.iter().filter(|(l, _)| l.get("group") == Some(group)) {
        for (&t, &v) in samples {
            assert!(times.contains(&t) && v == t as f64, "{labels}: {samples:?}");
        }
    }
}

#[test]
fn numbers_of_ended_series_are_not_used_while_they_are_read() {
    let truncate = |state: &Ending| {
        state.head.raise_min_valid(3);
        *state.head_from.write() = 3;
        state.head.truncate(3);
        for _ in 0..3 {
            state.head.reclaim();
        }
    };
    let create = |state: &Ending| {
        for t in 20..23 {
            let all = (0..3).map(|i| series(1, i + 3 * t as usize));
            commit(state.head.appender(), all, t).unwrap();
        }
    };
    // An appender that knows the old series by their references: they take its samples, or are not
    // known any more; no other series gets them.
    let cached = |state: &Ending| {
        let mut appender = state.head.appender();
        let mut accepted = 0;
        for (_, reference) in &state.old {
            let (key, value) = (SeriesKey::Ref(*reference), Value::Float(10.0));
            match appender.append(key, 10, value, &AppendOptions::default()) {
                Ok(_) => accepted += 1,
                Err(AppendError::UnknownSeries) => {}
                Err(error) => panic!("{error}"),
            }
        }
        match appender.commit() {
            Ok(stats) => assert_eq!(stats.samples + stats.rejected, accepted),
            Err(error) => panic!("{error}"),
        }
    };
    let reader = |state: &Ending| {
        for _ in 0..2 {
            let from = state.head_from.read();
            let querier = state.head.querier(i64::MIN, i64::MAX, *from);
            let old = *from < 3;
            drop(from);
            let all = read(&querier, &[]);
            check_group(&all, "g0", 1..11);
            check_group(&all, "g1", 20..23);
            for (labels, _) in &state.old {
                let seen =
                    all.get(labels).is_some_and(|s| s.contains_key(&1) && s.contains_key(&2));
                assert_eq!(seen, old, "{labels}: {all:?}");
            }
            assert_eq!(read(&querier, &[]), all, "a view has changed");
        }
    };
    let after = |state: &Ending| {
        state.head.reclaim();
        let all = read(&state.head.querier(i64::MIN, i64::MAX, i64::MIN), &[]);
        check_group(&all, "g0", 1..11);
        check_group(&all, "g1", 20..23);
        assert_eq!(all.keys().filter(|l| l.get("group") == Some("g1")).count(), 9);
    };
    let tasks: Vec<Task<Ending>> =
        vec![Box::new(truncate), Box::new(create), Box::new(cached), Box::new(reader)];
    explore(300, ending, tasks, after);
}
