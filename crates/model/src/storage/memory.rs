//! A [`Queryable`] and [`Appendable`] over plain vectors: for tests, examples and small programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    AppendError, AppendOptions, Appendable, Appender, BatchValues, CommitStats, HistogramBatch,
    Interner, LabelDictionary, LabelHints, LabelResult, Querier, QueryContext, QueryStats,
    Queryable, SampleBatch, SampleReader, SelectHints, Selection, SeriesKey, SeriesRef, SeriesSet,
    StorageError,
};
use crate::{FloatHistogram, Labels, Matcher, Timestamp, Value};

/// A sample of a [`MemoryStorage`].
#[derive(Clone, Debug, PartialEq)]
pub struct MemorySample {
    /// When.
    pub t: Timestamp,
    /// Start timestamp, 0 where unknown.
    pub start: Timestamp,
    /// What.
    pub value: MemoryValue,
}

/// The value of a [`MemorySample`].
#[derive(Clone, Debug, PartialEq)]
pub enum MemoryValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

type SeriesMap = BTreeMap<Labels, Arc<Vec<MemorySample>>>;

/// Series in memory, uncompressed. Clones share it. Samples of a series must come in order of
/// time; there is no limit and no durability.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    series: Arc<SeriesMap>,
    by_ref: Vec<Labels>,
    refs: BTreeMap<Labels, SeriesRef>,
}

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A storage of float series: label pairs and samples, in milliseconds and in order of time.
    ///
    /// ```
    /// # use firesteel_model::storage::memory::MemoryStorage;
    /// let storage = MemoryStorage::from_floats([
    ///     (vec![("__name__", "up"), ("job", "api")], vec![(0, 1.0), (15_000, 0.0)]),
    ///     (vec![("__name__", "up"), ("job", "db")], vec![(0, 1.0), (15_000, 1.0)]),
    /// ])?;
    /// # Ok::<(), firesteel_model::storage::AppendError>(())
    /// ```
    ///
    /// # Errors
    /// A sample is out of order.
    pub fn from_floats<'a>(
        series: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, Vec<(Timestamp, f64)>)>,
    ) -> Result<Self, AppendError> {
        let storage = Self::new();
        for (pairs, samples) in series {
            storage.add_floats(&Labels::from_pairs(pairs), samples)?;
        }
        Ok(storage)
    }

    /// Adds float samples to a series; `samples` must be newer than what is there.
    ///
    /// # Errors
    /// A sample is out of order.
    pub fn add_floats(
        &self,
        labels: &Labels,
        samples: impl IntoIterator<Item = (Timestamp, f64)>,
    ) -> Result<(), AppendError> {
        let mut appender = self.appender();
        for (t, v) in samples {
            let key = SeriesKey::Labels(labels);
            appender.append(key, t, Value::Float(v), &AppendOptions::default())?;
        }
        appender.commit().map(drop)
    }
}

impl Appendable for MemoryStorage {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(MemoryAppender { storage: self, pending: Vec::new() })
    }
}

struct MemoryAppender<'a> {
    storage: &'a MemoryStorage,
    pending: Vec<(Labels, MemorySample)>,
}

impl Appender for MemoryAppender<'_> {
    fn append(
        &mut self,
        series: SeriesKey<'_>,
        t: Timestamp,
        value: Value<'_>,
        options: &AppendOptions<'_>,
    ) -> Result<SeriesRef, AppendError> {
        let mut inner = self.storage.inner.write().unwrap_or_else(PoisonError::into_inner);
        let (labels, series) = match series {
            SeriesKey::Ref(series) => {
                let index = usize::try_from(series.0.wrapping_sub(1)).unwrap_or(usize::MAX);
                (inner.by_ref.get(index).ok_or(AppendError::UnknownSeries)?.clone(), series)
            }
            SeriesKey::Labels(labels) => {
                if let Some(&known) = inner.refs.get(labels) {
                    (labels.clone(), known)
                } else {
                    inner.by_ref.push(labels.clone());
                    let new = SeriesRef(inner.by_ref.len() as u64);
                    inner.refs.insert(labels.clone(), new);
                    (labels.clone(), new)
                }
            }
        };
        let newest = self.pending.iter().rev().find(|(l, _)| *l == labels).map(|(_, s)| s.t);
        let newest =
            newest.or_else(|| inner.series.get(&labels).and_then(|s| s.last()).map(|s| s.t));
        if newest.is_some_and(|newest| t <= newest) {
            return Err(AppendError::OutOfOrder);
        }
        let value = match value {
            Value::Float(v) => MemoryValue::Float(v),
            Value::Histogram(h) => MemoryValue::Histogram(Arc::new(h.to_float())),
            Value::FloatHistogram(h) => MemoryValue::Histogram(Arc::new(h.clone())),
        };
        let start = options.start_timestamp.unwrap_or(0);
        self.pending.push((labels, MemorySample { t, start, value }));
        Ok(series)
    }

    fn commit(self: Box<Self>) -> Result<CommitStats, AppendError> {
        let mut inner = self.storage.inner.write().unwrap_or_else(PoisonError::into_inner);
        let mut stats = CommitStats::default();
        let map = Arc::make_mut(&mut inner.series);
        for (labels, sample) in self.pending {
            let samples = map.entry(labels).or_insert_with(|| {
                stats.series_created += 1;
                Arc::default()
            });
            if samples.last().is_some_and(|last| sample.t <= last.t) {
                stats.rejected += 1;
            } else {
                Arc::make_mut(samples).push(sample);
                stats.samples += 1;
            }
        }
        Ok(stats)
    }
}

impl Queryable for MemoryStorage {
    fn querier(&self, mint: Timestamp, maxt: Timestamp) -> Result<Arc<dyn Querier>, StorageError> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::new(MemoryQuerier { series: Arc::clone(&inner.series), mint, maxt }))
    }
}

struct MemoryQuerier {
    series: Arc<SeriesMap>,
    mint: Timestamp,
    maxt: Timestamp,
}

impl MemoryQuerier {
    fn matching<'a>(
        &'a self,
        matchers: &'a [Matcher],
    ) -> impl Iterator<Item = (&'a Labels, &'a Arc<Vec<MemorySample>>)> {
        self.series.iter().filter(move |(labels, samples)| {
            samples.iter().any(|s| (self.mint..=self.maxt).contains(&s.t))
                && matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
        })
    }

    fn labels_of(values: BTreeSet<&str>, limit: usize) -> LabelResult {
        let truncated = limit > 0 && values.len() > limit;
        let take = if limit > 0 { limit } else { usize::MAX };
        let values = values.into_iter().take(take).map(str::to_owned).collect();
        LabelResult { values, warnings: Vec::new(), truncated }
    }
}

impl Querier for MemoryQuerier {
    fn select(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        _hints: &SelectHints,
    ) -> Result<Selection, StorageError> {
        ctx.check()?;
        let mut set = MemorySet {
            dictionary: Interner::new(),
            series: Vec::new(),
            range: (self.mint, self.maxt),
        };
        for (labels, samples) in self.matching(matchers) {
            let pairs = set.dictionary.intern_labels(labels)?;
            set.series.push((pairs, Arc::clone(samples)));
        }
        QueryStats::add(&ctx.stats.series, set.series.len() as u64);
        Ok(Selection { sets: vec![Arc::new(set)], warnings: Vec::new() })
    }

    fn label_names(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        hints: &LabelHints,
    ) -> Result<LabelResult, StorageError> {
        ctx.check()?;
        let names = self.matching(matchers).flat_map(|(l, _)| l.iter().map(|(n, _)| n)).collect();
        Ok(Self::labels_of(names, hints.limit))
    }

    fn label_values(
        &self,
        ctx: &QueryContext,
        name: &str,
        matchers: &[Matcher],
        hints: &LabelHints,
    ) -> Result<LabelResult, StorageError> {
        ctx.check()?;
        let values = self.matching(matchers).filter_map(|(l, _)| l.get(name)).collect();
        Ok(Self::labels_of(values, hints.limit))
    }
}

struct MemorySet {
    dictionary: Interner,
    series: Vec<(Vec<(u32, u32)>, Arc<Vec<MemorySample>>)>,
    range: (Timestamp, Timestamp),
}

impl LabelDictionary for Interner {
    fn id_bound(&self) -> u32 {
        self.len() as u32
    }

    fn resolve(&self, ids: &[u32], f: &mut dyn FnMut(usize, &str)) -> Result<(), StorageError> {
        for (i, &id) in ids.iter().enumerate() {
            f(i, self.text(id));
        }
        Ok(())
    }
}

impl SeriesSet for MemorySet {
    fn dictionary(&self) -> &dyn LabelDictionary {
        &self.dictionary
    }

    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, index: usize, out: &mut Vec<(u32, u32)>) -> Result<(), StorageError> {
        out.extend_from_slice(&self.series[index].0);
        Ok(())
    }

    fn reader(&self, ctx: &QueryContext) -> Box<dyn SampleReader + '_> {
        Box::new(MemoryReader { set: self, ctx: ctx.clone(), series: 0, at: usize::MAX })
    }
}

struct MemoryReader<'a> {
    set: &'a MemorySet,
    ctx: QueryContext,
    series: usize,
    at: usize,
}

/// Samples per batch, as in a chunk of Prometheus.
const BATCH: usize = 120;

impl SampleReader for MemoryReader<'_> {
    fn open(&mut self, index: usize) -> Result<(), StorageError> {
        self.ctx.check()?;
        self.series = index;
        self.at = self.set.series[index].1.partition_point(|s| s.t < self.set.range.0);
        Ok(())
    }

    fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
        batch.clear_floats();
        let samples = self.set.series[self.series].1.get(self.at..).unwrap_or_default();
        let Some(first) = samples.first().filter(|s| s.t <= self.set.range.1) else {
            return Ok(false);
        };
        if let MemoryValue::Histogram(h) = &first.value {
            let layout = Arc::new(h.layout.clone());
            batch.values = BatchValues::Histograms(HistogramBatch::new(layout));
        }
        let with_starts = samples.iter().take(BATCH).any(|s| s.start != 0);
        for s in samples.iter().take(BATCH).take_while(|s| s.t <= self.set.range.1) {
            match (&mut batch.values, &s.value) {
                (BatchValues::Floats(values), MemoryValue::Float(v)) => values.push(*v),
                (BatchValues::Histograms(b), MemoryValue::Histogram(h))
                    if *b.layout == h.layout =>
                {
                    b.push(h);
                }
                _ => break,
            }
            batch.timestamps.push(s.t);
            if with_starts {
                batch.start_timestamps.push(s.start);
            }
        }
        self.at += batch.len();
        QueryStats::add(&self.ctx.stats.samples, batch.len() as u64);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::merge::{Fanout, MergedSeries};

    fn read_all(queryable: &dyn Queryable) -> Vec<(Labels, Vec<(Timestamp, f64)>)> {
        let ctx = QueryContext::background();
        let querier = queryable.querier(0, 1_000_000).unwrap();
        let matchers = [Matcher::equal("__name__", "m")];
        let selection = querier.select(&ctx, &matchers, &SelectHints::range(0, 1_000_000)).unwrap();
        let mut interner = Interner::new();
        let merged = MergedSeries::new(&ctx, selection, &mut interner).unwrap();
        let mut reader = merged.reader(&ctx);
        let mut all = Vec::new();
        for series in 0..merged.len() {
            reader.open(series).unwrap();
            let (mut batch, mut samples) = (SampleBatch::default(), Vec::new());
            while reader.next(&mut batch).unwrap() {
                let BatchValues::Floats(values) = &batch.values else { panic!("floats") };
                samples.extend(batch.timestamps.iter().copied().zip(values.iter().copied()));
            }
            all.push((interner.labels(merged.pairs(series)), samples));
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    #[test]
    fn several_sources_read_as_one_and_the_earlier_wins() {
        let a = Labels::from_pairs([("__name__", "m"), ("x", "a")]);
        let b = Labels::from_pairs([("__name__", "m"), ("x", "b")]);
        let (one, two) = (MemoryStorage::new(), MemoryStorage::new());
        one.add_floats(&a, (0..300).map(|i| (i * 10, i as f64))).unwrap();
        two.add_floats(&b, [(5, 1.0)]).unwrap();
        two.add_floats(&a, [(2990, -1.0), (3000, 7.0)]).unwrap();
        let fanout = Fanout::new(vec![Arc::new(one), Arc::new(two)]);
        let all = read_all(&fanout);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].1.len(), 301);
        assert_eq!(all[0].1[299..], [(2990, 299.0), (3000, 7.0)]);
        assert_eq!(all[1], (b, vec![(5, 1.0)]));
    }

    #[test]
    fn a_dropped_appender_leaves_nothing() {
        let storage = MemoryStorage::new();
        let m = Labels::from_pairs([("__name__", "m")]);
        let mut appender = storage.appender();
        let options = AppendOptions::default();
        appender.append(SeriesKey::Labels(&m), 1, Value::Float(1.0), &options).unwrap();
        drop(appender);
        assert!(read_all(&storage).is_empty());
        let mut appender = storage.appender();
        let key = appender.append(SeriesKey::Labels(&m), 1, Value::Float(1.0), &options).unwrap();
        appender.append(SeriesKey::Ref(key), 2, Value::Float(2.0), &options).unwrap();
        let late = appender.append(SeriesKey::Ref(key), 2, Value::Float(3.0), &options);
        assert!(matches!(late, Err(AppendError::OutOfOrder)));
        assert_eq!(appender.commit().unwrap().samples, 2);
        assert_eq!(read_all(&storage), [(m, vec![(1, 1.0), (2, 2.0)])]);
    }
}
