//! Damage in files: never fatal, always reported, and never a wrong answer.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code outside of test functions")]

mod common;

use std::{path::Path, sync::Arc};

use common::{DIR, Samples, commit_all, labels, read_all, sim_builder};
use firesteel_model::{
    clock::ManualClock,
    storage::{QueryContext, Queryable, SelectHints},
};
use firesteel_tsdb::{
    Db,
    fs::{Fs, Open, SimFs},
};

/// A directory with two blocks, a checkpoint and three segments, and what is in it.
fn directory() -> (SimFs, Arc<ManualClock>, Samples) {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = sim_builder(&fs, &clock).retention(None).head_snapshots(None).open().unwrap();
    for t in 0..40 {
        commit_all(&db, 8, t * 100, t as f64);
        db.tick(0).unwrap();
    }
    assert!(db.blocks().len() >= 2, "{db:?}");
    let all = read_all(&db);
    db.close().unwrap();
    (fs, clock, all)
}

fn files(fs: &SimFs, dir: &Path) -> Vec<(std::path::PathBuf, usize)> {
    let mut all = Vec::new();
    for entry in fs.read_dir(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            all.extend(files(fs, &path));
        } else {
            let len = fs.metadata(&path).unwrap().len as usize;
            all.push((path, len));
        }
    }
    all
}

fn open(fs: &SimFs, clock: &Arc<ManualClock>) -> Db {
    sim_builder(fs, clock).retention(None).head_snapshots(None).open().unwrap()
}

/// What is found is a part of what was there.
fn check_subset(found: &Samples, all: &Samples, what: &str) {
    for (labels, samples) in found {
        for (t, v) in samples {
            assert_eq!(all.get(labels).and_then(|s| s.get(t)), Some(v), "{what}: {labels} at {t}");
        }
    }
}

#[test]
fn a_flipped_byte_in_the_log_costs_little_and_is_reported() {
    let wal = Path::new(DIR).join("wal");
    let (fs, ..) = directory();
    for (path, len) in files(&fs, &wal) {
        let step = (len / 40).max(1);
        for at in (0..len).step_by(step) {
            let (fs, clock, all) = directory();
            let file = fs.open(&path, Open::Write).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at as u64).unwrap();
            file.write_all_at(&[byte[0] ^ 0x5a], at as u64).unwrap();
            let db = open(&fs, &clock);
            let report = db.open_report().clone();
            let what = format!("{} byte {at}: {report}", path.display());
            assert!(!report.damage.is_empty(), "{what}");
            let found = read_all(&db);
            check_subset(&found, &all, &what);
            // The next start finds it repaired, and the same samples.
            drop(db);
            let db = open(&fs, &clock);
            assert!(db.open_report().damage.is_empty(), "{what}; then {}", db.open_report());
            assert_eq!(read_all(&db), found, "{what}");
            commit_all(&db, 8, 10_000, 1.0);
        }
    }
}

#[test]
fn a_log_cut_anywhere_opens_with_what_is_before() {
    let last = |fs: &SimFs| files(fs, &Path::new(DIR).join("wal")).pop().unwrap();
    let (fs, ..) = directory();
    let (path, len) = last(&fs);
    for cut in (0..len).step_by((len / 50).max(1)) {
        let (fs, clock, all) = directory();
        fs.open(&path, Open::Write).unwrap().set_len(cut as u64).unwrap();
        let db = open(&fs, &clock);
        check_subset(&read_all(&db), &all, &format!("cut at {cut}"));
    }
}

#[test]
fn a_damaged_block_is_put_aside() {
    // What is in the middle of an index is found when the block is first asked.
    for (name, at, later) in [("index", 2, 0), ("index", 20, 1)] {
        let (fs, clock, all) = directory();
        let db = open(&fs, &clock);
        let first = db.blocks()[0].clone();
        drop(db);
        let dir = Path::new(DIR).join(first.ulid.to_string());
        fs.open(&dir.join(name), Open::Write).unwrap().write_all_at(&[0xff; 4], at).unwrap();
        let db = open(&fs, &clock);
        let report = db.open_report();
        assert_eq!(report.quarantined.len(), 1 - later, "{name}: {report}");
        assert!(report.quarantined.iter().all(|q| q.0 == dir));
        let ctx = QueryContext::background();
        let querier = db.querier(i64::MIN, i64::MAX).unwrap();
        let first_query = querier.select(&ctx, &[], &SelectHints::range(i64::MIN, i64::MAX));
        assert_eq!(first_query.unwrap().warnings.len(), later, "{name}");
        let found = read_all(&db);
        let moved = Path::new(DIR).join("quarantine").join(first.ulid.to_string());
        assert!(fs.exists(&moved).unwrap() && !fs.exists(&dir).unwrap());
        assert!(db.blocks().iter().all(|b| b.ulid != first.ulid));
        check_subset(&found, &all, name);
        let lost = all[&labels(0)].range(first.min_time..first.max_time).count();
        assert_eq!(found[&labels(0)].len() + lost, all[&labels(0)].len());
    }
}

#[test]
fn unfinished_work_of_an_earlier_process_is_removed() {
    let (fs, clock, all) = directory();
    let db = open(&fs, &clock);
    let ulid = db.blocks()[0].ulid;
    drop(db);
    for suffix in [".tmp-for-creation", ".tmp-for-deletion"] {
        fs.create_dir_all(&Path::new(DIR).join(format!("{ulid}{suffix}")).join("chunks")).unwrap();
    }
    fs.create_dir_all(&Path::new(DIR).join("wal/checkpoint.00000099.tmp")).unwrap();
    fs.create_dir_all(&Path::new(DIR).join("something-else")).unwrap();
    let db = open(&fs, &clock);
    assert_eq!(db.open_report().removed.len(), 2);
    assert!(fs.exists(&Path::new(DIR).join("something-else")).unwrap());
    assert_eq!(read_all(&db), all);
}

#[test]
fn a_missing_segment_is_reported_and_the_rest_is_read() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    for t in 0..4 {
        let db = open(&fs, &clock);
        commit_all(&db, 3, t * 100, 1.0);
    }
    fs.remove_file(&Path::new(DIR).join("wal/00000001")).unwrap();
    let db = open(&fs, &clock);
    assert!(db.open_report().not_read.iter().any(|n| n.contains("missing")));
    let times: Vec<_> = read_all(&db)[&labels(0)].keys().copied().collect();
    assert_eq!(times, [0, 200, 300]);
    commit_all(&db, 3, 400, 1.0);
    drop(db);
    let names: Vec<_> = fs.read_dir(&Path::new(DIR).join("wal")).unwrap();
    let names: Vec<_> = names.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["00000000", "00000001", "00000002", "00000003"]);
    assert!(open(&fs, &clock).open_report().is_clean());
}

#[test]
fn retention_deletes_the_oldest_blocks() {
    let (fs, clock, all) = directory();
    let kept = std::time::Duration::from_millis(1500);
    let db = sim_builder(&fs, &clock).retention(Some(kept)).open().unwrap();
    let before = db.blocks();
    let deleted = db.tick(0).unwrap().blocks_deleted;
    assert!(!deleted.is_empty());
    assert!(db.blocks().iter().all(|b| !deleted.contains(&b.ulid)));
    assert_eq!(before.len(), db.blocks().len() + deleted.len());
    check_subset(&read_all(&db), &all, "retention");
    drop(db);
    let db = sim_builder(&fs, &clock).retention(None).retention_bytes(Some(1)).open().unwrap();
    db.tick(0).unwrap();
    assert_eq!(db.blocks(), []);
    assert!(!read_all(&db).is_empty(), "the head stays");
}
