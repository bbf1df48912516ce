//! Floats and strings as Go prints them.

use std::fmt::Write as _;

use crate::unicode;

/// Appends `v` as Go's `strconv.FormatFloat(v, 'f', -1, 64)`: the shortest decimal that reads back
/// the same, without exponent; `NaN`, `+Inf`, `-Inf`.
pub fn write_f(out: &mut String, v: f64) {
    if v.is_nan() {
        out.push_str("NaN");
    } else if v.is_infinite() {
        out.push_str(if v > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let _ = write!(out, "{v}");
    }
}

/// [`write_f`] into a new string.
#[must_use]
pub fn format_f(v: f64) -> String {
    let mut out = String::new();
    write_f(&mut out, v);
    out
}

/// Quotes a string as Go's `%q` (`strconv.Quote`).
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
            c => {
                let _ = match c as u32 {
                    n @ (0..=0x1f | 0x7f) => write!(out, "\\x{n:02x}"),
                    n @ 0..=0xffff => write!(out, "\\u{n:04x}"),
                    n => write!(out, "\\U{n:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}
