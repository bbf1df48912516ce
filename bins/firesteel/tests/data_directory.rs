//! Our data directory and that of the real Prometheus are the same thing.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{fs, net::SocketAddr, path::Path, thread, time::Duration};

use serde_json::Value;
use support::{
    Server, api_data, conformance, escape, get, metrics_target, now_ms, peer, prometheus, wait_for,
    write_config,
};

const QUERIES: [&str; 10] = [
    "m",
    "up[1m]",
    "m[1m]",
    "sum by (i) (rate(m[20s]))",
    "count({__name__=~\".+\"})",
    "max_over_time(m[30s])",
    "topk(3, m)",
    "m / on (i, instance) group_left () n",
    "quantile_over_time(0.9, m[30s])",
    "sum(scrape_samples_scraped)",
];

fn page(n: usize) -> String {
    (0..50).map(|i| format!("m{{i=\"{i}\"}} {}\nn{{i=\"{i}\"}} {}\n", n * 7 + i, i + 1)).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else if entry.file_name() != "lock" {
            fs::copy(source, target).unwrap();
        }
    }
}

/// Answers to the queries at a time, with the series in the order of their labels.
fn answers(address: SocketAddr, queries: &[&str], time: u64) -> Vec<Value> {
    let ask = |query: &&str| {
        let data = api_data(address, &format!("query?query={}&time={time}", escape(query)));
        let mut result = data["result"].clone();
        if let Some(rows) = result.as_array_mut() {
            rows.sort_by_key(|row| row["metric"].to_string());
        }
        result
    };
    queries.iter().map(ask).collect()
}

fn idle_config(folder: &Path) -> std::path::PathBuf {
    let file = folder.join("idle.yml");
    fs::write(&file, "scrape_configs: []\n").unwrap();
    file
}

#[test]
fn prometheus_reads_what_we_wrote_after_a_stop_and_after_a_kill() {
    let Some(program) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let target = metrics_target(page);
    let file = write_config(folder.path(), "200ms", "", &[target]);
    let idle = idle_config(folder.path());
    for (how, kill) in [("stop", false), ("kill", true)] {
        let server = Server::start(folder.path(), &[&format!("--config.file={}", file.display())]);
        let fresh = |server: &Server| {
            let count = server.query("count_over_time(m{i=\"0\"}[1m])");
            count[0]["value"][1].as_str().and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0)
        };
        wait_for("samples", || (fresh(&server) >= 10.0).then_some(()));
        // The target's series stop moving for the comparison at a time before the end.
        let time = now_ms() / 1000;
        thread::sleep(Duration::from_millis(1200));
        let ours = answers(server.address, &QUERIES, time);
        if kill {
            server.kill();
        } else {
            assert!(server.stop().success());
        }
        let copied = folder.path().join(how);
        copy(&folder.path().join("data"), &copied);
        let (_process, theirs) = prometheus(&program, folder.path(), &copied, &idle, &[]);
        for ((query, ours), theirs) in
            QUERIES.iter().zip(&ours).zip(answers(theirs, &QUERIES, time))
        {
            assert_eq!(ours, &theirs, "after {how}: {query}");
            assert!(ours != &Value::Array(Vec::new()), "{query} found nothing");
        }
    }
}

/// `FIRESTEEL_PEER_SECONDS` sets for how long Prometheus goes on in between.
#[test]
fn ours_then_theirs_then_ours_again() {
    let Some(program) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let target = metrics_target(page);
    let file = write_config(folder.path(), "200ms", "", &[target]);
    let config = format!("--config.file={}", file.display());
    let data = folder.path().join("data");
    let count = |address: SocketAddr| {
        let query = escape("count_over_time(m{i=\"7\"}[5m])");
        let data = api_data(address, &format!("query?query={query}"));
        data["result"][0]["value"][1].as_str().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0)
    };
    let mut least = 0;
    for round in 0..2 {
        let server = Server::start(folder.path(), &[&config]);
        wait_for("our samples", || (count(server.address) > least + 8).then_some(()));
        least = count(server.address);
        if round == 0 {
            server.kill()
        } else {
            assert!(server.stop().success())
        }
        let (process, theirs) = prometheus(&program, folder.path(), &data, &file, &[]);
        assert!(
            count(theirs) >= least,
            "round {round}: Prometheus sees {} of {least}",
            count(theirs)
        );
        wait_for("their samples", || (count(theirs) > least + 8).then_some(()));
        let seconds = std::env::var("FIRESTEEL_PEER_SECONDS").map_or(0, |s| s.parse().unwrap());
        thread::sleep(Duration::from_secs(seconds));
        least = count(theirs);
        process.stop();
    }
    let server = Server::start(folder.path(), &[&config]);
    let found = count(server.address);
    println!("{found} samples in the end, {least} of them from before");
    assert!(found >= least, "we see {found} of {least}");
}

#[test]
fn a_directory_that_prometheus_wrote_answers_as_it_did() {
    let (Some(program), Some(source)) = (peer("prometheus"), conformance("tsdb/db_xor")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let idle = idle_config(folder.path());
    let (ours, theirs) = (folder.path().join("data"), folder.path().join("theirs"));
    copy(&source, &ours);
    copy(&source, &theirs);
    let keep = "--storage.tsdb.retention.time=100y";
    let server =
        Server::start(folder.path(), &[&format!("--config.file={}", idle.display()), keep]);
    let address = support::free_address();
    let arguments = [
        format!("--config.file={}", idle.display()),
        format!("--storage.tsdb.path={}", theirs.display()),
        format!("--web.listen-address={address}"),
        keep.to_owned(),
    ];
    let _process = support::Process::start(&program, &arguments, folder.path());
    wait_for("the real Prometheus", || (get(address, "/-/ready").ok()?.0 == 200).then_some(()));
    let range = "start=-9e9&end=9e9";
    let names = |address| api_data(address, &format!("label/__name__/values?{range}"));
    assert_eq!(names(server.address), names(address));
    for name in names(address).as_array().unwrap() {
        let selector = escape(&format!("{{__name__=\"{}\"}}", name.as_str().unwrap()));
        let series = |address| {
            let mut all = api_data(address, &format!("series?match[]={selector}&{range}"));
            all.as_array_mut().unwrap().sort_by_key(Value::to_string);
            all
        };
        assert_eq!(series(server.address), series(address), "{name}");
    }
    let text = |address| {
        let query = escape("{__name__=~\".+\"}[30d]");
        let end = newest(address);
        let mut rows =
            api_data(address, &format!("query?query={query}&time={end}"))["result"].clone();
        rows.as_array_mut().unwrap().sort_by_key(|row| row["metric"].to_string());
        rows
    };
    let (ours, theirs) = (text(server.address), text(address));
    let rows = |rows: &Value| rows.as_array().unwrap().clone();
    let (ours, theirs) = (rows(&ours), rows(&theirs));
    assert_eq!(ours.len(), theirs.len());
    assert!(theirs.iter().any(|r| r["histograms"].is_array()));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let labels = &theirs["metric"];
        assert_eq!(&ours["metric"], labels);
        for kind in ["values", "histograms"] {
            let points = |row: &Value| row[kind].as_array().cloned().unwrap_or_default();
            let (ours, theirs) = (points(ours), points(theirs));
            let differs = ours.iter().zip(&theirs).find(|(a, b)| a != b);
            let counts = (ours.len(), theirs.len());
            assert!(differs.is_none() && counts.0 == counts.1, "{labels}: {counts:?} {differs:?}");
        }
    }
}

#[test]
fn a_torn_log_costs_its_tail_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let target = metrics_target(page);
    let file = write_config(folder.path(), "200ms", "", &[target]);
    let config = format!("--config.file={}", file.display());
    let server = Server::start(folder.path(), &[&config]);
    let count = |server: &Server| {
        let result = server.query("count_over_time(m{i=\"3\"}[5m])");
        result[0]["value"][1].as_str().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0)
    };
    wait_for("samples", || (count(&server) > 5).then_some(()));
    let before = count(&server);
    server.kill();
    let wal = folder.path().join("data/wal");
    let segments = fs::read_dir(&wal).unwrap().flatten().map(|e| e.path());
    let last = segments.filter(|p| p.is_file()).max().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    bytes.extend_from_slice(b"\x01garbage that is no record");
    fs::write(&last, bytes).unwrap();
    let idle = idle_config(folder.path());
    let server = Server::start(folder.path(), &[&format!("--config.file={}", idle.display())]);
    assert!(count(&server) >= before, "{} of {before}", count(&server));
    let log = server.log();
    let said = log.lines().find(|l| l.contains("storage is open")).unwrap();
    assert!(said.contains("level=WARN") && said.contains("bytes"), "{said}");
}

/// Seconds of the newest sample that the head knows.
fn newest(address: SocketAddr) -> f64 {
    api_data(address, "status/tsdb")["headStats"]["maxTime"].as_f64().unwrap() / 1000.0
}
