//! Queries on a block.

use std::{fmt, sync::Arc};

use firesteel_chunk::{Encoding, xor};
use firesteel_model::{
    Matcher,
    budget::Reservation,
    storage::{
        LabelDictionary, LabelHints, LabelResult, Querier, QueryContext, QueryStats, SampleBatch,
        SampleNeed, SampleReader, SelectHints, Selection, SeriesSet, StorageError,
    },
};

use super::{
    ChunkDecoder, Interval, Tombstones,
    chunks::ChunkWindow,
    decode::{append_floats, retain},
    labels::{self, Shards},
    reader::Files,
};
use crate::{
    decoded::{DecodedSource, Kept, Known, Uses},
    fs::Window,
    index::{ChunkMeta, Memory, Search},
};

/// Memory is reserved in steps of this many bytes.
const RESERVE_STEP: u64 = 64 << 10;
/// Samples that are appended at a time, about.
const APPENDED: usize = 480;
/// Statistics are added up after this many samples of a reader.
const FLUSH_SAMPLES: u64 = 4096;

/// A view of a block between two times, both inclusive.
#[derive(Clone)]
pub(super) struct BlockQuerier {
    files: Arc<Files>,
    tombstones: Arc<Tombstones>,
    mint: i64,
    maxt: i64,
}

impl BlockQuerier {
    pub(super) const fn new(
        files: Arc<Files>,
        tombstones: Arc<Tombstones>,
        mint: i64,
        maxt: i64,
    ) -> Self {
        Self { files, tombstones, mint, maxt }
    }

    fn names(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>, StorageError> {
        if matchers.is_empty() {
            let names = self.files.index.table().names();
            return Ok(names.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect());
        }
        let mut search = Search::new(&self.files.index);
        let mut memory = Memory::new(ctx)?;
        let ids = search.select(matchers, ctx, &mut memory)?;
        labels::names(&mut search, &ids, limit, &mut memory)
    }

    fn values(
        &self,
        ctx: &QueryContext,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>, StorageError> {
        let mut search = Search::new(&self.files.index);
        let mut memory = Memory::new(ctx)?;
        // Conditions on the label itself are for its values, not for series.
        let (own, others): (Vec<_>, Vec<_>) =
            matchers.iter().cloned().partition(|m| m.name() == name);
        if others.is_empty() {
            return labels::values(&search, name, &own, limit, &mut memory, &mut |_| Ok(true));
        }
        let ids = search.select(matchers, ctx, &mut memory)?;
        labels::values_of(&mut search, name, &own, &ids, limit, &mut memory)
    }
}

fn limited(mut values: Vec<String>, hints: &LabelHints) -> LabelResult {
    let truncated = hints.limit > 0 && values.len() > hints.limit;
    if truncated {
        values.truncate(hints.limit);
    }
    LabelResult { values, warnings: Vec::new(), truncated }
}

impl Querier for BlockQuerier {
    fn select(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Selection, StorageError> {
        let mint = self.mint.max(hints.start);
        let maxt = self.maxt.min(hints.end);
        if mint > maxt {
            return Ok(Selection::default());
        }
        let mut search = Search::new(&self.files.index);
        let mut memory = Memory::new(ctx)?;
        let postings = search.select(matchers, ctx, &mut memory)?;
        drop(search);
        let reservation = memory.keep(postings.len() as u64 * 4);
        let mut set = BlockSeries {
            files: Arc::clone(&self.files),
            tombstones: Arc::clone(&self.tombstones),
            range: Interval { mint, maxt },
            need: hints.need,
            ids: Vec::new(),
            labels: Vec::new(),
            label_ends: Vec::new(),
            reservation,
        };
        set.fill(ctx, postings, hints)?;
        if set.ids.is_empty() {
            return Ok(Selection::default());
        }
        QueryStats::add(&ctx.stats.series, set.ids.len() as u64);
        let warnings = self.files.warning().into_iter().collect();
        Ok(Selection { sets: vec![Arc::new(set)], warnings })
    }

    fn label_names(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        hints: &LabelHints,
    ) -> Result<LabelResult, StorageError> {
        ctx.check()?;
        Ok(limited(self.names(ctx, matchers, hints.limit)?, hints))
    }

    fn label_values(
        &self,
        ctx: &QueryContext,
        name: &str,
        matchers: &[Matcher],
        hints: &LabelHints,
    ) -> Result<LabelResult, StorageError> {
        ctx.check()?;
        Ok(limited(self.values(ctx, name, matchers, hints.limit)?, hints))
    }
}

/// Selected series of a block.
pub(super) struct BlockSeries {
    files: Arc<Files>,
    tombstones: Arc<Tombstones>,
    /// What is asked for, within the block's range.
    range: Interval,
    need: SampleNeed,
    ids: Vec<u32>,
    labels: Vec<(u32, u32)>,
    /// Where each series ends in `labels`.
    label_ends: Vec<u32>,
    reservation: Reservation,
}

impl fmt::Debug for BlockSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BlockSeries({} series of {:?})",
            self.ids.len(),
            self.files.index.source().path()
        )
    }
}

impl BlockSeries {
    /// Keeps the series that have a chunk in range, and their labels.
    fn fill(
        &mut self,
        ctx: &QueryContext,
        postings: Vec<u32>,
        hints: &SelectHints,
    ) -> Result<(), StorageError> {
        let files = Arc::clone(&self.files);
        let limit = hints.limit;
        let mut shards = hints.shard.filter(|s| s.count > 1).map(|s| Shards::new(s, &files.index));
        let mut window = Window::default();
        let mut reserved = 0;
        self.ids.reserve_exact(postings.len());
        for (i, id) in postings.into_iter().enumerate() {
            if i % 1024 == 0 {
                ctx.check()?;
            }
            if limit > 0 && self.ids.len() == limit {
                break;
            }
            let entry = files.index.series(&mut window, id)?;
            let from = self.labels.len();
            let mut in_range = false;
            for chunk in entry.labels(&mut self.labels)? {
                let chunk = chunk?;
                in_range = self.wants(id, chunk);
                if in_range || chunk.mint > self.range.maxt {
                    break;
                }
            }
            let labels = self.labels.get(from..).unwrap_or_default();
            if !in_range || !shards.as_mut().map_or(Ok(true), |s| s.wants(labels))? {
                self.labels.truncate(from);
                continue;
            }
            let end = u32::try_from(self.labels.len())
                .map_err(|_| StorageError::Limit("more than 4 G labels".to_owned()))?;
            self.ids.push(id);
            self.label_ends.push(end);
            let used = self.labels.len() as u64 * 8 + self.ids.len() as u64 * 4;
            if used > reserved {
                self.reservation.grow(RESERVE_STEP)?;
                reserved += RESERVE_STEP;
            }
        }
        Ok(())
    }

    /// The range that a chunk is cut to; `None` where all of it is in range.
    fn range_of(&self, chunk: ChunkMeta) -> Option<Interval> {
        let whole = chunk.mint >= self.range.mint && chunk.maxt <= self.range.maxt;
        (!whole).then_some(self.range)
    }

    /// Whether a chunk may have samples in range that are not deleted.
    fn wants(&self, id: u32, chunk: ChunkMeta) -> bool {
        let deleted = |i: &Interval| i.mint <= chunk.mint && chunk.maxt <= i.maxt;
        chunk.maxt >= self.range.mint
            && chunk.mint <= self.range.maxt
            && !self.tombstones.get(id.into()).iter().any(deleted)
    }
}

impl SeriesSet for BlockSeries {
    fn dictionary(&self) -> &dyn LabelDictionary {
        self
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn labels(&self, index: usize, out: &mut Vec<(u32, u32)>) -> Result<(), StorageError> {
        let end = self.label_ends.get(index).copied().unwrap_or_default() as usize;
        let start = index.checked_sub(1).and_then(|i| self.label_ends.get(i)).copied();
        let pairs = self.labels.get(start.unwrap_or_default() as usize..end);
        out.extend_from_slice(pairs.unwrap_or_default());
        Ok(())
    }

    fn time_range(&self) -> Option<(i64, i64)> {
        Some((self.range.mint, self.range.maxt))
    }

    fn reader(&self, ctx: &QueryContext) -> Box<dyn SampleReader + '_> {
        Box::new(BlockReader {
            set: self,
            ctx: ctx.clone(),
            index: Window::default(),
            window: ChunkWindow::default(),
            chunks: Vec::new(),
            next: 0,
            deleted: &[],
            decoder: ChunkDecoder::default(),
            counts: Counts::default(),
            kept: None,
            uses: Uses::default(),
        })
    }
}

impl LabelDictionary for BlockSeries {
    fn id_bound(&self) -> u32 {
        self.files.index.symbols().bound()
    }

    fn resolve(&self, ids: &[u32], f: &mut dyn FnMut(usize, &str)) -> Result<(), StorageError> {
        let index = &self.files.index;
        Ok(index.symbols().resolve(index.source(), ids, f)?)
    }
}

/// Reads the samples of selected series, chunk by chunk.
struct BlockReader<'a> {
    set: &'a BlockSeries,
    ctx: QueryContext,
    index: Window,
    window: ChunkWindow,
    chunks: Vec<ChunkMeta>,
    next: usize,
    deleted: &'a [Interval],
    decoder: ChunkDecoder,
    counts: Counts,
    /// The chunks decoded, if they are kept so.
    kept: Option<Kept>,
    uses: Uses,
}

/// What was read and is not yet in the query's statistics, which several threads share.
#[derive(Default)]
struct Counts {
    chunks: u64,
    bytes: u64,
    samples: u64,
}

impl Counts {
    fn flush(&mut self, stats: &QueryStats) {
        QueryStats::add(&stats.chunks, self.chunks);
        QueryStats::add(&stats.chunk_bytes, self.bytes);
        QueryStats::add(&stats.samples, self.samples);
        *self = Self::default();
    }
}

impl Drop for BlockReader<'_> {
    fn drop(&mut self) {
        if let Some(decoded) = &self.set.files.decoded {
            decoded.count(self.uses);
        }
        self.counts.flush(&self.ctx.stats);
    }
}

impl BlockReader<'_> {
    fn decode(&mut self, chunk: ChunkMeta, batch: &mut SampleBatch) -> Result<(), StorageError> {
        let files = &self.set.files;
        let (encoding, data) = files.chunks.read(&mut self.window, chunk.reference)?;
        self.counts.chunks += 1;
        self.counts.bytes += data.len() as u64;
        let range = self.set.range_of(chunk);
        let decoded = self.decoder.decode(encoding, data, range, batch);
        decoded.map_err(|e| files.chunks.corrupt(chunk.reference, e.to_string()))?;
        if self.deleted.iter().any(|i| i.mint <= chunk.maxt && chunk.mint <= i.maxt) {
            retain(batch, |t| !self.deleted.iter().any(|d| d.contains(t)));
        }
        self.counts.samples += batch.len() as u64;
        Ok(())
    }
}

impl BlockReader<'_> {
    /// Looks whether the chunks of the series are kept decoded, or should be.
    fn look_for_kept(&mut self, id: u32) -> Result<(), StorageError> {
        let Some(decoded) = &self.set.files.decoded else { return Ok(()) };
        if !self.deleted.is_empty() {
            return Ok(());
        }
        let wanted = self.chunks.iter().map(|c| c.reference);
        match decoded.look(id, wanted, self.set.range) {
            Known::Kept(kept) => {
                self.uses.hits += 1;
                self.kept = Some(kept);
            }
            Known::Wanted => {
                self.uses.misses += 1;
                self.kept = self.decode_to_keep(decoded, id)?;
            }
            Known::Unknown => self.uses.misses += 1,
        }
        Ok(())
    }

    /// Appends from what is kept of the series' chunks; `None` where nothing is.
    fn append_kept(
        &mut self,
        max: usize,
        times: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Option<usize> {
        let n = self.kept.as_mut()?.append(max, times, values);
        self.counts.chunks += self.chunks.len().saturating_sub(self.next) as u64;
        self.counts.samples += n as u64;
        self.next = self.chunks.len();
        Some(n)
    }

    /// Decodes all chunks of the series, to keep them; `None` where they are not all of floats.
    fn decode_to_keep(
        &mut self,
        decoded: &DecodedSource,
        id: u32,
    ) -> Result<Option<Kept>, StorageError> {
        let chunks = &self.set.files.chunks;
        chunks.announce(&mut self.window, &self.chunks);
        let (mut times, mut values, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in &self.chunks {
            let (encoding, data) = chunks.read(&mut self.window, chunk.reference)?;
            if encoding != Encoding::Xor {
                return Ok(None);
            }
            self.counts.bytes += data.len() as u64;
            let done = xor::decode(data, &mut times, &mut values);
            done.map_err(|e| chunks.corrupt(chunk.reference, e.to_string()))?;
            ends.push((chunk.reference, times.len() as u32));
        }
        Ok(Some(decoded.keep(id, (&ends, &times, &values), self.set.range)))
    }
}

impl SampleReader for BlockReader<'_> {
    fn open(&mut self, index: usize) -> Result<(), StorageError> {
        self.ctx.check()?;
        // A query's sample limit is watched through these; so they must not lag by much.
        if self.counts.samples > FLUSH_SAMPLES {
            self.counts.flush(&self.ctx.stats);
        }
        self.chunks.clear();
        self.next = 0;
        self.kept = None;
        let Some(&id) = self.set.ids.get(index) else { return Ok(()) };
        self.deleted = self.set.tombstones.get(id.into());
        if self.set.need == SampleNeed::Labels {
            return Ok(());
        }
        for chunk in self.set.files.index.series(&mut self.index, id)?.chunks()? {
            let chunk = chunk?;
            if chunk.mint > self.set.range.maxt {
                break;
            }
            // The query that first met a damaged chunk failed; later ones do without, and say so.
            if self.set.wants(id, chunk) && !self.set.files.chunks.is_damaged(chunk.reference) {
                self.chunks.push(chunk);
            }
        }
        self.look_for_kept(id)?;
        if self.kept.is_none() {
            self.set.files.chunks.announce(&mut self.window, &self.chunks);
        }
        Ok(())
    }

    fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
        let (times, values) = batch.clear_floats();
        if let Some(n) = self.append_kept(APPENDED, times, values) {
            return Ok(n > 0);
        }
        while let Some(&chunk) = self.chunks.get(self.next) {
            self.next += 1;
            self.decode(chunk, batch)?;
            if !batch.is_empty() {
                return Ok(true);
            }
        }
        batch.clear_floats();
        Ok(false)
    }

    fn append(
        &mut self,
        times: &mut Vec<i64>,
        values: &mut Vec<f64>,
    ) -> Result<bool, StorageError> {
        let before = times.len();
        if !self.deleted.is_empty() {
            return Ok(false);
        }
        if let Some(n) = self.append_kept(APPENDED, times, values) {
            return Ok(n > 0);
        }
        while let Some(&chunk) = self.chunks.get(self.next) {
            let chunks = &self.set.files.chunks;
            let (encoding, data) = chunks.read(&mut self.window, chunk.reference)?;
            if encoding != Encoding::Xor {
                break;
            }
            let of = Interval { mint: chunk.mint, maxt: chunk.maxt };
            let decoded = append_floats(data, of, self.set.range, times, values);
            let n = decoded.map_err(|e| chunks.corrupt(chunk.reference, e.to_string()))?;
            self.next += 1;
            self.counts.chunks += 1;
            self.counts.bytes += data.len() as u64;
            self.counts.samples += n as u64;
            if times.len() - before >= APPENDED {
                break;
            }
        }
        Ok(times.len() > before)
    }
}
