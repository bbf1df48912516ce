//! `verify`: whether a data directory is sound.

use std::{io::Write, path::Path, sync::Arc};

use firesteel_tsdb::{
    fs::{Fs, OsFs, ReadOnlyFs},
    verify,
};

use crate::{Failure, Outcome, progress::Progress};

/// Checks everything and prints a line for each damage; fails if there is any that a start does not
/// mend.
pub(crate) fn run(path: &Path, out: &mut dyn Write) -> Outcome {
    let fs: Arc<dyn Fs> = Arc::new(ReadOnlyFs::new(Arc::new(OsFs::new())));
    let mut progress = Progress::new();
    let found = verify::directory(&fs, path, &mut |at| {
        let name = at.part.file_name().unwrap_or_default().to_string_lossy();
        progress.at(&name, at.done, at.total);
    })
    .map_err(|e| Failure::of("verify", &e))?;
    progress.clear();
    let (torn, damaged): (Vec<_>, Vec<_>) = found.into_iter().partition(|f| f.torn);
    for finding in &torn {
        let (path, offset) = (finding.path.display(), finding.offset);
        writeln!(out, "{path} from byte {offset}: {} (the next start mends it)", finding.what)?;
    }
    for finding in &damaged {
        writeln!(out, "{} at byte {}: {}", finding.path.display(), finding.offset, finding.what)?;
    }
    out.flush()?;
    match damaged.len() {
        0 => Ok(writeln!(out, "no damage found")?),
        n => Err(Failure::Message(format!("{n} damaged places"))),
    }
}
