//! Why histograms are refused.

use std::fmt;

use super::{CUSTOM_BUCKETS_SCHEMA, MAX_SCHEMA, MIN_SCHEMA};
use crate::float::write_g;

/// Where in a histogram something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramSide {
    /// The positive buckets.
    Positive,
    /// The negative buckets.
    Negative,
    /// The bounds or spans of custom buckets.
    Custom,
}

/// What is wrong with a histogram. Numbers of spans and buckets start at 1, as in the texts.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum HistogramProblem {
    /// A span after the first (for custom buckets: any span) begins before the one before ended.
    NegativeOffset {
        /// Which span.
        span: usize,
        /// Its offset.
        offset: i32,
    },
    /// Spans and buckets do not go together.
    BucketsMismatch {
        /// Buckets that the spans describe.
        needed: u64,
        /// Buckets that there are.
        have: usize,
    },
    /// There are fewer buckets than spans describe; found while the resolution is reduced.
    TooFewBuckets {
        /// Buckets that there are.
        have: usize,
    },
    /// A bucket has less than no observations.
    NegativeBucket {
        /// Which bucket.
        bucket: usize,
        /// Its count.
        count: f64,
    },
    /// The zero bucket has less than no observations.
    NegativeZeroBucket(f64),
    /// All observations are less than none.
    NegativeCount(f64),
    /// The buckets have more observations than the histogram; some may be NaN.
    CountTooSmall {
        /// Observations in the buckets.
        buckets: u64,
        /// All observations.
        count: u64,
    },
    /// The buckets do not have as many observations as the histogram.
    CountMismatch {
        /// Observations in the buckets.
        buckets: u64,
        /// All observations.
        count: u64,
    },
    /// A custom bound is NaN.
    BoundNan,
    /// Custom bounds do not ascend.
    BoundOrder {
        /// The bound before.
        previous: f64,
        /// The bound that is not greater.
        current: f64,
    },
    /// The last custom bound is +Inf.
    BoundInfinite,
    /// Spans reach beyond the custom bounds.
    TooFewBounds {
        /// Bounds that there are.
        bounds: usize,
        /// Buckets and gaps of the spans.
        spans: u64,
    },
    /// Custom buckets along with observations in the zero bucket.
    CustomZeroCount,
    /// Custom buckets along with a zero threshold.
    CustomZeroThreshold,
    /// Custom buckets along with negative spans.
    CustomNegativeSpans,
    /// Custom buckets along with negative buckets.
    CustomNegativeBuckets,
    /// An exponential schema along with custom bounds.
    ExponentialWithBounds,
    /// A schema that does not exist.
    InvalidSchema(i32),
    /// A resolution that is not lower than the present one, or not one of exponential buckets.
    NotReducible {
        /// The schema that there is.
        from: i32,
        /// The schema that was asked for.
        to: i32,
    },
}

/// Why a histogram is refused. The texts are Prometheus' (`model/histogram/generic.go`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistogramError {
    /// Where.
    pub side: Option<HistogramSide>,
    /// What.
    pub problem: HistogramProblem,
}

impl fmt::Display for HistogramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.side {
            Some(HistogramSide::Positive) => "positive side: ",
            Some(HistogramSide::Negative) => "negative side: ",
            Some(HistogramSide::Custom) => "custom buckets: ",
            None => "",
        })?;
        self.problem.fmt(f)
    }
}

impl std::error::Error for HistogramError {}

impl From<HistogramProblem> for HistogramError {
    fn from(problem: HistogramProblem) -> Self {
        Self { side: None, problem }
    }
}

/// Go's `%v`.
fn v(v: f64) -> String {
    let mut out = String::new();
    write_g(&mut out, v);
    out
}

/// Go's `%f`.
fn f6(v: f64) -> String {
    match v {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => format!("{v:.6}"),
    }
}

impl fmt::Display for HistogramProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NEGATIVE: &str = "histogram has a bucket whose observation count is negative";
        const MISMATCH: &str = "histogram spans specify different number of buckets than provided";
        match self {
            Self::NegativeOffset { span, offset } => write!(
                f,
                "span number {span} with offset {offset}: \
                 histogram has a span whose offset is negative"
            ),
            Self::BucketsMismatch { needed, have } => {
                write!(f, "spans need {needed} buckets, have {have} buckets: {MISMATCH}")
            }
            Self::TooFewBuckets { have } => {
                write!(f, "have {have} buckets but spans need more: {MISMATCH}")
            }
            Self::NegativeBucket { bucket, count } => {
                let count = v(*count);
                write!(f, "bucket number {bucket} has observation count of {count}: {NEGATIVE}")
            }
            Self::NegativeZeroBucket(count) => {
                write!(f, "zero bucket has observation count of {}: {NEGATIVE}", v(*count))
            }
            // With two blanks, as in Prometheus.
            Self::NegativeCount(count) => write!(
                f,
                "observation count is  {}: histogram's observation count is negative",
                v(*count)
            ),
            Self::CountTooSmall { buckets, count } => write!(
                f,
                "{buckets} observations found in buckets, but the Count field is {count}: \
                 histogram's observation count should be at least the number of observations \
                 found in the buckets"
            ),
            Self::CountMismatch { buckets, count } => write!(
                f,
                "{buckets} observations found in buckets, but the Count field is {count}: \
                 histogram's observation count should equal the number of observations found in \
                 the buckets (in absence of NaN)"
            ),
            Self::BoundNan => f.write_str("histogram custom bounds must not be NaN"),
            Self::BoundOrder { previous, current } => write!(
                f,
                "previous bound is {} and current is {}: \
                 histogram custom bounds must be in strictly increasing order",
                f6(*previous),
                f6(*current)
            ),
            Self::BoundInfinite => f.write_str(
                "last +Inf bound must not be explicitly defined: \
                 histogram custom bounds must be finite",
            ),
            Self::TooFewBounds { bounds, spans } => write!(
                f,
                "only {bounds} custom bounds defined which is insufficient to cover total span \
                 length of {spans}: histogram custom bounds are too few"
            ),
            Self::CustomZeroCount => f.write_str("custom buckets: must have zero count of 0"),
            Self::CustomZeroThreshold => {
                f.write_str("custom buckets: must have zero threshold of 0")
            }
            Self::CustomNegativeSpans => {
                f.write_str("custom buckets: must not have negative spans")
            }
            Self::CustomNegativeBuckets => {
                f.write_str("custom buckets: must not have negative buckets")
            }
            Self::ExponentialWithBounds => {
                f.write_str("histogram with exponential schema must not have custom bounds")
            }
            Self::InvalidSchema(schema) => write!(
                f,
                "histogram has an invalid schema, which must be between {MIN_SCHEMA} and \
                 {MAX_SCHEMA} for exponential buckets, or {CUSTOM_BUCKETS_SCHEMA} for custom \
                 buckets, got schema {schema}"
            ),
            Self::NotReducible { from, to } => {
                write!(f, "cannot reduce resolution from schema {from} to {to}")
            }
        }
    }
}
