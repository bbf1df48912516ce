//! Texts as Go programs print them.

use std::io::{self, Write};

/// A duration in milliseconds as Go prints it: `2h0m0s`, `1m0.501s`, `1ms`.
pub(crate) fn duration(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1000 {
        return format!("{sign}{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let fraction = match ms % 1000 {
        0 => String::new(),
        rest => format!(".{rest:03}").trim_end_matches('0').to_owned(),
    };
    let seconds = format!("{}{fraction}s", ms / 1000 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}"),
        (0, _) => format!("{sign}{minutes}m{seconds}"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}"),
    }
}

/// A time in milliseconds as Go prints it in UTC, to the second.
pub(crate) fn time(ms: i64) -> String {
    let seconds = ms / 1000;
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000 UTC")
}

/// Year, month and day of a number of days since 1970.
const fn date(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day is the last.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// Bytes in powers of 1024, every unit that is not 0: `21KiB802B`.
pub(crate) fn bytes(mut n: u64) -> String {
    if n == 0 {
        return "0B".to_owned();
    }
    let mut parts = Vec::new();
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if !n.is_multiple_of(1024) {
            parts.push(format!("{}{unit}", n % 1024));
        }
        n /= 1024;
    }
    parts.reverse();
    parts.concat()
}

/// Writes a table as Go's tabwriter does with cells of 13 columns at least, 2 of them free.
pub(crate) fn table(rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        let longest = rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max();
        (longest.unwrap_or(0) + 2).max(13)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        for (c, cell) in row.iter().enumerate() {
            if c + 1 == row.len() {
                writeln!(out, "{cell}")?;
            } else {
                write!(out, "{cell:<width$}", width = widths.get(c).copied().unwrap_or(0))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_prints_them() {
        let durations = [
            (0, "0s"),
            (1, "1ms"),
            (-1500, "-1.5s"),
            (60_501, "1m0.501s"),
            (7_200_000, "2h0m0s"),
            (360_000_010, "100h0m0.01s"),
        ];
        for (ms, text) in durations {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(time(1_700_006_400_000), "2023-11-15 00:00:00 +0000 UTC");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00 +0000 UTC");
        assert_eq!(time(-86_400_000), "1969-12-31 00:00:00 +0000 UTC");
        assert_eq!(bytes(0), "0B");
        assert_eq!(bytes(22_306), "21KiB802B");
        assert_eq!(bytes(3 << 30), "3GiB");
    }
}
