//! What Prometheus has taken out of order: its write-behind log and the out-of-order chunks among its
//! head chunks.
//!
//! When a directory is opened these samples go into a head of their own, which queries merge with
//! the others. The first maintenance makes blocks of it (Prometheus marks such blocks with a hint,
//! and so do we) and removes what it came from.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use firesteel_model::{
    Timestamp, Value,
    budget::Budget,
    storage::{AppendOptions, SeriesKey},
};

use super::OpenReport;
use crate::{
    TsdbError,
    fs::Fs,
    head::{Decoded, Head, HeadOptions, Sealed, decode_samples, remove_out_of_order},
    wal::{
        Compression,
        read::{Records, read_segment},
        record::{
            RecordError, RecordType,
            histograms::{self, AnyHistogram},
            samples,
        },
        segments::{list_segments, segment_path},
    },
};

/// The directory of the write-behind log.
pub(super) const WBL_DIR: &str = "wbl";
/// The hint that marks blocks of such samples.
pub(super) const HINT: &str = "from-out-of-order";

enum Late {
    Float(f64),
    Histogram(Arc<AnyHistogram>),
}

/// What was found, by the reference of the series.
#[derive(Default)]
struct Found {
    series: BTreeMap<u64, Vec<(Timestamp, Late)>>,
    first_error: Option<String>,
    bad: usize,
}

impl Found {
    fn bad(&mut self, what: &dyn std::fmt::Display) {
        self.bad += 1;
        self.first_error.get_or_insert_with(|| what.to_string());
    }

    fn chunk(&mut self, series: u64, chunk: &Sealed) {
        let list = self.series.entry(series).or_default();
        let data = chunk.data.memory().unwrap_or_default();
        match decode_samples(chunk.encoding, data) {
            Ok(Decoded::Floats(times, values)) => {
                list.extend(times.into_iter().zip(values.into_iter().map(Late::Float)));
            }
            Ok(Decoded::Histograms(all)) => {
                list.extend(all.into_iter().map(|h| (h.t, Late::Histogram(h.value))));
            }
            Err(error) => self.bad(&error),
        }
    }

    fn records(&mut self, records: Records<'_>) {
        for record in records.iter() {
            if let Err(error) = self.record(record) {
                self.bad(&error);
            }
        }
    }

    /// Markers say that samples so far lie in a chunk, too. Chunks are read all, so samples are
    /// there twice at most, and duplicates fall out later.
    fn record(&mut self, record: &[u8]) -> Result<(), RecordError> {
        match RecordType::of(record) {
            RecordType::Samples | RecordType::SamplesV2 => {
                let mut all = Vec::new();
                let result = samples::decode(record, &mut all);
                for s in all {
                    self.series.entry(s.series).or_default().push((s.t, Late::Float(s.v)));
                }
                result
            }
            RecordType::Histograms
            | RecordType::FloatHistograms
            | RecordType::CustomHistograms
            | RecordType::CustomFloatHistograms
            | RecordType::HistogramsV2
            | RecordType::FloatHistogramsV2 => {
                let mut all = Vec::new();
                let result = histograms::decode(record, &mut all);
                for h in all {
                    let value = Late::Histogram(h.value.into());
                    self.series.entry(h.series).or_default().push((h.t, value));
                }
                result
            }
            _ => Ok(()),
        }
    }
}

/// Reads the late samples of a directory, whose log `head` holds. `None` where there are none.
pub(super) fn read(
    fs: &dyn Fs,
    dir: &Path,
    head: &Head,
    chunks: &[(u64, Sealed)],
    report: &mut OpenReport,
) -> Result<Option<Arc<Head>>, TsdbError> {
    let mut found = Found::default();
    for (series, chunk) in chunks {
        found.chunk(*series, chunk);
    }
    let wbl = dir.join(WBL_DIR);
    for segment in list_segments(fs, &wbl)? {
        let path = segment_path(&wbl, segment);
        let data = fs.read_all(&path).map_err(TsdbError::io("read", &path))?;
        let summary = read_segment(&data, |records| found.records(records));
        for damage in summary.damage {
            let (path, from, to) = (path.display(), damage.start, damage.end);
            report.not_read.push(format!("{path}, bytes {from} to {to}: {}", damage.what));
        }
    }
    if let Some(error) = &found.first_error {
        let n = found.bad;
        report
            .not_read
            .push(format!("{n} records or chunks of out-of-order samples, the first: {error}"));
    }
    fill(head, found, report)
}

/// Puts the samples into a head of their own.
fn fill(
    head: &Head,
    found: Found,
    report: &mut OpenReport,
) -> Result<Option<Arc<Head>>, TsdbError> {
    let options = HeadOptions {
        // Chunks of any length in time: these samples may be far apart.
        chunk_range: i64::MAX,
        compression: Compression::None,
        max_exemplars: 0,
        budget: Budget::unlimited(),
    };
    let late = Head::new(&options, false);
    let (mut taken, mut unknown) = (0, 0);
    // Several references may be of one series.
    let mut by_labels: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (reference, samples) in found.series {
        match head.labels_of(reference) {
            Some(labels) => by_labels.entry(labels).or_default().extend(samples),
            None => unknown += samples.len(),
        }
    }
    for (labels, mut samples) in by_labels {
        samples.sort_by_key(|s| s.0);
        samples.dedup_by_key(|s| s.0);
        let mut appender = late.appender();
        for (t, value) in &samples {
            let value = match value {
                Late::Float(v) => Value::Float(*v),
                Late::Histogram(h) => match &**h {
                    AnyHistogram::Int(h) => Value::Histogram(h),
                    AnyHistogram::Float(h) => Value::FloatHistogram(h),
                },
            };
            let key = SeriesKey::Labels(&labels);
            if let Err(error) = appender.append(key, *t, value, &AppendOptions::default()) {
                report.not_read.push(format!("out-of-order sample of {labels} at {t}: {error}"));
            }
        }
        let committed = appender.commit().map_err(|e| TsdbError::Limit(e.to_string()))?;
        taken += committed.samples;
    }
    if unknown > 0 {
        report.not_read.push(format!("{unknown} out-of-order samples of unknown series"));
    }
    report.late_samples = taken;
    Ok((taken > 0).then(|| Arc::new(late)))
}

/// Removes what the samples came from.
pub(super) fn remove(fs: &dyn Fs, dir: &Path) -> Result<(), TsdbError> {
    let wbl = dir.join(WBL_DIR);
    if fs.exists(&wbl).map_err(TsdbError::io("look for", &wbl))? {
        fs.remove_dir_all(&wbl).map_err(TsdbError::io("remove", &wbl))?;
    }
    remove_out_of_order(fs, dir)
}
