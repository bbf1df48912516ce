//! Bringing the log to disk. This does not wait for compactions: it has a lock of its own.

use std::{path::Path, time::Duration};

use firesteel_model::Timestamp;

use super::{DbBuilder, Inner, TickStats, maintain::note};
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
}

impl LogCare {
    pub(super) fn new(options: &DbBuilder, newest: Timestamp) -> Self {
        Self { synced: options.clock.monotonic(), cut_at: newest }
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
    /// Cuts the log where it is time, and syncs it where that is due.
    pub(super) fn tick_log(&self, stats: &mut TickStats) -> Result<(), TsdbError> {
        let mut care = self.log.lock();
        let monotonic = self.options.clock.monotonic();
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
