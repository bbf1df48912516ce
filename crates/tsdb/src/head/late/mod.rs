//! Samples that came out of order ("late"): older than what their series already had.
//!
//! They are kept apart from the others, in order of arrival by series: a small buffer sorted by
//! time, and when that is full a compressed chunk. Chunks may overlap each other; reading merges
//! them. They leave for blocks by generation: [`Late::freeze`] begins a new one, what is older is
//! written, and [`Late::release`] drops it.

mod query;
mod read;
mod series;

use std::sync::atomic::Ordering;

use firesteel_model::Timestamp;
use hashbrown::HashMap;

pub(super) use self::query::{LateSet, LateView};
use self::{read::LateCopy, series::LateSeries};
pub(crate) use self::{
    read::{LateReader, LateSamples},
    series::{LateSample, LateValue},
};
use super::{
    Formats, Head, Padded,
    stripe::{NEVER, STRIPES, stripe_of},
};
use crate::{
    TsdbError,
    sync::{AtomicBool, AtomicI64, AtomicU32, Mutex},
    wal::{
        Compression,
        record::batch,
        writer::{Batch, Writer},
    },
};

/// Samples that the buffer of a series holds by default, as in Prometheus.
pub(crate) const DEFAULT_CAP: usize = 32;
/// Samples per chunk where many are there at once.
const FILL: usize = 120;

/// The late samples of a head.
pub(super) struct Late {
    shards: Box<[Padded<HashMap<u32, LateSeries>>]>,
    /// How much older than the newest sample of the head a sample may be, milliseconds; 0: none is
    /// taken.
    window: AtomicI64,
    cap: usize,
    /// Of what is added now.
    generation: AtomicU32,
    any: AtomicBool,
    oldest: AtomicI64,
    newest: AtomicI64,
}

/// What a freeze has fixed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frozen {
    /// The late samples up to this generation.
    pub(crate) generation: u32,
    /// The number of the last batch of them in the logs.
    number: u64,
    /// The first segment of the out-of-order log that has none of them.
    segment: u64,
}

impl Late {
    pub(super) fn new(window: i64, cap: usize) -> Self {
        Self {
            shards: (0..STRIPES).map(|_| Padded::default()).collect(),
            window: AtomicI64::new(window.max(0)),
            cap: cap.clamp(4, 255),
            generation: AtomicU32::new(0),
            any: AtomicBool::new(false),
            oldest: AtomicI64::new(Timestamp::MAX),
            newest: AtomicI64::new(NEVER),
        }
    }

    pub(super) fn window(&self) -> i64 {
        self.window.load(Ordering::Acquire)
    }

    fn shard(&self, id: u32) -> &Mutex<HashMap<u32, LateSeries>> {
        &self.shards[stripe_of(id)]
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    fn extend_time(&self, oldest: Timestamp, newest: Timestamp) {
        self.oldest.fetch_min(oldest, Ordering::AcqRel);
        self.newest.fetch_max(newest, Ordering::AcqRel);
        self.any.store(true, Ordering::Release);
    }

    /// Adds a sample. False where the buffer of the series has one for that time. `oldest_reader`
    /// is what the reader with the oldest view sees, or every new one would. Only under the commit
    /// lock.
    pub(super) fn insert(
        &self,
        id: u32,
        sample: LateSample,
        formats: Formats,
        oldest_reader: u64,
    ) -> bool {
        let t = sample.t;
        let generation = self.generation.load(Ordering::Acquire);
        let mut shard = self.shard(id).lock();
        let series = shard.entry(id).or_default();
        let inserted = series.insert(sample, (generation, formats), self.cap, oldest_reader);
        if inserted {
            self.extend_time(t, t);
        }
        inserted
    }

    /// Adds samples in order of time, without two at the same, as chunks. Before anybody reads.
    pub(super) fn fill(&self, id: u32, samples: &[LateSample], formats: Formats) {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return };
        let generation = self.generation.load(Ordering::Acquire);
        let mut shard = self.shard(id).lock();
        let series = shard.entry(id).or_default();
        for part in samples.chunks(FILL) {
            series.close(part, (generation, formats));
        }
        series.forget_epochs(u64::MAX);
        self.extend_time(first.t, last.t);
    }

    /// Whether a series has late samples.
    pub(super) fn contains(&self, id: u32) -> bool {
        !self.is_empty() && self.shard(id).lock().contains_key(&id)
    }

    /// Begins a new generation and returns the one that is over. Only under the commit lock.
    fn freeze(&self) -> u32 {
        self.generation.fetch_add(1, Ordering::AcqRel)
    }

    /// Drops everything up to a generation. Returns the series that have no late samples any more.
    /// Only under the commit lock.
    pub(super) fn release(&self, generation: u32) -> Vec<u32> {
        self.retain(|series| series.release(generation))
    }

    /// Drops what `keep` drops, and the series of which it says that nothing is left.
    fn retain(&self, keep: impl Fn(&mut LateSeries) -> bool) -> Vec<u32> {
        let mut gone = Vec::new();
        let mut left = None;
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.retain(|&id, series| {
                if !keep(series) {
                    gone.push(id);
                    return false;
                }
                let range = series.time_range();
                left = left.into_iter().chain(range).reduce(union);
                true
            });
            shard.shrink_to_fit();
        }
        // Readers go by these, so they never say less than there is.
        let (oldest, newest) = left.unwrap_or((Timestamp::MAX, NEVER));
        self.oldest.store(oldest, Ordering::Release);
        self.newest.store(newest, Ordering::Release);
        self.any.store(left.is_some(), Ordering::Release);
        gone
    }

    /// Gives up the samples before `mint`, by whole chunks.
    fn truncate(&self, mint: Timestamp) -> Vec<u32> {
        self.retain(|series| series.truncate(mint))
    }

    /// Forgets which commit samples came with, where every reader sees it.
    pub(super) fn forget_epochs(&self, oldest_reader: u64) {
        for shard in self.shards.iter().filter(|_| !self.is_empty()) {
            shard.lock().values_mut().for_each(|s| s.forget_epochs(oldest_reader));
        }
    }

    /// The series that may have samples between two times, both inclusive, up to a generation; in
    /// order of their numbers.
    fn series_between(&self, mint: Timestamp, maxt: Timestamp, generation: u32) -> Vec<u32> {
        let mut ids = Vec::new();
        if self.is_empty() {
            return ids;
        }
        for shard in &self.shards {
            let shard = shard.lock();
            let has = |s: &LateSeries| s.has_between(mint, maxt, u64::MAX, generation);
            ids.extend(shard.iter().filter(|(_, s)| has(s)).map(|(&id, _)| id));
        }
        ids.sort_unstable();
        ids
    }

    /// A time from `from` on, not after the first sample from there on; chunks are not read.
    fn oldest_from(&self, from: Timestamp, generation: u32) -> Option<Timestamp> {
        let oldest = |s: &Padded<HashMap<u32, LateSeries>>| {
            s.lock().values().filter_map(|s| s.oldest_from(from, generation)).min()
        };
        self.shards.iter().filter_map(oldest).min()
    }

    fn copy(
        &self,
        id: u32,
        (mint, maxt): (Timestamp, Timestamp),
        epoch: u64,
        generation: u32,
        out: &mut LateCopy,
    ) {
        out.clear();
        if let Some(series) = self.shard(id).lock().get(&id) {
            series.copy(mint, maxt, epoch, generation, out);
        }
    }

    fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        let newest = self.newest.load(Ordering::Acquire);
        (newest != NEVER).then(|| (self.oldest.load(Ordering::Acquire), newest))
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        let of = |s: &Padded<HashMap<u32, LateSeries>>| {
            let shard = s.lock();
            shard.capacity() * (size_of::<LateSeries>() + 8)
                + shard.values().map(LateSeries::bytes).sum::<usize>()
        };
        if self.is_empty() { 0 } else { self.shards.iter().map(of).sum() }
    }

    /// Closed chunks, and series with an open buffer.
    pub(super) fn num_chunks(&self) -> usize {
        let of = |s: &Padded<HashMap<u32, LateSeries>>| {
            s.lock().values().map(LateSeries::num_chunks).sum::<usize>()
        };
        if self.is_empty() { 0 } else { self.shards.iter().map(of).sum() }
    }
}

/// The range of both.
fn union(a: (Timestamp, Timestamp), b: (Timestamp, Timestamp)) -> (Timestamp, Timestamp) {
    (a.0.min(b.0), a.1.max(b.1))
}

impl Head {
    /// From now on samples are taken that are this much older than the newest of the head,
    /// milliseconds; 0: none.
    pub(crate) fn set_late_window(&self, window: i64) {
        self.late.window.store(window.max(0), Ordering::Release);
    }

    /// The oldest and the newest late sample; `None` where there is none.
    pub(crate) fn late_range(&self) -> Option<(Timestamp, Timestamp)> {
        self.late.time_range()
    }

    /// Gives the head its out-of-order log, and the number of the last late batch in the logs.
    pub(crate) fn set_wbl(&self, wbl: Writer, number: u64) {
        let mut committer = self.committer.lock();
        committer.wbl = Some(wbl);
        committer.late_number = number;
    }

    /// Works with the out-of-order log while no commit happens; `None` without one.
    pub(crate) fn with_wbl<R>(&self, f: impl FnOnce(&mut Writer) -> R) -> Option<R> {
        self.committer.lock().wbl.as_mut().map(f)
    }

    /// The number of the last late batch in the logs.
    pub(crate) fn late_number(&self) -> u64 {
        self.committer.lock().late_number
    }

    /// Whether the log has late samples that the out-of-order log has not: a write has failed, and
    /// so has taking back the one before. Until they are in blocks the log must not be shortened.
    pub(crate) fn wbl_is_behind(&self) -> bool {
        self.committer.lock().wbl_behind
    }

    /// See [`Head::wbl_is_behind`].
    pub(crate) fn set_wbl_behind(&self) {
        self.committer.lock().wbl_behind = true;
    }

    /// Adds late samples in order of time, without two at the same. Before anybody reads.
    pub(crate) fn fill_late(&self, id: u32, samples: &[LateSample]) {
        self.late.fill(id, samples, self.formats());
    }

    /// Fixes the late samples that there are, so that they can be written as blocks. `None` where
    /// there are none.
    pub(crate) fn freeze_late(&self) -> Option<Frozen> {
        let mut committer = self.committer.lock();
        if self.late.is_empty() {
            return None;
        }
        let number = committer.late_number;
        committer.wbl_behind = false;
        let segment = committer.wbl.as_mut().map_or(0, |wbl| {
            wbl.cut();
            wbl.last_index()
        });
        Some(Frozen { generation: self.late.freeze(), number, segment })
    }

    /// Plans to give up frozen samples. Readers that open from now on must find them in blocks.
    pub(crate) fn release_late(&self, frozen: Frozen) {
        let generation = self.readers.next_generation();
        self.limbo.lock().late = Some((generation, frozen.generation));
    }

    /// Logs that frozen samples are in blocks.
    pub(crate) fn log_done(&self, frozen: Frozen) -> Result<(), TsdbError> {
        let mut done = Batch::new(Compression::None);
        done.record(|out| batch::encode_done(out, frozen.number, frozen.segment));
        self.with_wbl(|wbl| wbl.write(&mut [&mut done])).unwrap_or(Ok(()))
    }

    /// Removes the segments of the out-of-order log that are done, once that is on disk.
    pub(crate) fn remove_done(&self, frozen: Frozen) -> Result<(), TsdbError> {
        let Some(last) = frozen.segment.checked_sub(1) else { return Ok(()) };
        self.with_wbl(|wbl| wbl.remove_through(last)).unwrap_or(Ok(()))
    }

    /// The series behind a reference of the logs.
    pub(crate) fn series_of(&self, reference: u64) -> Option<u32> {
        self.lookup(reference)
    }

    /// A time at or after `from` before which and after `from` there are no late samples of a
    /// generation; `None` where there are none at all from there on.
    pub(crate) fn oldest_late(&self, from: Timestamp, generation: u32) -> Option<Timestamp> {
        self.late.oldest_from(from, generation)
    }

    /// The series that may have late samples of a generation between two times, both inclusive.
    pub(crate) fn late_series(
        &self,
        mint: Timestamp,
        maxt: Timestamp,
        generation: u32,
    ) -> Vec<u32> {
        self.late.series_between(mint, maxt, generation)
    }

    /// Frees what only readers needed that are gone.
    pub(crate) fn forget_late_epochs(&self) {
        let committer = self.committer.lock();
        let readers = self.readers.active();
        let oldest = readers.epochs.first().copied().unwrap_or(self.readers.published());
        drop(committer);
        self.late.forget_epochs(oldest);
    }

    /// Gives up late samples before `mint`, and the series that have nothing else. For a head
    /// without blocks.
    pub(crate) fn forget_late(&self, mint: Timestamp) {
        if self.late.time_range().is_some_and(|(oldest, _)| oldest < mint) {
            // Readers have copies of what they read.
            let committer = self.committer.lock();
            let gone = self.late.truncate(mint);
            drop(committer);
            self.limbo.lock().without_late.extend(gone);
            self.reclaim();
        }
    }
}
