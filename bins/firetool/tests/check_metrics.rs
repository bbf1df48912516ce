//! `check metrics` by us and by the real promtool: the same problems, the same status.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

const NODE: &[u8] = include_bytes!("../../../crates/exposition/testdata/node_exporter.prom");

/// Everything that is looked for.
const PROBLEMS: &str = "\
# HELP http_requests Requests.
# TYPE http_requests counter
http_requests{code=\"200\"} 1
# TYPE fooBar_minutes gauge
fooBar_minutes{aB=\"1\",le=\"2\",quantile=\"3\"} 1
# HELP a:b_total h
# TYPE a:b_total gauge
a:b_total 1
# TYPE x_bucket gauge
x_bucket{le=\"1\"} 2
# TYPE y_count gauge
y_count 1
# TYPE y_sum gauge
y_sum 1
# HELP a_gauge_b z
# TYPE a_gauge_b gauge
a_gauge_b 1
a_kilometers 3
untyped_ms{le=\"1\"} 3
# TYPE h histogram
h_bucket{le=\"1\"} 1
h_bucket{le=\"+Inf\"} 1
h_sum 1
h_count 1
# HELP s ok
# TYPE s summary
s{quantile=\"0.5\"} 1
s_sum 1
s_count 1
dup{a=\"b\"} 1
dup{a=\"b\"} 2
dup{a=\"b\"} 2
";

const GOOD: &str = "\
# HELP hits_total Hits.
# TYPE hits_total counter
hits_total{page=\"/\"} 1
hits_total{page=\"/a\"} 1
# HELP took_seconds How long it took.
# TYPE took_seconds histogram
took_seconds_bucket{le=\"1\"} 1
took_seconds_bucket{le=\"+Inf\"} 1
took_seconds_sum 0.5
took_seconds_count 1
";

fn promtool() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let folder = std::env::var_os("FIRESTEEL_PEERS")
        .map_or_else(|| home.join(".cache/firesteel-peers/usr/bin"), PathBuf::from);
    let path = folder.join("promtool");
    if !path.exists() {
        let _ = writeln!(std::io::stderr(), "skipped: promtool not found");
        return None;
    }
    Some(path)
}

fn check(program: &Path, options: &[&str], page: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(["check", "metrics"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // A program that needs no input may be gone already.
    let _ = input.write_all(page);
    drop(input);
    child.wait_with_output().unwrap()
}

fn ours() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_firetool"))
}

#[test]
fn problems_are_those_of_promtool() {
    let Some(promtool) = promtool() else { return };
    let pages: [&[u8]; 10] = [
        NODE,
        PROBLEMS.as_bytes(),
        GOOD.as_bytes(),
        b"# HELP x  \n# TYPE x gauge\nx 1\n",
        b"x 1\n# TYPE x gauge\n",
        b"# HELP x a\n# HELP x b\nx 1\n",
        b"# TYPE x gauge\n# TYPE x gauge\n",
        b"\nx{a=\"b\",a=\"c\"} 1\n",
        b"x 1",
        b"",
    ];
    for page in pages {
        let (expected, found) = (check(&promtool, &[], page), check(ours(), &[], page));
        let head = String::from_utf8_lossy(&page[..page.len().min(40)]);
        let text = |o: &Output| String::from_utf8_lossy(&o.stderr).into_owned();
        assert_eq!(text(&found), text(&expected), "{head}");
        assert_eq!(found.status.code(), expected.status.code(), "{head}");
    }
    // Where there are problems, 3.5 prints no table; 3.14 does.
    let (expected, found) = (
        check(&promtool, &["--extended"], GOOD.as_bytes()),
        check(ours(), &["--extended"], GOOD.as_bytes()),
    );
    assert_eq!(String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&expected.stdout));
}

#[test]
fn broken_pages_fail() {
    for (options, page, status, message) in [
        (&[][..], "x y\n", 1, "error while linting: text format parsing error in line 1: "),
        (&["--lint=none"], "x 1\n", 1, "error: at least one of --extended or linting"),
        (&["--lint=none", "--extended"], "x 1\n", 0, ""),
        (
            &["--openmetrics"],
            "# TYPE a counter\na_total -1\n# EOF\n",
            1,
            "error while linting: line 2, column 9: the value is -1",
        ),
        (
            &["--openmetrics"],
            "# HELP a Things.\n# TYPE a counter\na_total 1\na_created 1.5\n# EOF\n",
            0,
            "",
        ),
    ] {
        let found = check(ours(), options, page.as_bytes());
        let text = String::from_utf8_lossy(&found.stderr);
        assert!(text.starts_with(message) && text.is_empty() == message.is_empty(), "{text}");
        assert_eq!(found.status.code(), Some(status), "{page}");
    }
}
