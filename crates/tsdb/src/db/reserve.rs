//! Space that is kept for a full disk.
//!
//! A file that is allocated and not written, but for its own size as text. When the disk is full it is removed, so that
//! checkpoint, retention and closing can finish; commits stay refused meanwhile (see
//! [`crate::wal::writer::Writer`]), or they would use it up. When space is back it is made again.

use std::path::{Path, PathBuf};

use super::{Event, Inner, maintain::Maintenance};
use crate::{
    TsdbError,
    fs::{Fs, Open},
};

const FILE: &str = "firesteel.reserve";
/// What is reserved at most, unless another size is asked for.
const MAX: u64 = 16 << 20;
/// The default is this part of the free space.
const PART: u64 = 64;
/// It is not made smaller than this: then there is none.
const MIN: u64 = 4 << 10;
/// What must be free beyond it.
const MARGIN: u64 = 64 << 10;

/// The reserve of a data directory.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    /// Bytes asked for; `None` for the default.
    wanted: Option<u64>,
    /// Bytes that it has, or had before it was released.
    pub(super) bytes: u64,
    /// Whether it is there.
    pub(super) held: bool,
}

impl Reserve {
    pub(super) fn new(data: &Path, wanted: Option<u64>) -> Self {
        Self { path: data.join(FILE), wanted, bytes: 0, held: false }
    }

    /// Makes it, if there is space for it and for as much again.
    pub(super) fn take(&mut self, fs: &dyn Fs) -> Result<(), TsdbError> {
        if self.held || self.wanted == Some(0) {
            return Ok(());
        }
        let dir = self.path.parent().unwrap_or(&self.path);
        let free = fs.space(dir).map_err(TsdbError::io("ask for space of", dir))?.free;
        // That of an earlier process counts as free.
        let old = self.old(fs);
        let bytes = match (self.wanted, self.bytes.max(old)) {
            (Some(wanted), _) => wanted,
            (None, 0) => (free / PART).min(MAX),
            (None, before) => before,
        };
        if bytes < MIN || free.saturating_add(old) < bytes.saturating_add(MARGIN) {
            // What is there can be given free all the same.
            (self.bytes, self.held) = (self.bytes.max(old), old > 0);
            return Ok(());
        }
        let file =
            fs.open(&self.path, Open::Truncate).map_err(TsdbError::io("create", &self.path))?;
        let made = file.append(format!("{bytes}\n").as_bytes()).and_then(|_| file.allocate(bytes));
        if let Err(error) = made {
            let _ = fs.remove_file(&self.path);
            return Err(TsdbError::io("reserve", &self.path)(error));
        }
        (self.bytes, self.held) = (bytes, true);
        Ok(())
    }

    /// What an earlier process has reserved.
    fn old(&self, fs: &dyn Fs) -> u64 {
        let len = fs.metadata(&self.path).map_or(0, |m| m.len.min(32));
        let text = fs.read(&self.path, 0..len).ok().map(|bytes| bytes.to_vec());
        let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
        text.and_then(|t| t.trim().parse().ok()).unwrap_or(0)
    }

    /// Whether it is there, or there is none to be had.
    pub(super) const fn is_satisfied(&self) -> bool {
        self.held || self.bytes == 0
    }

    /// Gives the space back. Returns whether there was any.
    pub(super) fn release(&mut self, fs: &dyn Fs) -> bool {
        std::mem::take(&mut self.held) && fs.remove_file(&self.path).is_ok()
    }
}

impl Inner {
    /// Sees to the reserve, and whether commits are refused or taken again.
    pub(super) fn look_at_space(&self, maintenance: &mut Maintenance) {
        let full = self.head.with_wal(|wal| wal.full().map(ToOwned::to_owned)).flatten();
        if let Some(reason) = full {
            self.out_of_space(maintenance, reason);
            return;
        }
        if let Some(reserve) = &mut maintenance.reserve
            && !reserve.held
            && reserve.take(&*self.options.fs).is_ok()
            && reserve.held
        {
            self.head.with_wal(|wal| wal.keep_free(0));
        }
        let ready = maintenance.reserve.as_ref().is_none_or(Reserve::is_satisfied);
        if ready && std::mem::take(&mut maintenance.full) {
            tracing::info!("there is space on the disk again, ingestion goes on");
            self.options.events.send(&Event::IngestionResumed);
        }
    }

    /// Gives the reserve free for what makes space, which is tried at once.
    pub(super) fn out_of_space(&self, maintenance: &mut Maintenance, reason: String) {
        if let Some(reserve) = &mut maintenance.reserve
            && reserve.release(&*self.options.fs)
        {
            let bytes = reserve.bytes;
            self.head.with_wal(|wal| wal.keep_free(bytes));
            (maintenance.retry, maintenance.looked) = (None, None);
        }
        if !std::mem::replace(&mut maintenance.full, true) {
            tracing::error!(reason, "the disk is full");
            self.options.events.send(&Event::OutOfSpace { reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::SimFs;

    #[test]
    fn it_is_made_when_there_is_space_and_gone_when_released() {
        let fs = SimFs::new();
        let dir = Path::new("/");
        fs.set_total(64 << 20);
        let free = || fs.space(dir).unwrap().free;
        let mut reserve = Reserve::new(dir, None);
        reserve.take(&fs).unwrap();
        assert_eq!((reserve.bytes, reserve.held, free()), (1 << 20, true, 63 << 20));
        // A restart finds it and keeps its size.
        let mut again = Reserve::new(dir, None);
        again.take(&fs).unwrap();
        assert_eq!((again.bytes, free()), (1 << 20, 63 << 20));
        assert!(again.release(&fs) && !again.release(&fs));
        assert_eq!(free(), 64 << 20);
        fs.set_total(1 << 20);
        again.take(&fs).unwrap();
        assert!(!again.held, "the disk is too full for it");
        let mut none = Reserve::new(dir, Some(0));
        none.take(&fs).unwrap();
        assert!(!none.held && free() == 1 << 20);
    }
}
