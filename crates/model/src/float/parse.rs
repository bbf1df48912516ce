//! Text to floats.

use std::fmt;

use super::go_quote;

/// Why a text is not a float. The texts are Go's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FloatError {
    /// It is not written as a number.
    Syntax(String),
    /// It is larger than the largest float.
    Range(String),
}

impl fmt::Display for FloatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, why) = match self {
            Self::Syntax(text) => (text, "invalid syntax"),
            Self::Range(text) => (text, "value out of range"),
        };
        write!(f, "strconv.ParseFloat: parsing {}: {why}", go_quote(text))
    }
}

impl std::error::Error for FloatError {}

/// Reads a float as Go's `strconv.ParseFloat(text, 64)`: decimal, hexadecimal with an exponent
/// (`0x1.8p3`), `inf`, `infinity` and `nan` in any case, underscores between digits.
///
/// # Errors
/// Not a number in one of these forms, or one that is too large.
pub fn parse_go(text: &str) -> Result<f64, FloatError> {
    let syntax = || FloatError::Syntax(text.to_owned());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let signed = |v: f64| if negative { -v } else { v };
    if let Some(v) = special(text, unsigned) {
        return Ok(signed(v));
    }
    // What Rust reads and Go does not are only the special names.
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(syntax());
    }
    let plain = without_underscores(unsigned).ok_or_else(syntax)?;
    let plain = plain.as_deref().unwrap_or(unsigned);
    let v = match plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        Some(hex) => hexadecimal(hex).ok_or_else(syntax)?,
        None => plain.parse::<f64>().map_err(|_| syntax())?,
    };
    if v.is_infinite() { Err(FloatError::Range(text.to_owned())) } else { Ok(signed(v)) }
}

/// Reads a number as PromQL does: a 64-bit integer in Go's notation (`0x1f`, `0b11`, `0o17`, `017`,
/// `1_000`) if it is one, else [`parse_go`].
///
/// # Errors
/// As [`parse_go`].
pub fn parse_number(text: &str) -> Result<f64, FloatError> {
    match integer(text) {
        Some(n) => Ok(n as f64),
        None => parse_go(text),
    }
}

fn special(text: &str, unsigned: &str) -> Option<f64> {
    let is = |name: &str| unsigned.eq_ignore_ascii_case(name);
    if is("inf") || is("infinity") {
        return Some(f64::INFINITY);
    }
    // A sign before NaN is not allowed.
    text.eq_ignore_ascii_case("nan").then_some(f64::NAN)
}

/// The number without its underscores, `Some(None)` if it has none; `None` if one of them is not
/// between digits, of which a prefix as `0x` counts as one.
fn without_underscores(number: &str) -> Option<Option<String>> {
    if !number.contains('_') {
        return Some(None);
    }
    let mut bytes = number.as_bytes();
    let mut before = b'!';
    let mut hex = false;
    if let [b'0', prefix, rest @ ..] = bytes
        && matches!(prefix | 0x20, b'x' | b'o' | b'b')
    {
        (bytes, before, hex) = (rest, b'0', prefix | 0x20 == b'x');
    }
    for b in bytes {
        let digit = b.is_ascii_digit() || (hex && b.is_ascii_hexdigit());
        before = match b {
            _ if digit => b'0',
            b'_' if before == b'0' => b'_',
            _ if *b == b'_' || before == b'_' => return None,
            _ => b'!',
        };
    }
    (before != b'_').then(|| Some(number.replace('_', "")))
}

/// `h.hhp-e` behind the prefix, rounded to the nearest float, ties to even.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Larger ones are infinite or zero in any case.
    let magnitude = digits.bytes().fold(0_i64, |n, b| (n * 10 + i64::from(b - b'0')).min(1 << 40));
    let mut exponent = if exponent.starts_with('-') { -magnitude } else { magnitude };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // The leading 64 bits; what does not fit only matters for rounding.
    let (mut bits, mut sticky) = (0_u64, false);
    for (digit, after_point) in
        whole.bytes().map(|b| (b, false)).chain(fraction.bytes().map(|b| (b, true)))
    {
        let digit = u64::from((digit as char).to_digit(16)?);
        if bits >> 60 == 0 {
            bits = bits << 4 | digit;
            exponent -= if after_point { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            exponent += if after_point { 0 } else { 4 };
        }
    }
    Some(assemble(bits, sticky, exponent))
}

/// `bits * 2^exponent`, a little more if `sticky`.
fn assemble(bits: u64, sticky: bool, exponent: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let shift = bits.leading_zeros();
    let bits = bits << shift;
    // Value: 1.xxx * 2^top.
    let top = exponent - i64::from(shift) + 63;
    if top > 1023 {
        return f64::INFINITY;
    }
    // Bits of the mantissa that are lost: 11 for normal floats, more for subnormal ones.
    let lost = if top >= -1022 { 11 } else { 11 + (-1022 - top) };
    if lost > 64 {
        return 0.0;
    }
    let lost = lost as u32;
    let kept = bits.checked_shr(lost).unwrap_or(0);
    let rest = if lost == 64 { bits } else { bits & ((1 << lost) - 1) };
    let half = 1_u64 << (lost - 1);
    let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
    let mantissa = kept + u64::from(up);
    // The hidden bit adds one to the exponent, as does a carry out of the mantissa.
    let biased = if top >= -1022 { (top + 1022) as u64 } else { 0 };
    f64::from_bits((biased << 52) + mantissa)
}

/// Go's `strconv.ParseInt(text, 0, 64)`.
fn integer(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = without_underscores(unsigned)?;
    let plain = plain.as_deref().unwrap_or(unsigned);
    let (digits, base) = match plain.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&plain[2..], 16),
        [b'0', b'o' | b'O', ..] => (&plain[2..], 8),
        [b'0', b'b' | b'B', ..] => (&plain[2..], 2),
        [b'0', _, ..] => (&plain[1..], 8),
        _ => (plain, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, base).ok()?);
    i64::try_from(if text.starts_with('-') { -magnitude } else { magnitude }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, v) in [
            ("1", 1.0),
            ("+1.5e3", 1500.0),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("-0", -0.0),
            ("1_23.50_0_0e+1_2", 1.235e14),
            ("iNf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0x1p-2", 0.25),
            ("0X1.8P1", 3.0),
            ("0x_1_2.3_4_5p+1_2", 74565.0),
            ("-0x.8p0", -0.5),
            ("0x1p-1074", 5e-324),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", 5e-324),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x1.fffffffffffff7p1023", f64::MAX),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000081p0", 1.000_000_000_000_000_2),
            ("0x1.00000000000018p0", 1.000_000_000_000_000_4),
            ("0x0p99999999999", 0.0),
            ("1e-400", 0.0),
        ] {
            assert_eq!(parse_go(text).map(f64::to_bits), Ok(v.to_bits()), "{text}");
        }
        assert!(parse_go("NaN").unwrap().is_nan());
        for text in [
            "", "+", ".", "e1", "1e", "1e+", "1 ", " 1", "+nan", "-nan", "in", "infin", "++1",
            "0x1", "0x1p", "0xp1", "0x.p1", "1__0", "_1", "1_", "1_.5", "1._5", "1e_5", "1p3",
            "0b1", "1.2.3", "0x1g", "0x1p1.0", "+-1", "1\u{661}",
        ] {
            assert_eq!(parse_go(text), Err(FloatError::Syntax(text.to_owned())), "{text}");
        }
        for text in ["1e309", "-1e309", "0x1p1024", "0x1.fffffffffffff8p1023"] {
            assert_eq!(parse_go(text), Err(FloatError::Range(text.to_owned())), "{text}");
        }
        let error = parse_go("a\"").unwrap_err().to_string();
        assert_eq!(error, r#"strconv.ParseFloat: parsing "a\"": invalid syntax"#);
    }

    #[test]
    fn reads_numbers_as_promql_does() {
        for (text, v) in [
            ("1_000", 1000.0),
            ("0x1F", 31.0),
            ("0x_f", 15.0),
            ("017", 15.0),
            ("08", 8.0),
            ("0b11", 3.0),
            ("0o17", 15.0),
            ("0", 0.0),
            ("-5", -5.0),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
            ("1.5", 1.5),
            ("Inf", f64::INFINITY),
        ] {
            assert_eq!(parse_number(text), Ok(v), "{text}");
        }
        for text in ["0x", "0b2", "1__0", "0x-1", "0xffffffffffffffff", "x"] {
            assert!(parse_number(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_std(bits in any::<u64>(), text in "[-+]?[0-9]{0,4}[.]?[0-9]{0,3}(e[-+]?[0-9]{0,2})?") {
            let v = f64::from_bits(bits);
            if v.is_finite() {
                prop_assert_eq!(parse_go(&format!("{v:e}")).map(f64::to_bits), Ok(v.to_bits()));
                let (fraction, exponent) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i32);
                let (lead, exponent) = if exponent == 0 { (0, -1022) } else { (1, exponent - 1023) };
                let hex = format!("0x{lead}.{fraction:013x}p{exponent}");
                prop_assert_eq!(parse_go(&hex).map(f64::to_bits), Ok(v.abs().to_bits()));
            }
            prop_assert_eq!(parse_go(&text).ok(), text.parse().ok());
        }

        #[test]
        fn never_panics(text in "[-+0-9a-fxpobinINF._ ]{0,24}") {
            drop((parse_go(&text), parse_number(&text)));
        }
    }
}
