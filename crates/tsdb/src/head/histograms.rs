//! Histogram chunks from histograms.
//!
//! A chunk has one layout, one kind of counts and no counter reset; where one of these changes,
//! another begins. Where Prometheus encodes a whole chunk anew for additional buckets, we begin one,
//! which its readers take like any other. Source of the rules: Prometheus
//! `tsdb/chunkenc/{histogram,float_histogram}.go`.

use firesteel_chunk::{
    ChunkError, Encoding, HistogramEncoder,
    histogram::{CounterReset, Layout, Span},
};
use firesteel_model::{
    CounterResetHint, FloatHistogram, HistogramLayout, Timestamp,
    histogram::{bucket_indexes, span_buckets},
    is_stale_nan,
};

use super::stripe::HistogramSample;
use crate::wal::record::histograms::AnyHistogram;

/// Samples per chunk at most.
const SAMPLES: usize = 120;
/// A chunk of this many bytes takes no more samples, if it has at least [`MIN_SAMPLES`].
const BYTES: usize = 1024;
const MIN_SAMPLES: usize = 10;

/// A chunk that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) mint: Timestamp,
    pub(crate) maxt: Timestamp,
    pub(crate) encoding: Encoding,
    pub(crate) data: Vec<u8>,
}

/// The open chunk of histograms of a series. It has a sample at least.
#[derive(Debug)]
pub(super) struct Open {
    encoder: HistogramEncoder,
    encoding: Encoding,
    layout: HistogramLayout,
    gauge: bool,
    stale: bool,
    mint: Timestamp,
    /// A sample at or after this does not go into the chunk.
    end: Timestamp,
    last: HistogramSample,
}

/// Appends the chunks of histograms, in order of time, of a series to `out`. Returns how many
/// cannot be encoded because their buckets and spans do not fit together; they are left out.
pub(crate) fn encode(samples: &[HistogramSample], out: &mut Vec<Made>) -> usize {
    let mut open: Option<Open> = None;
    let mut bad = 0;
    for sample in samples {
        let appended = match &mut open {
            Some(open) => open.append(sample.clone(), |_| Timestamp::MAX),
            none => Open::new(sample.clone(), None, |_| Timestamp::MAX).map(|o| {
                *none = Some(o);
                None
            }),
        };
        match appended {
            Ok(closed) => out.extend(closed),
            Err(_) => bad += 1,
        }
    }
    out.extend(open.as_ref().map(Open::made));
    bad
}

impl Open {
    /// A chunk with its first sample. `previous` is the sample before it; `end` is told the time of
    /// the first sample and says where the chunk has to end.
    ///
    /// # Errors
    /// The sample cannot be encoded: its buckets and its spans do not fit together, or are too
    /// many.
    pub(super) fn new(
        sample: HistogramSample,
        previous: Option<&FloatHistogram>,
        end: impl FnOnce(Timestamp) -> Timestamp,
    ) -> Result<Self, ChunkError> {
        if !counts_fit(&sample.value) {
            return Err(ChunkError::BadLayout { bit: 0, what: "other buckets than the spans say" });
        }
        let current = float(&sample.value);
        let reset = reset(previous, &current);
        let (encoding, layout) = (encoding(&sample), sample.value.layout());
        let mut open = Self {
            encoder: HistogramEncoder::new(encoding, reset, to_chunk(layout))?,
            encoding,
            layout: layout.clone(),
            gauge: is_gauge(&current),
            stale: false,
            mint: sample.t,
            end: end(sample.t),
            last: sample.clone(),
        };
        open.put(sample)?;
        Ok(open)
    }

    /// Appends a sample that is newer than those in the chunk. Where it cannot go into that, another
    /// begins, and the one before is returned.
    ///
    /// # Errors
    /// As [`Open::new`]; nothing has changed then.
    pub(super) fn append(
        &mut self,
        sample: HistogramSample,
        end: impl FnOnce(Timestamp) -> Timestamp,
    ) -> Result<Option<Made>, ChunkError> {
        let previous = float(&self.last.value);
        if counts_fit(&sample.value) {
            let current = float(&sample.value);
            if self.takes(&sample, &current, reset(Some(&previous), &current)) {
                self.put(sample)?;
                return Ok(None);
            }
        }
        let next = Self::new(sample, Some(&previous), end)?;
        Ok(Some(std::mem::replace(self, next).made()))
    }

    /// Whether a sample can be added.
    fn takes(
        &self,
        sample: &HistogramSample,
        current: &FloatHistogram,
        reset: CounterReset,
    ) -> bool {
        let (num, bytes) = (self.encoder.num_samples(), self.bytes().len());
        if self.encoding != encoding(sample) || num >= SAMPLES || sample.t >= self.end {
            return false;
        }
        if bytes >= BYTES && num >= MIN_SAMPLES {
            return false;
        }
        is_stale_nan(current.sum)
            || !self.stale
                && self.layout == current.layout
                && self.gauge == is_gauge(current)
                && reset != CounterReset::Reset
    }

    fn put(&mut self, sample: HistogramSample) -> Result<(), ChunkError> {
        let (t, start) = (sample.t, sample.start);
        match &*sample.value {
            AnyHistogram::Int(h) => {
                let counts = (h.count, h.zero_count, h.sum);
                let deltas = [&h.positive_deltas[..], &h.negative_deltas].concat();
                self.encoder.append_integer(t, start, counts, &deltas)?;
            }
            AnyHistogram::Float(h) => {
                let counts = (h.count, h.zero_count, h.sum);
                let buckets = [&h.positive_buckets[..], &h.negative_buckets].concat();
                self.encoder.append_float(t, start, counts, &buckets)?;
            }
        }
        self.stale = is_stale_nan(sample.value.sum());
        self.last = sample;
        Ok(())
    }

    /// The newest sample.
    pub(super) const fn last(&self) -> &HistogramSample {
        &self.last
    }

    /// Times of the first and last sample.
    pub(super) const fn range(&self) -> (Timestamp, Timestamp) {
        (self.mint, self.last.t)
    }

    pub(super) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The chunk as it stands.
    pub(super) fn bytes(&self) -> &[u8] {
        self.encoder.bytes()
    }

    /// A copy of the chunk as it stands.
    pub(super) fn made(&self) -> Made {
        let (mint, maxt) = self.range();
        Made { mint, maxt, encoding: self.encoding, data: self.bytes().to_vec() }
    }

    /// Bytes of memory, about: the chunk, what is remembered of each bucket, the last sample.
    pub(super) fn memory(&self) -> usize {
        let buckets: u32 = [&self.layout.positive_spans, &self.layout.negative_spans]
            .into_iter()
            .flatten()
            .map(|s| s.length)
            .sum();
        let fixed = size_of::<Self>() + size_of::<AnyHistogram>();
        fixed + self.bytes().len() * 3 / 2 + buckets as usize * 32 + 128
    }
}

/// Whether a chunk has histograms with float counts.
pub(super) const fn is_float_histogram(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::FloatHistogram | Encoding::FloatHistogramSt)
}

/// Whether a histogram has as many buckets as its spans say.
fn counts_fit(value: &AnyHistogram) -> bool {
    let (positive, negative) = match value {
        AnyHistogram::Int(h) => (h.positive_deltas.len(), h.negative_deltas.len()),
        AnyHistogram::Float(h) => (h.positive_buckets.len(), h.negative_buckets.len()),
    };
    let layout = value.layout();
    is_stale_nan(value.sum())
        || (span_buckets(&layout.positive_spans), span_buckets(&layout.negative_spans))
            == (positive as u64, negative as u64)
}

/// Start timestamps take encodings of their own, which Prometheus 3.5 does not know; so only those
/// who set them get these.
fn encoding(sample: &HistogramSample) -> Encoding {
    match (&*sample.value, sample.start) {
        (AnyHistogram::Int(_), 0) => Encoding::Histogram,
        (AnyHistogram::Float(_), 0) => Encoding::FloatHistogram,
        (AnyHistogram::Int(_), _) => Encoding::HistogramSt,
        (AnyHistogram::Float(_), _) => Encoding::FloatHistogramSt,
    }
}

fn is_gauge(h: &FloatHistogram) -> bool {
    h.counter_reset_hint == CounterResetHint::Gauge
}

fn float(value: &AnyHistogram) -> FloatHistogram {
    match value {
        AnyHistogram::Int(h) => h.to_float(),
        AnyHistogram::Float(h) => h.clone(),
    }
}

/// What a chunk that begins with `current` says about it.
fn reset(previous: Option<&FloatHistogram>, current: &FloatHistogram) -> CounterReset {
    if is_gauge(current) {
        return CounterReset::Gauge;
    }
    if current.counter_reset_hint == CounterResetHint::Reset {
        return CounterReset::Reset;
    }
    let Some(previous) = previous else { return CounterReset::Unknown };
    let (a, b) = (&previous.layout, &current.layout);
    let comparable = a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.custom_values == b.custom_values;
    if !comparable || is_gauge(previous) || is_stale_nan(previous.sum) || is_stale_nan(current.sum)
    {
        return CounterReset::Unknown;
    }
    let fell = current.count < previous.count
        || current.zero_count < previous.zero_count
        || falls(
            (&a.positive_spans, &previous.positive_buckets),
            (&b.positive_spans, &current.positive_buckets),
        )
        || falls(
            (&a.negative_spans, &previous.negative_buckets),
            (&b.negative_spans, &current.negative_buckets),
        );
    if fell { CounterReset::Reset } else { CounterReset::NotReset }
}

type Side<'a> = (&'a [firesteel_model::Span], &'a [f64]);

/// Whether a bucket has become less. One that is gone counts as 0.
fn falls(before: Side<'_>, after: Side<'_>) -> bool {
    if before.0 == after.0 {
        return before.1.iter().zip(after.1).any(|(a, b)| b < a);
    }
    let mut later = bucket_indexes(after.0).zip(after.1).peekable();
    bucket_indexes(before.0).zip(before.1).any(|(index, count)| {
        while later.next_if(|l| l.0 < index).is_some() {}
        let now = later.next_if(|l| l.0 == index).map_or(0.0, |l| *l.1);
        now < *count
    })
}

fn to_chunk(layout: &HistogramLayout) -> Layout {
    let spans = |spans: &[firesteel_model::Span]| {
        spans.iter().map(|s| Span { offset: s.offset, length: s.length }).collect()
    };
    Layout {
        schema: layout.schema,
        zero_threshold: layout.zero_threshold,
        positive_spans: spans(&layout.positive_spans),
        negative_spans: spans(&layout.negative_spans),
        custom_values: layout.custom_values.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firesteel_chunk::histogram;
    use firesteel_model::{Histogram, stale_nan};

    fn sample(t: i64, buckets: &[u64], hint: CounterResetHint) -> HistogramSample {
        let span = firesteel_model::Span { offset: 0, length: buckets.len() as u32 };
        let mut before = 0;
        let deltas = buckets.iter().map(|&b| b as i64 - std::mem::replace(&mut before, b as i64));
        let value = AnyHistogram::Int(Histogram {
            counter_reset_hint: hint,
            layout: HistogramLayout { positive_spans: vec![span], ..HistogramLayout::default() },
            count: buckets.iter().sum(),
            sum: t as f64,
            positive_deltas: deltas.collect(),
            ..Histogram::default()
        });
        HistogramSample { t, start: 0, value: value.into() }
    }

    #[test]
    fn chunks_end_where_their_header_would_be_wrong() {
        use CounterReset::{Gauge, NotReset, Reset, Unknown};
        let plain = CounterResetHint::Unknown;
        let stale = Histogram { sum: stale_nan(), ..Histogram::default() };
        let mut samples = vec![
            sample(1, &[1, 2], plain),
            sample(2, &[1, 3], plain),
            // Another layout.
            sample(3, &[1, 3, 1], plain),
            // Less of one bucket, though more in all.
            sample(4, &[0, 9, 1], plain),
            sample(5, &[0, 9, 1], CounterResetHint::Reset),
            sample(6, &[5, 1], CounterResetHint::Gauge),
            sample(7, &[1, 1], CounterResetHint::Gauge),
            sample(8, &[2, 2], plain),
            sample(9, &[2, 2], plain),
            sample(11, &[3, 3], plain),
        ];
        samples[8].value = AnyHistogram::Int(stale).into();
        let mut broken = sample(10, &[3, 3], plain);
        if let AnyHistogram::Int(h) = std::sync::Arc::make_mut(&mut broken.value) {
            h.positive_deltas.pop();
        }
        samples.insert(9, broken);
        let mut made = Vec::new();
        assert_eq!(encode(&samples, &mut made), 1);
        let found: Vec<_> = made
            .iter()
            .map(|m| {
                let chunk = histogram::decode(m.encoding, &m.data).unwrap();
                assert_eq!(
                    (chunk.times.first(), chunk.times.last()),
                    (Some(&m.mint), Some(&m.maxt))
                );
                (chunk.counter_reset, chunk.times)
            })
            .collect();
        let expected = [
            (Unknown, vec![1, 2]),
            (NotReset, vec![3]),
            (Reset, vec![4]),
            (Reset, vec![5]),
            (Gauge, vec![6, 7]),
            (Unknown, vec![8, 9]),
            (Unknown, vec![11]),
        ];
        assert_eq!(found, expected);
    }
}
