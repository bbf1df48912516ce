//! Helpers of tests: data from outside of the sources, which may be missing.

use std::path::{Path, PathBuf};

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

/// Says that something was not tested. Straight to standard error: the print macros' output is
/// swallowed where the test passes, and the summary of a run counts these lines.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
