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

/// What is kept in mind about the log.
pub(super) struct LogCare {
    /// Monotonic reading of the last sync.
    synced: Duration,
    /// The head's newest sample when the log was last cut.
    cut_at: Timestamp,
    /// When chunks of the head could not be written, and the monotonic reading from which that is
    /// tried again.
    spill_retry: Option<Duration>,
}

impl LogCare {
    pub(super) fn new(options: &DbBuilder, newest: Timestamp) -> Self {
        Self { synced: options.clock.monotonic(), cut_at: newest, spill_retry: None }
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
        let mut care = self.log.lock();
        let mut failed = None;
        let monotonic = self.options.clock.monotonic();
        note(&mut failed, self.tick_sync(&mut care, monotonic, stats));
        if care.spill_retry.is_none_or(|at| monotonic >= at) {
            let spilled = self.head.spill();
            care.spill_retry = spilled.is_err().then_some(monotonic + RETRY);
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
            }
        };
        if due {
            care.synced = monotonic;
            self.sync_wal()?;
            stats.synced = true;
        }
        Ok(())
    }

    /// Brings the log to disk. Commits go on meanwhile.
    pub(super) fn sync_wal(&self) -> Result<(), TsdbError> {
        let files = self.head.with_wal(Writer::take_unsynced).unwrap_or_default();
        let mut failed = None;
        for (path, file) in files {
            if let Err(error) = file.sync() {
                failed.get_or_insert(TsdbError::io("sync", &path)(error));
                self.head.with_wal(|wal| wal.sync_failed(path));
            }
        }
        for path in self.head.with_wal(Writer::take_lost).unwrap_or_default() {
            // The system may have given up the bytes, but as a rule it still has them.
            let written = write_anew(&*self.options.fs, &path);
            if written.is_err() {
                self.head.with_wal(|wal| wal.sync_failed(path));
            }
            note(&mut failed, written);
        }
        self.metrics.syncs.inc();
        failed.map_or(Ok(()), Err)
    }
}
