//! A crash at every operation on files, in four ways.
//!
//! `FIRESTEEL_CRASH_RECOVERIES` sets how many recoveries there are; with fewer than all, crash points
//! are left out evenly. `FIRESTEEL_CRASH_SEEDS` sets how many different runs of the work there are,
//! which do things at other moments and lose other parts of what was not synced; 1 by default.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use firesteel_model::{Labels, Timestamp, clock::ManualClock, storage::Appendable};
use firesteel_tsdb::{
    Db, DbBuilder, Durability,
    fs::{Crash, SimFs},
};

use crate::{
    append_batch, clock,
    common::{append, read_all, sim_builder},
    env, expected, time,
};

const COMMITS: i64 = 120;
/// Copies of the disk that are kept at once.
const AT_ONCE: u64 = 64;
const RETENTION: Duration = Duration::from_millis(4500);
/// So many commits later comes a sample that is late.
const LATE_BY: i64 = 4;

/// What is owed from a call to the file system on.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    calls: u64,
    acknowledged: i64,
    synced: i64,
}

/// Blocks are compacted, and a head snapshot is written after every few dozen commits.
fn builder(fs: &SimFs, clock: &Arc<ManualClock>, durability: Durability) -> DbBuilder {
    sim_builder(fs, clock)
        .retention(Some(RETENTION))
        .max_block_range(Some(Duration::from_secs(3)))
        .out_of_order_window(Duration::from_secs(1))
        .head_snapshots(Some(8 << 10))
        .durability(durability)
}

fn late_series() -> Labels {
    Labels::from_pairs([("__name__", "late")])
}

/// When the late sample is that comes with the n-th commit; its value is `n`.
const fn late_time(n: i64) -> Timestamp {
    time(n - LATE_BY) + 50
}

/// The n-th commit: its batch, and from a series that has a newer sample one that is late.
fn commit(db: &Db, n: i64) {
    let mut appender = db.appender();
    append_batch(&mut *appender, n).unwrap();
    append(&mut *appender, &late_series(), time(n), n as f64).unwrap();
    if n >= LATE_BY {
        append(&mut *appender, &late_series(), late_time(n), n as f64).unwrap();
    }
    let stats = appender.commit().unwrap();
    assert_eq!(stats.rejected, 0);
}

/// The work: commits with maintenance in between, which makes blocks and checkpoints, compacts
/// blocks, deletes old ones and writes head snapshots; one restart.
fn work(fs: &SimFs, durability: Durability, seed: i64) -> Vec<Mark> {
    let clock = clock();
    let mut marks = vec![Mark::default()];
    let mut db = builder(fs, &clock, durability).open().unwrap();
    let restart = COMMITS / 2 + seed * 7 % 30;
    let mut snapshots = 0;
    for n in 0..COMMITS {
        if n == restart {
            db.close().unwrap();
            drop(db);
            mark(fs, &mut marks, n, n);
            db = builder(fs, &clock, durability).open().unwrap();
        }
        commit(&db, n);
        let synced = marks.last().unwrap().synced;
        let synced = if durability == Durability::Sync { n + 1 } else { synced };
        mark(fs, &mut marks, n + 1, synced);
        clock.advance(Duration::from_millis(400));
        if (n + seed) % 3 == 0 {
            let interval = matches!(durability, Durability::Interval(_));
            let done = db.tick(time(n)).unwrap();
            snapshots += usize::from(done.head_snapshot);
            let synced = if done.synced && interval { n + 1 } else { synced };
            mark(fs, &mut marks, n + 1, synced);
            clock.advance(Duration::from_secs(20));
        }
    }
    let longest = db.blocks().iter().map(|b| b.max_time - b.min_time).max();
    assert_eq!(
        (longest, snapshots > 1),
        (Some(3000), true),
        "nothing was compacted, or no snapshot"
    );
    db.close().unwrap();
    mark(fs, &mut marks, COMMITS, COMMITS);
    marks
}

fn mark(fs: &SimFs, marks: &mut Vec<Mark>, acknowledged: i64, synced: i64) {
    marks.push(Mark { calls: fs.calls(), acknowledged, synced });
}

/// Whole commits, nothing else, and those before `owed` without gaps; old ones may be gone by
/// retention. A power cut may take any commits that were not on disk, later ones kept. Returns how
/// many commits there were up to the newest.
fn check(db: &Db, owed: i64, what: &str) -> i64 {
    let mut by_time: BTreeMap<i64, BTreeMap<_, u64>> = BTreeMap::new();
    let mut all = read_all(db);
    let late = all.remove(&late_series()).unwrap_or_default();
    for (labels, samples) in all {
        for (t, v) in samples {
            by_time.entry(t).or_default().insert(labels.clone(), v);
        }
    }
    let what = format!("{what}; {}", db.open_report());
    let Some((&first, _)) = by_time.first_key_value() else {
        assert!(late.is_empty(), "{what}: {late:?}");
        return 0;
    };
    let mut missing = Vec::new();
    let mut next = first / 100;
    for (&t, found) in &by_time {
        let n = t / 100;
        missing.extend(next..n);
        next = n + 1;
        let expected: BTreeMap<_, _> = expected(n).into_iter().collect();
        assert!(t == time(n) && *found == expected, "{what}: commit {n} in part, or changed");
    }
    assert!(missing.iter().all(|&n| n >= owed), "{what}: {missing:?} of {owed} are missing");
    let kept = time(next) - RETENTION.as_millis() as i64;
    assert!(first <= kept.max(0), "{what}: {first} to {next}");
    check_late(&late, (0..next).filter(|n| !missing.contains(n)), kept, &what);
    next
}

/// The samples of the late series are those of these commits; all of them from `kept` on.
fn check_late(
    found: &BTreeMap<Timestamp, u64>,
    commits: impl Iterator<Item = i64>,
    kept: Timestamp,
    what: &str,
) {
    let mut expected = BTreeMap::new();
    for n in commits {
        expected.insert(time(n), (n as f64).to_bits());
        if n >= LATE_BY {
            expected.insert(late_time(n), (n as f64).to_bits());
        }
    }
    for (t, v) in found {
        assert_eq!(expected.get(t), Some(v), "{what}: the late series at {t}");
    }
    for (&t, _) in expected.range(kept..) {
        assert!(found.contains_key(&t), "{what}: the late series has nothing at {t}");
    }
}

fn recover(
    disk: &SimFs,
    mode: Crash,
    (run, durability): (i64, Durability),
    owed: Mark,
    deep: bool,
) {
    let fs = disk.fork();
    fs.crash(mode);
    let what = format!("{run}, call {}, {mode:?}, {durability:?}", owed.calls);
    let clock = clock();
    let open = || builder(&fs, &clock, durability).open();
    let db = open().unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(db.open_report().quarantined.is_empty(), "{what}: {}", db.open_report());
    let least = if mode == Crash::KeepAll { owed.acknowledged } else { owed.synced };
    let found = check(&db, least, &what);
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
    assert_eq!(check(&db, least, &what), found);
    for n in found..found + 5 {
        commit(&db, n);
        db.tick(time(n)).unwrap();
    }
    assert_eq!(check(&db, least, &what), found + 5);
}

/// Crashes in all ways at every `step`-th operation of one run. Returns how many crash points and
/// recoveries there were.
fn crash_everywhere(run: (i64, Durability), calls: u64, step: u64, seeds: u64) -> (u64, u64) {
    let (mut points, mut recoveries, mut from) = (0, 0, 0);
    while from < calls {
        let fs = SimFs::new();
        fs.capture(from..from + AT_ONCE * step);
        let marks = work(&fs, run.1, run.0);
        for (i, (call, disk)) in fs.take_captured().into_iter().enumerate() {
            if !(i as u64).is_multiple_of(step) {
                continue;
            }
            points += 1;
            let at = marks.partition_point(|m| m.calls <= call) - 1;
            let owed = Mark { calls: call, ..marks[at] };
            let deep = points % 8 == 0;
            recover(&disk, Crash::KeepAll, run, owed, deep);
            recover(&disk, Crash::DropUnsynced, run, owed, deep);
            recover(&disk, Crash::NamesOnly, run, owed, deep);
            for seed in 0..seeds {
                let seed = call + seed + run.0 as u64 * 1_000_003;
                recover(&disk, Crash::Random { seed }, run, owed, deep);
            }
            recoveries += 3 + seeds;
        }
        from += AT_ONCE * step;
    }
    (points, recoveries)
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_is_owed() {
    let wanted = env("FIRESTEEL_CRASH_RECOVERIES", 10_000);
    let runs = env("FIRESTEEL_CRASH_SEEDS", 1).max(1) as i64;
    let levels = [Durability::default(), Durability::Sync, Durability::Os];
    let all: Vec<_> = (0..runs).flat_map(|run| levels.map(|level| (run, level))).collect();
    let calls: Vec<u64> = all
        .iter()
        .map(|&(run, level)| {
            let fs = SimFs::new();
            work(&fs, level, run);
            fs.calls()
        })
        .collect();
    // Calls that only read are no crash points; so this is a little too coarse, never too fine.
    let total = calls.iter().sum::<u64>() * 4;
    let seeds = (wanted / total).max(1);
    let step = (total * seeds / wanted).max(1);
    for (&run, &calls) in all.iter().zip(&calls) {
        let (points, recoveries) = crash_everywhere(run, calls, step, seeds);
        println!("{run:?}: {recoveries} recoveries from {points} points of {calls} operations");
    }
}
