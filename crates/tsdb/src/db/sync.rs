//! Bringing the log and closed chunks of the head to disk. This does not wait for compactions: it
//! has a lock of its own.

use std::{path::Path, time::Duration};

use firesteel_model::Timestamp;

use super::{
    DbBuilder, Inner, TickStats,
    maintain::{RETRY, note},
};
use crate::{
    TsdbError,
    fs::{Fs, replace_file},
    wal::writer::{Durability, Writer},
};

/// How often closed chunks are written where few of them wait.
const SPILL_TICK: Duration = Duration::from_secs(60);

/// What is kept in mind about the log.
pub(super) struct LogCare {
    /// Monotonic reading of the last sync.
    synced: Duration,
    /// The head's newest sample when the log was last cut.
    cut_at: Timestamp,
    /// Monotonic reading from which on closed chunks are written, even if these are few.
    spill_at: Duration,
    /// Whether they could not be written.
    spill_failed: bool,
}

impl LogCare {
    pub(super) fn new(options: &DbBuilder, newest: Timestamp) -> Self {
        let now = options.clock.monotonic();
        Self { synced: now, cut_at: newest, spill_at: now + SPILL_TICK, spill_failed: false }
    }
}

/// Writes a file again, under a new inode.
fn write_anew(fs: &dyn Fs, path: &Path) -> Result<(), TsdbError> {
    if !fs.exists(path).map_err(TsdbError::io("look for", path))? {
        return Ok(());
    }
    let data = fs.read_all(path).map_err(TsdbError::io("read", path))?;
    replace_file(fs, path, &data)
}

impl Inner {
    /// Cares for what the head writes, apart from blocks.
    pub(super) fn tick_log(&self, stats: &mut TickStats) -> Result<(), TsdbError> {
        if !self.progress.is_done() {
            return Ok(());
        }
        let mut care = self.log.lock();
        let mut failed = None;
        let monotonic = self.options.clock.monotonic();
        note(&mut failed, self.tick_sync(&mut care, monotonic, stats));
        if monotonic >= care.spill_at || self.head.many_wait() && !care.spill_failed {
            let spilled = self.head.spill();
            care.spill_failed = spilled.is_err();
            care.spill_at = monotonic + if care.spill_failed { RETRY } else { SPILL_TICK };
            note(&mut failed, spilled.map(drop));
        }
        failed.map_or(Ok(()), Err)
    }

    /// Cuts the log where it is time, and syncs it where that is due.
    fn tick_sync(
        &self,
        care: &mut LogCare,
        monotonic: Duration,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let (range, newest) = (self.options.range_ms(), self.head.time_range());
        if let Some((_, newest)) = newest
            && newest.saturating_sub(care.cut_at) >= range / 2
        {
            // Segments are removed whole, so they must not span too long a time.
            self.head.with_wal(Writer::cut);
            care.cut_at = newest;
        }
        let due = match self.options.durability {
            Durability::Interval(interval) => monotonic.saturating_sub(care.synced) >= interval,
            // Closed segments are synced, as Prometheus does.
            Durability::Os | Durability::Sync => {
                self.head.with_wal(|wal| wal.has_closed_unsynced()).unwrap_or(false)
                    || self.head.with_wbl(|wbl| wbl.has_closed_unsynced()).unwrap_or(false)
            }
        };
        if due {
            care.synced = monotonic;
            self.sync_wal()?;
            stats.synced = true;
        }
        Ok(())
    }

    /// Brings both logs to disk. Commits go on meanwhile.
    pub(super) fn sync_wal(&self) -> Result<(), TsdbError> {
        self.metrics.syncs.inc();
        let log = self.sync_log(&|f| self.head.with_wal(f));
        log.and(self.sync_wbl())
    }

    /// Brings the out-of-order log to disk.
    pub(super) fn sync_wbl(&self) -> Result<(), TsdbError> {
        self.sync_log(&|f| self.head.with_wbl(f))
    }

    fn sync_log(
        &self,
        with: &dyn Fn(&mut dyn FnMut(&mut Writer)) -> Option<()>,
    ) -> Result<(), TsdbError> {
        let (mut files, mut lost, mut failed) = (Vec::new(), Vec::new(), None);
        with(&mut |log| files = log.take_unsynced());
        for (path, file) in files {
            if let Err(error) = file.sync() {
                failed.get_or_insert(TsdbError::io("sync", &path)(error));
                with(&mut |log| log.sync_failed(path.clone()));
            }
        }
        with(&mut |log| lost = log.take_lost());
        for path in lost {
            // The system may have given up the bytes, but as a rule it still has them.
            let written = write_anew(&*self.options.fs, &path);
            if written.is_err() {
                with(&mut |log| log.sync_failed(path.clone()));
            }
            note(&mut failed, written);
        }
        failed.map_or(Ok(()), Err)
    }
}
