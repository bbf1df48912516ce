//! From chunks to batches.

use std::sync::Arc;

use firesteel_chunk::{
    ChunkError, Encoding,
    histogram::{self, CounterReset, Counts, Histograms, Layout},
    xor, xor2,
};
use firesteel_model::{
    CounterResetHint, HistogramLayout, Span,
    storage::{BatchValues, HistogramBatch, SampleBatch},
};

use super::Interval;

/// Decodes chunks of any encoding; keeps the last histogram layout, which the next chunk most
/// likely shares.
#[derive(Debug, Default)]
pub(crate) struct ChunkDecoder {
    layout: Arc<HistogramLayout>,
    starts: Vec<i64>,
}

/// Appends the samples of an XOR chunk, whose times are said to lie in `of`, that are in `range`.
pub(crate) fn append_floats(
    chunk: &[u8],
    of: Interval,
    range: Interval,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<usize, ChunkError> {
    if of.maxt > range.maxt {
        return xor::decode_range(chunk, range.mint, range.maxt, times, values);
    }
    // Decoding is faster where it need not look at the time, and leaving out the begin is cheap.
    let before = times.len();
    let n = xor::decode(chunk, times, values)?;
    if of.mint >= range.mint {
        return Ok(n);
    }
    let new = times.get(before..).unwrap_or_default();
    let early = new.partition_point(|t| *t < range.mint);
    times.drain(before..before + early);
    values.drain(before..before + early);
    Ok(n - early)
}

impl ChunkDecoder {
    /// Replaces `batch` with the samples of a chunk that are in `range`; `None` for all.
    pub(crate) fn decode(
        &mut self,
        encoding: Encoding,
        chunk: &[u8],
        range: Option<Interval>,
        batch: &mut SampleBatch,
    ) -> Result<(), ChunkError> {
        match encoding {
            Encoding::Xor => {
                let (times, values) = batch.clear_floats();
                match range {
                    None => xor::decode(chunk, times, values)?,
                    Some(range) => xor::decode_range(chunk, range.mint, range.maxt, times, values)?,
                };
                return Ok(());
            }
            Encoding::Xor2 => {
                self.starts.clear();
                let (times, values) = batch.clear_floats();
                xor2::decode(chunk, times, &mut self.starts, values)?;
                std::mem::swap(&mut batch.start_timestamps, &mut self.starts);
            }
            _ => self.put_histograms(histogram::decode(encoding, chunk)?, batch)?,
        }
        if let Some(range) = range {
            retain(batch, |t| range.contains(t));
        }
        Ok(())
    }

    fn put_histograms(
        &mut self,
        found: Histograms,
        batch: &mut SampleBatch,
    ) -> Result<(), ChunkError> {
        let schema = found.layout.schema;
        if !(-4..=8).contains(&schema) && schema != histogram::CUSTOM_BUCKETS_SCHEMA {
            let bit = histogram::HEADER_LEN * 8;
            return Err(ChunkError::BadLayout {
                bit,
                what: "a schema that cannot be computed with",
            });
        }
        let (positive, negative) = (found.layout.num_positive(), found.layout.num_negative());
        let layout = to_model(found.layout);
        if layout != *self.layout {
            self.layout = Arc::new(layout);
        }
        let mut out = HistogramBatch::new(Arc::clone(&self.layout));
        let gauge = found.counter_reset == CounterReset::Gauge;
        // What a chunk says about its first sample holds only if the chunk before it is still
        // there, which is not known here.
        let hint = |i| match i {
            _ if gauge => CounterResetHint::Gauge,
            0 => CounterResetHint::Unknown,
            _ => CounterResetHint::NotReset,
        };
        out.hints = (0..found.times.len()).map(hint).collect();
        out.sums = found.sums;
        match found.counts {
            Counts::Float { counts, zero_counts, buckets } => {
                (out.counts, out.zero_counts) = (counts, zero_counts);
                for row in rows(&buckets, positive + negative) {
                    let (p, n) = row.split_at(positive);
                    out.positive.extend_from_slice(p);
                    out.negative.extend_from_slice(n);
                }
            }
            Counts::Integer { counts, zero_counts, deltas } => {
                out.integer = true;
                out.counts = counts.into_iter().map(|n| n as f64).collect();
                out.zero_counts = zero_counts.into_iter().map(|n| n as f64).collect();
                for row in rows(&deltas, positive + negative) {
                    let (p, n) = row.split_at(positive);
                    put_absolute(p, &mut out.positive);
                    put_absolute(n, &mut out.negative);
                }
            }
        }
        batch.timestamps = found.times;
        batch.start_timestamps = found.starts;
        batch.values = BatchValues::Histograms(out);
        Ok(())
    }
}

/// Rows of a table, none where they have no columns.
fn rows<T>(values: &[T], width: usize) -> impl Iterator<Item = &[T]> {
    values.chunks_exact(width.max(1))
}

fn put_absolute(deltas: &[i64], out: &mut Vec<f64>) {
    let mut sum = 0_i64;
    for &delta in deltas {
        sum = sum.wrapping_add(delta);
        out.push(sum as f64);
    }
}

fn to_model(layout: Layout) -> HistogramLayout {
    let spans = |spans: Vec<histogram::Span>| {
        spans.into_iter().map(|s| Span { offset: s.offset, length: s.length }).collect()
    };
    HistogramLayout {
        schema: layout.schema,
        zero_threshold: layout.zero_threshold,
        positive_spans: spans(layout.positive_spans),
        negative_spans: spans(layout.negative_spans),
        custom_values: layout.custom_values,
    }
}

/// Keeps the samples whose time `keep` wants.
pub(crate) fn retain(batch: &mut SampleBatch, keep: impl Fn(i64) -> bool) {
    let kept: Vec<bool> = batch.timestamps.iter().map(|t| keep(*t)).collect();
    if kept.iter().all(|k| *k) {
        return;
    }
    let kept = &kept[..];
    filter(&mut batch.timestamps, kept, 1);
    filter(&mut batch.start_timestamps, kept, 1);
    match &mut batch.values {
        BatchValues::Floats(values) => filter(values, kept, 1),
        BatchValues::Histograms(h) => {
            let width = |spans: &[Span]| spans.iter().map(|s| s.length as usize).sum();
            let positive = width(&h.layout.positive_spans);
            let negative = width(&h.layout.negative_spans);
            filter(&mut h.hints, kept, 1);
            filter(&mut h.counts, kept, 1);
            filter(&mut h.zero_counts, kept, 1);
            filter(&mut h.sums, kept, 1);
            filter(&mut h.positive, kept, positive);
            filter(&mut h.negative, kept, negative);
        }
    }
}

/// Keeps the rows, of `width` values each, that are wanted.
fn filter<T>(values: &mut Vec<T>, kept: &[bool], width: usize) {
    let mut i = 0;
    values.retain(|_| {
        let row = i / width.max(1);
        i += 1;
        kept.get(row).copied().unwrap_or(false)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_histograms_are_kept_whole() {
        let layout = HistogramLayout {
            positive_spans: vec![Span { offset: 0, length: 2 }],
            negative_spans: vec![Span { offset: 0, length: 1 }],
            ..HistogramLayout::default()
        };
        let mut histograms = HistogramBatch::new(Arc::new(layout));
        for i in 0..4 {
            histograms.push(&firesteel_model::FloatHistogram {
                sum: f64::from(i),
                positive_buckets: vec![f64::from(i); 2],
                negative_buckets: vec![f64::from(-i)],
                ..Default::default()
            });
        }
        let mut batch = SampleBatch {
            timestamps: vec![0, 1, 2, 3],
            start_timestamps: vec![],
            values: BatchValues::Histograms(histograms),
        };
        retain(&mut batch, |t| t % 2 == 1);
        let BatchValues::Histograms(h) = &batch.values else { panic!("histograms") };
        assert_eq!(batch.timestamps, [1, 3]);
        assert_eq!((&h.sums[..], &h.positive[..]), (&[1.0, 3.0][..], &[1.0, 1.0, 3.0, 3.0][..]));
        assert_eq!((h.negative.len(), h.hints.len(), h.row(1).unwrap().sum), (2, 2, 3.0));
    }
}
