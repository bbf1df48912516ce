//! Why a scrape failed.

use firesteel_model::storage::AppendError;

/// A failed scrape or a target that cannot be made. The texts are Prometheus', as the API shows them
/// in `lastError`; syntax errors say in addition where on the page they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScrapeError {
    /// The request failed before there was a reply, or while its body was read.
    #[error("{0}")]
    Fetch(String),
    /// The scrape took longer than its timeout.
    #[error("Get {url:?}: context deadline exceeded")]
    Timeout {
        /// What was asked for, without credentials.
        url: String,
    },
    /// The reply was not 200.
    #[error("server returned HTTP status {0}")]
    Status(String),
    /// The body is longer than `body_size_limit`, or than the limit for all jobs.
    #[error("body size limit exceeded")]
    BodySize,
    /// The page is wrong; with the line and column of the fault.
    #[error("{}", describe(.0))]
    Page(#[source] firesteel_exposition::Error),
    /// `sample_limit`.
    #[error("sample limit exceeded")]
    SampleLimit,
    /// `native_histogram_bucket_limit`, for a histogram that cannot be made any coarser.
    #[error("histogram bucket limit exceeded")]
    BucketLimit,
    /// One of the limits on labels; the text names it.
    #[error("{0}")]
    LabelLimit(String),
    /// `target_limit`.
    #[error("target_limit exceeded (number of targets: {targets}, limit: {limit})")]
    TargetLimit {
        /// Targets of the pool.
        targets: usize,
        /// The limit.
        limit: u64,
    },
    /// Relabelling left a series without a name.
    #[error("missing metric name (__name__ label)")]
    MissingName,
    /// A name that the validation scheme does not allow.
    #[error("invalid metric name or label names: {0}")]
    InvalidNames(String),
    /// A target that cannot be made from its labels; the text says why.
    #[error("{0}")]
    Target(String),
    /// The file of `scrape_failure_log_file` cannot be opened.
    #[error("{0}")]
    FailureLog(String),
    /// The storage refused the whole scrape.
    #[error(transparent)]
    Storage(#[from] AppendError),
}

fn describe(e: &firesteel_exposition::Error) -> String {
    match e.syntax() {
        Some(place) => format!("{e} (line {}, column {})", place.line, place.column),
        None => e.to_string(),
    }
}

impl From<firesteel_exposition::Error> for ScrapeError {
    fn from(e: firesteel_exposition::Error) -> Self {
        Self::Page(e)
    }
}
