//! Rules that return very many series are refused in time and in bounded memory, say so, and disturb
//! nothing else.
//!
//! Where this process may make cgroups the server runs in one of 512 MiB, else its anonymous memory
//! alone is watched.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

#[path = "support/cgroup.rs"]
mod cgroup;
mod support;

use std::{
    fmt::Write as _,
    fs,
    ops::Range,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cgroup::{Group, anonymous_memory};
use firesteel_model::wire::Writer;
use serde_json::Value;
use support::{Server, get, metrics_target, now_ms, request, wait_for};

/// What the server may use.
const LIMIT: u64 = 512 << 20;
/// Series in the storage.
const STORED: usize = 10_000;
/// How often a rule has each of them: ten million series in all.
const COPIES: usize = 1000;
/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(20);
/// How long one evaluation of a hostile rule may take: less than the timeout of queries allows.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a query of a dashboard may take meanwhile.
const QUICK: Duration = Duration::from_secs(5);

/// A remote write request with one sample of `count` series.
fn many_series(from: usize, count: usize, t: i64) -> Vec<u8> {
    let mut body = Vec::new();
    let mut out = Writer::new(&mut body);
    for i in from..from + count {
        out.message(1, |series| {
            let value = format!("value-of-a-label-{i}");
            for (name, value) in [("__name__", "m"), ("label", value.as_str())] {
                series.message(1, |label| {
                    label.bytes(1, name.as_bytes());
                    label.bytes(2, value.as_bytes());
                });
            }
            series.message(2, |sample| {
                sample.double(1, 1.0);
                sample.int64(2, t);
            });
        });
    }
    snap::raw::Encoder::new().compress_vec(&body).unwrap()
}

/// Writes `count` series of `m`.
fn store(server: &Server, count: usize) {
    let t = now_ms() as i64;
    for from in (0..count).step_by(10_000) {
        let headers =
            [("Content-Encoding", "snappy"), ("X-Prometheus-Remote-Write-Version", "0.1.0")];
        let body = many_series(from, 10_000.min(count - from), t);
        let answer = request(server.address, "POST", "/api/v1/write", &headers, &body).unwrap();
        assert!(matches!(answer.0, 200 | 204), "{}", String::from_utf8_lossy(&answer.1));
    }
}

/// All stored series, with a number as another label.
fn copy(n: usize) -> String {
    format!("label_replace(m, 'copy', '{n}', '', '')")
}

/// So many copies, each added to all before it.
fn chain(count: usize) -> String {
    (0..count).map(copy).collect::<Vec<_>>().join(" or ")
}

/// Copies of a range, halves added to halves.
fn tree(copies: Range<usize>) -> String {
    if copies.len() == 1 {
        return copy(copies.start);
    }
    let middle = copies.start + copies.len() / 2;
    format!("({} or {})", tree(copies.start..middle), tree(middle..copies.end))
}

/// Writes these rules, and a configuration with a page to scrape.
fn configure(folder: &Path, rules: &str) {
    let target = metrics_target(|n| format!("scraped {n}\n"));
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: [rules.yml]\nscrape_configs:\n\
         - job_name: test\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    fs::write(folder.join("prometheus.yml"), config).unwrap();
    fs::write(folder.join("rules.yml"), rules).unwrap();
}

/// Groups of one rule each: its kind, limit and expression.
fn groups(all: &[(&str, usize, &str, &str)]) -> String {
    let mut text = "groups:\n".to_owned();
    for (group, limit, kind, expr) in all {
        let _ = writeln!(text, "- name: {group}\n  limit: {limit}\n  rules:");
        let _ = writeln!(text, "  - {kind}: {}\n    expr: \"{expr}\"", group.replace(' ', "_"));
    }
    text
}

/// The only rule of a group.
fn rule(server: &Server, group: &str) -> Value {
    let groups = server.api("rules")["groups"].as_array().unwrap().clone();
    groups.into_iter().find(|g| g["name"] == group).unwrap()["rules"][0].clone()
}

/// The distances of a series' samples of the last seconds.
fn distances(server: &Server, series: &str, seconds: u64) -> Vec<f64> {
    let found = server.query(&format!("{series}[{seconds}s]"));
    let values = found[0]["values"].as_array().unwrap();
    let times: Vec<f64> = values.iter().map(|v| v[0].as_f64().unwrap()).collect();
    times.windows(2).map(|w| w[1] - w[0]).collect()
}

#[test]
fn ten_million_series_are_refused_and_disturb_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, tree, large) = (chain(COPIES), tree(0..COPIES), chain(5));
    let rules = groups(&[
        ("recorded", 0, "record", &tree),
        ("chained", 0, "record", &chain),
        ("alerted", 0, "alert", &tree),
        ("limited", 1000, "record", &large),
        ("limited alert", 1000, "alert", &large),
        ("calm", 0, "record", "scraped"),
    ]);
    configure(folder.path(), &rules);
    let limit = LIMIT.to_string();
    let group = Group::make("ten-million", LIMIT);
    let server = Server::start_in(
        folder.path(),
        &["--web.enable-remote-write-receiver"],
        &[("GOMEMLIMIT", &limit)],
    );
    let limited = group.as_ref().is_some_and(|g| g.add(server.pid()));
    wait_for("a calm evaluation", || server.query("calm").get(0).map(drop));
    store(&server, STORED);
    // They share the memory of queries: a limited group may be refused for want of it at times, but
    // has its own limit exceeded at others.
    let hostile = [
        ("recorded", "memory limit"),
        ("chained", "memory limit"),
        ("alerted", "memory limit"),
        ("limited", "exceeded limit of 1000 with 50000 series"),
        ("limited alert", "exceeded limit of 1000 with 50000 alerts"),
    ];
    let mut told = [const { String::new() }; 5];
    let (mut peak, mut slowest, mut longest) = (0, Duration::ZERO, 0.0_f64);
    let began = Instant::now();
    while began.elapsed() < WATCHED || told.iter().any(String::is_empty) {
        assert!(began.elapsed() < PATIENCE, "not every rule was refused: {told:?}");
        let asked = Instant::now();
        assert_eq!(server.query("count(scraped)")[0]["value"][1], "1");
        slowest = slowest.max(asked.elapsed());
        for ((group, expected), told) in hostile.into_iter().zip(&mut told) {
            let rule = rule(&server, group);
            longest = longest.max(rule["evaluationTime"].as_f64().unwrap());
            let error = rule["lastError"].as_str().unwrap_or_default();
            if rule["health"] == "err" && error.contains(expected) {
                *told = format!("after {} s: {error}", rule["evaluationTime"]);
            }
        }
        peak = peak.max(anonymous_memory(server.pid()));
        thread::sleep(Duration::from_millis(50));
    }
    for ((group, _), told) in hostile.into_iter().zip(&told) {
        println!("{group}: {told}");
        assert_ne!(rule(&server, group)["health"], "ok", "{group}");
    }
    println!(
        "{} MiB of anonymous memory at most; in a cgroup: {limited}; the longest evaluation took \
         {longest:.2} s, the slowest query {slowest:.2?}",
        peak >> 20
    );
    // Where it was killed nothing answers; here it has even kept its distance.
    assert!(peak < LIMIT, "{} MiB", peak >> 20);
    assert!(longest < PATIENCE.as_secs_f64() && slowest < QUICK, "{longest} {slowest:?}");
    // The other group and the target had their turn each second.
    let watched = began.elapsed().as_secs();
    for series in ["calm", "scraped"] {
        let distances = distances(&server, series, watched);
        let longest = distances.iter().copied().fold(0.0, f64::max);
        println!("{series}: {} samples, at most {longest:.3} s apart", distances.len() + 1);
        assert!(distances.len() as u64 * 2 > watched && longest < 5.0, "{series}: {distances:?}");
    }
    let (status, body) = get(server.address, "/metrics").unwrap();
    let missed = "prometheus_rule_group_iterations_missed_total{rule_group=\"rules.yml;calm\"} 0";
    assert!(status == 200 && String::from_utf8(body).unwrap().contains(missed));
    assert!(server.stop().success());
}

#[test]
fn an_alert_of_very_many_series_is_refused_and_disturbs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rules = groups(&[("many", 0, "alert", "m == 1"), ("calm", 0, "record", "vector(1)")]);
    configure(folder.path(), &rules);
    let server = Server::start_in(
        folder.path(),
        &["--web.enable-remote-write-receiver"],
        &[("GOMEMLIMIT", "400MiB")],
    );
    store(&server, 300_000);
    let error =
        wait_for("the refusal", || Some(rule(&server, "many")["lastError"].as_str()?.to_owned()));
    println!("{error}");
    assert!(error.contains("memory limit"), "{error}");
    // What an evaluation found before all series were there stays, as after any failed one.
    assert!(rule(&server, "many")["alerts"].as_array().unwrap().len() < 300_000);
    wait_for("the other group", || {
        let count = server.query("count_over_time(calm[1m])");
        let count: f64 = count[0]["value"][1].as_str()?.parse().ok()?;
        (count >= 3.0).then_some(())
    });
    assert_eq!(rule(&server, "calm")["health"], "ok");
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024;
    println!("{peak} MiB resident at most");
    assert!(peak < 700, "{peak} MiB");
    assert!(server.stop().success());
}

#[test]
fn series_that_are_others_each_time_are_refused_when_memory_is_short() {
    let folder = tempfile::tempdir().unwrap();
    // Each evaluation is below the limits, and all that it records is new.
    let churn = format!("({}) * on() group_left(t) count_values('t', vector(time()))", chain(10));
    let rules = groups(&[("churn", 0, "record", &churn), ("calm", 0, "record", "vector(1)")]);
    configure(folder.path(), &rules);
    let limit = LIMIT / 2;
    let group = Group::make("churn", limit);
    let server = Server::start_in(
        folder.path(),
        &["--web.enable-remote-write-receiver"],
        &[("GOMEMLIMIT", &limit.to_string())],
    );
    let limited = group.as_ref().is_some_and(|g| g.add(server.pid()));
    store(&server, STORED / 2);
    let mut peak = 0;
    let error = wait_for("the refusal", || {
        peak = peak.max(anonymous_memory(server.pid()));
        Some(rule(&server, "churn")["lastError"].as_str()?.to_owned())
    });
    // It stays so.
    let began = Instant::now();
    while began.elapsed() < WATCHED / 4 {
        peak = peak.max(anonymous_memory(server.pid()));
        thread::sleep(Duration::from_millis(50));
    }
    println!("{} MiB of anonymous memory at most; in a cgroup: {limited}; {error}", peak >> 20);
    assert!(error.contains("memory limit \"process\"") && peak < limit, "{error}");
    wait_for("the other group", || (rule(&server, "calm")["health"] == "ok").then_some(()));
    assert!(distances(&server, "calm", WATCHED.as_secs() / 4).iter().all(|&d| d < 5.0));
    assert!(server.stop().success());
}
