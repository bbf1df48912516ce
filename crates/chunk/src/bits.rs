//! Bits of a byte stream, most significant first.

/// The 8 bytes from byte `at` on as a big-endian number. Bytes past the end count as 0, so that a
/// decoder may look ahead freely and compares its position with the end once per sample.
#[inline(always)]
pub(crate) fn load(data: &[u8], at: usize) -> u64 {
    match data.get(at..at + 8).and_then(<[u8]>::first_chunk::<8>) {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => load_tail(data, at),
    }
}

#[cold]
#[inline(never)]
fn load_tail(data: &[u8], at: usize) -> u64 {
    if at >= data.len() {
        return 0;
    }
    if let Some(last) = data.last_chunk::<8>() {
        // The last 8 bytes, less those before `at`.
        return u64::from_be_bytes(*last) << (8 * (at + 8 - data.len()));
    }
    data.iter().skip(at).fold((0, 56), |(x, shift), b| (x | u64::from(*b) << shift, shift - 8)).0
}

/// The bits from bit `pos` on, at the top; at least 57 of them are real.
#[inline(always)]
pub(crate) fn peek(data: &[u8], pos: usize) -> u64 {
    load(data, pos >> 3) << (pos & 7)
}

/// The `n` bits from bit `pos` on, `n` from 1 to 64.
#[inline(always)]
pub(crate) fn read(data: &[u8], pos: usize, n: u32) -> u64 {
    let mut top = peek(data, pos);
    let offset = pos & 7;
    if n > 57 && offset != 0 {
        // The last bits are in the ninth byte.
        let ninth = data.get((pos >> 3) + 8).copied().unwrap_or(0);
        top |= u64::from(ninth) >> (8 - offset);
    }
    top >> (64 - n)
}

/// A two's complement number of `n` bits (2 to 63) as Prometheus' bit ranges have it: the pattern
/// `1000...` is positive, so that the range is `-(2^(n-1) - 1)` to `2^(n-1)`.
#[inline(always)]
pub(crate) const fn sign_extend_high(raw: u64, n: u32) -> i64 {
    if raw > 1 << (n - 1) { raw.wrapping_sub(1 << n) as i64 } else { raw as i64 }
}

/// Writes bits into a buffer through a 64-bit accumulator: one store per 64 bits and one at the
/// end.
pub(crate) struct BitWriter<'a> {
    out: &'a mut [u8],
    /// Byte that the accumulator goes to.
    at: usize,
    acc: u64,
    /// Bits in the accumulator, below 64.
    held: u32,
}

impl<'a> BitWriter<'a> {
    /// Goes on after `len` bytes, of the last of which only `used` bits (1 to 8) are taken. The
    /// caller makes sure that there is room; what does not fit is dropped.
    #[inline(always)]
    pub(crate) fn resume(out: &'a mut [u8], len: usize, used: u32) -> Self {
        if used == 8 {
            return Self { out, at: len, acc: 0, held: 0 };
        }
        let at = len - 1;
        let last = out.get(at).copied().unwrap_or(0);
        let mask = !(0xff_u8 >> used);
        Self { out, at, acc: u64::from(last & mask) << 56, held: used }
    }

    /// Appends the low `n` bits of `x`, 0 to 64; the bits above must be 0.
    #[inline(always)]
    pub(crate) fn put(&mut self, x: u64, n: u32) {
        debug_assert!(n == 64 || x >> n == 0, "bits above the {n} lowest");
        let free = 64 - self.held;
        if n < free {
            self.acc |= x << (free - n);
            self.held += n;
            return;
        }
        let rest = n - free;
        self.acc |= x >> rest;
        self.store();
        self.at += 8;
        self.acc = if rest == 0 { 0 } else { x << (64 - rest) };
        self.held = rest;
    }

    /// Appends a uvarint, whose bytes need not be aligned.
    pub(crate) fn put_uvarint(&mut self, mut x: u64) {
        while x >= 0x80 {
            self.put(x & 0x7f | 0x80, 8);
            x >>= 7;
        }
        self.put(x, 8);
    }

    #[inline(always)]
    fn store(&mut self) {
        let bytes = self.acc.to_be_bytes();
        if let Some(to) = self.out.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut::<8>) {
            *to = bytes;
        } else {
            let rest = self.out.get_mut(self.at..).unwrap_or_default();
            for (to, from) in rest.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }

    /// Stores what is held. Returns the length in bytes and the bits taken of the last one.
    #[inline(always)]
    pub(crate) fn finish(mut self) -> (usize, u32) {
        if self.held == 0 {
            return (self.at, 8);
        }
        self.store();
        (self.at + self.held.div_ceil(8) as usize, (self.held - 1) % 8 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_lopsided() {
        assert_eq!(sign_extend_high(1 << 13, 14), 1 << 13);
        assert_eq!(sign_extend_high((1 << 13) + 1, 14), 1 - (1 << 13));
        assert_eq!(sign_extend_high((1 << 14) - 1, 14), -1);
    }

    proptest! {
        #[test]
        fn reads_back_what_was_written(
            fields in prop::collection::vec((any::<u64>(), 1_u32..=64), 0..60),
            split in 0_usize..60,
        ) {
            let mask = |x: u64, n: u32| x & (u64::MAX >> (64 - n));
            let bits: u32 = fields.iter().map(|f| f.1).sum();
            let mut out = vec![0; bits.div_ceil(8) as usize + 2];
            let split = split.min(fields.len());
            let mut writer = BitWriter::resume(&mut out, 2, 8);
            for &(x, n) in &fields[..split] {
                writer.put(mask(x, n), n);
            }
            let (len, used) = writer.finish();
            let mut writer = BitWriter::resume(&mut out, len, used);
            for &(x, n) in &fields[split..] {
                writer.put(mask(x, n), n);
            }
            let (len, _) = writer.finish();
            prop_assert_eq!(len, out.len());
            let mut pos = 16;
            for (x, n) in fields {
                prop_assert_eq!(read(&out, pos, n), mask(x, n));
                pos += n as usize;
            }
        }
    }
}
