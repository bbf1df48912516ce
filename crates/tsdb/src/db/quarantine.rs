//! Damaged blocks out of the way.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Inner, events::Event, open::describe};
use crate::{
    TsdbError,
    block::{Block, Ulid},
    fs::{Fs, Open},
};

/// The directory of blocks that were put aside. Nothing ever deletes them.
pub(super) const DIR: &str = "quarantine";
/// In such a block, a text that says why.
const REASON_FILE: &str = "reason";

/// Whether an error shows that a block is damaged, rather than that it cannot be read now.
pub(super) fn is_damage(error: &TsdbError) -> bool {
    match error {
        TsdbError::Corrupt { .. } => true,
        TsdbError::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

/// Moves a block of the data directory aside, with its reason, so that Prometheus starts, too.
/// Returns where it is.
///
/// # Errors
/// The file system's; the block is where it was then.
pub(super) fn put_aside(
    fs: &dyn Fs,
    data: &Path,
    name: &str,
    reason: &str,
) -> Result<PathBuf, TsdbError> {
    let dir = data.join(DIR);
    fs.create_dir_all(&dir).map_err(TsdbError::io("make", &dir))?;
    let from = data.join(name);
    // One of the same name may be there already, from a copy that was put back.
    let free = |to: &PathBuf| !fs.exists(to).unwrap_or(true);
    let names = (0..100).map(|i| if i == 0 { name.to_owned() } else { format!("{name}.{i}") });
    let to = names.map(|n| dir.join(n)).find(free).unwrap_or_else(|| dir.join(name));
    fs.rename(&from, &to).map_err(TsdbError::io("rename", &from))?;
    let _ = fs.sync_dir(&dir);
    let _ = fs.sync_dir(data);
    // The reason helps a person, nothing depends on it.
    if let Ok(file) = fs.open(&to.join(REASON_FILE), Open::Truncate) {
        let _ = file.append(format!("{reason}\n").as_bytes()).and_then(|_| file.sync());
    }
    Ok(to)
}

impl Inner {
    /// Puts the blocks aside whose index reading has found damaged.
    pub(super) fn put_damaged_aside(&self) -> Result<(), TsdbError> {
        let blocks = Arc::clone(&self.view.read().blocks);
        for block in blocks.iter() {
            if let Some((offset, what)) = block.index_damage() {
                let error = TsdbError::corrupt(block.dir().join("index"), offset, what);
                self.quarantine(block.meta().ulid, &describe(&error))?;
            }
        }
        let chunks = blocks.iter().map(|b| b.damaged_chunks() as u64).sum::<u64>();
        self.metrics.damaged_chunks.store(chunks, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Takes a block out of the view and puts it aside. Queries that read it go on.
    pub(super) fn quarantine(&self, ulid: Ulid, reason: &str) -> Result<(), TsdbError> {
        let Some(dir) = &self.options.dir else { return Ok(()) };
        let path = put_aside(&*self.options.fs, dir, &ulid.to_string(), reason)?;
        let mut view = self.view.write();
        let rest: Vec<Arc<Block>> =
            view.blocks.iter().filter(|b| b.meta().ulid != ulid).cloned().collect();
        view.blocks = Arc::new(rest);
        drop(view);
        self.metrics.quarantined.inc();
        tracing::error!(path = %path.display(), reason, "a damaged block is put aside");
        self.options.events.send(&Event::BlockQuarantined { path, reason: reason.to_owned() });
        Ok(())
    }
}
