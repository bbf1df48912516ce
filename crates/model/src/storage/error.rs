//! What can go wrong while reading.

use std::{error::Error, fmt, time::Duration};

use crate::budget::BudgetError;

/// A failed read.
#[derive(Debug)]
#[non_exhaustive]
pub enum StorageError {
    /// The query was cancelled.
    Canceled,
    /// The query's deadline has passed.
    TimedOut {
        /// How long it was allowed to take.
        limit: Duration,
    },
    /// A memory limit was reached.
    Budget(BudgetError),
    /// Another limit was reached; the text names it.
    Limit(String),
    /// Stored data is damaged.
    Corrupt {
        /// The file and the offset in it.
        place: String,
        /// What was found and what was expected.
        what: String,
    },
    /// The storage is not open (yet or any more).
    NotReady(String),
    /// Anything else: a disk, a remote.
    Other {
        /// What was being done, and where.
        context: String,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Canceled => f.write_str("the query was canceled"),
            Self::TimedOut { .. } => f.write_str("the query timed out"),
            Self::Budget(e) => e.fmt(f),
            Self::Limit(text) => f.write_str(text),
            Self::Corrupt { place, what } => write!(f, "{place}: {what}"),
            Self::NotReady(why) => write!(f, "storage is not ready: {why}"),
            Self::Other { context, .. } => f.write_str(context),
        }
    }
}

impl Error for StorageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Other { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

impl From<BudgetError> for StorageError {
    fn from(e: BudgetError) -> Self {
        Self::Budget(e)
    }
}

impl StorageError {
    /// Wraps any error with what was being done.
    pub fn other(
        context: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Other { context: context.into(), source: source.into() }
    }
}
