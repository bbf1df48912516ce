//! A program's own metrics, appended without HTTP.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::values;
use firesteel_model::{
    Labels, MetricType,
    metrics::{Collect, Families, Point},
    storage::memory::MemoryStorage,
};
use firesteel_scrape::InProcess;

fn labels() -> Labels {
    Labels::from_pairs([("job", "me"), ("instance", "here")])
}

/// A gauge that is there from time to time.
struct Own(bool);

impl Collect for Own {
    fn collect(&self, out: &mut Families) {
        out.counter("own_total", "Own.", 1.0);
        if self.0 {
            out.add("own_size", MetricType::Gauge, "Size.", &[("of", "x")], Point::Value(2.0));
        }
    }
}

#[test]
fn own_metrics_come_and_go_without_a_report() {
    let storage = MemoryStorage::new();
    let mut bridge = InProcess::new(&labels());
    for (i, there) in [true, true, false, true].into_iter().enumerate() {
        let own: &dyn Collect = &Own(there);
        let done = bridge.append(own, &storage, 1000 * (i as i64 + 1)).unwrap();
        assert_eq!(done.scraped, 1 + u64::from(there));
    }
    bridge.end(&storage, 5000).unwrap();
    assert_eq!(values(&storage, "own_total"), ["here 1 1 1 1 stale"]);
    assert_eq!(values(&storage, "own_size"), ["here 2 2 stale 2 stale"]);
    assert!(values(&storage, "up").is_empty());
}

#[cfg(feature = "prometheus-client")]
#[test]
fn a_registry_of_prometheus_client() {
    use prometheus_client::{
        metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
        registry::Registry,
    };

    let requests = Family::<Vec<(String, String)>, Counter>::default();
    let (size, took) = (Gauge::<i64>::default(), Histogram::new([0.5, 1.0]));
    let mut registry = Registry::default();
    registry.register("requests", "Requests", requests.clone());
    registry.register("size", "Size", size.clone());
    registry.register("took_seconds", "Time", took.clone());
    let storage = MemoryStorage::new();
    let mut bridge = InProcess::new(&labels());
    for time in [1000, 2000] {
        requests.get_or_create(&vec![("code".to_owned(), "200".to_owned())]).inc();
        size.set(-3);
        took.observe(0.7);
        bridge.append(&registry, &storage, time).unwrap();
    }
    assert_eq!(values(&storage, "requests_total"), ["here 1 2"]);
    assert_eq!(values(&storage, "size"), ["here -3 -3"]);
    assert_eq!(values(&storage, "took_seconds_bucket"), ["here 1 2", "here 0 0", "here 1 2"]);
    assert_eq!(values(&storage, "took_seconds_count"), ["here 1 2"]);
}

#[cfg(feature = "metrics")]
#[test]
fn the_macros_of_metrics() {
    let recorder = firesteel_scrape::Recorder::with_buckets(&[1.0]);
    let storage = MemoryStorage::new();
    let mut bridge = InProcess::new(&labels());
    metrics::with_local_recorder(&recorder, || {
        metrics::describe_counter!("http.requests", "Requests.");
        for time in [1000, 2000] {
            metrics::counter!("http.requests", "status.code" => "200").increment(2);
            metrics::gauge!("size").set(1.5);
            metrics::histogram!("took").record(0.5);
            // The name is a counter's already.
            metrics::gauge!("http.requests").set(9.0);
            bridge.append(&recorder, &storage, time).unwrap();
        }
    });
    assert_eq!(values(&storage, "http_requests"), ["here 2 4"]);
    assert_eq!(values(&storage, "size"), ["here 1.5 1.5"]);
    assert_eq!(values(&storage, "took_bucket"), ["here 1 2", "here 1 2"]);
    assert_eq!(values(&storage, "took_sum"), ["here 0.5 1"]);
}
