//! Reading XOR chunks, all samples of one at a time.

use crate::{
    ChunkError,
    bits::{peek, read, sign_extend_high},
    varint,
    window::Window,
    writer::PutWindow,
};

use super::{HEADER_LEN, XorState};

/// Runs of samples at a steady pace with a steady value are spread out from this length on.
const MIN_RUN: usize = 4;

/// Where a decoder is.
#[derive(Clone, Copy)]
struct Cursor {
    /// Next bit.
    pos: usize,
    t: i64,
    delta: u64,
    v: u64,
    window: Window,
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
    let (leading, significant) = (c.window.leading, c.window.significant);
    let window = PutWindow { leading, trailing: 64 - leading - significant };
    let window = if c.window.explicit { window } else { PutWindow::NONE };
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
        Ok(Self { pos: at + 64, t, delta: 0, v, window: Window::NONE })
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
                self.window =
                    Window::from_bits(bits << 2).ok_or_else(|| Window::bad(start, bits << 2))?;
                self.pos += 2 + Window::CODE_LEN;
            }
            self.v ^= self.window.read(chunk, self.pos);
            self.pos += self.window.significant as usize;
        }
        if self.pos > chunk.len() * 8 {
            return Err(ChunkError::Truncated { bit: start, sample: 1 });
        }
        Ok(())
    }

    /// Reads the other samples of a chunk into slices that have room for all of them. Returns how
    /// many are in the range.
    fn run<const RANGED: bool>(
        &mut self,
        chunk: &[u8],
        (mint, maxt): (i64, i64),
        times: &mut [i64],
        values: &mut [f64],
    ) -> Result<usize, ChunkError> {
        let mut out = 0;
        for sample in 0..times.len().min(2) {
            if sample == 1 {
                self.second(chunk)?;
            }
            if self.t > maxt {
                return Ok(out);
            }
            times[out] = self.t;
            values[out] = f64::from_bits(self.v);
            out += usize::from(self.t >= mint);
        }
        if times.len() < 3 {
            return Ok(out);
        }
        let start = *self;
        let found = self.rest::<RANGED, false>(chunk, (mint, maxt), out, times, values)?;
        if self.pos > chunk.len() * 8 {
            // The loop reads zeros past the end, which do no harm, and does not look where it is.
            // A second time it does, to say what is cut.
            *self = start;
            return self.rest::<RANGED, true>(chunk, (mint, maxt), out, times, values);
        }
        Ok(found)
    }

    /// Reads the samples from the third on. `CHECKED` has it watch for the end of the chunk.
    fn rest<const RANGED: bool, const CHECKED: bool>(
        &mut self,
        chunk: &[u8],
        (mint, maxt): (i64, i64),
        mut out: usize,
        times: &mut [i64],
        values: &mut [f64],
    ) -> Result<usize, ChunkError> {
        let num = times.len();
        let Some(values) = values.get_mut(..num) else { return Ok(0) };
        let Self { mut pos, mut t, mut delta, mut v, mut window } = *self;
        let mut i = 2;
        let mut reused = false;
        while i < num {
            let start = pos;
            let mut bits = peek(chunk, pos);
            // Gauges have long runs of these, slow counters none: the second one in a row decides.
            if !RANGED && !CHECKED && reused && bits >> 61 == 0b010 {
                let (times, values) = (&mut times[i..], &mut values[i..]);
                let mut at = Self { pos, t, delta, v, window };
                let n = at.windowed(chunk, times, values);
                Self { pos, t, v, .. } = at;
                i += n;
                reused = false;
                if n > 0 {
                    continue;
                }
            }
            if bits >> 63 == 0 {
                // Two zeros are a sample at the same pace with the same value.
                if !RANGED && bits >> (64 - 2 * MIN_RUN) == 0 {
                    let run = ((bits.leading_zeros().min(57) / 2) as usize).min(num - i);
                    pos += 2 * run;
                    t = steady(t, delta, v, &mut times[i..i + run], &mut values[i..i + run]);
                    i += run;
                    reused = false;
                    if CHECKED && pos > chunk.len() * 8 {
                        return Err(ChunkError::Truncated { bit: start, sample: i });
                    }
                    continue;
                }
                bits <<= 1;
                pos += 1;
            } else if bits >> 62 == 0b10 {
                delta = delta.wrapping_add(sign_extend_high(bits << 2 >> 50, 14) as u64);
                bits <<= 16;
                pos += 16;
            } else {
                let (dod, taken) = long_dod(chunk, pos, bits);
                delta = delta.wrapping_add(dod as u64);
                pos += taken;
                bits = peek(chunk, pos);
            }
            t = t.wrapping_add(delta as i64);
            // At least 41 bits of `bits` are real here.
            if bits >> 63 == 0 {
                pos += 1;
                reused = false;
            } else {
                reused = bits >> 62 == 0b10;
                if reused {
                    pos += 2;
                } else {
                    let Some(new) = Window::from_bits(bits << 2) else {
                        return Err(Window::bad(start, bits << 2));
                    };
                    window = new;
                    pos += 2 + Window::CODE_LEN;
                }
                v ^= window.read(chunk, pos);
                pos += window.significant as usize;
            }
            if CHECKED && pos > chunk.len() * 8 {
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
        *self = Self { pos, t, delta, v, window };
        Ok(if RANGED { out } else { num })
    }

    /// Reads samples at a steady pace whose values differ within the window that holds, as long as
    /// there are such and 16 bytes are left. Returns how many there were.
    ///
    /// A call of its own, so that the other loop keeps its registers.
    #[inline(never)]
    fn windowed(&mut self, chunk: &[u8], times: &mut [i64], values: &mut [f64]) -> usize {
        let window = self.window;
        // Seven bits may have been taken of the first byte.
        if 7 + 3 + window.significant <= 64 {
            self.alike(chunk, times, values, |bytes, skip| {
                let bits = u64::from_be_bytes(*bytes.first_chunk()?) << skip;
                Some((bits, bits << 3))
            })
        } else {
            self.alike(chunk, times, values, |bytes, skip| {
                let bits = u128::from_be_bytes(*bytes) << skip;
                Some(((bits >> 64) as u64, (bits >> 61) as u64))
            })
        }
    }

    /// The loop of [`Cursor::windowed`]. `read` gives what follows so many bits: a sample's bits,
    /// and those of its value.
    #[inline(always)]
    fn alike(
        &mut self,
        chunk: &[u8],
        times: &mut [i64],
        values: &mut [f64],
        read: impl Fn(&[u8; 16], usize) -> Option<(u64, u64)>,
    ) -> usize {
        let Self { mut pos, mut t, delta, mut v, window } = *self;
        let taken = 3 + window.significant as usize;
        let mut n = 0;
        for (time, value) in times.iter_mut().zip(values) {
            let bytes = chunk.get(pos >> 3..).and_then(<[u8]>::first_chunk);
            let Some((bits, xor)) = bytes.and_then(|bytes| read(bytes, pos & 7)) else { break };
            if bits >> 61 != 0b010 {
                break;
            }
            v ^= xor >> window.leading & window.mask();
            t = t.wrapping_add(delta as i64);
            pos += taken;
            *time = t;
            *value = f64::from_bits(v);
            n += 1;
        }
        *self = Self { pos, t, delta, v, window };
        n
    }
}

/// Spreads out samples at a steady pace with a steady value; returns the last time.
///
/// A call of its own: inlined, its vector constants are made anew for every other sample.
#[inline(never)]
fn steady(mut t: i64, delta: u64, v: u64, times: &mut [i64], values: &mut [f64]) -> i64 {
    let value = f64::from_bits(v);
    for (time, slot) in times.iter_mut().zip(values) {
        t = t.wrapping_add(delta as i64);
        *time = t;
        *slot = value;
    }
    t
}

/// A difference of time differences of the longer classes, and the bits it takes. `bits` are those
/// at `pos`.
#[cold]
#[inline(never)]
fn long_dod(chunk: &[u8], pos: usize, bits: u64) -> (i64, usize) {
    if bits >> 61 == 0b110 {
        (sign_extend_high(bits << 3 >> 47, 17), 20)
    } else if bits >> 60 == 0b1110 {
        (sign_extend_high(bits << 4 >> 44, 20), 24)
    } else {
        (read(chunk, pos + 4, 64) as i64, 68)
    }
}
