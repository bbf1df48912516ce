//! What has to be done from time to time.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, atomic::Ordering, mpsc},
    time::Duration,
};

use firesteel_model::Timestamp;

use super::{
    Db, DbBuilder, Inner, checkpoint,
    open::describe,
    to_block::{self, Source},
};
use crate::{
    TsdbError,
    block::{Block, BlockMeta, Compaction, TMP_DELETION_SUFFIX, Ulid},
    fs::{Fs, replace_file},
    head::Frozen,
    wal::writer::{Durability, Writer},
};

/// How often [`Db::spawn_maintenance`] looks.
const TICK: Duration = Duration::from_millis(500);
/// How often memory is measured and retention looked at.
const SLOW_TICK: Duration = Duration::from_secs(60);

/// What maintenance keeps in mind. Its lock is held by whoever does it.
pub(super) struct Maintenance {
    rng: fastrand::Rng,
    /// Monotonic reading of the last sync.
    synced: Duration,
    /// Monotonic reading of the last look at memory and retention; `None` before the first.
    looked: Option<Duration>,
    /// The head's newest sample when the log was last cut.
    cut_at: Timestamp,
    /// When a block could not be made, and the monotonic reading from which it is tried again.
    retry: Option<Duration>,
    /// Likewise, for chunks that could not be written.
    spill_retry: Option<Duration>,
    /// Whether there are out-of-order chunks of Prometheus among its head chunks.
    pub(super) late_chunks: bool,
    /// Late samples that are in blocks, and still on disk where they came from.
    pub(super) late_done: Option<Frozen>,
}

impl Maintenance {
    pub(super) fn new(options: &DbBuilder, late_chunks: bool, newest: Timestamp) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(options.seed),
            synced: options.clock.monotonic(),
            looked: None,
            cut_at: newest,
            retry: None,
            spill_retry: None,
            late_chunks,
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
}

/// Blocks in the order in which they are queried.
pub(super) fn sort_blocks(blocks: &mut [Arc<Block>]) {
    blocks.sort_by_key(|b| (b.meta().min_time, b.meta().max_time, b.meta().ulid));
}

impl Db {
    /// Does what is due: brings the log to disk, makes blocks of what the head has too much of,
    /// shortens the log, deletes blocks that the retention does not allow. `now` is wall time in
    /// milliseconds and only names blocks; retention goes by the samples. Returns soon if nothing
    /// is due. One at a time; a second call waits.
    ///
    /// # Errors
    /// The first of what failed; the rest was done. What failed is tried again next time.
    pub fn tick(&self, now: Timestamp) -> Result<TickStats, TsdbError> {
        self.0.tick(now)
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
        let range = inner.options.range_ms();
        while let Some((oldest, newest)) = inner.head.time_range() {
            let end = range_end(oldest, range);
            if end > newest || inner.options.dir.is_none() {
                break;
            }
            inner.make_block(&mut maintenance, oldest, now, &mut stats)?;
        }
        inner.compact_late(&mut maintenance, now, &mut stats)?;
        Ok(stats)
    }

    /// Calls [`Db::tick`] from a thread of its own until the handle is dropped. Failures are
    /// logged.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn spawn_maintenance(&self) -> Result<MaintenanceThread, TsdbError> {
        let (stop, stopped) = mpsc::channel();
        let db = self.clone();
        let run = move || {
            while stopped.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                if let Err(error) = db.tick(db.0.options.clock.now()) {
                    tracing::error!(error = describe(&error), "maintenance of the storage failed");
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("tsdb".to_owned())
            .spawn(run)
            .map_err(TsdbError::io("start", "maintenance thread"))?;
        Ok(MaintenanceThread { stop: Some(stop), thread: Some(thread) })
    }
}

/// The thread of [`Db::spawn_maintenance`]. Dropping it stops the thread and waits for it.
#[derive(Debug)]
pub struct MaintenanceThread {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// End of the aligned range that holds `t`.
pub(super) const fn range_end(t: Timestamp, range: i64) -> Timestamp {
    t.div_euclid(range).saturating_mul(range).saturating_add(range)
}

/// Writes a file again, under a new inode.
fn write_anew(fs: &dyn Fs, path: &Path) -> Result<(), TsdbError> {
    if !fs.exists(path).map_err(TsdbError::io("look for", path))? {
        return Ok(());
    }
    let data = fs.read_all(path).map_err(TsdbError::io("read", path))?;
    replace_file(fs, path, &data)
}

/// Collects the first failure.
fn note(first: &mut Option<TsdbError>, result: Result<(), TsdbError>) {
    if let Err(error) = result {
        first.get_or_insert(error);
    }
}

impl Inner {
    fn tick(&self, now: Timestamp) -> Result<TickStats, TsdbError> {
        let mut maintenance = self.maintenance.lock();
        let mut stats = TickStats::default();
        let mut failed = None;
        let monotonic = self.options.clock.monotonic();
        note(&mut failed, self.tick_sync(&mut maintenance, monotonic, &mut stats));
        stats.series_removed += self.head.reclaim();
        if maintenance.spill_retry.is_none_or(|at| monotonic >= at) {
            let spilled = self.head.spill();
            let again = monotonic + Duration::from_secs(10);
            maintenance.spill_retry = spilled.is_err().then_some(again);
            note(&mut failed, spilled.map(|_| ()));
        }
        if maintenance.retry.is_none_or(|at| monotonic >= at) {
            maintenance.retry = None;
            let made = self
                .make_due_blocks(&mut maintenance, now, &mut stats)
                .and_then(|()| self.compact_urgent_late(&mut maintenance, now, &mut stats));
            if made.is_err() {
                self.metrics.compactions_failed.inc();
                // What filled the disk or broke the file system will hardly be gone in a moment.
                maintenance.retry = Some(monotonic + Duration::from_secs(10));
            }
            note(&mut failed, made);
        }
        let due = maintenance.looked.is_none_or(|at| monotonic.saturating_sub(at) >= SLOW_TICK);
        if due || !stats.blocks_made.is_empty() {
            maintenance.looked = Some(monotonic);
            self.head.forget_late_epochs();
            self.head.account();
            note(&mut failed, self.delete_blocks(&mut stats));
        }
        failed.map_or(Ok(stats), Err)
    }

    fn tick_sync(
        &self,
        maintenance: &mut Maintenance,
        monotonic: Duration,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let (range, newest) = (self.options.range_ms(), self.head.time_range());
        if let Some((_, newest)) = newest
            && newest.saturating_sub(maintenance.cut_at) >= range / 2
        {
            // Segments are removed whole, so they must not span too long a time.
            self.head.with_wal(Writer::cut);
            maintenance.cut_at = newest;
        }
        let due = match self.options.durability {
            Durability::Interval(interval) => {
                monotonic.saturating_sub(maintenance.synced) >= interval
            }
            // Closed segments are synced, as Prometheus does.
            Durability::Os | Durability::Sync => {
                self.head.with_wal(|wal| wal.has_closed_unsynced()).unwrap_or(false)
                    || self.head.with_wbl(|wbl| wbl.has_closed_unsynced()).unwrap_or(false)
            }
        };
        if due {
            maintenance.synced = monotonic;
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
            if let Err(error) = write_anew(&*self.options.fs, &path) {
                failed.get_or_insert(error);
                with(&mut |log| log.sync_failed(path.clone()));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Makes blocks while the head spans more than one and a half ranges.
    fn make_due_blocks(
        &self,
        maintenance: &mut Maintenance,
        now: Timestamp,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let range = self.options.range_ms();
        if self.options.dir.is_none() {
            self.forget_in_memory(stats);
            return Ok(());
        }
        let mut any = false;
        while let Some((oldest, newest)) = self.head.time_range() {
            if newest.saturating_sub(oldest) <= range.saturating_add(range / 2) {
                break;
            }
            self.make_block(maintenance, oldest, now, stats)?;
            any = true;
        }
        if any { self.compact_late(maintenance, now, stats) } else { Ok(()) }
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
        self.metrics.compactions.inc();
        // Nothing may be added to the range while it is read, or it would be in no block.
        self.head.raise_min_valid(end);
        // A block is on disk at once. So must be what else is in the batches that it has a part of.
        self.sync_wal()?;
        let fs = Arc::clone(&self.options.fs);
        let ulid = self.new_ulid(maintenance, dir, now);
        let meta = BlockMeta::new(ulid, start, end, Compaction::first_level(ulid));
        let made = to_block::write(&self.head, Source::InOrder, Arc::clone(&fs), dir, meta)?;
        let block = match made {
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
            Ok(n) => stats.segments_removed += n,
            Err(error) => {
                self.metrics.checkpoints_failed.inc();
                return Err(error);
            }
        }
        Ok(())
    }

    pub(super) fn new_ulid(
        &self,
        maintenance: &mut Maintenance,
        dir: &Path,
        now: Timestamp,
    ) -> Ulid {
        loop {
            let ulid = Ulid::generate(now, &mut maintenance.rng);
            if !self.options.fs.exists(&dir.join(ulid.to_string())).unwrap_or(false) {
                return ulid;
            }
        }
    }

    pub(super) fn open_made(&self, dir: &Path, meta: &BlockMeta) -> Result<Arc<Block>, TsdbError> {
        let path = dir.join(meta.ulid.to_string());
        let block = Block::open(Arc::clone(&self.options.fs), &path)?;
        block.load()?;
        Ok(Arc::new(block))
    }

    /// From when on the retention keeps samples.
    fn kept_from(&self) -> Timestamp {
        let newest = self.head.time_range().map_or(Timestamp::MIN, |r| r.1);
        match self.retention.lock().time {
            Some(kept) => {
                let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
                newest.saturating_sub(kept)
            }
            None => Timestamp::MIN,
        }
    }

    /// Without a directory there are no blocks: the head forgets what the retention does not allow.
    fn forget_in_memory(&self, stats: &mut TickStats) {
        let from = self.kept_from();
        // In steps, as each goes over all series.
        let step = self.options.range_ms() / 4;
        if self.head.time_range().is_none_or(|(oldest, _)| from <= oldest.saturating_add(step)) {
            return;
        }
        self.head.raise_min_valid(from);
        let mut view = self.view.write();
        view.head_from = view.head_from.max(from);
        drop(view);
        self.head.truncate(from);
        self.head.forget_late(from);
        stats.series_removed += self.head.reclaim();
    }

    /// Deletes blocks: those that are part of another, and those that the retention does not allow.
    fn delete_blocks(&self, stats: &mut TickStats) -> Result<(), TsdbError> {
        let Some(dir) = &self.options.dir else { return Ok(()) };
        let blocks = Arc::clone(&self.view.read().blocks);
        let mut gone = BTreeSet::new();
        for block in blocks.iter() {
            let compaction = &block.meta().compaction;
            gone.extend(compaction.parents.iter().map(|p| p.ulid));
            if compaction.deletable {
                gone.insert(block.meta().ulid);
            }
        }
        let mut left: Vec<_> = blocks.iter().filter(|b| !gone.contains(&b.meta().ulid)).collect();
        left.sort_by_key(|b| std::cmp::Reverse(b.meta().max_time));
        let retention = *self.retention.lock();
        if let Some(kept) = retention.time {
            let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
            let newest = left.first().map_or(0, |b| b.meta().max_time);
            let old = |b: &Arc<Block>| newest.saturating_sub(b.meta().max_time) >= kept;
            if let Some(first) = left.iter().skip(1).position(|b| old(b)) {
                gone.extend(left.drain(first + 1..).map(|b| b.meta().ulid));
                self.metrics.time_retentions.inc();
            }
        }
        let mut total = self.head.with_wal(|wal| wal.size()).unwrap_or(0);
        total += self.head.chunk_files().map_or(0, |f| f.bytes());
        let mut fits = left.len();
        let mut bytes = 0;
        for (i, block) in left.iter().enumerate() {
            let size = block.size().unwrap_or(0);
            total += size;
            if retention.bytes.is_some_and(|limit| total > limit) {
                fits = i;
                self.metrics.size_retentions.inc();
                break;
            }
            bytes += size;
        }
        gone.extend(left.drain(fits..).map(|b| b.meta().ulid));
        self.block_bytes.store(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
        let present: Vec<_> = blocks.iter().filter(|b| gone.contains(&b.meta().ulid)).collect();
        if present.is_empty() {
            return Ok(());
        }
        let rest: Vec<_> =
            blocks.iter().filter(|b| !gone.contains(&b.meta().ulid)).cloned().collect();
        self.view.write().blocks = Arc::new(rest);
        let fs = &*self.options.fs;
        let mut failed = None;
        for block in present {
            let ulid = block.meta().ulid;
            let tmp = dir.join(format!("{ulid}{TMP_DELETION_SUFFIX}"));
            // Renamed first: what is left of it by a crash is no block any more.
            let renamed =
                fs.rename(block.dir(), &tmp).map_err(TsdbError::io("rename", block.dir()));
            let removed = renamed
                .and_then(|()| fs.remove_dir_all(&tmp).map_err(TsdbError::io("remove", &tmp)));
            stats.blocks_deleted.push(ulid);
            note(&mut failed, removed);
        }
        failed.map_or(Ok(()), Err)
    }
}
