//! Reading the head.

use std::sync::Arc;

use firesteel_model::{
    FloatHistogram, HistogramLayout, Labels, Matcher, Timestamp,
    storage::{
        BatchValues, HistogramBatch, LabelDictionary, LabelHints, LabelResult, Querier,
        QueryContext, QueryStats, SampleBatch, SampleReader, SelectHints, Selection, SeriesSet,
        StorageError,
    },
};

use super::{
    Head,
    chunk_files::ChunkReader,
    late::{LateSet, LateView},
    readers::Guard,
    search,
    stripe::{self, Copied, HistogramSample, NEVER, stripe_of},
};
use crate::{index::Memory, wal::record::histograms::AnyHistogram};

/// Series per check of the query's deadline.
const CHECK_EVERY: usize = 4096;

/// A view of the head as it was when the view was opened.
pub(crate) struct HeadQuerier {
    view: Arc<View>,
}

struct View {
    head: Arc<Head>,
    guard: Guard,
    /// Of samples that came in order.
    mint: Timestamp,
    /// Of those that came late.
    late_mint: Timestamp,
    maxt: Timestamp,
}

impl Head {
    /// Opens a view of the samples between two times, both inclusive. Those before `from`, which
    /// are in blocks, are not in it, unless they came late.
    pub(crate) fn querier(
        self: &Arc<Self>,
        mint: Timestamp,
        maxt: Timestamp,
        from: Timestamp,
    ) -> HeadQuerier {
        let (head, guard) = (Arc::clone(self), self.readers.read());
        HeadQuerier {
            view: Arc::new(View { head, guard, mint: mint.max(from), late_mint: mint, maxt }),
        }
    }
}

impl View {
    /// Whether the head may have samples in the view's range.
    fn overlaps(&self) -> bool {
        let within = |range: Option<(Timestamp, Timestamp)>| {
            range.is_some_and(|(oldest, newest)| oldest <= self.maxt && newest >= self.late_mint)
        };
        within(self.head.time_range()) || within(self.head.late_range())
    }

    fn dictionary(&self) -> HeadDictionary {
        let bound = self.head.index.read().symbols.bound();
        HeadDictionary { head: Arc::clone(&self.head), bound }
    }

    /// What is to be seen of the late samples.
    fn late(&self, mint: Timestamp, maxt: Timestamp) -> LateView {
        LateView { head: Arc::clone(&self.head), epoch: self.guard.epoch(), mint, maxt }
    }

    /// Those of `ids` that have a visible sample in range that came in order, with the time up to
    /// which they are visible; `limit` of them at most, where it is not 0.
    fn in_order(
        &self,
        ctx: &QueryContext,
        ids: &[u32],
        (mint, maxt): (Timestamp, Timestamp),
        limit: usize,
    ) -> Result<(Vec<u32>, Vec<Timestamp>), StorageError> {
        if mint > maxt {
            return Ok((Vec::new(), Vec::new()));
        }
        let epoch = self.guard.epoch();
        let (mut found, mut until) = (Vec::new(), Vec::new());
        let mut rest = ids;
        while let Some(&first) = rest.first() {
            if limit > 0 && found.len() >= limit {
                break;
            }
            let stripe = stripe_of(first);
            let run = rest.iter().position(|&id| stripe_of(id) != stripe).unwrap_or(rest.len());
            let (now, later) = rest.split_at(run);
            let stripe = self.head.stripes[stripe].lock();
            let undo = (now.len() > 4 && stripe.has_undo()).then(|| stripe.undo_for(epoch));
            for &id in now {
                let newest = self.head.newest(id);
                if newest < mint {
                    continue;
                }
                let last = match &undo {
                    Some(undo) => stripe.visible_with(id, epoch, undo),
                    None => stripe.visible_until(id, epoch),
                };
                if last >= mint
                    && last != NEVER
                    && stripe.oldest(id).is_some_and(|oldest| oldest <= maxt.min(last))
                {
                    found.push(id);
                    until.push(last.min(maxt));
                }
            }
            drop(stripe);
            rest = later;
            if found.len() % CHECK_EVERY < run {
                ctx.check()?;
            }
        }
        Ok((found, until))
    }
}

impl Querier for HeadQuerier {
    fn select(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Selection, StorageError> {
        let view = &self.view;
        let mint = view.mint.max(hints.start);
        let maxt = view.maxt.min(hints.end);
        let late = view.late(view.late_mint.max(hints.start), maxt);
        if late.mint > maxt {
            return Ok(Selection::default());
        }
        let mut memory = Memory::new(ctx)?;
        let mut matching = search::select(&view.head.index, matchers, ctx, &mut memory)?;
        memory.take(matching.len() as u64 * 12)?;
        if let Some(shard) = hints.shard.filter(|s| s.count > 1) {
            let index = view.head.index.read();
            matching.retain(|&id| index.labels(id).prom_hash() % shard.count == shard.index);
        }
        let mut late_ids = late.select(&matching);
        let (mut ids, mut until) = view.in_order(ctx, &matching, (mint, maxt), hints.limit)?;
        drop(matching);
        if hints.limit > 0 {
            ids.truncate(hints.limit);
            until.truncate(hints.limit);
            late_ids.truncate(hints.limit);
        }
        QueryStats::add(&ctx.stats.series, ids.len() as u64);
        let mut sets: Vec<Arc<dyn SeriesSet>> = Vec::new();
        if !ids.is_empty() {
            let _memory = ctx.budget.reserve(ids.len() as u64 * 12)?;
            let (dictionary, view) = (view.dictionary(), Arc::clone(view));
            sets.push(Arc::new(HeadSet { view, ids, until, mint, dictionary, _memory }));
        }
        if !late_ids.is_empty() {
            let _memory = ctx.budget.reserve(late_ids.len() as u64 * 4)?;
            let (dictionary, _keep) = (view.dictionary(), Arc::clone(view));
            sets.push(Arc::new(LateSet { view: late, ids: late_ids, dictionary, _keep, _memory }));
        }
        Ok(Selection { sets, warnings: Vec::new() })
    }

    fn label_names(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        hints: &LabelHints,
    ) -> Result<LabelResult, StorageError> {
        ctx.check()?;
        if !self.view.overlaps() {
            return Ok(LabelResult::default());
        }
        let index = &self.view.head.index;
        if matchers.is_empty() {
            let index = index.read();
            return Ok(label_result(index.label_names().collect(), hints));
        }
        let mut memory = Memory::new(ctx)?;
        let ids = search::select(index, matchers, ctx, &mut memory)?;
        Ok(label_result(index.read().names_of(&ids), hints))
    }

    fn label_values(
        &self,
        ctx: &QueryContext,
        name: &str,
        matchers: &[Matcher],
        hints: &LabelHints,
    ) -> Result<LabelResult, StorageError> {
        ctx.check()?;
        if !self.view.overlaps() {
            return Ok(LabelResult::default());
        }
        let index = &self.view.head.index;
        let mut memory = Memory::new(ctx)?;
        // Conditions on the label itself are for its values, not for series.
        let (own, others): (Vec<_>, Vec<_>) =
            matchers.iter().cloned().partition(|m| m.name() == name);
        let ids = match others.is_empty() {
            true => None,
            false => Some(search::select(index, matchers, ctx, &mut memory)?),
        };
        let index = index.read();
        let values = search::values(&index, name, &own, ids.as_deref(), &mut memory)?;
        Ok(label_result(values, hints))
    }
}

fn label_result(mut values: Vec<&str>, hints: &LabelHints) -> LabelResult {
    let truncated = hints.limit > 0 && values.len() > hints.limit;
    if truncated {
        // Only what stays has to be in order.
        values.select_nth_unstable(hints.limit);
        values.truncate(hints.limit);
    }
    let values = sorted(values).into_iter().map(str::to_owned).collect();
    LabelResult { values, warnings: Vec::new(), truncated }
}

/// Sorts texts that lie all over the memory: by the eight bytes in which they differ first.
fn sorted(texts: Vec<&str>) -> Vec<&str> {
    let Some((first, rest)) = texts.split_first() else { return texts };
    let common = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let shared = rest.iter().fold(first.len(), |n, text| {
        common(first.as_bytes().get(..n).unwrap_or_default(), text.as_bytes())
    });
    let key = |text: &str| {
        let mut key = [0; 8];
        let rest = text.as_bytes().get(shared..).unwrap_or_default();
        for (to, from) in key.iter_mut().zip(rest) {
            *to = *from;
        }
        u64::from_be_bytes(key)
    };
    let mut keyed: Vec<(u64, &str)> = texts.iter().map(|text| (key(text), *text)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, text)| text).collect()
}

/// Series of the head.
struct HeadSet {
    view: Arc<View>,
    ids: Vec<u32>,
    until: Vec<Timestamp>,
    mint: Timestamp,
    dictionary: HeadDictionary,
    _memory: firesteel_model::budget::Reservation,
}

pub(super) struct HeadDictionary {
    head: Arc<Head>,
    bound: u32,
}

impl LabelDictionary for HeadDictionary {
    fn id_bound(&self) -> u32 {
        self.bound
    }

    fn resolve(&self, ids: &[u32], f: &mut dyn FnMut(usize, &str)) -> Result<(), StorageError> {
        let index = self.head.index.read();
        for (i, &id) in ids.iter().enumerate() {
            f(i, index.symbols.text(id));
        }
        Ok(())
    }
}

impl SeriesSet for HeadSet {
    fn dictionary(&self) -> &dyn LabelDictionary {
        &self.dictionary
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn labels(&self, index: usize, out: &mut Vec<(u32, u32)>) -> Result<(), StorageError> {
        let Some(&id) = self.ids.get(index) else { return Ok(()) };
        out.extend(self.view.head.index.read().pairs(id));
        Ok(())
    }

    fn reader(&self, ctx: &QueryContext) -> Box<dyn SampleReader + '_> {
        Box::new(HeadReader {
            set: self,
            ctx: ctx.clone(),
            copied: Copied::default(),
            chunks: self.view.head.chunk_reader(),
            chunk: 0,
            histogram: 0,
            until: NEVER,
            floats: Floats::default(),
            hidden: Vec::new(),
        })
    }
}

struct HeadReader<'a> {
    set: &'a HeadSet,
    ctx: QueryContext,
    copied: Copied,
    chunks: ChunkReader,
    /// The next chunk: closed ones first, then the open one.
    chunk: usize,
    /// The next histogram.
    histogram: usize,
    until: Timestamp,
    /// Decoded floats that histograms interrupt.
    floats: Floats,
    /// Hidden intervals of the series.
    hidden: Vec<(Timestamp, Timestamp)>,
}

/// Decoded floats of which a part was delivered.
#[derive(Default)]
struct Floats {
    times: Vec<i64>,
    values: Vec<f64>,
    at: usize,
}

impl HeadReader<'_> {
    /// Decodes the next chunk that has samples in range. False at the end.
    fn decode(
        &mut self,
        times: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<bool, StorageError> {
        let mint = self.set.mint;
        loop {
            self.ctx.check()?;
            let closed = self.copied.sealed.len();
            let data = match self.copied.sealed.get(self.chunk) {
                Some(sealed) if sealed.encoding != firesteel_chunk::Encoding::Xor => {
                    self.chunk += 1;
                    continue;
                }
                Some(sealed) => self.chunks.get(sealed)?,
                None if self.chunk == closed && !self.copied.open.is_empty() => &self.copied.open,
                None => return Ok(false),
            };
            self.chunk += 1;
            let decoded =
                stripe::decode_chunk(data, mint, self.until, times, values).map_err(|e| {
                    StorageError::Corrupt {
                        place: "chunk of the head".to_owned(),
                        what: e.to_string(),
                    }
                })?;
            let n = hide(&self.hidden, times, values, decoded);
            QueryStats::add(&self.ctx.stats.chunks, 1);
            QueryStats::add(&self.ctx.stats.chunk_bytes, data.len() as u64);
            QueryStats::add(&self.ctx.stats.samples, n as u64);
            if n > 0 {
                return Ok(true);
            }
        }
    }

    /// Floats and histograms in the order of their times.
    #[cold]
    fn next_mixed(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
        if self.floats.at >= self.floats.times.len() {
            let mut floats = std::mem::take(&mut self.floats);
            floats.times.clear();
            floats.values.clear();
            floats.at = 0;
            self.decode(&mut floats.times, &mut floats.values)?;
            self.floats = floats;
        }
        let next_float = self.floats.times.get(self.floats.at).copied();
        let histograms = self.copied.histograms.get(self.histogram..).unwrap_or_default();
        let next_histogram = histograms.first().map(|h| h.t).filter(|&t| t <= self.until);
        match (next_float, next_histogram) {
            (None, None) => {
                batch.clear_floats();
                Ok(false)
            }
            (Some(f), h) if h.is_none_or(|h| f < h) => {
                let (times, values) = batch.clear_floats();
                let rest = self.floats.times.get(self.floats.at..).unwrap_or_default();
                let n = h.map_or(rest.len(), |h| rest.partition_point(|&t| t < h));
                let range = self.floats.at..self.floats.at + n;
                times.extend_from_slice(&self.floats.times[range.clone()]);
                values.extend_from_slice(&self.floats.values[range]);
                self.floats.at += n;
                Ok(true)
            }
            (f, _) => {
                let until = f.map_or(self.until, |f| f - 1).min(self.until);
                let n = histogram_batch(histograms, until, batch);
                self.histogram += n;
                QueryStats::add(&self.ctx.stats.samples, n as u64);
                Ok(true)
            }
        }
    }
}

/// Removes the hidden ones of the `n` last samples. Returns how many are left of them.
pub(crate) fn hide(
    hidden: &[(Timestamp, Timestamp)],
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
    n: usize,
) -> usize {
    if hidden.is_empty() {
        return n;
    }
    let start = times.len() - n;
    let mut to = start;
    for from in start..times.len() {
        let t = times[from];
        if !hidden.iter().any(|&(mint, maxt)| mint <= t && t <= maxt) {
            times[to] = t;
            values[to] = values[from];
            to += 1;
        }
    }
    times.truncate(to);
    values.truncate(to);
    to - start
}

/// Fills a batch with the histograms up to `until` that share the first one's kind and layout.
/// Returns how many these are. Staleness markers, which have no layout, go with any.
pub(super) fn histogram_batch(
    histograms: &[HistogramSample],
    until: Timestamp,
    batch: &mut SampleBatch,
) -> usize {
    batch.timestamps.clear();
    batch.start_timestamps.clear();
    let stale = |h: &HistogramSample| firesteel_model::is_stale_nan(h.value.sum());
    let model = histograms.iter().find(|h| !stale(h)).or(histograms.first());
    let layout: HistogramLayout = match (histograms.first(), model) {
        (Some(first), _) if !stale(first) => first.value.layout().clone(),
        (_, Some(model)) => model.value.layout().clone(),
        _ => HistogramLayout::default(),
    };
    let integer = matches!(histograms.first().map(|h| &*h.value), Some(AnyHistogram::Int(_)));
    let mut out = HistogramBatch::new(Arc::new(layout));
    out.integer = integer;
    let mut scratch: FloatHistogram;
    let with_starts = histograms.iter().any(|h| h.start != 0);
    for h in histograms.iter().take_while(|h| h.t <= until).take(120) {
        let same_kind = matches!(&*h.value, AnyHistogram::Int(_)) == integer;
        if !same_kind || !(stale(h) || *h.value.layout() == *out.layout) {
            break;
        }
        let float = match &*h.value {
            AnyHistogram::Int(int) => {
                scratch = int.to_float();
                &scratch
            }
            AnyHistogram::Float(float) => float,
        };
        out.push(float);
        batch.timestamps.push(h.t);
        if with_starts {
            batch.start_timestamps.push(h.start);
        }
    }
    batch.values = BatchValues::Histograms(out);
    batch.timestamps.len()
}

impl SampleReader for HeadReader<'_> {
    fn open(&mut self, index: usize) -> Result<(), StorageError> {
        self.ctx.check()?;
        let (Some(&id), Some(&until)) = (self.set.ids.get(index), self.set.until.get(index)) else {
            return Err(StorageError::Other {
                context: format!("series {index} of {}", self.set.ids.len()),
                source: "no such series".into(),
            });
        };
        let stripe = self.set.view.head.stripes[stripe_of(id)].lock();
        stripe.copy(id, self.set.mint, until, &mut self.copied);
        drop(stripe);
        self.hidden = self.set.view.head.tombstones_of(id);
        let hidden = &self.hidden;
        if !hidden.is_empty() {
            self.copied.histograms.retain(|h| !hidden.iter().any(|i| i.0 <= h.t && h.t <= i.1));
        }
        self.until = until;
        (self.chunk, self.histogram) = (0, 0);
        self.floats.times.clear();
        self.floats.values.clear();
        self.floats.at = 0;
        Ok(())
    }

    fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
        if !self.copied.histograms.is_empty() {
            return self.next_mixed(batch);
        }
        let (times, values) = batch.clear_floats();
        self.decode(times, values)
    }
}

/// Exemplars of a series.
#[derive(Clone, Debug)]
pub struct SeriesExemplars {
    /// The series.
    pub series: Labels,
    /// Its exemplars, oldest first.
    pub exemplars: Vec<firesteel_model::Exemplar>,
}

impl Head {
    /// Exemplars between two times, both inclusive, of the series that satisfy all matchers of at
    /// least one set.
    pub(crate) fn exemplars(
        &self,
        mint: Timestamp,
        maxt: Timestamp,
        matchers: &[Vec<Matcher>],
    ) -> Vec<SeriesExemplars> {
        let wanted = |labels: &Labels| {
            matchers
                .iter()
                .any(|set| set.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default())))
        };
        let mut found: std::collections::BTreeMap<Labels, Vec<_>> =
            std::collections::BTreeMap::new();
        for e in self.exemplars.lock().iter() {
            if (mint..=maxt).contains(&e.t) && wanted(&e.series) {
                found.entry(e.series.clone()).or_default().push(e.exemplar.clone());
            }
        }
        found.into_iter().map(|(series, exemplars)| SeriesExemplars { series, exemplars }).collect()
    }
}
