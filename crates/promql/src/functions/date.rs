//! The date functions: UTC, without leap seconds.

use firesteel_model::calendar::{Date, weekday};

use super::FunctionId;

const DAY: i64 = 86_400;

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
    Date::of_days(day_and_second(v).0)
}

/// The date functions, of seconds since 1970.
pub(crate) fn of_seconds(func: FunctionId) -> Option<fn(f64) -> f64> {
    use FunctionId as F;
    Some(match func {
        F::Minute => |v| (day_and_second(v).1 % 3600 / 60) as f64,
        F::Hour => |v| (day_and_second(v).1 / 3600) as f64,
        F::DayOfWeek => |v| weekday(day_and_second(v).0) as f64,
        F::DayOfMonth => |v| date(v).day as f64,
        F::DayOfYear => |v| date(v).day_of_year() as f64,
        F::DaysInMonth => |v| date(v).days_in_month() as f64,
        F::Month => |v| date(v).month as f64,
        F::Year => |v| date(v).year as f64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
