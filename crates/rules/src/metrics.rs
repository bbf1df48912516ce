//! Metrics about rules, under Prometheus' names.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use firesteel_model::{
    MetricType,
    metrics::{Buckets, Counter, Families, Gauge, Point, Summary},
};

const BUCKETS: &[f64] = &[0.01, 0.1, 1.0, 10.0];

/// Durations as Prometheus shows them twice: as a summary and as a histogram.
#[derive(Debug)]
struct Lengths {
    summary: Summary,
    histogram: Buckets,
}

impl Lengths {
    fn new(quantiles: &'static [f64]) -> Self {
        Self { summary: Summary::new(quantiles), histogram: Buckets::new(BUCKETS) }
    }

    fn observe(&self, length: Duration) {
        self.summary.observe(length.as_secs_f64());
        self.histogram.observe(length.as_secs_f64());
    }
}

/// The metrics of all groups together.
#[derive(Debug)]
pub(crate) struct RuleMetrics {
    evaluations: Lengths,
    iterations: Lengths,
}

impl Default for RuleMetrics {
    fn default() -> Self {
        Self {
            evaluations: Lengths::new(&[0.5, 0.9, 0.99]),
            iterations: Lengths::new(&[0.01, 0.05, 0.5, 0.9, 0.99]),
        }
    }
}

impl RuleMetrics {
    pub(crate) fn evaluated(&self, took: Duration) {
        self.evaluations.observe(took);
    }

    pub(crate) fn iterated(&self, took: Duration) {
        self.iterations.observe(took);
    }

    pub(crate) fn collect(&self, out: &mut Families) {
        let rule = "The duration for a rule to execute.";
        let group = "The duration of rule group evaluations.";
        let mut add = |name, kind, help, point| out.add(name, kind, help, &[], point);
        let (summary, histogram) = (MetricType::Summary, MetricType::Histogram);
        let (rules, groups) = (&self.evaluations, &self.iterations);
        add("prometheus_rule_evaluation_duration_seconds", summary, rule, rules.summary.point());
        add(
            "prometheus_rule_evaluation_duration_histogram_seconds",
            histogram,
            rule,
            rules.histogram.point(),
        );
        add("prometheus_rule_group_duration_seconds", summary, group, groups.summary.point());
        add(
            "prometheus_rule_group_duration_histogram_seconds",
            histogram,
            group,
            groups.histogram.point(),
        );
    }
}

/// The metrics of a group.
#[derive(Debug, Default)]
pub(crate) struct GroupMetrics {
    pub(crate) missed: Counter,
    pub(crate) scheduled: Counter,
    pub(crate) evaluations: Counter,
    pub(crate) failures: Counter,
    pub(crate) samples: AtomicU64,
    /// Seconds.
    pub(crate) last_evaluation: Gauge,
    pub(crate) last_duration: Gauge,
    pub(crate) last_rule_duration_sum: Gauge,
    pub(crate) last_restore_duration: Gauge,
}

impl GroupMetrics {
    pub(crate) fn collect(&self, key: &str, interval: Duration, rules: usize, out: &mut Families) {
        let labels = [("rule_group", key)];
        for (name, help, counter) in [
            (
                "prometheus_rule_group_iterations_missed_total",
                "The total number of rule group evaluations missed due to slow rule group evaluation.",
                &self.missed,
            ),
            (
                "prometheus_rule_group_iterations_total",
                "The total number of scheduled rule group evaluations, whether executed or missed.",
                &self.scheduled,
            ),
            (
                "prometheus_rule_evaluations_total",
                "The total number of rule evaluations.",
                &self.evaluations,
            ),
            (
                "prometheus_rule_evaluation_failures_total",
                "The total number of rule evaluation failures.",
                &self.failures,
            ),
        ] {
            let value = Point::Value(counter.value() as f64);
            out.add(name, MetricType::Counter, help, &labels, value);
        }
        for (name, help, value) in [
            (
                "prometheus_rule_group_interval_seconds",
                "The interval of a rule group.",
                interval.as_secs_f64(),
            ),
            (
                "prometheus_rule_group_last_evaluation_timestamp_seconds",
                "The timestamp of the last rule group evaluation in seconds.",
                self.last_evaluation.value(),
            ),
            (
                "prometheus_rule_group_last_duration_seconds",
                "The duration of the last rule group evaluation.",
                self.last_duration.value(),
            ),
            (
                "prometheus_rule_group_last_rule_duration_sum_seconds",
                "The sum of time in seconds it took to evaluate each rule in the group regardless of concurrency. \
                 This should be higher than the group duration if rules are evaluated concurrently.",
                self.last_rule_duration_sum.value(),
            ),
            (
                "prometheus_rule_group_last_restore_duration_seconds",
                "The duration of the last alert rules alerts restoration using the `ALERTS_FOR_STATE` series.",
                self.last_restore_duration.value(),
            ),
            ("prometheus_rule_group_rules", "The number of rules.", rules as f64),
            (
                "prometheus_rule_group_last_evaluation_samples",
                "The number of samples returned during the last rule group evaluation.",
                self.samples.load(Ordering::Relaxed) as f64,
            ),
        ] {
            out.add(name, MetricType::Gauge, help, &labels, Point::Value(value));
        }
    }
}
