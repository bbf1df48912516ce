//! What has to be done from time to time.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use firesteel_model::Timestamp;

use super::{
    Db, DbBuilder, Event, Inner,
    blocks::sort_blocks,
    checkpoint,
    compact::Uploads,
    head_snapshot::Snapshots,
    open::describe,
    reserve::Reserve,
    retention::Trusted,
    to_block::{self, Source},
};
use crate::{
    TsdbError,
    block::{BlockMeta, Compaction, Ulid},
    head::Frozen,
};

/// How often [`Db::spawn_maintenance`] looks.
const TICK: Duration = Duration::from_millis(500);
/// How long to wait after what could not be written.
pub(super) const RETRY: Duration = Duration::from_secs(10);

/// What maintenance keeps in mind. Its lock is held by whoever changes blocks.
pub(super) struct Maintenance {
    pub(super) rng: fastrand::Rng,
    /// Monotonic reading of the last look at memory, blocks and retention; `None` before the first.
    pub(super) looked: Option<Duration>,
    /// When the head snapshot is due.
    pub(super) snapshots: Snapshots,
    /// When a block could not be made, and the monotonic reading from which it is tried again.
    pub(super) retry: Option<Duration>,
    /// Blocks that are out of use and have still to be deleted.
    pub(super) trash: BTreeSet<Ulid>,
    /// Blocks of which it was said that they cannot be read.
    pub(super) unreadable: BTreeSet<Ulid>,
    /// Which blocks another program has uploaded.
    pub(super) uploads: Uploads,
    /// Monotonic reading of when the head was last made into a block.
    pub(super) head_compacted: Option<Duration>,
    /// Space for a full disk; `None` without a directory.
    pub(super) reserve: Option<Reserve>,
    /// Whether the owner was told that the disk is full.
    pub(super) full: bool,
    /// Whether there are out-of-order chunks of Prometheus among its head chunks.
    pub(super) late_chunks: bool,
    /// See [`Trusted`].
    pub(super) trusted: Trusted,
    /// Late samples that are in blocks, and still on disk where they came from.
    pub(super) late_done: Option<Frozen>,
}

impl Maintenance {
    pub(super) fn new(options: &DbBuilder) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(options.seed),
            looked: None,
            snapshots: Snapshots::default(),
            retry: None,
            trash: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            uploads: Uploads::default(),
            head_compacted: None,
            reserve: options.dir.as_ref().map(|dir| Reserve::new(dir, options.reserve)),
            full: false,
            late_chunks: false,
            trusted: Trusted::default(),
            late_done: None,
        }
    }
}

/// What a [`Db::tick`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TickStats {
    /// Whether the log was brought to disk.
    pub synced: bool,
    /// Blocks made from the head.
    pub blocks_made: Vec<Ulid>,
    /// Blocks deleted: too old, too much, or part of another.
    pub blocks_deleted: Vec<Ulid>,
    /// Segments of the log removed.
    pub segments_removed: usize,
    /// Series removed from the head.
    pub series_removed: usize,
    /// Whether a head snapshot was written.
    pub head_snapshot: bool,
}

impl Db {
    /// Does what is due: brings the log to disk, makes blocks of what the head has too much of,
    /// shortens the log, compacts blocks, deletes those that the retention does not allow. `now` is wall time in
    /// milliseconds and only names blocks; retention goes by the samples. Returns soon if nothing
    /// is due. One at a time; a second call waits.
    ///
    /// # Errors
    /// The first of what failed; the rest was done. What failed is tried again next time.
    pub fn tick(&self, now: Timestamp) -> Result<TickStats, TsdbError> {
        let mut stats = TickStats::default();
        let synced = self.0.tick_log(&mut stats);
        let tended = self.0.tick_blocks(now, &|| false, &mut stats);
        synced.and(tended).map(|()| stats)
    }

    /// Makes blocks of everything in the head up to the end of the last full block range, and of all
    /// that came out of order, without waiting for the head to grow.
    ///
    /// # Errors
    /// The system's.
    pub fn flush_full_ranges(&self, now: Timestamp) -> Result<TickStats, TsdbError> {
        let inner = &self.0;
        let mut maintenance = inner.maintenance.lock();
        let mut stats = TickStats::default();
        inner.ready()?;
        let range = inner.options.range_ms();
        while let Some((oldest, newest)) = inner.head.time_range() {
            let end = range_end(oldest, range);
            if end > newest || inner.options.dir.is_none() {
                break;
            }
            inner.make_block(&mut maintenance, oldest, now, &mut stats)?;
        }
        inner.compact_late(&mut maintenance, now, &mut stats)?;
        inner.forget_tombstones();
        Ok(stats)
    }

    /// Does what [`Db::tick`] does from threads of its own until the handle is dropped: one for the
    /// log, one for the blocks, so that no compaction keeps samples from the disk. Failures are
    /// logged.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn spawn_maintenance(&self) -> Result<MaintenanceThread, TsdbError> {
        let (stop, threads) = (Arc::default(), Vec::new());
        let mut all = MaintenanceThread { stop, threads, db: self.clone() };
        let tick_log = |inner: &Inner, _: &AtomicBool| inner.tick_log(&mut TickStats::default());
        let tick_blocks = |inner: &Inner, stop: &AtomicBool| {
            let stop = || stop.load(Ordering::Acquire);
            inner.tick_blocks(inner.options.clock.now(), &stop, &mut TickStats::default())
        };
        self.spawn("tsdb-log", tick_log, &mut all)?;
        self.spawn("tsdb-blocks", tick_blocks, &mut all)?;
        Ok(all)
    }

    fn spawn(
        &self,
        name: &str,
        work: fn(&Inner, &AtomicBool) -> Result<(), TsdbError>,
        all: &mut MaintenanceThread,
    ) -> Result<(), TsdbError> {
        let (wake, woken) = mpsc::channel();
        let (db, stop) = (self.clone(), Arc::clone(&all.stop));
        let run = move || {
            while woken.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                match work(&db.0, &stop) {
                    Ok(()) | Err(TsdbError::Canceled) => {}
                    Err(error) => {
                        let error = describe(&error);
                        tracing::error!(error, "maintenance of the storage failed");
                    }
                }
            }
        };
        let builder = std::thread::Builder::new().name(name.to_owned());
        let thread = builder.spawn(run).map_err(TsdbError::io("start", "maintenance thread"))?;
        all.threads.push((wake, thread));
        Ok(())
    }
}

/// The threads of [`Db::spawn_maintenance`]. Dropping it stops them, a compaction or
/// [`Db::clean_tombstones`] that is under way included, and waits for them.
#[derive(Debug)]
pub struct MaintenanceThread {
    stop: Arc<AtomicBool>,
    threads: Vec<(mpsc::Sender<()>, std::thread::JoinHandle<()>)>,
    db: Db,
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Someone else may hold the lock that the threads wait for.
        self.db.0.stopping.store(true, Ordering::Release);
        let (wake, threads): (Vec<_>, Vec<_>) = self.threads.drain(..).unzip();
        drop(wake);
        for thread in threads {
            let _ = thread.join();
        }
        self.db.0.stopping.store(false, Ordering::Release);
    }
}

/// End of the aligned range that holds `t`.
pub(super) const fn range_end(t: Timestamp, range: i64) -> Timestamp {
    t.div_euclid(range).saturating_mul(range).saturating_add(range)
}

/// Collects the first failure.
pub(super) fn note(first: &mut Option<TsdbError>, result: Result<(), TsdbError>) {
    if let Err(error) = result {
        first.get_or_insert(error);
    }
}

impl Inner {
    /// All but the log. Gives up a compaction when `stop` says so.
    pub(super) fn tick_blocks(
        &self,
        now: Timestamp,
        stop: &dyn Fn() -> bool,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        if !self.progress.is_done() {
            return Ok(());
        }
        let mut maintenance = self.maintenance.lock();
        let mut failed = None;
        let monotonic = self.options.clock.monotonic();
        self.look_at_space(&mut maintenance);
        stats.series_removed += self.head.reclaim();
        if maintenance.retry.is_none_or(|at| monotonic >= at) {
            maintenance.retry = None;
            let made = self
                .make_due_blocks(&mut maintenance, now, stats)
                .and_then(|()| self.compact_urgent_late(&mut maintenance, now, stats));
            if made.is_err() {
                self.metrics.compactions_failed.inc();
                // What filled the disk or broke the file system will hardly be gone in a moment.
                maintenance.retry = Some(monotonic + RETRY);
                let full = made.as_ref().err().filter(|e| e.is_out_of_space());
                if let Some(error) = full {
                    self.out_of_space(&mut maintenance, describe(error));
                }
            }
            note(&mut failed, made);
        }
        let interval = self.options.block_reload_interval;
        let due = maintenance.looked.is_none_or(|at| monotonic.saturating_sub(at) >= interval);
        if due || !stats.blocks_made.is_empty() {
            maintenance.looked = Some(monotonic);
            if let Some(decoded) = &self.options.decoded {
                decoded.rest(monotonic);
            }
            self.head.forget_late_epochs();
            self.head.account();
            note(&mut failed, self.reload_blocks(&mut maintenance));
            note(&mut failed, self.delete_blocks(&mut maintenance, stats));
            note(&mut failed, self.put_damaged_aside());
            note(&mut failed, self.compact_stale(&mut maintenance, now, stats));
            note(&mut failed, self.compact_blocks(&mut maintenance, now, stop, stats));
        }
        if !maintenance.full {
            let snapshots = &mut maintenance.snapshots;
            note(&mut failed, self.tick_snapshot(snapshots, monotonic, stats));
        }
        self.announce(stats);
        failed.map_or(Ok(()), Err)
    }

    /// Tells the owner which blocks came and went.
    fn announce(&self, stats: &TickStats) {
        for meta in self.view.read().blocks.iter().map(|b| b.meta()) {
            if stats.blocks_made.contains(&meta.ulid) {
                let meta = Box::new((*meta).clone());
                self.options.events.send(&Event::BlockWritten { meta });
            }
        }
        if !stats.blocks_deleted.is_empty() {
            let blocks = stats.blocks_deleted.clone();
            self.options.events.send(&Event::BlocksDeleted { blocks });
        }
    }

    /// Whether the head has so much that a block is to be made of it.
    pub(super) fn head_is_due(&self) -> bool {
        let range = self.options.range_ms();
        let span = self.head.time_range().map_or(0, |(old, new)| new.saturating_sub(old));
        span > range.saturating_add(range / 2)
    }

    /// Makes blocks while the head spans more than one and a half ranges.
    fn make_due_blocks(
        &self,
        maintenance: &mut Maintenance,
        now: Timestamp,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        if self.options.dir.is_none() {
            self.forget_in_memory(&mut maintenance.trusted, stats);
            return Ok(());
        }
        let mut any = false;
        while let Some((oldest, _)) = self.head.time_range().filter(|_| self.head_is_due()) {
            self.make_block(maintenance, oldest, now, stats)?;
            any = true;
        }
        if any {
            self.compact_late(maintenance, now, stats)?;
            self.forget_tombstones();
        }
        Ok(())
    }

    /// Makes a block of the range that holds `oldest`, and has the head and the log forget it.
    fn make_block(
        &self,
        maintenance: &mut Maintenance,
        oldest: Timestamp,
        now: Timestamp,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let range = self.options.range_ms();
        let mut end = range_end(oldest, range);
        let start = oldest.div_euclid(range).saturating_mul(range);
        let Some(dir) = &self.options.dir else { return Ok(()) };
        let began = self.options.clock.monotonic();
        maintenance.head_compacted = Some(began);
        // Nothing may be added to the range while it is read, or it would be in no block.
        self.head.raise_min_valid(end);
        // A block is on disk at once. So must be what else is in the batches that it has a part of.
        self.sync_wal()?;
        let fs = Arc::clone(&self.options.fs);
        let ulid = self.new_ulid(maintenance, dir, now);
        let meta = BlockMeta::new(ulid, start, end, Compaction::first_level(ulid));
        let (source, events) = (Source::InOrder, &self.options.events);
        let made = to_block::write(&self.head, source, Arc::clone(&fs), dir, meta, events);
        self.metrics.compacted(self.options.clock.monotonic().saturating_sub(began));
        let block = match made? {
            Some(meta) => {
                stats.blocks_made.push(meta.ulid);
                Some(self.open_made(dir, &meta)?)
            }
            None => {
                // A gap, perhaps of years: goes on where there are samples.
                let next = self.head.oldest().unwrap_or(end);
                end = end.max(next.div_euclid(range).saturating_mul(range));
                None
            }
        };
        let mut view = self.view.write();
        if let Some(block) = block {
            let mut blocks = view.blocks.to_vec();
            blocks.push(block);
            sort_blocks(&mut blocks);
            view.blocks = Arc::new(blocks);
        }
        view.head_from = view.head_from.max(end);
        drop(view);
        self.head.truncate(end);
        stats.series_removed += self.head.reclaim();
        let size = self.options.wal_segment_size;
        match checkpoint::shorten(&self.head, &*fs, dir, end, size) {
            Ok(n) => {
                stats.segments_removed += n;
                if n > 0 {
                    maintenance.snapshots.log_was_shortened();
                }
            }
            Err(error) => {
                self.metrics.checkpoints_failed.inc();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Forgets intervals that hide nothing in the head, late samples included, nor in the log:
    /// segments that stay reach back a range at most.
    fn forget_tombstones(&self) {
        let from = self.view.read().head_from.saturating_sub(self.options.range_ms());
        let late = self.head.late_range().map_or(from, |(oldest, _)| oldest);
        self.head.forget_tombstones(from.min(late));
    }
}
