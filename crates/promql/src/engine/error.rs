//! Errors of queries.

use firesteel_model::{budget::BudgetError, duration, storage::StorageError};

use super::EngineOptions;
use crate::ParseErrors;

/// Why a query has no result. The texts are Prometheus'.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The text is not a query.
    #[error(transparent)]
    Parse(#[from] ParseErrors),
    /// A duration expression in the query has no usable value at the query's times. The text begins
    /// with its position.
    #[error("{0}")]
    Invalid(String),
    /// The sample limit ([`EngineOptions::max_samples`](super::EngineOptions::max_samples)).
    #[error("query processing would load too many samples into memory in {0}")]
    TooManySamples(&'static str),
    /// The deadline has passed.
    #[error("query timed out in {0}")]
    TimedOut(&'static str),
    /// The query was cancelled.
    #[error("query was canceled in {0}")]
    Canceled(&'static str),
    /// The deadline has passed while the query waited for a place among the running ones.
    #[error("context deadline exceeded")]
    TimedOutInQueue,
    /// The query was cancelled while it waited for a place among the running ones.
    #[error("context canceled")]
    CanceledInQueue,
    /// A memory limit; the text names it.
    #[error(transparent)]
    Budget(BudgetError),
    /// The storage failed.
    #[error("expanding series: {0}")]
    Storage(#[source] StorageError),
    /// The query cannot be evaluated on this data.
    #[error("{0}")]
    Execution(String),
}

impl QueryError {
    /// For refusals: the limit that was reached, and what to change.
    #[must_use]
    pub fn hint(&self, options: &EngineOptions) -> Option<String> {
        let less = "select fewer series, a shorter range or a larger step";
        match self {
            Self::TooManySamples(_) => Some(format!(
                "the limit is {} samples at a time (--query.max-samples): {less}, or raise the limit",
                options.max_samples
            )),
            Self::TimedOut(_) => Some(format!(
                "the limit is {} (--query.timeout), or less where the request has a timeout: {less}, \
                 or raise the limit",
                duration::format(options.timeout)
            )),
            Self::TimedOutInQueue => Some(format!(
                "the query waited for one of {} places (--query.max-concurrency) until its time \
                 (--query.timeout) was over: ask again later, or raise the limit",
                options.max_concurrency.unwrap_or_default()
            )),
            Self::Budget(error) => Some(format!(
                "the memory limit {:?} is {} bytes; it follows from the memory that the process may \
                 use: {less}, or give the process more memory",
                error.budget, error.limit
            )),
            _ => None,
        }
    }
}

/// The engine's own name for the error.
pub(crate) type EvalError = QueryError;

/// What timeouts and cancellations name as the place.
const PLACE: &str = "expression evaluation";

impl From<StorageError> for QueryError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Canceled => Self::Canceled(PLACE),
            StorageError::TimedOut { .. } => Self::TimedOut(PLACE),
            StorageError::Budget(error) => Self::Budget(error),
            other => Self::Storage(other),
        }
    }
}

impl From<BudgetError> for QueryError {
    fn from(error: BudgetError) -> Self {
        Self::Budget(error)
    }
}

/// An execution error.
pub(crate) fn execution(text: impl Into<String>) -> QueryError {
    QueryError::Execution(text.into())
}

/// Two series with the same labels.
pub(crate) fn same_labelset() -> QueryError {
    execution("vector cannot contain metrics with the same labelset")
}
