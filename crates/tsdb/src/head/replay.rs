//! Filling the head from the log, before anybody reads or appends.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use firesteel_model::{
    FloatHistogram, Histogram, Labels, Timestamp, is_stale_nan, storage::AppendError,
};
use hashbrown::{HashMap, HashSet};

use super::{
    Head, LOGGED,
    chunk_files::{ChunkReader, Sealed},
    exemplars::Stored,
    from_chunk::{self, Decoded},
    histograms::is_float_histogram,
    pending::Float,
    stripe::{ActiveReaders, HistogramSample, NEVER, Stripe, stripe_of},
};
use crate::wal::{
    read::Records,
    record::{
        RecordError, RecordType,
        batch::{self, Batch},
        exemplars::{self, RefExemplar},
        histograms::{self, AnyHistogram, RefHistogram},
        metadata::{self, RefMetadata},
        samples::{self, RefSample},
        series,
        tombstones::{self, Stone},
    },
};

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

/// A replay under way.
pub(crate) struct Replay<'a> {
    head: &'a Head,
    pub(crate) stats: ReplayStats,
    /// Chunks of `chunks_head` by the reference of their series, oldest first.
    chunks: HashMap<u64, Vec<Sealed>>,
    chunk_reader: ChunkReader,
    /// References that were not found.
    unknown: HashSet<u64>,
    samples: Vec<RefSample>,
    floats: Vec<Float>,
    histograms: Vec<RefHistogram>,
    exemplars: Vec<RefExemplar>,
    metadata: Vec<RefMetadata>,
    stones: Vec<Stone>,
    readers: ActiveReaders,
    /// Numbers of the late samples in the segment that is being replayed. They are left out: they
    /// come from the out-of-order log.
    pub(crate) late: Vec<u64>,
    /// Newest sample of the segment that is being replayed.
    pub(crate) newest: Timestamp,
    /// What was wrong with the first bad record.
    pub(crate) first_error: Option<RecordError>,
}

/// All that is replayed is one commit.
const EPOCH: u64 = 1;

impl Head {
    /// Begins a replay. Samples before `min_valid` will be left out.
    pub(crate) fn replay(
        &self,
        min_valid: Timestamp,
        chunks: HashMap<u64, Vec<Sealed>>,
    ) -> Replay<'_> {
        self.min_valid.fetch_max(min_valid, Ordering::AcqRel);
        for &reference in chunks.keys() {
            self.last_ref.fetch_max(reference, Ordering::AcqRel);
        }
        Replay {
            head: self,
            stats: ReplayStats::default(),
            chunks,
            chunk_reader: self.chunk_reader(),
            unknown: HashSet::new(),
            samples: Vec::new(),
            floats: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
            stones: Vec::new(),
            readers: ActiveReaders::default(),
            late: Vec::new(),
            newest: NEVER,
            first_error: None,
        }
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
        }
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
            self.take_chunks(id, chunks);
        }
    }

    /// Takes the chunks of a reference of a series, in order, up to one that cannot be taken: the log
    /// has its samples and all later ones.
    fn take_chunks(&mut self, id: u32, chunks: Vec<Sealed>) {
        let head = self.head;
        let min_valid = head.min_valid.load(Ordering::Acquire);
        let mut stripe = head.stripes[stripe_of(id)].lock();
        let mut chunks: Vec<_> = chunks.into_iter().map(|c| (c, true)).collect();
        if chunks.first().is_some_and(|(c, _)| c.mint <= head.newest(id)) {
            // A series that went and came back has its chunks of then under another reference, and
            // those since the last start under the first one again.
            chunks.extend(stripe.take_all(id).into_iter().map(|c| (c, false)));
            chunks.sort_by_key(|(c, _)| (c.mint, c.maxt));
            head.set_newest(id, NEVER);
        }
        for (chunk, new) in chunks {
            if chunk.maxt < min_valid {
                self.stats.old += u64::from(new);
                continue;
            }
            if chunk.mint <= head.newest(id) || chunk.maxt < chunk.mint {
                self.stats.not_newer += u64::from(new);
                if chunk.maxt > head.newest(id) {
                    break;
                }
                continue;
            }
            if !stripe.push_sealed(id, &chunk) && !self.put_decoded(&mut stripe, id, &chunk) {
                self.stats.bad_records += 1;
                break;
            }
            head.set_newest(id, chunk.maxt);
            head.extend_time(chunk.mint.max(min_valid), chunk.maxt);
            self.stats.chunks += u64::from(new);
        }
    }

    /// Adds the samples of a chunk that the head does not keep as it is. False where they cannot be
    /// read.
    fn put_decoded(&mut self, stripe: &mut Stripe, id: u32, chunk: &Sealed) -> bool {
        let head = self.head;
        let Ok(data) = self.chunk_reader.get(chunk) else { return false };
        let min_valid = head.min_valid.load(Ordering::Acquire);
        let mut newest = head.newest(id);
        match from_chunk::decode(chunk.encoding, data) {
            Err(_) => return false,
            Ok(Decoded::Floats(times, values)) => {
                for (t, v) in times.into_iter().zip(values).filter(|s| s.0 >= min_valid) {
                    let (range, readers) = (head.chunk_range, &self.readers);
                    if t > newest {
                        stripe.append_float(id, (t, v), newest, EPOCH, range, readers);
                        newest = t;
                    }
                }
            }
            Ok(Decoded::Histograms(samples)) => {
                for sample in samples.into_iter().filter(|s| s.t >= min_valid) {
                    if sample.t > newest {
                        let t = sample.t;
                        let (range, readers) = (head.chunk_range, &self.readers);
                        stripe.append_histogram(id, sample, newest, EPOCH, range, readers);
                        newest = t;
                    }
                }
            }
        }
        true
    }

    fn floats(&mut self) {
        let head = self.head;
        let min_valid = head.min_valid.load(Ordering::Acquire);
        let samples = std::mem::take(&mut self.samples);
        let mut floats = std::mem::take(&mut self.floats);
        floats.clear();
        for s in &samples {
            self.newest = self.newest.max(s.t);
            if s.t < min_valid {
                self.stats.old += 1;
                continue;
            }
            let Some(id) = self.id(s.series) else {
                self.stats.unknown_refs += 1;
                continue;
            };
            let before = head.newest(id);
            if s.t <= before {
                self.stats.not_newer += 1;
                continue;
            }
            head.set_newest(id, s.t);
            if is_stale_nan(s.v) && self.stale(id, s.t, before) {
                continue;
            }
            let (reference, t, v) = (s.series, s.t, s.v);
            floats.push(Float { reference, t, v, before, id, part: 0, valid: true, late: false });
        }
        let (oldest, newest, n) = head.apply_floats(&floats, EPOCH, &self.readers);
        self.stats.floats += n;
        head.extend_time(oldest, newest);
        self.samples = samples;
        self.floats = floats;
    }

    /// Takes a staleness marker for one of a histogram, where the series' last sample is one.
    #[cold]
    fn stale(&mut self, id: u32, t: Timestamp, before: Timestamp) -> bool {
        let mut stripe = self.head.stripes[stripe_of(id)].lock();
        let last = stripe.last_encoding(id).filter(|l| l.0 == before && !l.1.is_float());
        let Some((_, encoding)) = last else { return false };
        let sample = stale_histogram(is_float_histogram(encoding), t);
        let range = self.head.chunk_range;
        stripe.append_histogram(id, sample, before, EPOCH, range, &self.readers);
        drop(stripe);
        self.head.extend_time(t, t);
        self.stats.histograms += 1;
        true
    }

    fn histogram(&mut self, h: RefHistogram) {
        let head = self.head;
        self.newest = self.newest.max(h.t);
        if h.t < head.min_valid.load(Ordering::Acquire) {
            self.stats.old += 1;
            return;
        }
        let Some(id) = self.id(h.series) else {
            self.stats.unknown_refs += 1;
            return;
        };
        let before = head.newest(id);
        if h.t <= before {
            self.stats.not_newer += 1;
            return;
        }
        let sample = HistogramSample { t: h.t, start: h.start, value: h.value.into() };
        let mut stripe = head.stripes[stripe_of(id)].lock();
        let range = head.chunk_range;
        let waiting = stripe.waiting_bytes();
        if !stripe.append_histogram(id, sample, before, EPOCH, range, &self.readers) {
            self.stats.bad_records += 1;
            return;
        }
        head.waiting.fetch_add(stripe.waiting_bytes() - waiting, Ordering::AcqRel);
        head.set_newest(id, h.t);
        head.extend_time(h.t, h.t);
        self.stats.histograms += 1;
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
                head.stripes[stripe_of(id)].lock().truncate(id, Timestamp::MAX);
                head.set_newest(id, NEVER);
            } else {
                head.add_tombstone(id, stone.mint, stone.maxt);
            }
        }
    }

    /// Ends the replay: what was taken becomes visible. Returns what was done, and how many
    /// references were unknown.
    pub(crate) fn finish(mut self) -> (ReplayStats, usize) {
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

fn stale_histogram(float: bool, t: Timestamp) -> HistogramSample {
    let sum = firesteel_model::stale_nan();
    let value = if float {
        AnyHistogram::Float(FloatHistogram { sum, ..FloatHistogram::default() })
    } else {
        AnyHistogram::Int(Histogram { sum, ..Histogram::default() })
    };
    HistogramSample { t, start: 0, value: value.into() }
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
