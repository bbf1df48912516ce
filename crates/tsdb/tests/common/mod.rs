//! What several tests need.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code outside of test functions")]

pub mod crashes;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use firesteel_model::{
    Labels, Matcher, Timestamp, Value,
    clock::ManualClock,
    storage::{
        AppendError, AppendOptions, Appendable, Appender, BatchValues, Interner, QueryContext,
        Queryable, SampleBatch, SampleNeed, SelectHints, SeriesKey, SeriesRef, merge::MergedSeries,
    },
};
use firesteel_tsdb::{Db, DbBuilder, fs::SimFs};

/// Samples by series and time, values as bits.
pub type Samples = BTreeMap<Labels, BTreeMap<Timestamp, u64>>;

pub fn labels(i: usize) -> Labels {
    let odd = if i % 2 == 1 { "odd" } else { "" };
    let (job, instance) = (format!("job-{}", i % 3), format!("host-{i}"));
    Labels::from_pairs([
        ("__name__", "m"),
        ("job", job.as_str()),
        ("instance", instance.as_str()),
        ("odd", odd),
    ])
}

/// One number for what a histogram says, its bucket bounds excepted. Empty buckets do not count.
pub fn digest(count: f64, sum: f64, buckets: impl Iterator<Item = f64>) -> u64 {
    let buckets = buckets.filter(|b| *b != 0.0).map(f64::to_bits);
    let start = sum.to_bits().wrapping_add(count.to_bits().rotate_left(1));
    buckets.fold(start, u64::wrapping_add)
}

pub fn row_digest(h: &firesteel_model::FloatHistogram) -> u64 {
    if firesteel_model::is_stale_nan(h.sum) {
        return h.sum.to_bits();
    }
    let buckets = h.positive_buckets.iter().chain(&h.negative_buckets).copied();
    digest(h.count, h.sum, buckets.chain([h.zero_count]))
}

/// Everything that a query for all series returns. Histograms by their [`digest`].
pub fn read_all(db: &dyn Queryable) -> Samples {
    read(db, i64::MIN, i64::MAX, &[])
}

pub fn read(db: &dyn Queryable, mint: Timestamp, maxt: Timestamp, m: &[Matcher]) -> Samples {
    read_with(db, &SelectHints::range(mint, maxt), m)
}

/// The newest sample of each series, by a select that says that nothing else is needed.
pub fn read_newest(db: &dyn Queryable, mint: Timestamp, maxt: Timestamp) -> Samples {
    let hints = SelectHints { need: SampleNeed::Newest, ..SelectHints::range(mint, maxt) };
    let mut all = read_with(db, &hints, &[]);
    all.values_mut().for_each(|samples| *samples = samples.pop_last().into_iter().collect());
    all
}

fn read_with(db: &dyn Queryable, hints: &SelectHints, m: &[Matcher]) -> Samples {
    let (mint, maxt) = (hints.start, hints.end);
    let ctx = QueryContext::background();
    let querier = db.querier(mint, maxt).unwrap();
    let selection = querier.select(&ctx, m, hints).unwrap();
    assert!(selection.warnings.is_empty(), "{:?}", selection.warnings);
    let mut interner = Interner::new();
    let merged = MergedSeries::new(&ctx, selection, &mut interner).unwrap();
    let mut reader = merged.reader(&ctx);
    let mut all = Samples::new();
    let mut batch = SampleBatch::default();
    for series in 0..merged.len() {
        reader.open(series).unwrap();
        let samples = all.entry(interner.labels(merged.pairs(series))).or_default();
        // Every other series as queries read floats.
        let (mut times, mut values) = (Vec::new(), Vec::new());
        while series % 2 == 1 && reader.append(&mut times, &mut values).unwrap() {}
        for (&t, v) in times.iter().zip(&values).filter(|(t, _)| (mint..=maxt).contains(*t)) {
            assert_eq!(samples.insert(t, v.to_bits()), None, "twice at {t}");
        }
        while reader.next(&mut batch).unwrap() {
            let values: Vec<u64> = match &batch.values {
                BatchValues::Floats(values) => values.iter().map(|v| v.to_bits()).collect(),
                BatchValues::Histograms(h) => {
                    (0..h.sums.len()).map(|i| row_digest(&h.row(i).unwrap())).collect()
                }
            };
            assert_eq!(values.len(), batch.timestamps.len());
            for (&t, v) in batch.timestamps.iter().zip(values) {
                if (mint..=maxt).contains(&t) {
                    assert_eq!(samples.insert(t, v), None, "twice at {t}");
                }
            }
        }
    }
    all.retain(|_, samples| !samples.is_empty());
    all
}

/// Fails where two sets of samples differ, and shows the first differences only.
pub fn assert_same(found: &Samples, expected: &Samples) {
    let all: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let none = BTreeMap::new();
    let mut differences = Vec::new();
    for labels in all {
        let a = found.get(labels).unwrap_or(&none);
        let b = expected.get(labels).unwrap_or(&none);
        let times: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
        let differ = times.into_iter().filter(|t| a.get(t) != b.get(t));
        differences.extend(
            differ.map(|t| format!("{labels} at {t}: {:x?}, not {:x?}", a.get(t), b.get(t))),
        );
    }
    let n = differences.len();
    differences.truncate(6);
    assert!(n == 0, "{n} differences: {differences:#?}");
}

pub fn append(
    appender: &mut dyn Appender,
    labels: &Labels,
    t: Timestamp,
    v: f64,
) -> Result<SeriesRef, AppendError> {
    appender.append(SeriesKey::Labels(labels), t, Value::Float(v), &AppendOptions::default())
}

/// Commits one sample of each series.
pub fn commit_all(db: &dyn Appendable, series: usize, t: Timestamp, v: f64) {
    let mut appender = db.appender();
    for i in 0..series {
        append(&mut *appender, &labels(i), t, v + i as f64).unwrap();
    }
    appender.commit().unwrap();
}

pub const DIR: &str = "/data";

pub fn sim_builder(fs: &SimFs, clock: &Arc<ManualClock>) -> DbBuilder {
    let clock: Arc<ManualClock> = Arc::clone(clock);
    Db::builder(DIR)
        .fs(Arc::new(fs.clone()))
        .clock(clock)
        .block_range(Duration::from_millis(1000))
        .wal_segment_size(32 * 1024)
        .decoded_chunks(20_000)
        .seed(7)
}

/// Copies a data directory, its lock excepted.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "lock" {
            // Not `fs::copy`: the originals may be read-only.
            std::fs::write(&target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// How many cases a property test has by default; `PROPTEST_CASES` sets another number.
pub fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").map_or(default, |n| n.parse().unwrap())
}

/// A folder of the conformance data; `None`, with a line printed, where it is not there.
pub fn conformance(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("FIRESTEEL_CONFORMANCE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("conformance data not found ({name})"));
    None
}

/// A program of the real Prometheus; `None`, with a line printed, where it is missing.
pub fn peer(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FIRESTEEL_PEERS").map_or_else(
        || {
            let home = std::env::var_os("HOME").unwrap_or_default();
            PathBuf::from(home).join(".cache/firesteel-peers/usr/bin")
        },
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("{name} not found"));
    None
}

/// Says that something was not tested. Straight to standard error: the print macros' output is
/// swallowed where the test passes, and the summary of a run counts these lines.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
