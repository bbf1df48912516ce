//! The queries that people use, asked of the real Prometheus and of our engine over the same data:
//! the official compliance list, and those of dashboards. Skips where Prometheus, the exporter or
//! the lists are not there.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{collections::BTreeSet, fmt::Write as _, io::Write as _, path::PathBuf};

use firesteel_differential::{
    data::{Dataset, END, Family, START, Series, Shape},
    http::Client,
    peer::{self, Server},
    remote,
    subject::{Library, When},
    suite::{
        ask::ask,
        demo, lists,
        pages::{self, Exporter},
        synthesis::synthesize,
    },
};
use firesteel_model::METRIC_NAME;

/// Straight to standard error: what the print macros write is swallowed.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A file of the conformance data.
fn conformance(path: &str) -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = std::env::var_os("FIRESTEEL_CONFORMANCE")
        .map_or_else(|| workspace.join("../shared/conformance"), PathBuf::from);
    let file = root.join(path);
    if !file.exists() {
        say(&format!("skipped: conformance data not found: {path}"));
        return None;
    }
    Some(file)
}

/// A program of the peers.
fn program(name: &str) -> Option<PathBuf> {
    let path = peer::prometheus().map(|p| p.with_file_name(name)).filter(|p| p.exists());
    if path.is_none() {
        say(&format!("skipped: {name} not found"));
    }
    path
}

/// Pages of the real node exporter, as two hosts.
fn node_exporter(program: &std::path::Path) -> Vec<Series> {
    let exporter = Exporter::start(program).unwrap();
    let pages: Vec<_> = (0..240).map(|_| exporter.page().unwrap()).collect();
    let times = || (START..END).step_by(30_000);
    let mut all = Vec::new();
    for instance in ["labhost:9100", "localhost:9100"] {
        for job in ["node", "node-exporter"] {
            let target = [("instance", instance), ("job", job)];
            all.extend(pages::series(&pages, times(), &target).unwrap());
        }
    }
    all
}

/// Asks both, as range and as instant queries; everything is to be equal, and so many in a hundred
/// are to find something.
fn check(name: &str, list: &[String], mut series: Vec<Series>, found: usize) {
    let Some(prometheus) = program("prometheus") else { return };
    let there: BTreeSet<String> =
        series.iter().filter_map(|s| s.labels.get(METRIC_NAME).map(str::to_owned)).collect();
    series.extend(synthesize(list.iter().map(String::as_str), &there));
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let count = series.len();
    let family = Family { name: "all", shape: Shape::Gauge, weight: 1, series };
    let data = Dataset { families: vec![family] };
    let server = Server::start(&prometheus, &peer::FEATURES).unwrap();
    let mut theirs = Client::new(server.address);
    remote::write(&mut theirs, &data).unwrap();
    let held = remote::read(&mut theirs).unwrap();
    let mut ours = Library::new(&data, &held, false).unwrap();
    let times = [
        When::Range { start: END - 3_600_000, end: END - 60_000, step: 60_000 },
        When::Instant(END - 60_000),
        When::Instant(START + 3_600_000),
    ];
    let outcome = ask(list, &times, (&mut theirs, &mut ours)).unwrap();
    say(&format!(
        "{name}: {} queries over {count} series, asked {} times: {} with a result, {} failed, {} \
         rounded otherwise, {} with several answers, {} different; known differences: {:?}",
        list.len(),
        outcome.asked,
        outcome.found,
        outcome.failed,
        outcome.rounded,
        outcome.unstable,
        outcome.differences.len(),
        outcome.excepted
    ));
    let mut shown = String::new();
    for (query, when, what) in outcome.differences.iter().take(20) {
        let cut = |text: &str| text.chars().take(600).collect::<String>();
        let _ = writeln!(shown, "{}\n  {when:?}\n  {}", cut(query), cut(what));
    }
    assert!(shown.is_empty(), "{shown}");
    assert!(outcome.found * 100 >= outcome.asked * found, "too many empty answers");
}

#[test]
fn the_compliance_list() {
    let Some(path) = conformance("compliance/promql-test-queries.yml") else { return };
    let mut series = demo::series();
    series.extend(demo::native());
    check("compliance list", &lists::compliance(&path).unwrap(), series, 80);
}

#[test]
fn the_dashboard_list() {
    let Some(path) = conformance("compliance/dashboard_queries.txt") else { return };
    let Some(exporter) = program("prometheus-node-exporter") else { return };
    let mut series = demo::series();
    series.extend(demo::native());
    series.extend(node_exporter(&exporter));
    check("dashboard list", &lists::lines(&path).unwrap(), series, 80);
}

#[test]
fn dashboards_of_node_exporter_and_kubernetes() {
    let (Some(setup), Some(real)) =
        (conformance("setups/hybrid/queries.txt"), conformance("real/queries.jsonl"))
    else {
        return;
    };
    let Some(exporter) = program("prometheus-node-exporter") else { return };
    let mut list = lists::lines(&setup).unwrap();
    let sources = ["rfmoz", "kube-prometheus", "dotdc-k8s"];
    list.extend(lists::json_lines(&real, "source", &sources).unwrap());
    check("dashboards", &list, node_exporter(&exporter), 80);
}

/// The whole collection, some ten thousand queries. Every twentieth of them; all take minutes, with
/// `FIRESTEEL_EVERY=1`.
#[test]
fn real_queries_of_all_kinds() {
    let Some(real) = conformance("real/queries.jsonl") else { return };
    let Some(exporter) = program("prometheus-node-exporter") else { return };
    let every = std::env::var("FIRESTEEL_EVERY").map_or(20, |n| n.parse().unwrap());
    let list = lists::json_lines(&real, "source", &[""]).unwrap();
    let list: Vec<_> = list.into_iter().step_by(every).collect();
    check("real queries", &list, node_exporter(&exporter), 70);
}
