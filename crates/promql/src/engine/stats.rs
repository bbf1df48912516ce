//! What a query took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use firesteel_model::{Timestamp, clock::Clock, storage::QueryStats};

use super::{error::EvalError, eval::Evaluator, limits::Samples};
use crate::{Expr, window::Grid};

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
    /// By step, where [`QueryOptions::per_step_stats`](super::QueryOptions::per_step_stats) asked
    /// for it.
    pub per_step: Option<Vec<StepStats>>,
    /// The most bytes of memory that it had reserved at a time.
    pub peak_bytes: u64,
    /// What storage did.
    pub storage: Arc<QueryStats>,
}

/// Samples of a step of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepStats {
    /// When.
    pub t: Timestamp,
    /// Samples in all windows (`totalQueryableSamplesPerStep`): as many as an instant query has.
    pub total_samples: u64,
    /// Of these the ones that the step before had not (`samplesReadPerStep`).
    pub samples_read: u64,
}

impl EngineStats {
    /// Takes over the counts of samples.
    pub(crate) fn count(&mut self, samples: &Samples) {
        self.total_samples = samples.total.load(Ordering::Relaxed);
        self.samples_read = samples.read.load(Ordering::Relaxed);
        self.peak_samples = samples.peak();
    }
}

impl Evaluator<'_> {
    /// Counts the samples of each step, by evaluating the query at each alone and at each with the
    /// one before: the kernels stay free of it.
    pub(crate) fn count_steps(
        &mut self,
        expr: &Expr,
        grid: Grid,
    ) -> Result<Vec<StepStats>, EvalError> {
        let annotations = self.annotations.clone();
        let recorder = self.recorder.take();
        let mut steps = Vec::with_capacity(grid.n);
        let mut last = 0;
        for i in 0..grid.n {
            let t = grid.time(i);
            let (total_samples, read) = self.count_at(expr, Grid::instant(t))?;
            let samples_read = if i == 0 {
                read
            } else {
                let both = Grid::range(grid.time(i - 1), t, grid.step);
                self.count_at(expr, both)?.1.saturating_sub(last)
            };
            last = read;
            steps.push(StepStats { t, total_samples, samples_read });
        }
        (self.annotations, self.recorder) = (annotations, recorder);
        Ok(steps)
    }

    fn count_at(&mut self, expr: &Expr, grid: Grid) -> Result<(u64, u64), EvalError> {
        let before = self.samples.current();
        let counters = [&self.samples.total, &self.samples.read];
        counters.iter().for_each(|n| n.store(0, Ordering::Relaxed));
        self.top_level(expr, grid, grid.n == 1)?;
        self.samples.settle(before, 0);
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Ok((get(&self.samples.total), get(&self.samples.read)))
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
