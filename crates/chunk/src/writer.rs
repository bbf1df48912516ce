//! Writing a bit stream field by field.

use crate::{ChunkError, bits::BitWriter, varint::zigzag};

/// What stands for the leading zeros while there is no window: more than a window can have, since
/// they count 31 at most.
pub(crate) const NO_WINDOW: u32 = 63;

/// The window that a writer goes on with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PutWindow {
    pub(crate) leading: u32,
    pub(crate) trailing: u32,
}

impl PutWindow {
    pub(crate) const NONE: Self = Self { leading: NO_WINDOW, trailing: 0 };

    /// Writes the bits `x`, not 0, in which a value differs: within the window that holds, after
    /// the prefix `reuse`, or with a new one, after the prefix `new`. Prefixes are bits and their
    /// number.
    #[inline(always)]
    pub(crate) fn put(
        &mut self,
        out: &mut BitWriter<'_>,
        x: u64,
        reuse: (u64, u32),
        new: (u64, u32),
    ) {
        let leading = x.leading_zeros().min(31);
        let trailing = x.trailing_zeros();
        // A window that fits is kept even where a new one would be shorter: Prometheus does so,
        // and chunks must come out the same.
        if leading >= self.leading && trailing >= self.trailing {
            out.put(reuse.0, reuse.1);
            out.put(x >> self.trailing, 64 - self.leading - self.trailing);
            return;
        }
        let n = 64 - leading - trailing;
        // 64 significant bits are written as 0.
        let window = u64::from(leading) << 6 | u64::from(n & 63);
        out.put(new.0 << 11 | window, new.1 + 11);
        out.put(x >> trailing, n);
        *self = Self { leading, trailing };
    }

    /// Writes what a value differs by as an XOR chunk codes it.
    #[inline(always)]
    pub(crate) fn put_xor(&mut self, out: &mut BitWriter<'_>, x: u64) {
        if x == 0 {
            out.put(0, 1);
        } else {
            self.put(out, x, (0b10, 2), (0b11, 2));
        }
    }
}

/// Whether `x` is in the range of `n` bits, see [`crate::bits::sign_extend_high`].
#[inline(always)]
pub(crate) const fn fits(x: i64, n: u32) -> bool {
    -((1 << (n - 1)) - 1) <= x && x <= 1 << (n - 1)
}

/// The lowest `n` bits, below 64, of a number.
#[inline(always)]
pub(crate) const fn low(x: i64, n: u32) -> u64 {
    x as u64 & ((1 << n) - 1)
}

/// A signed number in classes of bits.
#[inline]
pub(crate) fn put_varbit_int(out: &mut BitWriter<'_>, x: i64) {
    match x {
        0 => out.put(0, 1),
        _ if fits(x, 3) => out.put(0b10 << 3 | low(x, 3), 5),
        _ if fits(x, 6) => out.put(0b110 << 6 | low(x, 6), 9),
        _ if fits(x, 9) => out.put(0b1110 << 9 | low(x, 9), 13),
        _ if fits(x, 12) => out.put(0b1_1110 << 12 | low(x, 12), 17),
        _ if fits(x, 18) => out.put(0b11_1110 << 18 | low(x, 18), 24),
        _ if fits(x, 25) => out.put(0b111_1110 << 25 | low(x, 25), 32),
        _ if fits(x, 56) => out.put(0xfe << 56 | low(x, 56), 64),
        _ => {
            out.put(0xff, 8);
            out.put(x as u64, 64);
        }
    }
}

/// An unsigned number in classes of bits.
#[inline]
pub(crate) fn put_varbit_uint(out: &mut BitWriter<'_>, x: u64) {
    match 64 - x.leading_zeros() {
        0 => out.put(0, 1),
        1..=3 => out.put(0b10 << 3 | x, 5),
        4..=6 => out.put(0b110 << 6 | x, 9),
        7..=9 => out.put(0b1110 << 9 | x, 13),
        10..=12 => out.put(0b1_1110 << 12 | x, 17),
        13..=18 => out.put(0b11_1110 << 18 | x, 24),
        19..=25 => out.put(0b111_1110 << 25 | x, 32),
        26..=56 => out.put(0xfe << 56 | x, 64),
        _ => {
            out.put(0xff, 8);
            out.put(x, 64);
        }
    }
}

/// A varint, its bytes not aligned.
pub(crate) fn put_varint(out: &mut BitWriter<'_>, x: i64) {
    out.put_uvarint(zigzag(x));
}

/// A chunk being written to memory of its own.
#[derive(Clone, Debug)]
pub(crate) struct ChunkBuffer {
    bytes: Vec<u8>,
    len: usize,
    /// Bits taken of the last byte, 1 to 8.
    used: u32,
}

impl ChunkBuffer {
    /// Begins with a header of zeros.
    pub(crate) fn new(header: usize) -> Self {
        Self { bytes: vec![0; header], len: header, used: 8 }
    }

    /// Lets `f` append bits, `most` bytes of them at the most.
    #[inline]
    pub(crate) fn write(&mut self, most: usize, f: impl FnOnce(&mut BitWriter<'_>)) {
        let need = self.len + most + 8;
        if self.bytes.len() < need {
            self.bytes.resize(need.max(self.bytes.len() * 2), 0);
        }
        let mut out = BitWriter::resume(&mut self.bytes, self.len, self.used);
        f(&mut out);
        (self.len, self.used) = out.finish();
    }

    /// Changes the header.
    #[inline]
    pub(crate) fn header(&mut self, f: impl FnOnce(&mut [u8; 3])) {
        if let Some(header) = self.bytes.first_chunk_mut::<3>() {
            f(header);
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Writes start timestamps, see [`crate::start::StartDecoder`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StartEncoder {
    start: i64,
    diff: i64,
    change_on: usize,
}

impl StartEncoder {
    /// The most bytes that a sample's start takes.
    pub(crate) const MAX_LEN: usize = 10;

    /// Appends the start, 0 for unknown, of sample `index` at `time`, after one at `previous`.
    /// Returns what is to be set in the header.
    #[inline]
    pub(crate) fn put(
        &mut self,
        out: &mut BitWriter<'_>,
        index: usize,
        time: i64,
        previous: i64,
        start: i64,
    ) -> u8 {
        /// The header has seven bits for the sample where starts begin to change; one that could
        /// not be named any more begins here, changed or not.
        const LAST_CHANGE: usize = 127;

        let diff = previous.wrapping_sub(start);
        let mut header = 0;
        if index == 0 {
            if start != 0 {
                put_varint(out, time.wrapping_sub(start));
                header = 0x80;
            }
        } else if self.change_on > 0 {
            put_varbit_int(out, diff.wrapping_sub(self.diff));
            self.diff = diff;
        } else if start != self.start || index == LAST_CHANGE {
            put_varbit_int(out, diff);
            self.diff = diff;
            self.change_on = index;
            header = index as u8;
        }
        self.start = start;
        header
    }
}

/// The number of samples after one more, if a header of this many bits can count it.
pub(crate) fn next_count(num: usize, bits: u32) -> Result<usize, ChunkError> {
    if num + 1 < 1 << bits { Ok(num + 1) } else { Err(ChunkError::TooManySamples) }
}
