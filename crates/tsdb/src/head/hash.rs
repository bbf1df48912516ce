//! The hash of label sets in the head's table.
//!
//! It must be the same when a head is put together again from its image, so it is ours, with a
//! random key that the image keeps. Whoever chooses labels does not know the key.

use std::hash::{BuildHasher, Hasher};

/// Makes hashers with one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed(pub(super) u64);

impl Default for Keyed {
    fn default() -> Self {
        Self(fastrand::u64(..))
    }
}

impl BuildHasher for Keyed {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold { state: self.0 ^ 0x243f_6a88_85a3_08d3, key: self.0 }
    }
}

/// Folds what is written, 16 bytes a step: a product of 128 bits, its halves put together.
pub(super) struct Fold {
    state: u64,
    key: u64,
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    product as u64 ^ (product >> 64) as u64
}

fn word(bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    for (to, from) in all.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(all)
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.as_chunks::<16>();
        for pair in pairs {
            let (a, b) = pair.split_at(8);
            let (a, b) = (word(a), word(b));
            self.state = fold(a ^ self.state, b ^ 0x1319_8a2e_0370_7344 ^ self.key);
        }
        let (a, b) = rest.split_at(rest.len().min(8));
        // The length is hashed too, so that zeros at the end count.
        let length = (bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.state = fold(word(a) ^ self.state, word(b) ^ 0xa409_3822_299f_31d0 ^ length);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write(&[byte]);
    }

    fn finish(&self) -> u64 {
        fold(self.state ^ self.key, 0x082e_fa98_ec4e_6c89)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_and_depends_on_the_key() {
        let (one, two) = (Keyed(1), Keyed(2));
        let mut seen = std::collections::HashSet::new();
        for i in 0..100_000_u32 {
            let text = format!("instance-{i}");
            assert_ne!(one.hash_one(&text), two.hash_one(&text));
            seen.insert(one.hash_one(&text) as u32);
        }
        // One collision of 32 bits is expected.
        assert!(seen.len() > 99_990, "{}", seen.len());
        let hash = |b: &[u8]| {
            let mut hasher = one.build_hasher();
            hasher.write(b);
            hasher.finish()
        };
        assert_ne!(hash(&[0; 3]), hash(&[0; 4]));
        assert_ne!(hash(&[]), hash(&[0]));
        // Images keep tags made of these.
        assert_eq!(hash(b"firesteel, firesteel"), hash(b"firesteel, firesteel"));
    }
}
