//! The writing traits.

use std::error::Error;

use crate::{Exemplar, Labels, Metadata, Timestamp, Value};

/// A series' number in a storage: cheap to append with, valid until the series is collected.
/// Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u64);

/// How an append names its series.
#[derive(Clone, Copy, Debug)]
pub enum SeriesKey<'a> {
    /// By the reference that an earlier append returned: the fast way. Fails with
    /// [`AppendError::UnknownSeries`] when the series is gone; the caller then comes back with
    /// labels.
    Ref(SeriesRef),
    /// By its labels; the series is created if it is new.
    Labels(&'a Labels),
}

/// What may come along with a sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct AppendOptions<'a> {
    /// When the counter began to count, milliseconds; `None` where unknown.
    pub start_timestamp: Option<Timestamp>,
    /// Exemplars of the sample.
    pub exemplars: &'a [Exemplar],
    /// Metadata of the series, given when it is new or has changed.
    pub metadata: Option<&'a Metadata>,
}

/// Something that samples can be appended to.
pub trait Appendable: Send + Sync {
    /// Begins a transaction.
    fn appender(&self) -> Box<dyn Appender + '_>;
}

/// A transaction. Commit makes all its samples visible at once; dropping it undoes them (series
/// that it created may stay, without samples).
pub trait Appender: Send {
    /// Adds a sample. An error concerns this sample alone, the transaction goes on; see
    /// [`AppendError::is_sample`].
    ///
    /// # Errors
    /// The sample cannot be stored, and why.
    fn append(
        &mut self,
        series: SeriesKey<'_>,
        t: Timestamp,
        value: Value<'_>,
        options: &AppendOptions<'_>,
    ) -> Result<SeriesRef, AppendError>;

    /// Ends the transaction: logged, then in memory, then visible. When it returns, the samples
    /// survive a crash of the process.
    ///
    /// # Errors
    /// Nothing of the transaction is visible then.
    fn commit(self: Box<Self>) -> Result<CommitStats, AppendError>;
}

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitStats {
    /// Samples stored.
    pub samples: u64,
    /// Samples that an earlier or concurrent transaction made impossible meanwhile.
    pub rejected: u64,
    /// Series created.
    pub series_created: u64,
}

/// Why a sample or a transaction was refused. The texts are Prometheus'.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Older than the series' newest sample.
    #[error("out of order sample")]
    OutOfOrder,
    /// Too old for the head, or too far in the future.
    #[error("out of bounds")]
    OutOfBounds,
    /// Older than the out-of-order window.
    #[error("too old sample")]
    TooOld,
    /// The series has another value for this time.
    #[error("duplicate sample for timestamp")]
    DuplicateTimestamp,
    /// The reference is not (or no longer) known; append with labels.
    #[error("unknown series reference")]
    UnknownSeries,
    /// Empty, without a name, with duplicates or with bad UTF-8; the text says which.
    #[error("invalid labels: {0}")]
    InvalidLabels(String),
    /// A native histogram whose parts contradict each other.
    #[error("invalid histogram: {0}")]
    InvalidHistogram(String),
    /// An exemplar older than the series' newest.
    #[error("out of order exemplar")]
    OutOfOrderExemplar,
    /// A limit; the text names it and what to change.
    #[error("{0}")]
    Limit(String),
    /// The disk is full; appending goes on by itself once there is space.
    #[error("no space left on the storage's disk: {0}")]
    OutOfSpace(String),
    /// The storage is closed or not ready.
    #[error("storage is not ready: {0}")]
    NotReady(String),
    /// Anything else.
    #[error("{context}")]
    Other {
        /// What was being done, and where.
        context: String,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl AppendError {
    /// Whether the error concerns a single sample, so that the rest of the transaction can go on.
    #[must_use]
    pub const fn is_sample(&self) -> bool {
        matches!(
            self,
            Self::OutOfOrder
                | Self::OutOfBounds
                | Self::TooOld
                | Self::DuplicateTimestamp
                | Self::UnknownSeries
                | Self::InvalidLabels(_)
                | Self::InvalidHistogram(_)
                | Self::OutOfOrderExemplar
        )
    }
}
