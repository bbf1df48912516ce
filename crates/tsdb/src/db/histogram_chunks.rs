//! Histogram chunks from the head's histograms.

use firesteel_chunk::{Encoding, HistogramAppender};
use firesteel_model::Timestamp;

use crate::head::{HistogramChunk, HistogramSample};

/// A chunk that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) mint: Timestamp,
    pub(crate) maxt: Timestamp,
    pub(crate) encoding: Encoding,
    pub(crate) data: Vec<u8>,
}

impl From<HistogramAppender> for Made {
    fn from(chunk: HistogramAppender) -> Self {
        let (mint, maxt) = chunk.time_range();
        Self { mint, maxt, encoding: chunk.encoding(), data: chunk.bytes().to_vec() }
    }
}

/// Appends the chunks of histograms, in order of time, of a series to `out`. Returns how many
/// cannot be encoded because their buckets and spans do not fit together; they are left out.
pub(crate) fn encode(samples: &[HistogramSample], out: &mut Vec<Made>) -> usize {
    let mut open = HistogramChunk::default();
    let mut bad = 0;
    for sample in samples {
        match open.append(sample.t, sample.start, &sample.value) {
            Ok(done) => out.extend(done.map(Made::from)),
            Err(_) => bad += 1,
        }
    }
    out.extend(open.take().map(Made::from));
    bad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::histograms::AnyHistogram;
    use firesteel_chunk::histogram::{self, CounterReset};
    use firesteel_model::{CounterResetHint, Histogram, HistogramLayout, stale_nan};

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
            // Another bucket: the chunk is written anew.
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
            (Unknown, vec![1, 2, 3]),
            (Reset, vec![4]),
            (Reset, vec![5]),
            (Gauge, vec![6, 7]),
            // Prometheus says so of a counter after gauges.
            (NotReset, vec![8, 9]),
            (Unknown, vec![11]),
        ];
        assert_eq!(found, expected);
    }
}
