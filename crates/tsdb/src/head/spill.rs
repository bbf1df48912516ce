//! Bringing closed chunks from memory into files.
//!
//! Chunks are closed under their stripe's lock and wait in its memory. They are written in batches,
//! in order of the series, by maintenance. No lock that appends or queries need is held meanwhile.
//! Where writing fails, they wait on.
//!
//! **Order: the log reaches the disk before chunks of its samples are written.** Else a power failure
//! could leave chunks with samples of commits of which the log has lost the rest.

use std::{path::PathBuf, sync::atomic::Ordering};

use super::{Head, chunk_files::ToWrite, stripe::stripe_of};
use crate::TsdbError;

/// Bytes of waiting chunks from which on it is worth while to write them.
const MANY: usize = 4 << 20;
/// Bytes from which on a commit does it, if nobody else does.
const TOO_MANY: usize = 64 << 20;

impl Head {
    /// Whether so many chunks wait that they should be written soon.
    pub(crate) fn many_wait(&self) -> bool {
        self.waiting.load(Ordering::Acquire) >= MANY
    }

    /// Writes the chunks that wait. Returns their number.
    ///
    /// # Errors
    /// The system's. What could not be written waits on; until a later call succeeds commits leave
    /// it alone.
    pub(crate) fn spill(&self) -> Result<usize, TsdbError> {
        if self.waiting.load(Ordering::Acquire) == 0 || self.chunk_files().is_none() {
            return Ok(0);
        }
        let _one_at_a_time = self.spilling.lock();
        self.spill_locked()
    }

    /// Takes note of a segment of the log that was read at the start: nobody knows whether who
    /// wrote it brought it to disk.
    pub(crate) fn note_old_log(&self, path: PathBuf) {
        self.old_log.lock().push(path);
    }

    /// Writes the chunks that wait, and brings the files to disk.
    pub(crate) fn spill_to_disk(&self) -> Result<(), TsdbError> {
        self.spill()?;
        self.chunk_files().map_or(Ok(()), |files| files.sync())
    }

    /// Writes the chunks that wait if these are far too many and nobody is about it.
    pub(super) fn spill_if_too_many(&self) {
        if self.waiting.load(Ordering::Acquire) >= TOO_MANY {
            self.spill_too_many();
        }
    }

    #[cold]
    fn spill_too_many(&self) {
        let Some(_one_at_a_time) = self.spilling.try_lock() else { return };
        if self.spill_failed.load(Ordering::Acquire) || self.chunk_files().is_none() {
            return;
        }
        if let Err(error) = self.spill_locked() {
            tracing::error!(%error, "chunks of the head stay in memory");
        }
    }

    /// Brings the log to disk. False where a part of it has to be written anew first.
    fn sync_log(&self) -> Result<bool, TsdbError> {
        let mut result = Ok(());
        if let Some(files) = self.chunk_files() {
            let mut old = self.old_log.lock();
            while let Some(path) = old.last() {
                files.sync_file(path)?;
                old.pop();
            }
        }
        for (path, file) in self.with_wal(|wal| wal.take_unsynced()).unwrap_or_default() {
            if let Err(error) = file.sync() {
                result = Err(TsdbError::io("sync", &path)(error));
                self.with_wal(|wal| wal.sync_failed(path));
            }
        }
        result.map(|()| !self.with_wal(|wal| wal.has_closed_unsynced()).unwrap_or(false))
    }

    fn spill_locked(&self) -> Result<usize, TsdbError> {
        let Some(files) = self.chunk_files() else { return Ok(0) };
        let mut waiting = Vec::new();
        // The index keeps the numbers of the series from being given to others meanwhile.
        let index = self.index.read();
        for stripe in &self.stripes {
            stripe.lock().waiting(&mut waiting);
        }
        for (id, chunk) in &mut waiting {
            chunk.series = index.reference(*id);
        }
        drop(index);
        match self.sync_log() {
            Ok(true) => {}
            Ok(false) => return Ok(0),
            Err(error) => {
                self.spill_failed.store(true, Ordering::Release);
                return Err(error);
            }
        }
        waiting.retain(|(_, chunk)| chunk.series != 0);
        if waiting.is_empty() {
            return Ok(0);
        }
        waiting.sort_unstable_by_key(|(id, chunk)| (*id, chunk.mint));
        let (ids, chunks): (Vec<u32>, Vec<ToWrite>) = waiting.into_iter().unzip();
        let mut written = 0;
        let result = files.write(&chunks, |i, place| {
            if let (Some(&id), Some(chunk)) = (ids.get(i), chunks.get(i)) {
                self.stripes[stripe_of(id)].lock().placed(id, chunk, place);
                written += 1;
            }
        });
        drop(chunks);
        let left = self.stripes.iter().map(|s| s.lock().waiting_bytes()).sum();
        self.waiting.store(left, Ordering::Release);
        self.spill_failed.store(result.is_err(), Ordering::Release);
        result.map(|()| written)
    }
}
