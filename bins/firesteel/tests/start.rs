//! Starting, reloading and stopping, as an operator does it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::fs;

use support::{Server, arguments, escape, get, run_to_end, wait_for};

#[test]
fn without_a_configuration_it_scrapes_itself() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert!(server.log().contains("embedded default"), "{}", server.log());
    let up = wait_for("up", || {
        let result = server.query("up");
        Some(result[0]["value"][1].as_str()?.to_owned()).filter(|v| v == "1")
    });
    assert_eq!(up, "1");
    let targets = server.api("targets");
    assert_eq!(targets["activeTargets"][0]["health"], "up");
    let metrics = String::from_utf8(get(server.address, "/metrics").unwrap().1).unwrap();
    for name in ["prometheus_build_info", "prometheus_tsdb_head_series", "prometheus_ready 1"] {
        assert!(metrics.contains(name), "{name} in\n{metrics}");
    }
    for page in ["/query?query=up", "/targets", "/status", "/config", "/flags"] {
        let (status, body) = get(server.address, page).unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(
            status == 200 && body.contains("</html>") && !body.contains("<script"),
            "{page}: {body}"
        );
    }
    assert!(server.stop().success());
}

#[test]
fn a_bad_configuration_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, "global:\n  scrape_intervall: 15s\n").unwrap();
    let (code, text) = run_to_end(folder.path(), &["--config.file=prometheus.yml"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("prometheus.yml:2:3: global.scrape_intervall"), "{text}");
    let (code, text) = run_to_end(folder.path(), &["--config.file=missing.yml"]);
    assert!(code == Some(2) && text.contains("missing.yml"), "{text}");
}

#[test]
fn flags_that_would_cost_safety_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("empty.yml"), "").unwrap();
    let (code, text) = run_to_end(folder.path(), &["--agent"]);
    assert!(code == Some(2) && text.contains("agent"), "{code:?} {text}");
    Server::start(folder.path(), &["--web.config.file=empty.yml"]);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let arguments = arguments(folder.path(), &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, text) = run_to_end(folder.path(), &arguments);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("lock"), "{text}");
    drop(server);
}

#[test]
fn a_query_that_does_not_parse_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let path = format!("/api/v1/query?query={}", escape("sum("));
    let (status, body) = get(server.address, &path).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &answer["errorType"]), (400, &"bad_data".into()));
    let error = answer["error"].as_str().unwrap();
    assert!(error.starts_with("invalid parameter \"query\": 1:"), "{error}");
    assert!(error.contains("parse error: "), "{error}");
}
