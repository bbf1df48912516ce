//! Numbers for people. Source: `template/template.go`, and `helpers/templates` of
//! `prometheus/common`.

use firesteel_model::float::{parse_go, write_g};

use super::{
    format::four_digits,
    functions::moment,
    time::Time,
    value::{IntType, StringType, Value},
};

/// Numbers, texts that read as numbers, and durations as seconds.
///
/// # Errors
/// Another type, or a text that is no number.
pub(super) fn to_float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(v) => Ok(*v),
        Value::String(text, StringType::Plain) => parse_go(text).map_err(|error| error.to_string()),
        Value::Int(n, IntType::Int | IntType::Int64) => Ok(*n as f64),
        Value::Int(n, IntType::Duration) => {
            Ok((n / 1_000_000_000) as f64 + (n % 1_000_000_000) as f64 / 1e9)
        }
        value => Err(format!("can't convert {} to float", value.type_name())),
    }
}

/// A float as an integer the way Go's compiler has it on x86: what does not fit is the least one.
pub(super) fn go_int(v: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&v) { v as i64 } else { i64::MIN }
}

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

fn large(mut v: f64, prefixes: [&'static str; 8], base: f64) -> (f64, &'static str) {
    let mut chosen = "";
    for prefix in prefixes {
        if v.abs() < base {
            break;
        }
        chosen = prefix;
        v /= base;
    }
    (v, chosen)
}

fn small(mut v: f64) -> (f64, &'static str) {
    let mut chosen = "";
    for prefix in SMALL {
        if v.abs() >= 1.0 {
            break;
        }
        chosen = prefix;
        v *= 1000.0;
    }
    (v, chosen)
}

/// `humanize`: metric prefixes.
pub(super) fn decimal(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return four_digits(v);
    }
    let (v, prefix) = if v.abs() >= 1.0 { large(v, LARGE, 1000.0) } else { small(v) };
    format!("{}{prefix}", four_digits(v))
}

/// `humanize1024`: binary prefixes.
pub(super) fn binary(v: f64) -> String {
    if v.abs() <= 1.0 || !v.is_finite() {
        return four_digits(v);
    }
    let (v, prefix) = large(v, LARGE_BINARY, 1024.0);
    format!("{}{prefix}", four_digits(v))
}

/// `humanizePercentage`
pub(super) fn percentage(v: f64) -> String {
    format!("{}%", four_digits(v * 100.0))
}

/// `humanizeDuration`
pub(super) fn duration(v: f64) -> String {
    if !v.is_finite() {
        return four_digits(v);
    }
    if v == 0.0 {
        return format!("{}s", four_digits(v));
    }
    if v.abs() < 1.0 {
        let (v, prefix) = small(v);
        return format!("{}{prefix}s", four_digits(v));
    }
    let (sign, v) = if v < 0.0 { ("-", -v) } else { ("", v) };
    let whole = go_int(v);
    let (seconds, minutes) = (whole % 60, whole / 60 % 60);
    let (hours, days) = (whole / 3600 % 24, whole / 86_400);
    if days != 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours != 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes != 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", four_digits(v))
    }
}

/// Milliseconds of a number of seconds.
fn to_millis(v: f64) -> Result<i64, String> {
    let nanos = v * 1e9;
    if !(-9_223_372_036_854_775_808.0..=9_223_372_036_854_775_808.0).contains(&nanos) {
        let mut text = String::new();
        write_g(&mut text, v);
        return Err(format!(
            "{text} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    Ok(go_int(nanos) / 1_000_000)
}

/// `humanizeTimestamp`
///
/// # Errors
/// Too far away.
pub(super) fn timestamp(v: f64) -> Result<String, String> {
    match v.is_finite() {
        true => Ok(moment(to_millis(v)?).to_string()),
        false => Ok(four_digits(v)),
    }
}

/// `toTime`
///
/// # Errors
/// Not finite, or too far away.
pub(super) fn to_time(v: f64) -> Result<Time, String> {
    match v.is_finite() {
        true => Ok(moment(to_millis(v)?)),
        false => Err("value is NaN or Inf".to_owned()),
    }
}
