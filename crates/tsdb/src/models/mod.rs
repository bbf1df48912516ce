//! Models of the head's protocols: readers, writers and maintenance side by side, in many orders.
//!
//! Each runs some hundred orders in the usual test run; `FIRESTEEL_MODEL_RUNS` sets another number.

mod append;
mod chunks;
mod create;
mod reclaim;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicI64},
};

use firesteel_model::{
    Histogram, HistogramLayout, Labels, Matcher, Span, Timestamp, Value,
    budget::Budget,
    storage::{
        AppendError, AppendOptions, Appender, BatchValues, CommitStats, Interner, Querier,
        QueryContext, SampleBatch, SelectHints, SeriesKey, merge::MergedSeries,
    },
};

use crate::{
    head::{DEFAULT_CAP, Formats, Head, HeadOptions},
    wal::Compression,
};

/// Samples by series and time; of a histogram its count.
type Samples = BTreeMap<Labels, BTreeMap<Timestamp, f64>>;

/// What is acknowledged, by writer; not a place where others go on.
type Acknowledged = [AtomicI64; 2];

fn series(group: usize, i: usize) -> Labels {
    let (group, i) = (format!("g{group}"), i.to_string());
    Labels::from_pairs([("__name__", "m"), ("group", group.as_str()), ("i", i.as_str())])
}

fn head(chunk_range: i64) -> Arc<Head> {
    Arc::new(Head::new(
        &HeadOptions {
            decoded: None,
            chunk_range,
            compression: Compression::None,
            max_exemplars: 0,
            late_window: 0,
            late_cap: DEFAULT_CAP,
            formats: Formats::default(),
            budget: Budget::unlimited(),
        },
        false,
    ))
}

/// A histogram with this count.
fn histogram(count: u64) -> Histogram {
    let layout = HistogramLayout {
        schema: 1,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        ..HistogramLayout::default()
    };
    Histogram {
        layout,
        count,
        sum: count as f64,
        positive_deltas: vec![count as i64],
        ..Histogram::default()
    }
}

/// Appends one sample to each series and commits: the value is the time.
fn commit(
    mut appender: Box<dyn Appender + '_>,
    all: impl Iterator<Item = Labels>,
    t: Timestamp,
) -> Result<CommitStats, AppendError> {
    for labels in all {
        let key = SeriesKey::Labels(&labels);
        let options = AppendOptions::default();
        if labels.get("kind") == Some("histogram") {
            appender.append(key, t, Value::Histogram(&histogram(t as u64)), &options)?;
        } else {
            appender.append(key, t, Value::Float(t as f64), &options)?;
        }
    }
    appender.commit()
}

/// What a view sees of the series that satisfy the matchers; those without samples are in it too.
fn read(querier: &dyn Querier, matchers: &[Matcher]) -> Samples {
    let ctx = QueryContext::background();
    let hints = SelectHints::range(i64::MIN, i64::MAX);
    let selection = querier.select(&ctx, matchers, &hints).unwrap();
    assert!(selection.warnings.is_empty(), "{:?}", selection.warnings);
    let mut interner = Interner::new();
    let merged = MergedSeries::new(&ctx, selection, &mut interner).unwrap();
    let mut reader = merged.reader(&ctx);
    let mut batch = SampleBatch::default();
    let mut all = Samples::new();
    for i in 0..merged.len() {
        let samples = all.entry(interner.labels(merged.pairs(i))).or_default();
        reader.open(i).unwrap();
        while reader.next(&mut batch).unwrap() {
            let values = match &batch.values {
                BatchValues::Floats(values) => values.clone(),
                BatchValues::Histograms(h) => h.counts.clone(),
            };
            for (&t, v) in batch.timestamps.iter().zip(values) {
                assert_eq!(samples.insert(t, v), None, "twice at {t}");
            }
        }
    }
    all
}

/// The number of commits that a view sees of a group whose commits are at the times 1, 2, ...; fails
/// where it sees a part of one, or one without those before it, or a value that was not written.
fn whole_commits(all: &Samples, of_group: &[Labels], first: Timestamp) -> i64 {
    let none = BTreeMap::new();
    let seen = |labels: &Labels| all.get(labels).unwrap_or(&none);
    let times: Vec<i64> = of_group.first().map_or(vec![], |l| seen(l).keys().copied().collect());
    for (i, &t) in times.iter().enumerate() {
        assert_eq!(t, first + i as i64, "a gap: {times:?}");
    }
    for labels in of_group {
        assert!(seen(labels).keys().eq(times.iter()), "a part of a commit: {all:?}");
        assert!(seen(labels).iter().all(|(&t, &v)| v == t as f64), "a wrong value: {all:?}");
    }
    times.last().copied().unwrap_or(first - 1)
}
