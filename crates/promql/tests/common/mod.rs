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
    #[expect(clippy::print_stdout, reason = "says what was not tested")]
    {
        println!("skipped: conformance data not found: {path}");
    }
    None
}
