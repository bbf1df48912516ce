//! Shared by the integration tests.

use std::path::PathBuf;

/// A file of the conformance data; `None`, said aloud, where there is none.
pub(crate) fn conformance(path: &str) -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = std::env::var_os("FIRESTEEL_CONFORMANCE")
        .map_or_else(|| workspace.join("../shared/conformance"), PathBuf::from);
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    {
        skipped(&format!("conformance data not found: {path}"));
    }
    None
}

/// Says that something was not tested. Straight to standard error: the print macros' output is
/// swallowed where the test passes, and the summary of a run counts these lines.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn skipped(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
