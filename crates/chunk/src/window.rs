//! Windows: which bits of a float differ from the one before.

use crate::{
    ChunkError,
    bits::{peek, read},
};

/// The bits in which a value may differ from the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) leading: u32,
    pub(crate) significant: u32,
    /// Ones where the window is.
    mask: u64,
    /// Whether it stood in the chunk.
    pub(crate) explicit: bool,
}

impl Window {
    /// What holds before the first window: the whole word, as Prometheus' reader has it.
    pub(crate) const NONE: Self =
        Self { leading: 0, significant: 64, mask: u64::MAX, explicit: false };

    /// Bits of a window's code: leading zeros and significant bits.
    pub(crate) const CODE_LEN: usize = 11;

    /// The window whose code is at the top of `bits`; `None` if it is wider than a word.
    #[inline(always)]
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        let leading = (bits >> 59) as u32;
        let significant = match (bits >> 53) as u32 & 63 {
            0 => 64,
            n => n,
        };
        let trailing = 64_u32.checked_sub(leading + significant)?;
        let mask = u64::MAX >> leading & u64::MAX << trailing;
        Some(Self { leading, significant, mask, explicit: true })
    }

    /// The error for a code that [`Window::from_bits`] refused.
    #[cold]
    #[inline(never)]
    pub(crate) fn bad(bit: usize, bits: u64) -> ChunkError {
        let significant = match (bits >> 53) as u32 & 63 {
            0 => 64,
            n => n,
        };
        ChunkError::BadWindow { bit, leading: (bits >> 59) as u32, significant }
    }

    /// Ones where the window is.
    #[inline(always)]
    pub(crate) const fn mask(&self) -> u64 {
        self.mask
    }

    /// The bits at `pos`, put where the window is.
    #[inline(always)]
    pub(crate) fn read(&self, chunk: &[u8], pos: usize) -> u64 {
        if self.significant <= 57 {
            peek(chunk, pos) >> self.leading & self.mask
        } else {
            read(chunk, pos, self.significant) << (64 - self.leading - self.significant)
        }
    }
}
