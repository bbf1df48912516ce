//! Histogram chunks from the head's histograms.

use firesteel_chunk::{ChunkError, Encoding, HistogramAppender, varint};
use firesteel_model::Timestamp;

use super::{histogram_chunk::HistogramChunk, image::ImageError, stripe::HistogramSample};
use crate::wal::record::{
    Cursor,
    histograms::{self, AnyHistogram},
};

/// A chunk that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) mint: Timestamp,
    pub(crate) maxt: Timestamp,
    pub(crate) encoding: Encoding,
    pub(crate) data: Vec<u8>,
}

impl From<&HistogramAppender> for Made {
    fn from(chunk: &HistogramAppender) -> Self {
        let (mint, maxt) = chunk.time_range();
        Self { mint, maxt, encoding: chunk.encoding(), data: chunk.bytes().to_vec() }
    }
}

/// The open chunk of histograms of a series. It has a sample at least.
#[derive(Debug)]
pub(super) struct Open {
    chunk: HistogramChunk,
    /// A sample at or after this does not go into the chunk.
    end: Timestamp,
    last: HistogramSample,
}

/// Appends the chunks of histograms, in order of time, of a series to `out`. Returns how many
/// cannot be encoded because their buckets and spans do not fit together; they are left out.
/// `starts` says whether the chunks keep start timestamps.
pub(crate) fn encode(samples: &[HistogramSample], starts: bool, out: &mut Vec<Made>) -> usize {
    let mut chunk = HistogramChunk::new(starts);
    let mut bad = 0;
    for sample in samples {
        match chunk.append(sample.t, sample.start, &sample.value, false) {
            Ok(done) => out.extend(done.as_ref().map(Made::from)),
            Err(_) => bad += 1,
        }
    }
    out.extend(chunk.open().map(Made::from));
    bad
}

impl Open {
    /// A chunk with its first sample. `starts` says whether it keeps start timestamps; `end` is told
    /// the time of the sample and says where the chunk has to end.
    ///
    /// # Errors
    /// The sample cannot be encoded: its buckets and its spans do not fit together, or are too
    /// many.
    pub(super) fn new(
        sample: HistogramSample,
        starts: bool,
        end: impl FnOnce(Timestamp) -> Timestamp,
    ) -> Result<Self, ChunkError> {
        let mut chunk = HistogramChunk::new(starts);
        chunk.append(sample.t, sample.start, &sample.value, false)?;
        Ok(Self { chunk, end: end(sample.t), last: sample })
    }

    /// Writes the chunk, so that [`Open::of_image`] can go on with it. The last sample is there once
    /// more, as the chunk may have given it buckets of others.
    pub(super) fn put_image(&self, out: &mut Vec<u8>) {
        varint::put_varint(out, self.end);
        varint::put_uvarint(out, self.bytes().len() as u64);
        out.extend_from_slice(self.bytes());
        let (t, value) = (self.last.t, &*self.last.value);
        let mut record = Vec::new();
        histograms::encode(&mut record, value.record_type(), [(0, t, value)]);
        varint::put_varint(out, self.last.start);
        varint::put_uvarint(out, record.len() as u64);
        out.extend_from_slice(&record);
    }

    /// Reads what [`Open::put_image`] has written.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn of_image(
        encoding: Encoding,
        cursor: &mut Cursor<'_>,
    ) -> Result<Self, ImageError> {
        let failed = |e: ChunkError| ImageError::new(format!("an open chunk of histograms: {e}"));
        let end = cursor.varint("end of an open chunk")?;
        let len = cursor.count(1, "length of an open chunk")?;
        let data = cursor.bytes(len, "an open chunk")?;
        let chunk = HistogramChunk::resume(encoding, data).map_err(failed)?;
        let start = cursor.varint("start of a histogram")?;
        let len = cursor.count(1, "length of a histogram")?;
        let mut last = Vec::new();
        histograms::decode(cursor.bytes(len, "a histogram")?, &mut last)?;
        let newest = chunk.open().map(|open| open.time_range().1);
        let last = last.pop().filter(|l| Some(l.t) == newest);
        let last = last.ok_or(ImageError::new("an open chunk of histograms without its last"))?;
        let last = HistogramSample { t: last.t, start, value: last.value.into() };
        Ok(Self { chunk, end, last })
    }

    /// Appends a sample that is newer than those in the chunk. Where it cannot go into that, another
    /// begins, and the one before is returned.
    ///
    /// # Errors
    /// As [`Open::new`]; nothing has changed then.
    pub(super) fn append(
        &mut self,
        sample: HistogramSample,
        starts: bool,
        end: impl FnOnce(Timestamp) -> Timestamp,
    ) -> Result<Option<Made>, ChunkError> {
        self.chunk.starts = starts;
        let over = sample.t >= self.end;
        let done = self.chunk.append(sample.t, sample.start, &sample.value, over)?;
        if done.is_some() {
            self.end = end(sample.t);
        }
        self.last = sample;
        Ok(done.as_ref().map(Made::from))
    }

    /// The newest sample.
    pub(super) const fn last(&self) -> &HistogramSample {
        &self.last
    }

    /// Times of the first and last sample.
    pub(super) fn range(&self) -> (Timestamp, Timestamp) {
        self.chunk.open().map_or((self.last.t, self.last.t), HistogramAppender::time_range)
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.chunk.open().map_or(Encoding::Histogram, HistogramAppender::encoding)
    }

    /// The chunk as it stands.
    pub(super) fn bytes(&self) -> &[u8] {
        self.chunk.open().map_or(&[], HistogramAppender::bytes)
    }

    /// A copy of the chunk as it stands.
    pub(super) fn made(&self) -> Made {
        let (mint, maxt) = self.range();
        Made { mint, maxt, encoding: self.encoding(), data: self.bytes().to_vec() }
    }

    /// Bytes of memory, about: the chunk, what is remembered of each bucket, the last sample.
    pub(super) fn memory(&self) -> usize {
        let layout = self.last.value.layout();
        let spans = layout.positive_spans.iter().chain(&layout.negative_spans);
        let buckets: u32 = spans.map(|s| s.length).sum();
        let fixed = size_of::<Self>() + size_of::<AnyHistogram>();
        fixed + self.bytes().len() * 3 / 2 + buckets as usize * 32 + 128
    }
}

/// Whether a chunk has histograms with float counts.
pub(super) const fn is_float_histogram(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::FloatHistogram | Encoding::FloatHistogramSt)
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
        assert_eq!(encode(&samples, false, &mut made), 1);
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
