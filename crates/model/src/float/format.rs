//! Floats to text.

use std::fmt::Write;

/// The shortest digits of a finite float: `0.d1d2d3... * 10^point`.
struct Digits {
    text: [u8; 32],
    len: usize,
    /// Where the decimal point is, counted from before the first digit.
    point: i32,
}

impl Digits {
    /// Digits of a finite float without its sign.
    fn new(v: f64) -> Self {
        let mut buffer = zmij::Buffer::new();
        let mut digits = Self::read(buffer.format_finite(v.abs()));
        if may_lie_halfway(v) {
            digits.round_half_to_even(v.abs());
        }
        digits
    }

    /// Of two shortest texts that are equally near Go takes the one with an even digit at the end,
    /// Rust the greater one.
    fn round_half_to_even(&mut self, v: f64) {
        // The digits of the exact value: those of the lesser text, and a 5.
        let exact = format!("{v:.0$}", fraction_bits(v) as usize);
        let exact: Vec<u8> = exact.bytes().filter(u8::is_ascii_digit).collect();
        let leading = exact.iter().take_while(|b| **b == b'0').count();
        let Some((b'5', lesser)) = exact[leading..].split_last() else { return };
        let odd = |digits: &[u8]| digits.last().is_some_and(|b| b % 2 == 1);
        let greater = &self.text[..self.len];
        if lesser.len() == greater.len() && lesser != greater && odd(greater) {
            self.text[..lesser.len()].copy_from_slice(lesser);
        }
    }

    /// Takes `ddd.ddd` or `d.dddeX` apart: leading and trailing zeros say nothing.
    fn read(shortest: &str) -> Self {
        let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = Self { text: [0; 32], len: 0, point: exponent.parse().unwrap_or(0) };
        digits.point += whole.len() as i32;
        for digit in whole.bytes().chain(fraction.bytes()) {
            if digits.len == 0 && digit == b'0' {
                digits.point -= 1;
            } else if let Some(free) = digits.text.get_mut(digits.len) {
                *free = digit;
                digits.len += 1;
            }
        }
        while digits.text[..digits.len].last() == Some(&b'0') {
            digits.len -= 1;
        }
        if digits.len == 0 {
            digits.text[0] = b'0';
            (digits.len, digits.point) = (1, 1);
        }
        digits
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }
}

/// How many bits, and so digits, there are behind the point of a finite float; 0 for integers.
const fn fraction_bits(v: f64) -> i32 {
    let bits = v.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    let mantissa = bits & 0x000f_ffff_ffff_ffff | 0x0010_0000_0000_0000;
    let behind = 1075 - exponent - mantissa.trailing_zeros() as i32;
    if exponent == 0 || behind < 0 { 0 } else { behind }
}

/// Whether a float may lie halfway between two texts of which both read back as it: it has few bits
/// behind the point, and one digit less than these says as much as a float does.
fn may_lie_halfway(v: f64) -> bool {
    let digits = fraction_bits(v);
    // 10^(digits - 1) is at least 2^precision.
    let precision = 1075 - (v.to_bits() >> 52 & 0x7ff) as i32;
    (2..=18).contains(&digits) && (digits - 1) * 10 >= precision * 3
}

/// Writes what is not finite, or the sign of what is; true if that was all.
fn write_special(out: &mut String, v: f64) -> bool {
    if v.is_finite() {
        if v.is_sign_negative() {
            out.push('-');
        }
        return false;
    }
    out.push_str(match v {
        f64::INFINITY => "+Inf",
        f64::NEG_INFINITY => "-Inf",
        _ => "NaN",
    });
    true
}

/// Appends `v` as Go's `strconv.FormatFloat(v, 'f', -1, 64)`: without exponent, however long.
pub fn write_f(out: &mut String, v: f64) {
    if write_special(out, v) {
        return;
    }
    let v = v.abs();
    if may_lie_halfway(v) {
        push_f(out, &Digits::new(v));
        return;
    }
    // The shortest digits, as everybody's, but with an exponent where they are far from the point.
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(v);
    if text.bytes().any(|b| b == b'e') {
        let written = write!(out, "{v}");
        debug_assert!(written.is_ok(), "a string takes what is written");
    } else {
        out.push_str(text.strip_suffix(".0").unwrap_or(text));
    }
}

/// [`write_f`] into a new string.
#[must_use]
pub fn format_f(v: f64) -> String {
    let mut out = String::new();
    write_f(&mut out, v);
    out
}

/// Appends `v` as Go's `strconv.FormatFloat(v, 'e', -1, 64)`: `1.5e+06`, at least two digits of
/// exponent.
pub fn write_e(out: &mut String, v: f64) {
    if !write_special(out, v) {
        push_e(out, &Digits::new(v));
    }
}

fn push_e(out: &mut String, digits: &Digits) {
    let text = digits.as_str();
    let (first, rest) = text.split_at(1.min(text.len()));
    out.push_str(first);
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    // Zero has an exponent of zero.
    let exponent = if text == "0" { 0 } else { digits.point - 1 };
    let sign = if exponent < 0 { '-' } else { '+' };
    let written = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
    debug_assert!(written.is_ok(), "a string takes what is written");
}

/// Appends `v` as Prometheus' API does within quotes: [`write_f`], but [`write_e`] below `1e-6` and
/// from `1e21`. Source: `util/jsonutil/marshal.go`.
pub fn write_json(out: &mut String, v: f64) {
    let abs = v.abs();
    if abs != 0.0 && !(1e-6..1e21).contains(&abs) { write_e(out, v) } else { write_f(out, v) }
}

/// Appends `v` as Go's `strconv.FormatFloat(v, 'g', -1, 64)`, which is also its `%v` and `%g`: with
/// an exponent where that is below -4 or at least 6, whatever the number of digits (`1e+06`).
pub fn write_g(out: &mut String, v: f64) {
    if write_special(out, v) {
        return;
    }
    let digits = Digits::new(v);
    let exponent = digits.point - 1;
    if v != 0.0 && !(-4..6).contains(&exponent) {
        push_e(out, &digits);
    } else {
        push_f(out, &digits);
    }
}

/// Writes digits without an exponent.
fn push_f(out: &mut String, digits: &Digits) {
    let text = digits.as_str();
    let Ok(point) = usize::try_from(digits.point) else {
        out.push_str("0.");
        out.extend((0..digits.point.unsigned_abs()).map(|_| '0'));
        out.push_str(text);
        return;
    };
    if point == 0 {
        out.push_str("0.");
        out.push_str(text);
    } else if text.len() > point {
        let (whole, fraction) = text.split_at(point);
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    } else {
        out.push_str(text);
        out.extend((text.len()..point).map(|_| '0'));
    }
}

/// Appends `v` as the values of `le` and `quantile` labels are written: [`write_g`], and `.0` where
/// neither a point nor an exponent shows that it is a float. Source: `model/labels/float.go`.
pub fn write_om(out: &mut String, v: f64) {
    let start = out.len();
    write_g(out, v);
    let written = &out.as_bytes()[start..];
    if v.is_finite() && !written.iter().any(|b| matches!(b, b'.' | b'e')) {
        out.push_str(".0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(write: fn(&mut String, f64), v: f64) -> String {
        let mut out = String::new();
        write(&mut out, v);
        out
    }

    #[test]
    fn prints_as_go_does() {
        // Columns: f, e, g, JSON of the API, labels.
        #[rustfmt::skip]
        let rows: &[(f64, &str, &str, &str, &str, &str)] = &[
            (0.0, "0", "0e+00", "0", "0", "0.0"),
            (-0.0, "-0", "-0e+00", "-0", "-0", "-0.0"),
            (1.0, "1", "1e+00", "1", "1", "1.0"),
            (-1.5, "-1.5", "-1.5e+00", "-1.5", "-1.5", "-1.5"),
            (0.25, "0.25", "2.5e-01", "0.25", "0.25", "0.25"),
            (100_000.0, "100000", "1e+05", "100000", "100000", "100000.0"),
            (123_456.5, "123456.5", "1.234565e+05", "123456.5", "123456.5", "123456.5"),
            (1e6, "1000000", "1e+06", "1e+06", "1000000", "1e+06"),
            (12_540_168.0, "12540168", "1.2540168e+07", "1.2540168e+07", "12540168", "1.2540168e+07"),
            (1e-4, "0.0001", "1e-04", "0.0001", "0.0001", "0.0001"),
            (1.5e-5, "0.000015", "1.5e-05", "1.5e-05", "0.000015", "1.5e-05"),
            (1e-6, "0.000001", "1e-06", "1e-06", "0.000001", "1e-06"),
            (9.5e-7, "0.00000095", "9.5e-07", "9.5e-07", "9.5e-07", "9.5e-07"),
            (9_223_372_036_854_775_807.0, "9223372036854776000", "9.223372036854776e+18",
                "9.223372036854776e+18", "9223372036854776000", "9.223372036854776e+18"),
            (1e21, "1000000000000000000000", "1e+21", "1e+21", "1e+21", "1e+21"),
            (1.5e300, "", "1.5e+300", "1.5e+300", "1.5e+300", "1.5e+300"),
            (5e-324, "", "5e-324", "5e-324", "5e-324", "5e-324"),
            (f64::NAN, "NaN", "NaN", "NaN", "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf", "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf", "-Inf", "-Inf"),
        ];
        for (v, f, e, g, json, om) in rows {
            if !f.is_empty() {
                assert_eq!(with(write_f, *v), *f);
            }
            assert_eq!(with(write_e, *v), *e);
            assert_eq!(with(write_g, *v), *g);
            assert_eq!(with(write_json, *v), *json);
            assert_eq!(with(write_om, *v), *om);
        }
    }

    #[test]
    #[allow(clippy::excessive_precision, reason = "it is what this is about")]
    fn halfway_between_two_texts_the_last_digit_is_even() {
        // As Prometheus prints them.
        for (v, f) in [
            (921_674_180_655_479.25, "921674180655479.2"),
            (921_674_180_655_479.75, "921674180655479.8"),
            (921_674_180_655_479.125, "921674180655479.1"),
            (-1_125_899_906_842_624.25, "-1125899906842624.2"),
            (2.5, "2.5"),
            (0.125, "0.125"),
        ] {
            assert_eq!(with(write_f, v), f);
            assert_eq!(f.parse::<f64>().unwrap(), v);
        }
        assert_eq!(with(write_g, 921_674_180_655_479.25), "9.216741806554792e+14");
    }

    proptest! {
        #[test]
        fn every_form_reads_back_the_same(bits in any::<u64>(), small in -1e9..1e9_f64) {
            for v in [f64::from_bits(bits), small, small.trunc(), small.trunc() / 1e7] {
                for write in [write_f, write_e, write_g, write_json, write_om] {
                    let text = with(write, v);
                    let back: f64 = text.parse().unwrap();
                    prop_assert!(back.to_bits() == v.to_bits() || v.is_nan(), "{text}");
                }
                prop_assert!(
                    !v.is_finite() || may_lie_halfway(v) || with(write_f, v) == v.to_string()
                );
                let digits = |s: &str| s.bytes().filter(|b| (b'1'..=b'9').contains(b)).count();
                prop_assert!(!v.is_finite() || v == 0.0 || digits(&with(write_g, v)) > 0);
            }
        }
    }
}
