//! `query` and `promql` by us and by the real promtool, against the real Prometheus.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Begin of the data, seconds.
const START: i64 = 1_700_006_400;

#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

fn peer(name: &str) -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let folder = std::env::var_os("FIRESTEEL_PEERS")
        .map_or_else(|| home.join(".cache/firesteel-peers/usr/bin"), PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        skipped(&format!("{name} not found"));
        return None;
    }
    Some(path)
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Blocks of floats and a classic histogram, made by promtool.
fn make_data(promtool: &Path, folder: &Path) {
    let mut text = String::from("# TYPE m gauge\n");
    for series in 0..3 {
        for step in 0..40 {
            let value = [format!("{}", step * series), "NaN".to_owned(), "1e30".to_owned()];
            let value = &value[if step % 10 == 9 { series } else { 0 }];
            text.push_str(&format!(
                "m{{i=\"{series}\",job=\"a\\\"b\"}} {value} {}\n",
                START + step as i64 * 15
            ));
        }
    }
    text.push_str("# TYPE h histogram\n");
    for step in 0..40 {
        for (le, factor) in [("0.5", 0), ("1.0", 2), ("+Inf", 3)] {
            text.push_str(&format!(
                "h_bucket{{le=\"{le}\"}} {} {}\n",
                step * factor,
                START + step as i64 * 15
            ));
        }
    }
    text.push_str("# EOF\n");
    let file = folder.join("data.om");
    std::fs::write(&file, text).unwrap();
    let made = Command::new(promtool)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&file, &folder.join("data")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

fn start(prometheus: &Path, folder: &Path) -> (Killed, String) {
    // Free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(folder.join("p.yml"), "").unwrap();
    let child = Command::new(prometheus)
        .arg(format!("--config.file={}", folder.join("p.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg("--storage.tsdb.retention.time=100y")
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let killed = Killed(child);
    let (began, url) = (Instant::now(), format!("http://{address}"));
    let promtool = peer("promtool").unwrap();
    while TcpStream::connect(address).is_err()
        || !run(&promtool, &["query", "instant", &url, "1"]).status.success()
    {
        assert!(began.elapsed() < Duration::from_secs(60), "Prometheus does not start");
    }
    (killed, url)
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn texts(output: &Output) -> (bool, String, String) {
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn same(promtool: &Path, arguments: &[&str]) {
    let theirs = texts(&run(promtool, arguments));
    let ours = texts(&run(Path::new(env!("CARGO_BIN_EXE_firetool")), arguments));
    assert_eq!(ours, theirs, "{arguments:?}");
}

#[test]
fn answers_print_as_promtool_prints_them() {
    let (Some(promtool), Some(prometheus)) = (peer("promtool"), peer("prometheus")) else { return };
    let folder = tempfile::tempdir().unwrap();
    make_data(&promtool, folder.path());
    let (_prometheus, url) = start(&prometheus, folder.path());
    let at = format!("--time={}", START + 135);
    let (from, to) = (format!("--start={START}"), format!("--end={}", START + 300));
    // promtool cannot read the string that a query returns; ours prints it.
    for query in ["m", "sum(m)", "1/3", "m[1m]", "vector(-1/0)", "m{", "nothing", "1 2"] {
        same(&promtool, &["query", "instant", &at, &url, query]);
        same(&promtool, &["query", "-o", "json", "instant", &at, &url, query]);
    }
    for query in ["m", "rate(m[1m])", "count(m) > 5", "m[1m]"] {
        same(&promtool, &["query", "range", &from, &to, "--step=1m", &url, query]);
        same(&promtool, &["query", "range", &from, &to, "-o", "json", &url, query]);
    }
    same(&promtool, &["query", "range", &to, &format!("--start={}", START + 400), &url, "m"]);
    same(&promtool, &["query", "instant", "--time=2023-11-15T00:02:00Z", &url, "m"]);
    same(&promtool, &["query", "instant", "--time=x", &url, "m"]);
    same(&promtool, &["query", "range", "--header=X-A=b", &from, &to, &url, "m"]);
    for form in ["promql", "json"] {
        same(&promtool, &["query", "-o", form, "series", "--match=m", "--match=h_bucket", &url]);
        same(&promtool, &["query", "-o", form, "labels", &url, "job"]);
        same(&promtool, &["query", "-o", form, "labels", "--match=h_bucket", &url, "le"]);
    }
    same(&promtool, &["query", "series", "--match={}", &url]);
    let server = format!("--server={url}");
    let time = format!("--time={}", START + 585);
    for kind in ["histogram", "gauge"] {
        let kind = format!("--type={kind}");
        same(&promtool, &["query", "analyze", &server, &kind, &time, "--match=h_bucket"]);
    }
}

#[test]
fn queries_are_formatted_and_edited_as_by_promtool() {
    let Some(promtool) = peer("promtool") else { return };
    let long = "sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m])) / on (job) group_left \
                sum by (job) (rate(http_requests_total{job=\"a\",code!~\"2..\"}[5m] offset 1h))";
    for query in [long, "up", "1 + {a=\"b\"}", "up{", "sum(x[5m:1m])", "{\"a.b\"}"] {
        same(&promtool, &["promql", "--experimental", "format", query]);
        for op in ["=", "!=", "=~", "!~"] {
            let set = ["promql", "--experimental", "label-matchers", "set", "-t", op];
            same(&promtool, &[&set[..], &[query, "job", "x.*"]].concat());
        }
        let delete = ["promql", "--experimental", "label-matchers", "delete", query, "job"];
        same(&promtool, &delete);
    }
}
