//! Reading the head.

use std::sync::Arc;

use firesteel_chunk::{Encoding, xor};
use firesteel_model::{
    Labels, Matcher, Timestamp,
    storage::{
        LabelDictionary, LabelHints, LabelResult, Querier, QueryContext, QueryStats, SampleBatch,
        SampleNeed, SampleReader, SelectHints, Selection, SeriesSet, StorageError,
    },
};

use super::{
    Head,
    chunk_files::{ChunkReader, Place, Sealed},
    late::{LateSet, LateView},
    readers::Guard,
    search,
    stripe::{Copied, NEVER, stripe_of},
};
use crate::{
    block::{ChunkDecoder, Interval, append_floats, retain},
    decoded::{DecodedSource, Kept, Known, Uses},
    index::Memory,
};

/// Series per check of the query's deadline.
const CHECK_EVERY: usize = 4096;
/// Samples that are appended at a time, about.
const APPENDED: usize = 480;
/// Chunks and series that a reader goes through between checks: some microseconds.
const CHUNKS_PER_CHECK: u32 = 16;

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

impl HeadQuerier {
    /// Up to when the samples of a series are visible; the earliest time where none is.
    pub(crate) fn visible_until(&self, id: u32) -> Timestamp {
        let view = &self.view;
        view.head.stripes[stripe_of(id)].lock().visible_until(id, view.guard.epoch())
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
            let need = hints.need;
            sets.push(Arc::new(HeadSet { view, ids, until, mint, need, dictionary, _memory }));
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
    need: SampleNeed,
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

    fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.mint, self.until.iter().copied().max()?))
    }

    fn reader(&self, ctx: &QueryContext) -> Box<dyn SampleReader + '_> {
        Box::new(HeadReader {
            set: self,
            ctx: ctx.clone(),
            copied: Copied::default(),
            chunks: self.view.head.chunk_reader(),
            decoder: ChunkDecoder::default(),
            chunk: 0,
            until: NEVER,
            hidden: Vec::new(),
            newest: None,
            kept: None,
            read: Read::default(),
            uses: Uses::default(),
        })
    }
}

/// What a reader has read since it last said so.
#[derive(Default)]
struct Read {
    chunks: u64,
    bytes: u64,
    samples: u64,
    /// Chunks and series before the next check.
    until_check: u32,
}

struct HeadReader<'a> {
    set: &'a HeadSet,
    ctx: QueryContext,
    copied: Copied,
    chunks: ChunkReader,
    decoder: ChunkDecoder,
    /// The next chunk: closed ones first, then the open one.
    chunk: usize,
    until: Timestamp,
    /// Hidden intervals of the series.
    hidden: Vec<(Timestamp, Timestamp)>,
    /// The series' newest sample, where that is all that is needed; nothing was copied then.
    newest: Option<(Timestamp, f64)>,
    /// The first of the closed chunks decoded, if they are kept so, and how many these are.
    kept: Option<(Kept, usize)>,
    read: Read,
    uses: Uses,
}

impl HeadReader<'_> {
    /// Decodes the next chunk that has samples in range. False at the end.
    fn decode(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
        let range = Interval { mint: self.set.mint, maxt: self.until };
        loop {
            self.check()?;
            let found = chunk_at(&self.copied, &mut self.chunks, self.chunk)?;
            let Some((encoding, data, times)) = found else {
                batch.clear_floats();
                return Ok(false);
            };
            self.chunk += 1;
            let bytes = data.len() as u64;
            self.decoder.decode(encoding, data, beyond(range, times), batch).map_err(corrupt)?;
            if !self.hidden.is_empty() {
                let hidden = &self.hidden;
                retain(batch, |t| !hidden.iter().any(|i| i.0 <= t && t <= i.1));
            }
            let n = batch.len();
            self.read.chunks += 1;
            self.read.bytes += bytes;
            self.read.samples += n as u64;
            if n > 0 {
                return Ok(true);
            }
        }
    }
}

impl HeadReader<'_> {
    /// Looks whether the closed chunks of the series are kept decoded, or should be.
    fn look_for_kept(&mut self, id: u32) -> Result<(), StorageError> {
        self.kept = None;
        let Some(decoded) = &self.set.view.head.decoded else { return Ok(()) };
        // One alone is decoded as fast as it is found.
        let places = self.copied.sealed.iter().map_while(Sealed::place).count();
        if places < 2 || !self.hidden.is_empty() {
            return Ok(());
        }
        let closed = self.copied.sealed.get(..places).unwrap_or_default();
        let range = Interval { mint: self.set.mint, maxt: self.until };
        let reference = |c: &Sealed| c.place().map_or(0, Place::reference);
        let kept = match decoded.look(id, closed.iter().map(reference), range) {
            Known::Kept(kept) => {
                self.uses.hits += 1;
                Some(kept)
            }
            Known::Wanted => {
                self.uses.misses += 1;
                decode_to_keep(decoded, id, closed, &mut self.chunks, range)?
            }
            Known::Unknown => {
                self.uses.misses += 1;
                None
            }
        };
        self.kept = kept.map(|kept| (kept, places));
        Ok(())
    }

    /// Appends from what is kept of the series' closed chunks. 0 at the end, and where nothing is.
    fn append_kept(
        &mut self,
        max: usize,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<f64>,
    ) -> usize {
        let Some((kept, chunks)) = &mut self.kept else { return 0 };
        let n = kept.append(max, times, values);
        self.read.samples += n as u64;
        self.read.chunks += chunks.saturating_sub(self.chunk) as u64;
        self.chunk = self.chunk.max(*chunks);
        n
    }
}

/// Decodes closed chunks of a series, to keep them; `None` where they are not all of floats.
fn decode_to_keep(
    decoded: &DecodedSource,
    id: u32,
    closed: &[Sealed],
    chunks: &mut ChunkReader,
    range: Interval,
) -> Result<Option<Kept>, StorageError> {
    let (mut times, mut values, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in closed {
        let (Encoding::Xor, Some(place)) = (chunk.encoding, chunk.place()) else {
            return Ok(None);
        };
        xor::decode(chunks.get(chunk)?, &mut times, &mut values).map_err(corrupt)?;
        ends.push((place.reference(), times.len() as u32));
    }
    Ok(Some(decoded.keep(id, (&ends, &times, &values), range)))
}

/// A chunk of a copied series: closed ones first, then the open one. Its bytes and times.
fn chunk_at<'a>(
    copied: &'a Copied,
    chunks: &'a mut ChunkReader,
    at: usize,
) -> Result<Option<(Encoding, &'a [u8], (Timestamp, Timestamp))>, StorageError> {
    Ok(match (copied.sealed.get(at), copied.open_encoding) {
        (Some(sealed), _) => {
            Some((sealed.encoding, chunks.get(sealed)?, (sealed.mint, sealed.maxt)))
        }
        (None, Some(encoding)) if at == copied.sealed.len() => {
            Some((encoding, &*copied.open, copied.open_range))
        }
        (None, _) => None,
    })
}

/// The range, where a chunk of these times reaches beyond it: without one it decodes faster.
fn beyond(range: Interval, (first, last): (Timestamp, Timestamp)) -> Option<Interval> {
    (first < range.mint || last > range.maxt).then_some(range)
}

#[cold]
fn corrupt(error: firesteel_chunk::ChunkError) -> StorageError {
    StorageError::Corrupt { place: "chunk of the head".to_owned(), what: error.to_string() }
}

impl HeadReader<'_> {
    /// Looks from time to time whether the query may go on, and tells it what was read.
    #[inline]
    fn check(&mut self) -> Result<(), StorageError> {
        if self.read.until_check > 0 {
            self.read.until_check -= 1;
            return Ok(());
        }
        self.report();
        self.read.until_check = CHUNKS_PER_CHECK;
        self.ctx.check()
    }

    fn report(&mut self) {
        let Read { chunks, bytes, samples, .. } = std::mem::take(&mut self.read);
        QueryStats::add(&self.ctx.stats.chunks, chunks);
        QueryStats::add(&self.ctx.stats.chunk_bytes, bytes);
        QueryStats::add(&self.ctx.stats.samples, samples);
    }
}

impl Drop for HeadReader<'_> {
    fn drop(&mut self) {
        if let Some(decoded) = &self.set.view.head.decoded {
            decoded.count(self.uses);
        }
        self.report();
    }
}

impl SampleReader for HeadReader<'_> {
    fn open(&mut self, index: usize) -> Result<(), StorageError> {
        self.check()?;
        let (Some(&id), Some(&until)) = (self.set.ids.get(index), self.set.until.get(index)) else {
            return Err(StorageError::Other {
                context: format!("series {index} of {}", self.set.ids.len()),
                source: "no such series".into(),
            });
        };
        self.hidden = self.set.view.head.tombstones_of(id);
        self.until = until;
        self.chunk = 0;
        let stripe = self.set.view.head.stripes[stripe_of(id)].lock();
        self.newest = None;
        if self.set.need == SampleNeed::Newest && self.hidden.is_empty() {
            self.newest = stripe.float_at(id, until).map(|v| (until, v));
        }
        if self.newest.is_some() {
            self.copied.clear();
        } else {
            stripe.copy(id, self.set.mint, until, &mut self.copied);
        }
        drop(stripe);
        self.look_for_kept(id)
    }

    fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
        if let Some((t, v)) = self.newest.take() {
            let (times, values) = batch.clear_floats();
            times.push(t);
            values.push(v);
            self.read.samples += 1;
            return Ok(true);
        }
        let (times, values) = batch.clear_floats();
        if self.append_kept(APPENDED, times, values) > 0 {
            return Ok(true);
        }
        self.decode(batch)
    }

    fn append(
        &mut self,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<f64>,
    ) -> Result<bool, StorageError> {
        let range = Interval { mint: self.set.mint, maxt: self.until };
        let before = times.len();
        if !self.hidden.is_empty() {
            return Ok(false);
        }
        if let Some((t, v)) = self.newest.take() {
            times.push(t);
            values.push(v);
            self.read.samples += 1;
            return Ok(true);
        }
        if self.append_kept(APPENDED, times, values) > 0 {
            return Ok(true);
        }
        loop {
            self.check()?;
            let found = chunk_at(&self.copied, &mut self.chunks, self.chunk)?;
            let Some((Encoding::Xor, data, (mint, maxt))) = found else { break };
            let of = Interval { mint, maxt };
            let n = append_floats(data, of, range, times, values).map_err(corrupt)?;
            self.chunk += 1;
            self.read.chunks += 1;
            self.read.bytes += data.len() as u64;
            self.read.samples += n as u64;
            if times.len() - before >= APPENDED {
                break;
            }
        }
        Ok(times.len() > before)
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
