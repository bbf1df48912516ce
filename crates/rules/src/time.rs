//! Times of evaluations, to the nanosecond: slots are not aligned to milliseconds.

use std::time::Duration;

use firesteel_model::Timestamp;

/// Nanoseconds since the Unix epoch, UTC.
pub type Nanos = i64;

const PER_MS: i64 = 1_000_000;

/// A clock's milliseconds.
pub(crate) const fn from_ms(t: Timestamp) -> Nanos {
    t.saturating_mul(PER_MS)
}

/// The milliseconds of a time, cut as Prometheus cuts them.
pub(crate) const fn to_ms(t: Nanos) -> Timestamp {
    t.div_euclid(PER_MS)
}

/// The whole seconds of a time.
pub(crate) const fn to_seconds(t: Nanos) -> i64 {
    t.div_euclid(1_000_000_000)
}

/// The nanoseconds of a duration.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A duration of so many nanoseconds; none where they are negative.
pub(crate) fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
