//! Sizes with base-2 units (`512MB`, `1.5GiB`), source: `alecthomas/units`, `Base2Bytes`.

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// Not made of numbers and units.
    #[error("units: invalid {0}")]
    Invalid(String),
    /// A number without a unit, or with one that is not known.
    #[error("units: unknown unit {unit} in {text}")]
    UnknownUnit {
        /// What stands where the unit should.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// More than 64 bits can hold.
    #[error("units: overflow parsing unit")]
    Overflow,
}

const PREFIXES: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

/// Reads a size in bytes: numbers with the units `B`, `KB` or `KiB`, and so on to `EB`, all powers
/// of 1024; `0` alone needs no unit. A sign is accepted, so the result may be negative.
///
/// # Errors
/// See [`SizeError`].
///
/// ```
/// assert_eq!(firesteel_config::size::parse("512MB"), Ok(512 << 20));
/// ```
pub fn parse(text: &str) -> Result<i64, SizeError> {
    // Prometheus tries the two families of units one after the other, and reports the second.
    parse_with(text, "iB").or_else(|_| parse_with(text, "B"))
}

fn parse_with(text: &str, suffix: &str) -> Result<i64, SizeError> {
    let invalid = || SizeError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
        None => return Err(invalid()),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number = match number.strip_suffix('.').unwrap_or(number) {
            "" => return Err(invalid()),
            number => number.parse::<f64>().map_err(|_| invalid())?,
        };
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let factor = factor(unit, suffix)
            .ok_or_else(|| SizeError::UnknownUnit { unit: unit.into(), text: text.into() })?;
        total += number * factor;
        rest = tail;
    }
    let total = if negative { -total } else { total };
    // 2^63 is exact as a float; the comparison keeps the conversion below in range.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&total) {
        Ok(total as i64)
    } else {
        Err(SizeError::Overflow)
    }
}

fn factor(unit: &str, suffix: &str) -> Option<f64> {
    if unit == "B" {
        return Some(1.0);
    }
    let prefix = unit.strip_suffix(suffix)?;
    let power = PREFIXES.iter().position(|p| *p == prefix && !p.is_empty())?;
    Some(1024f64.powi(i32::try_from(power).ok()?))
}

/// Prints a size as Prometheus does: `512MiB`, `1GiB512MiB`, `0B`.
#[must_use]
pub fn format(bytes: i64) -> String {
    let mut parts = Vec::new();
    let mut rest = bytes;
    for (i, prefix) in PREFIXES.into_iter().enumerate() {
        let part = rest % 1024;
        if part != 0 || (i == 0 && rest == 0) {
            let suffix = if i == 0 { "B" } else { "iB" };
            parts.push(format!("{part}{prefix}{suffix}"));
        }
        rest /= 1024;
        if rest == 0 {
            break;
        }
    }
    parts.reverse();
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_prints() {
        for (text, bytes, printed) in [
            ("512MB", 512 << 20, "512MiB"),
            ("512MiB", 512 << 20, "512MiB"),
            ("1.5GB", 3 << 29, "1GiB512MiB"),
            ("0", 0, "0B"),
            ("1KB1B", 1025, "1KiB1B"),
            ("-1B", -1, "-1B"),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
            assert_eq!(format(bytes), printed);
        }
        assert_eq!(parse("100").unwrap_err().to_string(), "units: unknown unit  in 100");
        for bad in ["", "MB", "1 MB", "1mb", "9EB", "-", "1KiBx"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn prints_what_it_reads(bytes in 0i64..(1 << 52)) {
            prop_assert_eq!(parse(&format(bytes)), Ok(bytes));
        }

        #[test]
        fn never_panics(text in ".{0,20}") {
            let _ = parse(&text);
        }
    }
}
