//! Metrics of the notifier, under Prometheus' names.

use std::time::Duration;

use firesteel_model::{
    MetricType,
    metrics::{Buckets, Counter, Families, Point, Summary},
};

/// What was sent to one address.
#[derive(Debug)]
pub(super) struct SenderMetrics {
    pub(super) sent: Counter,
    pub(super) errors: Counter,
    pub(super) dropped: Counter,
    latency: Summary,
    latency_histogram: Buckets,
}

impl Default for SenderMetrics {
    fn default() -> Self {
        Self {
            sent: Counter::new(),
            errors: Counter::new(),
            dropped: Counter::new(),
            latency: Summary::new(&[0.5, 0.9, 0.99]),
            latency_histogram: Buckets::new(&[0.01, 0.1, 1.0, 10.0]),
        }
    }
}

impl SenderMetrics {
    pub(super) fn took(&self, length: Duration) {
        self.latency.observe(length.as_secs_f64());
        self.latency_histogram.observe(length.as_secs_f64());
    }

    pub(super) fn collect(&self, url: &str, waiting: usize, out: &mut Families) {
        let mut add = |name, kind, help, point| {
            out.add(name, kind, help, &[("alertmanager", url)], point);
        };
        let (counter, value) = (MetricType::Counter, |c: &Counter| Point::Value(c.value() as f64));
        add(
            "prometheus_notifications_latency_seconds",
            MetricType::Summary,
            "Latency quantiles for sending alert notifications.",
            self.latency.point(),
        );
        add(
            "prometheus_notifications_latency_histogram_seconds",
            MetricType::Histogram,
            "Latency histogram for sending alert notifications.",
            self.latency_histogram.point(),
        );
        add(
            "prometheus_notifications_errors_total",
            counter,
            "Total number of sent alerts affected by errors.",
            value(&self.errors),
        );
        add(
            "prometheus_notifications_sent_total",
            counter,
            "Total number of alerts sent.",
            value(&self.sent),
        );
        add(
            "prometheus_notifications_dropped_total",
            counter,
            "Total number of alerts dropped due to errors when sending to Alertmanager.",
            value(&self.dropped),
        );
        add(
            "prometheus_notifications_queue_length",
            MetricType::Gauge,
            "The number of alert notifications in the queue.",
            Point::Value(waiting as f64),
        );
    }
}
