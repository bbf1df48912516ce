//! Reading XOR chunks, all samples of one at a time.

use crate::{
    ChunkError,
    bits::{peek, read, sign_extend_high},
    varint,
};

use super::{HEADER_LEN, XorState};

/// Runs of samples at a steady pace with a steady value are spread out from this length on.
const MIN_RUN: usize = 3;

/// Where a decoder is.
struct Cursor {
    /// Next bit.
    pos: usize,
    t: i64,
    delta: u64,
    v: u64,
    /// Window of the value before: trailing zeros and significant bits. Without one it is the
    /// whole word, as Prometheus' reader has it.
    trailing: u32,
    significant: u32,
    /// Whether a window was ever set.
    window: bool,
}

/// Appends the samples of a chunk to `times` and `values` and returns how many there were.
///
/// Memory is taken for the samples of the header, which are checked against the chunk's length
/// first: 65 535 at most.
///
/// # Errors
/// The chunk is damaged; nothing has been appended then.
pub fn decode(
    chunk: &[u8],
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<usize, ChunkError> {
    decode_with::<false>(chunk, (i64::MIN, i64::MAX), times, values)
}

/// Appends the samples from `mint` to `maxt`, both inclusive, and returns how many there were.
/// Stops at the first sample after `maxt`; what follows it is not looked at.
///
/// # Errors
/// The chunk is damaged up to that point; nothing has been appended then.
pub fn decode_range(
    chunk: &[u8],
    mint: i64,
    maxt: i64,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<usize, ChunkError> {
    decode_with::<true>(chunk, (mint, maxt), times, values)
}

/// The state with which an encoder goes on after the last sample of a chunk.
///
/// # Errors
/// The chunk is damaged, or has bytes after its last sample.
pub fn resume(chunk: &[u8]) -> Result<XorState, ChunkError> {
    let num = header(chunk)?;
    if num == 0 {
        return Ok(XorState::new());
    }
    let (mut times, mut values) = (vec![0; num], vec![0.0; num]);
    let mut cursor = Cursor::first(chunk)?;
    cursor.run::<false>(chunk, (i64::MIN, i64::MAX), &mut times, &mut values)?;
    let c = &cursor;
    if c.pos.div_ceil(8) != chunk.len() {
        return Err(ChunkError::Short { len: chunk.len(), samples: num });
    }
    let window = c.window.then(|| (64 - c.significant - c.trailing, c.trailing));
    Ok(XorState::at_end((c.t, c.v, c.delta), num as u16, c.pos, window))
}

/// The number of samples, checked against the length: every sample but the first two takes two
/// bits at least.
fn header(chunk: &[u8]) -> Result<usize, ChunkError> {
    let (head, body) = chunk
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(ChunkError::Short { len: chunk.len(), samples: 0 })?;
    let samples = usize::from(u16::from_be_bytes(*head));
    let least = match samples {
        0 => 0,
        1 => 72,
        n => 72 + 9 + 2 * (n - 2),
    };
    if least > body.len() * 8 {
        return Err(ChunkError::Short { len: chunk.len(), samples });
    }
    Ok(samples)
}

fn decode_with<const RANGED: bool>(
    chunk: &[u8],
    range: (i64, i64),
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<usize, ChunkError> {
    let num = header(chunk)?;
    if num == 0 {
        return Ok(0);
    }
    let mut cursor = Cursor::first(chunk)?;
    let (times_before, values_before) = (times.len(), values.len());
    times.resize(times_before + num, 0);
    values.resize(values_before + num, 0.0);
    let done = cursor.run::<RANGED>(
        chunk,
        range,
        times.get_mut(times_before..).unwrap_or_default(),
        values.get_mut(values_before..).unwrap_or_default(),
    );
    let kept = *done.as_ref().unwrap_or(&0);
    times.truncate(times_before + kept);
    values.truncate(values_before + kept);
    done
}

impl Cursor {
    /// Reads the first sample.
    fn first(chunk: &[u8]) -> Result<Self, ChunkError> {
        let start = HEADER_LEN * 8;
        let body = chunk.get(HEADER_LEN..).unwrap_or_default();
        let (t, n) = varint::varint(body).ok_or(ChunkError::BadVarint { bit: start })?;
        let at = start + n * 8;
        if at + 64 > chunk.len() * 8 {
            return Err(ChunkError::Truncated { bit: start, sample: 0 });
        }
        let v = read(chunk, at, 64);
        Ok(Self { pos: at + 64, t, delta: 0, v, trailing: 0, significant: 64, window: false })
    }

    /// Reads the other samples of a chunk into slices that have room for all of them. Returns how
    /// many are in the range.
    #[inline(always)]
    fn run<const RANGED: bool>(
        &mut self,
        chunk: &[u8],
        (mint, maxt): (i64, i64),
        times: &mut [i64],
        values: &mut [f64],
    ) -> Result<usize, ChunkError> {
        let num = times.len();
        let values = values.get_mut(..num).unwrap_or_default();
        if values.len() != num || num == 0 {
            return Ok(0);
        }
        let end = chunk.len() * 8;
        let mut out = 0;
        times[0] = self.t;
        values[0] = f64::from_bits(self.v);
        if !RANGED || self.t >= mint {
            out = 1;
        }
        if RANGED && self.t > maxt {
            return Ok(0);
        }
        if num == 1 {
            return Ok(out);
        }
        self.second(chunk)?;
        let (mut pos, mut t, mut delta, mut v) = (self.pos, self.t, self.delta, self.v);
        let (mut trailing, mut significant, mut window) =
            (self.trailing, self.significant, self.window);
        if RANGED && t > maxt {
            return Ok(out);
        }
        times[out] = t;
        values[out] = f64::from_bits(v);
        out += usize::from(!RANGED || t >= mint);

        let mut i = 2;
        while i < num {
            let start = pos;
            let mut bits = peek(chunk, pos);
            // Two zeros are a sample like the one before.
            let run = (bits.leading_zeros().min(57) / 2) as usize;
            if !RANGED && run >= MIN_RUN {
                let run = run.min(num - i);
                pos += 2 * run;
                if pos > end {
                    return Err(ChunkError::Truncated { bit: start, sample: i });
                }
                let value = f64::from_bits(v);
                for (time, slot) in times[i..i + run].iter_mut().zip(&mut values[i..i + run]) {
                    t = t.wrapping_add(delta as i64);
                    *time = t;
                    *slot = value;
                }
                i += run;
                continue;
            }
            if bits >> 63 == 0 {
                bits <<= 1;
                pos += 1;
            } else {
                let (dod, taken) = dod(chunk, pos, bits);
                delta = delta.wrapping_add(dod as u64);
                pos += taken;
                bits = if taken <= 24 { bits << taken } else { peek(chunk, pos) };
            }
            t = t.wrapping_add(delta as i64);
            // At least 33 bits of `bits` are real here.
            if bits >> 63 == 0 {
                pos += 1;
            } else {
                if bits >> 62 == 0b10 {
                    pos += 2;
                } else {
                    let leading = (bits >> 57) as u32 & 31;
                    significant = match (bits >> 51) as u32 & 63 {
                        0 => 64,
                        n => n,
                    };
                    if leading + significant > 64 {
                        return Err(ChunkError::BadWindow { bit: start, leading, significant });
                    }
                    trailing = 64 - leading - significant;
                    window = true;
                    pos += 13;
                }
                v ^= read(chunk, pos, significant) << trailing;
                pos += significant as usize;
            }
            if pos > end {
                return Err(ChunkError::Truncated { bit: start, sample: i });
            }
            if RANGED {
                if t > maxt {
                    break;
                }
                times[out] = t;
                values[out] = f64::from_bits(v);
                out += usize::from(t >= mint);
            } else {
                times[i] = t;
                values[i] = f64::from_bits(v);
            }
            i += 1;
        }
        *self = Self { pos, t, delta, v, trailing, significant, window };
        Ok(if RANGED { out } else { num })
    }

    /// Reads the second sample, whose time is a plain difference.
    fn second(&mut self, chunk: &[u8]) -> Result<(), ChunkError> {
        let start = self.pos;
        // The first sample ends at a byte, and so does this number.
        let rest = chunk.get(start / 8..).unwrap_or_default();
        let (delta, n) = varint::uvarint(rest).ok_or(ChunkError::BadVarint { bit: start })?;
        self.pos += n * 8;
        self.delta = delta;
        self.t = self.t.wrapping_add(delta as i64);
        let bits = peek(chunk, self.pos);
        if bits >> 63 == 0 {
            self.pos += 1;
        } else {
            if bits >> 62 == 0b10 {
                self.pos += 2;
            } else {
                let leading = (bits >> 57) as u32 & 31;
                let significant = match (bits >> 51) as u32 & 63 {
                    0 => 64,
                    n => n,
                };
                if leading + significant > 64 {
                    return Err(ChunkError::BadWindow { bit: start, leading, significant });
                }
                self.significant = significant;
                self.trailing = 64 - leading - significant;
                self.window = true;
                self.pos += 13;
            }
            self.v ^= read(chunk, self.pos, self.significant) << self.trailing;
            self.pos += self.significant as usize;
        }
        if self.pos > chunk.len() * 8 {
            return Err(ChunkError::Truncated { bit: start, sample: 1 });
        }
        Ok(())
    }
}

/// A difference of time differences that is not 0, and the bits it takes. `bits` are those at
/// `pos`.
#[inline(always)]
fn dod(chunk: &[u8], pos: usize, bits: u64) -> (i64, usize) {
    if bits >> 62 == 0b10 {
        (sign_extend_high(bits << 2 >> 50, 14), 16)
    } else if bits >> 61 == 0b110 {
        (sign_extend_high(bits << 3 >> 47, 17), 20)
    } else if bits >> 60 == 0b1110 {
        (sign_extend_high(bits << 4 >> 44, 20), 24)
    } else {
        (read(chunk, pos + 4, 64) as i64, 68)
    }
}
