//! Files that are read in pieces.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use super::{File, Fs, Open, Slice};
use crate::TsdbError;

/// What a [`Window`] reads at least, and what it reads ahead at most.
const MIN_WINDOW: usize = 4 << 10;
const MAX_WINDOW: usize = 128 << 10;
/// How many damaged places of a file are remembered.
const MAX_DAMAGE: usize = 10_000;

enum Bytes {
    Slice(Slice),
    File(Arc<dyn File>),
}

/// An immutable file, mapped or read with `pread`, as the file system prefers.
pub(crate) struct Source {
    path: PathBuf,
    len: u64,
    bytes: Bytes,
    /// Damage that was met, by offset; the first of it stays.
    damage: Mutex<BTreeMap<u64, String>>,
    damaged: AtomicBool,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?}, {} bytes)", self.path, self.len)
    }
}

impl Source {
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> Result<Self, TsdbError> {
        let (len, bytes) = if fs.maps() {
            let slice = fs.read_all(path).map_err(TsdbError::io("read", path))?;
            (slice.len() as u64, Bytes::Slice(slice))
        } else {
            let file = fs.open(path, Open::Read).map_err(TsdbError::io("open", path))?;
            let len = file.len().map_err(TsdbError::io("stat", path))?;
            (len, Bytes::File(file))
        };
        let (damage, damaged) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { path: path.to_owned(), len, bytes, damage, damaged })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Damage at an offset of this file. It is remembered.
    #[cold]
    pub(crate) fn corrupt(&self, offset: u64, what: impl Into<String>) -> TsdbError {
        let what = what.into();
        let mut damage = self.damage.lock();
        if damage.len() < MAX_DAMAGE {
            damage.entry(offset).or_insert_with(|| what.clone());
        }
        drop(damage);
        self.damaged.store(true, Ordering::Release);
        TsdbError::corrupt(&self.path, offset, what)
    }

    /// Whether something at this offset was found damaged before.
    pub(crate) fn is_damaged_at(&self, offset: u64) -> bool {
        self.damaged.load(Ordering::Acquire) && self.damage.lock().contains_key(&offset)
    }

    /// What was found damaged so far, by offset.
    pub(crate) fn damage(&self) -> Vec<(u64, String)> {
        if !self.damaged.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.damage.lock().iter().map(|(at, what)| (*at, what.clone())).collect()
    }

    /// Checks that the file has `len` bytes at `offset`, before memory is taken for them.
    pub(crate) fn check(&self, offset: u64, len: u64) -> Result<(), TsdbError> {
        if offset.checked_add(len).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        let has = self.len;
        Err(self.corrupt(offset, format!("{len} bytes expected, the file ends at {has}")))
    }

    /// Replaces `out` with `len` bytes at `offset`.
    pub(crate) fn read(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<(), TsdbError> {
        self.check(offset, len as u64)?;
        out.clear();
        match &self.bytes {
            Bytes::Slice(slice) => {
                // In range, as checked.
                let at = offset as usize;
                out.extend_from_slice(slice.get(at..at + len).unwrap_or_default());
            }
            Bytes::File(file) => {
                out.resize(len, 0);
                file.read_exact_at(out, offset).map_err(TsdbError::io("read", &self.path))?;
            }
        }
        Ok(())
    }
}

/// A buffer over a part of one [`Source`], which reads ahead while it is used in order. For mapped
/// files it holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Window {
    buffer: Vec<u8>,
    at: u64,
    ahead: usize,
    /// Up to here it will be asked for.
    until: u64,
}

impl Window {
    /// The bytes at `offset`: `min` at least, and what else is at hand.
    #[inline]
    pub(crate) fn get<'a>(
        &'a mut self,
        source: &'a Source,
        offset: u64,
        min: usize,
    ) -> Result<&'a [u8], TsdbError> {
        match &source.bytes {
            Bytes::Slice(slice) => {
                source.check(offset, min as u64)?;
                Ok(slice.get(offset as usize..).unwrap_or_default())
            }
            Bytes::File(_) => {
                let end = self.at + self.buffer.len() as u64;
                if offset < self.at || offset.saturating_add(min as u64) > end {
                    self.fill(source, offset, min, end)?;
                }
                Ok(self.buffer.get((offset - self.at) as usize..).unwrap_or_default())
            }
        }
    }

    /// As [`Window::get`], with fewer than `want` bytes only at the end of the file.
    pub(crate) fn upto<'a>(
        &'a mut self,
        source: &'a Source,
        offset: u64,
        want: usize,
    ) -> Result<&'a [u8], TsdbError> {
        let left = source.len.saturating_sub(offset);
        self.get(source, offset, left.min(want as u64) as usize)
    }

    #[cold]
    fn fill(
        &mut self,
        source: &Source,
        offset: u64,
        min: usize,
        end: u64,
    ) -> Result<(), TsdbError> {
        source.check(offset, min as u64)?;
        let in_order = offset >= self.at && offset <= end + MIN_WINDOW as u64;
        self.ahead =
            if in_order { (self.ahead * 2).clamp(MIN_WINDOW, MAX_WINDOW) } else { MIN_WINDOW };
        let left = usize::try_from(source.len - offset).unwrap_or(usize::MAX);
        let announced = usize::try_from(self.until.saturating_sub(offset)).unwrap_or(MAX_WINDOW);
        let len = self.ahead.max(announced.min(MAX_WINDOW)).max(min).min(left);
        let mut buffer = std::mem::take(&mut self.buffer);
        source.read(offset, len, &mut buffer)?;
        self.buffer = buffer;
        self.at = offset;
        Ok(())
    }

    /// Announces that it will be asked for everything up to an offset, so that the next read
    /// brings as much of it as fits.
    pub(crate) const fn announce(&mut self, until: u64) {
        self.until = until;
    }

    /// Forgets what it holds, to go on with another source.
    pub(crate) fn reset(&mut self) {
        self.until = 0;
        self.buffer.clear();
        self.at = 0;
        self.ahead = 0;
    }
}
