//! What keeps queries in check: the gate, cancellation, the query log, the file of active queries.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;
use support::{Server, escape, get, wait_for};

/// Takes far longer than any test.
const LONG: &str = "avg_over_time(avg_over_time(vector(time())[1d:1s])[1d:1s])";

fn send(address: SocketAddr, query: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let path = format!("/api/v1/query?query={}", escape(query));
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn metric(server: &Server, name: &str) -> String {
    let (_, body) = get(server.address, "/metrics").unwrap();
    let text = String::from_utf8(body).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.trim().to_owned()
}

fn query(server: &Server, parameters: &str) -> (u16, Value) {
    let (status, body) = get(server.address, &format!("/api/v1/query?{parameters}")).unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[test]
fn queries_wait_are_cancelled_and_logged() {
    let folder = tempfile::tempdir().unwrap();
    let (config, log) = (folder.path().join("p.yml"), folder.path().join("queries.log"));
    fs::write(&config, format!("global:\n  query_log_file: {}\n", log.display())).unwrap();
    let config = format!("--config.file={}", config.display());
    let flags = [config.as_str(), "--query.max-concurrency=1"];
    let server = Server::start(folder.path(), &flags);
    assert_eq!(metric(&server, "prometheus_engine_queries_concurrent_max"), "1");
    assert_eq!(metric(&server, "prometheus_engine_query_log_enabled"), "1");

    let client = send(server.address, LONG);
    let active = folder.path().join("data/queries.active");
    wait_for("the long query", || {
        let text = String::from_utf8(fs::read(&active).unwrap()).unwrap();
        (text.len() == 1001 && text.starts_with("[{\"query\":\"avg_over_time(")).then_some(())
    });
    // The only place is taken. What is no query does not wait.
    let (status, answer) = query(&server, "query=1&timeout=100ms");
    assert_eq!((status, &answer["error"]), (422, &"context deadline exceeded".into()));
    assert!(answer["infos"][0].as_str().unwrap().contains("--query.max-concurrency"));
    let (status, answer) = query(&server, "query=1%2B");
    assert_eq!((status, &answer["errorType"]), (400, &"bad_data".into()));
    assert!(metric(&server, "prometheus_engine_queries").starts_with('1'));
    // The client goes away, and with it the query.
    drop(client);
    let (status, answer) = query(&server, "query=1&stats=all");
    assert_eq!(status, 200, "{answer}");
    for key in ["evalTotalTime", "execQueueTime", "execTotalTime", "innerEvalTime"] {
        assert!(answer["data"]["stats"]["timings"][key].is_number(), "{key}: {answer}");
    }
    let lines = wait_for("three lines of the log", || {
        let text = fs::read_to_string(&log).ok()?;
        let lines: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        (lines.len() >= 3).then_some(lines)
    });
    let find = |query: &str, failed: bool| {
        let same = |l: &&Value| l["params"]["query"] == query && l["error"].is_string() == failed;
        lines.iter().find(same).unwrap_or_else(|| panic!("{query}: {lines:?}"))
    };
    let canceled = "query was canceled in expression evaluation";
    assert_eq!(find(LONG, true)["error"], canceled);
    assert_eq!(find("1", true)["error"], "context deadline exceeded");
    let logged = find("1", false);
    assert_eq!(logged["httpRequest"]["clientIP"], "127.0.0.1");
    assert_eq!(logged["httpRequest"]["path"], "/api/v1/query");
    assert_eq!((&logged["msg"], &logged["level"]), (&"promql query logged".into(), &"INFO".into()));

    // A reload goes on in a new file.
    fs::rename(&log, folder.path().join("old.log")).unwrap();
    server.signal("HUP");
    wait_for("the new log", || log.exists().then_some(()));
    let _client = send(server.address, LONG);
    wait_for("the long query", || (fs::read(&active).unwrap()[1] == b'{').then_some(()));
    server.kill();
    let server = Server::start(folder.path(), &flags);
    let said = server.log();
    let line = said.lines().find(|l| l.contains("These queries didn't finish in prometheus' last"));
    assert!(line.is_some_and(|l| l.contains("vector(time())[1d:1s]")), "{said}");
    assert_eq!(fs::read(&active).unwrap()[..2], *b"[\0");
    server.stop();
    assert_eq!(fs::metadata(&active).unwrap().len(), 1001);
}

#[test]
fn plans_are_explained_and_trees_given() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    wait_for("a scrape", || (server.query("up").as_array()?.len() == 1).then_some(()));
    let text = "sum(rate(up[5m])) + count(up)";
    let explained = server.api(&format!("explain?query={}", escape(text)));
    let plan = explained["plan"].as_array().unwrap();
    let operations: Vec<_> = plan.iter().map(|n| n["operation"].as_str().unwrap()).collect();
    let tree = ["+", "sum", "rate", "range selector", "count", "selector"];
    assert_eq!(operations, tree);
    assert_eq!((&plan[0]["depth"], &plan[3]["depth"]), (&0.into(), &3.into()));
    assert_eq!(plan[0]["text"], text);
    assert_eq!((&plan[2]["fused"], &plan[3]["selectedSeries"]), (&true.into(), &1.into()));
    assert_eq!(plan[4]["figures"]["series"], 1);
    let tree = server.api(&format!("parse_query?query={}", escape(text)));
    assert_eq!((&tree["type"], &tree["lhs"]["op"]), (&"binaryExpr".into(), &"sum".into()));
    let features = server.api("features");
    assert_eq!(features["promql"]["at_modifier"], true);
    assert_eq!(features["promql_functions"]["info"], false);
}
