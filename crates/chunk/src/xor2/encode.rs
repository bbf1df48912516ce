//! Writing XOR2 chunks.

use crate::{
    ChunkError,
    bits::BitWriter,
    writer::{ChunkBuffer, PutWindow, StartEncoder, low, next_count, put_varint},
};

use super::{HEADER_LEN, MAX_SAMPLES, STALE_NAN, decode};

/// The most bytes that a sample adds: time or dod, value, start.
const MAX_SAMPLE_LEN: usize = 10 + 11 + StartEncoder::MAX_LEN;

/// An XOR2 chunk being written, of [`MAX_SAMPLES`] samples at most.
#[derive(Clone, Debug)]
pub struct Xor2Encoder {
    buffer: ChunkBuffer,
    num: usize,
    t: i64,
    delta: u64,
    /// The last value that is not a staleness marker.
    baseline: u64,
    window: PutWindow,
    start: StartEncoder,
}

impl Default for Xor2Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Xor2Encoder {
    /// An empty chunk.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: ChunkBuffer::new(HEADER_LEN),
            num: 0,
            t: 0,
            delta: 0,
            baseline: 0,
            window: PutWindow::NONE,
            start: StartEncoder::default(),
        }
    }

    /// Number of samples.
    #[must_use]
    pub const fn num_samples(&self) -> usize {
        self.num
    }

    /// The chunk as it stands.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// Goes on with a chunk that was written before.
    ///
    /// # Errors
    /// It is damaged, or has as many samples as it may have.
    pub fn resume(chunk: &[u8]) -> Result<Self, ChunkError> {
        let (mut times, mut starts, mut values) = (Vec::new(), Vec::new(), Vec::new());
        decode(chunk, &mut times, &mut starts, &mut values)?;
        let mut encoder = Self::new();
        for (i, (&t, &v)) in times.iter().zip(&values).enumerate() {
            encoder.append(t, starts.get(i).copied().unwrap_or(0), v)?;
        }
        Ok(encoder)
    }

    /// Appends a sample; `start` is its start timestamp, 0 for unknown.
    ///
    /// # Errors
    /// [`ChunkError::TooManySamples`] at [`MAX_SAMPLES`]; nothing has changed then.
    pub fn append(&mut self, t: i64, start: i64, v: f64) -> Result<(), ChunkError> {
        if self.num >= MAX_SAMPLES {
            return Err(ChunkError::TooManySamples);
        }
        self.append_any(t, start, v)
    }

    /// As [`Xor2Encoder::append`], up to what the header can count.
    pub(super) fn append_any(&mut self, t: i64, start: i64, v: f64) -> Result<(), ChunkError> {
        let num = next_count(self.num, 16)?;
        let bits = v.to_bits();
        let delta = (t as u64).wrapping_sub(self.t as u64);
        let dod = delta.wrapping_sub(self.delta) as i64;
        let (index, previous) = (self.num, self.t);
        let (baseline, window, starts) = (self.baseline, &mut self.window, &mut self.start);
        let mut header = 0;
        self.buffer.write(MAX_SAMPLE_LEN, |out| {
            match index {
                0 => {
                    put_varint(out, t);
                    out.put(bits, 64);
                }
                1 => {
                    out.put_uvarint(delta);
                    put_value(out, bits, baseline, window);
                }
                _ => put_joint(out, dod, bits, baseline, window),
            }
            header = starts.put(out, index, t, previous, start);
        });
        self.buffer.header(|bytes| {
            let [high, low] = (num as u16).to_be_bytes();
            *bytes = [high, low, bytes[2] | header];
        });
        if bits != STALE_NAN {
            self.baseline = bits;
        }
        self.t = t;
        self.delta = if index == 0 { 0 } else { delta };
        self.num = num;
        Ok(())
    }
}

fn put_joint(out: &mut BitWriter<'_>, dod: i64, bits: u64, baseline: u64, window: &mut PutWindow) {
    match dod {
        0 if bits == STALE_NAN => return out.put(0b1_1111, 5),
        0 if bits == baseline => return out.put(0, 1),
        0 => return window.put(out, bits ^ baseline, (0b100, 3), (0b101, 3)),
        -4096..=4095 => out.put(0b110 << 13 | low(dod, 13), 16),
        -524_288..=524_287 => out.put(0b1110 << 20 | low(dod, 20), 24),
        _ => {
            out.put(0b1_1110, 5);
            out.put(dod as u64, 64);
        }
    }
    put_value(out, bits, baseline, window);
}

fn put_value(out: &mut BitWriter<'_>, bits: u64, baseline: u64, window: &mut PutWindow) {
    if bits == STALE_NAN {
        out.put(0b111, 3);
    } else if bits == baseline {
        out.put(0, 1);
    } else {
        window.put(out, bits ^ baseline, (0b10, 2), (0b110, 3));
    }
}
