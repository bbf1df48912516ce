//! Names of segments and checkpoints, and which of them there are.

use std::path::{Path, PathBuf};

use crate::{TsdbError, fs::Fs};

const CHECKPOINT: &str = "checkpoint.";

/// Path of a segment.
#[must_use]
pub fn segment_path(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("{index:08}"))
}

/// Path of the checkpoint that covers the segments up to and with `index`.
#[must_use]
pub fn checkpoint_path(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("{CHECKPOINT}{index:08}"))
}

fn number(name: &str) -> Option<u64> {
    (name.len() >= 8 && name.bytes().all(|b| b.is_ascii_digit())).then(|| name.parse().ok())?
}

/// Numbers of the segments in a directory, ascending; none where there is no directory.
///
/// # Errors
/// The directory cannot be read.
pub fn list_segments(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>, TsdbError> {
    list(fs, dir, |name, is_dir| if is_dir { None } else { number(name) })
}

/// Numbers of the finished checkpoints in a directory, ascending.
///
/// # Errors
/// The directory cannot be read.
pub fn list_checkpoints(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>, TsdbError> {
    list(
        fs,
        dir,
        |name, is_dir| {
            if is_dir { name.strip_prefix(CHECKPOINT).and_then(number) } else { None }
        },
    )
}

fn list(
    fs: &dyn Fs,
    dir: &Path,
    pick: impl Fn(&str, bool) -> Option<u64>,
) -> Result<Vec<u64>, TsdbError> {
    if !fs.exists(dir).map_err(TsdbError::io("look for", dir))? {
        return Ok(Vec::new());
    }
    let entries = fs.read_dir(dir).map_err(TsdbError::io("list", dir))?;
    let mut found: Vec<_> = entries.iter().filter_map(|e| pick(&e.name, e.is_dir)).collect();
    found.sort_unstable();
    Ok(found)
}

/// Makes a directory, if it is missing, so that a power cut does not take it away.
///
/// # Errors
/// The system's.
pub(crate) fn make_dir(fs: &dyn Fs, dir: &Path) -> Result<(), TsdbError> {
    if fs.exists(dir).map_err(TsdbError::io("look for", dir))? {
        return Ok(());
    }
    fs.create_dir_all(dir).map_err(TsdbError::io("make", dir))?;
    if let Some(parent) = dir.parent() {
        // Of a relative path with one part, the parent is the empty path.
        let here = parent.as_os_str().is_empty();
        let parent = if here { Path::new(".") } else { parent };
        fs.sync_dir(parent).map_err(TsdbError::io("sync", parent))?;
    }
    Ok(())
}

/// Removes what unfinished checkpoints and repairs have left.
///
/// # Errors
/// The directory cannot be read or changed.
pub fn remove_leftovers(fs: &dyn Fs, dir: &Path) -> Result<(), TsdbError> {
    if !fs.exists(dir).map_err(TsdbError::io("look for", dir))? {
        return Ok(());
    }
    for entry in fs.read_dir(dir).map_err(TsdbError::io("list", dir))? {
        let path = dir.join(&entry.name);
        if entry.is_dir && entry.name.starts_with(CHECKPOINT) && entry.name.ends_with(".tmp") {
            fs.remove_dir_all(&path).map_err(TsdbError::io("remove", &path))?;
        } else if !entry.is_dir && entry.name.ends_with(".repair") {
            fs.remove_file(&path).map_err(TsdbError::io("remove", &path))?;
        }
    }
    Ok(())
}
