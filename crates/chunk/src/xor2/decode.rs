//! Reading XOR2 chunks.

use crate::{ChunkError, reader::BitReader, start::StartDecoder, window::Window};

use super::{HEADER_LEN, STALE_NAN};

/// Appends the samples of a chunk to `times` and `values`, and their start timestamps (0 for
/// unknown) to `starts` if the chunk has any. Returns how many samples there were.
///
/// Memory is taken for the samples of the header, which are checked against the chunk's length
/// first: 65 535 at most.
///
/// # Errors
/// The chunk is damaged; nothing has been appended then.
pub fn decode(
    chunk: &[u8],
    times: &mut Vec<i64>,
    starts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<usize, ChunkError> {
    let before = (times.len(), starts.len(), values.len());
    let done = decode_all(chunk, times, starts, values);
    if done.is_err() {
        times.truncate(before.0);
        starts.truncate(before.1);
        values.truncate(before.2);
    }
    done
}

fn decode_all(
    chunk: &[u8],
    times: &mut Vec<i64>,
    starts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<usize, ChunkError> {
    let short = |samples| ChunkError::Short { len: chunk.len(), samples };
    let [high, low, header] = *chunk.first_chunk::<HEADER_LEN>().ok_or_else(|| short(0))?;
    let num = usize::from(u16::from_be_bytes([high, low]));
    if num == 0 {
        return Ok(0);
    }
    // 9 bytes, then a bit per sample, the second a byte more.
    if (chunk.len() - HEADER_LEN) * 8 < 72 + 8 * usize::from(num > 1) + num - 1 {
        return Err(short(num));
    }
    let mut reader = BitReader::new(chunk, HEADER_LEN);
    let mut start = StartDecoder::new(header);
    times.reserve(num);
    values.reserve(num);
    if start.any() {
        starts.reserve(num);
    }
    let mut state = State { t: 0, delta: 0, baseline: 0, window: Window::NONE };
    for index in 0..num {
        let at = reader.pos();
        let previous = state.t;
        let value = state.sample(&mut reader, index)?;
        if value != STALE_NAN {
            state.baseline = value;
        }
        if start.any() {
            starts.push(start.next(&mut reader, index, state.t, previous)?);
        }
        reader.check(at, index)?;
        times.push(state.t);
        values.push(f64::from_bits(value));
    }
    Ok(num)
}

struct State {
    t: i64,
    delta: u64,
    /// The last value that is not a staleness marker.
    baseline: u64,
    window: Window,
}

impl State {
    /// Reads time and value; returns the value's bits.
    #[inline(always)]
    fn sample(&mut self, reader: &mut BitReader<'_>, index: usize) -> Result<u64, ChunkError> {
        match index {
            0 => {
                self.t = reader.varint()?;
                Ok(reader.bits(64))
            }
            1 => {
                self.delta = reader.uvarint()?;
                self.step(0);
                self.value(reader)
            }
            _ => self.joint(reader),
        }
    }

    #[inline(always)]
    const fn step(&mut self, dod: i64) {
        self.delta = self.delta.wrapping_add(dod as u64);
        self.t = self.t.wrapping_add(self.delta as i64);
    }

    /// A sample from the third on: one prefix for time and value.
    #[inline(always)]
    fn joint(&mut self, reader: &mut BitReader<'_>) -> Result<u64, ChunkError> {
        let bits = reader.peek();
        match (!bits).leading_zeros() {
            0 => {
                reader.skip(1);
                self.step(0);
                Ok(self.baseline)
            }
            1 => {
                // Another value, and no staleness marker: reuse or a new window.
                reader.skip(3);
                self.step(0);
                let x = if bits >> 61 & 1 == 0 {
                    reader.window(&self.window)
                } else {
                    reader.new_window(&mut self.window)?
                };
                Ok(self.baseline ^ x)
            }
            2 => {
                reader.skip(16);
                self.step((bits << 3) as i64 >> 51);
                self.value(reader)
            }
            3 => {
                reader.skip(24);
                self.step((bits << 4) as i64 >> 44);
                self.value(reader)
            }
            4 => {
                reader.skip(5);
                let dod = reader.bits(64) as i64;
                self.step(dod);
                self.value(reader)
            }
            _ => {
                reader.skip(5);
                self.step(0);
                Ok(STALE_NAN)
            }
        }
    }

    /// A value's own code.
    #[inline(always)]
    fn value(&mut self, reader: &mut BitReader<'_>) -> Result<u64, ChunkError> {
        let bits = reader.peek();
        let x = if bits >> 63 == 0 {
            reader.skip(1);
            0
        } else if bits >> 62 == 0b10 {
            reader.skip(2);
            reader.window(&self.window)
        } else if bits >> 61 == 0b110 {
            reader.skip(3);
            reader.new_window(&mut self.window)?
        } else {
            reader.skip(3);
            return Ok(STALE_NAN);
        };
        Ok(self.baseline ^ x)
    }
}
