//! Durations as Prometheus writes them (`1h30m`, `15s`, `1d`), source: `common/model/time.go`.

use std::{fmt, time::Duration};

use crate::float::go_quote;

/// Why a text is not a duration. The texts are Prometheus'.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationError {
    /// The text is empty.
    Empty,
    /// The text is not made of numbers and units in descending order.
    Invalid(String),
    /// What follows a number is not a unit.
    UnknownUnit {
        /// The text between two numbers.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// More than Prometheus' 64-bit nanoseconds can hold.
    OutOfRange,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty duration string"),
            Self::Invalid(text) => write!(f, "not a valid duration string: {}", go_quote(text)),
            Self::UnknownUnit { unit, text } => {
                write!(f, "unknown unit {} in duration {}", go_quote(unit), go_quote(text))
            }
            Self::OutOfRange => f.write_str("duration out of range"),
        }
    }
}

impl std::error::Error for DurationError {}

/// The units, their milliseconds, and whether they are printed only where nothing is left over.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 86_400_000, true),
    ("w", 7 * 86_400_000, true),
    ("d", 86_400_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1000, false),
    ("ms", 1, false),
];

/// The longest duration: what fits into 64-bit nanoseconds.
const MAX_MILLIS: u64 = i64::MAX as u64 / 1_000_000;

/// Reads a duration: integers with units `y w d h m s ms`, each at most once and in this order;
/// `0` alone needs no unit.
///
/// # Errors
/// See [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    millis(text).map(Duration::from_millis)
}

/// Reads a duration that may have a minus before it, as milliseconds.
///
/// # Errors
/// See [`DurationError`].
pub fn parse_signed(text: &str) -> Result<i64, DurationError> {
    let positive = text.strip_prefix('-');
    // At most MAX_MILLIS, so it fits.
    let ms = millis(positive.unwrap_or(text))? as i64;
    Ok(if positive.is_some() { -ms } else { ms })
}

fn millis(text: &str) -> Result<u64, DurationError> {
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let mut rest = text;
    let mut smaller = UNITS.as_slice();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        if !UNITS.iter().any(|(name, ..)| *name == unit) {
            return Err(DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            });
        }
        let at = smaller.iter().position(|(name, ..)| *name == unit).ok_or_else(invalid)?;
        let size = smaller[at].1;
        smaller = &smaller[at + 1..];
        total = number
            .checked_mul(size)
            .and_then(|ms| total.checked_add(ms))
            .filter(|ms| *ms <= MAX_MILLIS)
            .ok_or(DurationError::OutOfRange)?;
        rest = tail;
    }
    Ok(total)
}

/// Prints a duration as Prometheus does: `1h30m`, `0s`; years and weeks only where nothing is left
/// over. Below a millisecond it is cut.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut out = String::new();
    write_millis(&mut out, u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    out
}

/// Prints milliseconds as [`format()`] does, with a minus before negative ones.
#[must_use]
pub fn format_signed(ms: i64) -> String {
    let mut out = String::new();
    if ms < 0 {
        out.push('-');
    }
    write_millis(&mut out, ms.unsigned_abs());
    out
}

fn write_millis(out: &mut String, mut ms: u64) {
    use fmt::Write as _;
    if ms == 0 {
        out.push_str("0s");
    }
    for (unit, size, exact_only) in UNITS {
        let count = ms / size;
        if count > 0 && (!exact_only || ms.is_multiple_of(size)) {
            let written = write!(out, "{count}{unit}");
            debug_assert!(written.is_ok(), "a string takes what is written");
            ms %= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_prints() {
        for (text, ms, printed) in [
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("1d", 86_400_000, "1d"),
            ("25h", 90_000_000, "1d1h"),
            ("15d", 1_296_000_000, "15d"),
            ("14d", 1_209_600_000, "2w"),
            ("14d1s", 1_209_601_000, "14d1s"),
            ("1y", 31_536_000_000, "1y"),
            ("1y1d", 31_622_400_000, "366d"),
            ("52w", 31_449_600_000, "52w"),
            ("1500ms", 1500, "1s500ms"),
            ("1w2d3h4m5s6ms", 788_645_006, "9d3h4m5s6ms"),
            ("01m0s", 60_000, "1m"),
            ("0", 0, "0s"),
            ("0m", 0, "0s"),
            ("9223372036854ms", 9_223_372_036_854, "106751d23h47m16s854ms"),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(format(Duration::from_millis(ms)), printed);
            let negative = -i64::try_from(ms).unwrap();
            assert_eq!(parse_signed(&format!("-{text}")), Ok(negative));
            let sign = if ms == 0 { "" } else { "-" };
            assert_eq!(format_signed(negative), format!("{sign}{printed}"));
        }
        assert_eq!(format(Duration::from_micros(999)), "0s");
    }

    #[test]
    fn refuses_with_prometheus_texts() {
        for (text, message) in [
            ("", "empty duration string"),
            ("1", "not a valid duration string: \"1\""),
            ("m", "not a valid duration string: \"m\""),
            ("-1m", "not a valid duration string: \"-1m\""),
            ("1m1m", "not a valid duration string: \"1m1m\""),
            ("1m1h", "not a valid duration string: \"1m1h\""),
            ("99999999999999999999s", "not a valid duration string: \"99999999999999999999s\""),
            ("1x", "unknown unit \"x\" in duration \"1x\""),
            ("1.5m", "unknown unit \".\" in duration \"1.5m\""),
            ("1 m", "unknown unit \" m\" in duration \"1 m\""),
            ("1mm", "unknown unit \"mm\" in duration \"1mm\""),
            ("300y", "duration out of range"),
            ("292y9000w", "duration out of range"),
            ("9223372036855ms", "duration out of range"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
        assert_eq!(parse_signed("-"), Err(DurationError::Empty));
        assert!(parse_signed("--1m").is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(ms in 0..MAX_MILLIS) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in "-?([0-9]{0,4}[ywdhms\u{e9}]{0,2}){0,4}") {
            drop((parse(&text), parse_signed(&text)));
        }
    }
}
