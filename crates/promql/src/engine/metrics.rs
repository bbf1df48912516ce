//! The engine's own metrics, under Prometheus' names.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use firesteel_model::{
    MetricType,
    metrics::{Buckets, Collect, Counter, Families, Summary},
};

use super::EngineStats;

const QUANTILES: &[f64] = &[0.5, 0.9, 0.99];
const BUCKETS: &[f64] = &[0.01, 0.1, 1.0, 10.0];

/// Durations of a stage of queries.
#[derive(Debug)]
struct Stage {
    name: &'static str,
    summary: Summary,
    buckets: Buckets,
}

impl Stage {
    fn new(name: &'static str) -> Self {
        Self { name, summary: Summary::new(QUANTILES), buckets: Buckets::new(BUCKETS) }
    }

    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.summary.observe(seconds);
        self.buckets.observe(seconds);
    }
}

/// Metrics of an engine.
#[derive(Debug)]
pub(crate) struct EngineMetrics {
    running: AtomicU64,
    max_concurrency: Option<usize>,
    samples: Counter,
    samples_read: Counter,
    /// Queue, preparation, evaluation, result.
    stages: [Stage; 4],
}

impl EngineMetrics {
    pub(crate) fn new(max_concurrency: Option<usize>) -> Self {
        Self {
            running: AtomicU64::new(0),
            max_concurrency,
            samples: Counter::new(),
            samples_read: Counter::new(),
            stages: ["queue_time", "prepare_time", "inner_eval", "result_sort"].map(Stage::new),
        }
    }

    /// Counts a query as running until the guard is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(&self.running)
    }

    /// Counts what a query took.
    pub(crate) fn observe(&self, stats: &EngineStats) {
        self.samples.add(stats.total_samples);
        self.samples_read.add(stats.samples_read);
        let took =
            [stats.queue_time, stats.preparation_time, stats.evaluation_time, stats.result_time];
        self.stages.iter().zip(took).for_each(|(stage, took)| stage.observe(took));
    }
}

/// A running query.
pub(crate) struct Running<'a>(&'a AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Collect for EngineMetrics {
    fn collect(&self, out: &mut Families) {
        out.gauge(
            "prometheus_engine_queries",
            "The current number of queries being executed or waiting.",
            self.running.load(Ordering::Relaxed) as f64,
        );
        out.gauge(
            "prometheus_engine_queries_concurrent_max",
            "The max number of concurrent queries.",
            self.max_concurrency.map_or(-1.0, |n| n as f64),
        );
        out.counter(
            "prometheus_engine_query_samples_total",
            "The total number of samples loaded by all queries (full window per step for \
             range-vector).",
            self.samples.value() as f64,
        );
        out.counter(
            "prometheus_engine_query_samples_read_total",
            "The total number of samples read by all queries (only new points per step for \
             range-vector).",
            self.samples_read.value() as f64,
        );
        for stage in &self.stages {
            out.add(
                "prometheus_engine_query_duration_seconds",
                MetricType::Summary,
                "Query timings",
                &[("slice", stage.name)],
                stage.summary.point(),
            );
            out.add(
                "prometheus_engine_query_duration_histogram_seconds",
                MetricType::Histogram,
                "The duration of various parts of PromQL query execution.",
                &[("slice", stage.name)],
                stage.buckets.point(),
            );
        }
    }
}
