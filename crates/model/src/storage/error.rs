//! What can go wrong while reading.

use std::{error::Error, time::Duration};

use crate::budget::BudgetError;

/// A failed read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The query was cancelled.
    #[error("the query was canceled")]
    Canceled,
    /// The query's deadline has passed.
    #[error("the query timed out")]
    TimedOut {
        /// How long it was allowed to take.
        limit: Duration,
    },
    /// A memory limit was reached.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// Another limit was reached; the text names it.
    #[error("{0}")]
    Limit(String),
    /// Stored data is damaged.
    #[error("{place}: {what}")]
    Corrupt {
        /// The file and the offset in it.
        place: String,
        /// What was found and what was expected.
        what: String,
    },
    /// The storage is not open (yet or any more).
    #[error("storage is not ready: {0}")]
    NotReady(String),
    /// Anything else: a disk, a remote.
    #[error("{context}")]
    Other {
        /// What was being done, and where.
        context: String,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StorageError {
    /// Wraps any error with what was being done.
    pub fn other(context: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Other { context: context.into(), source: source.into() }
    }
}
