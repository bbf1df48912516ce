//! Strings.

use std::fmt::Write as _;

use firesteel_model::float::go_quote;

use super::{super::value::Value, printer::Printer};

pub(super) fn string(printer: &mut Printer, text: &str, verb: char, value: &Value) {
    match verb {
        'v' if printer.flags.sharp_v => quoted(printer, text),
        'v' | 's' => plain(printer, text),
        'x' => hexadecimal(printer, text, false),
        'X' => hexadecimal(printer, text, true),
        'q' => quoted(printer, text),
        _ => printer.bad_verb(value, verb),
    }
}

/// As many characters as the precision lets through.
fn truncated<'t>(printer: &Printer, text: &'t str) -> &'t str {
    match printer.flags.precision.and_then(|n| text.char_indices().nth(n)) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

pub(super) fn plain(printer: &mut Printer, text: &str) {
    let text = truncated(printer, text);
    printer.pad(text);
}

fn quoted(printer: &mut Printer, text: &str) {
    let text = truncated(printer, text);
    if printer.flags.sharp && can_backquote(text) {
        printer.pad(&format!("`{text}`"));
    } else if printer.flags.plus {
        printer.pad(&ascii_quote(text));
    } else {
        printer.pad(&go_quote(text));
    }
}

/// Whether a raw string can say it on one line.
fn can_backquote(text: &str) -> bool {
    text.chars().all(|c| match c {
        '\t' => true,
        '`' | '\u{7f}' | '\u{feff}' => false,
        c => c >= ' ',
    })
}

/// `\u00e9`, `\U0001f600`
pub(super) fn escape_unicode(c: char) -> String {
    match u32::from(c) {
        n @ 0..=0xffff => format!("\\u{n:04x}"),
        n => format!("\\U{n:08x}"),
    }
}

fn ascii_quote(text: &str) -> String {
    let mut out = String::new();
    for c in go_quote(text).chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => out.push_str(&escape_unicode(c)),
        }
    }
    out
}

fn hexadecimal(printer: &mut Printer, text: &str, upper: bool) {
    let flags = printer.flags;
    let bytes = text.as_bytes();
    let bytes = bytes.get(..flags.precision.unwrap_or(bytes.len())).unwrap_or(bytes);
    let prefix = match (flags.sharp && !bytes.is_empty(), upper) {
        (false, _) => "",
        (true, false) => "0x",
        (true, true) => "0X",
    };
    let mut out = String::from(prefix);
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 && flags.space {
            out.push(' ');
            out.push_str(prefix);
        }
        let written = match upper {
            true => write!(out, "{byte:02X}"),
            false => write!(out, "{byte:02x}"),
        };
        debug_assert!(written.is_ok(), "a string takes what is written");
    }
    printer.pad(&out);
}
