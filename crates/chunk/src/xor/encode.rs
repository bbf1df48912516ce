//! Writing XOR chunks.

use crate::{
    ChunkError,
    bits::BitWriter,
    varint,
    writer::{PutWindow, fits, low},
};

use super::HEADER_LEN;

/// The most bytes that a sample adds to a chunk.
pub const MAX_SAMPLE_LEN: usize = 20;

/// What an encoder must remember between two samples, 32 bytes. The chunk itself lies in a buffer
/// that the caller keeps, in a slab for example, and passes to each call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct XorState {
    pub(super) t: i64,
    pub(super) v: u64,
    /// Difference of the last two times, wrapping.
    pub(super) delta: u64,
    pub(super) len: u32,
    pub(super) num: u16,
    /// From below: leading zeros of the window (6 bits), its trailing zeros (6 bits), bits taken
    /// of the last byte less one (3 bits).
    pub(super) packed: u16,
}

impl Default for XorState {
    fn default() -> Self {
        Self::new()
    }
}

impl XorState {
    /// The state of an empty chunk. Its buffer needs no preparation.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            t: 0,
            v: 0,
            delta: 0,
            len: HEADER_LEN as u32,
            num: 0,
            packed: pack(PutWindow::NONE, 8),
        }
    }

    /// Number of samples.
    #[must_use]
    pub const fn num_samples(&self) -> usize {
        self.num as usize
    }

    /// Bytes of the buffer that are the chunk.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Time of the last sample; 0 before the first.
    #[must_use]
    pub const fn last_time(&self) -> i64 {
        self.t
    }

    /// Value of the last sample, bit for bit; 0.0 before the first.
    #[must_use]
    pub const fn last_value(&self) -> f64 {
        f64::from_bits(self.v)
    }

    /// Appends a sample. `buffer` is what the earlier calls were given, or a copy with more room:
    /// [`MAX_SAMPLE_LEN`] bytes after [`XorState::len`] are always enough. Bytes of the chunk but
    /// the first two and the last never change; what lies behind the chunk may be overwritten.
    ///
    /// Times are expected to grow but need not.
    ///
    /// # Errors
    /// [`ChunkError::NoRoom`], [`ChunkError::TooManySamples`] at 65 535; the chunk is as before then.
    #[inline]
    pub fn append(&mut self, buffer: &mut [u8], t: i64, v: f64) -> Result<(), ChunkError> {
        self.append_body(buffer, t, v)?;
        self.put_header(buffer);
        Ok(())
    }

    /// Writes the number of samples to the chunk's first two bytes.
    #[inline]
    pub fn put_header(&self, chunk: &mut [u8]) {
        if let Some(header) = chunk.first_chunk_mut::<HEADER_LEN>() {
            *header = self.num.to_be_bytes();
        }
    }

    /// As [`XorState::append`], but leaves the chunk's first two bytes to a later
    /// [`XorState::put_header`]: one cache line less for who appends to many chunks in turn.
    ///
    /// # Errors
    /// As [`XorState::append`].
    #[inline]
    pub fn append_body(&mut self, buffer: &mut [u8], t: i64, v: f64) -> Result<(), ChunkError> {
        let num = self.num.checked_add(1).ok_or(ChunkError::TooManySamples)?;
        let bits = v.to_bits();
        let delta = (t as u64).wrapping_sub(self.t as u64);
        let fits = if self.num > 1 && delta == self.delta && bits == self.v {
            self.repeat(buffer)
        } else {
            self.append_other(buffer, delta, t, bits)
        };
        if !fits {
            return Err(ChunkError::NoRoom);
        }
        self.t = t;
        self.num = num;
        Ok(())
    }

    /// Appends the two zeros of a sample at the same pace with the same value, if there is room.
    /// What is left of the last byte is zero already.
    #[inline(always)]
    fn repeat(&mut self, buffer: &mut [u8]) -> bool {
        let used = (self.packed >> USED_SHIFT) + 2;
        if used > 7 {
            let Some(byte) = buffer.get_mut(self.len as usize) else { return false };
            *byte = 0;
            self.len += 1;
        } else if buffer.len() < self.len as usize {
            return false;
        }
        self.packed = self.packed & WINDOW_MASK | (used & 7) << USED_SHIFT;
        true
    }

    /// Appends any other sample, if there is room. Whether there is shows when it is written: to
    /// reckon with [`MAX_SAMPLE_LEN`] would send small buffers away half empty.
    #[inline(never)]
    fn append_other(&mut self, buffer: &mut [u8], delta: u64, t: i64, bits: u64) -> bool {
        let (mut window, used) = unpack(self.packed);
        let mut out = BitWriter::resume(buffer, self.len as usize, used);
        if self.num > 1 {
            put_dod(&mut out, delta.wrapping_sub(self.delta) as i64);
            window.put_xor(&mut out, bits ^ self.v);
        } else if self.num == 1 {
            out.put_uvarint(delta);
            window.put_xor(&mut out, bits ^ self.v);
        } else {
            out.put_uvarint(varint::zigzag(t));
            out.put(bits, 64);
        }
        let (len, used) = out.finish();
        if len > buffer.len() {
            self.clean(buffer);
            return false;
        }
        if self.num > 0 {
            self.delta = delta;
        }
        self.v = bits;
        self.len = len as u32;
        self.packed = pack(window, used);
        true
    }

    /// Makes what is left of the last byte zero again, see [`XorState::repeat`].
    #[cold]
    fn clean(&self, buffer: &mut [u8]) {
        let last = (self.len as usize).checked_sub(1).and_then(|at| buffer.get_mut(at));
        if let Some(last) = last {
            *last &= !(0x7f >> (self.packed >> USED_SHIFT));
        }
    }
}

/// Where the bits taken of the last byte, less one, are in the packed state.
const USED_SHIFT: u32 = 12;
const WINDOW_MASK: u16 = (1 << USED_SHIFT) - 1;

const fn pack(window: PutWindow, used: u32) -> u16 {
    (window.leading | window.trailing << 6 | (used - 1) << USED_SHIFT) as u16
}

#[inline(always)]
const fn unpack(packed: u16) -> (PutWindow, u32) {
    let p = packed as u32;
    (PutWindow { leading: p & 63, trailing: p >> 6 & 63 }, (p >> USED_SHIFT) + 1)
}

impl XorState {
    /// The state after a chunk that was decoded to its end.
    pub(super) fn at_end(
        (t, v, delta): (i64, u64, u64),
        num: u16,
        end_bit: usize,
        window: PutWindow,
    ) -> Self {
        let used = match end_bit % 8 {
            0 => 8,
            n => n as u32,
        };
        let len = end_bit.div_ceil(8) as u32;
        Self { t, v, delta, len, num, packed: pack(window, used) }
    }
}

/// Bytes of [`XorState::to_bytes`].
pub const STATE_LEN: usize = 26;

impl XorState {
    /// What the state has beyond the chunk, so that [`XorState::from_bytes`] can go on without
    /// decoding the chunk. The chunk's header must be written, see [`XorState::put_header`].
    #[must_use]
    pub fn to_bytes(&self) -> [u8; STATE_LEN] {
        let mut bytes = [0; STATE_LEN];
        bytes[..8].copy_from_slice(&self.t.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.v.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.delta.to_le_bytes());
        bytes[24..].copy_from_slice(&self.packed.to_le_bytes());
        bytes
    }

    /// The state of a chunk that ends where the slice does. `None` where the bytes cannot be of any
    /// chunk; whether they are of this one is for the caller's checksum to say, but an encoder that
    /// goes on with them does not panic.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; STATE_LEN], chunk: &[u8]) -> Option<Self> {
        let (t, rest) = bytes.split_first_chunk::<8>()?;
        let (v, rest) = rest.split_first_chunk::<8>()?;
        let (delta, rest) = rest.split_first_chunk::<8>()?;
        let packed = u16::from_le_bytes(*rest.first_chunk()?);
        let (window, _) = unpack(packed);
        let num = u16::from_be_bytes(*chunk.first_chunk()?);
        let none = window.leading == PutWindow::NONE.leading;
        let fits = none || window.leading + window.trailing < 64;
        (num > 0 && fits && chunk.len() > HEADER_LEN).then_some(Self {
            t: i64::from_le_bytes(*t),
            v: u64::from_le_bytes(*v),
            delta: u64::from_le_bytes(*delta),
            len: u32::try_from(chunk.len()).ok()?,
            num,
            packed,
        })
    }
}

/// The code of a difference of time differences.
#[inline(always)]
fn put_dod(out: &mut BitWriter<'_>, dod: i64) {
    if dod == 0 {
        out.put(0, 1);
    } else if fits(dod, 14) {
        out.put(0b10 << 14 | low(dod, 14), 16);
    } else if fits(dod, 17) {
        out.put(0b110 << 17 | low(dod, 17), 20);
    } else if fits(dod, 20) {
        out.put(0b1110 << 20 | low(dod, 20), 24);
    } else {
        out.put(0b1111, 4);
        out.put(dod as u64, 64);
    }
}

/// A chunk being written, with a buffer of its own.
#[derive(Clone, Debug, Default)]
pub struct XorEncoder {
    state: XorState,
    buffer: Vec<u8>,
}

impl XorEncoder {
    /// An empty chunk. Does not allocate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with a chunk that was written before.
    ///
    /// # Errors
    /// It is damaged.
    pub fn resume(chunk: &[u8]) -> Result<Self, ChunkError> {
        let state = super::resume(chunk)?;
        let mut buffer = chunk.to_vec();
        state.clean(&mut buffer);
        Ok(Self { state, buffer })
    }

    /// Appends a sample.
    ///
    /// # Errors
    /// [`ChunkError::TooManySamples`] at 65 535.
    #[inline]
    pub fn append(&mut self, t: i64, v: f64) -> Result<(), ChunkError> {
        let need = self.state.len() + MAX_SAMPLE_LEN;
        if self.buffer.len() < need {
            self.buffer.resize((need * 2).max(128), 0);
        }
        self.state.append(&mut self.buffer, t, v)
    }

    /// Number of samples.
    #[must_use]
    pub const fn num_samples(&self) -> usize {
        self.state.num_samples()
    }

    /// The encoder's state.
    #[must_use]
    pub const fn state(&self) -> &XorState {
        &self.state
    }

    /// The chunk as it stands. Without samples it is empty rather than a header of zeros.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.state.num == 0 {
            return &[];
        }
        self.buffer.get(..self.state.len()).unwrap_or_default()
    }

    /// Begins an empty chunk and keeps the buffer.
    pub fn clear(&mut self) {
        self.state = XorState::new();
    }
}
