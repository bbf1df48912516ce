//! Numbers as Go reads them (`strconv.ParseFloat`).

/// The NaN that stands for every NaN on a page. Source: Prometheus `model/value/value.go`.
const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

/// Powers of ten that a double holds exactly.
static POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Reads a decimal number that is exact in doubles (Clinger's fast path) and returns it with its
/// end; `None` for everything that needs more care. The caller checks what follows.
#[inline(always)]
pub(crate) fn simple_float(page: &[u8], at: usize) -> Option<(f64, usize)> {
    let rest = page.get(at..)?;
    let negative = rest.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut i = start;
    let mut mantissa = 0_u64;
    let mut exponent = 0_i32;
    while let Some(digit) = digit_at(rest, i) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
        i += 1;
    }
    let mut digits = i - start;
    if rest.get(i) == Some(&b'.') {
        i += 1;
        let fraction = i;
        while let Some(digit) = digit_at(rest, i) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
            i += 1;
        }
        digits += i - fraction;
        exponent = -((i - fraction) as i32);
    }
    if digits == 0 || digits > 19 || mantissa > 1 << 53 {
        return None;
    }
    if matches!(rest.get(i), Some(b'e' | b'E')) {
        i += 1;
        let minus = rest.get(i) == Some(&b'-');
        i += usize::from(minus || rest.get(i) == Some(&b'+'));
        let from = i;
        let mut e = 0_i32;
        while let Some(digit) = digit_at(rest, i) {
            e = (e * 10 + digit as i32).min(1000);
            i += 1;
        }
        if i == from {
            return None;
        }
        exponent += if minus { -e } else { e };
    }
    let power = *POWERS.get(exponent.unsigned_abs() as usize)?;
    let v = mantissa as f64;
    let v = if exponent < 0 { v / power } else { v * power };
    Some((if negative { -v } else { v }, at + i))
}

#[inline(always)]
fn digit_at(rest: &[u8], i: usize) -> Option<u64> {
    let d = rest.get(i)?.wrapping_sub(b'0');
    (d < 10).then_some(u64::from(d))
}

/// Why a text is not a number; printed as Go does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberError {
    Character,
    Syntax,
    Range,
}

impl NumberError {
    pub(crate) fn describe(self, function: &str, text: &[u8]) -> String {
        let why = match self {
            Self::Character => return "unsupported character in float".to_owned(),
            Self::Syntax => "invalid syntax",
            Self::Range => "value out of range",
        };
        format!("strconv.{function}: parsing {}: {why}", crate::error::quote(text))
    }
}

/// Reads a float as `strconv.ParseFloat` does, without hexadecimal and underscores. Every NaN
/// becomes the one that Prometheus stores.
pub(crate) fn float(text: &[u8]) -> Result<f64, NumberError> {
    if text.iter().any(|b| matches!(b, b'p' | b'P' | b'_')) {
        return Err(NumberError::Character);
    }
    if text.eq_ignore_ascii_case(b"nan") {
        return Ok(f64::from_bits(NORMAL_NAN));
    }
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        return Ok(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if !is_decimal(unsigned) {
        return Err(NumberError::Syntax);
    }
    let v: f64 = fast_float2::parse(unsigned).map_err(|_| NumberError::Syntax)?;
    if v.is_infinite() {
        return Err(NumberError::Range);
    }
    Ok(if negative { -v } else { v })
}

/// `digits[.digits][e[+-]digits]` with at least one digit before the exponent.
fn is_decimal(text: &[u8]) -> bool {
    let digits = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|b| b.is_ascii_digit()).count()
    };
    let mut at = digits(0);
    let mut any = at > 0;
    if text.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        any |= end > at + 1;
        at = end;
    }
    if any && matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        let end = digits(at);
        any = end > at;
        at = end;
    }
    any && at == text.len()
}

/// Reads an unsigned decimal integer into an `i64`, as `strconv.ParseInt` does.
pub(crate) fn integer(digits: &[u8]) -> Result<i64, NumberError> {
    let mut n = 0_i64;
    for b in digits {
        let digit = i64::from(b.wrapping_sub(b'0'));
        n = n.checked_mul(10).and_then(|n| n.checked_add(digit)).ok_or(NumberError::Range)?;
    }
    Ok(n)
}

/// A decimal number in the form that [`write_om`](firesteel_model::float::write_om) gives it, but perhaps for the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    /// It has a point: it is written as it stands.
    WithPoint,
    /// It has none: `.0` is missing.
    Integer,
}

/// Tells numbers that need no parsing to be written in their shortest form: up to six digits before
/// the point, no zeros that could go, few enough digits to be exact, not below 1e-4.
pub(crate) fn plain_decimal(text: &[u8]) -> Option<Plain> {
    let digits = |t: &[u8]| t.iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(text);
    let leading_zero = text.first() == Some(&b'0');
    if whole == 0 || whole > 6 || (leading_zero && whole > 1) {
        return None;
    }
    let Some(rest) = text.get(whole..).filter(|r| !r.is_empty()) else {
        return Some(Plain::Integer);
    };
    let fraction = rest.strip_prefix(b".")?;
    let zeros = fraction.iter().take_while(|b| **b == b'0').count();
    let exact = digits(fraction) == fraction.len() && whole + fraction.len() <= 15;
    let shortest = fraction == b"0" || !matches!(fraction.last(), None | Some(b'0'));
    let large = !leading_zero || zeros < 4;
    (exact && shortest && large).then_some(Plain::WithPoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firesteel_model::float::write_om;
    use proptest::prelude::*;

    fn om(v: f64) -> String {
        let mut out = String::new();
        write_om(&mut out, v);
        out
    }

    #[test]
    fn reads_as_go() {
        for (text, v) in [
            ("1", 1.0),
            ("+1.", 1.0),
            (".5", 0.5),
            ("-1e3", -1000.0),
            ("1E+3", 1000.0),
            ("Inf", f64::INFINITY),
            ("+iNf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e-400", 0.0),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("0.1e-1", 0.01),
        ] {
            assert_eq!(float(text.as_bytes()), Ok(v), "{text}");
        }
        assert_eq!(float(b"nAn").map(f64::to_bits), Ok(NORMAL_NAN));
        use NumberError::{Character, Range, Syntax};
        for (text, error) in [
            ("1e999", Range),
            ("-1e999", Range),
            ("", Syntax),
            (".", Syntax),
            ("+", Syntax),
            ("e1", Syntax),
            ("1e", Syntax),
            ("1e+", Syntax),
            ("+nan", Syntax),
            ("infin", Syntax),
            ("true", Syntax),
            ("0x10", Syntax),
            ("1_0", Character),
            ("0x1p-3", Character),
            ("stop", Character),
        ] {
            assert_eq!(float(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(integer(b"9223372036854775807"), Ok(i64::MAX));
        assert_eq!(integer(b"9223372036854775808"), Err(Range));
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_slow_one(text in "-?[0-9]{0,18}\\.?[0-9]{0,8}(e[+-]?[0-9]{0,3})?") {
            if let Some((v, end)) = simple_float(text.as_bytes(), 0)
                && end == text.len()
            {
                prop_assert_eq!(Ok(v.to_bits()), float(text.as_bytes()).map(f64::to_bits));
            }
        }

        #[test]
        fn plain_decimals_are_what_would_be_written(text in "[0-9]{0,8}\\.?[0-9]{0,10}") {
            let written = float(text.as_bytes()).map(om).unwrap_or_default();
            match plain_decimal(text.as_bytes()) {
                Some(Plain::WithPoint) => prop_assert_eq!(written, text),
                Some(Plain::Integer) => prop_assert_eq!(written, text + ".0"),
                None => {}
            }
        }
    }
}
