//! Strings in quotes.

use std::{borrow::Cow, fmt, fmt::Write as _};

use crate::unicode;

/// Quotes a string as Go's `%q` (`strconv.Quote`): characters that do not print are escaped.
#[must_use]
pub fn go_quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if unicode::is_print(c) => out.push(c),
            c => push_escaped(&mut out, c),
        }
    }
    out.push('"');
    out
}

fn push_escaped(out: &mut String, c: char) {
    let written = match c as u32 {
        n @ (0..=0x1f | 0x7f) => write!(out, "\\x{n:02x}"),
        n @ 0..=0xffff => write!(out, "\\u{n:04x}"),
        n => write!(out, "\\U{n:08x}"),
    };
    debug_assert!(written.is_ok(), "a string takes what is written");
}

/// Why a text is not a string in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnquoteError {
    /// Quotes do not match, or an escape is not one. `at`: byte offset in the text.
    Syntax {
        /// Where.
        at: usize,
    },
    /// Escapes of single bytes (`\xff`) do not add up to UTF-8.
    NotUtf8,
}

impl fmt::Display for UnquoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax { .. } => "invalid syntax",
            Self::NotUtf8 => "invalid UTF-8",
        })
    }
}

impl std::error::Error for UnquoteError {}

/// Reads a string of PromQL: in single or double quotes with Go's escapes, or in backquotes as it
/// stands. Borrows where nothing is escaped. Source: `util/strutil/quote.go`.
///
/// # Errors
/// See [`UnquoteError`].
pub fn go_unquote(text: &str) -> Result<Cow<'_, str>, UnquoteError> {
    let syntax = |at: usize| Err(UnquoteError::Syntax { at });
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`')) else {
        return syntax(0);
    };
    let Some(inner) = text[1..].strip_suffix(quote) else { return syntax(text.len()) };
    if quote == '`' {
        return match inner.find('`') {
            Some(at) => syntax(1 + at),
            None => Ok(Cow::Borrowed(inner)),
        };
    }
    if let Some(at) = inner.find('\n') {
        return syntax(1 + at);
    }
    if !inner.contains(['\\', quote]) {
        return Ok(Cow::Borrowed(inner));
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(special) = rest.find(['\\', quote]) {
        bytes.extend_from_slice(&rest.as_bytes()[..special]);
        rest = &rest[special..];
        match unescape(rest, quote, &mut bytes) {
            Some(after) => rest = after,
            None => return syntax(1 + inner.len() - rest.len()),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| UnquoteError::NotUtf8)
}

/// Reads an escape; returns what follows it.
fn unescape<'t>(text: &'t str, quote: char, out: &mut Vec<u8>) -> Option<&'t str> {
    let mut chars = text.strip_prefix('\\')?.chars();
    let escape = chars.next()?;
    let rest = chars.as_str();
    let byte = match escape {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        c if c == quote => c as u8,
        'x' => return byte_escape(rest, 2, 16, out),
        // The first digit stands at the escape's own place.
        '0'..='7' => return byte_escape(&text[1..], 3, 8, out),
        'u' => return char_escape(rest, 4, out),
        'U' => return char_escape(rest, 8, out),
        _ => return None,
    };
    out.push(byte);
    Some(rest)
}

/// Exactly `len` digits of a base.
fn digits(text: &str, len: usize, base: u32) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(len)?;
    if !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    Some((u32::from_str_radix(digits, base).ok()?, rest))
}

fn byte_escape<'t>(text: &'t str, len: usize, base: u32, out: &mut Vec<u8>) -> Option<&'t str> {
    let (n, rest) = digits(text, len, base)?;
    out.push(u8::try_from(n).ok()?);
    Some(rest)
}

fn char_escape<'t>(text: &'t str, len: usize, out: &mut Vec<u8>) -> Option<&'t str> {
    let (n, rest) = digits(text, len, 16)?;
    if n > u32::from(char::MAX) {
        return None;
    }
    // Go writes a surrogate as the replacement character.
    let c = char::from_u32(n).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_as_go_does() {
        for (text, quoted) in [
            ("", r#""""#),
            ("a\"\\\n\t\r", r#""a\"\\\n\t\r""#),
            ("\x07\x08\x0b\x0c\0\x7f", r#""\a\b\v\f\x00\x7f""#),
            ("\u{e9}\u{65e5}\u{1f600}\u{fffd}", "\"\u{e9}\u{65e5}\u{1f600}\u{fffd}\""),
            ("\u{80}\u{a0}\u{feff}\u{10ffff}", r#""\u0080\u00a0\ufeff\U0010ffff""#),
        ] {
            assert_eq!(go_quote(text), quoted);
        }
    }

    #[test]
    fn unquotes_as_promql_does() {
        for (quoted, text) in [
            ("\"\"", ""),
            ("'a\"b'", "a\"b"),
            ("\"a'b\"", "a'b"),
            (r"'it\'s'", "it's"),
            (r#""\a\b\f\n\r\t\v\\\"""#, "\x07\x08\x0c\n\r\t\x0b\\\""),
            (r#""\x41\101\u00e9\U0001f600""#, "AA\u{e9}\u{1f600}"),
            (r#""\xc3\xa9\303\251""#, "\u{e9}\u{e9}"),
            (r#""\ud800""#, "\u{fffd}"),
            ("`a\\n\n\"'`", "a\\n\n\"'"),
        ] {
            assert_eq!(go_unquote(quoted).as_deref(), Ok(text), "{quoted}");
        }
        for (quoted, at) in [
            ("", 0),
            ("\"", 1),
            ("a", 0),
            ("'a\"", 3),
            ("\"a\nb\"", 2),
            (r#""a"b""#, 2),
            (r#""\'""#, 1),
            (r#""\q""#, 1),
            (r#""ab\""#, 3),
            (r#""\x4""#, 1),
            (r#""\x+4""#, 1),
            (r#""\400""#, 1),
            (r#""\18""#, 1),
            (r#""\U00110000""#, 1),
            ("`a`b`", 2),
        ] {
            assert_eq!(go_unquote(quoted), Err(UnquoteError::Syntax { at }), "{quoted}");
        }
        assert_eq!(go_unquote(r#""\xff""#), Err(UnquoteError::NotUtf8));
    }

    proptest! {
        #[test]
        fn unquotes_what_it_quotes(text in any::<String>()) {
            let quoted = go_quote(&text);
            let back = go_unquote(&quoted);
            prop_assert_eq!(back.as_deref(), Ok(text.as_str()));
        }

        #[test]
        fn never_panics(text in "[\"'`]([a-z0-9]|\\\\|\u{e9}|\\PC){0,8}[\"'`]?") {
            drop(go_unquote(&text));
        }
    }
}
