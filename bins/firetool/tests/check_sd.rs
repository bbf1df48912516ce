//! `check service-discovery` beside promtool's.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

const CONFIG: &str = "
scrape_configs:
- job_name: fixed
  static_configs:
  - targets: ['a:1', 'a:1', 'b:2', 'drop:3']
    labels: {room: 'attic & <cellar>'}
  - targets: ['']
  relabel_configs:
  - {source_labels: [__address__], regex: 'drop:.*', action: drop}
- job_name: files
  metrics_path: /m
  file_sd_configs:
  - files: ['targets.json']
";

fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(folder).output().unwrap()
}

fn ours(folder: &Path, arguments: &[&str]) -> Output {
    run(Path::new(env!("CARGO_BIN_EXE_firetool")), folder, arguments)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.yml"), CONFIG).unwrap();
    let targets = r#"[{"targets":["x:1"],"labels":{"l":"v"}},{"targets":["y:1"]}]"#;
    fs::write(folder.path().join("targets.json"), targets).unwrap();
    folder
}

/// What was found, in an order of its own: promtool has none. Labels that are newer than the promtool
/// that is there are left out.
fn results(output: &Output) -> Vec<String> {
    let mut all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    for result in &mut all {
        for labels in ["discoveredLabels", "labels"] {
            let labels = result[labels].as_object_mut().unwrap();
            labels.retain(|name, _| !name.ends_with("_histograms__") && !name.contains("nhcb"));
        }
    }
    let mut all: Vec<String> = all.iter().map(ToString::to_string).collect();
    all.sort();
    all
}

#[test]
fn finds_what_promtool_finds() {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let peers = std::env::var_os("FIRESTEEL_PEERS")
        .map_or_else(|| home.join(".cache/firesteel-peers/usr/bin"), PathBuf::from);
    let promtool = peers.join("promtool");
    let folder = folder();
    for job in ["fixed", "files"] {
        let arguments = ["check", "service-discovery", "c.yml", job, "--timeout=2s"];
        let mine = ours(folder.path(), &arguments);
        assert!(mine.status.success(), "{mine:?}");
        let text = String::from_utf8(mine.stdout.clone()).unwrap();
        assert!(!text.contains('<') && !text.contains('&'), "{text}");
        if promtool.exists() {
            let theirs = run(&promtool, folder.path(), &arguments);
            assert_eq!(results(&mine), results(&theirs), "{job}");
            // The same layout, line by line, but for labels that are newer.
            let shape = |o: &Output| {
                let text = String::from_utf8(o.stdout.clone()).unwrap();
                let old = |l: &&str| !l.contains("_histograms__") && !l.contains("nhcb");
                let mut lines: Vec<String> = text.lines().filter(old).map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(shape(&mine), shape(&theirs), "{job}");
        }
        assert_eq!(results(&mine).len(), if job == "fixed" { 4 } else { 2 }, "{text}");
    }
}

#[test]
fn names_the_jobs_there_are() {
    let folder = folder();
    let output = ours(folder.path(), &["check", "sd", "c.yml", "nope"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "Job nope not found. Select one of:\n\tfixed\n\tfiles\n");
    let output = ours(folder.path(), &["check", "sd", "missing.yml", "nope"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("Cannot load config"));
}
