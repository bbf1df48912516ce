//! Go's `time.Time` in UTC: the calendar, and layouts as `Format` takes them.

use std::{cmp::Ordering, fmt};

use firesteel_model::calendar::{self, Date};

const DAY: i64 = 86_400;
const NANOS: i64 = 1_000_000_000;

/// A moment: seconds since 1970, and nanoseconds after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Go's `Month.String`.
pub(super) fn month_name(month: i64) -> String {
    let index = usize::try_from(month - 1).ok();
    match index.and_then(|i| MONTHS.get(i)) {
        Some(name) => (*name).to_owned(),
        None => format!("%!Month({month})"),
    }
}

/// Go's `Weekday.String`.
pub(super) fn weekday_name(day: i64) -> String {
    match usize::try_from(day).ok().and_then(|i| WEEKDAYS.get(i)) {
        Some(name) => (*name).to_owned(),
        None => format!("%!Weekday({day})"),
    }
}

impl Time {
    pub(super) const fn from_millis(ms: i64) -> Self {
        Self { seconds: ms.div_euclid(1000), nanos: (ms.rem_euclid(1000) * 1_000_000) as u32 }
    }

    const fn from_nanos(nanos: i128) -> Self {
        let seconds = nanos.div_euclid(NANOS as i128);
        Self { seconds: seconds as i64, nanos: nanos.rem_euclid(NANOS as i128) as u32 }
    }

    const fn total_nanos(self) -> i128 {
        self.seconds as i128 * NANOS as i128 + self.nanos as i128
    }

    /// Wraps around as Go's does.
    pub(super) const fn unix_nanos(self) -> i64 {
        self.total_nanos() as i64
    }

    /// Days since 1970.
    const fn days(self) -> i64 {
        self.seconds.div_euclid(DAY)
    }

    pub(super) const fn date(self) -> Date {
        Date::of_days(self.days())
    }

    /// Hour, minute, second.
    pub(super) const fn clock(self) -> (i64, i64, i64) {
        let second = self.seconds.rem_euclid(DAY);
        (second / 3600, second / 60 % 60, second % 60)
    }

    /// 0 is Sunday.
    pub(super) const fn weekday(self) -> i64 {
        calendar::weekday(self.days())
    }

    /// From 1.
    pub(super) const fn year_day(self) -> i64 {
        self.date().day_of_year()
    }

    pub(super) const fn is_zero(self) -> bool {
        // The first of January of the year 1.
        self.seconds == -62_135_596_800 && self.nanos == 0
    }

    pub(super) const fn add(self, nanos: i64) -> Self {
        Self::from_nanos(self.total_nanos() + nanos as i128)
    }

    /// At the ends of the range where the distance is too long.
    pub(super) fn since(self, other: Self) -> i64 {
        let nanos = self.total_nanos() - other.total_nanos();
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }

    /// Go's `AddDate`: days beyond a month's end go on into the next.
    pub(super) fn add_date(self, years: i64, months: i64, days: i64) -> Self {
        let limit = |n: i64| n.clamp(-1_000_000, 1_000_000);
        let Date { year, month, day } = self.date();
        let months = month - 1 + limit(months);
        let year = year + limit(years) + months.div_euclid(12);
        let first = Date { year, month: months.rem_euclid(12) + 1, day: 1 }.days();
        let days = first + day - 1 + limit(days);
        Self { seconds: days * DAY + self.seconds.rem_euclid(DAY), nanos: self.nanos }
    }

    /// To multiples of `to` nanoseconds since the year 1; `up` where half of it or more is left.
    pub(super) fn multiple_of(self, to: i64, round: bool) -> Self {
        if to <= 0 {
            return self;
        }
        let zero = Self { seconds: -62_135_596_800, nanos: 0 }.total_nanos();
        let rest = (self.total_nanos() - zero).rem_euclid(i128::from(to));
        let down = self.total_nanos() - rest;
        let up = round && rest * 2 >= i128::from(to);
        Self::from_nanos(down + if up { i128::from(to) } else { 0 })
    }

    pub(super) fn compare(self, other: Self) -> i64 {
        match self.cmp(&other) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    /// Go's `GoString`.
    pub(super) fn go_string(self) -> String {
        let Date { year, month, day } = self.date();
        let (hour, minute, second) = self.clock();
        let (month, nanos) = (month_name(month), self.nanos);
        format!(
            "time.Date({year}, time.{month}, {day}, {hour}, {minute}, {second}, {nanos}, time.UTC)"
        )
    }

    /// Go's `Format`: the layout is the moment `Mon Jan 2 15:04:05 MST 2006` as it shall look.
    pub(super) fn format(self, layout: &str) -> String {
        let mut out = String::new();
        let mut rest = layout;
        while let Some(c) = rest.chars().next() {
            match self.element(rest, &mut out) {
                Some(taken) => rest = rest.get(taken..).unwrap_or_default(),
                None => {
                    out.push(c);
                    rest = rest.get(c.len_utf8()..).unwrap_or_default();
                }
            }
        }
        out
    }

    /// Writes the element that a layout begins with; returns its length there.
    fn element(self, layout: &str, out: &mut String) -> Option<usize> {
        if layout.starts_with(['.', ',']) {
            return self.fraction(layout, out);
        }
        if layout.starts_with("_2006") {
            out.push('_');
            return Some(1);
        }
        let element = ELEMENTS.iter().find(|element| {
            layout.strip_prefix(**element).is_some_and(|rest| {
                let word = matches!(**element, "Jan" | "Mon");
                !(word && rest.starts_with(|c: char| c.is_ascii_lowercase()))
            })
        })?;
        out.push_str(&self.write_element(element));
        Some(element.len())
    }

    fn write_element(self, element: &str) -> String {
        let Date { year, month, day } = self.date();
        let (hour, minute, second) = self.clock();
        let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
        let short = |name: String| name.get(..3).unwrap_or_default().to_owned();
        match element {
            "January" => month_name(month),
            "Jan" => short(month_name(month)),
            "Monday" => weekday_name(self.weekday()),
            "Mon" => short(weekday_name(self.weekday())),
            "1" => month.to_string(),
            "01" => format!("{month:02}"),
            "2" => day.to_string(),
            "_2" => format!("{day:2}"),
            "02" => format!("{day:02}"),
            "__2" => format!("{:3}", self.year_day()),
            "002" => format!("{:03}", self.year_day()),
            "15" => format!("{hour:02}"),
            "3" => twelve.to_string(),
            "03" => format!("{twelve:02}"),
            "4" => minute.to_string(),
            "04" => format!("{minute:02}"),
            "5" => second.to_string(),
            "05" => format!("{second:02}"),
            "2006" if year < 0 => format!("-{:04}", -year),
            "2006" => format!("{year:04}"),
            "06" => format!("{:02}", year.rem_euclid(100)),
            "PM" => if hour >= 12 { "PM" } else { "AM" }.to_owned(),
            "pm" => if hour >= 12 { "pm" } else { "am" }.to_owned(),
            "MST" => "UTC".to_owned(),
            zone if zone.starts_with('Z') => "Z".to_owned(),
            "-07:00:00" => "+00:00:00".to_owned(),
            "-070000" => "+000000".to_owned(),
            "-07:00" => "+00:00".to_owned(),
            "-0700" => "+0000".to_owned(),
            _ => "+00".to_owned(),
        }
    }

    /// `.000` and `.999`, the latter without zeros at the end.
    fn fraction(self, layout: &str, out: &mut String) -> Option<usize> {
        let digits = layout.get(1..)?;
        let digit = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
        let count = digits.chars().take_while(|c| *c == digit).count();
        if digits.get(count..)?.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let all = format!("{:0<count$}", format!("{:09}", self.nanos));
        let mut shown = all.get(..count)?;
        if digit == '9' {
            shown = shown.trim_end_matches('0');
        }
        if !shown.is_empty() {
            out.push_str(layout.get(..1)?);
            out.push_str(shown);
        }
        Some(1 + count)
    }
}

/// What layouts are made of; of two that begin alike the longer comes first.
const ELEMENTS: &[&str] = &[
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "002",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "15",
    "1",
    "2006",
    "2",
    "__2",
    "_2",
    "3",
    "4",
    "5",
    "PM",
    "pm",
    "-070000",
    "-07:00:00",
    "-0700",
    "-07:00",
    "-07",
    "Z070000",
    "Z07:00:00",
    "Z0700",
    "Z07:00",
    "Z07",
];

/// `2015-06-23 13:19:44.128 +0000 UTC`
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_go_does() {
        for (ms, text) in [
            (1_435_065_584_128, "2015-06-23 13:19:44.128 +0000 UTC"),
            (0, "1970-01-01 00:00:00 +0000 UTC"),
            (-1000, "1969-12-31 23:59:59 +0000 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 +0000 UTC"),
        ] {
            assert_eq!(Time::from_millis(ms).to_string(), text);
        }
    }

    #[test]
    fn layouts_show_the_parts_of_a_moment() {
        let time = Time::from_millis(1_353_755_652_045);
        for (layout, text) in [
            ("Mon Jan 2 15:04:05 2006", "Sat Nov 24 11:14:12 2012"),
            ("Monday, 02-Jan-06 03:04PM", "Saturday, 24-Nov-12 11:14AM"),
            ("2006-01-02T15:04:05Z07:00", "2012-11-24T11:14:12Z"),
            ("15:04:05.000 -07:00", "11:14:12.045 +00:00"),
            ("05.99 05,999", "12.04 12,045"),
            ("_2 __2 002 Janet", "24 329 329 Janet"),
            ("3:4:5 pm", "11:14:12 am"),
            ("_2006", "_2012"),
        ] {
            assert_eq!(time.format(layout), text, "{layout}");
        }
    }

    #[test]
    fn moments_are_moved_and_rounded() {
        let time = Time::from_millis(1_706_659_200_000);
        assert_eq!(time.add_date(0, 1, 0).format("2006-01-02"), "2024-03-02");
        assert_eq!(time.multiple_of(3_600 * NANOS, false).format("15:04"), "00:00");
    }
}
