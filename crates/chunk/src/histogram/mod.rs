//! Chunks of native histograms, with integer and with float counts, with and without start
//! timestamps (Prometheus `tsdb/chunkenc/{histogram,float_histogram}*.go`).
//!
//! All histograms of a chunk share a layout, which stands in front of the samples.
//! `docs/format/chunk.md` has a drawing.

mod appender;
#[cfg(test)]
mod appender_tests;
mod decode;
mod encode;
mod layout;
mod merge;
#[cfg(test)]
mod tests;

pub use appender::{Appended, HistogramAppender, Sample, SampleCounts};
pub use decode::decode;
pub use encode::HistogramEncoder;
pub use layout::{CUSTOM_BUCKETS_SCHEMA, Layout, Span};

/// What a chunk says about its first sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterReset {
    /// Nothing.
    #[default]
    Unknown,
    /// It is less than the sample before the chunk.
    Reset,
    /// It is not.
    NotReset,
    /// All samples are gauges, to which resets do not apply.
    Gauge,
}

impl CounterReset {
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Unknown,
            1 => Self::NotReset,
            2 => Self::Reset,
            _ => Self::Gauge,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::NotReset => 1,
            Self::Reset => 2,
            Self::Gauge => 3,
        }
    }
}

/// The samples of a chunk as columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histograms {
    /// What the chunk says about its first sample.
    pub counter_reset: CounterReset,
    /// Where the buckets are.
    pub layout: Layout,
    /// When, milliseconds.
    pub times: Vec<i64>,
    /// Start timestamps, 0 for unknown; empty where the chunk has none.
    pub starts: Vec<i64>,
    /// Sums of the observations; Prometheus' staleness marker makes the sample stale.
    pub sums: Vec<f64>,
    /// The counts.
    pub counts: Counts,
}

/// Counts of histograms. The buckets of a sample stand together, positive ones first, as many as
/// [`Layout::num_buckets`]; those of a stale sample are 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Counts {
    /// Integers.
    Integer {
        /// All observations.
        counts: Vec<u64>,
        /// Those in the zero bucket.
        zero_counts: Vec<u64>,
        /// Buckets, each as the difference to the one before it, positive and negative ones apart.
        deltas: Vec<i64>,
    },
    /// Floats.
    Float {
        /// All observations.
        counts: Vec<f64>,
        /// Those in the zero bucket.
        zero_counts: Vec<f64>,
        /// Buckets, absolute.
        buckets: Vec<f64>,
    },
}

impl Default for Counts {
    fn default() -> Self {
        Self::Float { counts: Vec::new(), zero_counts: Vec::new(), buckets: Vec::new() }
    }
}

/// Bytes before the bit stream: the number of samples, and flags or the byte about start
/// timestamps.
pub const HEADER_LEN: usize = 3;

/// Prometheus' staleness marker.
const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
