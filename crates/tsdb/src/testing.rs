//! Helpers of tests: data from outside of the sources, which may be missing, and random matchers.

use std::path::{Path, PathBuf};

use firesteel_model::{Labels, MatchOp, Matcher};
use proptest::prelude::*;

/// A file or folder of the conformance data; `None`, with a line printed, where it is missing.
pub(crate) fn conformance(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("FIRESTEEL_CONFORMANCE") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"),
    };
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("conformance data not found ({name})"));
    None
}

/// A program of the real Prometheus; `None`, with a line printed, where it is missing.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("FIRESTEEL_PEERS") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let home = std::env::var_os("HOME").unwrap_or_default();
            Path::new(&home).join(".cache/firesteel-peers/usr/bin")
        }
    };
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("{name} not found"));
    None
}

/// How many cases a property test has by default; `PROPTEST_CASES` sets another number.
pub(crate) fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").map_or(default, |n| n.parse().expect("a number"))
}

/// Says that something was not tested. Straight to standard error: the print macros' output is
/// swallowed where the test passes, and the summary of a run counts these lines.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// Labels with few names and values, so that they have much in common.
pub(crate) fn any_labels() -> impl Strategy<Value = Labels> {
    prop::collection::vec(("[abc]", "[xyz\u{e9}]{0,2}"), 1..4).prop_map(Labels::from_pairs)
}

/// Up to four matchers on such labels.
pub(crate) fn any_matchers() -> impl Strategy<Value = Vec<Matcher>> {
    let patterns = prop::sample::select(vec![
        "",
        ".*",
        ".+",
        "x",
        "xy",
        "x.*",
        ".*x",
        ".*y.*",
        "x|y",
        "x|",
        "|.+",
        "x.*|y.+",
        "[xy]",
        "[xy].?",
        "(?i:X).*",
        "zz|x.",
        "..",
        "nothing",
        "\u{e9}.*",
        "(x|yz)+",
        "x.+|xy.*|z",
    ]);
    let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
    let matcher = ("[abcn]", prop::sample::select(ops.to_vec()), patterns)
        .prop_map(|(name, op, value)| Matcher::new(op, &name, value).unwrap());
    prop::collection::vec(matcher, 0..4)
}

/// Whether a series satisfies all matchers.
pub(crate) fn satisfies(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
}
