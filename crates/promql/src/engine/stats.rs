//! What a query took.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use firesteel_model::{clock::Clock, storage::QueryStats};

use super::limits::Samples;

/// What a query took. The names in brackets are those of Prometheus' `stats=all`.
#[derive(Clone, Debug, Default)]
pub struct EngineStats {
    /// Samples in all windows of all steps (`totalQueryableSamples`).
    pub total_samples: u64,
    /// Samples read from storage (`samplesRead`).
    pub samples_read: u64,
    /// The most samples held at a time (`peakSamples`).
    pub peak_samples: u64,
    /// Parsing and planning.
    pub parse_time: Duration,
    /// Waiting for a place in the gate (`execQueueTime`).
    pub queue_time: Duration,
    /// Selecting series (`queryPreparationTime`).
    pub preparation_time: Duration,
    /// Evaluating (`innerEvalTime`).
    pub evaluation_time: Duration,
    /// Ordering the result and making its labels (`resultSortTime`).
    pub result_time: Duration,
    /// From the place in the gate to the end (`evalTotalTime`).
    pub run_time: Duration,
    /// All of it, the waiting included (`execTotalTime`).
    pub total_time: Duration,
    /// The most bytes of memory that it had reserved at a time.
    pub peak_bytes: u64,
    /// What storage did.
    pub storage: Arc<QueryStats>,
}

impl EngineStats {
    /// Takes over the counts of samples.
    pub(crate) fn count(&mut self, samples: &Samples) {
        self.total_samples = samples.total.load(Ordering::Relaxed);
        self.samples_read = samples.read.load(Ordering::Relaxed);
        self.peak_samples = samples.peak();
    }
}

/// Measures the stages of a query.
pub(crate) struct Watch<'a> {
    clock: &'a dyn Clock,
    start: Duration,
    last: Duration,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(clock: &'a dyn Clock) -> Self {
        let now = clock.monotonic();
        Self { clock, start: now, last: now }
    }

    /// Time since the last lap.
    pub(crate) fn lap(&mut self) -> Duration {
        let now = self.clock.monotonic();
        let lap = now.saturating_sub(self.last);
        self.last = now;
        lap
    }

    /// Time from the begin to the last lap.
    pub(crate) fn total(&self) -> Duration {
        self.last.saturating_sub(self.start)
    }
}
