//! Reading a bit stream field by field.

use crate::{
    ChunkError,
    bits::{peek, read, sign_extend_high},
    varint::unzigzag,
    window::Window,
};

/// Sizes of the classes of [`BitReader::varbit_int`], by the number of leading ones.
const VARBIT: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// A position in a chunk. Past the end it reads zeros; [`BitReader::check`] tells, once per sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitReader<'a> {
    chunk: &'a [u8],
    pos: usize,
}

impl<'a> BitReader<'a> {
    /// Begins after `header` bytes.
    pub(crate) const fn new(chunk: &'a [u8], header: usize) -> Self {
        Self { chunk, pos: header * 8 }
    }

    pub(crate) const fn pos(&self) -> usize {
        self.pos
    }

    /// Bits that are left.
    pub(crate) const fn left(&self) -> usize {
        (self.chunk.len() * 8).saturating_sub(self.pos)
    }

    /// Fails if a sample that began at bit `start` went past the end.
    #[inline(always)]
    pub(crate) fn check(&self, start: usize, sample: usize) -> Result<(), ChunkError> {
        if self.pos > self.chunk.len() * 8 {
            return Err(ChunkError::Truncated { bit: start, sample });
        }
        Ok(())
    }

    /// The next bits, at the top; at least 57.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u64 {
        peek(self.chunk, self.pos)
    }

    #[inline(always)]
    pub(crate) const fn skip(&mut self, bits: usize) {
        self.pos += bits;
    }

    /// The next `n` bits, 1 to 64.
    #[inline(always)]
    pub(crate) fn bits(&mut self, n: u32) -> u64 {
        let bits = read(self.chunk, self.pos, n);
        self.pos += n as usize;
        bits
    }

    /// A uvarint, its bytes not aligned.
    pub(crate) fn uvarint(&mut self) -> Result<u64, ChunkError> {
        let start = self.pos;
        let mut x = 0;
        for i in 0..10 {
            let byte = self.bits(8);
            if i == 9 && byte > 1 {
                break;
            }
            x |= (byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(x);
            }
        }
        Err(ChunkError::BadVarint { bit: start })
    }

    /// A varint, its bytes not aligned.
    pub(crate) fn varint(&mut self) -> Result<i64, ChunkError> {
        self.uvarint().map(unzigzag)
    }

    /// The raw bits of a varbit number, and how many there are.
    #[inline(always)]
    fn varbit(&mut self) -> (u64, u32) {
        let bits = self.peek();
        let ones = ((!bits).leading_zeros()).min(8);
        self.pos += (ones + 1).min(8) as usize;
        let n = VARBIT.get(ones as usize).copied().unwrap_or(64);
        (if n == 0 { 0 } else { self.bits(n) }, n)
    }

    /// A signed number in classes of bits.
    #[inline(always)]
    pub(crate) fn varbit_int(&mut self) -> i64 {
        match self.varbit() {
            (raw, 0 | 64) => raw as i64,
            (raw, n) => sign_extend_high(raw, n),
        }
    }

    /// An unsigned number in classes of bits.
    #[inline(always)]
    pub(crate) fn varbit_uint(&mut self) -> u64 {
        self.varbit().0
    }

    /// The bits in which a value differs from the one before, in a window.
    #[inline(always)]
    pub(crate) fn window(&mut self, window: &Window) -> u64 {
        let bits = window.read(self.chunk, self.pos);
        self.pos += window.significant as usize;
        bits
    }

    /// Reads the code of a new window, then the bits in it.
    #[inline(always)]
    pub(crate) fn new_window(&mut self, window: &mut Window) -> Result<u64, ChunkError> {
        let bits = self.peek();
        *window = Window::from_bits(bits).ok_or_else(|| Window::bad(self.pos, bits))?;
        self.pos += Window::CODE_LEN;
        Ok(self.window(window))
    }

    /// What a value differs by from the one before, as an XOR chunk codes it.
    #[inline(always)]
    pub(crate) fn xor(&mut self, window: &mut Window) -> Result<u64, ChunkError> {
        let bits = self.peek();
        if bits >> 63 == 0 {
            self.pos += 1;
            return Ok(0);
        }
        self.pos += 2;
        if bits >> 62 == 0b10 { Ok(self.window(window)) } else { self.new_window(window) }
    }
}
