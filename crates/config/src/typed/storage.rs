//! The section `storage`.

use std::time::Duration;

/// How long and how much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Retention {
    /// Age of the oldest samples; zero where the configuration does not say.
    pub time: Duration,
    /// Bytes; 0 where the configuration does not say.
    pub size_bytes: u64,
    /// Percent of the file system, 0 to 100; wins over `size_bytes`.
    pub percentage: f64,
}

impl Retention {
    /// All three; 0 where there is no limit.
    #[must_use]
    pub const fn new(time: Duration, size_bytes: u64, percentage: f64) -> Self {
        Self { time, size_bytes, percentage }
    }
}

/// How chunks of floats are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FloatEncoding {
    /// XOR, which every Prometheus reads.
    #[default]
    Xor,
    /// XOR2, with start timestamps.
    Xor2,
}

/// The section `storage`, its defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StorageConfig {
    /// How far in the past out-of-order samples are accepted.
    pub out_of_order_time_window: Duration,
    /// The share of stale series in the head above which they are compacted, 0 to 1; 0 for never.
    pub stale_series_compaction_threshold: f64,
    /// How floats are written; `None` where the configuration leaves it to the flags.
    pub float_encoding: Option<FloatEncoding>,
    /// Retention.
    pub retention: Retention,
    /// Exemplars kept in memory; `None` where the configuration does not say, 0 or less for none.
    pub max_exemplars: Option<i64>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            out_of_order_time_window: Duration::ZERO,
            stale_series_compaction_threshold: 0.0,
            float_encoding: None,
            retention: Retention::default(),
            max_exemplars: None,
        }
    }
}
