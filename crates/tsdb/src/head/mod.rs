//! The head: the newest samples, in memory.
//!
//! Labels and postings are under one lock ([`index`]), samples under the locks of 16 stripes
//! ([`stripe`]), commits under one ([`commit`]); each commit gets a number, and readers see the
//! commits up to the one that was newest when they came ([`readers`]).
//!
//! Samples that come out of order are kept apart ([`late`]).
//!
//! Locks are taken in this order, and no other way: limbo, commit, index, aliases or metadata or
//! tombstones or exemplars, stripe or late samples, readers.

mod appender;
mod chunk_files;
mod commit;
mod exemplars;
mod export;
mod floats;
mod formats;
mod from_chunk;
mod gc;
mod hash;
mod histogram_chunk;
mod histograms;
mod image;
mod index;
mod late;
mod memory;
mod open;
mod paged;
mod pending;
mod postings;
mod query;
mod readers;
mod replay;
mod search;
mod slab;
mod spill;
mod stale;
mod stripe;
mod symbols;
mod tombstones;
mod validate;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use firesteel_model::{
    Labels, Metadata, MetricType, Timestamp,
    budget::{Budget, Reservation},
    metrics::{Buckets, Counter},
    storage::AppendError,
};
use hashbrown::HashMap;

pub(crate) use chunk_files::{
    ChunkFiles, ChunkReader, DIR as CHUNKS_DIR, Data, Found as FoundChunks, Sealed,
    check as check_chunk_file, remove_out_of_order,
};
pub use export::HeadStats;
pub(crate) use floats::encode as encode_floats;
pub(crate) use formats::Formats;
pub(crate) use from_chunk::{Decoded, decode as decode_samples, decode_histograms};
pub(crate) use histograms::{Made, encode as encode_histograms};
pub(crate) use image::{ImageError, Part, Parts};
pub(crate) use late::{DEFAULT_CAP, Frozen, LateReader, LateSample, LateSamples, LateValue};
pub use query::SeriesExemplars;
pub use replay::ReplayStats;
pub(crate) use replay::{Replay, group_chunks, late_samples};
pub(crate) use stale::Ended;
pub(crate) use stripe::{Copied, FloatSample, HistogramSample};

use self::{
    commit::{Committer, Waiting},
    exemplars::Exemplars,
    formats::Chosen,
    index::Index,
    late::Late,
    paged::Paged,
    pending::Pending,
    readers::Readers,
    stripe::{NEVER, STRIPES, Stripe, stripe_of},
};
use crate::{
    decoded::{DecodedChunks, DecodedSource},
    sync::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Mutex, RwLock},
    wal::{Compression, writer::Writer},
};

/// The series is in the log.
const LOGGED: u8 = 1;
/// Bytes that a new series is assumed to take, until memory is measured.
const SERIES_BYTES: u64 = 400;
/// Bytes by which the head's reservation grows.
const RESERVE_STEP: u64 = 1 << 20;

/// How a head is set up.
#[derive(Clone, Debug)]
pub(crate) struct HeadOptions {
    /// Length of a block, milliseconds. Chunks do not cross its multiples.
    pub(crate) chunk_range: i64,
    /// How log records are compressed.
    pub(crate) compression: Compression,
    /// How many exemplars are kept.
    pub(crate) max_exemplars: usize,
    /// How much older than the newest sample of all a sample may be that is older than its series',
    /// milliseconds; 0: none is taken.
    pub(crate) late_window: i64,
    /// How many of these the buffer of a series holds.
    pub(crate) late_cap: usize,
    /// What new data looks like.
    pub(crate) formats: Formats,
    /// Memory of the head.
    pub(crate) budget: Budget,
    /// Where closed chunks are kept that are read again and again.
    pub(crate) decoded: Option<Arc<DecodedChunks>>,
}

/// Bounds of [`Counts::late_by`], seconds.
const LATE_BY: [f64; 7] = [600.0, 1800.0, 3600.0, 7200.0, 10_800.0, 21_600.0, 43_200.0];

/// Counts of a head.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) floats: Counter,
    pub(crate) histograms: Counter,
    pub(crate) series_created: Counter,
    pub(crate) series_removed: Counter,
    pub(crate) late_floats: Counter,
    pub(crate) late_histograms: Counter,
    pub(crate) out_of_order: ByKind,
    pub(crate) out_of_bounds: ByKind,
    pub(crate) too_old: ByKind,
    /// How much older than the head's newest sample those were that did not come in order, taken or
    /// not; seconds.
    pub(crate) late_by: Buckets,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            floats: Counter::default(),
            histograms: Counter::default(),
            series_created: Counter::default(),
            series_removed: Counter::default(),
            late_floats: Counter::default(),
            late_histograms: Counter::default(),
            out_of_order: ByKind::default(),
            out_of_bounds: ByKind::default(),
            too_old: ByKind::default(),
            late_by: Buckets::new(&LATE_BY),
        }
    }
}

/// A count of floats and one of histograms.
#[derive(Debug, Default)]
pub(crate) struct ByKind {
    pub(crate) floats: Counter,
    pub(crate) histograms: Counter,
}

impl ByKind {
    fn inc(&self, is_float: bool) {
        if is_float { self.floats.inc() } else { self.histograms.inc() }
    }

    /// Both counts.
    pub(crate) const fn both(&self) -> [&Counter; 2] {
        [&self.floats, &self.histograms]
    }
}

/// A stripe on cache lines of its own (two, as processors fetch them in pairs), so that locking one
/// does not slow its neighbours down.
#[derive(Default)]
#[repr(align(128))]
struct Padded<T>(Mutex<T>);

impl<T> std::ops::Deref for Padded<T> {
    type Target = Mutex<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Time of a series' newest sample, [`NEVER`] where it has none. With the sign bit flipped, so that
/// this is 0 and new pages need no writing.
#[derive(Default)]
struct Newest(AtomicU64);

impl Newest {
    #[inline]
    fn get(&self) -> Timestamp {
        (self.0.load(Ordering::Acquire) ^ 1 << 63) as i64
    }

    #[inline]
    fn set(&self, t: Timestamp) {
        self.0.store(t as u64 ^ 1 << 63, Ordering::Release);
    }
}

/// The head.
pub(crate) struct Head {
    chunk_range: i64,
    compression: Compression,
    formats: Chosen,
    /// Whether there is a log.
    logs: bool,
    index: RwLock<Index>,
    /// Series number plus one, by reference.
    refs: Paged<AtomicU32>,
    /// The same for references too large for [`Head::refs`].
    far_refs: RwLock<HashMap<u64, u32>>,
    last_ref: AtomicU64,
    /// Newest sample by series number.
    newest: Paged<Newest>,
    flags: Paged<AtomicU8>,
    /// How often series were taken out of the index; changes under the commit lock only.
    unlinks: AtomicU64,
    /// Number of series without [`LOGGED`].
    unlogged: AtomicUsize,
    stripes: Box<[Padded<Stripe>]>,
    late: Late,
    /// Where closed chunks go; they stay in memory where there is none.
    chunk_files: OnceLock<Arc<ChunkFiles>>,
    /// Where its closed chunks are kept that are read again and again.
    decoded: Option<DecodedSource>,
    /// Bytes of closed chunks that wait to be written, about.
    waiting: AtomicUsize,
    /// Held by who writes them.
    spilling: Mutex<()>,
    /// Segments of the log that were read at the start and may not be on disk.
    old_log: Mutex<Vec<PathBuf>>,
    /// Whether that failed last time.
    spill_failed: AtomicBool,
    readers: Arc<Readers>,
    committer: Mutex<Committer>,
    queue: Mutex<Vec<Waiting>>,
    #[allow(clippy::vec_box, reason = "transactions are passed around as boxes")]
    pool: Mutex<Vec<Box<Pending>>>,
    /// One more than the segment in which the image ends that the head was loaded from; 0 for none.
    image_end: AtomicU64,
    min_time: AtomicI64,
    max_time: AtomicI64,
    /// Samples before this are in blocks, or gone.
    min_valid: AtomicI64,
    /// Further references of series, from logs that define a series twice.
    aliases: Mutex<HashMap<u32, Vec<u64>>>,
    /// Hidden intervals, from logs with tombstones.
    tombstones: RwLock<HashMap<u32, Vec<(Timestamp, Timestamp)>>>,
    has_tombstones: AtomicBool,
    exemplars: Mutex<Exemplars>,
    metadata: RwLock<MetadataStore>,
    memory: Mutex<Memory>,
    limbo: gc::LimboCell,
    pub(crate) counts: Counts,
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Head({} series)", self.num_series())
    }
}

struct Memory {
    reservation: Option<Reservation>,
    used: u64,
}

/// Metadata of series, each distinct one once.
#[derive(Default)]
struct MetadataStore {
    by_series: HashMap<u32, Arc<Metadata>>,
    distinct: HashMap<(MetricType, String, String), Arc<Metadata>>,
}

impl MetadataStore {
    fn is(&self, id: u32, metadata: &Metadata) -> bool {
        self.by_series.get(&id).is_some_and(|m| **m == *metadata)
    }

    fn set(&mut self, id: u32, metadata: Metadata) {
        let key = (metadata.kind, metadata.unit.clone(), metadata.help.clone());
        let shared = self.distinct.entry(key).or_insert_with(|| Arc::new(metadata));
        self.by_series.insert(id, Arc::clone(shared));
    }

    fn remove(&mut self, ids: &[u32]) {
        for id in ids {
            self.by_series.remove(id);
        }
        self.distinct.retain(|_, m| Arc::strong_count(m) > 1);
    }
}

impl Head {
    /// An empty head. Its log is given later, after replay.
    pub(crate) fn new(options: &HeadOptions, logs: bool) -> Self {
        Self {
            chunk_range: options.chunk_range.max(1),
            compression: options.compression,
            formats: Chosen::new(options.formats),
            logs,
            index: RwLock::default(),
            refs: Paged::new(),
            far_refs: RwLock::default(),
            last_ref: AtomicU64::new(0),
            newest: Paged::new(),
            flags: Paged::new(),
            unlinks: AtomicU64::new(0),
            unlogged: AtomicUsize::new(0),
            stripes: (0..STRIPES).map(|_| Padded::default()).collect(),
            late: Late::new(options.late_window, options.late_cap),
            chunk_files: OnceLock::new(),
            decoded: options.decoded.as_ref().map(DecodedChunks::source),
            waiting: AtomicUsize::new(0),
            spilling: Mutex::new(()),
            old_log: Mutex::default(),
            spill_failed: AtomicBool::new(false),
            readers: Arc::default(),
            committer: Mutex::default(),
            queue: Mutex::default(),
            pool: Mutex::default(),
            image_end: AtomicU64::new(0),
            min_time: AtomicI64::new(Timestamp::MAX),
            max_time: AtomicI64::new(NEVER),
            min_valid: AtomicI64::new(NEVER),
            aliases: Mutex::default(),
            tombstones: RwLock::default(),
            has_tombstones: AtomicBool::new(false),
            exemplars: Mutex::new(Exemplars::new(options.max_exemplars)),
            metadata: RwLock::default(),
            memory: Mutex::new(Memory { reservation: options.budget.reserve(0).ok(), used: 0 }),
            limbo: gc::LimboCell::default(),
            counts: Counts::default(),
        }
    }

    /// What new data looks like.
    pub(crate) fn formats(&self) -> Formats {
        self.formats.get()
    }

    /// Changes what new data looks like: chunks that are begun, and what is logged, from now on.
    pub(crate) fn set_formats(&self, formats: Formats) {
        self.formats.set(formats);
    }

    /// Gives the head its log.
    pub(crate) fn set_wal(&self, wal: Writer) {
        self.committer.lock().wal = Some(wal);
    }

    /// Gives the head its files, once, before chunks of them are put in.
    pub(crate) fn set_chunk_files(&self, files: Arc<ChunkFiles>) {
        let _ = self.chunk_files.set(files);
    }

    /// The files of closed chunks.
    pub(crate) fn chunk_files(&self) -> Option<&Arc<ChunkFiles>> {
        self.chunk_files.get()
    }

    /// Notes that the head was loaded from an image of the log up to this segment.
    pub(crate) fn set_image_end(&self, segment: u64) {
        self.image_end.store(segment.saturating_add(1), Ordering::Release);
    }

    /// Whether the head may not know all series of a segment: those that were gone before the image
    /// was made that it was loaded from.
    pub(crate) fn may_not_know(&self, segment: u64) -> bool {
        segment < self.image_end.load(Ordering::Acquire)
    }

    /// Reads closed chunks.
    pub(crate) fn chunk_reader(&self) -> ChunkReader {
        ChunkReader::new(self.chunk_files().cloned())
    }

    /// Works with the log while no commit happens; `None` without one.
    pub(crate) fn with_wal<R>(&self, f: impl FnOnce(&mut Writer) -> R) -> Option<R> {
        self.committer.lock().wal.as_mut().map(f)
    }

    /// Refuses commits from now on, and closes the current segment.
    pub(crate) fn close(&self) {
        let mut committer = self.committer.lock();
        committer.closed = true;
        if let Some(wal) = &mut committer.wal {
            wal.cut();
        }
        if let Some(wbl) = &mut committer.wbl {
            wbl.cut();
        }
    }

    /// The series number behind a reference.
    #[inline]
    fn lookup(&self, reference: u64) -> Option<u32> {
        let id = match self.refs.get(reference) {
            Some(cell) => cell.load(Ordering::Acquire),
            None if reference < Paged::<AtomicU32>::CAPACITY => 0,
            None => self.far_refs.read().get(&reference).copied().unwrap_or(0),
        };
        id.checked_sub(1)
    }

    /// Sets or (with `None`) clears the series number behind a reference.
    fn bind(&self, reference: u64, id: Option<u32>) {
        let value = id.map_or(0, |id| id + 1);
        if let Some(cell) = self.refs.get(reference) {
            cell.store(value, Ordering::Release);
            return;
        }
        // A reference far beyond all others comes from damage or malice, or from a very long life;
        // it must not cost the pages in between.
        let near = reference < Paged::<AtomicU32>::CAPACITY;
        if near && let Some(cell) = self.refs.ensure(reference) {
            cell.store(value, Ordering::Release);
            return;
        }
        let mut far = self.far_refs.write();
        if value == 0 {
            far.remove(&reference);
        } else {
            far.insert(reference, value);
        }
    }

    /// Newest sample of a series; [`NEVER`] where it has none.
    #[inline]
    fn newest(&self, id: u32) -> Timestamp {
        self.newest.get(u64::from(id)).map_or(NEVER, Newest::get)
    }

    #[inline]
    fn set_newest(&self, id: u32, t: Timestamp) {
        if let Some(newest) = self.newest.get(u64::from(id)) {
            newest.set(t);
        }
    }

    /// The number and reference of the series with these labels, if there is one.
    fn find(&self, labels: &Labels) -> Option<(u32, u64)> {
        let index = self.index.read();
        let id = index.find(index.hash(labels), labels)?;
        Some((id, index.reference(id)))
    }

    /// Sets how many exemplars are kept; the oldest go where that is fewer.
    pub(crate) fn set_max_exemplars(&self, n: usize) {
        self.exemplars.lock().resize(n);
    }

    /// The number and reference of the series with these labels, and whether it was made.
    fn get_or_create(&self, labels: &Labels) -> Result<(u32, u64, bool), AppendError> {
        let index = self.index.read();
        let hash = index.hash(labels);
        if let Some(id) = index.find(hash, labels) {
            return Ok((id, index.reference(id), false));
        }
        drop(index);
        let mut index = self.index.write();
        if let Some(id) = index.find(hash, labels) {
            return Ok((id, index.reference(id), false));
        }
        self.charge(SERIES_BYTES)?;
        let reference = self.last_ref.load(Ordering::Acquire) + 1;
        let id = self.create(&mut index, hash, reference, labels)?;
        Ok((id, reference, true))
    }

    fn create(
        &self,
        index: &mut Index,
        hash: u64,
        reference: u64,
        labels: &Labels,
    ) -> Result<u32, AppendError> {
        let full = |_| AppendError::Limit("the head has no room for another series".to_owned());
        let id = index.create(hash, reference, labels).map_err(full)?;
        let at = u64::from(id);
        let (Some(newest), Some(flags)) = (self.newest.ensure(at), self.flags.ensure(at)) else {
            index.unlink(&[id]);
            index.release(&[id]);
            return Err(AppendError::Limit("the head has no room for another series".to_owned()));
        };
        newest.set(NEVER);
        flags.store(0, Ordering::Release);
        self.unlogged.fetch_add(1, Ordering::AcqRel);
        self.stripes[stripe_of(id)].lock().ensure(id);
        self.last_ref.fetch_max(reference, Ordering::AcqRel);
        self.bind(reference, Some(id));
        self.counts.series_created.inc();
        Ok(id)
    }

    /// Counts memory, and reserves more where needed.
    fn charge(&self, bytes: u64) -> Result<(), AppendError> {
        let mut memory = self.memory.lock();
        let used = memory.used + bytes;
        if let Some(reservation) = &mut memory.reservation
            && used > reservation.bytes()
        {
            let step = (used - reservation.bytes()).max(RESERVE_STEP);
            reservation.grow(step).map_err(|e| AppendError::Limit(e.to_string()))?;
        }
        memory.used = used;
        Ok(())
    }

    /// Measures memory and adjusts the reservation to it, as far as the budget lets it.
    pub(crate) fn account(&self) {
        let used = self.memory_bytes() as u64;
        let mut memory = self.memory.lock();
        memory.used = used;
        if let Some(reservation) = &mut memory.reservation {
            let held = reservation.bytes();
            if used > held {
                let _ = reservation.grow(used - held);
            } else if held - used > RESERVE_STEP {
                reservation.shrink(held - used - RESERVE_STEP);
            }
        }
    }

    /// Bytes held, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_parts().iter().map(|p| p.1).sum()
    }

    /// Bytes held, about, by part.
    pub(crate) fn memory_parts(&self) -> Vec<(&'static str, usize)> {
        let stripes: Vec<_> = self.stripes.iter().map(|s| s.lock().bytes()).collect();
        let sum = |f: fn(&stripe::StripeBytes) -> usize| stripes.iter().map(f).sum();
        let index = self.index.read();
        let metadata = self.metadata.read().by_series.len() * 24;
        let late = self.late.bytes();
        let (series, refs) = (index.bound() as usize, self.last_ref.load(Ordering::Acquire));
        let mut parts = vec![
            ("hot records", sum(|s| s.hot)),
            ("cold records", sum(|s| s.cold)),
            ("open chunks", sum(|s| s.slab)),
            ("places of closed chunks", sum(|s| s.sealed)),
            ("closed chunks in memory", sum(|s| s.waiting)),
            ("open histogram and XOR2 chunks", sum(|s| s.others)),
            ("notes for readers", sum(|s| s.undo)),
            ("late samples", late),
            ("newest times and flags", series * 9),
            ("references", usize::try_from(refs).unwrap_or(0).min(series * 2) * 4),
            ("metadata", metadata),
        ];
        parts.extend(index.memory_parts());
        parts
    }

    fn take_pending(&self) -> Box<Pending> {
        let pooled = self.pool.lock().pop();
        let mut pending = pooled.unwrap_or_else(|| {
            let compression = if self.logs { self.compression } else { Compression::None };
            Box::new(Pending::new(compression))
        });
        pending.unlinks = self.unlinks.load(Ordering::Acquire);
        pending
    }

    fn recycle(&self, mut pending: Box<Pending>) {
        if !pending.is_worth_keeping() {
            return;
        }
        pending.clear();
        let mut pool = self.pool.lock();
        if pool.len() < 8 {
            pool.push(pending);
        }
    }

    /// Number of series.
    pub(crate) fn num_series(&self) -> usize {
        self.index.read().len()
    }

    /// Takes note of samples between two times; nothing where `newest` is [`NEVER`].
    fn extend_time(&self, oldest: Timestamp, newest: Timestamp) {
        if newest != NEVER {
            self.min_time.fetch_min(oldest, Ordering::AcqRel);
            self.max_time.fetch_max(newest, Ordering::AcqRel);
        }
    }

    /// Metadata by metric name, each distinct one once, sorted by name.
    pub(crate) fn metadata_by_name(&self) -> Vec<(String, Metadata)> {
        let index = self.index.read();
        let mut all = std::collections::BTreeMap::<String, Vec<Arc<Metadata>>>::new();
        for (&id, metadata) in &self.metadata.read().by_series {
            let name = index.text_pairs(id).find(|(n, _)| *n == firesteel_model::METRIC_NAME);
            let Some((_, name)) = name else { continue };
            let known = all.entry(name.to_owned()).or_default();
            if !known.iter().any(|m| Arc::ptr_eq(m, metadata)) {
                known.push(Arc::clone(metadata));
            }
        }
        let flat = |(name, list): (String, Vec<Arc<Metadata>>)| {
            list.into_iter().map(move |m| (name.clone(), (*m).clone()))
        };
        all.into_iter().flat_map(flat).collect()
    }

    /// Oldest and newest sample; `None` where there is none.
    pub(crate) fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        let newest = self.max_time.load(Ordering::Acquire);
        (newest != NEVER).then(|| (self.min_time.load(Ordering::Acquire), newest))
    }
}
