//! Rule files of the world are accepted or refused exactly as Prometheus' own tool does.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use firesteel_rules::{LoadOptions, check_file};

/// Says that something was not tested, past the capture of the test's output.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

fn conformance(part: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FIRESTEEL_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"),
        PathBuf::from,
    );
    let path = folder.join(part);
    if !path.exists() {
        skipped(&format!("conformance data not found ({part}; set FIRESTEEL_CONFORMANCE)"));
        return None;
    }
    Some(path)
}

fn promtool() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let folder = std::env::var_os("FIRESTEEL_PEERS")
        .map_or_else(|| home.join(".cache/firesteel-peers/usr/bin"), PathBuf::from);
    let program = folder.join("promtool");
    if !program.exists() {
        skipped("the program promtool was not found (set FIRESTEEL_PEERS)");
        return None;
    }
    Some(program)
}

/// All YAML files below a folder, sorted.
fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            all.push(path);
        }
    }
}

fn errors(path: &Path) -> Vec<String> {
    let text = fs::read(path).unwrap();
    let Ok(text) = String::from_utf8(text) else { return vec!["not UTF-8".to_owned()] };
    let file = check_file(&path.to_string_lossy(), &text, &LoadOptions::default());
    file.errors.iter().map(ToString::to_string).collect()
}

/// What the tool says about a file, `None` where it accepts it.
fn verdict(promtool: &Path, path: &Path) -> Option<String> {
    let output =
        Command::new(promtool).args(["check", "rules", "--lint=none"]).arg(path).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (!output.status.success()).then(|| String::from_utf8_lossy(&text).into_owned())
}

/// Resources of Kubernetes are rule files to us only.
fn is_ours(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.trim_end() == "kind: PrometheusRule")
}

#[test]
fn every_file_is_judged_as_promtool_judges_it() {
    let Some(promtool) = promtool() else { return };
    let (mut accepted, mut refused, mut ours, mut wrong) = (0, 0, 0, Vec::new());
    for part in ["rules", "rulefmt", "promtool", "real/rules"] {
        let Some(folder) = conformance(part) else { continue };
        let mut all = Vec::new();
        files(&folder, &mut all);
        for path in all {
            let (errors, verdict) = (errors(&path), verdict(&promtool, &path));
            match (errors.is_empty(), &verdict) {
                (true, None) => accepted += 1,
                (false, Some(_)) => refused += 1,
                (true, Some(_)) if is_ours(&path) => ours += 1,
                _ => wrong.push(format!("{}: {errors:?}\n  promtool: {verdict:?}", path.display())),
            }
        }
    }
    println!("{accepted} accepted, {refused} refused, {ours} resources accepted by us alone");
    assert!(wrong.is_empty(), "{} files:\n{}", wrong.len(), wrong.join("\n"));
}

/// The reason of each bad file of Prometheus' own tests, as its tests expect it.
#[test]
fn bad_files_are_refused_for_the_right_reason() {
    let Some(folder) = conformance("rulefmt") else { return };
    for (file, reason) in [
        ("duplicate_grp.bad.yaml", "groupname: \"yolo\" is repeated in the same file"),
        ("bad_expr.bad.yaml", "parse error"),
        ("record_and_alert.bad.yaml", "only one of 'record' and 'alert' must be set"),
        ("no_rec_alert.bad.yaml", "one of 'record' or 'alert' must be set"),
        ("noexpr.bad.yaml", "field 'expr' must be set in rule"),
        ("invalid_record_name.bad.yaml", "braces present in the recording rule name"),
        ("bad_field.bad.yaml", "field annotation not found"),
        ("invalid_label_name.bad.yaml", "invalid label name"),
        ("record_and_for.bad.yaml", "invalid field 'for' in recording rule"),
        (
            "record_and_keep_firing_for.bad.yaml",
            "invalid field 'keep_firing_for' in recording rule",
        ),
    ] {
        let path = folder.join(file);
        let errors = errors(&path);
        assert!(errors.iter().any(|e| e.contains(reason)), "{file}: {errors:?}");
    }
}
