//! `verify`: whether a data directory is sound.

use std::{io::Write, ops::ControlFlow, path::Path, sync::Arc};

use firesteel_tsdb::{
    Severity,
    fs::{Fs, OsFs, ReadOnlyFs},
    verify_directory,
};

use crate::{Failure, Outcome, progress::Progress};

/// Checks everything and prints a line for each finding; fails if anything is lost.
pub(crate) fn run(path: &Path, out: &mut dyn Write) -> Outcome {
    let fs: Arc<dyn Fs> = Arc::new(ReadOnlyFs::new(Arc::new(OsFs::new())));
    let mut progress = Progress::new();
    let report = verify_directory(&fs, path, &mut |at| {
        let name = at.path.file_name().unwrap_or_default().to_string_lossy();
        progress.at(&name, at.bytes, at.total);
        ControlFlow::Continue(())
    })
    .map_err(|e| Failure::of("verify", &e))?;
    progress.clear();
    for finding in &report.findings {
        writeln!(out, "{finding}")?;
    }
    if report.more_findings > 0 {
        writeln!(out, "and {} more", report.more_findings)?;
    }
    out.flush()?;
    let losses = report.findings.iter().filter(|f| f.severity != Severity::Note).count() as u64;
    match losses + report.more_findings {
        0 => Ok(writeln!(out, "no damage found")?),
        n => Err(Failure::Message(format!("{n} damaged places"))),
    }
}
