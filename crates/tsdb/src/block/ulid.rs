//! ULIDs: names of blocks that sort by the time they were made.

use std::{fmt, str::FromStr};

/// Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A ULID: 48 bits of milliseconds and 80 random ones, written as 26 letters and digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ulid(u128);

/// Text that is not a ULID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UlidError {
    /// The text.
    pub text: String,
}

impl fmt::Display for UlidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a ULID: {:?}", self.text)
    }
}

impl std::error::Error for UlidError {}

impl Ulid {
    /// A new one. `now` is in milliseconds since the Unix epoch; the random bits come from `rng`,
    /// which is seeded by the caller.
    #[must_use]
    pub fn generate(now: i64, rng: &mut fastrand::Rng) -> Self {
        let time = u128::from(now.max(0) as u64 & ((1 << 48) - 1));
        Self(time << 80 | rng.u128(..) >> 48)
    }

    /// When it was made, milliseconds since the Unix epoch.
    #[must_use]
    pub const fn time(self) -> i64 {
        (self.0 >> 80) as i64
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 26];
        for (i, letter) in text.iter_mut().rev().enumerate() {
            *letter = ALPHABET[(self.0 >> (5 * i)) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl FromStr for Ulid {
    type Err = UlidError;

    fn from_str(text: &str) -> Result<Self, UlidError> {
        let error = || UlidError { text: text.to_owned() };
        // 26 digits hold 130 bits: the first may have three.
        if text.len() != 26 || text.as_bytes().first().is_none_or(|b| *b > b'7') {
            return Err(error());
        }
        let mut bits = 0_u128;
        for byte in text.bytes() {
            let digit = ALPHABET.iter().position(|a| *a == byte.to_ascii_uppercase());
            bits = bits << 5 | digit.ok_or_else(error)? as u128;
        }
        Ok(Self(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip_and_order() {
        let text = "01M7XBFC0D0Y4GVBK7340119YJ";
        let ulid: Ulid = text.parse().unwrap();
        assert_eq!(ulid.to_string(), text);
        let mut rng = fastrand::Rng::with_seed(1);
        let (a, b) = (Ulid::generate(1_000, &mut rng), Ulid::generate(1_001, &mut rng));
        assert!(a < b && a.to_string() < b.to_string());
        assert_eq!((a.time(), a.to_string().parse()), (1_000, Ok(a)));
        for bad in [
            "",
            "01M7XBFC0D0Y4GVBK7340119Y",
            "81M7XBFC0D0Y4GVBK7340119YJ",
            "01M7XBFC0D0Y4GVBK7340119YU",
        ] {
            assert!(bad.parse::<Ulid>().is_err(), "{bad}");
        }
    }
}
