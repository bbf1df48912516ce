//! Integrity files, verification, quarantine.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use firesteel_model::storage::{QueryContext, Queryable, SelectHints};
use firesteel_tsdb::{
    Db, Event, Severity, VerifyReport,
    block::Integrity,
    fs::{Fs, Open, SimFs},
    verify_directory,
};
use parking_lot::Mutex;

use crate::{
    clock, commit,
    common::{DIR, assert_same, read_all, sim_builder},
    expected_all, files, time,
};

/// A directory with two blocks and a log, closed; and the blocks' directories.
fn directory() -> (SimFs, Vec<PathBuf>) {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).retention(None).reserve(0).open().unwrap();
    for n in 0..40 {
        commit(&db, n).unwrap();
        db.tick(time(n)).unwrap();
    }
    let blocks = db.blocks().iter().map(|b| Path::new(DIR).join(b.ulid.to_string())).collect();
    db.close().unwrap();
    (fs, blocks)
}

fn open(fs: &SimFs) -> Db {
    sim_builder(fs, &clock()).retention(None).reserve(0).open().unwrap()
}

fn verify(fs: &SimFs) -> VerifyReport {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    verify_directory(&fs, Path::new(DIR), &mut |_| ControlFlow::Continue(())).unwrap()
}

fn flip(fs: &SimFs, path: &Path, at: u64) {
    let file = fs.open(path, Open::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_sound_directory_is_sound_also_while_it_is_open() {
    let (fs, blocks) = directory();
    let report = verify(&fs);
    assert_eq!(report.findings, []);
    assert_eq!((report.blocks, report.cancelled), (blocks.len(), false));
    let total: u64 = files(&fs, Path::new(DIR)).iter().map(|f| f.1).sum();
    assert!(report.bytes >= total / 2, "{} of {total}", report.bytes);
    let db = open(&fs);
    commit(&db, 40).unwrap();
    let mut told = 0;
    let report = db.verify(&mut |progress| {
        told += 1;
        assert!(progress.total > 0);
        ControlFlow::Continue(())
    });
    assert_eq!(report.unwrap().findings, []);
    assert!(told > blocks.len());
    let report = db.verify(&mut |_| ControlFlow::Break(())).unwrap();
    assert!(report.cancelled);
    assert!(Integrity::read(&fs, &blocks[0]).unwrap().is_some());
}

/// Each byte that is changed in any file is found, or does not matter.
#[test]
fn verification_finds_what_is_changed() {
    let (golden, _) = directory();
    let mut rng = fastrand::Rng::with_seed(3);
    for (path, len) in files(&golden, Path::new(DIR)) {
        for _ in 0..12.min(len) {
            let (fs, at) = (golden.fork(), rng.u64(..len));
            flip(&fs, &path, at);
            let found = verify(&fs);
            let lock = path.ends_with("lock") || path.ends_with("firesteel.reserve");
            // A marker that is not one any more, and zeros at a page's end, are not missed.
            let log = path.starts_with(Path::new(DIR).join("wal"));
            assert!(!found.findings.is_empty() || lock || log, "{} byte {at}", path.display());
        }
    }
}

#[test]
fn a_damaged_meta_json_is_restored() {
    let (fs, blocks) = directory();
    let path = blocks[0].join("meta.json");
    let good = fs.read_all(&path).unwrap().to_vec();
    let text = String::from_utf8(good.clone()).unwrap();
    let digit = text.find("\"maxTime\": ").unwrap() + 11;
    for at in [0, digit as u64, 20] {
        flip(&fs, &path, at);
        assert!(!verify(&fs).findings.is_empty());
        let db = open(&fs);
        assert_eq!(db.open_report().restored.len(), 1, "{}", db.open_report());
        assert_eq!(fs.read_all(&path).unwrap().to_vec(), good);
        assert_same(&read_all(&db), &expected_all(40));
    }
    // What Prometheus changes when it deletes counts as it is.
    let changed = text.replacen("\"numSamples\"", "\"numTombstones\": 3,\n\"numSamples\"", 1);
    fs.open(&path, Open::Truncate).unwrap().append(changed.as_bytes()).unwrap();
    let db = open(&fs);
    assert!(db.open_report().is_clean(), "{}", db.open_report());
    assert!(fs.read_all(&path).unwrap().to_vec() == changed.as_bytes());
    drop(db);
    // Empty tombstones are known by heart.
    flip(&fs, &blocks[1].join("tombstones"), 2);
    let db = open(&fs);
    assert_eq!(db.open_report().restored.len(), 1, "{}", db.open_report());
    assert_same(&read_all(&db), &expected_all(40));
}

#[test]
fn a_damaged_index_is_put_aside_while_the_rest_serves() {
    let (fs, blocks) = directory();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let clock = clock();
    let db = sim_builder(&fs, &clock)
        .retention(None)
        .reserve(0)
        .on_event(Arc::new(move |e: &Event| heard.lock().push(format!("{e:?}"))))
        .open()
        .unwrap();
    // Behind the symbols, where opening did not look.
    let len = fs.metadata(&blocks[0].join("index")).unwrap().len;
    flip(&fs, &blocks[0].join("index"), len / 2);
    let report = db.verify(&mut |_| ControlFlow::Continue(())).unwrap();
    assert!(report.findings.iter().any(|f| f.severity == Severity::Block), "{report:?}");
    assert_eq!(db.blocks().len(), blocks.len() - 1);
    let aside = Path::new(DIR).join("quarantine").join(blocks[0].file_name().unwrap());
    let reason = fs.read_all(&aside.join("reason")).unwrap().to_vec();
    assert!(String::from_utf8(reason).unwrap().contains("/index"));
    assert!(events.lock().iter().any(|e| e.starts_with("BlockQuarantined")), "{events:?}");
    let all = expected_all(40);
    for (labels, samples) in read_all(&db) {
        assert!(samples.iter().all(|(t, v)| all[&labels].get(t) == Some(v)));
    }
}

#[test]
fn a_damaged_chunk_fails_the_query_that_meets_it_and_is_left_out_then() {
    let (fs, blocks) = directory();
    let db = open(&fs);
    let file = blocks[0].join("chunks/000001");
    flip(&fs, &file, 8 + 6);
    let warnings = || {
        let querier = db.querier(0, 100_000).unwrap();
        let ctx = QueryContext::background();
        querier.select(&ctx, &[], &SelectHints::range(0, 100_000)).unwrap().warnings
    };
    assert_eq!(warnings(), Vec::<String>::new());
    let first = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read_all(&db)));
    assert!(first.is_err(), "the query fails");
    assert_eq!(warnings().len(), 1);
    assert_eq!(db.blocks().len(), blocks.len(), "the block stays");
    let report = db.verify(&mut |_| ControlFlow::Continue(())).unwrap();
    assert!(report.findings.iter().any(|f| f.severity == Severity::Loss && f.path == file));
}
