//! `check config` beside the real promtool: the same verdict on every configuration that there is.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn folder(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.exists());
    if found.is_none() {
        skipped(&format!("set {variable}"));
    }
    found
}

fn check(program: &Path, arguments: &[&str], file: &Path) -> Output {
    Command::new(program).args(["check", "config"]).args(arguments).arg(file).output().unwrap()
}

fn ours(arguments: &[&str], file: &Path) -> (Option<i32>, String, String) {
    let output = check(Path::new(env!("CARGO_BIN_EXE_firetool")), arguments, file);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn configurations(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders =
        vec![root.join("config"), root.join("real/configs-operator"), root.join("setups")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

/// Why the real promtool, of Prometheus 3.5, judges otherwise: rules of 3.14.
fn newer_than_promtool(name: &str, theirs: &str, ours: &str) -> bool {
    let new_key = theirs.contains("not found in type") && ours.is_empty();
    new_key
        // The sizes of queues are checked since 3.11.
        || ours.contains("remote write queue")
        // Pods may be selected by their nodes since 3.6.
        || name.ends_with("kubernetes_selectors_pod.good.yml")
        // The escaping follows the job's own validation scheme since 3.6.
        || name.ends_with("scrape_config_local_infer_escaping.yml")
}

#[test]
fn judges_as_promtool_does() {
    let Some(root) = folder("FIRESTEEL_CONFORMANCE") else { return };
    let Some(promtool) = folder("FIRESTEEL_PEERS").map(|peers| peers.join("promtool")) else {
        return;
    };
    let (mut same, mut newer, mut wrong) = (0, 0, Vec::new());
    for file in configurations(&root) {
        // Flags take turns: each file is looked at with one of them, and with none.
        for arguments in [&[][..], &["--syntax-only"], &["--agent"]] {
            let theirs = check(&promtool, arguments, &file);
            let (status, _, ours) = ours(arguments, &file);
            let reason = String::from_utf8_lossy(&theirs.stderr).into_owned();
            if theirs.status.code() == status {
                same += 1;
            } else if newer_than_promtool(&file.to_string_lossy(), &reason, &ours) {
                newer += 1;
            } else {
                wrong.push(format!("{} {arguments:?}: {reason} / {ours}", file.display()));
            }
        }
    }
    println!("{same} verdicts are the same, {newer} are by rules newer than promtool's");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(same > 500, "only {same}");
}

#[test]
fn looks_at_what_a_configuration_names() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = folder.join("prometheus.yml");
    let write = |text: &str| fs::write(&file, text).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();

    write("scrape_configs: [{job_name: a, bearer_token_file: token}]\n");
    let (status, out, error) = ours(&[], &file);
    assert_eq!(status, Some(1));
    assert_eq!(out, format!("Checking {}\n\n", file.display()));
    let token = path("token");
    assert_eq!(
        error,
        format!(
            "  FAILED: error checking authorization credentials or bearer token file \"{token}\": \
             stat {token}: no such file or directory\n"
        )
    );
    assert_eq!(ours(&["--syntax-only"], &file).0, Some(0));
    fs::write(folder.join("token"), "x").unwrap();
    let (status, out, error) = ours(&[], &file);
    let success = format!(
        "Checking {0}\n SUCCESS: {0} is valid prometheus config file syntax\n\n",
        file.display()
    );
    assert_eq!((status, out, error.as_str()), (Some(0), success, ""));

    for (text, expected) in [
        (
            "tls_config: {cert_file: c, key_file: k}",
            format!("error checking client cert file \"{0}\": stat {0}: no such", path("c")),
        ),
        ("file_sd_configs: [{files: [bad.json]}]", "checking SD file".to_owned()),
        (
            "static_configs: [{targets: [a]}], relabel_configs: [{target_label: __address__, \
             replacement: ''}]",
            "instance 0 in group 0: no address".to_owned(),
        ),
    ] {
        fs::write(folder.join("bad.json"), "{}").unwrap();
        write(&format!("scrape_configs: [{{job_name: a, {text}}}]\n"));
        let (status, _, error) = ours(&[], &file);
        assert!(status == Some(1) && error.contains(&expected), "{error}");
    }
    write("rule_files: [none.yml]\n");
    let (status, _, error) = ours(&[], &file);
    let expected = format!("\"{}\" does not point to an existing file", path("none.yml"));
    assert!(status == Some(1) && error.contains(&expected), "{error}");
    write("scrape_configs: [{job_name: a, file_sd_configs: [{files: [none/*.yml]}]}]\n");
    let (status, out, _) = ours(&[], &file);
    let expected = format!(
        "  WARNING: file \"{}\" for file_sd in scrape job \"a\" does not exist\n",
        path("none/*.yml")
    );
    assert!(status == Some(0) && out.contains(&expected), "{out}");
    write("scrape_config_files: [more.yml]\n");
    fs::write(folder.join("more.yml"), "scrape_configs: [{}]\n").unwrap();
    assert_eq!(ours(&[], &file).0, Some(1));
    assert_eq!(ours(&["--syntax-only"], &file).0, Some(0));
}

#[test]
fn lints_and_strictness_have_their_statuses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, "scrape_configs: [{job_name: a, scrape_interval: 5m}]\n").unwrap();
    assert_eq!(ours(&[], &file).0, Some(0));
    let (status, _, error) = ours(&["--lint=all"], &file);
    let expected = "  FAILED: too long scrape interval found, data point will be marked as stale - \
                    job: a, interval: 5m\n";
    assert_eq!((status, error.as_str()), (Some(0), expected));
    assert_eq!(ours(&["--lint=all", "--lint-fatal"], &file).0, Some(3));
    assert_eq!(ours(&["--lint=none", "--lint-fatal"], &file).0, Some(0));
    let longer = ["--lint=all", "--lint-fatal", "--query.lookback-delta=6m"];
    assert_eq!(ours(&longer, &file).0, Some(0));
    assert!(ours(&["--lint=x"], &file).1.starts_with("WARNING: unknown lint option: \"x\"\n"));

    fs::write(&file, "storage: {tsdb: {retention.time: 30d}}\n").unwrap();
    let (status, out, _) = ours(&[], &file);
    assert!(status == Some(0) && out.contains("WARNING: ") && out.contains("time: 30d"), "{out}");
    let (status, _, error) = ours(&["--compat=prometheus"], &file);
    assert!(status == Some(1) && error.contains("field retention.time not found"), "{error}");

    // Several files, of which one is wrong.
    let good = folder.path().join("good.yml");
    fs::write(&good, "").unwrap();
    let (status, out, _) = ours(&["--compat=prometheus", good.to_str().unwrap()], &file);
    assert!(status == Some(1) && out.contains("good.yml is valid prometheus config"), "{out}");
}

/// Says that something was not tested; the summary of a run counts these lines.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
