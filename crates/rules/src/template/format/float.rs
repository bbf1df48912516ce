//! Floats.

use firesteel_model::float::{write_e, write_f, write_g};

use super::{super::value::Value, printer::Printer};

pub(super) fn print(printer: &mut Printer, v: f64, verb: char, value: &Value) {
    match verb {
        'v' => write(printer, v, 'g', None),
        'b' | 'g' | 'G' | 'x' | 'X' => write(printer, v, verb, None),
        'f' | 'e' | 'E' | 'F' => write(printer, v, verb, Some(6)),
        _ => printer.bad_verb(value, verb),
    }
}

fn write(printer: &mut Printer, v: f64, verb: char, default: Option<usize>) {
    let flags = printer.flags;
    let precision = flags.precision.or(default);
    let mut number = format(v, verb, precision);
    if !number.starts_with(['+', '-']) {
        number.insert(0, '+');
    }
    if flags.space && number.starts_with('+') && !flags.plus {
        number.replace_range(..1, " ");
    }
    if !v.is_finite() {
        let bare = v.is_nan() && !flags.space && !flags.plus;
        printer.pad_with_spaces(number.get(usize::from(bare)..).unwrap_or_default());
        return;
    }
    if flags.sharp && verb != 'b' {
        number = with_point(&number, verb, precision);
    }
    if !flags.plus && number.starts_with('+') {
        printer.pad(number.get(1..).unwrap_or_default());
    } else if flags.zero && !flags.minus {
        printer.pad_after_sign(&number);
    } else {
        printer.pad(&number);
    }
}

/// Go's `strconv.FormatFloat(v, verb, precision, 64)`; no precision: as many digits as it takes.
pub(super) fn format(v: f64, verb: char, precision: Option<usize>) -> String {
    let mut out = String::new();
    if !v.is_finite() {
        write_f(&mut out, v);
        return out;
    }
    match (verb, precision) {
        ('f' | 'F', None) => write_f(&mut out, v),
        ('f' | 'F', Some(digits)) => out = format!("{v:.digits$}"),
        ('e' | 'E', None) => write_e(&mut out, v),
        ('e' | 'E', Some(digits)) => out = exponential(v, digits),
        ('g' | 'G', None) => write_g(&mut out, v),
        ('g' | 'G', Some(digits)) => out = general(v, digits.max(1)),
        ('b', _) => out = binary(v),
        (_, precision) => out = hexadecimal(v, precision),
    }
    match verb {
        'E' | 'G' | 'X' => out.to_uppercase(),
        _ => out,
    }
}

/// Rust's exponential form with Go's exponent of at least two digits.
fn exponential(v: f64, digits: usize) -> String {
    let text = format!("{v:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{exponent:0>2}")
}

/// `%g` with a number of significant digits; zeros at the end are left out.
fn general(v: f64, digits: usize) -> String {
    let text = exponential(v, digits - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = if mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    };
    let significant = mantissa.bytes().filter(u8::is_ascii_digit).count();
    // A number whose digits all stand before the point needs no exponent for them.
    let whole = i32::try_from(significant).unwrap_or(i32::MAX);
    let mut threshold = i32::try_from(digits).unwrap_or(i32::MAX);
    if threshold > whole && whole > exponent {
        threshold = whole;
    }
    if v != 0.0 && (exponent < -4 || exponent >= threshold) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let behind = usize::try_from(whole - 1 - exponent).unwrap_or(0);
    format!("{v:.behind$}")
}

/// The mantissa as an integer, and the exponent of two.
const fn parts(v: f64) -> (u64, i32) {
    let bits = v.to_bits();
    let fraction = bits & 0x000f_ffff_ffff_ffff;
    match (bits >> 52 & 0x7ff) as i32 {
        0 => (fraction, -1074),
        exponent => (fraction | 1 << 52, exponent - 1075),
    }
}

/// `%b`: `4503599627370496p-52`.
fn binary(v: f64) -> String {
    let (mantissa, exponent) = parts(v);
    let sign = if v.is_sign_negative() { "-" } else { "" };
    format!("{sign}{mantissa}p{exponent:+}")
}

/// `%x`: `0x1.8p+03`.
fn hexadecimal(v: f64, precision: Option<usize>) -> String {
    let (mut mantissa, mut exponent) = parts(v);
    if mantissa == 0 {
        exponent = 0;
    } else {
        // The leading one goes to bit 60.
        let shift = mantissa.leading_zeros() as i32 - 3;
        mantissa <<= shift;
        exponent += 60 - shift;
    }
    if let Some(digits) = precision.filter(|digits| *digits < 15) {
        let shift = (digits * 4) as u32;
        let extra = (mantissa << shift) & ((1 << 60) - 1);
        mantissa >>= 60 - shift;
        let half = 1 << 59;
        if extra | (mantissa & 1) > half {
            mantissa += 1;
        }
        mantissa <<= 60 - shift;
        if mantissa & (1 << 61) != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let all = format!("{:015x}", mantissa & ((1 << 60) - 1));
    let digits = match precision {
        None => all.trim_end_matches('0').to_owned(),
        Some(digits) => format!("{:0<digits$}", all.get(..digits.min(15)).unwrap_or(&all)),
    };
    let sign = if v.is_sign_negative() { "-" } else { "" };
    let point = if digits.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    let lead = mantissa >> 60 & 1;
    format!("{sign}0x{lead}{point}{digits}p{exponent_sign}{:02}", exponent.unsigned_abs())
}

/// What `#` does: there is always a point, and `%g` keeps its zeros.
fn with_point(number: &str, verb: char, precision: Option<usize>) -> String {
    let mut wanted = match verb {
        'v' | 'g' | 'G' | 'x' => precision.unwrap_or(6) as i64,
        _ => 0,
    };
    let hexadecimal = matches!(verb, 'x' | 'X');
    let marks: &[char] = if hexadecimal { &['p', 'P'] } else { &['e', 'E', 'p', 'P'] };
    let (digits, tail) = number.split_at(number.find(marks).unwrap_or(number.len()));
    let mut seen = false;
    for c in digits.chars().skip(1).filter(|c| *c != '.') {
        seen |= c != '0';
        wanted -= i64::from(seen);
    }
    let mut out = digits.to_owned();
    if !digits.contains('.') {
        if digits.len() == 2 && digits.ends_with('0') {
            wanted -= 1;
        }
        out.push('.');
    }
    out.extend(std::iter::repeat_n('0', usize::try_from(wanted).unwrap_or(0)));
    out.push_str(tail);
    out
}
