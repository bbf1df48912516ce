//! What a plain scalar means, after go-yaml version 2 (`resolve.go`): YAML 1.1 with its many ways
//! to write a boolean, a scalar taking the type that its field asks for.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Scalar, ScalarTag};

/// Nothing, `~` or `null`.
pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// A plain scalar as a boolean.
pub(crate) fn as_bool(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

/// A plain scalar as a whole number: decimal, `0x`, `0b`, `0o` or a leading zero for octal, with
/// underscores anywhere.
pub(crate) fn as_int(text: &str) -> Option<i128> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    let value = i128::from(value);
    let value = if negative { -value } else { value };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// A plain scalar as a float, whole numbers included.
pub(crate) fn as_float(text: &str) -> Option<f64> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    if let Some(int) = as_int(text) {
        return Some(int as f64);
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    is_float_syntax(&plain).then(|| plain.parse().ok()).flatten()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float_syntax(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(i) => (&text[..i], Some(&text[i + 1..])),
        None => (text, None),
    };
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_ok = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    mantissa_ok && exponent_ok
}

/// Whether a plain scalar of this text would be read as something else than a string.
pub(crate) fn is_special(text: &str) -> bool {
    is_null(text)
        || text == "<<"
        || as_bool(text).is_some()
        || as_float(text).is_some()
        || is_timestamp(text)
}

/// Dates and times as go-yaml knows them: `2001-12-14`, `2001-12-14T21:59:43.10-05:00`.
fn is_timestamp(text: &str) -> bool {
    let date = text.find(['T', 't', ' ']).unwrap_or(text.len());
    let (date, time) = text.split_at(date);
    let mut parts = date.split('-');
    let mut part = |most: usize| {
        parts
            .next()
            .is_some_and(|p| (1..=most).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    };
    let four = date.as_bytes().get(4) == Some(&b'-');
    if !(four && part(4) && part(2) && part(2) && parts.next().is_none()) {
        return false;
    }
    time.is_empty()
        || (time[1..].split(':').count() >= 3
            && time[1..].bytes().all(|b| b.is_ascii_digit() || b"+-:.Z ".contains(&b)))
}

/// Why a scalar has no text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TextError {
    /// `!!binary` that is not base64.
    Base64,
    /// `!!binary` whose bytes are not UTF-8.
    NotUtf8(Vec<u8>),
}

impl Scalar {
    /// The scalar as a string, whatever it looks like.
    pub(crate) fn string(&self) -> Result<String, TextError> {
        if self.tag != ScalarTag::Binary {
            return Ok(self.text.clone());
        }
        let bytes = STANDARD.decode(self.text.trim()).map_err(|_| TextError::Base64)?;
        String::from_utf8(bytes).map_err(|e| TextError::NotUtf8(e.into_bytes()))
    }

    /// The scalar as a plain one, if it may have a type of its own.
    pub(crate) fn typed(&self) -> Option<&str> {
        (self.plain && self.tag == ScalarTag::None).then_some(self.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_as_go_yaml_does() {
        for (text, value) in
            [("0x1F", 31), ("017", 15), ("0b11", 3), ("0o17", 15), ("1_000", 1000), ("-5", -5)]
        {
            assert_eq!(as_int(text), Some(value), "{text}");
        }
        for text in ["", "-", "0x", "1a", "08", "1.0", "99999999999999999999"] {
            assert_eq!(as_int(text), None, "{text}");
        }
        assert_eq!(as_float("1e3"), Some(1000.0));
        assert_eq!(as_float(".5"), Some(0.5));
        assert_eq!(as_float("1."), Some(1.0));
        assert_eq!(as_float("inf"), None);
        assert_eq!(as_float("."), None);
    }

    #[test]
    fn knows_what_needs_quotes() {
        for text in ["yes", "n", "~", "", "1.5", "0x1", "2001-12-14", "<<", ".inf"] {
            assert!(is_special(text), "{text}");
        }
        for text in ["yess", "10.0.0.1", "1h", "a", "2001-12", "2001-12-14x", "-"] {
            assert!(!is_special(text), "{text}");
        }
    }
}
