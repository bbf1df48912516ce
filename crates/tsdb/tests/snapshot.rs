//! The head snapshot: what is put together from it is what a replay of the whole log gives.
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use common::{DIR, Samples, append, assert_same, commit_all, labels, read_all, sim_builder};
use firesteel_model::{
    CounterResetHint, Exemplar, FloatHistogram, Histogram, HistogramLayout, Labels, Matcher,
    Metadata, MetricType, Span, Value,
    clock::ManualClock,
    stale_nan,
    storage::{AppendError, AppendOptions, Appendable, SeriesKey},
};
use firesteel_tsdb::{
    Db, OpenPhase,
    fs::{Crash, Fault, Fs, OpKind, Open, SimFs},
};
use proptest::prelude::*;

fn open(fs: &SimFs, clock: &Arc<ManualClock>) -> Db {
    sim_builder(fs, clock).retention(None).open().unwrap()
}

/// Opens without the snapshot, on a copy.
fn replayed(fs: &SimFs, clock: &Arc<ManualClock>, threads: usize) -> (Samples, Db) {
    let fs = copy(fs);
    for path in snapshots(&fs) {
        fs.remove_file(&path).unwrap();
    }
    let builder = sim_builder(&fs, clock).retention(None).open_threads(threads);
    let db = builder.open().unwrap();
    assert!(db.open_report().snapshot.is_none());
    (read_all(&db), db)
}

/// A copy of a file system, in which nothing is open.
fn copy(from: &SimFs) -> SimFs {
    fn all(from: &SimFs, to: &SimFs, dir: &Path) {
        to.create_dir_all(dir).unwrap();
        for entry in from.read_dir(dir).unwrap() {
            let path = dir.join(&entry.name);
            if entry.is_dir {
                all(from, to, &path);
            } else {
                let bytes = from.read_all(&path).unwrap();
                to.open(&path, Open::Create).unwrap().append(&bytes).unwrap();
            }
        }
    }
    let to = SimFs::new();
    all(from, &to, Path::new(DIR));
    to.sync_dir(Path::new(DIR)).unwrap();
    to
}

fn snapshots(fs: &SimFs) -> Vec<PathBuf> {
    let dir = Path::new(DIR).join("head_snapshot");
    let entries = fs.read_dir(&dir).unwrap_or_default();
    entries.into_iter().map(|e| dir.join(e.name)).collect()
}

fn used(db: &Db) -> bool {
    db.open_report().snapshot.as_ref().is_some_and(|s| s.unused.is_none())
}

fn histogram(t: i64) -> Histogram {
    let layout = HistogramLayout {
        schema: 1,
        zero_threshold: 0.001,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        ..HistogramLayout::default()
    };
    Histogram {
        layout,
        count: 3 + 2 * t as u64,
        zero_count: 1,
        sum: t as f64,
        positive_deltas: vec![1 + t, 0],
        ..Histogram::default()
    }
}

/// Floats, histograms of both kinds, markers of staleness, exemplars and metadata.
fn commit_mixed(db: &Db, t: i64) {
    let mut a = db.appender();
    let named = |name: &str| Labels::from_pairs([("__name__", name), ("job", "mixed")]);
    let exemplar = Exemplar {
        labels: Labels::from_pairs([("trace_id", "1")]),
        value: t as f64,
        timestamp: Some(t),
    };
    let metadata = Metadata {
        kind: MetricType::Counter,
        unit: "bytes".to_owned(),
        help: "Things.".to_owned(),
    };
    let exemplars = [exemplar];
    let options = AppendOptions {
        exemplars: &exemplars,
        metadata: Some(&metadata),
        ..AppendOptions::default()
    };
    a.append(SeriesKey::Labels(&named("floats")), t, Value::Float(t as f64), &options).unwrap();
    let plain = AppendOptions::default();
    let h = histogram(t);
    let key = named("histograms");
    a.append(SeriesKey::Labels(&key), t, Value::Histogram(&h), &plain).unwrap();
    let f: FloatHistogram = h.to_float();
    let key = named("float_histograms");
    a.append(SeriesKey::Labels(&key), t, Value::FloatHistogram(&f), &plain).unwrap();
    if t % 300 == 0 {
        let key = named("histograms");
        a.append(SeriesKey::Labels(&key), t + 1, Value::Float(stale_nan()), &plain).unwrap();
    }
    a.commit().unwrap();
}

fn assert_equal(db: &Db, fs: &SimFs, clock: &Arc<ManualClock>) {
    let expected = replayed(fs, clock, 1).0;
    assert_same(&read_all(db), &expected);
}

#[test]
fn a_clean_stop_needs_no_replay() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = open(&fs, &clock);
    for t in 0..9 {
        commit_all(&db, 200, t * 100, t as f64);
        commit_mixed(&db, t * 100);
    }
    let all = read_all(&db);
    db.close().unwrap();
    drop(db);
    for round in 0..3 {
        let db = open(&fs, &clock);
        let report = db.open_report();
        assert!(used(&db) && report.is_clean(), "{report}");
        assert_eq!((report.segments, report.replay.floats), (0, 0), "{report}");
        assert_same(&read_all(&db), &all);
        assert_equal(&db, &fs, &clock);
        let other = replayed(&fs, &clock, 1).1;
        assert_eq!(db.metadata(), other.metadata());
        let exemplars = |db: &Db| format!("{:?}", db.exemplars(i64::MIN, i64::MAX, &[Vec::new()]));
        assert_eq!(exemplars(&db), exemplars(&other));
        let (a, b) = (db.stats(10), other.stats(10));
        assert_eq!((a.num_series, a.num_label_pairs), (b.num_series, b.num_label_pairs));
        assert_eq!(a.series_count_by_label_value_pair, b.series_count_by_label_value_pair);
        // Nothing is new: the snapshot stays as it is.
        if round == 1 {
            db.close().unwrap();
        }
    }
    // And it goes on as if nothing had been.
    let db = open(&fs, &clock);
    commit_all(&db, 300, 950, 7.0);
    commit_mixed(&db, 950);
    let all = read_all(&db);
    drop(db);
    let db = open(&fs, &clock);
    assert!(used(&db), "{}", db.open_report());
    assert_same(&read_all(&db), &all);
    assert_equal(&db, &fs, &clock);
}

/// Appends samples that come late, if `n` is even with some in order in the same transaction.
fn commit_late(db: &Db, t: i64, n: u16) -> Option<()> {
    let mut a = db.appender();
    for i in 0..usize::from(n % 20) {
        if n.is_multiple_of(2) {
            append(&mut *a, &labels(i), t + 1, 1.0).ok()?;
        }
        let back = i64::from(n) % 3000 + i as i64;
        match append(&mut *a, &labels(i), t - back, back as f64) {
            Ok(_) | Err(AppendError::TooOld | AppendError::DuplicateTimestamp) => {}
            Err(_) => return None,
        }
    }
    a.commit().ok().map(|_| ())
}

/// Appends a histogram with other buckets than the one before it, a gauge or one whose counter was
/// reset now and then.
fn commit_histogram(db: &Db, t: i64, n: u16) -> Option<()> {
    let mut h = histogram(t);
    let buckets = 1 + u32::from(n % 4);
    h.layout.positive_spans = vec![Span { offset: i32::from(n % 3), length: buckets }];
    h.positive_deltas = vec![0; buckets as usize];
    if let Some(first) = h.positive_deltas.first_mut() {
        *first = if n.is_multiple_of(7) { 1 } else { t + 1 };
    }
    h.count = 1 + u64::from(buckets) * h.positive_deltas.first().map_or(0, |d| d.unsigned_abs());
    if n.is_multiple_of(5) {
        h.counter_reset_hint = CounterResetHint::Gauge;
    }
    let mut a = db.appender();
    let key = Labels::from_pairs([("__name__", "buckets"), ("job", "mixed")]);
    let key = SeriesKey::Labels(&key);
    match a.append(key, t, Value::Histogram(&h), &AppendOptions::default()) {
        Ok(_) | Err(AppendError::TooOld | AppendError::DuplicateTimestamp) => {}
        Err(_) => return None,
    }
    a.commit().ok().map(|_| ())
}

/// A workload in which snapshots, blocks and commits follow one another.
fn run(fs: &SimFs, clock: &Arc<ManualClock>, steps: &[(u8, u16)], check: bool) -> Option<()> {
    let window = Duration::from_millis(2500);
    let builder = || {
        let builder = sim_builder(fs, clock).retention(None).head_snapshots(Some(1));
        builder.out_of_order_window(window)
    };
    let mut db = builder().open().ok()?;
    let mut t = 0;
    for &(kind, n) in steps {
        match kind {
            0..=4 => {
                t += 1 + i64::from(n % 50);
                let mut a = db.appender();
                for i in 0..usize::from(n % 40) {
                    append(&mut *a, &labels(i), t, t as f64 + i as f64).ok()?;
                }
                a.commit().ok()?;
            }
            5 => commit_mixed(&db, {
                t += 10;
                t
            }),
            6 => drop(db.tick(t).ok()?),
            7 => {
                t += 400;
                drop(db.flush_full_ranges(t).ok()?);
            }
            10 => {
                commit_late(&db, t, n)?;
                t += 2;
            }
            11 => {
                t += 2;
                commit_histogram(&db, t, n)?;
            }
            12 => {
                let odd = [Matcher::equal("odd", if n % 2 == 0 { "odd" } else { "" })];
                let from = i64::from(n) % (t + 1);
                db.delete(&odd, from, from + 150).ok()?;
            }
            kind => {
                let before = check.then(|| read_all(&db));
                if kind == 9 {
                    db.close().ok()?;
                }
                drop(db);
                db = builder().open().ok()?;
                if let Some(before) = before {
                    assert_same(&read_all(&db), &before);
                }
            }
        }
    }
    if check {
        let before = read_all(&db);
        drop(db);
        let db = builder().open().ok()?;
        assert_same(&read_all(&db), &before);
        assert_equal(&db, fs, clock);
    }
    Some(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(common::cases(48)))]

    #[test]
    fn snapshots_do_not_change_answers(
        steps in prop::collection::vec((0_u8..13, any::<u16>()), 1..60),
    ) {
        let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
        run(&fs, &clock, &steps, true).unwrap();
    }

    #[test]
    fn the_number_of_threads_changes_nothing(
        steps in prop::collection::vec((0_u8..8, any::<u16>()), 1..40),
    ) {
        let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
        run(&fs, &clock, &steps, false).unwrap();
        let (one, a) = replayed(&fs, &clock, 1);
        for threads in [2, 5] {
            let (many, b) = replayed(&fs, &clock, threads);
            assert_same(&many, &one);
            prop_assert_eq!(a.open_report(), b.open_report());
            prop_assert_eq!(a.stats(100), b.stats(100));
        }
    }
}

#[test]
fn a_flipped_byte_is_noticed_and_the_log_is_replayed() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = open(&fs, &clock);
    for t in 0..5 {
        commit_all(&db, 6, t * 100, t as f64);
        commit_mixed(&db, t * 100);
    }
    let all = read_all(&db);
    db.close().unwrap();
    drop(db);
    let [path] = &snapshots(&fs)[..] else { panic!("one snapshot expected") };
    let len = fs.metadata(path).unwrap().len;
    let mut unnoticed = 0;
    for at in 0..len {
        let fs = copy(&fs);
        let file = fs.open(path, Open::Write).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x5a], at).unwrap();
        let db = open(&fs, &clock);
        assert_same(&read_all(&db), &all);
        unnoticed += u32::from(used(&db));
        assert!(used(&db) || !db.open_report().is_clean());
    }
    assert_eq!(unnoticed, 0, "flips in {len} bytes");
    for cut in (0..len).step_by(7) {
        let fs = copy(&fs);
        fs.open(path, Open::Write).unwrap().set_len(cut).unwrap();
        let db = open(&fs, &clock);
        assert!(!used(&db));
        assert_same(&read_all(&db), &all);
    }
}

#[test]
fn a_log_that_changed_is_replayed_whole() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = open(&fs, &clock);
    for t in 0..5 {
        commit_all(&db, 6, t * 100, t as f64);
    }
    let all = read_all(&db);
    db.close().unwrap();
    drop(db);
    let wal = Path::new(DIR).join("wal");
    // A segment that something else began, even an empty one.
    let other = copy(&fs);
    other.open(&wal.join("00000001"), Open::CreateNew).unwrap();
    let db = open(&other, &clock);
    assert!(!used(&db));
    assert_same(&read_all(&db), &all);
    // The end of what was there is another.
    let other = copy(&fs);
    let file = other.open(&wal.join("00000000"), Open::Write).unwrap();
    file.write_all_at(&[9], 20).unwrap();
    assert!(!used(&open(&other, &clock)));
    let other = copy(&fs);
    let file = other.open(&wal.join("00000000"), Open::Write).unwrap();
    file.set_len(100).unwrap();
    assert!(!used(&open(&other, &clock)));
    let other = copy(&fs);
    other.create_dir_all(&wal.join("checkpoint.00000003")).unwrap();
    assert!(!used(&open(&other, &clock)));
    assert!(used(&open(&fs, &clock)));
}

/// Commits, snapshots, a block, more of each. Returns what was acknowledged, by round.
fn rounds(fs: &SimFs, clock: &Arc<ManualClock>) -> (Option<()>, Vec<i64>) {
    let mut acknowledged = Vec::new();
    let builder = || sim_builder(fs, clock).retention(None).head_snapshots(Some(1));
    let mut steps = || {
        let mut db = builder().open().ok()?;
        for round in 0..26_i64 {
            let mut a = db.appender();
            for i in 0..5 {
                append(&mut *a, &labels(i), round * 100, (round * 10 + i as i64) as f64).ok()?;
            }
            a.commit().ok()?;
            acknowledged.push(round * 100);
            if round % 3 == 2 {
                db.tick(0).ok()?;
            }
            if round == 8 || round == 19 {
                db.close().ok()?;
                drop(db);
                db = builder().open().ok()?;
            }
        }
        Some(())
    };
    let done = steps();
    (done, acknowledged)
}

#[test]
fn a_crash_at_any_call_loses_nothing_acknowledged() {
    let calls = {
        let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
        assert_eq!(rounds(&fs, &clock).0, Some(()));
        assert!(!snapshots(&fs).is_empty());
        fs.calls()
    };
    let mut with_snapshot = 0;
    for after in 0..calls {
        let modes = [Crash::KeepAll, Crash::DropUnsynced, Crash::Random { seed: after }];
        let mode = modes[(after % 3) as usize];
        let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
        let error = std::io::ErrorKind::Other;
        // What a failed sync costs in the simulation, even a process that is killed loses.
        let kind = (mode == Crash::KeepAll).then_some(OpKind::Write);
        let after = if kind.is_some() { after / 3 } else { after };
        fs.fail(Fault { kind, after, times: u64::MAX, error });
        let (_, acknowledged) = rounds(&fs, &clock);
        fs.crash(mode);
        let db = open(&fs, &clock);
        with_snapshot += u32::from(used(&db));
        let found = read_all(&db);
        let times: Vec<_> =
            found.values().next().map_or_else(Vec::new, |s| s.keys().copied().collect());
        for (labels, samples) in &found {
            assert_eq!(
                samples.keys().copied().collect::<Vec<_>>(),
                times,
                "{labels}: {mode:?} {after}"
            );
        }
        for i in 0..if times.is_empty() { 0 } else { 5 } {
            for (t, v) in &found[&labels(i)] {
                assert_eq!(f64::from_bits(*v), (t / 10 + i as i64) as f64, "{mode:?} {after}");
            }
        }
        if mode == Crash::KeepAll {
            let report = db.open_report();
            assert!(
                times.starts_with(&acknowledged),
                "{after}: {times:?}, not {acknowledged:?}: {report:?}"
            );
        }
        let report = db.open_report().to_string();
        drop(db);
        // Once more, without the snapshot: the log has it all, too.
        let (again, other) = replayed(&fs, &clock, 1);
        assert!(again == found, "{mode:?} {after}: {report}; then {}", other.open_report());
    }
    assert!(with_snapshot > 0, "of {calls} crashes none left a snapshot");
}

#[test]
fn blocks_answer_while_the_head_is_loaded() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = open(&fs, &clock);
    for t in 0..20 {
        commit_all(&db, 6, t * 100, t as f64);
    }
    db.tick(0).unwrap();
    let all = read_all(&db);
    let end = db.blocks()[0].max_time;
    drop(db);
    let (db, loader) = sim_builder(&fs, &clock).retention(None).open_blocks().unwrap();
    assert_eq!(db.open_progress().phase, OpenPhase::Waiting);
    let mut in_blocks = all.clone();
    for samples in in_blocks.values_mut() {
        samples.retain(|&t, _| t < end);
    }
    assert_same(&read_all(&db), &in_blocks);
    let refused = append(&mut *db.appender(), &labels(0), 5000, 1.0).unwrap_err();
    assert!(matches!(refused, AppendError::NotReady(_)), "{refused}");
    assert_eq!(db.tick(0).unwrap(), firesteel_tsdb::TickStats::default());
    loader.run().unwrap();
    let progress = db.open_progress();
    assert_eq!(progress.phase, OpenPhase::Done);
    assert!(progress.samples > 0 && progress.current_segment == progress.last_segment);
    assert_same(&read_all(&db), &all);
    commit_all(&db, 6, 5000, 1.0);
    drop(db);
    // Closed before it is loaded: the loader gives up, and nothing has changed.
    let (db, loader) = sim_builder(&fs, &clock).retention(None).open_blocks().unwrap();
    db.close().unwrap();
    assert!(loader.run().is_err());
    drop(db);
    assert_eq!(read_all(&open(&fs, &clock))[&labels(0)].len(), 21);
}
