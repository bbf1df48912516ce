//! Side by side with the real Prometheus on a real node exporter: the same answers to queries from
//! public dashboards. `FIRESTEEL_SOAK_SECONDS` sets how long both scrape first (20).
//!
//! The two scrape at different moments, so one may see a counter rise before its first scrape, the
//! other after. Between them and the exporter stands a [`Front`], which at the beginning and at the
//! end always shows the same page: so both see each counter rise by the same, and gauges rest.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;
use support::{
    Process, Server, api_data, conformance, escape, free_address, get, now_ms, peer, prometheus,
    target, wait_for,
};

/// How many queries are compared, and how many of them must find something.
const QUERIES: usize = 60;
const NON_EMPTY: usize = 45;
/// Both have scraped the last page several times by then, and what is asked is a little in the past.
const SETTLED: Duration = Duration::from_secs(7);
/// A value rests if it is what it was so long ago.
const BEFORE: Duration = Duration::from_secs(5);

/// Shows the exporter's page, or always the same one.
#[derive(Clone)]
struct Front {
    exporter: SocketAddr,
    frozen: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Front {
    fn of(exporter: SocketAddr) -> Self {
        Self { exporter, frozen: Arc::default() }
    }

    fn freeze(&self) {
        let (_, page) = get(self.exporter, "/metrics").unwrap();
        *self.frozen.lock().unwrap() = Some(page);
    }

    fn thaw(&self) {
        *self.frozen.lock().unwrap() = None;
    }

    fn listen(&self) -> SocketAddr {
        let front = self.clone();
        target(move |_, stream| {
            let frozen = front.frozen.lock().unwrap().clone();
            let page = frozen.or_else(|| Some(get(front.exporter, "/metrics").ok()?.1));
            let Some(page) = page else { return };
            let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&page));
        })
    }
}

#[test]
fn answers_as_prometheus_does() {
    let (Some(program), Some(exporter)) = (peer("prometheus"), peer("prometheus-node-exporter"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let exporter_address = free_address();
    let listen = vec![format!("--web.listen-address={exporter_address}")];
    let _exporter = Process::start(&exporter, &listen, folder.path());
    wait_for("the exporter", || (get(exporter_address, "/metrics").ok()?.0 == 200).then_some(()));
    let front = Front::of(exporter_address);
    front.freeze();
    let target = front.listen();

    let config = folder.path().join("prometheus.yml");
    fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: node\n  static_configs:\n  - targets: ['{target}']\n"
        ),
    )
    .unwrap();
    let (_peer, theirs) =
        prometheus(&program, folder.path(), &folder.path().join("theirs"), &config, &[]);
    let server = Server::start(folder.path(), &[&format!("--config.file={}", config.display())]);
    let seconds = std::env::var("FIRESTEEL_SOAK_SECONDS").map_or(20, |s| s.parse().unwrap());
    for address in [theirs, server.address] {
        wait_for("several scrapes of the first page", || {
            let up = api_data(address, "query?query=count_over_time(up[1m])%20%3E%203");
            up["result"].as_array().filter(|r| !r.is_empty()).map(|_| ())
        });
    }
    front.thaw();
    thread::sleep(Duration::from_secs(seconds));

    let cores = thread::available_parallelism().unwrap().get() as f64;
    // The window must be full.
    let query = format!("sum(rate(node_cpu_seconds_total[{}s]))", (seconds / 2).min(60));
    let value = |address| {
        let data = api_data(address, &format!("query?query={}", escape(&query)));
        data["result"][0]["value"][1].as_str().map_or(f64::NAN, |v| v.parse().unwrap())
    };
    let (rate, expected) = (value(server.address), value(theirs));
    println!("{query} = {rate} on {cores} cores, Prometheus has {expected}");
    // Over short times the kernel's own accounting wavers; over long ones it must add up.
    assert!((rate / expected - 1.0).abs() < 0.1, "{rate} is not near {expected}: {}", server.log());
    assert!(seconds < 120 || (rate / cores - 1.0).abs() < 0.05, "{rate} is not near {cores}");
    front.freeze();
    thread::sleep(SETTLED + BEFORE);
    // What is at the edge of a short window may be in one answer alone. What differs three times in
    // a row differs.
    let mut failures = compare_queries(theirs, server.address);
    for _ in 0..2 {
        if failures.is_empty() {
            break;
        }
        thread::sleep(Duration::from_secs(4));
        failures = compare_queries(theirs, server.address);
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn compare_queries(theirs: SocketAddr, ours: SocketAddr) -> Vec<String> {
    let mut failures = Vec::new();
    let Some(file) = conformance("real/queries.jsonl") else { return failures };
    let time = now_ms() / 1000 - 3;
    let (mut compared, mut non_empty, mut values) = (0, 0, 0);
    for query in node_queries(&fs::read_to_string(file).unwrap()) {
        if compared == QUERIES {
            break;
        }
        let Some(expected) = vector(theirs, &query, time) else { continue };
        // Keep places for queries that find something.
        if expected.is_empty() && compared - non_empty >= QUERIES - NON_EMPTY {
            continue;
        }
        compared += 1;
        non_empty += usize::from(!expected.is_empty());
        let before = vector(theirs, &query, time - BEFORE.as_secs()).unwrap_or_default();
        let Some(found) = vector(ours, &query, time) else {
            failures.push(format!("{query}: no vector"));
            continue;
        };
        if found.keys().ne(expected.keys()) {
            failures.push(format!(
                "{query}: series {:?}\nexpected {:?}",
                found.keys(),
                expected.keys()
            ));
            continue;
        }
        for (labels, value) in &expected {
            let rests = before.get(labels).is_some_and(|b| b.to_bits() == value.to_bits());
            if rests {
                values += 1;
                if !close(found[labels], *value) {
                    failures
                        .push(format!("{query}: {labels}: {} instead of {value}", found[labels]));
                }
            }
        }
    }
    println!("{compared} queries, {non_empty} of them not empty, {values} resting values compared");
    assert!(
        compared == QUERIES && non_empty >= NON_EMPTY,
        "{compared} queries, {non_empty} not empty"
    );
    failures
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 0.02 * a.abs().max(b.abs())
}

/// An instant vector by its label sets, `None` for other results.
fn vector(address: SocketAddr, query: &str, time: u64) -> Option<BTreeMap<String, f64>> {
    let path = format!("query?query={}&time={time}", escape(query));
    let (status, _) = get(address, &format!("/api/v1/{path}")).unwrap();
    if status != 200 {
        return None;
    }
    let data = api_data(address, &path);
    if data["resultType"] != "vector" {
        return None;
    }
    let samples = data["result"].as_array()?.clone();
    samples
        .iter()
        .map(|s| Some((s["metric"].to_string(), s["value"][1].as_str()?.parse().ok()?)))
        .collect()
}

/// Queries on the node exporter's metrics, in an order of chance that is always the same, without
/// the matchers that name an installation.
fn node_queries(lines: &str) -> Vec<String> {
    let mut all = BTreeSet::new();
    for line in lines.lines() {
        let query: Value = serde_json::from_str(line).unwrap();
        let text = query["expr"].as_str().unwrap();
        let other = ["$", "kube_", "container_", "instance:", "ALERTS"];
        if query["parses"] == true
            && text.contains("node_")
            && !other.iter().any(|o| text.contains(o))
        {
            all.insert(strip(text));
        }
    }
    let mut all: Vec<_> = all.into_iter().collect();
    let hash = |text: &String| {
        text.bytes().fold(7_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
    };
    all.sort_by_key(hash);
    all
}

/// Leaves out matchers on job, instance, cluster and nodename.
fn strip(query: &str) -> String {
    let mut out = String::new();
    let mut rest = query;
    while let Some(open) = rest.find('{') {
        let Some(close) = matching_brace(&rest[open..]) else { break };
        out.push_str(&rest[..=open]);
        let inside = &rest[open + 1..open + close];
        let kept: Vec<_> = split_matchers(inside)
            .into_iter()
            .filter(|m| {
                let name = m.trim().split(['=', '!']).next().unwrap_or_default().trim();
                !["job", "instance", "cluster", "nodename"].contains(&name)
            })
            .collect();
        out.push_str(&kept.join(","));
        rest = &rest[open + close..];
    }
    out + rest
}

/// Offset of the brace that closes the one at the beginning, strings aside.
fn matching_brace(text: &str) -> Option<usize> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, '}') => return Some(i),
            (None, '"' | '\'' | '`') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    None
}

fn split_matchers(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, ',') => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            (None, '"' | '\'' | '`') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|p| !p.trim().is_empty());
    parts
}
