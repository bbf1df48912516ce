//! The metrics of discovery, by Prometheus' names.

use firesteel_model::{
    MetricType,
    metrics::{Collect, Counter, Families, Point},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Counts of one manager.
#[derive(Debug, Default)]
pub struct DiscoveryMetrics {
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    pub(crate) failed_configs: Mutex<usize>,
    pub(crate) file_read_errors: Counter,
    pub(crate) http_failures: Counter,
    /// Targets per job.
    pub(crate) discovered: Mutex<BTreeMap<String, usize>>,
}

impl Collect for DiscoveryMetrics {
    fn collect(&self, out: &mut Families) {
        let name = [("name", "scrape")];
        let failed = *self.failed_configs.lock().unwrap_or_else(PoisonError::into_inner);
        out.add(
            "prometheus_sd_failed_configs",
            MetricType::Gauge,
            "Current number of service discovery configurations that failed to load.",
            &name,
            Point::Value(failed as f64),
        );
        for (metric, help, count) in [
            (
                "prometheus_sd_received_updates_total",
                "Total number of update events received from the SD providers.",
                &self.received,
            ),
            (
                "prometheus_sd_updates_total",
                "Total number of update events sent to the SD consumers.",
                &self.sent,
            ),
        ] {
            let value = Point::Value(count.value() as f64);
            out.add(metric, MetricType::Counter, help, &name, value);
        }
        out.counter(
            "prometheus_sd_file_read_errors_total",
            "The number of File-SD read errors.",
            self.file_read_errors.value() as f64,
        );
        out.counter(
            "prometheus_sd_http_failures_total",
            "Number of HTTP service discovery refresh failures.",
            self.http_failures.value() as f64,
        );
        let discovered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner);
        for (job, targets) in &*discovered {
            out.add(
                "prometheus_sd_discovered_targets",
                MetricType::Gauge,
                "Current number of discovered targets.",
                &[("name", "scrape"), ("config", job)],
                Point::Value(*targets as f64),
            );
        }
    }
}
