//! Go's `time.Duration`: nanoseconds that print as `1h30m0s`.

/// Go's `Duration.String`.
pub(super) fn format(nanos: i64) -> String {
    let magnitude = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let (unit, name) = match magnitude {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{sign}{magnitude}ns"),
        1_000..1_000_000 => (1_000, "\u{b5}s"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (whole, fraction) = (magnitude / unit, magnitude % unit);
    let digits = match unit {
        1_000 => 3,
        1_000_000 => 6,
        _ => 9,
    };
    let fraction = match fraction {
        0 => String::new(),
        n => format!(".{n:0digits$}").trim_end_matches('0').to_owned(),
    };
    if name != "s" || whole < 60 {
        return format!("{sign}{whole}{fraction}{name}");
    }
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{sign}{minutes}m{seconds}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// Go's `Duration.Truncate`.
pub(super) const fn truncate(nanos: i64, to: i64) -> i64 {
    if to <= 0 { nanos } else { nanos - nanos % to }
}

/// Go's `Duration.Round`: halves away from zero, at the ends of the range.
pub(super) fn round(nanos: i64, to: i64) -> i64 {
    if to <= 0 {
        return nanos;
    }
    let rest = nanos % to;
    let down = nanos - rest;
    match rest.unsigned_abs() >= to.unsigned_abs().div_ceil(2) {
        true => down.saturating_add(if nanos < 0 { -to } else { to }),
        false => down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (3_600_000_000_000, "1h0m0s"),
            (-1_800_000_000_000, "-30m0s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format(nanos), text);
        }
    }

    #[test]
    fn rounds_as_go_does() {
        let second = 1_000_000_000;
        assert_eq!(round(1_500_000_000, second), 2 * second);
        assert_eq!(round(-1_500_000_000, second), -2 * second);
        assert_eq!(round(1_499_999_999, second), second);
        assert_eq!(truncate(1_999_999_999, second), second);
        assert_eq!(round(5, 0), 5);
    }
}
