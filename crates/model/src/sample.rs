//! Samples, timestamps and the staleness marker.

use crate::{FloatHistogram, Histogram};

/// Milliseconds since the Unix epoch, UTC. May be negative.
pub type Timestamp = i64;

/// Bit pattern of the NaN that marks a series as stale. Compare bits, never values: ordinary NaNs
/// are legal samples. Source: Prometheus `model/value/value.go`.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker as a float.
#[inline]
#[must_use]
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN)
}

/// Whether `v` is the staleness marker, bit for bit.
#[inline]
#[must_use]
pub fn is_stale_nan(v: f64) -> bool {
    v.to_bits() == STALE_NAN
}

/// A float sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When, in milliseconds since the Unix epoch.
    pub t: Timestamp,
    /// The value.
    pub v: f64,
}

/// A sample's value as it is appended: a float or a native histogram, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A float.
    Float(f64),
    /// A native histogram with integer counts.
    Histogram(&'a Histogram),
    /// A native histogram with float counts.
    FloatHistogram(&'a FloatHistogram),
}

impl Value<'_> {
    /// Whether the value is a staleness marker (for histograms: their sum is one).
    #[must_use]
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Float(v) => is_stale_nan(*v),
            Self::Histogram(h) => is_stale_nan(h.sum),
            Self::FloatHistogram(h) => is_stale_nan(h.sum),
        }
    }
}
