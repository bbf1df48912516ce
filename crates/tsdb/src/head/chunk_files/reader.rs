//! Reading closed chunks.

use std::sync::Arc;

use super::{
    ChunkFile, ChunkFiles, format,
    sealed::{Data, Place, Sealed},
};
use crate::TsdbError;

/// Buffers of a reader. Neighbouring series are neighbours in each of the files (or parts of one)
/// that were written one after the other, so a reader of many series goes through several places at
/// once, each from front to end.
const WINDOWS: usize = 8;
/// How much is read ahead at most.
const MAX_AHEAD: usize = 64 << 10;
/// A chunk this little after what was read counts as next to it.
const NEAR: u64 = 4 << 10;

/// Reads closed chunks, wherever they are, and checks them.
pub(crate) struct ChunkReader {
    files: Option<Arc<ChunkFiles>>,
    windows: Vec<Window>,
    /// Counts the uses of windows.
    clock: u64,
}

struct Window {
    file: Arc<ChunkFile>,
    bytes: Vec<u8>,
    at: u64,
    ahead: usize,
    used: u64,
}

impl Window {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// The bytes at an offset, as far as they are here.
    fn from(&self, offset: u64) -> &[u8] {
        let at = offset.checked_sub(self.at).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }

    fn fill(&mut self, offset: u64, min: usize) -> Result<(), TsdbError> {
        let end = self.file.len();
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        if left < min {
            let what = format!("{min} bytes expected, the file ends at {end}");
            return Err(TsdbError::corrupt(&self.file.path, offset, what));
        }
        self.bytes.clear();
        self.at = offset;
        let len = self.ahead.max(min).min(left);
        self.bytes.resize(len, 0);
        let read = self.file.file.read_exact_at(&mut self.bytes, offset);
        if let Err(error) = read {
            self.bytes.clear();
            return Err(TsdbError::io("read", &self.file.path)(error));
        }
        Ok(())
    }
}

impl ChunkReader {
    pub(crate) const fn new(files: Option<Arc<ChunkFiles>>) -> Self {
        Self { files, windows: Vec::new(), clock: 0 }
    }

    /// The bytes of a chunk.
    pub(crate) fn get<'a>(&'a mut self, chunk: &'a Sealed) -> Result<&'a [u8], TsdbError> {
        match &chunk.data {
            Data::Memory(bytes) => Ok(bytes),
            Data::File(place) => self.read(chunk, *place),
        }
    }

    fn read(&mut self, chunk: &Sealed, place: Place) -> Result<&[u8], TsdbError> {
        let offset = u64::from(place.offset);
        let mut need = format::entry_len(usize::from(place.len));
        if place.len == Place::LONG {
            let window = self.window(place.file, offset, need)?;
            let len = format::entry_len_at(window.from(offset));
            let file = &window.file;
            need = len.ok_or_else(|| TsdbError::corrupt(&file.path, offset, "bad length"))?;
        }
        let window = self.window(place.file, offset, need)?;
        let corrupt = |what: &str| TsdbError::corrupt(&window.file.path, offset, what.to_owned());
        let bytes = window.from(offset).get(..need).unwrap_or_default();
        let entry = format::entry(bytes).map_err(corrupt)?;
        match entry {
            Some(e) if (e.mint, e.maxt) == (chunk.mint, chunk.maxt) && e.len == need => Ok(e.data),
            _ => Err(corrupt("not the chunk that should be here")),
        }
    }

    /// A window that has `need` bytes at an offset.
    fn window(&mut self, file: u32, offset: u64, need: usize) -> Result<&Window, TsdbError> {
        self.clock += 1;
        let has = |w: &Window| w.file.number == file && w.from(offset).len() >= need;
        let next_to = |w: &Window| {
            w.file.number == file && offset >= w.at && offset <= w.end().saturating_add(NEAR)
        };
        let at = if let Some(at) = self.windows.iter().position(has) {
            at
        } else {
            let at = if let Some(at) = self.windows.iter().position(next_to) {
                let window = &mut self.windows[at];
                window.ahead = (window.ahead * 2).max(need * 4).min(MAX_AHEAD);
                at
            } else {
                self.replace(file)?
            };
            self.windows[at].fill(offset, need)?;
            at
        };
        let window = &mut self.windows[at];
        window.used = self.clock;
        Ok(window)
    }

    /// Gives up the window that was not used for longest for one of another place.
    fn replace(&mut self, file: u32) -> Result<usize, TsdbError> {
        let oldest = || self.windows.iter().enumerate().min_by_key(|w| w.1.used).map(|w| w.0);
        let known = self.windows.iter().find(|w| w.file.number == file).map(|w| &w.file);
        let file = match known {
            Some(file) => Arc::clone(file),
            None => {
                let found = self.files.as_ref().and_then(|f| f.get(file));
                found.ok_or_else(|| {
                    TsdbError::Invalid(format!("no file of head chunks has number {file}"))
                })?
            }
        };
        if self.windows.len() < WINDOWS {
            let bytes = Vec::new();
            self.windows.push(Window { file, bytes, at: 0, ahead: 0, used: 0 });
            return Ok(self.windows.len() - 1);
        }
        let at = oldest().unwrap_or(0);
        let window = &mut self.windows[at];
        window.file = file;
        window.ahead = 0;
        Ok(at)
    }
}
