//! What Go's library does that shows in answers: texts as `fmt` and `strconv` make and read them,
//! the order of equal items in a [`sort`].

pub(crate) mod sort;

pub(crate) use firesteel_model::float::{format_f, go_quote as quote};

/// A character as `%q` prints it; `None` stands for the end of a text.
pub(crate) fn quote_char(c: Option<char>) -> String {
    match c {
        None => "'\u{fffd}'".to_owned(),
        Some('\'') => "'\\''".to_owned(),
        Some('"') => "'\"'".to_owned(),
        Some(c) => {
            let quoted = quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", quoted.trim_matches('"'))
        }
    }
}

/// A character as `%#U` prints it: `U+0041 'A'`.
pub(crate) fn code_point(c: char) -> String {
    format!("U+{:04X} '{c}'", c as u32)
}

/// A float as `%v` and `%g` print it: the shortest digits, with an exponent below 1e-4 and from 1e6
/// on. Where digits are the shortest, `strconv` takes their number for 6 in this decision (`eprec` in
/// `ftoa.go`), so that also a number that is whole gets an exponent: 1e+06.
pub(crate) fn format_g(v: f64) -> String {
    let magnitude = v.abs();
    if v == 0.0 || !v.is_finite() || (1e-4..1e6).contains(&magnitude) {
        return format_f(v);
    }
    let text = format!("{v:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// A float as `%.2g` prints it: two digits, with an exponent below 1e-4 and from 1e2 on.
pub(crate) fn format_2g(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return format_f(v);
    }
    let text = format!("{v:.1e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let mantissa = mantissa.strip_suffix(".0").unwrap_or(mantissa);
    if (-4..2).contains(&exponent) {
        return format_f(format!("{mantissa}e{exponent}").parse().unwrap_or(v));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Seconds since the Unix epoch as RFC 3339, in UTC.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days are counted from 1 March of year 0, so that leap days end a cycle of 400 years.
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) =
        if month < 10 { (era * 400 + year, month + 3) } else { (era * 400 + year + 1, month - 9) };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// [`quote`] for bytes that may be no UTF-8: these become `\xff`.
pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let quoted = quote(chunk.valid());
        out.push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// Reads a quoted string: Go's syntax, and single quotes like double ones.
pub(crate) fn unquote_bytes(text: &str) -> Option<Vec<u8>> {
    let quote = text.chars().next()?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    if quote == '`' {
        return (!inner.contains('`')).then(|| inner.replace('\r', "").into());
    }
    if !inner.contains('\\') {
        return Some(inner.into());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = chars.next()?;
        let mut number = |first: u32, digits: usize, base: u32| {
            (0..digits).try_fold(first, |n, _| Some(n * base + chars.next()?.to_digit(base)?))
        };
        match escape {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '0'..='7' => out.push(u8::try_from(number(escape.to_digit(8)?, 2, 8)?).ok()?),
            'x' => out.push(u8::try_from(number(0, 2, 16)?).ok()?),
            'u' | 'U' => {
                let c = char::from_u32(number(0, if escape == 'u' { 4 } else { 8 }, 16)?)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            c if c == '\\' || c == quote => out.push(c as u8),
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unquote(text: &str) -> Option<String> {
        unquote_bytes(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn quotes_and_unquotes() {
        assert_eq!(quote_char(Some('a')), "'a'");
        assert_eq!(quote_char(Some('\'')), r"'\''");
        assert_eq!(quote_char(Some('"')), "'\"'");
        assert_eq!(quote_char(Some('\\')), r"'\\'");
        assert_eq!(quote_char(Some('\0')), r"'\x00'");
        assert_eq!(unquote(r#""a\n\x41\101\u00e9\"'""#).as_deref(), Some("a\nAA\u{e9}\"'"));
        assert_eq!(unquote(r#"'a\'"'"#).as_deref(), Some("a'\""));
        assert_eq!(unquote(r"`a\n`").as_deref(), Some("a\\n"));
        assert_eq!(unquote(r#""\xff""#).as_deref(), Some("\u{fffd}"));
        assert_eq!(unquote_bytes(r#""\xff""#).as_deref(), Some(&[0xff][..]));
        assert_eq!(quote_bytes(b"a\xc5z\xc3\xa9\n"), "\"a\\xc5z\u{e9}\\n\"");
        assert_eq!(unquote(r#""\xc3\xa9""#).as_deref(), Some("\u{e9}"));
        for bad in ["", "\"", "\"a", r#""\q""#, r#""\x4""#, r#""\""#, r#""\UFFFFFFFF""#] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }

    #[test]
    fn floats_as_percent_2g() {
        let texts = [0.0, 5.0, 0.5, 12.0, 12.34, 99.6, 100.0, 1234.0, 0.000_012, 0.001_26];
        let texts: Vec<_> = texts.into_iter().map(format_2g).collect();
        let expected =
            ["0", "5", "0.5", "12", "12", "1e+02", "1e+02", "1.2e+03", "1.2e-05", "0.0013"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn times_as_rfc3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn floats_as_percent_v() {
        for (v, text) in [
            (0.0, "0"),
            (23.5, "23.5"),
            (999_999.5, "999999.5"),
            (2_473_200.0, "2.4732e+06"),
            (1e6, "1e+06"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (123_456.0, "123456"),
            (-0.0, "-0"),
            (1e-5, "1e-05"),
            (1e300, "1e+300"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(format_g(v), text);
        }
    }
}
