//! Variable-length integers: LEB128 as Go's `encoding/binary` writes them, signed ones zig-zag.
//!
//! The one implementation of the project: chunks, indexes, tombstones and the WAL all use it.

/// The longest encoding of a 64-bit integer, in bytes.
pub const MAX_LEN: usize = 10;

/// Appends `x` as a uvarint: 7 bits per byte, least significant first.
#[inline]
pub fn put_uvarint(out: &mut Vec<u8>, mut x: u64) {
    while x >= 0x80 {
        out.push(x as u8 | 0x80);
        x >>= 7;
    }
    out.push(x as u8);
}

/// Appends `x` as a varint: zig-zag, then [`put_uvarint`].
#[inline]
pub fn put_varint(out: &mut Vec<u8>, x: i64) {
    put_uvarint(out, zigzag(x));
}

/// Maps signed integers to unsigned ones, small magnitudes to small numbers.
#[inline]
#[must_use]
pub const fn zigzag(x: i64) -> u64 {
    ((x << 1) ^ (x >> 63)) as u64
}

/// Undoes [`zigzag`].
#[inline]
#[must_use]
pub const fn unzigzag(x: u64) -> i64 {
    (x >> 1) as i64 ^ -((x & 1) as i64)
}

/// Bytes that [`put_uvarint`] takes for `x`.
#[inline]
#[must_use]
pub const fn uvarint_len(x: u64) -> usize {
    (64 - (x | 1).leading_zeros() as usize).div_ceil(7)
}

/// Takes a uvarint off the front of `data`: the number and the bytes it took. `None` when `data`
/// ends too early or the number does not fit 64 bits.
#[inline]
#[must_use]
pub fn uvarint(data: &[u8]) -> Option<(u64, usize)> {
    match *data {
        [a, ..] if a < 0x80 => Some((u64::from(a), 1)),
        [a, b, ..] if b < 0x80 => Some((u64::from(a & 0x7f) | u64::from(b) << 7, 2)),
        _ => uvarint_slow(data),
    }
}

fn uvarint_slow(data: &[u8]) -> Option<(u64, usize)> {
    let mut x = 0_u64;
    for (i, &byte) in data.iter().take(MAX_LEN).enumerate() {
        if i == MAX_LEN - 1 && byte > 1 {
            return None;
        }
        x |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((x, i + 1));
        }
    }
    None
}

/// Takes a varint off the front of `data`; as [`uvarint`].
#[inline]
#[must_use]
pub fn varint(data: &[u8]) -> Option<(i64, usize)> {
    uvarint(data).map(|(x, n)| (unzigzag(x), n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(uvarint(&[]), None);
        assert_eq!(uvarint(&[0x80]), None);
        assert_eq!(uvarint(&[0xff; 11]), None);
        let mut max = [0xff; 10];
        max[9] = 1;
        assert_eq!(uvarint(&max), Some((u64::MAX, 10)));
        max[9] = 2;
        assert_eq!(uvarint(&max), None);
    }

    proptest! {
        #[test]
        fn round_trip(x: i64, shift in 0_u32..64, tail: Vec<u8>) {
            let x = x >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, x);
            let n = bytes.len();
            prop_assert_eq!(n, uvarint_len(zigzag(x)));
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(varint(&bytes), Some((x, n)));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            if let Some((_, n)) = uvarint(&bytes) {
                prop_assert!(n <= bytes.len());
            }
        }
    }
}
