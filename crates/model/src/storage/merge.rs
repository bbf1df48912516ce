//! Several storages as one, and the same series from several sources as one.

use std::{collections::VecDeque, hash::BuildHasher, ops::Range, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{
    BatchValues, HistogramBatch, Interner, LabelHints, LabelResult, Querier, QueryContext,
    Queryable, SampleBatch, SampleReader, SelectHints, Selection, SeriesSet, StorageError,
    SymbolMap,
};
use crate::{Matcher, Timestamp};

/// Queries all of several storages.
pub struct Fanout {
    /// In order of precedence: where two have a sample for the same time, the earlier wins.
    parts: Vec<Arc<dyn Queryable>>,
}

impl Fanout {
    /// All of `parts`, in order of precedence.
    #[must_use]
    pub fn new(parts: Vec<Arc<dyn Queryable>>) -> Self {
        Self { parts }
    }
}

impl Queryable for Fanout {
    fn querier(&self, mint: Timestamp, maxt: Timestamp) -> Result<Arc<dyn Querier>, StorageError> {
        let parts = self.parts.iter().map(|p| p.querier(mint, maxt)).collect::<Result<_, _>>()?;
        Ok(Arc::new(FanoutQuerier { parts }))
    }
}

/// Asks several queriers and puts their answers together.
pub struct FanoutQuerier {
    parts: Vec<Arc<dyn Querier>>,
}

impl FanoutQuerier {
    /// All of `parts`, in order of precedence.
    #[must_use]
    pub fn new(parts: Vec<Arc<dyn Querier>>) -> Self {
        Self { parts }
    }

    fn union(
        &self,
        limit: usize,
        ask: impl Fn(&dyn Querier) -> Result<LabelResult, StorageError>,
    ) -> Result<LabelResult, StorageError> {
        let mut all = LabelResult::default();
        for part in &self.parts {
            let mut one = ask(part.as_ref())?;
            all.values.append(&mut one.values);
            all.warnings.append(&mut one.warnings);
            all.truncated |= one.truncated;
        }
        all.values.sort_unstable();
        all.values.dedup();
        if limit > 0 && all.values.len() > limit {
            all.values.truncate(limit);
            all.truncated = true;
        }
        Ok(all)
    }
}

impl Querier for FanoutQuerier {
    fn select(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Selection, StorageError> {
        let mut all = Selection::default();
        for part in &self.parts {
            let mut one = part.select(ctx, matchers, hints)?;
            all.sets.append(&mut one.sets);
            all.warnings.append(&mut one.warnings);
        }
        Ok(all)
    }

    fn label_names(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        hints: &LabelHints,
    ) -> Result<LabelResult, StorageError> {
        self.union(hints.limit, |part| part.label_names(ctx, matchers, hints))
    }

    fn label_values(
        &self,
        ctx: &QueryContext,
        name: &str,
        matchers: &[Matcher],
        hints: &LabelHints,
    ) -> Result<LabelResult, StorageError> {
        self.union(hints.limit, |part| part.label_values(ctx, name, matchers, hints))
    }
}

/// The distinct series of a selection, each with the places where it stands, labels as ids of an
/// [`Interner`]. Built in O(pairs); strings are touched once per distinct one.
pub struct MergedSeries {
    sets: Vec<Arc<dyn SeriesSet>>,
    /// Between which times each set's samples lie.
    ranges: Vec<(Timestamp, Timestamp)>,
    /// Pairs of all series, one after the other.
    pairs: Vec<(u32, u32)>,
    /// End of each series in `pairs`.
    ends: Vec<u32>,
    /// First place of each series: set and index in it.
    first: Vec<(u32, u32)>,
    /// Further places, as (series, set, index), in order of series.
    more: Vec<(u32, u32, u32)>,
}

impl std::fmt::Debug for MergedSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MergedSeries({} series of {} sets)", self.len(), self.sets.len())
    }
}

impl MergedSeries {
    /// Groups a selection by label set.
    ///
    /// # Errors
    /// Damage; more than 4 G series or pairs; cancellation.
    pub fn new(
        ctx: &QueryContext,
        selection: Selection,
        interner: &mut Interner,
    ) -> Result<Self, StorageError> {
        let too_many = |_| StorageError::Limit("more than 4 G series or labels".to_owned());
        let single = selection.sets.len() == 1;
        let hasher = DefaultHashBuilder::default();
        let mut table: HashTable<u32> = HashTable::new();
        let ranges = selection.sets.iter().map(|set| set.time_range());
        let mut all = Self {
            ranges: ranges.map(|r| r.unwrap_or((Timestamp::MIN, Timestamp::MAX))).collect(),
            sets: selection.sets,
            pairs: Vec::new(),
            ends: Vec::new(),
            first: Vec::new(),
            more: Vec::new(),
        };
        let mut scratch = Vec::new();
        for set_number in 0..all.sets.len() {
            let set = Arc::clone(&all.sets[set_number]);
            let set_id = u32::try_from(set_number).map_err(too_many)?;
            let mut symbols = SymbolMap::new(set.dictionary().id_bound());
            for index in 0..set.len() {
                if index % 1024 == 0 {
                    ctx.check()?;
                }
                scratch.clear();
                set.labels(index, &mut scratch)?;
                symbols.translate(set.dictionary(), interner, &mut scratch)?;
                let place = (set_id, u32::try_from(index).map_err(too_many)?);
                // A source never repeats a series, so one alone needs no table.
                let known = if single {
                    None
                } else {
                    let hash = hasher.hash_one(&scratch);
                    let found = table.find(hash, |&s| all.pairs(s as usize) == scratch).copied();
                    if found.is_none() {
                        let new = u32::try_from(all.len()).map_err(too_many)?;
                        all.push(&scratch, place)?;
                        table.insert_unique(hash, new, |&s| hasher.hash_one(all.pairs(s as usize)));
                        continue;
                    }
                    found
                };
                match known {
                    Some(series) => all.more.push((series, place.0, place.1)),
                    None => all.push(&scratch, place)?,
                }
            }
        }
        all.more.sort_unstable();
        Ok(all)
    }

    fn push(&mut self, pairs: &[(u32, u32)], place: (u32, u32)) -> Result<(), StorageError> {
        self.pairs.extend_from_slice(pairs);
        let end = u32::try_from(self.pairs.len())
            .map_err(|_| StorageError::Limit("more than 4 G labels".to_owned()))?;
        self.ends.push(end);
        self.first.push(place);
        Ok(())
    }

    /// Number of distinct series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The label pairs of a series, in order of the names' text.
    #[must_use]
    pub fn pairs(&self, series: usize) -> &[(u32, u32)] {
        let start = series.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.pairs[start..self.ends[series] as usize]
    }

    /// A reader of these series, one per thread.
    #[must_use]
    pub fn reader<'a>(&'a self, ctx: &QueryContext) -> MergedReader<'a> {
        MergedReader {
            series: self,
            readers: self.sets.iter().map(|_| None).collect(),
            ctx: ctx.clone(),
            places: Vec::new(),
            next: 0,
            current: Current::None,
            merged: VecDeque::new(),
        }
    }
}

#[derive(Clone, Copy)]
enum Current {
    None,
    /// In one set only: its batches pass through.
    Single(usize),
    /// Of several sets that overlap; what is left of them is in `merged`.
    Merged,
}

/// Reads merged series. Where several sources have a sample for the same time, the earlier source
/// wins. Sources one after the other in time, as blocks mostly are, are read one after the other;
/// only those that overlap are merged.
pub struct MergedReader<'a> {
    series: &'a MergedSeries,
    readers: Vec<Option<Box<dyn SampleReader + 'a>>>,
    ctx: QueryContext,
    /// Where the series stands, by the begin of the sets' times: set and index in it.
    places: Vec<(u32, u32)>,
    /// The first place that has not been looked at yet.
    next: usize,
    current: Current,
    merged: VecDeque<SampleBatch>,
}

impl std::fmt::Debug for MergedReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MergedReader({:?})", self.series)
    }
}

impl<'a> MergedReader<'a> {
    fn reader(&mut self, set: usize) -> &mut Box<dyn SampleReader + 'a> {
        let source = &self.series.sets[set];
        self.readers[set].get_or_insert_with(|| source.reader(&self.ctx))
    }

    /// Goes to the beginning of a series.
    ///
    /// # Errors
    /// Damage, cancellation.
    pub fn open(&mut self, series: usize) -> Result<(), StorageError> {
        let all = self.series;
        let id = series as u32;
        self.places.clear();
        self.places.push(all.first[series]);
        if !all.more.is_empty() {
            let from = all.more.partition_point(|m| m.0 < id);
            let others = all.more[from..].iter().take_while(|m| m.0 == id);
            self.places.extend(others.map(|m| (m.1, m.2)));
            self.places.sort_unstable_by_key(|p| (all.ranges[p.0 as usize].0, p.0));
        }
        self.next = 0;
        self.merged.clear();
        self.advance()
    }

    /// Goes to the next place, or places that overlap.
    fn advance(&mut self) -> Result<(), StorageError> {
        let rest = &self.places[self.next..];
        let Some(&(set, index)) = rest.first() else {
            self.current = Current::None;
            return Ok(());
        };
        let range = |set: u32| self.series.ranges[set as usize];
        let mut end = range(set).1;
        let overlapping = rest[1..].iter().take_while(|p| {
            let (from, to) = range(p.0);
            let overlaps = from <= end;
            end = end.max(to);
            overlaps
        });
        let n = 1 + overlapping.count();
        let from = self.next;
        self.next += n;
        if n == 1 {
            self.current = Current::Single(set as usize);
            return self.reader(set as usize).open(index as usize);
        }
        self.current = Current::Merged;
        // In order of precedence.
        self.places[from..from + n].sort_unstable();
        self.merge(from..from + n)
    }

    /// Reads the series from some of its places. Sources rarely overlap for long, so a plain merge
    /// of everything serves.
    fn merge(&mut self, places: Range<usize>) -> Result<(), StorageError> {
        let mut runs: Vec<SampleBatch> = Vec::new();
        for place in places {
            let (set, index) = self.places[place];
            let reader = self.reader(set as usize);
            reader.open(index as usize)?;
            loop {
                let mut batch = SampleBatch::default();
                if !reader.next(&mut batch)? {
                    break;
                }
                runs.push(batch);
            }
        }
        self.merged = merge_runs(&runs);
        Ok(())
    }

    /// As [`SampleReader::append`].
    ///
    /// # Errors
    /// Damage, cancellation.
    pub fn append(
        &mut self,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<f64>,
    ) -> Result<bool, StorageError> {
        match self.current {
            Current::Single(set) => self.reader(set).append(times, values),
            Current::Merged | Current::None => Ok(false),
        }
    }

    /// Replaces `batch` with the next samples; false at the end.
    ///
    /// # Errors
    /// Damage, cancellation.
    pub fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
        loop {
            match self.current {
                Current::Single(set) => {
                    if self.reader(set).next(batch)? {
                        return Ok(true);
                    }
                }
                Current::Merged => {
                    if let Some(next) = self.merged.pop_front() {
                        *batch = next;
                        return Ok(true);
                    }
                }
                Current::None => {
                    batch.clear_floats();
                    return Ok(false);
                }
            }
            self.advance()?;
        }
    }
}

/// Batches of unique, ordered timestamps out of several runs; earlier runs win. A new batch begins
/// where the kind of the values or their layout changes.
fn merge_runs(runs: &[SampleBatch]) -> VecDeque<SampleBatch> {
    let mut order: Vec<(Timestamp, usize, usize)> = Vec::new();
    for (run, batch) in runs.iter().enumerate() {
        order.extend(batch.timestamps.iter().enumerate().map(|(i, &t)| (t, run, i)));
    }
    order.sort_unstable();
    order.dedup_by_key(|o| o.0);
    let any_start = runs.iter().any(|r| !r.start_timestamps.is_empty());
    let mut out: VecDeque<SampleBatch> = VecDeque::new();
    for (t, run, i) in order {
        let source = &runs[run];
        if !out.back().is_some_and(|last| same_kind(&last.values, &source.values)) {
            let values = match &source.values {
                BatchValues::Floats(_) => BatchValues::default(),
                BatchValues::Histograms(h) => {
                    let mut empty = HistogramBatch::new(Arc::clone(&h.layout));
                    empty.integer = h.integer;
                    BatchValues::Histograms(empty)
                }
            };
            out.push_back(SampleBatch { values, ..SampleBatch::default() });
        }
        let Some(last) = out.back_mut() else { continue };
        last.timestamps.push(t);
        if any_start {
            last.start_timestamps.push(source.start_timestamps.get(i).copied().unwrap_or(0));
        }
        match (&mut last.values, &source.values) {
            (BatchValues::Floats(to), BatchValues::Floats(from)) => to.push(from[i]),
            (BatchValues::Histograms(to), BatchValues::Histograms(from)) => {
                to.push(&from.row(i).unwrap_or_default());
            }
            _ => {}
        }
    }
    out
}

fn same_kind(a: &BatchValues, b: &BatchValues) -> bool {
    match (a, b) {
        (BatchValues::Floats(_), BatchValues::Floats(_)) => true,
        (BatchValues::Histograms(a), BatchValues::Histograms(b)) => {
            a.integer == b.integer && (Arc::ptr_eq(&a.layout, &b.layout) || a.layout == b.layout)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::storage::{LabelDictionary, memory::MemoryStorage};

    /// A series in batches of its own; the labels are those of the dictionary of another set.
    struct Part {
        samples: Vec<(Timestamp, f64)>,
        known: bool,
        dictionary: Arc<dyn SeriesSet>,
    }

    impl SeriesSet for Part {
        fn dictionary(&self) -> &dyn LabelDictionary {
            self.dictionary.dictionary()
        }

        fn len(&self) -> usize {
            1
        }

        fn labels(&self, index: usize, out: &mut Vec<(u32, u32)>) -> Result<(), StorageError> {
            self.dictionary.labels(index, out)
        }

        fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
            let (first, last) = (self.samples.first()?, self.samples.last()?);
            self.known.then_some((first.0, last.0))
        }

        fn reader(&self, _ctx: &QueryContext) -> Box<dyn SampleReader + '_> {
            Box::new(PartReader { part: self, next: 0 })
        }
    }

    struct PartReader<'a> {
        part: &'a Part,
        next: usize,
    }

    impl SampleReader for PartReader<'_> {
        fn open(&mut self, _index: usize) -> Result<(), StorageError> {
            self.next = 0;
            Ok(())
        }

        fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
            let (times, values) = batch.clear_floats();
            for (t, v) in self.part.samples.iter().skip(self.next).take(3) {
                times.push(*t);
                values.push(*v);
            }
            self.next += times.len();
            Ok(!times.is_empty())
        }

        fn append(
            &mut self,
            times: &mut Vec<Timestamp>,
            values: &mut Vec<f64>,
        ) -> Result<bool, StorageError> {
            let Some((t, v)) = self.part.samples.get(self.next) else { return Ok(false) };
            times.push(*t);
            values.push(*v);
            self.next += 1;
            Ok(true)
        }
    }

    fn some_set() -> Arc<dyn SeriesSet> {
        let storage = MemoryStorage::new();
        let labels = crate::Labels::from_pairs([("__name__", "m")]);
        storage.add_floats(&labels, [(0, 0.0)]).unwrap();
        let querier = storage.querier(0, 0).unwrap();
        let ctx = QueryContext::background();
        let selection = querier.select(&ctx, &[], &SelectHints::range(0, 0)).unwrap();
        Arc::clone(&selection.sets[0])
    }

    proptest! {
        /// However sources lie in time, all samples come once, in order, of the first that has one.
        #[test]
        fn sources_that_overlap_or_not_read_as_one(
            parts in prop::collection::vec((0_i64..100, prop::collection::vec(1_i64..9, 1..9), any::<bool>()), 1..6),
        ) {
            let dictionary = some_set();
            let mut right: BTreeMap<Timestamp, f64> = BTreeMap::new();
            let mut sets: Vec<Arc<dyn SeriesSet>> = Vec::new();
            for (number, (start, gaps, known)) in parts.into_iter().enumerate() {
                let mut t = start;
                let samples: Vec<_> = gaps
                    .into_iter()
                    .map(|gap| {
                        t += gap;
                        (t, number as f64)
                    })
                    .collect();
                for (t, v) in &samples {
                    right.entry(*t).or_insert(*v);
                }
                sets.push(Arc::new(Part { samples, known, dictionary: Arc::clone(&dictionary) }));
            }
            let ctx = QueryContext::background();
            let selection = Selection { sets, warnings: Vec::new() };
            let merged = MergedSeries::new(&ctx, selection, &mut Interner::new()).unwrap();
            prop_assert_eq!(merged.len(), 1);
            let (mut reader, mut batch) = (merged.reader(&ctx), SampleBatch::default());
            for append in [false, true] {
                let mut read = Vec::new();
                reader.open(0).unwrap();
                loop {
                    let (mut times, mut values) = (Vec::new(), Vec::new());
                    if append && reader.append(&mut times, &mut values).unwrap() {
                        read.extend(times.into_iter().zip(values));
                        continue;
                    }
                    if !reader.next(&mut batch).unwrap() {
                        break;
                    }
                    let BatchValues::Floats(values) = &batch.values else { panic!("floats") };
                    prop_assert!(!values.is_empty());
                    read.extend(batch.timestamps.iter().copied().zip(values.iter().copied()));
                }
                prop_assert_eq!(&read, &right.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}
