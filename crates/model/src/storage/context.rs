//! What a query carries through storage: deadline, cancellation, budget, statistics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::StorageError;
use crate::{
    budget::Budget,
    clock::{Clock, SystemClock},
};

/// Cancels a query from another thread. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels; cannot be taken back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`CancelToken::cancel`] was called.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of what storage did for a query; added to by several threads.
#[derive(Debug, Default)]
pub struct QueryStats {
    /// Series found.
    pub series: AtomicU64,
    /// Chunks decoded.
    pub chunks: AtomicU64,
    /// Bytes of encoded chunks decoded.
    pub chunk_bytes: AtomicU64,
    /// Samples decoded.
    pub samples: AtomicU64,
}

impl QueryStats {
    /// Adds `n` to a counter of this struct.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// What a query carries. Clones share token, budget and statistics.
#[derive(Clone, Debug)]
pub struct QueryContext {
    /// Cancels the query.
    pub cancel: CancelToken,
    /// Reading of `clock.monotonic()` after which the query fails, and the timeout it came from.
    pub deadline: Option<(Duration, Duration)>,
    /// Where the deadline is read.
    pub clock: Arc<dyn Clock>,
    /// Memory of this query.
    pub budget: Budget,
    /// What was done.
    pub stats: Arc<QueryStats>,
}

impl QueryContext {
    /// Without deadline and limits; for tests and small programs.
    #[must_use]
    pub fn background() -> Self {
        Self::new(Arc::new(SystemClock::new()), Budget::unlimited())
    }

    /// With a clock and a budget, without a deadline.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, budget: Budget) -> Self {
        Self { cancel: CancelToken::new(), deadline: None, clock, budget, stats: Arc::default() }
    }

    /// Sets the deadline `timeout` from now.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.deadline = Some((self.clock.monotonic().saturating_add(timeout), timeout));
        self
    }

    /// Fails if the query was cancelled or is late. Cheap enough per chunk, too dear per sample.
    ///
    /// # Errors
    /// [`StorageError::Canceled`] or [`StorageError::TimedOut`].
    pub fn check(&self) -> Result<(), StorageError> {
        if self.cancel.is_canceled() {
            return Err(StorageError::Canceled);
        }
        match self.deadline {
            Some((at, limit)) if self.clock.monotonic() > at => {
                Err(StorageError::TimedOut { limit })
            }
            _ => Ok(()),
        }
    }
}
