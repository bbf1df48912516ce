//! Making a block.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use firesteel_chunk::Encoding;

use super::{
    BlockMeta, BlockStats, CHUNKS_DIR, INDEX_FILE, Integrity, SymbolTable, TMP_CREATION_SUFFIX,
    Tombstones, chunks::ChunkWriter,
};
use crate::{
    TsdbError,
    fs::Fs,
    index::{ChunkMeta, IndexWriter},
};

/// A chunk to be written: its bytes as an encoder made them.
#[derive(Clone, Copy, Debug)]
pub struct EncodedChunk<'a> {
    /// Time of its first sample, milliseconds.
    pub mint: i64,
    /// Time of its last sample.
    pub maxt: i64,
    /// How it is encoded.
    pub encoding: Encoding,
    /// Its bytes, the number of samples in front.
    pub data: &'a [u8],
}

/// Writes a block from front to end: series in order of their label sets, each with its chunks.
///
/// All goes to a directory with [`TMP_CREATION_SUFFIX`]; [`BlockWriter::finish`] syncs it and gives
/// it its name. A writer that is dropped before removes what it wrote.
#[derive(Debug)]
pub struct BlockWriter {
    fs: Arc<dyn Fs>,
    parent: PathBuf,
    dir: PathBuf,
    meta: BlockMeta,
    parts: Option<(IndexWriter, ChunkWriter)>,
    metas: Vec<ChunkMeta>,
}

impl BlockWriter {
    /// Begins the block that `meta` describes, but for its statistics, below `parent`. `symbols`
    /// are all the strings of the series to come.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(
        fs: Arc<dyn Fs>,
        parent: &Path,
        meta: BlockMeta,
        symbols: SymbolTable,
    ) -> Result<Self, TsdbError> {
        let dir = parent.join(format!("{}{TMP_CREATION_SUFFIX}", meta.ulid));
        let chunks = dir.join(CHUNKS_DIR);
        fs.create_dir_all(&chunks).map_err(TsdbError::io("create", &chunks))?;
        let parent = parent.to_owned();
        let mut writer = Self { fs, parent, dir, meta, parts: None, metas: Vec::new() };
        writer.meta.stats = BlockStats::default();
        let index = IndexWriter::create(&*writer.fs, &writer.dir.join(INDEX_FILE), symbols)?;
        writer.parts = Some((index, ChunkWriter::new(chunks)));
        Ok(writer)
    }

    /// Has chunk files end earlier, to test that.
    #[cfg(test)]
    pub(super) fn set_segment_size(&mut self, bytes: u64) {
        if let Some((_, chunks)) = &mut self.parts {
            chunks.set_segment_size(bytes);
        }
    }

    /// The symbols that were given.
    #[must_use]
    pub fn symbols(&self) -> Option<&SymbolTable> {
        self.parts.as_ref().map(|(index, _)| index.symbols())
    }

    /// Adds a series: its label pairs as numbers of symbols, in order of the names, and its chunks
    /// in order of time. Without chunks it is left out.
    ///
    /// # Errors
    /// [`TsdbError::Invalid`] where the order of series, labels or chunks is broken; the block is as
    /// it was then and can go on without this series. After any other error it cannot.
    pub fn add_series(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &[EncodedChunk<'_>],
    ) -> Result<(), TsdbError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let closed = || TsdbError::Invalid("the block writer has failed before".to_owned());
        let (index, files) = self.parts.as_mut().ok_or_else(closed)?;
        let meta =
            |c: &EncodedChunk<'_>| ChunkMeta { mint: c.mint, maxt: c.maxt, reference: u64::MAX };
        self.metas.clear();
        self.metas.extend(chunks.iter().map(meta));
        index.check(labels, &self.metas)?;
        let mut stats = self.meta.stats.clone();
        stats.num_series += 1;
        for chunk in chunks {
            let samples = chunk.encoding.num_samples(chunk.data);
            let none = || TsdbError::Invalid("a chunk has no header".to_owned());
            let samples = samples.ok_or_else(none)? as u64;
            stats.num_samples += samples;
            stats.num_chunks += 1;
            if chunk.encoding.is_float() {
                stats.num_float_samples += samples;
            } else {
                stats.num_histogram_samples += samples;
            }
        }
        let written = put(&*self.fs, index, files, labels, chunks, &mut self.metas);
        match written {
            Ok(()) => self.meta.stats = stats,
            Err(_) => self.parts = None,
        }
        written
    }

    /// Bytes of memory that it holds for the index.
    pub(crate) fn memory(&self) -> u64 {
        self.parts.as_ref().map_or(0, |(index, _)| index.memory())
    }

    /// Counts so far.
    #[must_use]
    pub const fn stats(&self) -> &BlockStats {
        &self.meta.stats
    }

    /// Syncs everything, gives the block its name and syncs that. Returns what `meta.json` says;
    /// `None`, and no block, where no series was added.
    ///
    /// # Errors
    /// The file system's; there is no block then.
    pub fn finish(mut self) -> Result<Option<BlockMeta>, TsdbError> {
        if self.meta.stats.num_series == 0 {
            return Ok(None);
        }
        let closed = || TsdbError::Invalid("the block writer has failed before".to_owned());
        let (index, chunks) = self.parts.take().ok_or_else(closed)?;
        chunks.finish(&*self.fs)?;
        index.finish()?;
        Tombstones::default().write(&*self.fs, &self.dir)?;
        self.meta.write(&*self.fs, &self.dir)?;
        Integrity::describe(&*self.fs, &self.dir)?.write(&*self.fs, &self.dir)?;
        let place = self.parent.join(self.meta.ulid.to_string());
        self.fs.sync_dir(&self.dir).map_err(TsdbError::io("sync", &self.dir))?;
        self.fs.rename(&self.dir, &place).map_err(TsdbError::io("rename", &self.dir))?;
        if let Err(e) = self.fs.sync_dir(&self.parent) {
            // Whether the name lasts is unknown, so take it back; dropping removes the rest.
            let _ = self.fs.rename(&place, &self.dir);
            return Err(TsdbError::io("sync", &self.parent)(e));
        }
        Ok(Some(self.meta.clone()))
    }
}

/// Writes the chunks of a series, then its entry.
fn put(
    fs: &dyn Fs,
    index: &mut IndexWriter,
    files: &mut ChunkWriter,
    labels: &[(u32, u32)],
    chunks: &[EncodedChunk<'_>],
    metas: &mut [ChunkMeta],
) -> Result<(), TsdbError> {
    for (chunk, meta) in chunks.iter().zip(&mut *metas) {
        meta.reference = files.add(fs, chunk)?;
    }
    index.add_series(labels, metas)
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        self.parts = None;
        // After `finish` there is nothing at this path. What cannot be removed now is removed at
        // the next start, by its suffix.
        if self.fs.exists(&self.dir).unwrap_or(false) {
            let _ = self.fs.remove_dir_all(&self.dir);
        }
    }
}
