//! Samples out of chunks of any encoding, for what is kept in another form.

use firesteel_chunk::{
    ChunkError, Encoding,
    histogram::{self, CounterReset, Counts, Histograms, Layout},
    xor, xor2,
};
use firesteel_model::{CounterResetHint, FloatHistogram, Histogram, HistogramLayout, Span};

use super::stripe::{FloatSample, HistogramSample};
use crate::wal::record::histograms::AnyHistogram;

/// What a chunk holds.
pub(crate) enum Decoded {
    /// Floats.
    Floats(Vec<FloatSample>),
    /// Histograms.
    Histograms(Vec<HistogramSample>),
}

/// Reads all of a chunk.
pub(crate) fn decode(encoding: Encoding, data: &[u8]) -> Result<Decoded, ChunkError> {
    let (mut times, mut starts, mut values) = (Vec::new(), Vec::new(), Vec::new());
    match encoding {
        Encoding::Xor => xor::decode(data, &mut times, &mut values).map(|_| ())?,
        Encoding::Xor2 => {
            xor2::decode(data, &mut times, &mut starts, &mut values).map(|_| ())?;
        }
        encoding => {
            return Ok(Decoded::Histograms(decode_histograms(encoding, data)?));
        }
    }
    let samples = times.into_iter().zip(values).enumerate();
    let start = |i: usize| starts.get(i).copied().unwrap_or(0);
    let samples = samples.map(|(i, (t, v))| FloatSample { t, start: start(i), v });
    Ok(Decoded::Floats(samples.collect()))
}

/// Reads all of a chunk of histograms.
pub(crate) fn decode_histograms(
    encoding: Encoding,
    data: &[u8],
) -> Result<Vec<HistogramSample>, ChunkError> {
    Ok(rows(&histogram::decode(encoding, data)?))
}

fn rows(found: &Histograms) -> Vec<HistogramSample> {
    let layout = to_model(&found.layout);
    let (positive, width) = (found.layout.num_positive(), found.layout.num_buckets());
    let gauge = found.counter_reset == CounterReset::Gauge;
    let row = |i: usize| {
        let counter_reset_hint = match found.counter_reset {
            _ if gauge => CounterResetHint::Gauge,
            CounterReset::Reset if i == 0 => CounterResetHint::Reset,
            _ => CounterResetHint::Unknown,
        };
        let sum = found.sums.get(i).copied().unwrap_or_default();
        // A stale histogram has no buckets, and then no layout either.
        let stale = firesteel_model::is_stale_nan(sum);
        let layout = if stale { HistogramLayout::default() } else { layout.clone() };
        let width = if stale { 0 } else { width };
        let (range, positive) = (i * width..(i + 1) * width, positive.min(width));
        Some(match &found.counts {
            Counts::Integer { counts, zero_counts, deltas } => {
                let (p, n) = deltas.get(range)?.split_at(positive);
                AnyHistogram::Int(Histogram {
                    counter_reset_hint,
                    layout,
                    zero_count: *zero_counts.get(i)?,
                    count: *counts.get(i)?,
                    sum,
                    positive_deltas: p.to_vec(),
                    negative_deltas: n.to_vec(),
                })
            }
            Counts::Float { counts, zero_counts, buckets } => {
                let (p, n) = buckets.get(range)?.split_at(positive);
                AnyHistogram::Float(FloatHistogram {
                    counter_reset_hint,
                    layout,
                    zero_count: *zero_counts.get(i)?,
                    count: *counts.get(i)?,
                    sum,
                    positive_buckets: p.to_vec(),
                    negative_buckets: n.to_vec(),
                })
            }
        })
    };
    let samples = found.times.iter().enumerate();
    let samples = samples.filter_map(|(i, &t)| {
        let start = found.starts.get(i).copied().unwrap_or(0);
        Some(HistogramSample { t, start, value: row(i)?.into() })
    });
    samples.collect()
}

fn to_model(layout: &Layout) -> HistogramLayout {
    let spans = |spans: &[histogram::Span]| {
        spans.iter().map(|s| Span { offset: s.offset, length: s.length }).collect()
    };
    HistogramLayout {
        schema: layout.schema,
        zero_threshold: layout.zero_threshold,
        positive_spans: spans(&layout.positive_spans),
        negative_spans: spans(&layout.negative_spans),
        custom_values: layout.custom_values.clone(),
    }
}
