//! What a transaction has gathered.

use firesteel_model::{Metadata, Timestamp};
use hashbrown::HashMap;

use super::{Head, index::Index, stripe::NEVER};
use crate::wal::{
    Compression,
    record::{self, exemplars::RefExemplar, histograms::AnyHistogram, samples::RefSample, series},
    writer::Batch,
};

/// A float of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Float {
    pub(super) reference: u64,
    pub(super) t: Timestamp,
    pub(super) v: f64,
    /// Newest sample of the series before this one, once the commit has checked it.
    pub(super) before: Timestamp,
    pub(super) id: u32,
    /// Part of the transaction, see [`Pending::split`].
    pub(super) part: u16,
    /// Whether it goes in; cleared by the commit's check.
    pub(super) valid: bool,
    /// Whether it comes out of order; the commit's check decides.
    pub(super) late: bool,
}

const _: () = assert!(size_of::<Float>() == 40);

/// What decides about the samples of a transaction, as it was when the transaction began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Samples before this do not go in in order.
    pub(super) min_valid: Timestamp,
    /// Newest sample of the head.
    pub(super) newest: Timestamp,
    /// How much older than that a late one may be; 0: none is taken.
    pub(super) window: i64,
}

impl Bounds {
    pub(super) const NONE: Self = Self { min_valid: NEVER, newest: NEVER, window: 0 };

    /// Whether a sample that does not go in in order can go in late.
    pub(super) const fn takes_late(&self, t: Timestamp) -> bool {
        self.window > 0 && t >= self.newest.saturating_sub(self.window)
    }
}

/// A histogram of a transaction.
#[derive(Clone, Debug)]
pub(super) struct HistogramEntry {
    pub(super) reference: u64,
    pub(super) t: Timestamp,
    pub(super) start: Timestamp,
    pub(super) value: std::sync::Arc<AnyHistogram>,
    pub(super) before: Timestamp,
    pub(super) id: u32,
    pub(super) part: u16,
    pub(super) valid: bool,
    pub(super) late: bool,
}

/// The samples of a transaction and, once they are encoded, its records.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) floats: Vec<Float>,
    /// Their start timestamps; empty where none of them has one.
    pub(super) starts: Vec<Timestamp>,
    pub(super) histograms: Vec<HistogramEntry>,
    pub(super) exemplars: Vec<(u32, RefExemplar)>,
    pub(super) metadata: Vec<(u32, u64, Metadata)>,
    /// Series that the log does not know yet; may name one several times.
    pub(super) unlogged: Vec<u32>,
    /// Series that this transaction has made.
    pub(super) created: u64,
    /// [`Head::unlinks`] when the transaction began.
    pub(super) unlinks: u64,
    /// Number of the last part.
    pub(super) last_part: u16,
    pub(super) bounds: Bounds,
    /// Samples that come out of order, as the commit has found.
    pub(super) num_late: usize,
    pub(super) batch: Batch,
    /// For the out-of-order log; made for the first transaction that needs one.
    pub(super) late_batch: Option<Batch>,
    compression: Compression,
}

/// Kinds of histogram records, in the order in which they are written.
const KINDS: [u8; 4] = [7, 9, 8, 10];

impl HistogramEntry {
    /// Where its record stands within a part, that of the floats being 0.
    fn rank(&self) -> usize {
        let kind = self.value.record_type();
        1 + KINDS.iter().position(|&k| k == kind).unwrap_or(KINDS.len())
    }
}

impl Pending {
    pub(super) fn new(compression: Compression) -> Self {
        Self {
            floats: Vec::new(),
            starts: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
            unlogged: Vec::new(),
            created: 0,
            unlinks: 0,
            last_part: 0,
            bounds: Bounds::NONE,
            num_late: 0,
            batch: Batch::new(compression),
            late_batch: None,
            compression,
        }
    }

    pub(super) fn clear(&mut self) {
        self.floats.clear();
        self.starts.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.unlogged.clear();
        self.created = 0;
        self.last_part = 0;
        self.bounds = Bounds::NONE;
        self.num_late = 0;
        self.batch.clear();
        if let Some(batch) = &mut self.late_batch {
            batch.clear();
        }
    }

    /// Whether there is nothing to log.
    pub(super) const fn is_empty(&self) -> bool {
        self.floats.is_empty()
            && self.histograms.is_empty()
            && self.exemplars.is_empty()
            && self.metadata.is_empty()
            && self.unlogged.is_empty()
    }

    /// Whether it is small enough to be kept for the next transaction.
    pub(super) const fn is_worth_keeping(&self) -> bool {
        self.floats.capacity() <= 1 << 16 && self.histograms.capacity() <= 1 << 12
    }

    /// Whether samples come out of order, once the commit has checked them.
    pub(super) const fn has_late(&self) -> bool {
        self.num_late > 0
    }

    /// Encodes the records, in the order in which Prometheus replays them, those of late samples
    /// excepted.
    pub(super) fn encode(&mut self, head: &Head) {
        self.batch.clear();
        self.unlogged.sort_unstable();
        self.unlogged.dedup();
        if !self.unlogged.is_empty() {
            let index = head.index.read();
            let unlogged = &self.unlogged;
            self.batch.record(|out| put_series(out, &index, unlogged));
        }
        self.batch.record(|out| {
            for (i, (_, reference, metadata)) in self.metadata.iter().enumerate() {
                if i == 0 {
                    record::metadata::begin(out);
                }
                record::metadata::push(out, *reference, metadata);
            }
        });
        let mut newest = NEVER;
        let starts_too = head.formats().logged_starts;
        for part in 0..=self.last_part {
            let Self { floats, starts, histograms, batch, .. } = self;
            let samples = (&floats[..], &starts[..], &histograms[..]);
            newest = newest.max(encode_part(samples, (part, false), starts_too, batch));
        }
        self.batch.record(|out| {
            record::exemplars::encode(out, self.exemplars.iter().map(|(_, e)| e));
        });
        self.batch.max_time = newest;
    }

    /// Encodes the late samples, for the out-of-order log, and adds their records to the others.
    pub(super) fn encode_late(&mut self, head: &Head, number: u64) {
        let starts_too = head.formats().logged_starts;
        let late = self.late_batch.get_or_insert_with(|| Batch::new(self.compression));
        late.clear();
        for part in 0..=self.last_part {
            let samples = (&self.floats[..], &self.starts[..], &self.histograms[..]);
            encode_part(samples, (part, true), starts_too, late);
        }
        let records = late.len() as u64;
        late.record_first(|out| record::batch::encode_late(out, records, number));
        self.batch.append(late);
    }

    /// Adds a float with its start timestamp, 0 for unknown.
    #[inline]
    pub(super) fn push_float(&mut self, float: Float, start: Timestamp) {
        if start != 0 || !self.starts.is_empty() {
            self.push_start(start);
        }
        self.floats.push(float);
    }

    /// Apart, so that floats without start timestamps pay nothing for it.
    #[cold]
    fn push_start(&mut self, start: Timestamp) {
        self.starts.resize(self.floats.len(), 0);
        self.starts.push(start);
    }

    /// Brings the floats into the order of the log.
    fn sort_floats(&mut self) {
        if self.starts.is_empty() {
            self.floats.sort_by_key(|f| (f.part, f.t));
            return;
        }
        let floats = std::mem::take(&mut self.floats);
        let starts = std::mem::take(&mut self.starts);
        let mut both: Vec<_> = floats.into_iter().zip(starts).collect();
        both.sort_by_key(|(f, _)| (f.part, f.t));
        (self.floats, self.starts) = both.into_iter().unzip();
    }

    /// Splits the transaction into parts where a series has samples of several kinds.
    ///
    /// A record holds one kind of samples, and floats stand before histograms. A series whose
    /// histogram comes before a float would lose it in a replay, which takes samples in order of
    /// time only. So its float goes into another part, written after the first one.
    pub(super) fn split(&mut self) {
        if self.histograms.is_empty() {
            return;
        }
        let mut kinds: HashMap<u32, Vec<(Timestamp, usize, usize)>> = HashMap::new();
        for (i, h) in self.histograms.iter().enumerate() {
            kinds.entry(h.id).or_default().push((h.t, h.rank(), i));
        }
        for (i, f) in self.floats.iter().enumerate() {
            if let Some(samples) = kinds.get_mut(&f.id) {
                samples.push((f.t, 0, i));
            }
        }
        let mut last = 0_u16;
        for samples in kinds.values_mut().filter(|s| s.len() > 1) {
            samples.sort_unstable();
            let (mut part, mut before) = (0_u16, 0);
            for &(_, rank, i) in &*samples {
                // What comes after so many changes is refused rather than put in wrong order.
                part = part.saturating_add(u16::from(rank < before));
                before = rank;
                if rank == 0 {
                    self.floats[i].part = part;
                } else {
                    self.histograms[i].part = part;
                }
            }
            last = last.max(part);
        }
        self.last_part = last;
        // Also within a part the order is that of the log.
        self.histograms.sort_by_key(|h| (h.part, h.rank(), h.t));
        if last > 0 {
            self.sort_floats();
        }
    }
}

/// Encodes the samples of a part that come late, or those that do not, and returns the newest time.
/// `starts_too`: in records of version 2, which have start timestamps.
fn encode_part(
    (floats, starts, histograms): (&[Float], &[Timestamp], &[HistogramEntry]),
    (part, late): (u16, bool),
    starts_too: bool,
    batch: &mut Batch,
) -> Timestamp {
    let mut newest = NEVER;
    let room = if late { 0 } else { 17 + 16 + floats.len() * 11 };
    let chosen = |f: &Float| f.valid && f.late == late && f.part == part;
    batch.record(|out| {
        if starts_too {
            let floats = floats.iter().enumerate().filter(|(_, f)| chosen(f));
            let samples = floats.map(|(i, f)| {
                newest = newest.max(f.t);
                let start = starts.get(i).copied().unwrap_or(0);
                RefSample { series: f.reference, t: f.t, start, v: f.v }
            });
            record::samples::encode_v2(out, samples);
            return;
        }
        let mut floats = floats.iter().filter(|f| chosen(f)).peekable();
        let Some(first) = floats.peek() else { return };
        out.reserve(room);
        let encoder = record::samples::Encoder::begin(out, first.reference, first.t);
        for f in floats {
            encoder.push(out, f.reference, f.t, f.v);
            newest = newest.max(f.t);
        }
    });
    if histograms.is_empty() {
        return newest;
    }
    let chosen = || histograms.iter().filter(|h| h.valid && h.late == late && h.part == part);
    if starts_too {
        for float in [false, true] {
            let entries = chosen().map(|h| (h.reference, h.t, h.start, &*h.value));
            batch.record(|out| record::histograms::encode_v2(out, float, entries));
        }
    }
    for kind in KINDS.into_iter().filter(|_| !starts_too) {
        batch.record(|out| {
            let entries = chosen().map(|h| (h.reference, h.t, &*h.value));
            record::histograms::encode(out, kind, entries);
        });
    }
    chosen().map(|h| h.t).fold(newest, i64::max)
}

/// Writes a series record.
pub(super) fn put_series(out: &mut Vec<u8>, index: &Index, ids: &[u32]) {
    series::begin(out);
    for &id in ids {
        let reference = index.reference(id);
        if reference != 0 {
            series::push(out, reference, index.text_pairs(id));
        }
    }
}

/// Adds the further references of these series to a series record, which it begins if need be.
pub(super) fn put_aliases(
    out: &mut Vec<u8>,
    index: &Index,
    aliases: &HashMap<u32, Vec<u64>>,
    ids: &[u32],
) {
    for &id in ids {
        for &alias in aliases.get(&id).into_iter().flatten() {
            if out.is_empty() {
                series::begin(out);
            }
            series::push(out, alias, index.text_pairs(id));
        }
    }
}
