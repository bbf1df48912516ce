//! Writing closed chunks.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use firesteel_chunk::Encoding;
use firesteel_model::Timestamp;

use super::{
    ChunkFile, ChunkFiles, Place, Stored,
    format::{self, HEADER},
};
use crate::{
    TsdbError,
    fs::{Fs, Open},
    sync::{AtomicI64, AtomicU64},
};

/// Bytes of a file at most. Source: Prometheus `MaxHeadChunkFileSize`.
pub(super) const MAX_FILE_BYTES: u64 = 128 << 20;
/// Bytes per write, about.
const BUFFER: usize = 256 << 10;

/// A chunk to be written.
#[derive(Debug)]
pub(crate) struct ToWrite {
    /// Reference of its series.
    pub(crate) series: u64,
    pub(crate) mint: Timestamp,
    pub(crate) maxt: Timestamp,
    pub(crate) encoding: Encoding,
    pub(crate) data: Arc<[u8]>,
}

/// Where chunks go.
#[derive(Debug)]
pub(super) struct Writer {
    /// The file that is written; `None` before the first chunk, and after the end of a file.
    current: Option<Arc<ChunkFile>>,
    /// Number of the next file.
    next: u32,
    /// Files that are complete but perhaps not on disk; those of an earlier process, too.
    unsynced: Vec<Arc<ChunkFile>>,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) const fn new(next: u32, unsynced: Vec<Arc<ChunkFile>>) -> Self {
        Self { current: None, next, unsynced, buffer: Vec::new() }
    }

    /// Has the next chunk go into a new file.
    pub(super) fn end_file(&mut self) {
        self.unsynced.extend(self.current.take());
    }

    pub(super) fn sync(&mut self, fs: &dyn Fs, dir: &Path) -> Result<(), TsdbError> {
        self.sync_complete()?;
        if let Some(file) = &self.current {
            file.file.sync().map_err(TsdbError::io("sync", &file.path))?;
            // The names of the file and of the directory.
            for dir in [Some(dir), dir.parent()].into_iter().flatten() {
                let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
                fs.sync_dir(dir).map_err(TsdbError::io("sync", dir))?;
            }
        }
        Ok(())
    }

    /// Brings the complete files to disk, the oldest first, up to the first failure.
    fn sync_complete(&mut self) -> Result<(), TsdbError> {
        while let Some(file) = self.unsynced.first() {
            file.file.sync().map_err(TsdbError::io("sync", &file.path))?;
            self.unsynced.remove(0);
        }
        Ok(())
    }

    /// Begins a file. The ones before it are on disk first: a start takes from the log what is newer
    /// than the chunks of a series, so a chunk must not outlive the one before it. Prometheus also
    /// takes only the last one for unfinished.
    fn begin(&mut self, files: &ChunkFiles) -> Result<Arc<ChunkFile>, TsdbError> {
        let (fs, dir) = (&*files.fs, &files.dir);
        self.sync_complete()?;
        fs.create_dir_all(dir).map_err(TsdbError::io("create", dir))?;
        let number = self.next;
        if number == Stored::MAX_FILE {
            return Err(TsdbError::Limit("numbers of head chunk files have run out".to_owned()));
        }
        let path: PathBuf = dir.join(format!("{number:06}"));
        // It may be there, if an earlier attempt failed.
        let file = fs.open(&path, Open::Truncate).map_err(TsdbError::io("create", &path))?;
        file.append(&HEADER).map_err(TsdbError::io("write", &path))?;
        fs.sync_dir(dir).map_err(TsdbError::io("sync", dir))?;
        let (len, newest) = (AtomicU64::new(HEADER.len() as u64), AtomicI64::new(Timestamp::MIN));
        let file = Arc::new(ChunkFile { number, path, file, len, newest });
        self.next = number + 1;
        files.files.write().insert(number, Arc::clone(&file));
        self.current = Some(Arc::clone(&file));
        Ok(file)
    }
}

impl ChunkFiles {
    /// Writes chunks, those of each series in order of time, and passes on where they are as soon as
    /// they can be read there.
    ///
    /// # Errors
    /// The system's. Chunks that were not passed on have to be written again.
    pub(crate) fn write(
        &self,
        chunks: &[ToWrite],
        mut placed: impl FnMut(usize, Place),
    ) -> Result<(), TsdbError> {
        let mut writer = self.writer.lock();
        let mut done = 0;
        while let Some(first) = chunks.get(done) {
            let file = match &writer.current {
                Some(f)
                    if f.len() + format::entry_len(first.data.len()) as u64 <= MAX_FILE_BYTES =>
                {
                    Arc::clone(f)
                }
                _ => {
                    writer.end_file();
                    writer.begin(self)?
                }
            };
            let mut buffer = std::mem::take(&mut writer.buffer);
            buffer.clear();
            let places = fill(&mut buffer, &file, chunks.get(done..).unwrap_or_default());
            let written = file.file.append(&buffer);
            let len = buffer.len() as u64;
            writer.buffer = buffer;
            if let Err(error) = written {
                // What is there of it must not be taken for chunks.
                let _ = file.file.set_len(file.len());
                writer.buffer = Vec::new();
                return Err(TsdbError::io("write", &file.path)(error));
            }
            file.len.fetch_add(len, Ordering::AcqRel);
            for &place in &places {
                if let Some(chunk) = chunks.get(done) {
                    file.newest.fetch_max(chunk.maxt, Ordering::AcqRel);
                    placed(done, place);
                }
                done += 1;
            }
        }
        writer.buffer.shrink_to(BUFFER / 4);
        Ok(())
    }
}

/// Encodes the first chunks, as many as go into one write and into the file. Returns where they will
/// be: one at least.
fn fill(buffer: &mut Vec<u8>, file: &ChunkFile, chunks: &[ToWrite]) -> Vec<Place> {
    let mut places = Vec::new();
    for chunk in chunks {
        let offset = file.len() + buffer.len() as u64;
        let end = offset + format::entry_len(chunk.data.len()) as u64;
        if !places.is_empty() && (buffer.len() >= BUFFER || end > MAX_FILE_BYTES) {
            break;
        }
        let range = (chunk.mint, chunk.maxt);
        format::put(buffer, chunk.series, range, chunk.encoding, &chunk.data);
        let len = u16::try_from(chunk.data.len()).unwrap_or(Place::LONG);
        // Within the file's limit, but for a first chunk of 4 GiB.
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        places.push(Place { file: file.number, offset, len });
    }
    places
}
