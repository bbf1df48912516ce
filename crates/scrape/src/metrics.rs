//! Metrics about scraping, under Prometheus' names.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use firesteel_model::{
    MetricType, duration,
    metrics::{Buckets, Counter, Families, Point, Summary},
};

use crate::Ingested;

const QUANTILES: &[f64] = &[0.01, 0.05, 0.5, 0.9, 0.99];
const LENGTH_BUCKETS: &[f64] = &[0.01, 0.1, 1.0, 10.0];

/// Durations as Prometheus shows them twice: as a summary and as a histogram.
#[derive(Debug)]
pub(crate) struct Lengths {
    summary: Summary,
    histogram: Buckets,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { summary: Summary::new(QUANTILES), histogram: Buckets::new(LENGTH_BUCKETS) }
    }
}

impl Lengths {
    pub(crate) fn observe(&self, length: Duration) {
        self.summary.observe(length.as_secs_f64());
        self.histogram.observe(length.as_secs_f64());
    }
}

/// The metrics of one pool.
#[derive(Debug, Default)]
pub(crate) struct PoolMetrics {
    pub(crate) syncs: Counter,
    pub(crate) sync_failures: Counter,
    pub(crate) sync_lengths: Lengths,
}

/// The metrics of all pools of a manager.
#[derive(Debug, Default)]
pub(crate) struct ScrapeMetrics {
    pub(crate) pools: Counter,
    pub(crate) pools_failed: Counter,
    pub(crate) reloads: Counter,
    pub(crate) reloads_failed: Counter,
    pub(crate) target_limit: Counter,
    label_limit: Counter,
    sample_limit: Counter,
    bucket_limit: Counter,
    body_size_limit: Counter,
    duplicates: Counter,
    out_of_order: Counter,
    out_of_bounds: Counter,
    exemplars_out_of_order: Counter,
    storage_failures: Counter,
    /// Between scrapes, by the interval that was configured.
    intervals: Mutex<BTreeMap<Duration, Arc<Lengths>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ScrapeMetrics {
    /// Where intervals between scrapes are counted for this configured interval.
    pub(crate) fn intervals(&self, interval: Duration) -> Arc<Lengths> {
        Arc::clone(lock(&self.intervals).entry(interval).or_default())
    }

    /// Counts a scrape.
    pub(crate) fn count(&self, scrape: &Ingested) {
        self.duplicates.add(scrape.duplicates);
        self.out_of_order.add(scrape.out_of_order);
        self.out_of_bounds.add(scrape.out_of_bounds);
        self.exemplars_out_of_order.add(scrape.exemplars_out_of_order);
        if scrape.storage_error.is_some() {
            self.storage_failures.inc();
        }
        match &scrape.error {
            Some(crate::ScrapeError::SampleLimit) => self.sample_limit.inc(),
            Some(crate::ScrapeError::BucketLimit) => self.bucket_limit.inc(),
            Some(crate::ScrapeError::LabelLimit(_)) => self.label_limit.inc(),
            Some(crate::ScrapeError::BodySize) => self.body_size_limit.inc(),
            _ => {}
        }
    }

    pub(crate) fn collect(&self, out: &mut Families) {
        let counters: [(&'static str, &'static str, &Counter); 13] = [
            (
                "prometheus_target_scrape_pools_total",
                "Total number of scrape pool creation attempts.",
                &self.pools,
            ),
            (
                "prometheus_target_scrape_pools_failed_total",
                "Total number of scrape pool creations that failed.",
                &self.pools_failed,
            ),
            (
                "prometheus_target_scrape_pool_reloads_total",
                "Total number of scrape pool reloads.",
                &self.reloads,
            ),
            (
                "prometheus_target_scrape_pool_reloads_failed_total",
                "Total number of failed scrape pool reloads.",
                &self.reloads_failed,
            ),
            (
                "prometheus_target_scrape_pool_exceeded_target_limit_total",
                "Total number of times scrape pools hit the target limit, during sync or config reload.",
                &self.target_limit,
            ),
            (
                "prometheus_target_scrape_pool_exceeded_label_limits_total",
                "Total number of times scrape pools hit the label limits, during sync or config reload.",
                &self.label_limit,
            ),
            (
                "prometheus_target_scrapes_exceeded_sample_limit_total",
                "Total number of scrapes that hit the sample limit and were rejected.",
                &self.sample_limit,
            ),
            (
                "prometheus_target_scrapes_exceeded_body_size_limit_total",
                "Total number of scrapes that hit the body size limit",
                &self.body_size_limit,
            ),
            (
                "prometheus_target_scrapes_sample_duplicate_timestamp_total",
                "Total number of samples rejected due to duplicate timestamps but different values.",
                &self.duplicates,
            ),
            (
                "prometheus_target_scrapes_sample_out_of_order_total",
                "Total number of samples rejected due to not being out of the expected order.",
                &self.out_of_order,
            ),
            (
                "prometheus_target_scrapes_sample_out_of_bounds_total",
                "Total number of samples rejected due to timestamp falling outside of the time bounds.",
                &self.out_of_bounds,
            ),
            (
                "prometheus_target_scrapes_exemplar_out_of_order_total",
                "Total number of exemplar rejected due to not being out of the expected order.",
                &self.exemplars_out_of_order,
            ),
            (
                "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total",
                "Total number of scrapes that hit the native histogram bucket limit and were rejected.",
                &self.bucket_limit,
            ),
        ];
        for (name, help, counter) in counters {
            out.counter(name, help, counter.value() as f64);
        }
        out.counter(
            "firesteel_scrape_storage_failures_total",
            "Scrapes of which the storage took nothing, not even the report.",
            self.storage_failures.value() as f64,
        );
        for (interval, lengths) in lock(&self.intervals).iter() {
            let labels = [("interval", &*duration::format(*interval))];
            out.add(
                "prometheus_target_interval_length_seconds",
                MetricType::Summary,
                "Actual intervals between scrapes.",
                &labels,
                lengths.summary.point(),
            );
            out.add(
                "prometheus_target_interval_length_histogram_seconds",
                MetricType::Histogram,
                "Actual intervals between scrapes.",
                &labels,
                lengths.histogram.point(),
            );
        }
    }
}

/// What a pool looks like when metrics are collected.
pub(crate) struct PoolState<'a> {
    pub(crate) name: &'a str,
    pub(crate) targets: usize,
    pub(crate) target_limit: u64,
    pub(crate) metadata: (usize, usize),
    pub(crate) cache_bytes: usize,
}

impl PoolMetrics {
    pub(crate) fn collect(&self, pool: &PoolState<'_>, out: &mut Families) {
        let labels = [("scrape_job", pool.name)];
        let mut add = |name, kind, help, point| out.add(name, kind, help, &labels, point);
        let gauges = [
            (
                "prometheus_target_scrape_pool_targets",
                "Current number of targets in this scrape pool.",
                pool.targets as f64,
            ),
            (
                "prometheus_target_scrape_pool_target_limit",
                "Maximum number of targets allowed in this scrape pool.",
                pool.target_limit as f64,
            ),
            (
                "prometheus_target_metadata_cache_entries",
                "Total number of metric metadata entries in the cache",
                pool.metadata.0 as f64,
            ),
            (
                "prometheus_target_metadata_cache_bytes",
                "The number of bytes that are currently used for storing metric metadata in the cache",
                pool.metadata.1 as f64,
            ),
            (
                "firesteel_scrape_cache_bytes",
                "Bytes kept about the lines of the targets' last pages.",
                pool.cache_bytes as f64,
            ),
        ];
        for (name, help, v) in gauges {
            add(name, MetricType::Gauge, help, Point::Value(v));
        }
        add(
            "prometheus_target_scrape_pool_sync_total",
            MetricType::Counter,
            "Total number of syncs that were executed on a scrape pool.",
            Point::Value(self.syncs.value() as f64),
        );
        add(
            "prometheus_target_sync_failed_total",
            MetricType::Counter,
            "Total number of target sync failures.",
            Point::Value(self.sync_failures.value() as f64),
        );
        add(
            "prometheus_target_sync_length_seconds",
            MetricType::Summary,
            "Actual interval to sync the scrape pool.",
            self.sync_lengths.summary.point(),
        );
        add(
            "prometheus_target_sync_length_histogram_seconds",
            MetricType::Histogram,
            "Actual interval to sync the scrape pool.",
            self.sync_lengths.histogram.point(),
        );
    }
}
