//! `check rules`, `test rules` and `rules dry-run`.
//!
//! Files in `testdata/rules` whose names end with `.pass.yml` are unit tests that pass, those with
//! `.fail.yml` fail. Where promtool is there (`FIRESTEEL_PEERS`) it has to say the same, of them and
//! of the files of Prometheus' own suite (`FIRESTEEL_CONFORMANCE`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/rules")
}

fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    output.unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn firetool(folder: &Path, arguments: &[&str]) -> Output {
    run(Path::new(env!("CARGO_BIN_EXE_firetool")), folder, arguments)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(folder: &Path, suffix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|n| n.ends_with(suffix))
        .collect();
    names.sort();
    names
}

#[test]
fn unit_tests_pass_and_fail_as_promtool_has_it() {
    let folder_of_tests = testdata();
    let promtool = folder("FIRESTEEL_PEERS").map(|peers| peers.join("promtool"));
    let mut count = 0;
    for (suffix, status) in [(".pass.yml", 0), (".fail.yml", 1)] {
        for name in names(&folder_of_tests, suffix) {
            let ours = firetool(&folder_of_tests, &["test", "rules", &name]);
            assert_eq!(ours.status.code(), Some(status), "{name}: {}", stderr(&ours));
            if let Some(promtool) = &promtool {
                let theirs = run(promtool, &folder_of_tests, &["test", "rules", &name]);
                assert_eq!(theirs.status.code(), Some(status), "{name}: {}", stderr(&theirs));
                // Messages about YAML and series are our own.
                if suffix == ".pass.yml" {
                    assert_eq!(stderr(&ours), stderr(&theirs), "{name}");
                }
            }
            count += 1;
        }
    }
    assert!(count >= 20, "{count} tests");
}

#[test]
fn prometheus_own_unit_tests_have_promtools_verdict() {
    let Some(conformance) = folder("FIRESTEEL_CONFORMANCE") else { return };
    let Some(peers) = folder("FIRESTEEL_PEERS") else { return };
    let suite = conformance.join("promtool");
    let mut compared = 0;
    for name in names(&suite, ".yml") {
        let text = fs::read_to_string(suite.join(&name)).expect("a file");
        if !text.lines().any(|line| line.starts_with("tests:")) {
            continue;
        }
        let ours = firetool(&suite, &["test", "rules", &name]);
        if text.contains("start_timestamp") {
            // Newer than this promtool; the file's tests all pass in the version that has it.
            assert_eq!(ours.status.code(), Some(0), "{name}: {}", stderr(&ours));
            continue;
        }
        let theirs = run(&peers.join("promtool"), &suite, &["test", "rules", &name]);
        assert_eq!(
            ours.status.code(),
            theirs.status.code(),
            "{name}\nours: {}\ntheirs: {}",
            stderr(&ours),
            stderr(&theirs)
        );
        if ours.status.success() || name.starts_with("failing") || name.starts_with("rules_run_") {
            let strip = |text: String| text.replace("rules_extrafields.yml: ", "");
            if !name.contains("extrafields") {
                assert_eq!(strip(stderr(&ours)), strip(stderr(&theirs)), "{name}");
            }
        }
        compared += 1;
    }
    assert!(compared >= 10, "{compared} files");
}

#[test]
fn rule_files_are_checked_as_promtool_checks_them() {
    let Some(conformance) = folder("FIRESTEEL_CONFORMANCE") else { return };
    let Some(peers) = folder("FIRESTEEL_PEERS") else { return };
    let suite = conformance.join("promtool");
    for name in [
        "rules.yml",
        "prometheus-rules.lint.yml",
        "rules_duplicates.yml",
        "rules_extrafields.yml",
        "bad-rules-error.yml",
        "bad-rules-syntax.yml",
        "rules-bad.yml",
        "rules_large.yml",
    ] {
        for options in [
            &[][..],
            &["--lint-fatal"],
            &["--lint=none"],
            &["--lint=all", "--lint-fatal"],
            &["--ignore-unknown-fields"],
        ] {
            let arguments = [&["check", "rules"], options, &[name]].concat();
            let ours = firetool(&suite, &arguments);
            let theirs = run(&peers.join("promtool"), &suite, &arguments);
            let context = format!("{arguments:?}: {}", stderr(&ours));
            assert_eq!(ours.status.code(), theirs.status.code(), "{context}");
            assert_eq!(stdout(&ours), stdout(&theirs), "{context}");
            if ours.status.code() != Some(1) {
                assert_eq!(stderr(&ours), stderr(&theirs), "{context}");
            }
        }
    }
}

#[test]
fn runs_can_be_chosen_and_are_written_as_junit() {
    let folder = tempfile::tempdir().expect("a folder");
    let test = "tests:\n  - name: good one\n    promql_expr_test:\n      - {expr: '1', exp_samples: \
                [{labels: '{}', value: 1}]}\n  - name: bad one\n    promql_expr_test:\n      - {expr: \
                '1', exp_samples: []}\n";
    fs::write(folder.path().join("t.yml"), test).expect("written");
    let all = firetool(folder.path(), &["test", "rules", "--junit", "out.xml", "t.yml"]);
    assert_eq!(all.status.code(), Some(1));
    let junit = fs::read_to_string(folder.path().join("out.xml")).expect("JUnit");
    assert!(junit.contains("tests=\"2\" failures=\"1\" errors=\"0\""), "{junit}");
    let good = firetool(folder.path(), &["test", "rules", "--run", "^good", "t.yml"]);
    assert_eq!((good.status.code(), stdout(&good).as_str()), (Some(0), "  SUCCESS\n\n"));
    let debug = firetool(folder.path(), &["test", "rules", "--debug", "--run", "good", "t.yml"]);
    assert!(stderr(&debug).contains("DEBUG: Starting test good one"));
}

#[test]
fn differences_are_marked() {
    let folder = testdata();
    let output = firetool(&folder, &["test", "rules", "--diff", "02-down-too-early.fail.yml"]);
    let text = stderr(&output);
    assert!(text.contains("diff:") && text.contains("\u{1b}[0;31m-"), "{text}");
}

#[test]
fn dry_runs_tell_when_alerts_would_have_fired() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut page = String::from("# TYPE up gauge\n");
    for minute in 0..120 {
        let value = u8::from(!(30..60).contains(&minute));
        page.push_str(&format!("up{{instance=\"a\"}} {value} {}\n", 1_700_000_040 + minute * 60));
    }
    page.push_str("# EOF\n");
    fs::write(folder.path().join("page.txt"), page).expect("written");
    let rules = "groups:\n  - name: g\n    interval: 1m\n    rules:\n      - {alert: Down, expr: up \
                 == 0, for: 5m, labels: {severity: page}}\n";
    fs::write(folder.path().join("rules.yml"), rules).expect("written");
    let import = ["tsdb", "create-blocks-from", "openmetrics", "page.txt", "data", "-q"];
    assert!(firetool(folder.path(), &import).status.success());
    let output = firetool(folder.path(), &["rules", "dry-run", "rules.yml", "data"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(text.contains("Down (g): 1 alerts in"), "{text}");
    assert!(text.contains("{alertname=\"Down\", instance=\"a\", severity=\"page\"}"), "{text}");
    assert!(text.contains("pending  2023-11-14T22:44:00Z for 5m\n"), "{text}");
    assert!(text.contains("firing   2023-11-14T22:49:00Z for 25m\n"), "{text}");
    let json = firetool(folder.path(), &["rules", "dry-run", "--json", "rules.yml", "data"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json[0]["alerts"][0]["spans"][1]["state"], "firing");
}

/// Stops a server at the end.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real Prometheus over `data` in a folder, and its URL.
fn prometheus(program: &Path, folder: &Path) -> (Killed, String) {
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = address.expect("an address");
    fs::write(folder.join("p.yml"), "").expect("written");
    let child = Command::new(program)
        .current_dir(folder)
        .args(["--config.file=p.yml", "--storage.tsdb.path=data"])
        .arg("--storage.tsdb.retention.time=100y")
        .arg(format!("--web.listen-address={address}"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let killed = Killed(child.expect("Prometheus starts"));
    let url = format!("http://{address}");
    for _ in 0..300 {
        let ready = firetool(folder, &["query", "instant", &url, "1"]);
        if ready.status.success() {
            return (killed, url);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("Prometheus does not answer");
}

#[test]
fn recording_rules_are_backfilled_and_alerts_dry_run_from_a_server() {
    let Some(peers) = folder("FIRESTEEL_PEERS") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut page = String::from("# TYPE m gauge\n");
    for series in 0..3 {
        for step in 0..600 {
            let (value, t) = ((step * (series + 3)) % 97, 1_700_000_000 + step * 30);
            page.push_str(&format!("m{{s=\"{series}\"}} {value} {t}\n"));
        }
    }
    page.push_str("# EOF\n");
    fs::write(folder.join("page.txt"), page).expect("written");
    let rules = "groups:\n  - name: g\n    interval: 1m\n    labels: {team: x}\n    rules:\n      \
                 - {record: 'm:sum', expr: sum(m)}\n      - {record: 'm:double', expr: m * 2, \
                 labels: {kind: d}}\n";
    fs::write(folder.join("rules.yml"), rules).expect("written");
    let alerts = "groups: [{name: a, interval: 1m, rules: [{alert: High, expr: 'm > 90'}]}]";
    fs::write(folder.join("alerts.yml"), alerts).expect("written");
    let import = ["tsdb", "create-blocks-from", "openmetrics", "-q", "page.txt", "data"];
    assert!(firetool(folder, &import).status.success());
    let (server, url) = prometheus(&peers.join("prometheus"), folder);

    let mut dumps = Vec::new();
    let promtool = peers.join("promtool");
    for (program, output) in
        [(Path::new(env!("CARGO_BIN_EXE_firetool")), "ours"), (&*promtool, "theirs")]
    {
        let arguments = [
            &["tsdb", "create-blocks-from", "rules", "--url", &url, "--start", "1700000000"][..],
            &["--end", "1700018000", "--output-dir", output, "rules.yml"],
        ];
        let made = run(program, folder, &arguments.concat());
        assert!(made.status.success(), "{output}: {}", stderr(&made));
        let text = stdout(&firetool(folder, &["tsdb", "dump", output]));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        dumps.push(lines);
    }
    assert!(dumps[0].len() > 1000, "{} samples", dumps[0].len());
    assert_eq!(dumps[0], dumps[1]);

    let range = ["--start", "1700000040", "--end", "1700017980"];
    let of_server = [&["rules", "dry-run", "--url", &url][..], &range, &["alerts.yml"]].concat();
    let of_server = firetool(folder, &of_server);
    assert!(stdout(&of_server).contains("High (a): 3 alerts"), "{}", stderr(&of_server));
    drop(server);
    let of_data = [&["rules", "dry-run"][..], &range, &["alerts.yml", "data"]].concat();
    assert_eq!(stdout(&of_server), stdout(&firetool(folder, &of_data)));
}
