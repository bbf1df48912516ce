//! Samples that come out of order.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code outside of test functions")]

mod common;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use common::{
    Samples, append, assert_same, crashes::CrashTest, digest, labels, read, read_all, sim_builder,
};
use firesteel_model::{
    FloatHistogram, Histogram, HistogramLayout, Matcher, Span, Value,
    clock::ManualClock,
    metrics::{Collect, Families, Point},
    stale_nan,
    storage::{AppendError, AppendOptions, Appendable, Appender, SeriesKey},
};
use firesteel_tsdb::{
    Db, DbBuilder, Durability,
    fs::{Crash, Fault, Fs, SimFs},
};
use proptest::prelude::*;

fn late_builder(fs: &SimFs, clock: &Arc<ManualClock>) -> DbBuilder {
    let window = Duration::from_millis(5000);
    sim_builder(fs, clock).retention(None).out_of_order_window(window)
}

fn metric(db: &Db, name: &str, kind: &str) -> f64 {
    let mut families = Families::new();
    db.collect(&mut families);
    let all = families.into_sorted();
    let family = all.iter().find(|f| f.name == name).unwrap();
    let point = family.points.iter().find(|p| p.0.iter().any(|l| l.1 == kind)).unwrap();
    match &point.1 {
        Point::Value(v) => *v,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_window_decides() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = late_builder(&fs, &clock).open().unwrap();
    let put = |series: usize, t: i64, v: f64| {
        let mut a = db.appender();
        append(&mut *a, &labels(series), t, v).map(|_| a.commit().unwrap())
    };
    put(0, 10_000, 1.0).unwrap();
    // Late: older than the series' newest, or than half a block before the head's newest.
    assert_eq!(put(0, 9_900, 2.0).unwrap().samples, 1);
    assert_eq!(put(1, 9_000, 3.0).unwrap().samples, 1);
    assert_eq!(put(0, 5_000, 4.0).unwrap().samples, 1);
    assert!(matches!(put(0, 4_999, 4.0), Err(AppendError::TooOld)));
    // In order: new series, and not that old.
    assert_eq!(put(2, 9_500, 3.0).unwrap().samples, 1);
    assert_eq!(put(2, 9_501, 3.0).unwrap().samples, 1);
    // What is there is not late; what is late and there counts once, whatever its value.
    assert_eq!(put(0, 10_000, 1.0).unwrap().samples, 0);
    assert!(matches!(put(0, 10_000, 2.0), Err(AppendError::DuplicateTimestamp)));
    assert_eq!(put(0, 9_900, 7.0).unwrap().samples, 0);
    // A transaction goes by what it finds when it commits.
    let mut a = db.appender();
    for t in [10_100, 10_050, 10_100] {
        append(&mut *a, &labels(0), t, 5.0).unwrap();
    }
    let stats = a.commit().unwrap();
    assert_eq!((stats.samples, stats.rejected), (2, 1));
    let mut a = db.appender();
    let options = AppendOptions { reject_out_of_order: true, ..AppendOptions::default() };
    let labels_0 = labels(0);
    let marker =
        a.append(SeriesKey::Labels(&labels_0), 10_100, Value::Float(stale_nan()), &options);
    assert!(matches!(marker, Err(AppendError::DuplicateTimestamp)));
    let marker =
        a.append(SeriesKey::Labels(&labels_0), 10_010, Value::Float(stale_nan()), &options);
    assert!(matches!(marker, Err(AppendError::OutOfOrder)));
    drop(a);
    // Smaller, and off; what is there stays.
    let before = read_all(&db);
    db.set_out_of_order_window(Duration::from_millis(200));
    assert!(matches!(put(0, 9_800, 1.0), Err(AppendError::TooOld)));
    assert_eq!(put(0, 9_950, 1.0).unwrap().samples, 1);
    db.set_out_of_order_window(Duration::ZERO);
    assert!(matches!(put(0, 9_960, 1.0), Err(AppendError::OutOfOrder)));
    assert!(matches!(put(0, 100, 1.0), Err(AppendError::OutOfBounds)));
    let all = read_all(&db);
    assert_eq!(all.values().map(BTreeMap::len).sum::<usize>(), 9);
    assert_eq!(before.values().map(BTreeMap::len).sum::<usize>(), 8);
    assert_eq!(all[&labels(0)][&9_900], 2.0_f64.to_bits());
    // A series that has nothing but late samples is found by its labels, too.
    let instance = Matcher::equal("instance", "host-1");
    assert_eq!(read(&db, 8_000, 9_000, &[instance]).len(), 1);
    assert_eq!(db.time_range(), Some((5_000, 10_100)));
    for (name, kind, expected) in [
        ("prometheus_tsdb_head_out_of_order_samples_appended_total", "float", 5.0),
        ("prometheus_tsdb_head_out_of_order_samples_appended_total", "histogram", 0.0),
        ("prometheus_tsdb_head_samples_appended_total", "float", 9.0),
        ("prometheus_tsdb_too_old_samples_total", "float", 2.0),
        ("prometheus_tsdb_out_of_order_samples_total", "float", 2.0),
        ("prometheus_tsdb_out_of_bound_samples_total", "float", 1.0),
    ] {
        assert_eq!(metric(&db, name, kind), expected, "{name} {kind}");
    }
}

/// The sample of a series at a time: floats, integer and float histograms, and a series that has all
/// of these.
enum Sample {
    Float(f64),
    Int(Histogram),
    FloatHistogram(FloatHistogram),
}

fn sample(series: usize, t: i64) -> Sample {
    let n = (t % 97) as u64 + 1;
    let kind = if series % 4 == 3 { (t / 3 % 3) as usize } else { series % 4 };
    let wide = (t / 50 % 2) as u32;
    let histogram = Histogram {
        layout: HistogramLayout {
            positive_spans: vec![Span { offset: 0, length: 1 + wide }],
            ..HistogramLayout::default()
        },
        count: n * u64::from(1 + wide),
        sum: t as f64,
        positive_deltas: if wide == 1 { vec![n as i64, 0] } else { vec![n as i64] },
        ..Histogram::default()
    };
    match kind {
        0 => Sample::Float(t as f64 / 8.0 + series as f64),
        1 => Sample::Int(histogram),
        _ => Sample::FloatHistogram(histogram.to_float()),
    }
}

impl Sample {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Float(v) => Value::Float(*v),
            Self::Int(h) => Value::Histogram(h),
            Self::FloatHistogram(h) => Value::FloatHistogram(h),
        }
    }

    fn digest(&self) -> u64 {
        let of = |h: &FloatHistogram| {
            digest(h.count, h.sum, h.positive_buckets.iter().copied().chain([h.zero_count]))
        };
        match self {
            Self::Float(v) => v.to_bits(),
            Self::Int(h) => of(&h.to_float()),
            Self::FloatHistogram(h) => of(h),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Samples of a transaction: series, time relative to the newest; and whether it commits.
    Append(Vec<(usize, i64)>, bool),
    Tick,
    Flush,
    /// With a clean stop or without.
    Restart(bool),
    Read,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = prop_oneof![3 => 0_i64..80, 2 => -300_i64..0, 1 => -6000_i64..0];
    let samples = prop::collection::vec((0_usize..8, time), 1..40);
    let step = prop_oneof![
        14 => (samples, prop::bool::weighted(0.95)).prop_map(|(s, c)| Step::Append(s, c)),
        3 => Just(Step::Tick),
        1 => Just(Step::Flush),
        1 => any::<bool>().prop_map(Step::Restart),
        1 => Just(Step::Read),
    ];
    prop::collection::vec(step, 1..100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: common::cases(60), max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_map(steps in steps(), cap in 4_usize..33) {
        let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
        let open = || late_builder(&fs, &clock).out_of_order_cap(cap).open().unwrap();
        let mut db = open();
        let mut model = Samples::new();
        let mut newest = 20_000;
        // What a reader saw when it came, it sees to the end.
        let mut view = None;
        for step in &steps {
            match step {
                Step::Append(samples, commit) => {
                    let mut a = db.appender();
                    let mut batch = BTreeMap::new();
                    for &(series, dt) in samples {
                        let t = newest + dt;
                        let made = sample(series, t);
                        let (labels, options) = (labels(series), AppendOptions::default());
                        let key = SeriesKey::Labels(&labels);
                        if batch.contains_key(&(series, t)) {
                            continue;
                        }
                        match a.append(key, t, made.value(), &options) {
                            Ok(_) => drop(batch.insert((series, t), made.digest())),
                            Err(AppendError::TooOld) => assert!(dt < -4000),
                            Err(other) => panic!("{other}"),
                        }
                    }
                    if *commit {
                        prop_assert_eq!(a.commit().unwrap().rejected, 0);
                        for ((series, t), v) in batch {
                            model.entry(labels(series)).or_default().insert(t, v);
                            newest = newest.max(t);
                        }
                    }
                }
                Step::Tick => {
                    clock.advance(Duration::from_secs(70));
                    db.tick(0).unwrap();
                }
                Step::Flush => drop(db.flush_full_ranges(0).unwrap()),
                Step::Restart(clean) => {
                    drop(view.take());
                    if *clean {
                        db.close().unwrap();
                    }
                    drop(db);
                    fs.crash(if *clean { Crash::DropUnsynced } else { Crash::KeepAll });
                    db = open();
                    prop_assert!(db.open_report().is_clean(), "{}", db.open_report());
                }
                Step::Read => {
                    use firesteel_model::storage::Queryable;
                    if let Some((querier, seen)) = view.take() {
                        assert_same(&read_all(&Fixed(querier)), &seen);
                    }
                    assert_same(&read_all(&db), &model);
                    view = Some((db.querier(i64::MIN, i64::MAX).unwrap(), model.clone()));
                }
            }
        }
        assert_same(&read_all(&db), &model);
        let odd = [Matcher::equal("odd", "odd")];
        let mut expected = model.clone();
        expected.retain(|l, _| l.has("odd"));
        for samples in expected.values_mut() {
            samples.retain(|t, _| (15_000..=20_050).contains(t));
        }
        expected.retain(|_, s| !s.is_empty());
        assert_same(&read(&db, 15_000, 20_050, &odd), &expected);
        // All in blocks in the end, and nothing twice.
        db.flush_full_ranges(0).unwrap();
        assert_same(&read_all(&db), &model);
    }
}

/// A view that was opened before.
struct Fixed(Arc<dyn firesteel_model::storage::Querier>);

impl firesteel_model::storage::Queryable for Fixed {
    fn querier(
        &self,
        _: i64,
        _: i64,
    ) -> Result<Arc<dyn firesteel_model::storage::Querier>, firesteel_model::storage::StorageError>
    {
        Ok(Arc::clone(&self.0))
    }
}

/// Time of the late samples of a batch: of no other one.
const fn late_time(n: i64) -> i64 {
    100 * n - 1537
}

/// Appends a batch: six samples in order, and six late ones.
fn batch(db: &Db, n: i64) -> Result<(), AppendError> {
    let mut a = db.appender();
    for i in 0..6 {
        append(&mut *a, &labels(i), 100 * n, n as f64)?;
        if n >= 20 {
            append(&mut *a, &labels(i), late_time(n), n as f64)?;
        }
    }
    a.commit().map(|stats| assert_eq!(stats.rejected, 0))
}

fn work(
    db: &Db,
    clock: &ManualClock,
    acknowledged: &mut dyn FnMut(i64),
) -> Result<(), Box<dyn std::error::Error>> {
    for n in 0..70_i64 {
        batch(db, n)?;
        acknowledged(n);
        clock.advance(Duration::from_millis(400));
        if n % 3 == 0 {
            db.tick(0)?;
        }
        if n == 50 {
            db.flush_full_ranges(0)?;
        }
    }
    Ok(db.close()?)
}

/// Checks that batches are there whole, in order and without gaps; returns how many.
fn check_prefix(db: &Db) -> i64 {
    let mut found: BTreeMap<i64, usize> = BTreeMap::new();
    for samples in read_all(db).values() {
        for (&t, &v) in samples {
            let n = if t.rem_euclid(100) == 0 { t / 100 } else { (t + 1537) / 100 };
            assert_eq!(v, (n as f64).to_bits(), "a wrong value at {t}");
            *found.entry(n).or_default() += 1;
        }
    }
    for (i, (&n, &samples)) in (0_i64..).zip(&found) {
        let expected = if n >= 20 { 12 } else { 6 };
        assert_eq!((n, samples), (i, expected), "in part, or a gap: {}", db.open_report());
    }
    found.len() as i64
}

const CRASHES: CrashTest = CrashTest { builder: late_builder, work, check_prefix };

/// Every n-th call to the file system is the last that works.
#[test]
fn a_crash_at_any_call_loses_nothing_acknowledged() {
    CRASHES.at_any_call(7, |fs, db, found| {
        // So does one after more work.
        for n in found..found + 10 {
            batch(&db, n).unwrap();
        }
        db.flush_full_ranges(0).unwrap();
        batch(&db, found + 10).unwrap();
        drop(db);
        let clock = Arc::new(ManualClock::new(0));
        assert_eq!(check_prefix(&late_builder(fs, &clock).open().unwrap()), found + 11);
    });
}

/// A single call fails, the process goes on: memory is what the logs say.
#[test]
fn a_single_failure_leaves_memory_and_logs_the_same() {
    let calls = CRASHES.calls();
    let step = if cfg!(debug_assertions) { 5 } else { 1 };
    for after in (0..calls).step_by(step) {
        let error = if after % 2 == 0 {
            std::io::ErrorKind::StorageFull
        } else {
            std::io::ErrorKind::Other
        };
        // The second call fails, too: what was written cannot be taken back.
        let times = 1 + after % 3 / 2;
        let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
        let open = || late_builder(&fs, &clock).open();
        fs.fail(Fault { kind: None, after, times, error });
        let Ok(db) = open() else { continue };
        let mut expected = Samples::new();
        for n in 0..70_i64 {
            if batch(&db, n).is_ok() {
                for i in 0..6 {
                    let samples = expected.entry(labels(i)).or_default();
                    samples.insert(100 * n, (n as f64).to_bits());
                    if n >= 20 {
                        samples.insert(late_time(n), (n as f64).to_bits());
                    }
                }
            }
            clock.advance(Duration::from_secs(11));
            let _ = db.tick(0);
        }
        assert_same(&read_all(&db), &expected);
        drop(db);
        fs.crash(Crash::KeepAll);
        let db = open().unwrap();
        assert_same(&read_all(&db), &expected);
        db.flush_full_ranges(0).unwrap();
        assert_same(&read_all(&db), &expected);
    }
}

/// What the log has and the out-of-order log lacks is taken from the log, and only that.
#[test]
fn either_log_may_lack_the_end() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let open = || late_builder(&fs, &clock).durability(Durability::Os).open().unwrap();
    let db = open();
    for n in 0..25 {
        batch(&db, n).unwrap();
    }
    drop(db);
    let wbl = std::path::Path::new(common::DIR).join("wbl");
    fs.remove_dir_all(&wbl).unwrap();
    let db = open();
    assert_eq!((check_prefix(&db), db.open_report().late_samples), (25, 30));
    assert!(db.open_report().is_clean());
    drop(db);
    // It was written again.
    assert!(fs.exists(&wbl).unwrap());
    let db = open();
    assert_eq!((check_prefix(&db), db.open_report().late_samples), (25, 30));
    // In blocks, it does not come back from the log.
    db.flush_full_ranges(0).unwrap();
    drop(db);
    let db = open();
    assert_eq!((check_prefix(&db), db.open_report().late_samples), (25, 0));
}

/// Readers see the late samples of a batch with the others of it, and no later ones.
#[test]
fn a_reader_sees_a_batch_whole_or_not_at_all() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = late_builder(&fs, &clock).out_of_order_cap(4).open().unwrap();
    use firesteel_model::storage::Queryable;
    let mut views = Vec::new();
    for n in 0..60 {
        batch(&db, n).unwrap();
        views.push((n + 1, db.querier(i64::MIN, i64::MAX).unwrap()));
        if n % 7 == 0 {
            // Chunks and blocks are made under them.
            db.flush_full_ranges(0).unwrap();
            views.retain(|(n, _)| n % 5 != 0);
        }
    }
    for (n, view) in views {
        let all = read_all(&Fixed(view));
        let samples: usize = all.values().map(BTreeMap::len).sum();
        assert_eq!(samples as i64, 6 * n + 6 * (n - 20).max(0), "after {n} batches");
    }
}

/// Series live as long as something of them is in the head or in its logs, and not longer.
#[test]
fn series_with_late_samples_live_on() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let db = late_builder(&fs, &clock).open().unwrap();
    let put = |series: usize, t: i64| {
        let mut a = db.appender();
        append(&mut *a, &labels(series), t, 1.0).unwrap();
        a.commit().unwrap();
    };
    put(0, 500);
    put(1, 600);
    for t in (700..=2400).step_by(100) {
        put(1, t);
    }
    // A block is made of what came in order, and the log is cut; then comes a late sample.
    assert_eq!(db.tick(0).unwrap().blocks_made.len(), 1);
    put(2, 450);
    put(1, 2600);
    drop(db);
    fs.crash(Crash::KeepAll);
    let db = late_builder(&fs, &clock).open().unwrap();
    assert!(db.open_report().is_clean(), "{}", db.open_report());
    assert_eq!(db.open_report().late_samples, 1);
    let all = read_all(&db);
    assert_eq!((all.len(), all[&labels(2)].len()), (3, 1));
    let stats = db.flush_full_ranges(0).unwrap();
    assert_eq!(stats.blocks_made.len(), 2);
    assert_eq!(db.stats(0).num_series, 1);
    assert_eq!(read_all(&db), all);
    let hints: Vec<_> = db.blocks().into_iter().map(|b| b.compaction.hints).collect();
    assert_eq!(hints.iter().filter(|h| *h == &["from-out-of-order"]).count(), 1);
}

#[test]
fn memory_alone_takes_them_too() {
    let db = Db::in_memory();
    db.set_out_of_order_window(Duration::from_secs(100));
    let mut a: Box<dyn Appender + '_> = db.appender();
    for t in [50_000, 10_000, 20_000] {
        append(&mut *a, &labels(0), t, 1.0).unwrap();
    }
    assert_eq!(a.commit().unwrap().samples, 3);
    assert_eq!(read_all(&db)[&labels(0)].len(), 3);
    db.set_retention(Some(Duration::from_secs(3 * 3600)), None, None);
    let mut a = db.appender();
    append(&mut *a, &labels(1), 50_000_000, 1.0).unwrap();
    a.commit().unwrap();
    db.tick(0).unwrap();
    assert_eq!(read_all(&db).len(), 1);
    assert_eq!(db.stats(0).num_series, 1);
}
