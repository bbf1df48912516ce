//! The writing traits.

use std::{error::Error, fmt};

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
    /// The sample must not go in out of order, whatever the storage takes else: it fails with
    /// [`AppendError::OutOfOrder`]. For staleness markers, which say something about the newest
    /// sample only.
    pub reject_out_of_order: bool,
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

    /// Adds exemplars to a series that exists already, without a sample: senders of remote write
    /// ship them apart from the samples. A storage that keeps no exemplars ignores them, which is
    /// what this method does unless it is overridden.
    ///
    /// # Errors
    /// The series is unknown, or an exemplar is older than the series' newest. The transaction goes
    /// on.
    fn append_exemplars(
        &mut self,
        series: SeriesKey<'_>,
        exemplars: &[Exemplar],
    ) -> Result<(), AppendError> {
        let _ = (series, exemplars);
        Ok(())
    }

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
#[derive(Debug)]
#[non_exhaustive]
pub enum AppendError {
    /// Older than the series' newest sample.
    OutOfOrder,
    /// Too old for the head, or too far in the future.
    OutOfBounds,
    /// Older than the out-of-order window.
    TooOld,
    /// The series has another value for this time.
    DuplicateTimestamp,
    /// The reference is not (or no longer) known; append with labels.
    UnknownSeries,
    /// Empty, without a name, with duplicates or with bad UTF-8; the text says which.
    InvalidLabels(String),
    /// A native histogram whose parts contradict each other.
    InvalidHistogram(String),
    /// An exemplar older than the series' newest.
    OutOfOrderExemplar,
    /// An exemplar that cannot be kept; the text says why.
    InvalidExemplar(String),
    /// A limit; the text names it and what to change.
    Limit(String),
    /// The disk is full; appending goes on by itself once there is space.
    OutOfSpace(String),
    /// The storage is closed or not ready.
    NotReady(String),
    /// Anything else.
    Other {
        /// What was being done, and where.
        context: String,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfOrder => f.write_str("out of order sample"),
            Self::OutOfBounds => f.write_str("out of bounds"),
            Self::TooOld => f.write_str("too old sample"),
            Self::DuplicateTimestamp => f.write_str("duplicate sample for timestamp"),
            Self::UnknownSeries => f.write_str("unknown series reference"),
            Self::InvalidLabels(why) => write!(f, "invalid labels: {why}"),
            Self::InvalidHistogram(why) => write!(f, "invalid histogram: {why}"),
            Self::OutOfOrderExemplar => f.write_str("out of order exemplar"),
            Self::InvalidExemplar(why) => write!(f, "invalid exemplar: {why}"),
            Self::Limit(text) => f.write_str(text),
            Self::OutOfSpace(what) => {
                write!(f, "no space left on the storage's disk: {what}")
            }
            Self::NotReady(why) => write!(f, "storage is not ready: {why}"),
            Self::Other { context, .. } => f.write_str(context),
        }
    }
}

impl Error for AppendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Other { source, .. } => Some(&**source),
            _ => None,
        }
    }
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
