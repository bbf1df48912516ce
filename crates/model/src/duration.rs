//! Durations as Prometheus writes them (`1h30m`, `15s`, `1d`), source: `common/model/time.go`.

use std::{fmt, time::Duration};

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationError {
    /// The text is empty.
    Empty,
    /// The text is not made of numbers and units in descending order.
    Invalid(String),
    /// More than Prometheus' 64-bit nanoseconds can hold.
    OutOfRange,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty duration string"),
            Self::Invalid(text) => {
                write!(f, "not a valid duration string: {}", crate::float::go_quote(text))
            }
            Self::OutOfRange => f.write_str("duration out of range"),
        }
    }
}

impl std::error::Error for DurationError {}

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a duration: integers with units `y w d h m s ms`, each at most once and in this order;
/// `0` alone needs no unit.
///
/// # Errors
/// See [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(invalid());
        }
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let at = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        if at < next_unit {
            return Err(invalid());
        }
        next_unit = at + 1;
        let number: u64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
        total = number
            .checked_mul(UNITS[at].1)
            .and_then(|ms| total.checked_add(ms))
            .filter(|ms| *ms <= i64::MAX as u64 / 1_000_000)
            .ok_or(DurationError::OutOfRange)?;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// Prints a duration as Prometheus does: `1h30m`, `0s`; years, weeks and days only where they fit
/// exactly. Below a millisecond it is cut.
#[must_use]
pub fn format(duration: Duration) -> String {
    use std::fmt::Write as _;
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (i, (unit, size)) in UNITS.into_iter().enumerate() {
        let exact_only = i < 3;
        if (!exact_only && ms >= size) || (exact_only && ms % size == 0 && ms > 0) {
            let _ = write!(out, "{}{unit}", ms / size);
            ms %= size;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, ms, printed) in [
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("1d", 86_400_000, "1d"),
            ("25h", 90_000_000, "25h"),
            ("15d", 1_296_000_000, "15d"),
            ("14d", 1_209_600_000, "2w"),
            ("1y", 31_536_000_000, "1y"),
            ("1500ms", 1500, "1s500ms"),
            ("0", 0, "0s"),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(format(Duration::from_millis(ms)), printed);
        }
        for bad in ["", "1", "1m1h", "-1m", "1.5m", "m", "1 m", "1mm", "99999999999y"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
