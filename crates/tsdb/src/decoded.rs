//! Chunks that are read again and again, kept decoded.
//!
//! A dashboard asks for the same hours every half a minute, and decoding is more than half of what
//! a query costs. Only chunks that are read a second time are kept, so that one long query neither
//! pays for it nor drives out what others use. Which of them go where there is no more room is
//! decided by `quick_cache` (a relative of CLOCK-Pro and S3-FIFO). What is kept is given up once
//! nobody has asked for a while, see [`DecodedChunks::rest`].

use std::{
    hash::{BuildHasher, Hash, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use firesteel_chunk::{ChunkError, xor};
use firesteel_model::{Timestamp, budget::Reservation};
use parking_lot::Mutex;
use quick_cache::{Weighter, sync::Cache};

use crate::block::{Interval, append_floats};

/// Bytes that a chunk of usual length takes here, about.
const USUAL: u64 = 1100;
/// What an entry takes beside its samples: the key, two counts, lists, the allocations' own.
const OVERHEAD: usize = 128;
/// After so long without a question everything is given up.
const IDLE: Duration = Duration::from_secs(300);

/// A chunk of a source: of a block, or of the head.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: u32,
    reference: u64,
}

/// The samples of a chunk.
pub(crate) struct Decoded {
    times: Times,
    values: Box<[f64]>,
}

enum Times {
    /// The first, and the distance of one to the next.
    Steady(Timestamp, i64),
    Any(Box<[Timestamp]>),
}

impl Decoded {
    fn new(times: &[Timestamp], values: &[f64]) -> Self {
        let (first, step) = match times {
            [first, second, ..] => (*first, second.wrapping_sub(*first)),
            _ => (times.first().copied().unwrap_or(0), 1),
        };
        let steady = step > 0 && times.windows(2).all(|w| w[1].wrapping_sub(w[0]) == step);
        let times = if steady { Times::Steady(first, step) } else { Times::Any(times.into()) };
        Self { times, values: values.into() }
    }

    fn bytes(&self) -> usize {
        let times = match &self.times {
            Times::Steady(..) => 0,
            Times::Any(times) => size_of_val(&**times),
        };
        OVERHEAD + times + size_of_val(&*self.values)
    }

    /// Appends the samples that are in `range`; returns how many those were.
    pub(crate) fn append(
        &self,
        range: Interval,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<f64>,
    ) -> usize {
        let len = self.values.len();
        let (from, to) = match &self.times {
            Times::Steady(first, step) => {
                let up_to = |t: Timestamp| {
                    let n = t.saturating_sub(*first).div_euclid(*step).saturating_add(1);
                    usize::try_from(n).unwrap_or(0).min(len)
                };
                (up_to(range.mint.saturating_sub(1)), up_to(range.maxt))
            }
            Times::Any(all) => (
                all.partition_point(|t| *t < range.mint),
                all.partition_point(|t| *t <= range.maxt),
            ),
        };
        let Some(inside) = self.values.get(from..to) else { return 0 };
        values.extend_from_slice(inside);
        match &self.times {
            Times::Steady(first, step) => {
                let first = first.wrapping_add(from as i64 * step);
                times.extend((0..inside.len() as i64).map(|i| first.wrapping_add(i * step)));
            }
            Times::Any(all) => times.extend_from_slice(all.get(from..to).unwrap_or_default()),
        }
        inside.len()
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Arc<Decoded>> for Bytes {
    fn weight(&self, _: &Key, chunk: &Arc<Decoded>) -> u64 {
        chunk.bytes() as u64
    }
}

/// The decoded chunks of a database.
pub(crate) struct DecodedChunks {
    chunks: Cache<Key, Arc<Decoded>, Bytes, Hasher>,
    hasher: Hasher,
    /// Marks of chunks that were read once; one drives out another now and then, which costs a
    /// chunk its place until it is read again.
    read_once: Box<[AtomicU32]>,
    sources: AtomicU32,
    asked: AtomicBool,
    /// When it was seen that something had been asked for.
    last_asked: Mutex<Duration>,
    hits: AtomicU64,
    misses: AtomicU64,
    _reservation: Option<Reservation>,
}

type Hasher = hashbrown::DefaultHashBuilder;

impl std::fmt::Debug for DecodedChunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DecodedChunks({} bytes)", self.bytes())
    }
}

impl DecodedChunks {
    /// Keeps so many bytes at most, which `reservation` stands for. Memory is taken as chunks come,
    /// but for a hundredth.
    pub(crate) fn new(capacity: u64, reservation: Option<Reservation>) -> Arc<Self> {
        let chunks = capacity / USUAL + 1;
        let hasher = Hasher::default();
        let marks = usize::try_from(chunks.next_power_of_two() * 2).unwrap_or(1 << 20);
        Arc::new(Self {
            // The number of entries is used for what cannot grow: the number of parts, each with a
            // lock of its own.
            chunks: Cache::with(
                usize::try_from(chunks).unwrap_or(usize::MAX),
                capacity,
                Bytes,
                hasher.clone(),
                quick_cache::sync::DefaultLifecycle::default(),
            ),
            hasher,
            read_once: (0..marks).map(|_| AtomicU32::new(0)).collect(),
            sources: AtomicU32::new(0),
            asked: AtomicBool::new(false),
            last_asked: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            _reservation: reservation,
        })
    }

    /// A source of chunks, whose references are its own.
    pub(crate) fn source(self: &Arc<Self>) -> DecodedSource {
        let number = self.sources.fetch_add(1, Ordering::Relaxed);
        DecodedSource { all: Arc::clone(self), number }
    }

    /// Gives everything up that nobody has asked for since long; `now` is of a monotonic clock.
    pub(crate) fn rest(&self, now: Duration) {
        let mut last = self.last_asked.lock();
        if self.asked.swap(false, Ordering::Relaxed) {
            *last = now;
        } else if now.saturating_sub(*last) > IDLE && !self.chunks.is_empty() {
            self.chunks.clear();
        }
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.chunks.weight()
    }

    /// How often a chunk was there, and how often not.
    pub(crate) fn uses(&self) -> Uses {
        let (hits, misses) = (&self.hits, &self.misses);
        Uses { hits: hits.load(Ordering::Relaxed), misses: misses.load(Ordering::Relaxed) }
    }

    /// Whether this chunk was read before; it is from now on.
    fn is_second_time(&self, key: Key) -> bool {
        let mut hasher = self.hasher.build_hasher();
        key.hash(&mut hasher);
        let hash = hasher.finish();
        // Never 0, which no chunk has.
        let mark = (hash >> 32) as u32 | 1;
        let at = hash as usize & (self.read_once.len() - 1);
        self.read_once.get(at).is_some_and(|slot| slot.swap(mark, Ordering::Relaxed) == mark)
    }
}

/// How often a reader found a chunk here, and how often not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

/// The decoded chunks of a block or of the head. They go with it.
#[derive(Debug)]
pub(crate) struct DecodedSource {
    all: Arc<DecodedChunks>,
    number: u32,
}

impl DecodedSource {
    /// The chunk at a reference, if it is kept.
    #[inline]
    pub(crate) fn get(&self, reference: u64) -> Option<Arc<Decoded>> {
        self.all.chunks.get(&Key { source: self.number, reference })
    }

    /// Counts what a reader has found, and what it has not.
    pub(crate) fn count(&self, uses: Uses) {
        self.all.hits.fetch_add(uses.hits, Ordering::Relaxed);
        self.all.misses.fetch_add(uses.misses, Ordering::Relaxed);
        if uses.hits > 0 {
            self.all.asked.store(true, Ordering::Relaxed);
        }
    }

    /// Appends the samples of an XOR chunk that was not kept, those in `range`, and keeps it if it
    /// was read before. Its times are said to lie in `of`.
    pub(crate) fn append(
        &self,
        reference: u64,
        chunk: &[u8],
        of: Interval,
        range: Interval,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<f64>,
    ) -> Result<usize, ChunkError> {
        if !self.wants(reference) {
            return append_floats(chunk, of, range, times, values);
        }
        let before = times.len();
        xor::decode(chunk, times, values)?;
        let (new_times, new_values) = (times.get(before..), values.get(before..));
        self.put(reference, new_times.unwrap_or_default(), new_values.unwrap_or_default());
        let new = times.get(before..).unwrap_or_default();
        let early = new.partition_point(|t| *t < range.mint);
        let end = new.partition_point(|t| *t <= range.maxt);
        times.truncate(before + end);
        values.truncate(before + end);
        times.drain(before..before + early);
        values.drain(before..before + early);
        Ok(end - early)
    }

    /// Whether a chunk that was not kept should be, now that it has been read once more.
    fn wants(&self, reference: u64) -> bool {
        self.all.is_second_time(Key { source: self.number, reference })
    }

    /// Keeps a chunk, all of it.
    fn put(&self, reference: u64, times: &[Timestamp], values: &[f64]) {
        let key = Key { source: self.number, reference };
        self.all.chunks.insert(key, Arc::new(Decoded::new(times, values)));
    }
}

impl Drop for DecodedSource {
    fn drop(&mut self) {
        self.all.chunks.retain(|key, _| key.source != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keep(source: &DecodedSource, reference: u64, times: &[i64]) {
        let values: Vec<f64> = times.iter().map(|t| *t as f64).collect();
        source.put(reference, times, &values);
    }

    #[test]
    fn sources_do_not_mix_and_take_theirs_along() {
        let all = DecodedChunks::new(1 << 20, None);
        let (a, b) = (all.source(), all.source());
        keep(&a, 7, &[1, 2]);
        assert!(b.get(7).is_none() && a.get(7).is_some());
        keep(&b, 7, &[1, 2, 3]);
        assert_eq!(b.get(7).unwrap().values.len(), 3);
        drop(a);
        assert!(b.get(7).is_some());
        assert_eq!(all.chunks.len(), 1);
    }

    #[test]
    fn a_chunk_is_wanted_once_it_was_read() {
        let all = DecodedChunks::new(1 << 20, None);
        let source = all.source();
        assert!(!source.wants(3));
        assert!(source.wants(3));
        assert!(!source.wants(4));
    }

    #[test]
    fn the_bound_holds() {
        let all = DecodedChunks::new(100_000, None);
        let source = all.source();
        let times: Vec<i64> = (0..120).map(|i| i * 15_000).collect();
        for reference in 0..10_000 {
            keep(&source, reference, &times);
            assert!(all.bytes() <= 100_000, "{}", all.bytes());
        }
        assert!(all.bytes() > 50_000, "{}", all.bytes());
    }

    #[test]
    fn what_nobody_asks_for_is_given_up() {
        let all = DecodedChunks::new(1 << 20, None);
        let source = all.source();
        keep(&source, 1, &[1]);
        source.count(Uses { hits: 1, misses: 0 });
        all.rest(Duration::from_secs(1000));
        all.rest(Duration::from_secs(1200));
        assert!(source.get(1).is_some());
        all.rest(Duration::from_secs(1301));
        assert!(source.get(1).is_none());
    }

    proptest! {
        #[test]
        fn what_is_appended_is_what_is_in_range(
            first in -100_i64..100,
            steps in prop_oneof![
                prop::collection::vec(1_i64..30, 0..20),
                (1_i64..30, 0_usize..20).prop_map(|(step, n)| vec![step; n]),
            ],
            mint in -120_i64..300,
            span in 0_i64..300,
        ) {
            let mut times = vec![first];
            times.extend(steps.iter().scan(first, |t, step| { *t += step; Some(*t) }));
            let values: Vec<f64> = times.iter().map(|t| *t as f64 * 0.5).collect();
            let range = Interval { mint, maxt: mint + span };
            let (mut t, mut v) = (vec![-9], vec![-9.0]);
            let n = Decoded::new(&times, &values).append(range, &mut t, &mut v);
            let inside: Vec<i64> = times.into_iter().filter(|t| range.contains(*t)).collect();
            prop_assert_eq!(n, inside.len());
            prop_assert_eq!(&t[1..], &inside[..]);
            let expected: Vec<f64> = inside.iter().map(|t| *t as f64 * 0.5).collect();
            prop_assert_eq!(&v[1..], &expected[..]);
        }
    }
}
