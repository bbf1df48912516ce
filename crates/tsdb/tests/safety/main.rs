//! Nothing is lost, and every loss is reported: crashes, flipped bytes, full disks, clock jumps.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code outside of test functions")]

#[path = "../common/mod.rs"]
mod common;

mod crash;
mod flips;
mod follow;
mod space;
mod verify;

use std::{path::Path, path::PathBuf, sync::Arc};

use common::Samples;
use firesteel_model::{
    Histogram, HistogramLayout, Labels, Span, Timestamp, Value,
    clock::ManualClock,
    storage::{AppendError, AppendOptions, Appendable, Appender, CommitStats, SeriesKey},
};
use firesteel_tsdb::{
    Db,
    fs::{Fs, SimFs},
};

/// What a batch has of a series.
enum Sample {
    Float(f64),
    Histogram(Histogram),
}

/// A histogram whose numbers follow from `n`.
fn histogram(n: i64) -> Histogram {
    let layout = HistogramLayout {
        schema: 1,
        zero_threshold: 0.001,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        ..HistogramLayout::default()
    };
    let n = n as u64;
    Histogram {
        layout,
        zero_count: n,
        count: 3 * n + 3,
        sum: n as f64 * 1.5,
        positive_deltas: vec![n as i64 + 1, 1],
        ..Histogram::default()
    }
}

/// What a query makes of it, see [`common::digest`].
fn digest(h: &Histogram) -> u64 {
    let (mut sum, mut buckets) = (0, vec![h.zero_count as f64]);
    for delta in &h.positive_deltas {
        sum += delta;
        buckets.push(sum as f64);
    }
    common::digest(h.count as f64, h.sum, buckets.into_iter())
}

/// The samples of the n-th commit, all at the same time: floats, histograms, series that are new with
/// every 20th, and once so many that their records go over pages.
fn batch(n: i64) -> Vec<(Labels, Sample)> {
    let first = (n / 20) as usize;
    let mut all: Vec<_> = (first..first + 5)
        .map(|i| (common::labels(i), Sample::Float(n as f64 + i as f64 / 8.0)))
        .collect();
    for i in 0..2 {
        let kind = if i == 0 { "a" } else { "b" };
        let labels = Labels::from_pairs([("__name__", "h"), ("kind", kind)]);
        all.push((labels, Sample::Histogram(histogram(n + i))));
    }
    if n == 12 {
        let many = |i: usize| {
            let id = format!("series-{i}-{}", "x".repeat(400));
            Labels::from_pairs([("__name__", "many"), ("id", &id)])
        };
        all.extend((0..100).map(|i| (many(i), Sample::Float(i as f64))));
    }
    all
}

/// Appends the samples of the n-th commit.
fn append_batch(appender: &mut dyn Appender, n: i64) -> Result<(), AppendError> {
    for (labels, sample) in batch(n) {
        let value = match &sample {
            Sample::Float(v) => Value::Float(*v),
            Sample::Histogram(h) => Value::Histogram(h),
        };
        let key = SeriesKey::Labels(&labels);
        appender.append(key, time(n), value, &AppendOptions::default())?;
    }
    Ok(())
}

fn commit(db: &Db, n: i64) -> Result<CommitStats, AppendError> {
    let mut appender = db.appender();
    append_batch(&mut *appender, n)?;
    appender.commit()
}

/// When the n-th commit is.
const fn time(n: i64) -> Timestamp {
    100 * n
}

/// What queries see of the n-th commit.
fn expected(n: i64) -> Vec<(Labels, u64)> {
    let bits = |sample: &Sample| match sample {
        Sample::Float(v) => v.to_bits(),
        Sample::Histogram(h) => digest(h),
    };
    batch(n).iter().map(|(labels, sample)| (labels.clone(), bits(sample))).collect()
}

/// All of the first commits.
fn expected_all(commits: i64) -> Samples {
    let mut all = Samples::new();
    for n in 0..commits {
        for (labels, v) in expected(n) {
            all.entry(labels).or_default().insert(time(n), v);
        }
    }
    all
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(0))
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().unwrap())
}

/// All files below a directory with their lengths.
fn files(fs: &SimFs, dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in fs.read_dir(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            all.extend(files(fs, &path));
        } else {
            all.push((path.clone(), fs.metadata(&path).unwrap().len));
        }
    }
    all
}
