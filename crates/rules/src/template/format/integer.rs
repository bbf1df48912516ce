//! Integers.

use firesteel_model::float::go_quote;

use super::{super::value::Value, printer::Printer};

pub(super) fn print(printer: &mut Printer, n: i64, unsigned: bool, verb: char, value: &Value) {
    match verb {
        'v' if printer.flags.sharp_v && unsigned => {
            let sharp = std::mem::replace(&mut printer.flags.sharp, true);
            digits(printer, n, 16, 'v');
            printer.flags.sharp = sharp;
        }
        'v' | 'd' => digits(printer, n, 10, verb),
        'b' => digits(printer, n, 2, verb),
        'o' | 'O' => digits(printer, n, 8, verb),
        'x' | 'X' => digits(printer, n, 16, verb),
        'c' => printer.pad(&character(n).to_string()),
        'q' => quoted(printer, character(n)),
        'U' => unicode(printer, n),
        _ => printer.bad_verb(value, verb),
    }
}

/// The character of a code; U+FFFD if there is none.
fn character(n: i64) -> char {
    u32::try_from(n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn magnitude(n: u64, base: u32, verb: char) -> String {
    match (base, verb) {
        (2, _) => format!("{n:b}"),
        (8, _) => format!("{n:o}"),
        (16, 'X') => format!("{n:X}"),
        (16, _) => format!("{n:x}"),
        _ => n.to_string(),
    }
}

fn digits(printer: &mut Printer, n: i64, base: u32, verb: char) {
    let flags = printer.flags;
    let signed = n < 0 || flags.plus || flags.space;
    let precision = match flags.precision {
        Some(0) if n == 0 => {
            printer.pad_with_spaces("");
            return;
        }
        Some(precision) => precision,
        None if flags.zero && !flags.minus => {
            flags.width.unwrap_or(0).saturating_sub(usize::from(signed))
        }
        None => 0,
    };
    let digits = magnitude(n.unsigned_abs(), base, verb);
    let mut text = String::new();
    text.push_str(match n {
        n if n < 0 => "-",
        _ if flags.plus => "+",
        _ if flags.space => " ",
        _ => "",
    });
    let zeros = precision.saturating_sub(digits.len());
    if verb == 'O' {
        text.push_str("0o");
    }
    if flags.sharp {
        text.push_str(match (base, verb) {
            (2, _) => "0b",
            (8, _) if zeros == 0 && !digits.starts_with('0') => "0",
            (16, 'X') => "0X",
            (16, _) => "0x",
            _ => "",
        });
    }
    text.extend(std::iter::repeat_n('0', zeros));
    text.push_str(&digits);
    printer.pad_with_spaces(&text);
}

/// `U+0078`, and `U+0078 'x'` with `#`.
fn unicode(printer: &mut Printer, n: i64) {
    let precision = printer.flags.precision.unwrap_or(4).max(4);
    let mut text = format!("U+{:0>precision$}", format!("{:X}", n as u64));
    let c = u32::try_from(n).ok().and_then(char::from_u32);
    if let Some(c) = c.filter(|c| printer.flags.sharp && prints(*c)) {
        text.push_str(&format!(" '{c}'"));
    }
    printer.pad_with_spaces(&text);
}

/// Whether a character prints as it is.
fn prints(c: char) -> bool {
    matches!(c, '"' | '\\') || !go_quote(c.encode_utf8(&mut [0; 4])).contains('\\')
}

/// `%q`: a character in single quotes.
fn quoted(printer: &mut Printer, c: char) {
    let inner = match c {
        '\'' => "\\'".to_owned(),
        '"' => "\"".to_owned(),
        c if printer.flags.plus && !c.is_ascii() => super::text::escape_unicode(c),
        c => {
            let quoted = go_quote(c.encode_utf8(&mut [0; 4]));
            quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
        }
    };
    printer.pad(&format!("'{inner}'"));
}
