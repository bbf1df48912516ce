//! Writing a part of the head as a block.

use std::sync::Arc;

use firesteel_chunk::{Encoding, XorEncoder};
use firesteel_model::Timestamp;

use super::histogram_chunks::{self, Made};
use crate::{
    TsdbError,
    block::{BlockMeta, BlockWriter, EncodedChunk, SymbolTable},
    fs::Fs,
    head::{ChunkReader, Copied, Head, LateReader, LateSamples, decode_chunk, hide},
};

/// Samples per chunk where chunks have to be made anew.
const SAMPLES: usize = 120;

/// Which of a head's samples.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// Those that came in order.
    InOrder,
    /// Those that came late, up to a generation.
    Late(u32),
}

/// Writes the samples of `[mint, maxt)` as the block that `meta` describes. `None`, and no block,
/// where there are none.
pub(super) fn write(
    head: &Arc<Head>,
    source: Source,
    fs: Arc<dyn Fs>,
    parent: &std::path::Path,
    meta: BlockMeta,
) -> Result<Option<BlockMeta>, TsdbError> {
    let (mint, maxt) = (meta.min_time, meta.max_time.saturating_sub(1));
    // Keeps the samples and the series where they are.
    let guard = head.querier(mint, maxt, mint);
    let mut ids = match source {
        Source::InOrder => head.series_with_samples(mint, maxt),
        Source::Late(generation) => head.late_series(mint, maxt, generation),
    };
    if ids.is_empty() {
        return Ok(None);
    }
    let labels = head.label_order(&mut ids);
    let symbols = SymbolTable::new(labels.strings.iter().map(String::as_str))?;
    let of: Vec<u32> = labels.strings.iter().map(|s| symbols.find(s).unwrap_or(u32::MAX)).collect();
    let mut writer = BlockWriter::create(fs, parent, meta, symbols)?;
    let mut series = Series::new(head);
    let mut pairs = Vec::new();
    for &id in &ids {
        match source {
            Source::InOrder => series.read(head, id, mint, maxt)?,
            Source::Late(generation) => series.read_late(head, id, (mint, maxt), generation)?,
        }
        labels.pairs(head, id, &mut pairs);
        for pair in &mut pairs {
            let symbol = |rank: u32| of.get(rank as usize).copied().unwrap_or(u32::MAX);
            *pair = (symbol(pair.0), symbol(pair.1));
        }
        match writer.add_series(&pairs, &series.chunks()) {
            // One series must not keep all others out of the block.
            Err(TsdbError::Invalid(what)) => {
                tracing::error!(series = id, what, "series left out of a block");
            }
            other => other?,
        }
    }
    drop(guard);
    writer.finish()
}

/// The chunks of a series in range.
struct Series {
    copied: Copied,
    reader: ChunkReader,
    /// Bytes of the closed chunks.
    bytes: Vec<Vec<u8>>,
    hidden: Vec<(Timestamp, Timestamp)>,
    /// Chunks that had to be made anew.
    made: Vec<Made>,
    /// What to write: closed and open chunks as they are, or `made`.
    whole: bool,
    times: Vec<i64>,
    values: Vec<f64>,
    late: (LateReader, LateSamples),
}

impl Series {
    fn new(head: &Head) -> Self {
        Self {
            copied: Copied::default(),
            reader: head.chunk_reader(),
            bytes: Vec::new(),
            hidden: Vec::new(),
            made: Vec::new(),
            whole: true,
            times: Vec::new(),
            values: Vec::new(),
            late: <(LateReader, LateSamples)>::default(),
        }
    }

    fn read_late(
        &mut self,
        head: &Head,
        id: u32,
        range: (Timestamp, Timestamp),
        generation: u32,
    ) -> Result<(), TsdbError> {
        let (reader, samples) = &mut self.late;
        reader
            .read(head, id, range, u64::MAX, generation, samples)
            .map_err(|e| TsdbError::Invalid(format!("late chunk of series {id}: {e}")))?;
        self.made.clear();
        self.whole = false;
        std::mem::swap(&mut self.times, &mut samples.times);
        std::mem::swap(&mut self.values, &mut samples.values);
        std::mem::swap(&mut self.copied.histograms, &mut samples.histograms);
        self.hidden = head.tombstones_of(id);
        let n = self.times.len();
        hide(&self.hidden, &mut self.times, &mut self.values, n);
        let hidden = &self.hidden;
        self.copied.histograms.retain(|h| !hidden.iter().any(|i| i.0 <= h.t && h.t <= i.1));
        self.make(id)
    }

    fn read(
        &mut self,
        head: &Head,
        id: u32,
        mint: Timestamp,
        maxt: Timestamp,
    ) -> Result<(), TsdbError> {
        head.copy(id, mint, maxt, &mut self.copied);
        self.hidden = head.tombstones_of(id);
        self.hidden.retain(|&(from, to)| from <= maxt && to >= mint);
        self.made.clear();
        self.read_closed(id)?;
        let inside = |a: Timestamp, b: Timestamp| mint <= a && b <= maxt;
        self.whole = self.hidden.is_empty()
            && self.copied.histograms.is_empty()
            && self.copied.sealed.iter().all(|c| inside(c.mint, c.maxt))
            && (self.copied.open.is_empty()
                || inside(self.copied.open_range.0, self.copied.open_range.1));
        if self.whole {
            return Ok(());
        }
        self.times.clear();
        self.values.clear();
        let open = Some(self.copied.open.as_slice()).filter(|c| !c.is_empty());
        let closed = self.copied.sealed.iter().zip(&self.bytes);
        let closed = closed.filter(|(c, _)| c.encoding == Encoding::Xor);
        for chunk in closed.map(|(_, bytes)| &bytes[..]).chain(open) {
            let n = decode_chunk(chunk, mint, maxt, &mut self.times, &mut self.values)
                .map_err(|e| TsdbError::Invalid(format!("chunk of series {id}: {e}")))?;
            hide(&self.hidden, &mut self.times, &mut self.values, n);
        }
        let hidden = &self.hidden;
        self.copied.histograms.retain(|h| !hidden.iter().any(|i| i.0 <= h.t && h.t <= i.1));
        self.make(id)
    }

    /// Reads the closed chunks, those that are damaged excepted.
    fn read_closed(&mut self, id: u32) -> Result<(), TsdbError> {
        self.bytes.resize_with(self.copied.sealed.len(), Vec::new);
        let mut at = 0;
        let (reader, bytes) = (&mut self.reader, &mut self.bytes);
        let mut failed = Ok(());
        self.copied.sealed.retain(|chunk| {
            if failed.is_err() {
                return true;
            }
            match (reader.get(chunk), bytes.get_mut(at)) {
                (Ok(data), Some(into)) => {
                    into.clear();
                    into.extend_from_slice(data);
                    at += 1;
                    true
                }
                (Err(error @ TsdbError::Corrupt { .. }), _) => {
                    // It must not keep all others out of the block.
                    tracing::error!(series = id, %error, "chunk left out of a block");
                    false
                }
                (Err(error), _) => {
                    failed = Err(error);
                    true
                }
                (Ok(_), None) => false,
            }
        });
        failed
    }

    /// Makes chunks of floats and histograms in the order of their times.
    fn make(&mut self, id: u32) -> Result<(), TsdbError> {
        let mut histograms = self.copied.histograms.as_slice();
        let mut floats = 0..self.times.len();
        while !floats.is_empty() || !histograms.is_empty() {
            let next = histograms.first().map_or(Timestamp::MAX, |h| h.t);
            let rest = self.times.get(floats.clone()).unwrap_or_default();
            let n = rest.partition_point(|&t| t < next);
            let end = floats.start + if histograms.is_empty() { rest.len() } else { n };
            let range = floats.start..end;
            let times = self.times.get(range.clone()).unwrap_or_default();
            let values = self.values.get(range).unwrap_or_default();
            make_floats(times, values, &mut self.made)?;
            floats.start = end;
            let next = self.times.get(end).copied();
            let n = histograms.partition_point(|h| next.is_none_or(|next| h.t <= next));
            let (now, later) = histograms.split_at(n);
            let bad = histogram_chunks::encode(now, &mut self.made);
            if bad > 0 {
                tracing::error!(series = id, samples = bad, "histograms left out of a block");
            }
            histograms = later;
            // Of two at the same time the histogram stays; there is none as a rule.
            if now.last().map(|h| h.t) == next && next.is_some() {
                floats.start += 1;
            }
        }
        Ok(())
    }

    fn chunks(&self) -> Vec<EncodedChunk<'_>> {
        let chunk = |mint, maxt, encoding, data| EncodedChunk { mint, maxt, encoding, data };
        if !self.whole {
            return self.made.iter().map(|m| chunk(m.mint, m.maxt, m.encoding, &m.data)).collect();
        }
        let sealed = self.copied.sealed.iter().zip(&self.bytes);
        let sealed = sealed.map(|(c, bytes)| chunk(c.mint, c.maxt, c.encoding, &bytes[..]));
        let mut chunks: Vec<_> = sealed.collect();
        if !self.copied.open.is_empty() {
            let (first, last) = self.copied.open_range;
            chunks.push(chunk(first, last, Encoding::Xor, &self.copied.open));
        }
        chunks
    }
}

/// Appends XOR chunks of these samples.
fn make_floats(times: &[i64], values: &[f64], out: &mut Vec<Made>) -> Result<(), TsdbError> {
    for (times, values) in times.chunks(SAMPLES).zip(values.chunks(SAMPLES)) {
        let mut encoder = XorEncoder::new();
        for (&t, &v) in times.iter().zip(values) {
            encoder.append(t, v).map_err(|e| TsdbError::Invalid(e.to_string()))?;
        }
        if let (Some(&mint), Some(&maxt)) = (times.first(), times.last()) {
            let data = encoder.bytes().to_vec();
            out.push(Made { mint, maxt, encoding: Encoding::Xor, data });
        }
    }
    Ok(())
}
