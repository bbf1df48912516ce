//! Writing a part of the head as a block.

use std::sync::Arc;

use firesteel_chunk::{Encoding, XorEncoder};
use firesteel_model::Timestamp;

use crate::{
    TsdbError,
    block::{BlockMeta, BlockWriter, EncodedChunk, SymbolTable},
    fs::Fs,
    head::{Copied, Head, decode_chunk, hide},
};

/// Samples per chunk where chunks have to be made anew.
const SAMPLES: usize = 120;

/// Writes the floats of `[mint, maxt)` as the block that `meta` describes. `None`, and no block,
/// where there are none.
///
/// Histograms stay in the head until there are chunks for them.
pub(super) fn write(
    head: &Arc<Head>,
    fs: Arc<dyn Fs>,
    parent: &std::path::Path,
    meta: BlockMeta,
) -> Result<Option<BlockMeta>, TsdbError> {
    let (mint, maxt) = (meta.min_time, meta.max_time.saturating_sub(1));
    // Keeps the samples and the series where they are.
    let guard = head.querier(mint, maxt, mint);
    let mut ids = head.series_with_floats(mint, maxt);
    if ids.is_empty() {
        return Ok(None);
    }
    let labels = head.label_order(&mut ids);
    let symbols = SymbolTable::new(labels.strings.iter().map(String::as_str))?;
    let of: Vec<u32> = labels.strings.iter().map(|s| symbols.find(s).unwrap_or(u32::MAX)).collect();
    let mut writer = BlockWriter::create(fs, parent, meta, symbols)?;
    let mut series = Series::default();
    let mut pairs = Vec::new();
    for &id in &ids {
        series.read(head, id, mint, maxt)?;
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
#[derive(Default)]
struct Series {
    copied: Copied,
    hidden: Vec<(Timestamp, Timestamp)>,
    /// Chunks that had to be made anew.
    made: Vec<(Timestamp, Timestamp, Vec<u8>)>,
    /// What to write: closed and open chunks as they are, or `made`.
    whole: bool,
    times: Vec<i64>,
    values: Vec<f64>,
}

impl Series {
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
        let inside = |a: Timestamp, b: Timestamp| mint <= a && b <= maxt;
        self.whole = self.hidden.is_empty()
            && self.copied.sealed.iter().all(|c| inside(c.mint, c.maxt))
            && (self.copied.open.is_empty()
                || inside(self.copied.open_range.0, self.copied.open_range.1));
        if self.whole {
            return Ok(());
        }
        self.times.clear();
        self.values.clear();
        let open = Some(self.copied.open.as_slice()).filter(|c| !c.is_empty());
        let closed = self.copied.sealed.iter().filter(|c| c.encoding == Encoding::Xor);
        for chunk in closed.map(|c| &*c.data).chain(open) {
            let n = decode_chunk(chunk, mint, maxt, &mut self.times, &mut self.values)
                .map_err(|e| TsdbError::Invalid(format!("chunk of series {id}: {e}")))?;
            hide(&self.hidden, &mut self.times, &mut self.values, n);
        }
        for (times, values) in self.times.chunks(SAMPLES).zip(self.values.chunks(SAMPLES)) {
            let mut encoder = XorEncoder::new();
            for (&t, &v) in times.iter().zip(values) {
                encoder.append(t, v).map_err(|e| TsdbError::Invalid(e.to_string()))?;
            }
            if let (Some(&first), Some(&last)) = (times.first(), times.last()) {
                self.made.push((first, last, encoder.bytes().to_vec()));
            }
        }
        Ok(())
    }

    fn chunks(&self) -> Vec<EncodedChunk<'_>> {
        let xor = |mint, maxt, data| EncodedChunk { mint, maxt, encoding: Encoding::Xor, data };
        if !self.whole {
            return self.made.iter().map(|(a, b, data)| xor(*a, *b, data)).collect();
        }
        let sealed = self.copied.sealed.iter().map(|c| EncodedChunk {
            mint: c.mint,
            maxt: c.maxt,
            encoding: c.encoding,
            data: &c.data,
        });
        let mut chunks: Vec<_> = sealed.collect();
        if !self.copied.open.is_empty() {
            let (first, last) = self.copied.open_range;
            chunks.push(xor(first, last, &self.copied.open));
        }
        chunks
    }
}
