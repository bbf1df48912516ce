//! Loops and managers on paused time, against targets that play a script.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Play, manager, manager_with, samples, values};
use firesteel_config::{DiscoveryConfig, ScrapeConfig, StaticGroup};
use firesteel_model::{
    Labels,
    metrics::{Collect, Families, Point},
    regex::Regex,
    relabel::{Action, RelabelConfig},
};
use firesteel_scrape::{Health, ScrapeManager};
use tokio::time::sleep;

fn job(name: &str, targets: &[&str]) -> ScrapeConfig {
    let mut config = ScrapeConfig::new(name);
    config.scrape_interval = Duration::from_secs(10);
    config.scrape_timeout = Duration::from_secs(5);
    let targets = targets.iter().map(|t| (*t).to_owned()).collect();
    config.discovery =
        vec![DiscoveryConfig::Static(vec![StaticGroup::new(targets, Labels::empty())])];
    config
}

fn apply(manager: &ScrapeManager, jobs: &[ScrapeConfig]) {
    manager.apply_jobs(jobs, &Labels::empty()).unwrap();
}

fn page(text: &str) -> Play {
    Play::Page(text.to_owned())
}

async fn seconds(n: u64) {
    sleep(Duration::from_secs(n)).await;
}

const A: &str = "http://a:1/metrics";
const B: &str = "http://b:1/metrics";

#[tokio::test(start_paused = true)]
async fn a_target_is_scraped_at_its_place_in_the_interval() {
    let (manager, storage, script) = manager();
    script.set(A, [page("m 1\n"), page("m 2\n"), Play::Fail("reset".into()), page("m 4\n")]);
    apply(&manager, &[job("j", &["a:1"])]);
    seconds(41).await;
    let m = &samples(&storage, "m")[0];
    assert_eq!(m.0, "a:1");
    let first = m.1[0].0;
    assert!((0..=10_000).contains(&first));
    let expected: Vec<i64> = (0..4).map(|i| first + i * 10_000).collect();
    assert_eq!(m.1.iter().map(|s| s.0).collect::<Vec<_>>(), expected);
    assert_eq!(values(&storage, "m"), ["a:1 1 2 stale 4"]);
    assert_eq!(values(&storage, "up"), ["a:1 1 1 0 1"]);
    let request = script.requests.lock().unwrap()[0].clone();
    assert!(request.accept.starts_with("application/openmetrics-text;version=1.0.0;escaping="));
    assert_eq!((request.timeout, request.compression), (Duration::from_secs(5), true));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_times_out_and_disturbs_nobody() {
    let (manager, storage, script) = manager();
    script.set(A, [Play::Hang]);
    script.set(B, [page("m 1\n")]);
    apply(&manager, &[job("j", &["a:1", "b:1"])]);
    seconds(30).await;
    let up = values(&storage, "up");
    assert!(up[0].starts_with("a:1 0 0"), "{up:?}");
    assert!(up[1].starts_with("b:1 1 1"), "{up:?}");
    let duration = &samples(&storage, "scrape_duration_seconds")[0].1;
    assert!(duration.iter().all(|(_, v)| (v - 5.0).abs() < 0.01), "{duration:?}");
    let pools = manager.targets();
    let (a, b) = (&pools[0].active[0], &pools[0].active[1]);
    assert_eq!((a.health, b.health), (Health::Down, Health::Up));
    assert_eq!(a.last_error, "Get \"http://a:1/metrics\": context deadline exceeded");
    assert_eq!((&*b.last_error, &*b.scrape_url, &*b.scrape_pool), ("", B, "j"));
    assert_eq!(b.labels.to_string(), r#"{instance="b:1", job="j"}"#);
    assert_eq!(b.discovered_labels.get("__address__"), Some("b:1"));
}

#[tokio::test(start_paused = true)]
async fn a_removed_target_leaves_markers_after_two_intervals() {
    let (manager, storage, script) = manager();
    script.set(A, [page("m 1\n")]);
    script.set(B, [page("m 1\n")]);
    apply(&manager, &[job("j", &["a:1", "b:1"])]);
    seconds(25).await;
    apply(&manager, &[job("j", &["b:1"])]);
    seconds(8).await;
    assert_eq!(manager.targets()[0].active.len(), 1);
    assert!(!values(&storage, "m")[0].contains("stale"));
    seconds(30).await;
    let m = values(&storage, "m");
    assert!(m[0].ends_with("1 stale") && !m[1].contains("stale"), "{m:?}");
    assert!(values(&storage, "up")[0].ends_with("1 stale"));
    let asked = script.asked(A);
    seconds(60).await;
    assert_eq!(script.asked(A), asked);
    let m = &samples(&storage, "m")[0].1;
    let step = m[m.len() - 1].0 - m[m.len() - 2].0;
    assert_eq!(step % 10_000, 0, "the marker has the time of the next scrape");
}

#[tokio::test(start_paused = true)]
async fn unchanged_jobs_go_on_and_changed_ones_keep_their_series() {
    let (manager, storage, script) = manager();
    script.set(A, [page("m 1\n")]);
    script.set(B, [page("m 1\n")]);
    let mut first = job("first", &["a:1"]);
    apply(&manager, &[first.clone(), job("second", &["b:1"])]);
    seconds(25).await;
    let before = script.asked(B);
    first.extra_scrape_metrics = true;
    apply(&manager, &[first.clone(), job("second", &["b:1"])]);
    seconds(20).await;
    assert_eq!(script.asked(B), before + 2);
    assert!(!values(&storage, "scrape_timeout_seconds").is_empty());
    // Another interval is another target in Prometheus' eyes, but the series go on.
    first.scrape_interval = Duration::from_secs(5);
    apply(&manager, &[first, job("second", &["b:1"])]);
    seconds(60).await;
    let m = values(&storage, "m");
    assert!(m.iter().all(|m| !m.contains("stale")), "{m:?}");
    let added = &samples(&storage, "scrape_series_added")[0].1;
    assert_eq!(added.iter().map(|s| s.1).sum::<f64>(), 1.0, "{added:?}");
    let mut families = Families::new();
    manager.collect(&mut families);
    let families = families.into_sorted();
    let value = |name: &str| {
        let family = families.iter().find(|f| f.name == name).unwrap();
        let Point::Value(v) = family.points[0].1 else { panic!("a value") };
        v
    };
    assert_eq!(value("prometheus_target_scrape_pools_total"), 2.0);
    assert_eq!(value("prometheus_target_scrape_pool_reloads_total"), 2.0);
    assert_eq!(value("prometheus_target_scrape_pool_targets"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn too_many_targets_fail_all() {
    let (manager, storage, script) = manager();
    script.set(A, [page("m 1\n")]);
    let mut config = job("j", &["a:1", "b:1"]);
    config.limits.targets = 1;
    apply(&manager, &[config]);
    seconds(15).await;
    assert_eq!(script.requests.lock().unwrap().len(), 0);
    assert!(values(&storage, "up").iter().all(|up| up.ends_with(" 0")));
    assert_eq!(
        manager.targets()[0].active[0].last_error,
        "target_limit exceeded (number of targets: 2, limit: 1)"
    );
}

#[tokio::test(start_paused = true)]
async fn dropped_targets_are_remembered_and_duplicates_are_one() {
    let (manager, _storage, _script) = manager();
    let mut config = job("j", &["a:1", "a:1", "b:1", "c:1", "bad/address"]);
    config.relabel_configs = vec![RelabelConfig {
        source_labels: vec!["__address__".into()],
        regex: Regex::anchored("[bc].*:1").unwrap(),
        ..RelabelConfig::new(Action::Drop)
    }];
    config.limits.keep_dropped_targets = 1;
    apply(&manager, &[config]);
    seconds(1).await;
    let pool = &manager.targets()[0];
    assert_eq!((pool.active.len(), pool.dropped.len(), pool.dropped_count), (1, 1, 2));
    assert_eq!(pool.dropped[0].discovered_labels.get("__address__"), Some("b:1"));
}

#[tokio::test(start_paused = true)]
async fn metadata_is_there_per_target() {
    let (manager, _storage, script) = manager();
    script.set(A, [page("# HELP m Help.\n# TYPE m gauge\nm 1\n")]);
    apply(&manager, &[job("j", &["a:1"])]);
    seconds(11).await;
    let (name, targets) = manager.metadata().remove(0);
    let metadata = targets[0].metadata();
    assert_eq!((&*name, &*metadata[0].family), ("j", "m"));
    assert_eq!(&*metadata[0].metadata.help, "Help.");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_manager_stops_everything_without_markers() {
    let (manager, storage, script) = manager();
    script.set(A, [page("m 1\n")]);
    script.set(B, [Play::Hang]);
    apply(&manager, &[job("j", &["a:1", "b:1"])]);
    seconds(25).await;
    manager.shutdown().await;
    drop(manager);
    let asked = script.asked(A);
    seconds(100).await;
    assert_eq!(script.asked(A), asked);
    assert!(!values(&storage, "m")[0].contains("stale"));
}

#[tokio::test(start_paused = true)]
async fn a_page_beyond_the_budget_fails_its_scrape_alone() {
    let budget = firesteel_model::budget::Budget::root("scrape", 200 * 1024);
    let (manager, storage, script) = manager_with(|o| o.budget = budget.clone());
    script.set(A, [page("m 1\n")]);
    script.set(B, [page(&format!("m 1\n#{}\n", "x".repeat(300 * 1024)))]);
    apply(&manager, &[job("j", &["a:1", "b:1"])]);
    seconds(11).await;
    let up = values(&storage, "up");
    assert!(up[0].starts_with("a:1 1") && up[1].starts_with("b:1 0"), "{up:?}");
    let error = &manager.targets()[0].active[1].last_error;
    assert!(error.contains("memory limit \"scrape\" reached"), "{error}");
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_place_of_discovery_replaces_the_targets() {
    let (manager, _storage, _script) = manager();
    apply(&manager, &[job("j", &["a:1"])]);
    seconds(1).await;
    apply(&manager, &[job("j", &["b:1"])]);
    // What discovery says is gathered for five seconds, as in Prometheus.
    seconds(6).await;
    let active = &manager.targets()[0].active;
    assert_eq!((active.len(), &*active[0].scrape_url), (1, B));
    apply(&manager, &[]);
    assert!(manager.targets().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_scrapes_are_logged_to_the_file_that_the_job_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("failures.log");
    let (manager, storage, script) = manager();
    script.set(A, [Play::Fail("connection \"reset\"".into()), page("m 1\n"), page("{ not\n")]);
    let mut config = job("j", &["a:1"]);
    apply(&manager, std::slice::from_ref(&config));
    config.scrape_failure_log_file = Some(file.clone());
    apply(&manager, std::slice::from_ref(&config));
    seconds(35).await;
    assert_eq!(values(&storage, "up"), ["a:1 0 1 0 0"]);
    let log = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 1, "a page that came is not logged: {log}");
    assert!(lines[0].starts_with("{\"time\":\""), "{log}");
    let end = "\"msg\":\"connection \\\"reset\\\"\",\"job_name\":\"j\",\"target\":\"http://a:1/metrics\"}";
    assert!(lines[0].ends_with(end), "{log}");
    // A file that cannot be opened leaves everything as it is.
    let mut other = config.clone();
    other.scrape_failure_log_file = Some(folder.path().join("no/such/folder"));
    other.scrape_interval = Duration::from_secs(1);
    let error = manager.apply_jobs(&[other], &Labels::empty()).unwrap_err().to_string();
    assert!(error.starts_with("can't create json log file: open "), "{error}");
    assert_eq!(manager.targets()[0].active[0].scrape_interval, Duration::from_secs(10));
}
