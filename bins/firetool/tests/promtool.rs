//! The same commands by us and by the real promtool.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn folder(variable: &str, default: &str) -> PathBuf {
    let default = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(default);
    std::env::var_os(variable).map_or_else(default, PathBuf::from)
}

/// Says that something was not tested, past the test harness.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

fn promtool() -> Option<PathBuf> {
    let path = folder("FIRESTEEL_PEERS", ".cache/firesteel-peers/usr/bin").join("promtool");
    if !path.exists() {
        skipped("promtool not found");
        return None;
    }
    Some(path)
}

/// A copy of a directory that Prometheus wrote.
fn directory(to: &Path) -> Option<()> {
    let Some(from) = std::env::var_os("FIRESTEEL_CONFORMANCE") else {
        skipped("conformance data not found (set FIRESTEEL_CONFORMANCE)");
        return None;
    };
    copy(&Path::new(&from).join("tsdb/db_xor"), to);
    Some(())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::write(place, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// All files below a directory.
fn files(dir: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).arg("tsdb").args(arguments).output().unwrap()
}

fn ours(arguments: &[&str]) -> Output {
    run(Path::new(env!("CARGO_BIN_EXE_firetool")), arguments)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn prints_what_promtool_prints_and_changes_nothing() {
    let Some(promtool) = promtool() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("data");
    let Some(()) = directory(&data) else { return };
    let mut before = BTreeMap::new();
    files(&data, &mut before);
    let path = data.to_str().unwrap();
    for arguments in [
        &["list", path][..],
        &["list", "-r", path],
        &["dump-openmetrics", path],
        &["dump-openmetrics", "--match={i=\"3\"}", "--match={__name__=~\"m1|m3\"}", path],
        &["dump", "--match={__name__!=\"m3\"}", path],
    ] {
        assert_eq!(text(&ours(arguments)), text(&run(&promtool, arguments)), "{arguments:?}");
    }
    // The order of equal numbers is not defined there.
    let all = ["analyze", "--limit=1000", "--extended", path];
    let some = ["analyze", "--limit=1000", "--match={__name__=~\"m1|m2\"}", path];
    for arguments in [&all[..], &some] {
        let (a, b) = (text(&ours(arguments)), text(&run(&promtool, arguments)));
        assert_eq!(sorted(&a), sorted(&b), "{arguments:?}");
    }
    // Of a series with histograms in the out-of-order log promtool 3.5 leaves out the first two in
    // range, whatever the range is; Prometheus itself shows them.
    for range in [&[][..], &["--min-time=1700011000000", "--max-time=1700013000000"]] {
        let arguments = [&["dump"], range, &[path]].concat();
        let (a, b) = (text(&ours(&arguments)), text(&run(&promtool, &arguments)));
        let mut expected = b.lines().peekable();
        let more: Vec<_> = a.lines().filter(|line| expected.next_if_eq(line).is_none()).collect();
        assert_eq!(expected.next(), None);
        assert_eq!(more.len(), 2);
        assert!(more.iter().all(|line| line.contains("i=\"19\"") && line.contains("{count:")));
    }
    assert_eq!(text(&ours(&["verify", path])), "no damage found\n");
    let mut after = BTreeMap::new();
    files(&data, &mut after);
    assert!(before == after);
}

#[test]
fn fails_as_promtool_does() {
    let Some(promtool) = promtool() else { return };
    for arguments in [
        &["list", "/nonexistent/data"][..],
        &["analyze", "/nonexistent/data"],
        &["dump", "/nonexistent/data"],
    ] {
        let (a, b) = (ours(arguments), run(&promtool, arguments));
        assert_eq!(a.status.code(), b.status.code(), "{arguments:?}");
        assert_eq!(String::from_utf8(a.stderr), String::from_utf8(b.stderr), "{arguments:?}");
    }
    let (a, b) = (ours(&["nonsense"]), run(&promtool, &["nonsense"]));
    assert_eq!(a.status.code(), b.status.code());
}

/// A file over two days with gaps; some series' samples are out of order here and there.
fn openmetrics() -> String {
    let mut out = String::from("# TYPE a counter\n# HELP a Some help.\n");
    for series in 0..20 {
        for n in 0..700_i64 {
            let t = 1_700_000_000_000 + n * 247_000 + series;
            if (200..350).contains(&n) {
                continue;
            }
            let v = (n * series) as f64 / 8.0;
            let _ = writeln!(
                out,
                "a_total{{series=\"{series}\",x=\"\\\"\\n\"}} {v} {}.{:03}",
                t / 1000,
                t % 1000
            );
        }
    }
    for n in 0..3000_i64 {
        let _ = writeln!(out, "fast {} {}", n * n, 1_700_000_000 + n);
    }
    out.push_str("# EOF\n");
    out
}

#[test]
fn makes_the_blocks_that_promtool_makes() {
    let Some(promtool) = promtool() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let input = temporary.path().join("input");
    std::fs::write(&input, openmetrics()).unwrap();
    let create = |program: &Path, flags: &[&str], name: &str| {
        let output = temporary.path().join(name);
        let mut arguments = vec!["create-blocks-from", "openmetrics"];
        arguments.extend(flags);
        arguments.extend([input.to_str().unwrap(), output.to_str().unwrap()]);
        let listed = text(&run(program, &arguments));
        (listed, output)
    };
    // Names and sizes (other writers, other padding) aside.
    let shape = |listed: &str| {
        let line = |line: &str| {
            let cells: Vec<_> = line.split("  ").filter(|c| !c.is_empty()).collect();
            cells[1..cells.len() - 1].iter().map(|c| c.trim().to_owned()).collect::<Vec<_>>()
        };
        listed.lines().map(line).collect::<Vec<_>>()
    };
    let binary = Path::new(env!("CARGO_BIN_EXE_firetool"));
    for (i, flags) in
        [&[][..], &["--max-block-duration=1d", "--label=job=made"]].into_iter().enumerate()
    {
        let (a, made) = create(binary, flags, &format!("ours{i}"));
        let (b, expected) = create(&promtool, flags, &format!("theirs{i}"));
        assert_eq!(shape(&a), shape(&b));
        // promtool wants a log, which a server makes.
        for dir in [&made, &expected] {
            std::fs::create_dir_all(dir.join("wal")).unwrap();
        }
        let dump = |dir: &Path| text(&run(&promtool, &["dump", dir.to_str().unwrap()]));
        assert_eq!(dump(&made), dump(&expected));
        assert_eq!(text(&ours(&["dump", made.to_str().unwrap()])), dump(&expected));
        assert_eq!(text(&ours(&["verify", made.to_str().unwrap()])), "no damage found\n");
    }
}

#[test]
fn verify_finds_what_is_damaged() {
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("data");
    let Some(()) = directory(&data) else { return };
    let mut all = BTreeMap::new();
    files(&data, &mut all);
    for (path, bytes) in &all {
        let name = path.strip_prefix(&data).unwrap().to_string_lossy().into_owned();
        // Positions are not files that were given a checksum: meta.json has none.
        // Snapshots of Prometheus' head are not read: the log has all of it.
        let unread = name.ends_with("meta.json")
            || name.ends_with("lock")
            || name.starts_with("chunk_snapshot");
        if bytes.len() < 64 || unread {
            continue;
        }
        let mut bad = bytes.clone();
        let middle = bad.iter().rposition(|b| *b != 0).unwrap() / 2;
        bad[middle] ^= 0x55;
        std::fs::write(path, &bad).unwrap();
        let found = ours(&["verify", data.to_str().unwrap()]);
        std::fs::write(path, bytes).unwrap();
        assert_eq!(found.status.code(), Some(1), "{name} at {middle}");
        let text = String::from_utf8(found.stdout).unwrap();
        assert!(text.contains(path.file_name().unwrap().to_str().unwrap()), "{name}: {text}");
    }
}
