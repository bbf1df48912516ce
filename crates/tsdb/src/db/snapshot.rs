//! Copies of the database.

use std::{io, path::Path};

use super::{
    Db, TickStats,
    to_block::{self, Source},
};
use crate::{
    TsdbError,
    block::{BlockMeta, Compaction},
    fs::{Fs, Open},
};

/// Bytes that are copied at a time.
const COPY: usize = 1 << 20;

impl Db {
    /// Makes a copy of all blocks in `dir`, which is made where it is missing: by hard links, so that
    /// it takes no space, or byte by byte on another file system. With `with_head` what is in
    /// memory becomes a block there, too, as it is when this begins. Waits for a compaction that is
    /// under way.
    ///
    /// # Errors
    /// `dir` is the database's own, or the system's. What was made of the copy is left then.
    pub fn snapshot(&self, dir: impl AsRef<Path>, with_head: bool) -> Result<(), TsdbError> {
        let (inner, to) = (&self.0, dir.as_ref());
        if inner.options.dir.as_deref() == Some(to) {
            return Err(TsdbError::Invalid("cannot snapshot into base directory".to_owned()));
        }
        let mut care = inner.maintenance.lock();
        let fs = &*inner.options.fs;
        let now = inner.options.clock.now();
        fs.create_dir_all(to).map_err(TsdbError::io("make", to))?;
        if with_head {
            inner.ready()?;
            inner.compact_late(&mut care, now, &mut TickStats::default())?;
        }
        let view = inner.view.read();
        let (blocks, head_from) = (view.blocks.clone(), view.head_from);
        drop(view);
        for block in blocks.iter() {
            link_tree(fs, block.dir(), &to.join(block.meta().ulid.to_string()))?;
        }
        if let Some((oldest, newest)) = inner.head.time_range().filter(|_| with_head) {
            let ulid = inner.new_ulid(&mut care, to, now);
            let (start, end) = (oldest.max(head_from), newest.saturating_add(1));
            let meta = BlockMeta::new(ulid, start, end, Compaction::first_level(ulid));
            let (fs, events) = (inner.options.fs.clone(), &inner.options.events);
            to_block::write(&inner.head, Source::InOrder, fs, to, meta, events)?;
        }
        fs.sync_dir(to).map_err(TsdbError::io("sync", to))
    }
}

/// Links all files of a directory to another place, the directories below included.
fn link_tree(fs: &dyn Fs, from: &Path, to: &Path) -> Result<(), TsdbError> {
    fs.create_dir_all(to).map_err(TsdbError::io("make", to))?;
    for entry in fs.read_dir(from).map_err(TsdbError::io("list", from))? {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        if entry.is_dir {
            link_tree(fs, &from, &to)?;
        } else if !is_temporary(&entry.name) {
            link(fs, &from, &to)?;
        }
    }
    fs.sync_dir(to).map_err(TsdbError::io("sync", to))
}

/// Whether a file was being written when that was broken off.
fn is_temporary(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == "tmp")
}

fn link(fs: &dyn Fs, from: &Path, to: &Path) -> Result<(), TsdbError> {
    match fs.hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if can_be_copied(&error) => copy(fs, from, to),
        Err(error) => Err(TsdbError::io("link", to)(error)),
    }
}

/// Whether it is only links that the file system does not make.
fn can_be_copied(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), CrossesDevices | Unsupported | PermissionDenied | TooManyLinks)
}

fn copy(fs: &dyn Fs, from: &Path, to: &Path) -> Result<(), TsdbError> {
    let source = fs.open(from, Open::Read).map_err(TsdbError::io("open", from))?;
    let target = fs.open(to, Open::CreateNew).map_err(TsdbError::io("create", to))?;
    let len = source.len().map_err(TsdbError::io("read", from))?;
    let mut buffer = vec![0; usize::try_from(len).map_or(COPY, |n| n.min(COPY))];
    let mut at = 0;
    while at < len {
        let n = usize::try_from(len - at).map_or(COPY, |n| n.min(COPY));
        let part = buffer.get_mut(..n).unwrap_or_default();
        source.read_exact_at(part, at).map_err(TsdbError::io("read", from))?;
        target.append(part).map_err(TsdbError::io("write", to))?;
        at += n as u64;
    }
    target.sync().map_err(TsdbError::io("sync", to))
}
