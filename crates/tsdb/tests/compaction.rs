//! Blocks that are compacted, deleted from, copied and given up, through the database.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code outside of test functions")]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use common::{DIR, Samples, append, assert_same, commit_all, labels, read_all, sim_builder};
use firesteel_model::{
    Matcher,
    clock::ManualClock,
    storage::{Appendable, Queryable},
};
use firesteel_tsdb::{
    Db, DbBuilder,
    block::BlockMeta,
    fs::{Crash, Fault, Fs, Open, SimFs},
};

const SERIES: usize = 5;

fn builder(fs: &SimFs, clock: &Arc<ManualClock>) -> DbBuilder {
    sim_builder(fs, clock).retention(None)
}

fn fill(db: &Db, from: i64, to: i64) {
    for t in (from..to).step_by(100) {
        commit_all(db, SERIES, t, t as f64);
    }
}

/// Ranges of the blocks.
fn ranges(db: &Db) -> Vec<(i64, i64)> {
    db.blocks().iter().map(|b| (b.min_time, b.max_time)).collect()
}

fn without(samples: &Samples, keep: impl Fn(usize, i64) -> bool) -> Samples {
    let mut rest = samples.clone();
    for i in 0..SERIES {
        if let Some(s) = rest.get_mut(&labels(i)) {
            s.retain(|t, _| keep(i, *t));
        }
    }
    rest.retain(|_, s| !s.is_empty());
    rest
}

fn host(i: usize) -> Matcher {
    Matcher::equal("instance", format!("host-{i}").as_str())
}

#[test]
fn blocks_grow_and_say_the_same() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = builder(&fs, &clock).open().unwrap();
    fill(&db, 0, 10_000);
    db.flush_full_ranges(0).unwrap();
    assert_eq!(ranges(&db).len(), 9);
    let before = read_all(&db);
    let open = db.querier(i64::MIN, i64::MAX).unwrap();
    let stats = db.compact(0).unwrap();
    assert_eq!(ranges(&db), [(0, 3000), (3000, 6000), (6000, 7000), (7000, 8000), (8000, 9000)]);
    assert_eq!((stats.blocks_made.len(), stats.blocks_deleted.len()), (2, 6));
    assert_same(&read_all(&db), &before);
    let oldest = &db.blocks()[0].compaction;
    assert_eq!((oldest.level, oldest.sources.len(), oldest.parents.len()), (2, 3, 3));
    // Whoever came before goes on with what was there.
    struct Kept(Arc<dyn firesteel_model::storage::Querier>);
    impl Queryable for Kept {
        fn querier(
            &self,
            _: i64,
            _: i64,
        ) -> Result<
            Arc<dyn firesteel_model::storage::Querier>,
            firesteel_model::storage::StorageError,
        > {
            Ok(Arc::clone(&self.0))
        }
    }
    assert_same(&read_all(&Kept(open)), &before);
    drop(db);
    let db = builder(&fs, &clock).open().unwrap();
    assert!(db.open_report().is_clean());
    assert_same(&read_all(&db), &before);
}

#[test]
fn deleted_samples_are_gone_at_once_and_for_good() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let mut db = builder(&fs, &clock).open().unwrap();
    fill(&db, 0, 5_500);
    db.flush_full_ranges(0).unwrap();
    let all = read_all(&db);
    db.delete(&[host(1)], 1_500, 5_200).unwrap();
    db.delete(&[Matcher::equal("job", "job-2")], i64::MIN, i64::MAX).unwrap();
    let expected = without(&all, |i, t| i % 3 != 2 && !(i == 1 && (1_500..=5_200).contains(&t)));
    assert_same(&read_all(&db), &expected);
    // What comes later is not hidden.
    fill(&db, 5_500, 6_000);
    let expected = without(&read_all(&db), |_, _| true);
    assert!(expected.contains_key(&labels(2)));
    for _ in 0..2 {
        drop(db);
        fs.crash(Crash::KeepAll);
        db = builder(&fs, &clock).open().unwrap();
        assert_same(&read_all(&db), &expected);
        db.clean_tombstones().unwrap();
        assert_same(&read_all(&db), &expected);
        assert!(db.blocks().iter().all(|b| b.stats.num_tombstones == 0));
    }
    // The log is shortened; tombstones of the head stay as long as they are needed.
    fill(&db, 6_000, 12_000);
    let all = read_all(&db);
    db.tick(0).unwrap();
    assert_same(&read_all(&db), &all);
    drop(db);
    let db = builder(&fs, &clock).open().unwrap();
    assert_same(&read_all(&db), &all);
}

#[test]
fn blocks_without_samples_vanish() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = builder(&fs, &clock).open().unwrap();
    fill(&db, 0, 4_500);
    db.flush_full_ranges(0).unwrap();
    db.delete(&[], 0, 1_999).unwrap();
    db.clean_tombstones().unwrap();
    assert_eq!(ranges(&db), [(2000, 3000), (3000, 4000)]);
    db.delete(&[], i64::MIN, i64::MAX).unwrap();
    db.clean_tombstones().unwrap();
    // The newest says up to where the log is in blocks.
    assert_eq!(ranges(&db), [(3000, 4000)]);
    assert!(read_all(&db).is_empty());
    drop(db);
    let db = builder(&fs, &clock).open().unwrap();
    assert!(read_all(&db).is_empty());
}

/// Makes blocks, deletes, compacts, cleans. Stops at the first failure.
fn work(db: &Db) -> Result<(), firesteel_tsdb::TsdbError> {
    db.compact(0)?;
    db.delete(&[host(1)], 500, 4_200)?;
    db.clean_tombstones()?;
    db.compact(0)?;
    Ok(())
}

#[test]
fn a_crash_at_any_call_loses_nothing_and_doubles_nothing() {
    let clock = Arc::new(ManualClock::new(0));
    let prepared = |fs: &SimFs| {
        let db = builder(fs, &clock).open().unwrap();
        fill(&db, 0, 4_600);
        db.flush_full_ranges(0).unwrap();
        db.sync().unwrap();
        db
    };
    let fs = SimFs::new();
    let db = prepared(&fs);
    let all = read_all(&db);
    let before = fs.calls();
    work(&db).unwrap();
    let calls = fs.calls() - before;
    let least = without(&all, |i, t| !(i == 1 && (500..=4_200).contains(&t)));
    assert_same(&read_all(&db), &least);
    drop(db);
    assert!(calls > 100, "{calls}");
    for after in 0..calls {
        let mode = match after % 3 {
            0 => Crash::KeepAll,
            1 => Crash::DropUnsynced,
            _ => Crash::Random { seed: after },
        };
        let fs = SimFs::new();
        let db = prepared(&fs);
        let error = std::io::ErrorKind::Other;
        fs.fail(Fault { kind: None, after, times: u64::MAX, error });
        let done = work(&db).is_ok();
        drop(db);
        fs.heal();
        fs.crash(mode);
        let db = builder(&fs, &clock).open().unwrap();
        let report = db.open_report();
        assert!(report.quarantined.is_empty() && report.damage.is_empty(), "{after}: {report}");
        let found = read_all(&db);
        // Of what was to be deleted anything may be left, if that was not acknowledged.
        assert_same(&without(&found, |i, _| i != 1), &without(&all, |i, _| i != 1));
        let series = found.get(&labels(1)).unwrap();
        assert!(least[&labels(1)].iter().all(|(t, v)| series.get(t) == Some(v)), "{after}");
        assert!(series.iter().all(|(t, v)| all[&labels(1)].get(t) == Some(v)), "{after}");
        if done {
            assert_same(&found, &least);
        }
        // And the work can be taken up again.
        work(&db).unwrap();
        assert_same(&read_all(&db), &least);
        assert_eq!(ranges(&db), [(0, 3000), (3000, 4000)], "{after}");
        let dirs = fs.read_dir(Path::new(DIR)).unwrap();
        assert!(dirs.iter().all(|e| !e.name.contains("tmp")), "{after}: {dirs:?}");
    }
}

#[test]
fn a_snapshot_is_a_database() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = builder(&fs, &clock).open().unwrap();
    fill(&db, 0, 4_600);
    db.flush_full_ranges(0).unwrap();
    db.delete(&[host(1)], 0, 1_500).unwrap();
    let all = read_all(&db);
    let error = db.snapshot(DIR, true).unwrap_err();
    assert_eq!(error.to_string(), "cannot snapshot into base directory");
    let (with, without_head) = ("/data/snapshots/a", "/data/snapshots/b");
    db.snapshot(with, true).unwrap();
    db.snapshot(without_head, false).unwrap();
    // What happens later does not show there.
    fill(&db, 4_600, 9_000);
    db.delete(&[], i64::MIN, i64::MAX).unwrap();
    db.clean_tombstones().unwrap();
    let open =
        |dir: &str| Db::builder(dir).fs(Arc::new(fs.clone())).retention(None).open().unwrap();
    assert_same(&read_all(&open(with)), &all);
    assert_same(&read_all(&open(without_head)), &without(&all, |_, t| t < 4_000));
}

#[test]
fn retention_by_share_of_the_disk() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = builder(&fs, &clock).retention_bytes(Some(1)).open().unwrap();
    db.set_retention(None, Some(1), Some(50.0));
    fill(&db, 0, 6_500);
    db.flush_full_ranges(0).unwrap();
    fs.set_total(1 << 30);
    db.tick(0).unwrap();
    assert_eq!(ranges(&db), [(0, 3000), (3000, 4000), (4000, 5000), (5000, 6000)]);
    fs.set_total(2);
    clock.advance(Duration::from_secs(61));
    db.tick(0).unwrap();
    assert_eq!(ranges(&db), []);
}

#[test]
fn samples_of_the_far_future_delete_nothing() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = sim_builder(&fs, &clock).retention(Some(Duration::from_secs(20))).open().unwrap();
    fill(&db, 0, 5_500);
    let year = 365 * 86_400_000_i64;
    fill(&db, year, year + 3_000);
    let all = read_all(&db);
    for _ in 0..3 {
        clock.advance(Duration::from_secs(61));
        db.tick(0).unwrap();
    }
    assert_same(&read_all(&db), &all);
    assert!(ranges(&db).iter().any(|r| r.0 >= year), "{:?}", ranges(&db));
}

#[test]
fn blocks_wait_for_their_upload() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let file = PathBuf::from("/shipper.json");
    let db = builder(&fs, &clock).uploads_file(Some(&file)).open().unwrap();
    fill(&db, 0, 5_000);
    db.flush_full_ranges(0).unwrap();
    let write = |list: &[BlockMeta]| {
        let names: Vec<_> = list.iter().map(|b| format!("\"{}\"", b.ulid)).collect();
        let text = format!("{{\"version\": 1, \"uploaded\": [{}]}}", names.join(","));
        let out = fs.open(&file, Open::Truncate).unwrap();
        out.append(text.as_bytes()).unwrap();
        clock.advance(Duration::from_secs(61));
    };
    let blocks = db.blocks();
    write(&blocks[..2]);
    db.compact(0).unwrap();
    assert_eq!(ranges(&db).len(), 4);
    write(&blocks);
    db.compact(0).unwrap();
    assert_eq!(ranges(&db), [(0, 3000), (3000, 4000)]);
}

#[test]
fn blocks_that_come_and_go_are_noticed() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let other = Db::builder("/other")
        .fs(Arc::new(fs.clone()))
        .block_range(Duration::from_secs(1))
        .retention(None)
        .open()
        .unwrap();
    fill(&other, 0, 2_000);
    other.flush_full_ranges(0).unwrap();
    let all = read_all(&other);
    let db = builder(&fs, &clock).open().unwrap();
    db.tick(0).unwrap();
    assert!(read_all(&db).is_empty());
    let name = other.blocks()[0].ulid.to_string();
    fs.rename(&Path::new("/other").join(&name), &Path::new(DIR).join(&name)).unwrap();
    clock.advance(Duration::from_secs(61));
    db.tick(0).unwrap();
    assert_same(&read_all(&db), &without(&all, |_, t| t < 1_000));
    fs.remove_dir_all(&Path::new(DIR).join(&name)).unwrap();
    clock.advance(Duration::from_secs(61));
    db.tick(0).unwrap();
    assert!(read_all(&db).is_empty());
}

#[test]
fn stale_series_leave_the_head_early() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let open = || builder(&fs, &clock).stale_series_threshold(0.5).open().unwrap();
    let db = open();
    fill(&db, 2_000, 3_400);
    let mut a = db.appender();
    for i in 0..3 {
        append(&mut *a, &labels(i), 3_400, firesteel_model::stale_nan()).unwrap();
    }
    a.commit().unwrap();
    let all = read_all(&db);
    let querier = db.querier(0, 10_000).unwrap();
    db.tick(0).unwrap();
    assert_eq!(ranges(&db), [(2000, 3000), (3000, 4000)]);
    let stale = BlockMeta::STALE_SERIES;
    assert!(db.blocks().iter().all(|b| b.compaction.hints == [stale]));
    // Not while somebody reads.
    assert_eq!(db.stats(0).num_series, 5);
    drop(querier);
    clock.advance(Duration::from_secs(1));
    db.tick(0).unwrap();
    assert_eq!(db.stats(0).num_series, 2);
    assert_same(&read_all(&db), &all);
    drop(db);
    fs.crash(Crash::KeepAll);
    let db = open();
    assert_same(&read_all(&db), &all);
    // They may come back.
    fill(&db, 3_500, 9_000);
    let all = read_all(&db);
    db.tick(0).unwrap();
    assert_same(&read_all(&db), &all);
}

/// A real directory that is removed in the end.
fn real(range: Duration) -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::builder(dir.path()).retention(None).block_range(range).open().unwrap();
    (dir, db)
}

#[test]
fn queries_go_on_during_compactions() {
    let (_dir, db) = real(Duration::from_secs(1));
    fill(&db, 0, 30_500);
    db.flush_full_ranges(0).unwrap();
    let all = read_all(&db);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    assert_same(&read_all(&db), &all);
                }
            });
        }
        for _ in 0..3 {
            db.compact(0).unwrap();
            db.delete(&[Matcher::equal("instance", "nobody")], 0, 30_000).unwrap();
            db.clean_tombstones().unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Release);
    });
    assert_same(&read_all(&db), &all);
    assert_eq!(ranges(&db)[0], (0, 27_000));
}

#[test]
fn promtool_reads_a_compacted_block() {
    let Some(promtool) = common::peer("promtool") else { return };
    let hour = 3_600_000_i64;
    let (dir, db) = real(Duration::from_secs(7200));
    let start = 1_700_006_400_000 / (6 * hour) * (6 * hour);
    for k in 0..9 * 60 {
        commit_all(&db, SERIES, start + k * 60_000, k as f64);
    }
    db.flush_full_ranges(start).unwrap();
    db.delete(&[host(1)], start + hour, start + 2 * hour).unwrap();
    db.compact(start).unwrap();
    let longer = start + 6 * hour;
    assert_eq!(ranges(&db), [(start, longer), (longer, longer + 2 * hour)]);
    let samples: usize = without(&read_all(&db), |_, t| t < start + 6 * hour)
        .values()
        .map(std::collections::BTreeMap::len)
        .sum();
    db.close().unwrap();
    let ulid = db.blocks()[0].ulid.to_string();
    let run = |args: &[&str]| {
        let out = Command::new(&promtool).arg("tsdb").args(args).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
        text
    };
    let path = dir.path().to_str().unwrap();
    let list = run(&["list", path]);
    assert!(list.contains(&ulid) && list.contains("6h0m0s"), "{list}");
    let analyzed = run(&["analyze", path, &ulid]);
    assert!(analyzed.contains("Total Series: 5"), "{analyzed}");
    let from = format!("--max-time={}", start + 6 * hour - 1);
    let dumped = run(&["dump", &from, path]);
    assert_eq!(dumped.lines().count(), samples);
}
