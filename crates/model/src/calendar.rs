//! The calendar: proleptic Gregorian, days counted from 1970-01-01.

/// Days of 400 years, after which the calendar repeats.
const ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// A date of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// May be 0 or negative: before the year 1 comes the year 0.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

impl Date {
    /// The date so many days after 1970-01-01.
    #[must_use]
    pub const fn of_days(days: i64) -> Self {
        // Years are counted from March on, so that leap days come last.
        let days = days.saturating_add(EPOCH);
        let era = days.div_euclid(ERA);
        let day_of_era = days.rem_euclid(ERA);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
        Self { year, month, day }
    }

    /// Days since 1970-01-01, for years of up to 16 digits.
    #[must_use]
    pub const fn days(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        era * ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH
    }

    /// Whether its year has a 29th of February.
    #[must_use]
    pub const fn is_in_leap_year(self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }

    /// How many days its month has.
    #[must_use]
    pub const fn days_in_month(self) -> i64 {
        match self.month {
            2 if self.is_in_leap_year() => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// Which day of its year it is, from 1.
    #[must_use]
    pub const fn day_of_year(self) -> i64 {
        let leap = if self.is_in_leap_year() && self.month > 2 { 1 } else { 0 };
        // Months before March are even, from March on 153 days are 5 months.
        let before = if self.month > 2 {
            (153 * (self.month - 3) + 2) / 5 + 59
        } else {
            31 * (self.month - 1)
        };
        before + leap + self.day
    }
}

/// The weekday of a day, from 0, a Sunday, to 6.
#[must_use]
pub const fn weekday(days: i64) -> i64 {
    (days.rem_euclid(7) + 4) % 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_through_the_days() {
        let mut date = Date { year: 1600, month: 1, day: 1 };
        let (mut ordinal, mut day_of_week) = (1, 6);
        for days in -135_140..100_000 {
            assert_eq!(Date::of_days(days), date, "{days}");
            assert_eq!(date.days(), days, "{date:?}");
            assert_eq!(date.day_of_year(), ordinal, "{date:?}");
            assert_eq!(weekday(days), day_of_week);
            day_of_week = (day_of_week + 1) % 7;
            ordinal += 1;
            date.day += 1;
            if date.day > date.days_in_month() {
                (date.day, date.month) = (1, date.month + 1);
            }
            if date.month > 12 {
                (date.month, date.year, ordinal) = (1, date.year + 1, 1);
            }
        }
    }

    #[test]
    fn days_and_dates_go_with_one_another() {
        for days in (-4_000_000_000..4_000_000_000).step_by(10_000_019) {
            assert_eq!(Date::of_days(days).days(), days);
        }
        // No day is out of reach.
        for days in [i64::MIN, i64::MAX] {
            let date = Date::of_days(days);
            assert!((1..=12).contains(&date.month) && (0..7).contains(&weekday(days)));
        }
    }
}
