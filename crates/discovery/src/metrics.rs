//! The metrics of discovery, by Prometheus' names.

#![cfg_attr(not(feature = "all"), allow(dead_code, reason = "each is for one mechanism"))]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use firesteel_model::{
    MetricType,
    metrics::{Buckets, Collect, Counter, Families, Point, Summary},
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts of one manager.
#[derive(Debug)]
pub(crate) struct ManagerMetrics {
    /// The label `name`.
    name: &'static str,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    failed_configs: Mutex<usize>,
    /// Targets per job, and when they last changed.
    discovered: Mutex<BTreeMap<String, usize>>,
    updated: Mutex<Option<SystemTime>>,
}

impl ManagerMetrics {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            received: Counter::new(),
            sent: Counter::new(),
            failed_configs: Mutex::default(),
            discovered: Mutex::default(),
            updated: Mutex::default(),
        }
    }

    pub(crate) fn set_failed(&self, configs: usize) {
        *lock(&self.failed_configs) = configs;
    }

    pub(crate) fn set_discovered(&self, counts: BTreeMap<String, usize>) {
        *lock(&self.discovered) = counts;
        *lock(&self.updated) = Some(SystemTime::now());
    }
}

impl Collect for ManagerMetrics {
    fn collect(&self, out: &mut Families) {
        let name = [("name", self.name)];
        out.add(
            "prometheus_sd_failed_configs",
            MetricType::Gauge,
            "Current number of service discovery configurations that failed to load.",
            &name,
            Point::Value(*lock(&self.failed_configs) as f64),
        );
        for (metric, help, value) in [
            (
                "prometheus_sd_received_updates_total",
                "Total number of update events received from the SD providers.",
                self.received.value(),
            ),
            (
                // Ours are never delayed: a slow consumer finds the newest state, not a queue.
                "prometheus_sd_updates_delayed_total",
                "Total number of update events that couldn't be sent immediately.",
                0,
            ),
            (
                "prometheus_sd_updates_total",
                "Total number of update events sent to the SD consumers.",
                self.sent.value(),
            ),
        ] {
            out.add(metric, MetricType::Counter, help, &name, Point::Value(value as f64));
        }
        let updated = *lock(&self.updated);
        let updated = updated.and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        for (job, targets) in &*lock(&self.discovered) {
            let labels = [("name", self.name), ("config", job.as_str())];
            out.add(
                "prometheus_sd_discovered_targets",
                MetricType::Gauge,
                "Current number of discovered targets.",
                &labels,
                Point::Value(*targets as f64),
            );
            out.add(
                "prometheus_sd_last_update_timestamp_seconds",
                MetricType::Gauge,
                "Timestamp of the last update sent to the SD consumers.",
                &labels,
                Point::Value(updated.map_or(0.0, |t| t.as_secs_f64())),
            );
        }
    }
}

/// What refreshes of one mechanism for one job took.
#[derive(Debug)]
pub(crate) struct RefreshMetrics {
    failures: Counter,
    length: Summary,
    /// All jobs of the mechanism together.
    lengths: Arc<Buckets>,
}

impl RefreshMetrics {
    pub(crate) fn observe(&self, length: Duration, ok: bool) {
        self.length.observe(length.as_secs_f64());
        self.lengths.observe(length.as_secs_f64());
        if !ok {
            self.failures.inc();
        }
    }
}

/// The events of Kubernetes, per role and kind of event.
#[derive(Debug, Default)]
pub(crate) struct KubernetesMetrics {
    events: [[Counter; 3]; 6],
    pub(crate) failures: Counter,
    requests: Mutex<BTreeMap<u16, u64>>,
}

const ROLES: [&str; 6] = ["endpointslice", "endpoints", "node", "pod", "service", "ingress"];
const EVENTS: [&str; 3] = ["add", "delete", "update"];

impl KubernetesMetrics {
    pub(crate) fn event(&self, role: &str, event: &str) {
        let at = |all: &[&str], one| all.iter().position(|known| *known == one);
        if let (Some(role), Some(event)) = (at(&ROLES, role), at(&EVENTS, event))
            && let Some(counter) = self.events.get(role).and_then(|events| events.get(event))
        {
            counter.inc();
        }
    }

    pub(crate) fn request(&self, status: u16) {
        *lock(&self.requests).entry(status).or_default() += 1;
    }
}

/// Counts of all mechanisms, whichever manager runs them.
#[derive(Debug, Default)]
pub struct DiscoveryMetrics {
    pub(crate) file_read_errors: Counter,
    pub(crate) file_watcher_errors: Counter,
    pub(crate) file_scans: Mutex<Option<Arc<Summary>>>,
    /// When files were last changed, by path.
    pub(crate) file_times: Mutex<BTreeMap<String, f64>>,
    pub(crate) http_failures: Counter,
    pub(crate) dns_lookups: Counter,
    pub(crate) dns_lookup_failures: Counter,
    pub(crate) consul_rpc_failures: Counter,
    consul_rpcs: Mutex<BTreeMap<(&'static str, &'static str), Arc<Summary>>>,
    pub(crate) kubernetes: KubernetesMetrics,
    refreshes: Mutex<BTreeMap<(&'static str, String), Arc<RefreshMetrics>>>,
    lengths: Mutex<BTreeMap<&'static str, Arc<Buckets>>>,
}

const QUANTILES: &[f64] = &[0.5, 0.9, 0.99];

impl DiscoveryMetrics {
    /// The metrics of a mechanism's refreshes for a job.
    pub(crate) fn refresh(&self, mechanism: &'static str, job: &str) -> Arc<RefreshMetrics> {
        let lengths = lock(&self.lengths)
            .entry(mechanism)
            .or_insert_with(|| Arc::new(Buckets::new(&[0.01, 0.1, 1.0, 10.0])))
            .clone();
        let length = Summary::new(QUANTILES);
        let new = Arc::new(RefreshMetrics { failures: Counter::new(), length, lengths });
        lock(&self.refreshes).insert((mechanism, job.to_owned()), new.clone());
        new
    }

    /// The refreshes have ended; a reload may have begun others for the same job.
    pub(crate) fn forget_refresh(
        &self,
        mechanism: &'static str,
        job: &str,
        ended: &Arc<RefreshMetrics>,
    ) {
        let mut refreshes = lock(&self.refreshes);
        let key = (mechanism, job.to_owned());
        if refreshes.get(&key).is_some_and(|known| Arc::ptr_eq(known, ended)) {
            refreshes.remove(&key);
        }
    }

    pub(crate) fn file_scanned(&self, length: Duration) {
        let mut scans = lock(&self.file_scans);
        let scans = scans.get_or_insert_with(|| Arc::new(Summary::new(QUANTILES)));
        scans.observe(length.as_secs_f64());
    }

    pub(crate) fn file_changed(&self, path: &str, changed: Option<SystemTime>) {
        let since = changed.and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let mut times = lock(&self.file_times);
        match since {
            Some(since) => times.insert(path.to_owned(), since.as_secs() as f64),
            None => times.remove(path),
        };
    }

    pub(crate) fn consul_rpc(&self, endpoint: &'static str, call: &'static str, length: Duration) {
        let summary = lock(&self.consul_rpcs)
            .entry((endpoint, call))
            .or_insert_with(|| Arc::new(Summary::new(QUANTILES)))
            .clone();
        summary.observe(length.as_secs_f64());
    }

    fn collect_refreshes(&self, out: &mut Families) {
        for ((mechanism, job), metrics) in &*lock(&self.refreshes) {
            let labels = [("mechanism", *mechanism), ("config", job.as_str())];
            out.add(
                "prometheus_sd_refresh_failures_total",
                MetricType::Counter,
                "Number of refresh failures for the given SD mechanism.",
                &labels,
                Point::Value(metrics.failures.value() as f64),
            );
            out.add(
                "prometheus_sd_refresh_duration_seconds",
                MetricType::Summary,
                "The duration of a refresh in seconds for the given SD mechanism.",
                &labels,
                metrics.length.point(),
            );
        }
        for (mechanism, lengths) in &*lock(&self.lengths) {
            out.add(
                "prometheus_sd_refresh_duration_histogram_seconds",
                MetricType::Histogram,
                "The duration of a refresh for the given SD mechanism.",
                &[("mechanism", *mechanism)],
                lengths.point(),
            );
        }
    }

    fn collect_kubernetes(&self, out: &mut Families) {
        for (role, events) in ROLES.iter().zip(&self.kubernetes.events) {
            for (event, count) in EVENTS.iter().zip(events) {
                out.add(
                    "prometheus_sd_kubernetes_events_total",
                    MetricType::Counter,
                    "The number of Kubernetes events handled.",
                    &[("role", *role), ("event", *event)],
                    Point::Value(count.value() as f64),
                );
            }
        }
        out.counter(
            "prometheus_sd_kubernetes_failures_total",
            "The number of failed WATCH/LIST requests.",
            self.kubernetes.failures.value() as f64,
        );
        for (status, count) in &*lock(&self.kubernetes.requests) {
            let status = match status {
                0 => "<error>".to_owned(),
                status => status.to_string(),
            };
            out.add(
                "prometheus_sd_kubernetes_http_request_total",
                MetricType::Counter,
                "Total number of HTTP requests to the Kubernetes API by status code.",
                &[("status_code", &status)],
                Point::Value(*count as f64),
            );
        }
    }
}

impl Collect for DiscoveryMetrics {
    fn collect(&self, out: &mut Families) {
        for (name, help, count) in [
            (
                "prometheus_sd_file_read_errors_total",
                "The number of File-SD read errors.",
                &self.file_read_errors,
            ),
            (
                "prometheus_sd_file_watcher_errors_total",
                "The number of File-SD errors caused by filesystem watch failures.",
                &self.file_watcher_errors,
            ),
            (
                "prometheus_sd_http_failures_total",
                "Number of HTTP service discovery refresh failures.",
                &self.http_failures,
            ),
            ("prometheus_sd_dns_lookups_total", "The number of DNS-SD lookups.", &self.dns_lookups),
            (
                "prometheus_sd_dns_lookup_failures_total",
                "The number of DNS-SD lookup failures.",
                &self.dns_lookup_failures,
            ),
            (
                "prometheus_sd_consul_rpc_failures_total",
                "The number of Consul RPC call failures.",
                &self.consul_rpc_failures,
            ),
        ] {
            out.counter(name, help, count.value() as f64);
        }
        if let Some(scans) = &*lock(&self.file_scans) {
            out.add(
                "prometheus_sd_file_scan_duration_seconds",
                MetricType::Summary,
                "The duration of the File-SD scan in seconds.",
                &[],
                scans.point(),
            );
        }
        for (path, time) in &*lock(&self.file_times) {
            out.add(
                "prometheus_sd_file_mtime_seconds",
                MetricType::Gauge,
                "Timestamp (mtime) of files read by FileSD. Timestamp is set at read time.",
                &[("filename", path.as_str())],
                Point::Value(*time),
            );
        }
        for ((endpoint, call), lengths) in &*lock(&self.consul_rpcs) {
            out.add(
                "prometheus_sd_consul_rpc_duration_seconds",
                MetricType::Summary,
                "The duration of a Consul RPC call in seconds.",
                &[("endpoint", *endpoint), ("call", *call)],
                lengths.point(),
            );
        }
        self.collect_kubernetes(out);
        self.collect_refreshes(out);
    }
}
