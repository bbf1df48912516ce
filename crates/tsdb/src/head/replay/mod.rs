//! Filling the head from the log, before anybody reads or appends.

mod block;
mod queue;

use std::{collections::BTreeMap, sync::atomic::Ordering};

use firesteel_model::{Labels, Timestamp, storage::AppendError};
use hashbrown::{HashMap, HashSet};

use self::{block::Block, queue::Queue};
use super::{
    Head, LOGGED,
    chunk_files::Sealed,
    exemplars::Stored,
    stripe::{HistogramSample, NEVER},
};
use crate::wal::{
    read::Records,
    record::{
        RecordError, RecordType,
        batch::{self, Batch},
        exemplars::{self, RefExemplar},
        histograms::{self, RefHistogram},
        metadata::{self, RefMetadata},
        samples::{self, RefSample},
        series,
        tombstones::{self, Stone},
    },
};

/// More threads than this find nothing to do: one decodes, and it takes a third of the time.
pub(crate) const MAX_THREADS: usize = 8;

/// What a replay has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayStats {
    /// Series made.
    pub series: u64,
    /// Further references of series that were known by another one.
    pub duplicate_series: u64,
    /// Floats taken.
    pub floats: u64,
    /// Histograms taken.
    pub histograms: u64,
    /// Exemplars taken.
    pub exemplars: u64,
    /// Chunks taken from `chunks_head`.
    pub chunks: u64,
    /// Samples not taken because they lie in blocks.
    pub old: u64,
    /// Samples not taken because the series had one for that time or later.
    pub not_newer: u64,
    /// Samples, exemplars, metadata and tombstones of series that the log does not define.
    pub unknown_refs: u64,
    /// Records that did not decode.
    pub bad_records: u64,
    /// Records of types that this version does not know.
    pub unknown_records: u64,
}

/// A replay under way: decodes the log, in order.
pub(crate) struct Replay<'a> {
    head: &'a Head,
    queue: &'a Queue<'a>,
    /// What is decoded and not in the queue yet.
    block: Block,
    pub(crate) stats: ReplayStats,
    /// Chunks of `chunks_head` by the reference of their series, oldest first.
    chunks: HashMap<u64, Vec<Sealed>>,
    /// References that were not found.
    unknown: HashSet<u64>,
    min_valid: Timestamp,
    samples: Vec<RefSample>,
    histograms: Vec<RefHistogram>,
    exemplars: Vec<RefExemplar>,
    metadata: Vec<RefMetadata>,
    stones: Vec<Stone>,
    /// Numbers of the late samples in the segment that is being replayed. They are left out: they
    /// come from the out-of-order log.
    pub(crate) late: Vec<u64>,
    /// Newest sample of the segment that is being replayed.
    pub(crate) newest: Timestamp,
    /// Samples decoded so far.
    pub(crate) decoded: u64,
    /// What was wrong with the first bad record.
    pub(crate) first_error: Option<RecordError>,
}

/// All that is replayed is one commit.
pub(super) const EPOCH: u64 = 1;

impl ReplayStats {
    fn add(&mut self, other: &Self) {
        self.series += other.series;
        self.duplicate_series += other.duplicate_series;
        self.floats += other.floats;
        self.histograms += other.histograms;
        self.exemplars += other.exemplars;
        self.chunks += other.chunks;
        self.old += other.old;
        self.not_newer += other.not_newer;
        self.unknown_refs += other.unknown_refs;
        self.bad_records += other.bad_records;
        self.unknown_records += other.unknown_records;
    }
}

impl Head {
    /// Replays with `threads` threads, this one included. `feed` passes the log on, batch by batch;
    /// samples before `min_valid` are left out. What was taken becomes visible at the end, and is
    /// the same for any number of threads. Returns also what was done and how many references were
    /// unknown.
    pub(crate) fn replay<R>(
        &self,
        threads: usize,
        min_valid: Timestamp,
        chunks: HashMap<u64, Vec<Sealed>>,
        feed: impl FnOnce(&mut Replay<'_>) -> R,
    ) -> (R, ReplayStats, usize) {
        self.min_valid.fetch_max(min_valid, Ordering::AcqRel);
        for &reference in chunks.keys() {
            self.last_ref.fetch_max(reference, Ordering::AcqRel);
        }
        let queue = Queue::new(self);
        std::thread::scope(|scope| {
            for i in 1..threads.min(MAX_THREADS) {
                let thread = std::thread::Builder::new().name(format!("tsdb-replay-{i}"));
                // With fewer threads it takes longer, no more.
                let _ = thread.spawn_scoped(scope, || queue.work());
            }
            // Also where `feed` panics.
            let _closing = Closing(&queue);
            let mut replay = Replay {
                head: self,
                queue: &queue,
                block: Block::default(),
                stats: ReplayStats::default(),
                chunks,
                unknown: HashSet::new(),
                min_valid: self.min_valid.load(Ordering::Acquire),
                samples: Vec::new(),
                histograms: Vec::new(),
                exemplars: Vec::new(),
                metadata: Vec::new(),
                stones: Vec::new(),
                late: Vec::new(),
                newest: NEVER,
                decoded: 0,
                first_error: None,
            };
            let result = feed(&mut replay);
            let (stats, unknown) = replay.finish();
            (result, stats, unknown)
        })
    }
}

struct Closing<'a>(&'a Queue<'a>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Replay<'_> {
    /// Takes a batch of the log in.
    pub(crate) fn batch(&mut self, records: Records<'_>) {
        let mut late = 0;
        for record in records.iter() {
            if late > 0 {
                late -= 1;
                continue;
            }
            if let Some((records, number)) = late_samples(record) {
                self.late.push(number);
                late = records;
                continue;
            }
            if let Err(error) = self.record(record) {
                self.stats.bad_records += 1;
                self.first_error.get_or_insert(error);
            }
            if self.block.is_full() {
                self.flush();
            }
        }
    }

    /// Takes the chunks of series that are there already, from an image.
    pub(crate) fn take_known_chunks(&mut self) {
        let mut known: BTreeMap<u32, Vec<Sealed>> = BTreeMap::new();
        for (reference, mut chunks) in std::mem::take(&mut self.chunks) {
            match self.head.lookup(reference) {
                Some(id) => known.entry(id).or_default().append(&mut chunks),
                None => drop(self.chunks.insert(reference, chunks)),
            }
        }
        for (id, mut chunks) in known {
            chunks.sort_by_key(|c| (c.mint, c.maxt));
            self.block.chunks(id, chunks, true);
        }
        self.flush();
    }

    /// Takes a record in that is not from the log.
    pub(crate) fn one(&mut self, record: &[u8]) -> Result<(), RecordError> {
        self.record(record)
    }

    /// Waits until everything that was decoded is in the head.
    pub(crate) fn drain(&mut self) {
        self.flush();
        self.queue.help(0);
    }

    fn flush(&mut self) {
        self.block = self.queue.push(std::mem::take(&mut self.block));
    }

    fn record(&mut self, record: &[u8]) -> Result<(), RecordError> {
        match RecordType::of(record) {
            RecordType::Series => series::decode(record, |reference, pairs| {
                self.series(reference, pairs);
                Ok(())
            }),
            RecordType::Samples | RecordType::SamplesV2 => {
                self.samples.clear();
                let result = samples::decode(record, &mut self.samples);
                self.floats();
                result
            }
            RecordType::Histograms
            | RecordType::FloatHistograms
            | RecordType::CustomHistograms
            | RecordType::CustomFloatHistograms
            | RecordType::HistogramsV2
            | RecordType::FloatHistogramsV2 => {
                let mut all = std::mem::take(&mut self.histograms);
                let result = histograms::decode(record, &mut all);
                for h in all.drain(..) {
                    self.histogram(h);
                }
                self.histograms = all;
                result
            }
            RecordType::Exemplars => {
                let mut all = std::mem::take(&mut self.exemplars);
                let result = exemplars::decode(record, &mut all);
                self.take_exemplars(&mut all);
                self.exemplars = all;
                result
            }
            RecordType::Metadata => {
                let mut all = std::mem::take(&mut self.metadata);
                let result = metadata::decode(record, &mut all);
                for m in all.drain(..) {
                    match self.id(m.series) {
                        Some(id) => self.head.metadata.write().set(id, m.metadata),
                        None => self.stats.unknown_refs += 1,
                    }
                }
                self.metadata = all;
                result
            }
            RecordType::Tombstones => {
                self.stones.clear();
                let result = tombstones::decode(record, &mut self.stones);
                self.take_stones();
                result
            }
            RecordType::MmapMarkers | RecordType::Ours => Ok(()),
            RecordType::Unknown => {
                self.stats.unknown_records += 1;
                Ok(())
            }
        }
    }

    /// The series behind a reference.
    fn id(&mut self, reference: u64) -> Option<u32> {
        let id = self.head.lookup(reference);
        if id.is_none() && self.unknown.len() < 1 << 20 {
            self.unknown.insert(reference);
        }
        id
    }

    fn series(&mut self, reference: u64, pairs: &[(&str, &str)]) {
        self.head.last_ref.fetch_max(reference, Ordering::AcqRel);
        let sorted = pairs.windows(2).all(|w| w[0].0 < w[1].0);
        let labels = if sorted {
            Labels::from_sorted(pairs.iter().copied())
        } else {
            Labels::from_pairs(pairs.iter().copied())
        };
        if labels.is_empty() || reference == 0 {
            self.stats.bad_records += 1;
            return;
        }
        let Ok((id, created)) = self.head.replay_series(reference, &labels) else {
            self.stats.bad_records += 1;
            return;
        };
        if created {
            self.stats.series += 1;
        } else if self.head.index.read().reference(id) != reference {
            self.stats.duplicate_series += 1;
        }
        if let Some(chunks) = self.chunks.remove(&reference) {
            self.block.chunks(id, chunks, false);
        }
    }

    fn floats(&mut self) {
        let mut samples = std::mem::take(&mut self.samples);
        self.decoded += samples.len() as u64;
        for s in samples.drain(..) {
            self.newest = self.newest.max(s.t);
            if s.t < self.min_valid {
                self.stats.old += 1;
                continue;
            }
            match self.id(s.series) {
                Some(id) => self.block.float(id, (s.t, s.start), s.v),
                None => self.stats.unknown_refs += 1,
            }
        }
        self.samples = samples;
    }

    fn histogram(&mut self, h: RefHistogram) {
        self.newest = self.newest.max(h.t);
        self.decoded += 1;
        if h.t < self.min_valid {
            self.stats.old += 1;
            return;
        }
        let Some(id) = self.id(h.series) else {
            self.stats.unknown_refs += 1;
            return;
        };
        self.block.histogram(id, HistogramSample { t: h.t, start: h.start, value: h.value.into() });
    }

    fn take_exemplars(&mut self, all: &mut Vec<RefExemplar>) {
        for e in all.drain(..) {
            let Some(id) = self.id(e.series) else {
                self.stats.unknown_refs += 1;
                continue;
            };
            let index = self.head.index.read();
            let (series, reference) = (index.labels(id), index.reference(id));
            let exemplar =
                firesteel_model::Exemplar { labels: e.labels, value: e.v, timestamp: Some(e.t) };
            let stored = Stored { reference, series, t: e.t, exemplar };
            self.head.exemplars.lock().add(stored);
            self.stats.exemplars += 1;
        }
    }

    fn take_stones(&mut self) {
        let head = self.head;
        for stone in std::mem::take(&mut self.stones) {
            head.last_ref.fetch_max(stone.series, Ordering::AcqRel);
            let Some(id) = self.id(stone.series) else {
                self.stats.unknown_refs += u64::from(!stone.is_eviction());
                continue;
            };
            if stone.is_eviction() {
                // The series may come back under another reference; its samples are in a block.
                self.block.evict(id);
            } else {
                head.add_tombstone(id, stone.mint, stone.maxt);
            }
        }
    }

    /// Ends the replay: what was taken becomes visible. Returns what was done, and how many
    /// references were unknown.
    fn finish(mut self) -> (ReplayStats, usize) {
        self.drain();
        self.stats.add(&self.queue.stats());
        // Chunks of series that the log does not define can belong to no one.
        self.stats.unknown_refs += self.chunks.values().map(Vec::len).sum::<usize>() as u64;
        self.head.readers.publish(EPOCH);
        self.head.account();
        (self.stats, self.unknown.len())
    }
}

/// What a record says about late samples: how many of the next records have some, and their number.
pub(crate) fn late_samples(record: &[u8]) -> Option<(u64, u64)> {
    if RecordType::of(record) != RecordType::Ours {
        return None;
    }
    match batch::decode(record) {
        Ok(Batch::Late { records, number }) => Some((records, number)),
        _ => None,
    }
}

impl Head {
    /// The series of a series record, made where it is new.
    fn replay_series(&self, reference: u64, labels: &Labels) -> Result<(u32, bool), AppendError> {
        let mut index = self.index.write();
        let hash = index.hash(labels);
        if let Some(id) = index.find(hash, labels) {
            if index.reference(id) != reference && self.lookup(reference) != Some(id) {
                self.bind(reference, Some(id));
                self.aliases.lock().entry(id).or_default().push(reference);
            }
            return Ok((id, false));
        }
        // Memory that is needed to start is taken even beyond the limit.
        let _ = self.charge(super::SERIES_BYTES);
        let id = self.create(&mut index, hash, reference, labels)?;
        if let Some(flags) = self.flags.get(u64::from(id)) {
            flags.fetch_or(LOGGED, Ordering::AcqRel);
            self.unlogged.fetch_sub(1, Ordering::AcqRel);
        }
        Ok((id, true))
    }
}

/// Groups chunks by series, oldest first.
pub(crate) fn group_chunks(
    chunks: impl IntoIterator<Item = (u64, Sealed)>,
) -> HashMap<u64, Vec<Sealed>> {
    let mut by_series: BTreeMap<u64, Vec<Sealed>> = BTreeMap::new();
    for (series, chunk) in chunks {
        by_series.entry(series).or_default().push(chunk);
    }
    for chunks in by_series.values_mut() {
        chunks.sort_by_key(|c| (c.mint, c.maxt));
    }
    by_series.into_iter().collect()
}
