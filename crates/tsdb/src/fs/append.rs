//! Writing a new file from front to end.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{File, Fs, Open};
use crate::TsdbError;

const BUFFER: usize = 128 << 10;

/// A new file that is written from front to end through a buffer.
#[derive(Debug)]
pub(crate) struct AppendWriter {
    path: PathBuf,
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    /// Length of what the file has already.
    flushed: u64,
}

impl AppendWriter {
    /// Makes the file, which must not exist.
    pub(crate) fn create(fs: &dyn Fs, path: &Path) -> Result<Self, TsdbError> {
        let file = fs.open(path, Open::CreateNew).map_err(TsdbError::io("create", path))?;
        Ok(Self { path: path.to_owned(), file, buffer: Vec::new(), flushed: 0 })
    }

    /// Where the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), TsdbError> {
        self.with(|buffer| buffer.extend_from_slice(data))
    }

    /// Lets `f` append to the buffer, then writes that out if it is full.
    pub(crate) fn with(&mut self, f: impl FnOnce(&mut Vec<u8>)) -> Result<(), TsdbError> {
        f(&mut self.buffer);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Writes zeros up to a multiple of `unit`.
    pub(crate) fn align(&mut self, unit: u64) -> Result<(), TsdbError> {
        let zeros = (unit - self.position() % unit) % unit;
        self.with(|buffer| buffer.resize(buffer.len() + zeros as usize, 0))
    }

    fn flush(&mut self) -> Result<(), TsdbError> {
        self.file.append(&self.buffer).map_err(TsdbError::io("write", &self.path))?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes out what is buffered and syncs the file. Returns its length.
    pub(crate) fn finish(mut self) -> Result<u64, TsdbError> {
        self.flush()?;
        self.file.sync().map_err(TsdbError::io("sync", &self.path))?;
        Ok(self.flushed)
    }
}

/// Writes a file whole: beside its place, synced, then renamed, and the directory synced.
pub(crate) fn replace_file(fs: &dyn Fs, path: &Path, data: &[u8]) -> Result<(), TsdbError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let file = fs.open(&temporary, Open::Truncate).map_err(TsdbError::io("create", &temporary))?;
    file.append(data).map_err(TsdbError::io("write", &temporary))?;
    file.sync().map_err(TsdbError::io("sync", &temporary))?;
    fs.rename(&temporary, path).map_err(TsdbError::io("rename", &temporary))?;
    if let Some(dir) = path.parent() {
        fs.sync_dir(dir).map_err(TsdbError::io("sync", dir))?;
    }
    Ok(())
}
