//! Taking numbers and strings off the front of bytes.

use firesteel_chunk::varint;

/// Bytes that are taken apart from the front. Every method returns `None`, and takes nothing, when
/// they do not hold what is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Decoder<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self { rest: data, len: data.len() }
    }

    /// Bytes taken so far.
    pub(crate) const fn taken(&self) -> usize {
        self.len - self.rest.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn uvarint(&mut self) -> Option<u64> {
        let (x, n) = varint::uvarint(self.rest)?;
        self.rest = self.rest.get(n..)?;
        Some(x)
    }

    /// A uvarint that fits 32 bits.
    #[inline]
    pub(crate) fn uvarint32(&mut self) -> Option<u32> {
        u32::try_from(self.uvarint()?).ok()
    }

    /// Leaves out `n` uvarints.
    pub(crate) fn skip_uvarints(&mut self, n: u64) -> Option<()> {
        if n == 0 {
            return Some(());
        }
        // Each ends with its only byte below 128.
        let last = usize::try_from(n - 1).ok()?;
        let mut ends = self.rest.iter().enumerate().filter(|(_, b)| **b < 0x80);
        let (at, _) = ends.nth(last)?;
        self.rest = self.rest.get(at + 1..)?;
        Some(())
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Option<i64> {
        self.uvarint().map(varint::unzigzag)
    }

    /// Bytes preceded by their number as a uvarint.
    #[inline]
    pub(crate) fn uvarint_bytes(&mut self) -> Option<&'a [u8]> {
        let before = self.rest;
        let n = usize::try_from(self.uvarint()?).ok()?;
        let taken = self.bytes(n);
        if taken.is_none() {
            self.rest = before;
        }
        taken
    }
}
