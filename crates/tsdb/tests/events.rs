//! What the owner of a database is told, and what is done on request alone.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod common;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{DIR, commit_all, conformance, copy, read_all, sim_builder};
use firesteel_model::clock::ManualClock;
use firesteel_tsdb::{
    Db, DbBuilder, Event,
    fs::{Fs, Open, SimFs},
};
use parking_lot::Mutex;

type Told = Arc<Mutex<Vec<Event>>>;

fn open(builder: DbBuilder) -> (Db, Told) {
    let told = Told::default();
    let listener = Arc::clone(&told);
    let builder =
        builder.on_event(Arc::new(move |event: &Event| listener.lock().push(event.clone())));
    (builder.open().unwrap(), told)
}

fn builder(fs: &SimFs) -> DbBuilder {
    sim_builder(fs, &Arc::new(ManualClock::new(0))).retention(None)
}

#[test]
fn a_snapshot_of_the_head_is_told() {
    let fs = SimFs::new();
    let (db, told) = open(builder(&fs));
    commit_all(&db, 3, 100, 1.0);
    assert!(told.lock().is_empty());
    db.close().unwrap();
    let told = told.lock();
    let [Event::SnapshotWritten { path }] = &told[..] else { panic!("{told:?}") };
    assert!(path.starts_with(Path::new(DIR).join("head_snapshot")) && fs.exists(path).unwrap());
}

#[test]
fn a_damaged_chunk_that_is_left_out_of_a_block_is_told() {
    let fs = SimFs::new();
    let (db, _) = open(builder(&fs));
    for n in 0..30 {
        commit_all(&db, 2, n * 100, n as f64);
    }
    db.close().unwrap();
    drop(db);
    let (db, told) = open(builder(&fs));
    assert!(db.open_report().is_clean(), "{}", db.open_report());
    let all = read_all(&db);
    let path = PathBuf::from(DIR).join("chunks_head/000001");
    let file = fs.open(&path, Open::Write).unwrap();
    let at = 8 + 30;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    db.flush_full_ranges(0).unwrap();
    let told = told.lock();
    let [Event::CorruptionFound { path: file, what }] = &told[..] else { panic!("{told:?}") };
    assert!(*file == path && what.contains("samples from 0 to 900 are lost"), "{what}");
    // One chunk of one series.
    let count = |all: &common::Samples| all.values().map(|s| s.len()).sum::<usize>();
    assert_eq!(count(&read_all(&db)), count(&all) - 10);
}

#[test]
fn blocks_of_prometheus_are_described_where_that_is_wanted() {
    let Some(source) = conformance("tsdb/db_xor") else { return };
    for describe in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let block = "01M7XBFC0D0Y4GVBK7340119YJ";
        let dir = folder.path().join(block);
        copy(&source.join(block), &dir);
        let db = Db::builder(folder.path()).retention(None).describe_foreign_blocks(describe);
        let db = db.open().unwrap();
        assert!(!dir.join("integrity").exists());
        let verify = || db.verify(&mut |_| ControlFlow::Continue(())).unwrap();
        assert!(verify().findings.is_empty());
        assert_eq!(dir.join("integrity").exists(), describe);
        // The checksums of an index do not cover all of it; an integrity file does.
        let meta = std::fs::read_to_string(dir.join("meta.json")).unwrap();
        let changed = meta.replacen("\"numSamples\": ", "\"numSamples\": 1", 1);
        assert_ne!(meta, changed, "{meta}");
        std::fs::write(dir.join("meta.json"), changed).unwrap();
        assert_eq!(!verify().findings.is_empty(), describe);
    }
}
