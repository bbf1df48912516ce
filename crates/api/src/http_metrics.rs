//! Metrics of the HTTP requests.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use firesteel_model::{
    MetricType,
    metrics::{Buckets, Collect, Families, Point},
};
use http::StatusCode;

/// Prometheus' buckets of `prometheus_http_request_duration_seconds`.
static BOUNDS: [f64; 9] = [0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0];

/// Counts and times by handler. Handlers come from the route table, so there are few.
#[derive(Default)]
pub(crate) struct HttpMetrics {
    handlers: Mutex<BTreeMap<String, Handler>>,
}

struct Handler {
    codes: BTreeMap<u16, u64>,
    seconds: Buckets,
}

impl HttpMetrics {
    pub(crate) fn observe(&self, handler: &str, status: StatusCode, took: Duration) {
        let mut handlers = self.handlers.lock().unwrap_or_else(|e| e.into_inner());
        if !handlers.contains_key(handler) {
            let new = Handler { codes: BTreeMap::new(), seconds: Buckets::new(&BOUNDS) };
            handlers.insert(handler.to_owned(), new);
        }
        if let Some(known) = handlers.get_mut(handler) {
            *known.codes.entry(status.as_u16()).or_default() += 1;
            known.seconds.observe(took.as_secs_f64());
        }
    }
}

impl Collect for HttpMetrics {
    fn collect(&self, out: &mut Families) {
        let handlers = self.handlers.lock().unwrap_or_else(|e| e.into_inner());
        for (name, handler) in &*handlers {
            for (code, count) in &handler.codes {
                out.add(
                    "prometheus_http_requests_total",
                    MetricType::Counter,
                    "Counter of HTTP requests.",
                    &[("code", &code.to_string()), ("handler", name)],
                    Point::Value(*count as f64),
                );
            }
            out.add(
                "prometheus_http_request_duration_seconds",
                MetricType::Histogram,
                "Histogram of latencies for HTTP requests.",
                &[("handler", name)],
                handler.seconds.point(),
            );
        }
    }
}
