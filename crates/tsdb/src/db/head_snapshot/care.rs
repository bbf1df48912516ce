//! When a head snapshot is written.

use std::time::Duration;

use super::write;
use crate::{
    TsdbError,
    db::{
        DbBuilder, Event, Inner, OpenReport, TickStats,
        open::{WAL_DIR, min_valid},
    },
};

/// How often the log is looked at for a head snapshot that is due by time.
const INTERVAL: Duration = Duration::from_secs(15 * 60);
/// A snapshot that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(5 * 60);

/// The last head snapshot.
#[derive(Debug, Default)]
pub(in crate::db) struct Snapshots {
    /// Monotonic reading.
    at: Duration,
    /// Bytes that the log had taken then.
    logged: u64,
    /// Bytes of the log that were replayed after it when the database was opened.
    replayed: u64,
    size: u64,
    /// Whether the log has lost what it rests on.
    outdated: bool,
    /// Not before this.
    retry: Option<Duration>,
}

impl Snapshots {
    /// What is known after the head was loaded.
    pub(in crate::db) fn after_load(options: &DbBuilder, report: &OpenReport) -> Self {
        let used = report.snapshot.as_ref().filter(|s| s.unused.is_none());
        Self {
            at: options.clock.monotonic(),
            replayed: report.replayed_bytes,
            size: used.map_or(0, |s| s.bytes),
            ..Self::default()
        }
    }

    /// Takes note that segments of the log are gone.
    pub(in crate::db) const fn log_was_shortened(&mut self) {
        self.outdated |= self.size > 0;
    }

    fn due(&self, every: u64, logged: u64, now: Duration) -> bool {
        let new = logged.saturating_sub(self.logged).saturating_add(self.replayed);
        if new == 0 && !self.outdated || self.retry.is_some_and(|at| now < at) {
            return false;
        }
        let bytes = (self.size / 2).clamp(every, every.saturating_mul(4));
        // By time only what is worth it: replaying a sixteenth takes no time.
        let old = now.saturating_sub(self.at) >= INTERVAL && new >= every / 16;
        self.outdated || new >= bytes || old
    }
}

impl Inner {
    /// Writes a head snapshot if it is due.
    pub(in crate::db) fn tick_snapshot(
        &self,
        snapshots: &mut Snapshots,
        now: Duration,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let Some(every) = self.options.snapshot_bytes else { return Ok(()) };
        let Some(logged) = self.head.with_wal(|wal| wal.counts.bytes) else { return Ok(()) };
        if snapshots.due(every, logged, now) {
            stats.head_snapshot = self.write_head_snapshot(snapshots)?;
        }
        Ok(())
    }

    /// Writes a head snapshot, where they are wanted. Returns whether there was anything new.
    pub(in crate::db) fn write_head_snapshot(
        &self,
        snapshots: &mut Snapshots,
    ) -> Result<bool, TsdbError> {
        let (Some(dir), Some(_)) = (&self.options.dir, self.options.snapshot_bytes) else {
            return Ok(false);
        };
        let read_only = self.options.read_only;
        if read_only || !self.progress.is_done() || self.head.wbl_is_behind() {
            return Ok(false);
        }
        let logged = self.head.with_wal(|wal| wal.counts.bytes).unwrap_or(0);
        let at = self.options.clock.monotonic();
        let blocks_end = min_valid(&self.view.read().blocks);
        let wal = dir.join(WAL_DIR);
        match write(&self.head, &*self.options.fs, dir, &wal, blocks_end) {
            Ok(written) => {
                let size = written.as_ref().map_or(snapshots.size, |w| w.1);
                *snapshots = Snapshots { at, logged, size, ..Snapshots::default() };
                let path = written.map(|w| w.0);
                let event = path.map(|path| Event::SnapshotWritten { path });
                event.iter().for_each(|event| self.options.events.send(event));
                Ok(event.is_some())
            }
            Err(error) => {
                snapshots.retry = Some(at + RETRY);
                Err(error)
            }
        }
    }
}
