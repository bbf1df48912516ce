//! Chunks that are read again and again, kept decoded.
//!
//! A dashboard asks for the same hours every half a minute, and decoding is more than half of what
//! a query costs. What a query reads of a series is kept as one run of arrays, so that the next one
//! finds it at a single place; only if it was read before, so that one long query neither pays for
//! it nor drives out what others use. Which runs go where there is no more room is decided by
//! `quick_cache` (a relative of CLOCK-Pro and S3-FIFO). What is kept is given up once nobody has
//! asked for a while, see [`DecodedChunks::rest`].

mod values;

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use firesteel_model::{Timestamp, budget::Reservation};
use parking_lot::Mutex;
use quick_cache::{Weighter, sync::Cache};

use self::values::Values;
use crate::block::Interval;

/// Bytes that a run takes, about; decides how many are reckoned with.
const USUAL: u64 = 8 << 10;
/// What a run takes beside its samples: the key, counts, lists, the allocations' own.
const OVERHEAD: usize = 192;
/// After so long without a question everything is given up.
const IDLE: Duration = Duration::from_secs(300);
/// Runs of more chunks than this are not kept.
const MAX_CHUNKS: usize = 1024;

/// A series of a source: of a block, or of the head.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    source: u32,
    series: u32,
}

/// The samples of some chunks of a series that follow one another.
pub(crate) struct Run {
    /// Where the chunks are, and where the samples of each end.
    chunks: Box<[(u64, u32)]>,
    times: Times,
    values: Values,
}

enum Times {
    /// The first, and the distance of one to the next.
    Steady(Timestamp, i64),
    Any(Box<[Timestamp]>),
}

impl Run {
    fn new(chunks: &[(u64, u32)], times: &[Timestamp], values: &[f64]) -> Self {
        let (first, step) = match times {
            [first, second, ..] => (*first, second.wrapping_sub(*first)),
            _ => (times.first().copied().unwrap_or(0), 1),
        };
        let steady = step > 0 && times.windows(2).all(|w| w[1].wrapping_sub(w[0]) == step);
        let times = if steady { Times::Steady(first, step) } else { Times::Any(times.into()) };
        Self { chunks: chunks.into(), times, values: Values::new(values) }
    }

    fn bytes(&self) -> usize {
        let times = match &self.times {
            Times::Steady(..) => 0,
            Times::Any(times) => size_of_val(&**times),
        };
        OVERHEAD + size_of_val(&*self.chunks) + times + self.values.bytes()
    }

    /// The samples of these chunks, if all of them are here.
    fn find(&self, mut wanted: impl Iterator<Item = u64>) -> Option<std::ops::Range<usize>> {
        let first = wanted.next()?;
        let at = self.chunks.iter().position(|c| c.0 == first)?;
        let before = at.checked_sub(1).and_then(|at| self.chunks.get(at)).map_or(0, |c| c.1);
        let mut rest = self.chunks.get(at..)?.iter();
        let mut end = rest.next()?.1;
        for reference in wanted {
            let next = rest.next().filter(|c| c.0 == reference)?;
            end = next.1;
        }
        Some(before as usize..end as usize)
    }

    /// Of these samples those in a range of time.
    fn within(&self, samples: std::ops::Range<usize>, range: Interval) -> std::ops::Range<usize> {
        let (from, to) = match &self.times {
            Times::Steady(first, step) => {
                let up_to = |t: Timestamp| {
                    let n = t.saturating_sub(*first).div_euclid(*step).saturating_add(1);
                    usize::try_from(n).unwrap_or(0)
                };
                (up_to(range.mint.saturating_sub(1)), up_to(range.maxt))
            }
            Times::Any(all) => (
                all.partition_point(|t| *t < range.mint),
                all.partition_point(|t| *t <= range.maxt),
            ),
        };
        let start = samples.start.max(from).min(samples.end);
        start..samples.end.min(to).max(start)
    }
}

/// What is still to be read of a run.
pub(crate) struct Kept {
    run: Arc<Run>,
    left: std::ops::Range<usize>,
}

impl Kept {
    /// Appends `max` samples, or those that are left. Returns how many those were.
    pub(crate) fn append(
        &mut self,
        max: usize,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<f64>,
    ) -> usize {
        let start = self.left.start;
        let end = start.saturating_add(max).min(self.left.end).min(self.run.values.len());
        let n = end.saturating_sub(start);
        self.left.start = start + n;
        self.run.values.append(start..start + n, values);
        match &self.run.times {
            Times::Steady(first, step) => {
                let first = first.wrapping_add(start as i64 * step);
                times.extend((0..n as i64).map(|i| first.wrapping_add(i * step)));
            }
            Times::Any(all) => {
                times.extend_from_slice(all.get(start..start + n).unwrap_or_default())
            }
        }
        n
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Arc<Run>> for Bytes {
    fn weight(&self, _: &Key, run: &Arc<Run>) -> u64 {
        run.bytes() as u64
    }
}

/// The decoded chunks of a database.
pub(crate) struct DecodedChunks {
    runs: Cache<Key, Arc<Run>, Bytes, Hasher>,
    hasher: Hasher,
    /// Marks of runs that were read once; one drives out another now and then, which costs a run
    /// its place until it is read again.
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
    /// Keeps so many bytes at most, which `reservation` stands for. Memory is taken as runs come,
    /// but for a hundredth.
    pub(crate) fn new(capacity: u64, reservation: Option<Reservation>) -> Arc<Self> {
        let runs = capacity / USUAL + 1;
        let hasher = Hasher::default();
        let marks = usize::try_from(runs.next_power_of_two() * 8).unwrap_or(1 << 20);
        Arc::new(Self {
            // The number of entries is used for what cannot grow: the number of parts, each with a
            // lock of its own.
            runs: Cache::with(
                usize::try_from(runs).unwrap_or(usize::MAX),
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

    /// A source of series, whose numbers are its own.
    pub(crate) fn source(self: &Arc<Self>) -> DecodedSource {
        let number = self.sources.fetch_add(1, Ordering::Relaxed);
        DecodedSource { all: Arc::clone(self), number }
    }

    /// Gives everything up that nobody has asked for since long; `now` is of a monotonic clock.
    pub(crate) fn rest(&self, now: Duration) {
        let mut last = self.last_asked.lock();
        if self.asked.swap(false, Ordering::Relaxed) {
            *last = now;
        } else if now.saturating_sub(*last) > IDLE && !self.runs.is_empty() {
            self.runs.clear();
        }
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.runs.weight()
    }

    /// How often what was wanted of a series was there, and how often not.
    pub(crate) fn uses(&self) -> Uses {
        let (hits, misses) = (&self.hits, &self.misses);
        Uses { hits: hits.load(Ordering::Relaxed), misses: misses.load(Ordering::Relaxed) }
    }

    /// Whether a run that begins with this chunk was read before; it is from now on.
    fn is_second_time(&self, key: Key, first: u64) -> bool {
        let hash = self.hasher.hash_one((key, first));
        // Never 0, which is no mark.
        let mark = (hash >> 32) as u32 | 1;
        let at = hash as usize & (self.read_once.len() - 1);
        self.read_once.get(at).is_some_and(|slot| slot.swap(mark, Ordering::Relaxed) == mark)
    }
}

/// How often readers found here what they wanted of a series, and how often not.
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

/// What is known of the chunks that a reader wants of a series.
pub(crate) enum Known {
    /// They are here.
    Kept(Kept),
    /// They should be: they are read once more.
    Wanted,
    Unknown,
}

impl DecodedSource {
    /// Looks for the chunks of a series that a reader wants, in order, to read those samples of
    /// them that are in `range`.
    pub(crate) fn look(
        &self,
        series: u32,
        chunks: impl ExactSizeIterator<Item = u64> + Clone,
        range: Interval,
    ) -> Known {
        let key = Key { source: self.number, series };
        let Some(first) = chunks.clone().next() else { return Known::Unknown };
        if let Some(run) = self.all.runs.get(&key)
            && let Some(samples) = run.find(chunks.clone())
        {
            let left = run.within(samples, range);
            return Known::Kept(Kept { run, left });
        }
        if chunks.len() <= MAX_CHUNKS && self.all.is_second_time(key, first) {
            return Known::Wanted;
        }
        Known::Unknown
    }

    /// Keeps chunks, all of them: where each is and where its samples end, and these.
    pub(crate) fn keep(
        &self,
        series: u32,
        (chunks, times, values): (&[(u64, u32)], &[Timestamp], &[f64]),
        range: Interval,
    ) -> Kept {
        let run = Arc::new(Run::new(chunks, times, values));
        self.all.runs.insert(Key { source: self.number, series }, Arc::clone(&run));
        let left = run.within(0..values.len(), range);
        Kept { run, left }
    }

    /// Counts what a reader has found, and what it has not.
    pub(crate) fn count(&self, uses: Uses) {
        self.all.hits.fetch_add(uses.hits, Ordering::Relaxed);
        self.all.misses.fetch_add(uses.misses, Ordering::Relaxed);
        if uses.hits > 0 {
            self.all.asked.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for DecodedSource {
    fn drop(&mut self) {
        self.all.runs.retain(|key, _| key.source != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: Interval = Interval { mint: i64::MIN, maxt: i64::MAX };

    fn keep(source: &DecodedSource, series: u32, chunks: &[(u64, u32)], times: &[i64]) {
        let values: Vec<f64> = times.iter().map(|t| *t as f64).collect();
        source.keep(series, (chunks, times, &values), ALL);
    }

    fn found(
        source: &DecodedSource,
        series: u32,
        chunks: &[u64],
        range: Interval,
    ) -> Option<Vec<i64>> {
        let Known::Kept(mut kept) = source.look(series, chunks.iter().copied(), range) else {
            return None;
        };
        let (mut times, mut values) = (Vec::new(), Vec::new());
        while kept.append(2, &mut times, &mut values) > 0 {}
        assert!(times.iter().zip(&values).all(|(t, v)| *t as f64 == *v));
        assert_eq!(times.len(), values.len());
        Some(times)
    }

    #[test]
    fn sources_do_not_mix_and_take_theirs_along() {
        let all = DecodedChunks::new(1 << 20, None);
        let (a, b) = (all.source(), all.source());
        keep(&a, 7, &[(1, 2)], &[1, 2]);
        assert_eq!(found(&b, 7, &[1], ALL), None);
        assert_eq!(found(&a, 7, &[1], ALL), Some(vec![1, 2]));
        keep(&b, 7, &[(1, 3)], &[1, 2, 4]);
        drop(a);
        assert_eq!(found(&b, 7, &[1], ALL), Some(vec![1, 2, 4]));
        assert_eq!(all.runs.len(), 1);
    }

    #[test]
    fn only_chunks_that_follow_one_another_are_found() {
        let all = DecodedChunks::new(1 << 20, None);
        let source = all.source();
        keep(&source, 7, &[(10, 2), (20, 3), (5, 5)], &[1, 2, 3, 4, 9]);
        assert_eq!(found(&source, 7, &[10, 20, 5], ALL), Some(vec![1, 2, 3, 4, 9]));
        assert_eq!(found(&source, 7, &[20, 5], ALL), Some(vec![3, 4, 9]));
        assert_eq!(found(&source, 7, &[20], ALL), Some(vec![3]));
        assert_eq!(found(&source, 7, &[20], Interval { mint: 4, maxt: 9 }), Some(vec![]));
        for missing in [&[10, 5][..], &[5, 6], &[6], &[]] {
            assert_eq!(found(&source, 7, missing, ALL), None, "{missing:?}");
        }
    }

    #[test]
    fn a_run_is_wanted_once_it_was_read() {
        let all = DecodedChunks::new(1 << 20, None);
        let source = all.source();
        let look = |first: u64| source.look(3, [first, 99].into_iter(), ALL);
        assert!(matches!(look(1), Known::Unknown));
        assert!(matches!(look(1), Known::Wanted));
        assert!(matches!(look(2), Known::Unknown));
    }

    #[test]
    fn the_bound_holds() {
        let all = DecodedChunks::new(100_000, None);
        let source = all.source();
        let times: Vec<i64> = (0..120).map(|i| i * 15_000).collect();
        for series in 0..10_000 {
            keep(&source, series, &[(1, 120)], &times);
            assert!(all.bytes() <= 100_000, "{}", all.bytes());
        }
        assert!(all.bytes() > 50_000, "{}", all.bytes());
    }

    #[test]
    fn what_nobody_asks_for_is_given_up() {
        let all = DecodedChunks::new(1 << 20, None);
        let source = all.source();
        keep(&source, 1, &[(1, 1)], &[1]);
        source.count(Uses { hits: 1, misses: 0 });
        all.rest(Duration::from_secs(1000));
        all.rest(Duration::from_secs(1200));
        assert!(found(&source, 1, &[1], ALL).is_some());
        all.rest(Duration::from_secs(1301));
        assert!(found(&source, 1, &[1], ALL).is_none());
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
            let all = DecodedChunks::new(1 << 20, None);
            let source = all.source();
            keep(&source, 1, &[(1, times.len() as u32)], &times);
            let range = Interval { mint, maxt: mint + span };
            let inside: Vec<i64> = times.into_iter().filter(|t| range.contains(*t)).collect();
            prop_assert_eq!(found(&source, 1, &[1], range), Some(inside));
        }
    }
}
