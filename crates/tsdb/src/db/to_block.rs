//! Writing a part of the head as a block.

use std::{ops::Range, path::PathBuf, sync::Arc};

use firesteel_chunk::{ChunkError, Encoding};
use firesteel_model::Timestamp;
use hashbrown::HashSet;

use super::events::{Event, Events};
use crate::{
    TsdbError,
    block::{BlockMeta, BlockWriter, EncodedChunk, SymbolTable},
    fs::Fs,
    head::{
        ChunkReader, Copied, Decoded, FloatSample, Formats, Head, HistogramSample, LateReader,
        LateSamples, Made, decode_samples, encode_floats, encode_histograms,
    },
};

/// Which of a head's samples.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// Those that came in order.
    InOrder,
    /// The same, of these series alone.
    Of(&'a HashSet<u32>),
    /// Those that came late, up to a generation.
    Late(u32),
}

/// Writes the samples of `[mint, maxt)` as the block that `meta` describes, as they are when it
/// begins. `None`, and no block, where there are none.
pub(super) fn write(
    head: &Arc<Head>,
    source: Source<'_>,
    fs: Arc<dyn Fs>,
    parent: &std::path::Path,
    meta: BlockMeta,
    events: &Events,
) -> Result<Option<BlockMeta>, TsdbError> {
    let (mint, maxt) = (meta.min_time, meta.max_time.saturating_sub(1));
    // Keeps the samples and the series where they are.
    let guard = head.querier(mint, maxt, mint);
    let mut ids = match source {
        Source::InOrder | Source::Of(_) => head.series_with_samples(mint, maxt),
        Source::Late(generation) => head.late_series(mint, maxt, generation),
    };
    if let Source::Of(only) = source {
        ids.retain(|id| only.contains(id));
    }
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
            Source::InOrder | Source::Of(_) => {
                series.read(head, id, mint, maxt.min(guard.visible_until(id)))?;
            }
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
    let made = writer.finish();
    // Nobody is told while readers would have to wait.
    for (path, what) in series.left_out {
        events.send(&Event::CorruptionFound { path, what });
    }
    made
}

/// The chunks of a series in range.
struct Series {
    copied: Copied,
    reader: ChunkReader,
    hidden: Vec<(Timestamp, Timestamp)>,
    /// Bytes of the chunks that are taken as they are.
    bytes: Vec<u8>,
    chunks: Vec<Part>,
    late: (LateReader, LateSamples),
    /// Damaged chunks that are in no block: the file, and what is wrong where.
    left_out: Vec<(PathBuf, String)>,
}

/// A chunk of a block.
enum Part {
    /// As it is in the head: its first and last sample, and where it is in [`Series::bytes`].
    Whole((Timestamp, Timestamp), Encoding, Range<usize>),
    /// Made anew, as not all of its samples go into the block.
    Made(Made),
}

impl Series {
    fn new(head: &Head) -> Self {
        Self {
            copied: Copied::default(),
            reader: head.chunk_reader(),
            hidden: Vec::new(),
            bytes: Vec::new(),
            chunks: Vec::new(),
            late: <(LateReader, LateSamples)>::default(),
            left_out: Vec::new(),
        }
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
        // What is outside of the block is left out like what is hidden.
        self.hidden.extend([
            (Timestamp::MIN, mint.saturating_sub(1)),
            (maxt.saturating_add(1), Timestamp::MAX),
        ]);
        self.bytes.clear();
        self.chunks.clear();
        let copied = std::mem::take(&mut self.copied);
        for chunk in &copied.sealed {
            let at = self.bytes.len();
            match self.reader.get(chunk) {
                Ok(data) => self.bytes.extend_from_slice(data),
                Err(TsdbError::Corrupt { path, offset, what }) => {
                    // It must not keep all others out of the block.
                    tracing::error!(series = id, ?path, offset, what, "chunk left out of a block");
                    let (from, to) = (chunk.mint, chunk.maxt);
                    let what =
                        format!("byte {offset}: {what}; samples from {from} to {to} are lost");
                    self.left_out.push((path, what));
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.put((chunk.mint, chunk.maxt), chunk.encoding, at, id)?;
        }
        if let Some(encoding) = copied.open_encoding {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(&copied.open);
            self.put(copied.open_range, encoding, at, id)?;
        }
        self.copied = copied;
        Ok(())
    }

    /// Late samples are made into chunks: the ones that they lie in overlap.
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
        samples.hide(&head.tombstones_of(id));
        let mut made = Vec::new();
        let bad = make_mixed(&samples.floats, &samples.histograms, head.formats(), &mut made)?;
        if bad > 0 {
            tracing::error!(series = id, samples = bad, "histograms left out of a block");
        }
        self.bytes.clear();
        self.chunks.clear();
        self.chunks.extend(made.into_iter().map(Part::Made));
        Ok(())
    }

    /// Takes the chunk that [`Series::bytes`] have from `at` on, or what is left of it.
    fn put(
        &mut self,
        range: (Timestamp, Timestamp),
        encoding: Encoding,
        at: usize,
        id: u32,
    ) -> Result<(), TsdbError> {
        let hidden = &self.hidden;
        if !hidden.iter().any(|&(from, to)| from <= range.1 && range.0 <= to) {
            self.chunks.push(Part::Whole(range, encoding, at..self.bytes.len()));
            return Ok(());
        }
        let data = self.bytes.get(at..).unwrap_or_default();
        let decoded = decode_samples(encoding, data)
            .map_err(|e| TsdbError::Invalid(format!("chunk of series {id}: {e}")))?;
        let seen = |t: Timestamp| !hidden.iter().any(|&(from, to)| from <= t && t <= to);
        let mut made = Vec::new();
        match decoded {
            Decoded::Floats(mut samples) => {
                samples.retain(|s| seen(s.t));
                let xor2 = encoding == Encoding::Xor2;
                encode_floats(&samples, xor2, &mut made).map_err(invalid)?;
            }
            Decoded::Histograms(mut samples) => {
                samples.retain(|h| seen(h.t));
                let starts = matches!(encoding, Encoding::HistogramSt | Encoding::FloatHistogramSt);
                let bad = encode_histograms(&samples, starts, &mut made);
                if bad > 0 {
                    tracing::error!(series = id, samples = bad, "histograms left out of a block");
                }
            }
        }
        self.bytes.truncate(at);
        self.chunks.extend(made.into_iter().map(Part::Made));
        Ok(())
    }

    fn chunks(&self) -> Vec<EncodedChunk<'_>> {
        self.chunks
            .iter()
            .map(|part| match part {
                Part::Whole((mint, maxt), encoding, range) => EncodedChunk {
                    mint: *mint,
                    maxt: *maxt,
                    encoding: *encoding,
                    data: self.bytes.get(range.clone()).unwrap_or_default(),
                },
                Part::Made(m) => {
                    EncodedChunk { mint: m.mint, maxt: m.maxt, encoding: m.encoding, data: &m.data }
                }
            })
            .collect()
    }
}

/// Appends chunks of floats and histograms in the order of their times. Returns how many histograms
/// cannot be encoded. Of two samples at the same time the histogram stays; there are none as a rule.
fn make_mixed(
    mut floats: &[FloatSample],
    mut histograms: &[HistogramSample],
    formats: Formats,
    out: &mut Vec<Made>,
) -> Result<usize, TsdbError> {
    let mut bad = 0;
    while !floats.is_empty() || !histograms.is_empty() {
        let next = histograms.first().map(|h| h.t);
        let n = floats.partition_point(|s| next.is_none_or(|next| s.t < next));
        let (now, later) = floats.split_at(n);
        encode_floats(now, formats.xor2, out).map_err(invalid)?;
        floats = later;
        let next = floats.first().map(|s| s.t);
        let n = histograms.partition_point(|h| next.is_none_or(|next| h.t <= next));
        let (now, later) = histograms.split_at(n);
        bad += encode_histograms(now, formats.histogram_starts, out);
        histograms = later;
        if next.is_some() && now.last().map(|h| h.t) == next {
            floats = floats.split_at(1).1;
        }
    }
    Ok(bad)
}

fn invalid(error: ChunkError) -> TsdbError {
    TsdbError::Invalid(error.to_string())
}
