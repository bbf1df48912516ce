//! Start timestamps and XOR2: kept through crashes, snapshots of the head, blocks and compaction where
//! they are switched on; without a trace where they are not.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod common;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use common::{DIR, conformance, copy, labels, sim_builder};
use firesteel_model::{
    Histogram, HistogramLayout, Labels, Span, Timestamp, Value,
    clock::ManualClock,
    storage::{
        AppendOptions, Appendable, BatchValues, Interner, QueryContext, Queryable, SampleBatch,
        SelectHints, SeriesKey, merge::MergedSeries,
    },
};
use firesteel_tsdb::{
    Db, DbBuilder,
    fs::{Crash, Fs, SimFs},
};

/// By series and time: the start timestamp, and the value's bits (a histogram's count).
type Starts = BTreeMap<Labels, BTreeMap<Timestamp, (Timestamp, u64)>>;

fn read_starts(db: &dyn Queryable) -> Starts {
    let ctx = QueryContext::background();
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let hints = SelectHints::range(i64::MIN, i64::MAX);
    let selection = querier.select(&ctx, &[], &hints).unwrap();
    let mut interner = Interner::new();
    let merged = MergedSeries::new(&ctx, selection, &mut interner).unwrap();
    let mut reader = merged.reader(&ctx);
    let mut batch = SampleBatch::default();
    let mut all = Starts::new();
    for i in 0..merged.len() {
        reader.open(i).unwrap();
        let samples = all.entry(interner.labels(merged.pairs(i))).or_default();
        while reader.next(&mut batch).unwrap() {
            for (i, &t) in batch.timestamps.iter().enumerate() {
                let value = match &batch.values {
                    BatchValues::Floats(values) => values[i].to_bits(),
                    BatchValues::Histograms(h) => h.counts[i].to_bits(),
                };
                let start = batch.start_timestamps.get(i).copied().unwrap_or(0);
                assert_eq!(samples.insert(t, (start, value)), None, "twice at {t}");
            }
        }
    }
    all
}

fn builder(fs: &SimFs) -> DbBuilder {
    sim_builder(fs, &Arc::new(ManualClock::new(0)))
        .retention(None)
        .max_block_range(Some(Duration::from_secs(3)))
        .out_of_order_window(Duration::from_secs(5))
        .out_of_order_cap(4)
}

fn with_starts(builder: DbBuilder) -> DbBuilder {
    builder.xor2_floats(true).store_start_timestamps(true).histogram_start_timestamps(true)
}

fn histogram(count: u64) -> Histogram {
    let layout = HistogramLayout {
        schema: 1,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        ..HistogramLayout::default()
    };
    let positive_deltas = vec![count as i64];
    Histogram { layout, count, sum: count as f64, positive_deltas, ..Histogram::default() }
}

/// When a series' counter began: another time after every 90 samples, unknown for one series.
fn start(series: usize, t: Timestamp) -> Timestamp {
    if series == 2 { 0 } else { t / 900 * 900 + 1 - series as i64 }
}

/// Commits `n` to `m`, ten milliseconds apart: floats, a histogram that has floats in between, and
/// from time to time a late one of each. Notes in `expected` what is then there.
fn commit(db: &Db, commits: std::ops::Range<i64>, starts: bool, expected: &mut Starts) {
    for n in commits {
        let mut appender = db.appender();
        let mut append = |series: usize, t: Timestamp, is_histogram: bool| {
            let labels = labels(series);
            let start = if starts { start(series, t) } else { 0 };
            let options = AppendOptions {
                start_timestamp: (start != 0).then_some(start),
                ..AppendOptions::default()
            };
            let h = histogram(t as u64);
            let value = if is_histogram { Value::Histogram(&h) } else { Value::Float(t as f64) };
            appender.append(SeriesKey::Labels(&labels), t, value, &options).unwrap();
            let seen = (start, (t as f64).to_bits());
            expected.entry(labels).or_default().insert(t, seen);
        };
        let t = 10 * n;
        (0..3).for_each(|series| append(series, t, false));
        append(3, t, n % 50 < 40);
        if n % 7 == 0 && n > 20 {
            append(0, t - 155, false);
            append(3, t - 155, true);
        }
        appender.commit().unwrap();
    }
}

#[test]
fn start_timestamps_survive_everything() {
    let fs = SimFs::new();
    let open = || with_starts(builder(&fs)).open().unwrap();
    let mut expected = Starts::new();
    let db = open();
    commit(&db, 1..70, true, &mut expected);
    assert_eq!(read_starts(&db), expected, "in the head");
    drop(db);
    fs.crash(Crash::KeepAll);
    let db = open();
    assert!(db.open_report().is_clean(), "{}", db.open_report());
    assert_eq!(read_starts(&db), expected, "replayed");
    commit(&db, 70..90, true, &mut expected);
    db.close().unwrap();
    drop(db);
    let db = open();
    let snapshot = db.open_report().snapshot.as_ref().unwrap();
    assert!(snapshot.unused.is_none() && snapshot.chunks > 0, "{}", db.open_report());
    assert_eq!(read_starts(&db), expected, "from a snapshot of the head");
    // Open chunks go on where they were.
    commit(&db, 90..700, true, &mut expected);
    assert_eq!(read_starts(&db), expected, "after a snapshot of the head");
    db.flush_full_ranges(0).unwrap();
    assert!(db.blocks().len() > 5, "{}", db.blocks().len());
    assert_eq!(read_starts(&db), expected, "in blocks");
    db.tick(0).unwrap();
    assert!(db.blocks().iter().any(|b| b.compaction.level > 1), "nothing was compacted");
    assert_eq!(read_starts(&db), expected, "compacted");
    drop(db);
    fs.crash(Crash::KeepAll);
    let db = open();
    assert!(db.open_report().is_clean(), "{}", db.open_report());
    assert_eq!(read_starts(&db), expected, "after blocks were made");
}

/// All files and what is in them, names that are made of random numbers and times excepted.
fn contents(fs: &SimFs, dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs.read_dir(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            all.extend(contents(fs, &path));
        } else {
            all.push((path.display().to_string(), fs.read_all(&path).unwrap().to_vec()));
        }
    }
    all.sort();
    all
}

#[test]
fn by_default_nothing_changes() {
    let run = |starts: bool| {
        let fs = SimFs::new();
        let db = builder(&fs).open().unwrap();
        commit(&db, 1..400, starts, &mut Starts::new());
        db.flush_full_ranges(0).unwrap();
        db.tick(0).unwrap();
        commit(&db, 400..410, starts, &mut Starts::new());
        db.close().unwrap();
        contents(&fs, Path::new(DIR))
    };
    let (without, with) = (run(false), run(true));
    let names = |all: &[(String, Vec<u8>)]| all.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&without), names(&with));
    for (a, b) in without.iter().zip(&with) {
        // The snapshot of the head has the moment in it.
        assert!(a == b || a.0.contains("head_snapshot"), "{} differs", a.0);
    }
}

#[test]
fn encodings_change_at_any_time() {
    let fs = SimFs::new();
    let db = builder(&fs).open().unwrap();
    let mut expected = Starts::new();
    for (i, xor2) in [false, true, false, true].into_iter().enumerate() {
        db.set_xor2_floats(xor2).unwrap();
        let from = 1 + 40 * i as i64;
        commit(&db, from..from + 40, false, &mut expected);
    }
    assert_eq!(read_starts(&db), expected);
    drop(db);
    // What was written in one encoding is read whatever is chosen then.
    for xor2 in [true, false] {
        fs.crash(Crash::KeepAll);
        let db = builder(&fs).xor2_floats(xor2).open().unwrap();
        assert!(db.open_report().is_clean(), "{}", db.open_report());
        assert_eq!(read_starts(&db), expected);
        db.close().unwrap();
    }
    let db = with_starts(builder(&fs)).open().unwrap();
    assert_eq!(read_starts(&db), expected);
    let error = db.set_xor2_floats(false).unwrap_err().to_string();
    let told = "float chunk encoding \"xor\" is incompatible with start-timestamp storage; XOR \
                chunks do not store start timestamps, use \"xor2\"";
    assert!(error.contains(told), "{error}");
    db.close().unwrap();
    let error = builder(&fs).store_start_timestamps(true).open().unwrap_err().to_string();
    assert!(error.contains(told), "{error}");
}

/// Prometheus 3.14's own directories: the same samples (without start timestamps) in both encodings
/// are the same whichever of them is written on.
#[test]
fn directories_of_prometheus_go_on_in_either_encoding() {
    let read = |name: &str, xor2: bool| {
        let source = conformance(name)?;
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("data");
        copy(&source, &dir);
        let open = || {
            let db = Db::builder(&dir).retention(None);
            let db = db.out_of_order_window(Duration::from_secs(86_400));
            let db = if xor2 { with_starts(db) } else { db }.open().unwrap();
            assert!(db.open_report().is_clean(), "{}", db.open_report());
            db
        };
        let db = open();
        let all = read_starts(&db);
        assert!(all.values().flatten().all(|s| s.1.0 == 0));
        db.close().unwrap();
        drop(db);
        let db = open();
        assert_eq!(read_starts(&db), all, "from a snapshot of the head");
        db.flush_full_ranges(0).unwrap();
        assert_eq!(read_starts(&db), all, "in blocks");
        Some(all)
    };
    let Some(expected) = read("tsdb/db_xor", false) else { return };
    assert!(expected.len() == 20 && expected.values().all(|s| s.len() > 590));
    for (name, xor2) in [("tsdb/db_xor", true), ("tsdb/db_xor2st", true), ("tsdb/db_xor2st", false)]
    {
        assert!(read(name, xor2).unwrap() == expected, "{name}, XOR2 {xor2}");
    }
}

#[test]
fn starts_become_zeros_once() {
    let fs = SimFs::new();
    let db = builder(&fs).zeros_at_start_timestamps(true).open().unwrap();
    for (t, start) in [(1000, 900), (1100, 900), (1200, 1150), (1300, 5000), (1400, 0)] {
        let mut appender = db.appender();
        let h = histogram(7);
        for (series, value) in [(0, Value::Float(7.0)), (1, Value::Histogram(&h))] {
            let labels = labels(series);
            let start_timestamp = Some(start).filter(|s| *s != 0);
            let options = AppendOptions { start_timestamp, ..AppendOptions::default() };
            appender.append(SeriesKey::Labels(&labels), t, value, &options).unwrap();
        }
        appender.commit().unwrap();
    }
    for (series, one) in read_starts(&db) {
        let found: Vec<_> = one.iter().map(|(t, (_, v))| (*t, f64::from_bits(*v))).collect();
        let expected = [
            (900, 0.0),
            (1000, 7.0),
            (1100, 7.0),
            (1150, 0.0),
            (1200, 7.0),
            (1300, 7.0),
            (1400, 7.0),
        ];
        assert_eq!(found, expected, "{series}");
    }
}
