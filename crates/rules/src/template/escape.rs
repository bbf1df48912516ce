//! Texts for HTML, JavaScript and URLs, and in capitals or not. Source: Go's `text/template`,
//! `net/url` and `strings`.

use std::fmt::Write as _;

use firesteel_model::float::go_quote;

/// Go's `template.HTMLEscapeString`.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// Go's `template.JSEscapeString`.
pub(super) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\x1f' => push_escape(&mut out, c),
            c if c.is_ascii() || prints(c) => out.push(c),
            c => push_escape(&mut out, c),
        }
    }
    out
}

fn push_escape(out: &mut String, c: char) {
    let written = write!(out, "\\u{:04X}", u32::from(c));
    debug_assert!(written.is_ok(), "a string takes what is written");
}

/// Whether Go prints a character as it is.
fn prints(c: char) -> bool {
    !go_quote(c.encode_utf8(&mut [0; 4])).contains('\\')
}

/// Go's `url.QueryEscape`: all but letters, digits and `-_.~` as `%20`, spaces as `+`.
pub(super) fn url_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => {
                let written = write!(out, "%{byte:02X}");
                debug_assert!(written.is_ok(), "a string takes what is written");
            }
        }
    }
    out
}

/// One character for one, as Go's `unicode.ToUpper` has it.
pub(super) fn upper_char(c: char) -> char {
    let mut full = c.to_uppercase();
    match (full.next(), full.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Go's `strings.ToUpper`: one character for one.
pub(super) fn to_upper(text: &str) -> String {
    text.chars().map(upper_char).collect()
}

/// Go's `strings.ToLower`: one character for one.
pub(super) fn to_lower(text: &str) -> String {
    let lower = |c: char| {
        let mut full = c.to_lowercase();
        match (full.next(), full.next()) {
            (Some(one), None) => one,
            _ if c == '\u{130}' => 'i',
            _ => c,
        }
    };
    text.chars().map(lower).collect()
}
