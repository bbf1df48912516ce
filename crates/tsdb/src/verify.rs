//! Whether what lies in a data directory is sound. Reads everything and writes nothing; works on the
//! directory of a running server, too, whose newest records may then look cut.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    TsdbError,
    block::{Block, Ulid},
    fs::Fs,
    head::ChunkFiles,
    wal::{
        read::read_segment,
        segments::{checkpoint_path, list_checkpoints, list_segments, segment_path},
    },
};

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// Whether only the end of a log is missing, as after a crash. The next start mends that.
    pub torn: bool,
}

impl From<TsdbError> for Finding {
    fn from(error: TsdbError) -> Self {
        match error {
            TsdbError::Corrupt { path, offset, what } => Self { path, offset, what, torn: false },
            TsdbError::Io { path, source, .. } => {
                Self { path, offset: 0, what: source.to_string(), torn: false }
            }
            other => Self { path: PathBuf::new(), offset: 0, what: other.to_string(), torn: false },
        }
    }
}

/// How far a check is: the part under way, and how much of how much of it is done.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// A block, or a file.
    pub part: &'a Path,
    /// Series of a block, or segments of a log.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// Checks blocks (meta.json, index, chunks, tombstones), head chunks, log, checkpoints and
/// out-of-order log in `dir`. Returns what is damaged.
///
/// # Errors
/// The directory itself cannot be read.
pub fn directory(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Finding>, TsdbError> {
    let mut found = Vec::new();
    for entry in fs.read_dir(dir).map_err(TsdbError::io("list", dir))? {
        if entry.is_dir && entry.name.parse::<Ulid>().is_ok() {
            let path = dir.join(&entry.name);
            match Block::open(Arc::clone(fs), &path) {
                Ok(block) => {
                    let bad = block.verify(&mut |done, total| {
                        progress(Progress { part: &path, done, total });
                    });
                    found.extend(bad.into_iter().map(Finding::from));
                }
                Err(error) => found.push(error.into()),
            }
        }
    }
    match ChunkFiles::open(Arc::clone(fs), dir) {
        Ok((_, chunks)) => {
            let finding = |(path, offset, what)| Finding { path, offset, what, torn: false };
            found.extend(chunks.damage.into_iter().map(finding));
        }
        Err(error) => found.push(error.into()),
    }
    let wal = dir.join("wal");
    for checkpoint in list_checkpoints(&**fs, &wal)? {
        log(&**fs, &checkpoint_path(&wal, checkpoint), &mut found, progress)?;
    }
    // Prometheus' head snapshots have the log's format, too.
    let entries = fs.read_dir(dir).map_err(TsdbError::io("list", dir))?;
    let snapshots = entries.iter().filter(|e| e.is_dir && e.name.starts_with("chunk_snapshot."));
    let snapshots = snapshots.map(|e| dir.join(&e.name));
    for log_dir in [wal, dir.join("wbl")].into_iter().chain(snapshots) {
        log(&**fs, &log_dir, &mut found, progress)?;
    }
    Ok(found)
}

/// Checks the segments of a log.
fn log(
    fs: &dyn Fs,
    dir: &Path,
    found: &mut Vec<Finding>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), TsdbError> {
    let segments = list_segments(fs, dir)?;
    for (i, &segment) in segments.iter().enumerate() {
        let path = segment_path(dir, segment);
        match fs.read_all(&path) {
            Ok(data) => {
                let damage = read_segment(&data, |_| {}).damage;
                found.extend(damage.into_iter().map(|d| Finding {
                    path: path.clone(),
                    offset: d.start as u64,
                    what: d.what,
                    // A cut in the middle of the log cost what a crash would not have.
                    torn: d.torn && i + 1 == segments.len(),
                }));
            }
            Err(error) => found.push(TsdbError::io("read", &path)(error).into()),
        }
        progress(Progress { part: dir, done: i as u64 + 1, total: segments.len() as u64 });
    }
    Ok(())
}
