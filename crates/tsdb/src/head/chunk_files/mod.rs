//! Closed chunks on disk: the files of `chunks_head`, in Prometheus' format.
//!
//! Series hold places in these files. The files have consecutive numbers, are only ever appended to,
//! and go, oldest first, when all their chunks lie in blocks. The log has every sample that is in
//! them and not in a block, so nothing depends on when they reach the disk, as long as they do so in
//! order; what is damaged can be left out, with all that comes after it.

mod format;
mod open;
mod reader;
mod sealed;
#[cfg(test)]
mod tests;
mod write;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use firesteel_model::Timestamp;

pub(crate) use self::{
    open::{Found, check},
    reader::ChunkReader,
    sealed::{Data, Place, Sealed, Stored},
    write::ToWrite,
};
use crate::{
    TsdbError,
    fs::{File, Fs, Open, replace_file},
    sync::{AtomicI64, AtomicU64, Mutex, RwLock},
};

/// The directory of the files.
pub(crate) const DIR: &str = "chunks_head";

/// A file of chunks. Whoever holds it can read it, even after it was removed.
#[derive(Debug)]
pub(crate) struct ChunkFile {
    number: u32,
    path: PathBuf,
    file: Arc<dyn File>,
    /// Bytes of whole chunks.
    len: AtomicU64,
    /// Newest sample.
    newest: AtomicI64,
}

impl ChunkFile {
    fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }
}

/// The files of a directory.
#[derive(Debug)]
pub(crate) struct ChunkFiles {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    files: RwLock<BTreeMap<u32, Arc<ChunkFile>>>,
    writer: Mutex<write::Writer>,
}

impl ChunkFiles {
    /// A file, if it is still there.
    pub(crate) fn get(&self, number: u32) -> Option<Arc<ChunkFile>> {
        self.files.read().get(&number).cloned()
    }

    /// Where the next chunk goes, or before: a file's number and an offset in it.
    pub(crate) fn end(&self) -> (u32, u64) {
        self.files.read().last_key_value().map_or((0, 0), |(&number, f)| (number, f.len()))
    }

    /// Whether there is something at a place.
    pub(crate) fn has(&self, place: Place) -> bool {
        let end = u64::from(place.offset) + format::entry_len(usize::from(place.len)) as u64;
        self.files.read().get(&place.file).is_some_and(|f| end <= f.len())
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.read().values().map(|f| f.len()).sum()
    }

    /// Removes the files whose samples are all before `mint`. As Prometheus does not start where a
    /// number is missing, only the oldest go, one after the other.
    pub(crate) fn remove_before(&self, mint: Timestamp) -> Result<(), TsdbError> {
        self.writer.lock().end_file();
        loop {
            let oldest = self.files.read().values().next().cloned();
            let Some(file) = oldest.filter(|f| f.newest.load(Ordering::Acquire) < mint) else {
                return Ok(());
            };
            match self.fs.remove_file(&file.path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(TsdbError::io("remove", &file.path)(e));
                }
                _ => {}
            }
            self.files.write().remove(&file.number);
            self.fs.sync_dir(&self.dir).map_err(TsdbError::io("sync", &self.dir))?;
        }
    }

    /// Brings another file of the same file system to disk, if it is still there.
    pub(crate) fn sync_file(&self, path: &Path) -> Result<(), TsdbError> {
        match self.fs.open(path, Open::Read) {
            Ok(file) => file.sync().map_err(TsdbError::io("sync", path)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(TsdbError::io("open", path)(e)),
        }
    }

    /// Makes everything durable that was written.
    pub(crate) fn sync(&self) -> Result<(), TsdbError> {
        self.writer.lock().sync(&*self.fs, &self.dir)
    }
}

/// Has everybody skip the out-of-order chunks in the files of a data directory. The others stay
/// where they are.
pub(crate) fn remove_out_of_order(fs: &dyn Fs, data: &Path) -> Result<(), TsdbError> {
    for (_, path) in open::list(fs, &data.join(DIR))? {
        let bytes = fs.read_all(&path).map_err(TsdbError::io("read", &path))?;
        if let Some(rest) = format::without_out_of_order(&bytes) {
            replace_file(fs, &path, &rest)?;
        }
    }
    Ok(())
}
