//! The database: head, log and blocks as one.

mod blocks;
mod builder;
mod checkpoint;
mod compact;
mod delete;
mod events;
mod head_snapshot;
mod late;
mod loading;
mod maintain;
mod metrics;
mod open;
mod quarantine;
mod replay;
mod report;
mod reserve;
mod retention;
mod snapshot;
mod sync;
mod to_block;
mod unreadable;
mod verify;

use std::{
    path::Path,
    sync::{Arc, LazyLock, OnceLock, atomic::Ordering},
    time::Duration,
};

use firesteel_model::{
    Matcher, Timestamp,
    storage::{Appendable, Appender, Querier, Queryable, StorageError, merge::FanoutQuerier},
};

pub use self::{
    builder::DbBuilder,
    events::Event,
    loading::{HeadLoader, OpenPhase, OpenProgress},
    maintain::{MaintenanceThread, TickStats},
    report::{DamageReport, OpenReport, SnapshotReport},
    verify::{Finding, Severity, VerifyProgress, VerifyReport, verify_directory},
};
use self::{
    compact::Rules,
    loading::{Progress, TooEarly},
    maintain::Maintenance,
    metrics::DbMetrics,
    retention::Retention,
    sync::LogCare,
};
pub use crate::head::{HeadStats, ReplayStats, SeriesExemplars};
use crate::{
    TsdbError,
    block::{Block, BlockMeta},
    fs::Lock,
    head::{Formats, Head},
    sync::{AtomicBool, AtomicI64, Mutex, RwLock},
    wal::{WalPosition, follow::WalCursor},
};

/// A database in a directory, or in memory. A handle: clones share it.
///
/// Nothing happens by itself: [`Db::tick`] does what has to be done from time to time (bringing the
/// log to disk, making blocks, deleting old ones); call it every second or so, or have
/// [`Db::spawn_maintenance`] do it. Dropping the last handle releases the directory; what was
/// committed is in the log then, and on disk as its durability says. [`Db::close`] brings it there.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    options: DbBuilder,
    head: Arc<Head>,
    view: RwLock<View>,
    lock: Mutex<Option<Box<dyn Lock>>>,
    /// Held by whoever changes which blocks there are, compactions included. Taken before all
    /// other locks.
    maintenance: Mutex<Maintenance>,
    log: Mutex<LogCare>,
    retention: Mutex<Retention>,
    stale_series_threshold: Mutex<f64>,
    rules: Rules,
    /// Set by [`Db::close`], so that compactions give up.
    closing: AtomicBool,
    /// Set while maintenance threads are being stopped: what holds them up gives up, too.
    stopping: AtomicBool,
    metrics: DbMetrics,
    /// Bytes of all blocks, as they were last measured.
    block_bytes: AtomicI64,
    progress: Progress,
    /// Set when the head is loaded.
    report: OnceLock<OpenReport>,
    /// What was found until then.
    found: Mutex<OpenReport>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let blocks = self.view.read().blocks.len();
        write!(f, "Db({:?}, {:?}, {blocks} blocks)", self.options.dir, self.head)
    }
}

impl Inner {
    /// Fails while the head is being loaded.
    fn ready(&self) -> Result<(), TsdbError> {
        if self.progress.is_done() {
            return Ok(());
        }
        Err(TsdbError::NotReady("the write-ahead log is being replayed".to_owned()))
    }
}

/// What readers look at.
struct View {
    /// Oldest first.
    blocks: Arc<Vec<Arc<Block>>>,
    /// Samples before this are in the blocks, even if the head still has them, unless they came
    /// late.
    head_from: Timestamp,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Db {
    /// Settings for a database in this directory, which is made where it is missing. It may be one
    /// that Prometheus has written, and Prometheus can go on with what we write.
    #[must_use]
    pub fn builder(dir: impl AsRef<Path>) -> DbBuilder {
        DbBuilder::new(Some(dir.as_ref()))
    }

    /// A database without files: it keeps what its retention says in memory and forgets everything
    /// when it is dropped.
    #[must_use]
    pub fn in_memory() -> Self {
        // Without a directory there is nothing that could fail.
        open::in_memory(DbBuilder::new(None))
    }

    /// Changes how long and how much is kept, from the next [`Db::tick`] that looks at it on;
    /// `None` for no limit. `percentage` is of the disk and prevails over `bytes`.
    pub fn set_retention(
        &self,
        time: Option<Duration>,
        bytes: Option<u64>,
        percentage: Option<f64>,
    ) {
        *self.0.retention.lock() = Retention { time, bytes, percentage };
    }

    /// Changes [`DbBuilder::stale_series_threshold`].
    pub fn set_stale_series_threshold(&self, share: f64) {
        *self.0.stale_series_threshold.lock() = share;
    }

    /// Changes how much older than the newest sample a sample may be that comes out of order, for
    /// transactions that begin from now on; zero for not at all. What was taken before stays.
    pub fn set_out_of_order_window(&self, window: Duration) {
        self.0.head.set_late_window(builder::millis(window));
    }

    /// Changes [`DbBuilder::xor2_floats`] for chunks that are begun from now on.
    ///
    /// # Errors
    /// Start timestamps are stored, and XOR has none; nothing has changed then.
    pub fn set_xor2_floats(&self, xor2: bool) -> Result<(), TsdbError> {
        let formats = Formats { xor2, ..self.0.head.formats() };
        DbBuilder::check_formats(formats)?;
        self.0.head.set_formats(formats);
        Ok(())
    }

    /// Sets how many exemplars are kept; 0 for none. The oldest go where that is fewer than there
    /// are.
    pub fn set_max_exemplars(&self, n: usize) {
        self.0.head.set_max_exemplars(n);
    }

    /// What was found when it was opened; nothing while the head is being loaded.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        static NONE: LazyLock<OpenReport> = LazyLock::new(OpenReport::default);
        self.0.report.get().unwrap_or(&NONE)
    }

    /// How far opening has come. Always done for what [`DbBuilder::open`] has returned.
    #[must_use]
    pub fn open_progress(&self) -> OpenProgress {
        self.0.progress.read()
    }

    /// Descriptions of the blocks, oldest first.
    #[must_use]
    pub fn blocks(&self) -> Vec<BlockMeta> {
        self.0.view.read().blocks.iter().map(|b| (*b.meta()).clone()).collect()
    }

    /// Sizes of the head, with tables of at most `limit` entries.
    #[must_use]
    pub fn stats(&self, limit: usize) -> HeadStats {
        self.0.head.stats(limit)
    }

    /// Oldest and newest time that there may be samples of, blocks included; `None` where there is
    /// none.
    #[must_use]
    pub fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        let done = self.0.progress.is_done();
        let head = self.0.head.time_range().filter(|_| done);
        let late = self.0.head.late_range().filter(|_| done);
        let view = self.0.view.read();
        let blocks = view.blocks.iter().map(|b| (b.meta().min_time, b.meta().max_time - 1));
        blocks.chain(head).chain(late).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Bytes that the head holds, about. Looks at all of it.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.0.head.memory_bytes() as u64
    }

    /// The same by part of the head, named in words. Walks over all series.
    #[must_use]
    pub fn memory_parts(&self) -> Vec<(&'static str, u64)> {
        let parts = self.0.head.memory_parts();
        parts.into_iter().map(|(name, bytes)| (name, bytes as u64)).collect()
    }

    /// The metadata of the series in the head, by metric name, each distinct one once.
    #[must_use]
    pub fn metadata(&self) -> Vec<(String, firesteel_model::Metadata)> {
        self.0.head.metadata_by_name()
    }

    /// Exemplars between two times, both inclusive, of the series that satisfy all matchers of at
    /// least one of the sets. Sorted by series, oldest first.
    #[must_use]
    pub fn exemplars(
        &self,
        mint: Timestamp,
        maxt: Timestamp,
        matchers: &[Vec<Matcher>],
    ) -> Vec<SeriesExemplars> {
        self.0.head.exemplars(mint, maxt, matchers)
    }

    /// Follows the log: what is committed after `from` (an earlier [`WalCursor::position`]; `None`
    /// for now), batch by batch, and first the series that are known until then. The position is
    /// gone where a checkpoint has removed it; the cursor tells how much it skips.
    ///
    /// # Errors
    /// There is no log (a database in memory), or the directory cannot be read.
    pub fn wal_cursor(&self, from: Option<WalPosition>) -> Result<WalCursor, TsdbError> {
        let tail = self.0.head.with_wal(|wal| Arc::clone(wal.tail()));
        let none = || TsdbError::NotReady("there is no log to follow".to_owned());
        let (tail, dir) = tail.zip(self.0.options.dir.as_ref()).ok_or_else(none)?;
        WalCursor::new(Arc::clone(&self.0.options.fs), &dir.join(open::WAL_DIR), tail, from)
    }

    /// Brings everything committed to disk.
    ///
    /// # Errors
    /// The system's; nothing is known then about what reached the disk.
    pub fn sync(&self) -> Result<(), TsdbError> {
        self.0.sync_wal()
    }

    /// Refuses commits from now on, brings the log to disk, writes a head snapshot and releases the
    /// directory. Queries go on; loading the head, or a compaction, that is under way is given up.
    ///
    /// # Errors
    /// The system's. The database is closed all the same.
    pub fn close(&self) -> Result<(), TsdbError> {
        self.0.closing.store(true, Ordering::Release);
        self.0.progress.cancel();
        let mut maintenance = self.0.maintenance.lock();
        self.0.head.close();
        let result = self.0.sync_wal();
        let released = maintenance.reserve.as_mut().is_some_and(|r| r.release(&*self.0.options.fs));
        // What there was no space for a moment ago is tried again with the reserve's.
        let result = if released && result.is_err() { self.0.sync_wal() } else { result };
        if self.0.progress.is_done()
            && let Err(error) = self.0.head.spill_to_disk()
        {
            tracing::warn!(%error, "closed chunks stay in the log alone");
        }
        if let Err(error) = self.0.write_head_snapshot(&mut maintenance.snapshots) {
            // The log has everything; starting takes longer.
            tracing::warn!(error = open::describe(&error), "no head snapshot was written");
        }
        self.0.lock.lock().take();
        result
    }
}

impl Appendable for Db {
    fn appender(&self) -> Box<dyn Appender + '_> {
        if !self.0.progress.is_done() {
            return Box::new(TooEarly);
        }
        self.0.head.appender()
    }
}

impl Queryable for Db {
    /// The head first (what came in order, then what came late), then the blocks, oldest first: where
    /// two have a sample of a series for the same time, the earlier in this order wins. While the head
    /// is being loaded, the blocks alone.
    fn querier(&self, mint: Timestamp, maxt: Timestamp) -> Result<Arc<dyn Querier>, StorageError> {
        // The head's view is opened before a block that is being made can take its place.
        let view = self.0.view.read();
        let head = self.0.progress.is_done();
        let head = head.then(|| self.0.head.querier(mint, maxt, view.head_from));
        let blocks = Arc::clone(&view.blocks);
        drop(view);
        let mut parts: Vec<Arc<dyn Querier>> = Vec::new();
        parts.extend(head.map(|h| -> Arc<dyn Querier> { Arc::new(h) }));
        for block in blocks.iter().filter(|b| b.overlaps(mint, maxt)) {
            parts.push(match block.querier_between(mint, maxt) {
                Ok(querier) => querier,
                Err(error) => self.0.without(block, &error),
            });
        }
        Ok(Arc::new(FanoutQuerier::new(parts)))
    }
}
