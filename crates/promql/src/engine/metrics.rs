//! The engine's own metrics, named as Prometheus names them.

use std::sync::atomic::{AtomicI64, Ordering};

use firesteel_model::{
    MetricType,
    metrics::{Collect, Counter, Families, Summary},
};

use super::{Engine, EngineStats};

const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// What an engine counts.
#[derive(Debug)]
pub(super) struct EngineMetrics {
    running: AtomicI64,
    samples: Counter,
    samples_read: Counter,
    preparation: Summary,
    evaluation: Summary,
    sorting: Summary,
}

impl Default for EngineMetrics {
    fn default() -> Self {
        Self {
            running: AtomicI64::new(0),
            samples: Counter::new(),
            samples_read: Counter::new(),
            preparation: Summary::new(&QUANTILES),
            evaluation: Summary::new(&QUANTILES),
            sorting: Summary::new(&QUANTILES),
        }
    }
}

impl EngineMetrics {
    /// Counts a query as running until the guard is dropped.
    pub(super) fn begin(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(self)
    }

    /// Counts what a query took.
    pub(super) fn observe(&self, stats: &EngineStats) {
        self.samples.add(stats.total_samples);
        self.samples_read.add(stats.samples_read);
        self.preparation.observe(stats.preparation_time.as_secs_f64());
        self.evaluation.observe(stats.evaluation_time.as_secs_f64());
        self.sorting.observe(stats.result_time.as_secs_f64());
    }
}

/// A query that runs.
pub(super) struct Running<'a>(&'a EngineMetrics);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Collect for Engine {
    fn collect(&self, out: &mut Families) {
        let m = &self.metrics;
        out.gauge(
            "prometheus_engine_queries",
            "The current number of queries being executed or waiting.",
            m.running.load(Ordering::Relaxed) as f64,
        );
        out.counter(
            "prometheus_engine_query_samples_total",
            "The total number of samples loaded by all queries.",
            m.samples.value() as f64,
        );
        out.counter(
            "prometheus_engine_query_samples_read_total",
            "The total number of samples read from storage by all queries.",
            m.samples_read.value() as f64,
        );
        for (slice, summary) in [
            ("inner_eval", &m.evaluation),
            ("prepare_time", &m.preparation),
            ("result_sort", &m.sorting),
        ] {
            out.add(
                "prometheus_engine_query_duration_seconds",
                MetricType::Summary,
                "Query timings",
                &[("slice", slice)],
                summary.point(),
            );
        }
    }
}
