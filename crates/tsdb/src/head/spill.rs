//! Bringing closed chunks from memory into files.
//!
//! Chunks are closed under their stripe's lock and wait in its memory. They are written in batches,
//! in order of the series, by maintenance or by a commit that finds too many waiting. No lock that
//! appends or queries need is held meanwhile. Where writing fails, they wait on.

use std::sync::atomic::Ordering;

use super::{Head, chunk_files::ToWrite, stripe::stripe_of};
use crate::TsdbError;

/// Bytes of waiting chunks from which on a commit writes them.
const MANY: usize = 4 << 20;
/// Bytes from which on it does so even if that takes a new file, which has to wait for the disk.
const TOO_MANY: usize = 64 << 20;

impl Head {
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

    /// Writes the chunks that wait, and brings the files to disk.
    pub(crate) fn spill_to_disk(&self) -> Result<(), TsdbError> {
        self.spill()?;
        self.chunk_files().map_or(Ok(()), |files| files.sync())
    }

    /// Writes the chunks that wait if these are many and nobody is about it.
    pub(super) fn spill_if_many(&self) {
        let waiting = self.waiting.load(Ordering::Acquire);
        if waiting >= MANY {
            self.spill_many(waiting);
        }
    }

    #[cold]
    fn spill_many(&self, waiting: usize) {
        let Some(files) = self.chunk_files() else { return };
        let Some(_one_at_a_time) = self.spilling.try_lock() else { return };
        if self.spill_failed.load(Ordering::Acquire)
            || waiting < TOO_MANY && !files.has_room(waiting as u64 * 2)
        {
            return;
        }
        if let Err(error) = self.spill_locked() {
            tracing::error!(%error, "chunks of the head stay in memory");
        }
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
        waiting.retain(|(_, chunk)| chunk.series != 0);
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
