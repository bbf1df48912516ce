//! A byte changed anywhere: no panic, no wrong value, every loss reported.
//!
//! `FIRESTEEL_FLIPS` sets how many bytes are changed, each four ways; 0 for all.

use std::{ops::ControlFlow, path::Path, sync::Arc};

use firesteel_model::{
    Matcher,
    storage::{
        BatchValues, Interner, QueryContext, Queryable, SampleBatch, SelectHints, StorageError,
        merge::MergedSeries,
    },
};
use firesteel_tsdb::{
    Db,
    fs::{Fs, Open, SimFs},
    verify_directory,
};

use crate::{
    clock, commit,
    common::{DIR, Samples, conformance, row_digest, sim_builder},
    env, expected_all, files, time,
};

const COMMITS: i64 = 160;

/// A directory with blocks, a checkpoint and segments: all that we write.
fn golden() -> SimFs {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).retention(None).reserve(0).open().unwrap();
    for n in 0..COMMITS {
        commit(&db, n).unwrap();
        db.tick(time(n)).unwrap();
    }
    assert!(db.blocks().len() >= 3, "{db:?}");
    db.close().unwrap();
    fs
}

/// What a query returns, and what it says.
fn read_some(db: &dyn Queryable, said: &mut Vec<String>) -> Samples {
    let mut all = Samples::new();
    if let Err(error) = query(db, &mut all, said) {
        said.push(error.to_string());
        all.clear();
        // What is damaged is known now.
        if let Err(error) = query(db, &mut all, said) {
            said.push(error.to_string());
            all.clear();
        }
    }
    all
}

fn query(
    db: &dyn Queryable,
    all: &mut Samples,
    said: &mut Vec<String>,
) -> Result<(), StorageError> {
    let ctx = QueryContext::background();
    let querier = db.querier(i64::MIN, i64::MAX)?;
    let none: [Matcher; 0] = [];
    let selection = querier.select(&ctx, &none, &SelectHints::range(i64::MIN, i64::MAX))?;
    said.extend(selection.warnings.iter().cloned());
    let mut interner = Interner::new();
    let merged = MergedSeries::new(&ctx, selection, &mut interner)?;
    let mut reader = merged.reader(&ctx);
    let mut batch = SampleBatch::default();
    for series in 0..merged.len() {
        reader.open(series)?;
        let labels = interner.labels(merged.pairs(series));
        while reader.next(&mut batch)? {
            let samples = all.entry(labels.clone()).or_default();
            match &batch.values {
                BatchValues::Floats(values) => {
                    let bits = values.iter().map(|v| v.to_bits());
                    samples.extend(batch.timestamps.iter().copied().zip(bits));
                }
                BatchValues::Histograms(h) => {
                    for (i, &t) in batch.timestamps.iter().enumerate() {
                        samples.insert(t, row_digest(&h.row(i).unwrap()));
                    }
                }
            }
        }
    }
    Ok(())
}

const WAYS: [fn(u8, u64) -> u8; 4] =
    [|b, at| b ^ 1 << (at % 8), |_, _| 0, |_, _| 0xff, |b, _| b.wrapping_add(1)];

/// A copy with a byte of a file changed; `None` where that changes nothing.
fn changed(golden: &SimFs, path: &Path, at: u64, way: usize) -> Option<SimFs> {
    let fs = golden.fork();
    let file = fs.open(path, Open::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    let new = WAYS[way](byte[0], at);
    file.write_all_at(&[new], at).unwrap();
    (new != byte[0]).then_some(fs)
}

fn check(golden: &SimFs, path: &Path, at: u64, way: usize, all: &Samples) -> bool {
    let Some(fs) = changed(golden, path, at, way) else { return false };
    let clock = clock();
    let what = format!("{} byte {at}, way {way}", path.display());
    let verified = |fs: &SimFs| {
        let fs: Arc<dyn Fs> = Arc::new(fs.fork());
        verify_directory(&fs, Path::new(DIR), &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let before = fs.fork();
    let db = sim_builder(&fs, &clock).retention(None).reserve(0).open();
    let db = db.unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut said = Vec::new();
    let found = read_some(&db, &mut said);
    for (labels, samples) in &found {
        for (t, v) in samples {
            let known = all.get(labels).and_then(|s| s.get(t));
            assert_eq!(known, Some(v), "{what}: {labels} at {t}: {}", db.open_report());
        }
    }
    let lost = found != *all;
    if lost && said.is_empty() && db.open_report().is_clean() {
        let report = verified(&before);
        assert!(!report.is_sound(), "{what}: lost without a word: {}", db.open_report());
    }
    lost
}

#[test]
fn a_changed_byte_costs_little_and_never_a_wrong_value() {
    let golden = golden();
    let all = expected_all(COMMITS);
    let mut places = Vec::new();
    for (path, len) in files(&golden, Path::new(DIR)) {
        places.extend((0..len).map(|at| (path.clone(), at)));
    }
    let total = places.len();
    assert!(total >= 100 << 10, "{total} bytes");
    let wanted = env("FIRESTEEL_FLIPS", 300) as usize;
    if wanted > 0 {
        fastrand::Rng::with_seed(11).shuffle(&mut places);
        places.truncate(wanted);
    }
    let (mut changes, mut lossy) = (0, 0);
    for (path, at) in &places {
        for way in 0..WAYS.len() {
            changes += 1;
            lossy += u64::from(check(&golden, path, *at, way, &all));
        }
    }
    println!("{changes} changes in {} of {total} bytes, {lossy} cost samples", places.len());
}

/// Copies a directory of the real file system.
fn copy(from: &Path, fs: &SimFs, to: &Path) {
    fs.create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), fs, &to);
        } else {
            let bytes = std::fs::read(entry.path()).unwrap();
            fs.open(&to, Open::CreateNew).unwrap().append(&bytes).unwrap();
        }
    }
}

/// What Prometheus wrote has no checksums in some places; in the others a wrong value must not come of
/// damage either.
#[test]
fn what_prometheus_wrote_is_read_as_safely_as_its_formats_allow() {
    let wanted = env("FIRESTEEL_FOREIGN_FLIPS", 60) as usize;
    for name in ["tsdb/db_xor", "tsdb/db_xor2st"] {
        let Some(from) = conformance(name) else { return };
        let (golden, clock) = (SimFs::new(), clock());
        copy(&from, &golden, Path::new(DIR));
        let open = |fs: &SimFs| -> Db {
            let range = std::time::Duration::from_secs(7200);
            let builder = sim_builder(fs, &clock).retention(None).reserve(0).block_range(range);
            builder.open().unwrap()
        };
        let mut said = Vec::new();
        let all = read_some(&open(&golden.fork()), &mut said);
        assert!(!all.is_empty() && said.is_empty(), "{said:?}");
        let mut places = Vec::new();
        for (path, len) in files(&golden, Path::new(DIR)) {
            places.extend((0..len).map(|at| (path.clone(), at)));
        }
        fastrand::Rng::with_seed(12).shuffle(&mut places);
        places.truncate(if wanted == 0 { places.len() } else { wanted });
        let mut changes = 0;
        for (path, at) in &places {
            for way in 0..WAYS.len() {
                let Some(fs) = changed(&golden, path, *at, way) else { continue };
                changes += 1;
                let found = read_some(&open(&fs), &mut Vec::new());
                let in_block =
                    path.ends_with("index") || path.parent().unwrap().ends_with("chunks");
                if !in_block {
                    continue;
                }
                for (labels, samples) in &found {
                    for (t, v) in samples {
                        let known = all.get(labels).and_then(|s| s.get(t));
                        assert_eq!(known, Some(v), "{} byte {at}, way {way}", path.display());
                    }
                }
            }
        }
        println!("{name}: {changes} changes");
    }
}
