//! Native histograms, with integer and with float counts.
//!
//! Source: Prometheus `model/histogram/{histogram,float_histogram,generic}.go`. A bucket layout is
//! a schema, a zero threshold and spans; exponential schemas -4 to 8 have bucket boundaries
//! `2^(i * 2^-schema)`, schema [`CUSTOM_BUCKETS_SCHEMA`] has its upper bounds in `custom_values`.

mod bounds;
mod buckets;
mod compact;
mod display;
mod error;
mod reduce;
mod validate;

pub use bounds::bucket_bound;
pub use buckets::{Bucket, bucket_indexes, span_buckets};
pub use error::{HistogramError, HistogramProblem, HistogramSide};

/// Schema of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// The coarsest exponential schema.
pub const MIN_SCHEMA: i32 = -4;
/// The finest exponential schema.
pub const MAX_SCHEMA: i32 = 8;
/// The finest exponential schema that may be received; [`Histogram::reduce_resolution`] makes it
/// one that can be stored.
pub const MAX_RESERVED_SCHEMA: i32 = 52;

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// Gap to the previous span in buckets; for the first span the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// What is known about a counter reset between a histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CounterResetHint {
    /// Nothing is known; a reader has to compare.
    #[default]
    Unknown = 0,
    /// A reset happened.
    Reset = 1,
    /// No reset happened.
    NotReset = 2,
    /// A gauge histogram, to which resets do not apply.
    Gauge = 3,
}

/// Where the buckets of a histogram are: everything but the counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramLayout {
    /// -4 to 8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Observations with an absolute value up to this fall into the zero bucket.
    pub zero_threshold: f64,
    /// Spans of the positive buckets.
    pub positive_spans: Vec<Span>,
    /// Spans of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// Upper bounds of custom buckets, ascending, without +Inf; empty for other schemas.
    pub custom_values: Vec<f64>,
}

/// A native histogram with integer counts, its buckets as differences to the bucket before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// What is known about a counter reset.
    pub counter_reset_hint: CounterResetHint,
    /// Where the buckets are.
    pub layout: HistogramLayout,
    /// Observations in the zero bucket.
    pub zero_count: u64,
    /// All observations.
    pub count: u64,
    /// Sum of the observations; the stale NaN marks a stale sample.
    pub sum: f64,
    /// Positive buckets, each as the difference to the one before.
    pub positive_deltas: Vec<i64>,
    /// Negative buckets, each as the difference to the one before.
    pub negative_deltas: Vec<i64>,
}

/// A native histogram with float counts, its buckets absolute. The form that PromQL computes with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    /// What is known about a counter reset.
    pub counter_reset_hint: CounterResetHint,
    /// Where the buckets are.
    pub layout: HistogramLayout,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of the observations; the stale NaN marks a stale sample.
    pub sum: f64,
    /// Counts of the positive buckets.
    pub positive_buckets: Vec<f64>,
    /// Counts of the negative buckets.
    pub negative_buckets: Vec<f64>,
}

impl HistogramLayout {
    /// Whether the buckets have bounds of their own.
    #[must_use]
    pub const fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }
}

impl Histogram {
    /// The same histogram with float counts.
    #[must_use]
    pub fn to_float(&self) -> FloatHistogram {
        let absolute = |deltas: &[i64]| {
            deltas
                .iter()
                .scan(0_i64, |sum, d| {
                    *sum = sum.wrapping_add(*d);
                    Some(*sum as f64)
                })
                .collect()
        };
        FloatHistogram {
            counter_reset_hint: self.counter_reset_hint,
            layout: self.layout.clone(),
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive_buckets: absolute(&self.positive_deltas),
            negative_buckets: absolute(&self.negative_deltas),
        }
    }
}
