//! The values of numbers and durations.

use firesteel_model::duration::{self, DurationError};

use crate::go;

/// Reads a number: as Go's `ParseInt(text, 0, 64)`, where `0x1f` is hexadecimal and `017` octal,
/// else as `ParseFloat`. The error is Go's text.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    if let Some(n) = integer(text) {
        return Ok(n as f64);
    }
    let error = |what: &str| format!("strconv.ParseFloat: parsing {}: {what}", go::quote(text));
    let digits = without_underscores(text).ok_or_else(|| error("invalid syntax"))?;
    let value: f64 = digits.parse().map_err(|_| error("invalid syntax"))?;
    if value.is_infinite() && !digits.eq_ignore_ascii_case("inf") {
        return Err(error("value out of range"));
    }
    Ok(value)
}

fn integer(text: &str) -> Option<i64> {
    let digits = without_underscores(text)?;
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok();
    }
    let base = if digits.len() > 1 && digits.starts_with('0') { 8 } else { 10 };
    i64::from_str_radix(&digits, base).ok()
}

/// The text without underscores, `None` where one does not stand between digits (the prefix `0x`
/// counts as one).
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let hex = text.len() > 1 && text.starts_with('0') && matches!(bytes[1], b'x' | b'X');
    let is_digit = |i: usize| {
        bytes
            .get(i)
            .is_some_and(|b| if hex { b.is_ascii_hexdigit() || i == 1 } else { b.is_ascii_digit() })
    };
    let well_placed = |i: usize| i > 0 && is_digit(i - 1) && is_digit(i + 1);
    let ok = bytes.iter().enumerate().all(|(i, b)| *b != b'_' || well_placed(i));
    ok.then(|| text.replace('_', ""))
}

/// Reads a duration, in seconds.
pub(super) fn duration_seconds(text: &str) -> Result<f64, String> {
    match duration::parse(text) {
        Ok(duration) => Ok(duration.as_secs() as f64 + f64::from(duration.subsec_nanos()) / 1e9),
        Err(DurationError::OutOfRange) => Err("duration out of range".to_owned()),
        Err(_) => Err(unknown_unit(text).map_or_else(
            || format!("not a valid duration string: {}", go::quote(text)),
            |unit| format!("unknown unit {} in duration {}", go::quote(unit), go::quote(text)),
        )),
    }
}

fn unknown_unit(text: &str) -> Option<&str> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    text.split(|c: char| c.is_ascii_digit())
        .find(|unit| !matches!(*unit, "" | "y" | "w" | "d" | "h" | "m" | "s" | "ms"))
}

/// A duration literal's seconds in milliseconds, as Prometheus rounds: to nanoseconds, then cut.
pub(super) fn seconds_to_millis(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        for (text, value) in [
            ("1", 1.0),
            ("1_000", 1000.0),
            ("1_0.5", 10.5),
            ("0x1F", 31.0),
            ("0x_1f", 31.0),
            ("017", 15.0),
            ("08", 8.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("Inf", f64::INFINITY),
        ] {
            assert_eq!(number(text), Ok(value), "{text}");
        }
        assert!(number("NaN").is_ok_and(f64::is_nan));
        for (text, what) in [
            ("1e", "invalid syntax"),
            (".5.5", "invalid syntax"),
            ("1__0", "invalid syntax"),
            ("0xffffffffffffffffff", "invalid syntax"),
            ("1e999", "value out of range"),
        ] {
            let expected = format!("strconv.ParseFloat: parsing \"{text}\": {what}");
            assert_eq!(number(text), Err(expected));
        }
    }

    #[test]
    fn durations_name_their_fault() {
        assert_eq!(duration_seconds("1h30m"), Ok(5400.0));
        assert_eq!(duration_seconds("1500ms"), Ok(1.5));
        let error = "unknown unit \"hs\" in duration \"5hs\"".to_owned();
        assert_eq!(duration_seconds("5hs"), Err(error));
        let error = "not a valid duration string: \"1m1h\"".to_owned();
        assert_eq!(duration_seconds("1m1h"), Err(error));
    }
}
