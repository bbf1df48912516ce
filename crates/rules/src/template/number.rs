//! Number literals: what a text is as an integer and as a float. Source: Go's ideal constants as
//! `text/template/parse` has them.

use firesteel_model::float::{go_quote, go_unquote, parse_go};

/// A number, in all the types that hold it exactly.
#[derive(Clone, Debug)]
pub(super) struct Number {
    /// As it is written.
    pub(super) text: String,
    pub(super) int: Option<i64>,
    pub(super) uint: Option<u64>,
    pub(super) float: Option<f64>,
}

impl Number {
    /// A character in single quotes: its code.
    ///
    /// # Errors
    /// Go's texts.
    pub(super) fn from_char(text: &str) -> Result<Self, String> {
        let value = go_unquote(text).map_err(|_| char_error(text))?;
        let mut chars = value.chars();
        let (Some(c), None) = (chars.next(), chars.next()) else { return Err(char_error(text)) };
        let code = u32::from(c);
        Ok(Self {
            text: text.to_owned(),
            int: Some(code.into()),
            uint: Some(code.into()),
            float: Some(code.into()),
        })
    }

    /// A number that is not complex.
    ///
    /// # Errors
    /// Go's texts, and one of ours for imaginary numbers.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.ends_with('i') && !text.starts_with("0x") {
            return Err(format!("complex number: {}", go_quote(text)));
        }
        let mut number = Self {
            text: text.to_owned(),
            int: parse_int(text),
            uint: parse_uint(text),
            float: None,
        };
        if number.int == Some(0) {
            // -0.
            number.uint = Some(0);
        }
        if let Some(int) = number.int {
            number.float = Some(int as f64);
        } else if let Some(uint) = number.uint {
            number.float = Some(uint as f64);
        } else if let Ok(float) = parse_go(text) {
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return Err(format!("integer overflow: {}", go_quote(text)));
            }
            number.float = Some(float);
            number.int = Some(float as i64).filter(|int| *int as f64 == float && *int != i64::MAX);
            number.uint =
                Some(float as u64).filter(|uint| *uint as f64 == float && *uint != u64::MAX);
        }
        match number.float {
            Some(_) => Ok(number),
            None => Err(format!("illegal number syntax: {}", go_quote(text))),
        }
    }

    /// Whether it is a float where nothing says which type is wanted.
    pub(super) fn looks_like_float(&self) -> bool {
        let hex = self.text.len() > 2
            && (self.text.starts_with("0x") || self.text.starts_with("0X"))
            && !self.text.contains(['p', 'P']);
        let character = self.text.starts_with('\'');
        self.float.is_some() && !hex && !character && self.text.contains(['.', 'e', 'E', 'p', 'P'])
    }
}

/// What is wrong with a character constant.
fn char_error(text: &str) -> String {
    let inner = text.get(1..).unwrap_or_default();
    let escaped = inner.starts_with('\\') && {
        let end = inner.char_indices().nth(2).map_or(inner.len(), |(at, _)| at);
        go_unquote(&format!("'{}'", &inner[..end])).is_err()
    };
    match inner == "'" || escaped {
        true => "invalid syntax".to_owned(),
        false => format!("malformed character constant: {text}"),
    }
}

/// Digits without their underscores, and the base, as `strconv.ParseUint(text, 0, 64)` has them.
fn digits(text: &str) -> Option<(String, u32)> {
    let (base, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, text.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, text.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, text.get(2..)?),
        [b'0', _, ..] => (8, text.get(1..)?),
        _ => (10, text),
    };
    let prefixed = digits.len() < text.len();
    // Underscores stand between digits, or between the base and a digit.
    let bad = digits.ends_with('_')
        || digits.contains("__")
        || (digits.starts_with('_') && !prefixed)
        || digits.starts_with(['+', '-']);
    if bad || digits.is_empty() {
        return None;
    }
    Some((digits.replace('_', ""), base))
}

fn parse_uint(text: &str) -> Option<u64> {
    let (digits, base) = digits(text)?;
    u64::from_str_radix(&digits, base).ok()
}

fn parse_int(text: &str) -> Option<i64> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, base) = digits(magnitude)?;
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), base).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_all_the_types_that_hold_them() {
        for (text, int, uint, float) in [
            ("42", Some(42), Some(42), Some(42.0)),
            ("-1", Some(-1), None, Some(-1.0)),
            ("+7", Some(7), None, Some(7.0)),
            ("0x1F", Some(31), Some(31), Some(31.0)),
            ("0b101", Some(5), Some(5), Some(5.0)),
            ("0o17", Some(15), Some(15), Some(15.0)),
            ("017", Some(15), Some(15), Some(15.0)),
            ("1_000", Some(1000), Some(1000), Some(1000.0)),
            ("1.5", None, None, Some(1.5)),
            ("1e3", Some(1000), Some(1000), Some(1000.0)),
            (".5", None, None, Some(0.5)),
            ("-0", Some(0), Some(0), Some(0.0)),
            ("18446744073709551615", None, Some(u64::MAX), Some(u64::MAX as f64)),
        ] {
            let number = Number::parse(text).unwrap();
            assert_eq!((number.int, number.uint, number.float), (int, uint, float), "{text}");
        }
        assert!(Number::parse("99999999999999999999").is_err());
        assert!(Number::parse("089").is_err());
        assert!(Number::parse("1__0").is_err());
        assert!(Number::parse("2i").is_err());
    }

    #[test]
    fn characters_are_their_codes() {
        assert_eq!(Number::from_char("'a'").unwrap().int, Some(97));
        assert_eq!(Number::from_char(r"'\n'").unwrap().int, Some(10));
        assert_eq!(Number::from_char("''").unwrap_err(), "invalid syntax");
        assert_eq!(Number::from_char("'ab'").unwrap_err(), "malformed character constant: 'ab'");
    }
}
