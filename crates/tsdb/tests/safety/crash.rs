//! A crash at every operation on files, in four ways.
//!
//! `FIRESTEEL_CRASH_RECOVERIES` sets how many recoveries there are; with fewer than all, crash points
//! are left out evenly.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use firesteel_model::clock::ManualClock;
use firesteel_tsdb::{
    Db, DbBuilder, Durability,
    fs::{Crash, SimFs},
};

use crate::{
    clock, commit,
    common::{read_all, sim_builder},
    env, expected, time,
};

const COMMITS: i64 = 120;
/// Copies of the disk that are kept at once.
const AT_ONCE: u64 = 64;
const RETENTION: Duration = Duration::from_millis(2500);

/// What is owed from a call to the file system on.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    calls: u64,
    acknowledged: i64,
    synced: i64,
}

fn builder(fs: &SimFs, clock: &Arc<ManualClock>, durability: Durability) -> DbBuilder {
    sim_builder(fs, clock).retention(Some(RETENTION)).durability(durability)
}

/// The work: commits with maintenance in between, which makes blocks and checkpoints and deletes old
/// blocks; one restart.
fn work(fs: &SimFs, durability: Durability) -> Vec<Mark> {
    let clock = clock();
    let mut marks = vec![Mark::default()];
    let mut db = builder(fs, &clock, durability).open().unwrap();
    for n in 0..COMMITS {
        if n == COMMITS / 2 {
            db.close().unwrap();
            drop(db);
            mark(fs, &mut marks, n, n);
            db = builder(fs, &clock, durability).open().unwrap();
        }
        commit(&db, n).unwrap();
        let synced = marks.last().unwrap().synced;
        let synced = if durability == Durability::Sync { n + 1 } else { synced };
        mark(fs, &mut marks, n + 1, synced);
        clock.advance(Duration::from_millis(400));
        if n % 3 == 0 {
            let interval = matches!(durability, Durability::Interval(_));
            let done = db.tick(time(n)).unwrap();
            let synced = if done.synced && interval { n + 1 } else { synced };
            mark(fs, &mut marks, n + 1, synced);
            clock.advance(Duration::from_secs(20));
        }
    }
    db.close().unwrap();
    mark(fs, &mut marks, COMMITS, COMMITS);
    marks
}

fn mark(fs: &SimFs, marks: &mut Vec<Mark>, acknowledged: i64, synced: i64) {
    marks.push(Mark { calls: fs.calls(), acknowledged, synced });
}

/// Whole commits, nothing else, without gaps; old ones may be gone by retention. Returns how many
/// there were up to the newest.
fn check(db: &Db, what: &str) -> i64 {
    let mut by_time: BTreeMap<i64, BTreeMap<_, u64>> = BTreeMap::new();
    for (labels, samples) in read_all(db) {
        for (t, v) in samples {
            by_time.entry(t).or_default().insert(labels.clone(), v);
        }
    }
    let report = db.open_report();
    let Some((&first, _)) = by_time.first_key_value() else { return 0 };
    for (i, (&t, found)) in by_time.iter().enumerate() {
        let n = first / 100 + i as i64;
        assert_eq!(t, time(n), "{what}: a gap; {report}");
        let expected: BTreeMap<_, _> = expected(n).into_iter().collect();
        assert!(*found == expected, "{what}: commit {n} in part, or changed; {report}");
    }
    let last = first / 100 + by_time.len() as i64;
    let kept = RETENTION.as_millis() as i64;
    assert!(first <= (time(last) - kept).max(0), "{what}: {first} to {last}; {report}");
    last
}

fn recover(disk: &SimFs, mode: Crash, durability: Durability, owed: Mark, deep: bool) {
    let fs = disk.fork();
    fs.crash(mode);
    let what = format!("call {}, {mode:?}, {durability:?}", owed.calls);
    let clock = clock();
    let open = || builder(&fs, &clock, durability).open();
    let db = open().unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(db.open_report().quarantined.is_empty(), "{what}: {}", db.open_report());
    let found = check(&db, &what);
    let least = if mode == Crash::KeepAll { owed.acknowledged } else { owed.synced };
    assert!(
        found >= least && found <= owed.acknowledged + 1,
        "{what}: {found} commits, at least {least}, at most {} + 1; {}",
        owed.acknowledged,
        db.open_report()
    );
    if !deep {
        return;
    }
    // A second start finds nothing to do, and work goes on from there.
    drop(db);
    let db = open().unwrap();
    assert!(db.open_report().is_clean(), "{what}: {}", db.open_report());
    assert_eq!(check(&db, &what), found);
    for n in found..found + 5 {
        commit(&db, n).unwrap();
        db.tick(time(n)).unwrap();
    }
    assert_eq!(check(&db, &what), found + 5);
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_is_owed() {
    let wanted = env("FIRESTEEL_CRASH_RECOVERIES", 10_000);
    let levels = [Durability::default(), Durability::Sync, Durability::Os];
    let calls: Vec<u64> = levels
        .iter()
        .map(|&level| {
            let fs = SimFs::new();
            work(&fs, level);
            fs.calls()
        })
        .collect();
    // Calls that only read are no crash points; so this is a little too coarse, never too fine.
    let seeds = (wanted / (calls.iter().sum::<u64>() * 4)).max(1);
    let step = (calls.iter().sum::<u64>() * 4 * seeds / wanted).max(1);
    let (mut points, mut recoveries) = (0, 0);
    for (&durability, &calls) in levels.iter().zip(&calls) {
        let mut from = 0;
        while from < calls {
            let fs = SimFs::new();
            fs.capture(from..from + AT_ONCE * step);
            let marks = work(&fs, durability);
            for (i, (call, disk)) in fs.take_captured().into_iter().enumerate() {
                if !(i as u64).is_multiple_of(step) {
                    continue;
                }
                points += 1;
                let at = marks.partition_point(|m| m.calls <= call) - 1;
                let owed = Mark { calls: call, ..marks[at] };
                let deep = points % 8 == 0;
                recover(&disk, Crash::KeepAll, durability, owed, deep);
                recover(&disk, Crash::DropUnsynced, durability, owed, deep);
                recover(&disk, Crash::NamesOnly, durability, owed, deep);
                for seed in 0..seeds {
                    recover(&disk, Crash::Random { seed: call + seed }, durability, owed, deep);
                }
                recoveries += 3 + seeds;
            }
            from += AT_ONCE * step;
        }
    }
    println!("{recoveries} recoveries from {points} crash points of {calls:?} operations");
}
