//! Why a request is refused.

use firesteel_model::{
    Labels, Timestamp, histogram::HistogramError, storage::AppendError, wire::WireError,
};
use thiserror::Error;

/// Why a request was refused; nothing of it is stored then. Printed, it is what Prometheus answers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The body is not a snappy block.
    #[error("snappy: corrupt input")]
    Snappy,
    /// The body is larger than a limit allows.
    #[error("request of {size} bytes is too large: limit {name} is {limit}")]
    TooLarge {
        /// Bytes that the body says it has when decompressed.
        size: u64,
        /// The limit's name in [`super::WriteLimits`].
        name: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// The message is damaged.
    #[error("invalid remote write request: {0}")]
    Wire(#[from] WireError),
    /// The message asks for more than a limit allows.
    #[error("remote write request exceeds limit {name} of {limit}")]
    Limit {
        /// The limit's name in [`super::WriteLimits`].
        name: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A sample is more than [`super::MAX_AHEAD_MS`] ahead of the clock.
    #[error("out of bounds: timestamp is too far in the future")]
    TooFarAhead {
        /// The sample's series.
        series: Labels,
        /// The sample's time.
        t: Timestamp,
    },
    /// A native histogram contradicts itself.
    #[error("{error}")]
    Histogram {
        /// How.
        error: HistogramError,
        /// Its series.
        series: Labels,
        /// Its time.
        t: Timestamp,
    },
    /// The storage refused a sample.
    #[error("{error}")]
    Sample {
        /// Why.
        error: AppendError,
        /// The sample's series.
        series: Labels,
        /// The sample's time.
        t: Timestamp,
    },
    /// The storage could not take the request as a whole.
    #[error("{0}")]
    Commit(AppendError),
}

impl WriteError {
    /// The HTTP status to answer with. What the sender cannot mend by sending again is 4xx.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::TooLarge { .. } => 413,
            Self::Snappy
            | Self::Wire(_)
            | Self::Limit { .. }
            | Self::TooFarAhead { .. }
            | Self::Histogram { .. } => 400,
            Self::Sample { error, .. } | Self::Commit(error) => match error {
                AppendError::NotReady(_) => 503,
                _ if error.is_sample() => 400,
                _ => 500,
            },
        }
    }
}
