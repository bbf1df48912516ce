//! The calendar, UTC: proleptic Gregorian, without leap seconds.

use super::FunctionId;

const DAY: i64 = 86_400;

/// A date of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: i64,
    /// 1 to 31.
    pub(crate) day: i64,
}

/// Days since 1970-01-01 to a date: years are counted from March on, so that leap days come last.
pub(crate) const fn date_of_days(days: i64) -> Date {
    // Days since 0000-03-01.
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    Date { year, month, day }
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in_month(date: Date) -> i64 {
    match date.month {
        2 if is_leap(date.year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const fn day_of_year(date: Date) -> i64 {
    let leap = if is_leap(date.year) && date.month > 2 { 1 } else { 0 };
    // Months before March are even, from March on 153 days are 5 months.
    let before =
        if date.month > 2 { (153 * (date.month - 3) + 2) / 5 + 59 } else { 31 * (date.month - 1) };
    before + leap + date.day
}

/// Whole seconds since 1970 as Go has them on amd64: floats that do not fit 64 bits become the least
/// number, and the calendar counts 64 bits from the year -292277022399, so that what lies before is
/// after the end.
fn to_seconds(v: f64) -> i128 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    const FIRST: i64 = -9_223_372_028_715_321_600;
    let seconds = if (-END..END).contains(&v) { v as i64 } else { i64::MIN };
    i128::from(seconds.wrapping_sub(FIRST) as u64) + i128::from(FIRST)
}

/// The day, counted from 1970-01-01, and the second of it.
fn day_and_second(v: f64) -> (i64, i64) {
    let (seconds, day) = (to_seconds(v), i128::from(DAY));
    (seconds.div_euclid(day) as i64, seconds.rem_euclid(day) as i64)
}

fn date(v: f64) -> Date {
    date_of_days(day_and_second(v).0)
}

/// The date functions, of seconds since 1970.
pub(crate) fn of_seconds(func: FunctionId) -> Option<fn(f64) -> f64> {
    use FunctionId as F;
    Some(match func {
        F::Minute => |v| (day_and_second(v).1 % 3600 / 60) as f64,
        F::Hour => |v| (day_and_second(v).1 / 3600) as f64,
        F::DayOfWeek => |v| (day_and_second(v).0 + 4).rem_euclid(7) as f64,
        F::DayOfMonth => |v| date(v).day as f64,
        F::DayOfYear => |v| day_of_year(date(v)) as f64,
        F::DaysInMonth => |v| days_in_month(date(v)) as f64,
        F::Month => |v| date(v).month as f64,
        F::Year => |v| date(v).year as f64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_through_the_days() {
        let mut date = Date { year: 1600, month: 1, day: 1 };
        let (mut ordinal, mut weekday) = (1, 6);
        for days in -135_140..100_000 {
            assert_eq!(date_of_days(days), date, "{days}");
            assert_eq!(day_of_year(date), ordinal, "{date:?}");
            let seconds = (days * DAY + DAY - 1) as f64;
            assert_eq!(of_seconds(FunctionId::DayOfWeek).unwrap()(seconds), f64::from(weekday));
            weekday = (weekday + 1) % 7;
            ordinal += 1;
            date.day += 1;
            if date.day > days_in_month(date) {
                (date.day, date.month) = (1, date.month + 1);
            }
            if date.month > 12 {
                (date.month, date.year, ordinal) = (1, date.year + 1, 1);
            }
        }
    }

    #[test]
    fn any_float_has_a_date() {
        for v in [f64::NAN, f64::INFINITY, -1e300, 1e18, -1e18] {
            for f in [FunctionId::Year, FunctionId::DayOfYear, FunctionId::Minute] {
                assert!(of_seconds(f).unwrap()(v).is_finite());
            }
        }
        // As Prometheus 3.5.3 on amd64.
        let of_nan = |f| of_seconds(f).unwrap()(f64::NAN);
        assert_eq!(of_nan(FunctionId::Year), 292_277_026_596.0);
        assert_eq!((of_nan(FunctionId::Month), of_nan(FunctionId::DayOfMonth)), (12.0, 4.0));
        assert_eq!((of_nan(FunctionId::Hour), of_nan(FunctionId::Minute)), (15.0, 30.0));
        assert_eq!(of_seconds(FunctionId::Hour).unwrap()(-1.0), 23.0);
        assert_eq!(of_seconds(FunctionId::Minute).unwrap()(-1.0), 59.0);
    }
}
