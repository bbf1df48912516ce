//! Chunks of floats that are not open in a series' hot record: XOR2, and what is made anew.

use firesteel_chunk::{ChunkError, Encoding, Xor2Encoder, XorEncoder, varint, xor2};
use firesteel_model::Timestamp;

use super::{
    histograms::Made,
    image::ImageError,
    stripe::{self, FloatSample},
};
use crate::wal::record::Cursor;

/// Samples per chunk that is made anew.
const SAMPLES: usize = 120;

/// Appends chunks of floats, in order of time, to `out`: XOR2 where that is wanted, or where there
/// is a start timestamp that only it can keep.
///
/// # Errors
/// None that samples in order can cause.
pub(crate) fn encode(
    samples: &[FloatSample],
    xor2: bool,
    out: &mut Vec<Made>,
) -> Result<(), ChunkError> {
    for part in samples.chunks(SAMPLES) {
        let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
        let (encoding, data) = if xor2 {
            let mut encoder = Xor2Encoder::new();
            part.iter().try_for_each(|s| encoder.append(s.t, s.start, s.v))?;
            (Encoding::Xor2, encoder.bytes().to_vec())
        } else {
            let mut encoder = XorEncoder::new();
            part.iter().try_for_each(|s| encoder.append(s.t, s.v))?;
            (Encoding::Xor, encoder.bytes().to_vec())
        };
        out.push(Made { mint: first.t, maxt: last.t, encoding, data });
    }
    Ok(())
}

/// The open XOR2 chunk of a series. It has a sample at least.
#[derive(Debug)]
pub(super) struct Open {
    chunk: Xor2Encoder,
    first: Timestamp,
    last: (Timestamp, f64),
    /// A sample at or after this does not go into the chunk.
    end: Timestamp,
}

impl Open {
    /// A chunk with its first sample. `end` is told the time of that and says where the chunk has to
    /// end.
    pub(super) fn new(
        sample: FloatSample,
        end: impl FnOnce(Timestamp) -> Timestamp,
    ) -> Result<Self, ChunkError> {
        let mut chunk = Xor2Encoder::new();
        chunk.append(sample.t, sample.start, sample.v)?;
        let (first, last) = (sample.t, (sample.t, sample.v));
        Ok(Self { chunk, first, last, end: end(sample.t) })
    }

    /// Appends a sample that is newer than those in the chunk. Where it does not go into that any
    /// more, another begins, and the one before is returned. Chunks end as those of XOR do, but that
    /// they have [`xor2::MAX_SAMPLES`] at most.
    pub(super) fn append(
        &mut self,
        sample: FloatSample,
        end: impl FnOnce(Timestamp) -> Timestamp,
    ) -> Result<Option<Made>, ChunkError> {
        let num = self.chunk.num_samples();
        let full = self.chunk.bytes().len() > stripe::MAX_BYTES || num >= xor2::MAX_SAMPLES;
        if num == stripe::SAMPLES_PER_CHUNK / 4 && !full {
            self.end = stripe::chunk_end(self.first, self.last.0, self.end);
        }
        if full || sample.t >= self.end {
            let done = self.made();
            *self = Self::new(sample, end)?;
            return Ok(Some(done));
        }
        self.chunk.append(sample.t, sample.start, sample.v)?;
        self.last = (sample.t, sample.v);
        Ok(None)
    }

    pub(super) const fn last(&self) -> (Timestamp, f64) {
        self.last
    }

    pub(super) const fn range(&self) -> (Timestamp, Timestamp) {
        (self.first, self.last.0)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.chunk.bytes()
    }

    pub(super) fn made(&self) -> Made {
        let (mint, maxt) = self.range();
        Made { mint, maxt, encoding: Encoding::Xor2, data: self.bytes().to_vec() }
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.bytes().len() * 3 / 2
    }

    /// Writes the chunk, so that [`Open::of_image`] can go on with it.
    pub(super) fn put_image(&self, out: &mut Vec<u8>) {
        varint::put_varint(out, self.end);
        varint::put_uvarint(out, self.bytes().len() as u64);
        out.extend_from_slice(self.bytes());
    }

    /// Reads what [`Open::put_image`] has written.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn of_image(cursor: &mut Cursor<'_>) -> Result<Self, ImageError> {
        let end = cursor.varint("end of an open chunk")?;
        let len = cursor.count(1, "length of an open chunk")?;
        let data = cursor.bytes(len, "an open chunk")?;
        let failed = |e: ChunkError| ImageError::new(format!("an open chunk of floats: {e}"));
        let chunk = Xor2Encoder::resume(data).map_err(failed)?;
        let (mut times, mut values) = (Vec::new(), Vec::new());
        xor2::decode(data, &mut times, &mut Vec::new(), &mut values).map_err(failed)?;
        match (times.first(), times.last(), values.last()) {
            (Some(&first), Some(&last), Some(&v)) if first <= last => {
                Ok(Self { chunk, first, last: (last, v), end })
            }
            _ => Err(ImageError::new("an open chunk of floats without samples")),
        }
    }
}
