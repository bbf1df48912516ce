//! Checking every checksum of a block.

use std::{path::Path, sync::Arc};

use firesteel_model::storage::SampleBatch;

use super::{
    BlockMeta, CHUNKS_DIR, ChunkDecoder, INDEX_FILE, Integrity, META_FILE, TOMBSTONES_FILE,
    Tombstones,
    chunks::{ChunkFiles, ChunkWindow},
    integrity::{INTEGRITY_FILE, checksum},
};
use crate::{
    TsdbError,
    fs::{Fs, Window},
    index::{ChunkMeta, IndexReader},
};

/// What a damaged place costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// The block cannot be used.
    Block,
    /// Samples of one chunk.
    Chunk,
    /// Nothing, as things are.
    Nothing,
}

/// Who watches a check: gets findings, and is told of bytes read; may end it.
pub(crate) trait Watch {
    /// Something was found.
    fn found(&mut self, error: TsdbError, cost: Cost);
    /// So many bytes of the block were checked; false ends the check.
    fn read(&mut self, bytes: u64) -> bool;
}

/// Reads the block in `dir` and checks all that can be checked, with memory for a page of the index,
/// the longest chunk, and four bytes per series.
///
/// # Errors
/// The file system's, other than missing files, which are findings.
pub(crate) fn verify(fs: &Arc<dyn Fs>, dir: &Path, watch: &mut dyn Watch) -> Result<(), TsdbError> {
    let described = match Integrity::read(&**fs, dir) {
        Ok(described) => described,
        Err(error) => {
            watch.found(error, Cost::Nothing);
            None
        }
    };
    let meta = match BlockMeta::read(&**fs, dir) {
        Ok(meta) => Some(meta),
        Err(error) => {
            watch.found(error, Cost::Block);
            None
        }
    };
    if let Err(error) = Tombstones::read(&**fs, dir) {
        watch.found(error, Cost::Block);
    }
    if let Some(described) = &described
        && !compare(&**fs, dir, described, meta.as_ref(), watch)?
    {
        return Ok(());
    }
    let index = match IndexReader::open(&**fs, &dir.join(INDEX_FILE)) {
        Ok(index) => index,
        Err(error) => {
            watch.found(error, Cost::Block);
            return Ok(());
        }
    };
    let chunks = match ChunkFiles::open(&**fs, &dir.join(CHUNKS_DIR)) {
        Ok(chunks) => chunks,
        Err(error) => {
            watch.found(error, Cost::Block);
            return Ok(());
        }
    };
    if !postings(&index, watch) {
        return Ok(());
    }
    series(&index, &chunks, watch);
    Ok(())
}

/// Compares the files with what they were. False where it was ended.
fn compare(
    fs: &dyn Fs,
    dir: &Path,
    described: &Integrity,
    meta: Option<&BlockMeta>,
    watch: &mut dyn Watch,
) -> Result<bool, TsdbError> {
    for file in &described.files {
        let path = dir.join(&file.name);
        let mut go_on = true;
        let found = checksum(fs, &path, &mut |n| {
            go_on = watch.read(n);
            go_on
        });
        let (len, crc) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(false),
            Err(error) => {
                let cost = if file.name == TOMBSTONES_FILE { Cost::Nothing } else { Cost::Block };
                watch.found(error, cost);
                continue;
            }
        };
        if (len, crc) == (file.len, file.crc) {
            continue;
        }
        let (was_len, was) = (file.len, file.crc);
        let what =
            format!("{len} bytes with checksum {crc:08x}, written were {was_len} with {was:08x}");
        // Tombstones have a checksum of their own: sound ones were rewritten. Which part of index
        // or chunks is bad, if any that matters, is found below.
        watch.found(TsdbError::corrupt(&path, 0, what), Cost::Nothing);
    }
    let copy = BlockMeta::from_json(&described.meta).ok();
    if let (Some(meta), Some(copy)) = (meta, &copy)
        && !meta.same_block(copy)
    {
        let what = format!("does not say what {INTEGRITY_FILE} has of it");
        watch.found(TsdbError::corrupt(dir.join(META_FILE), 0, what), Cost::Nothing);
    }
    Ok(true)
}

/// Checks the postings of all label pairs. False where it was ended.
fn postings(index: &IndexReader, watch: &mut dyn Watch) -> bool {
    let names: Vec<String> =
        index.table().names().map(|(n, _)| String::from_utf8_lossy(n).into_owned()).collect();
    let (mut table, mut window) = (Window::default(), Window::default());
    let mut list = Vec::new();
    for name in &names {
        let (mut bad, mut go_on) = (Vec::new(), true);
        let scanned = index.table().scan(index.source(), &mut table, name, "", &mut |_, at| {
            list.clear();
            if let Err(error) = index.postings(&mut window, at, &mut list) {
                bad.push(error);
            }
            go_on = watch.read(4 * list.len() as u64 + 12);
            Ok(go_on && bad.len() < 1000)
        });
        for error in bad.into_iter().chain(scanned.err()) {
            watch.found(error, Cost::Block);
        }
        if !go_on {
            return false;
        }
    }
    true
}

/// Checks the entries of all series and their chunks.
fn series(index: &IndexReader, chunks: &ChunkFiles, watch: &mut dyn Watch) {
    let mut all = Vec::new();
    if let Some(at) = index.table().all()
        && let Err(error) = index.postings(&mut Window::default(), at, &mut all)
    {
        watch.found(error, Cost::Block);
        return;
    }
    let (mut window, mut chunk_window) = (Window::default(), ChunkWindow::default());
    let (mut labels, mut metas) = (Vec::new(), Vec::new());
    let mut decoder = ChunkDecoder::default();
    let mut batch = SampleBatch::default();
    for id in all {
        metas.clear();
        labels.clear();
        let entry = index.series(&mut window, id);
        let read = entry.and_then(|entry| {
            entry.labels(&mut labels)?;
            for chunk in entry.chunks()? {
                metas.push(chunk?);
            }
            let bound = index.symbols().bound();
            if labels.iter().any(|l| l.0 >= bound || l.1 >= bound) {
                return Err(index.source().corrupt(u64::from(id), "a series names no symbol"));
            }
            Ok(())
        });
        if let Err(error) = read {
            watch.found(error, Cost::Block);
        }
        for meta in &metas {
            let bytes = match chunk(chunks, &mut chunk_window, *meta, &mut decoder, &mut batch) {
                Ok(bytes) => bytes,
                Err(error) => {
                    watch.found(error, Cost::Chunk);
                    0
                }
            };
            if !watch.read(bytes) {
                return;
            }
        }
    }
}

/// Reads a chunk; returns its bytes.
fn chunk(
    chunks: &ChunkFiles,
    window: &mut ChunkWindow,
    meta: ChunkMeta,
    decoder: &mut ChunkDecoder,
    batch: &mut SampleBatch,
) -> Result<u64, TsdbError> {
    let (encoding, data) = chunks.read(window, meta.reference)?;
    let len = data.len() as u64;
    decoder
        .decode(encoding, data, None, batch)
        .map_err(|e| chunks.corrupt(meta.reference, e.to_string()))?;
    let (mint, maxt) = (meta.mint, meta.maxt);
    if !batch.timestamps.iter().all(|t| (mint..=maxt).contains(t)) {
        let what = format!("samples outside of {mint} to {maxt}, which the index says");
        return Err(chunks.corrupt(meta.reference, what));
    }
    Ok(len)
}
