//! An existing block.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use firesteel_model::storage::{Querier, Queryable, StorageError};
use parking_lot::{Mutex, RwLock};

use super::{
    BlockMeta, CHUNKS_DIR, INDEX_FILE, META_FILE, TOMBSTONES_FILE, Tombstones, chunks::ChunkFiles,
    querier::BlockQuerier,
};
use crate::{
    TsdbError,
    decoded::{DecodedChunks, DecodedSource},
    fs::Fs,
    index::IndexReader,
};

/// A block, open for reading. Its files are opened when they are first needed and stay open; a
/// block that is removed meanwhile can still be read to the end.
#[derive(Debug)]
pub struct Block {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    meta: RwLock<Arc<BlockMeta>>,
    tombstones: RwLock<Arc<Tombstones>>,
    files: Mutex<Option<Arc<Files>>>,
    decoded: Option<Arc<DecodedChunks>>,
    size: OnceLock<u64>,
}

/// The open files of a block.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) index: IndexReader,
    pub(super) chunks: ChunkFiles,
    /// Where its chunks are kept that are read again and again.
    pub(super) decoded: Option<DecodedSource>,
}

impl Files {
    /// What a query has to be told.
    pub(super) fn warning(&self) -> Option<String> {
        let n = self.chunks.damaged();
        let index = self.index.source().path();
        let dir = index.parent().unwrap_or(index).display();
        (n > 0).then(|| format!("{n} damaged chunks of block {dir} are left out"))
    }
}

impl Block {
    /// Opens the block in `dir`: reads `meta.json` and the tombstones.
    ///
    /// # Errors
    /// One of these is missing (tombstones need not be there) or damaged.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self, TsdbError> {
        let meta = BlockMeta::read(&*fs, dir)?;
        let tombstones = Tombstones::read(&*fs, dir)?;
        Ok(Self {
            fs,
            dir: dir.to_owned(),
            meta: RwLock::new(Arc::new(meta)),
            tombstones: RwLock::new(Arc::new(tombstones)),
            files: Mutex::new(None),
            decoded: None,
            size: OnceLock::new(),
        })
    }

    /// Has it keep chunks there that are read again and again.
    #[must_use]
    pub(crate) fn keeping(mut self, decoded: Option<&Arc<DecodedChunks>>) -> Self {
        self.decoded = decoded.cloned();
        self
    }

    /// What it is.
    #[must_use]
    pub fn meta(&self) -> Arc<BlockMeta> {
        Arc::clone(&self.meta.read())
    }

    /// Changes what `meta.json` says, on disk and then here.
    ///
    /// # Errors
    /// The file system's; nothing has changed then.
    pub(crate) fn update_meta(&self, change: impl FnOnce(&mut BlockMeta)) -> Result<(), TsdbError> {
        let mut meta = (*self.meta()).clone();
        change(&mut meta);
        meta.write(&*self.fs, &self.dir)?;
        *self.meta.write() = Arc::new(meta);
        Ok(())
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its deleted intervals, by series number in its index.
    #[must_use]
    pub fn tombstones(&self) -> Arc<Tombstones> {
        Arc::clone(&self.tombstones.read())
    }

    /// Replaces the deleted intervals, on disk and then for queriers to come, and their number in
    /// `meta.json`, by which compaction plans.
    ///
    /// # Errors
    /// The file system's. Where only the number could not be written the intervals are in force.
    pub fn set_tombstones(&self, tombstones: Tombstones) -> Result<(), TsdbError> {
        tombstones.write(&*self.fs, &self.dir)?;
        let count = tombstones.len() as u64;
        *self.tombstones.write() = Arc::new(tombstones);
        self.update_meta(|meta| meta.stats.num_tombstones = count)
    }

    /// Opens index and chunk files, if that has not been done yet. The symbol table and the
    /// postings offset table are checked; the rest is when it is read.
    ///
    /// # Errors
    /// They are missing or damaged.
    pub fn load(&self) -> Result<(), TsdbError> {
        self.files().map(|_| ())
    }

    pub(super) fn files(&self) -> Result<Arc<Files>, TsdbError> {
        let mut files = self.files.lock();
        if let Some(files) = &*files {
            return Ok(Arc::clone(files));
        }
        let index = IndexReader::open(&*self.fs, &self.dir.join(INDEX_FILE))?;
        let chunks = ChunkFiles::open(&*self.fs, &self.dir.join(CHUNKS_DIR))?;
        let decoded = self.decoded.as_ref().map(DecodedChunks::source);
        let opened = Arc::new(Files { index, chunks, decoded });
        *files = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Damage of the index that reading it has met so far: offset and what was found.
    #[must_use]
    pub fn index_damage(&self) -> Option<(u64, String)> {
        let files = self.files.lock();
        files.as_ref().and_then(|f| f.index.source().damage().into_iter().next())
    }

    /// Number of damaged places that reading chunks has met so far.
    #[must_use]
    pub fn damaged_chunks(&self) -> usize {
        self.files.lock().as_ref().map_or(0, |f| f.chunks.damaged())
    }

    /// Has queries leave a chunk out that was found damaged by other means.
    pub(crate) fn note_damaged_chunk(&self, path: &Path, offset: u64, what: &str) {
        if let Ok(files) = self.files() {
            files.chunks.note_damage(path, offset, what);
        }
    }

    /// Looks at the beginnings and ends of the files, which is cheap: magic numbers, versions,
    /// table of contents. What else is damaged is found when it is needed.
    ///
    /// # Errors
    /// They are missing or damaged.
    pub fn probe(&self) -> Result<(), TsdbError> {
        IndexReader::probe(&*self.fs, &self.dir.join(INDEX_FILE))?;
        ChunkFiles::open(&*self.fs, &self.dir.join(CHUNKS_DIR)).map(|_| ())
    }

    /// Bytes of all its files, `meta.json` and tombstones included.
    ///
    /// # Errors
    /// The file system's.
    pub fn size(&self) -> Result<u64, TsdbError> {
        let small = [META_FILE, TOMBSTONES_FILE].iter();
        let small = small.filter_map(|name| self.fs.metadata(&self.dir.join(name)).ok());
        let small: u64 = small.map(|m| m.len).sum();
        if let Some(&size) = self.size.get() {
            return Ok(size + small);
        }
        let len = |path: &Path| {
            self.fs.metadata(path).map(|m| m.len).map_err(TsdbError::io("stat", path))
        };
        let chunks = self.dir.join(CHUNKS_DIR);
        let mut size = len(&self.dir.join(INDEX_FILE))?;
        for entry in self.fs.read_dir(&chunks).map_err(TsdbError::io("list", &chunks))? {
            size += len(&chunks.join(entry.name))?;
        }
        Ok(*self.size.get_or_init(|| size) + small)
    }

    /// Whether it may have samples between `mint` and `maxt`, both inclusive.
    #[must_use]
    pub fn overlaps(&self, mint: i64, maxt: i64) -> bool {
        let meta = self.meta.read();
        meta.min_time <= maxt && mint < meta.max_time
    }

    /// As [`Queryable::querier`].
    pub(crate) fn querier_between(
        &self,
        mint: i64,
        maxt: i64,
    ) -> Result<Arc<dyn Querier>, TsdbError> {
        let files = self.files()?;
        // What a chunk has outside of the block's range belongs to another block.
        let meta = self.meta();
        let mint = mint.max(meta.min_time);
        let maxt = maxt.min(meta.max_time.saturating_sub(1));
        Ok(Arc::new(BlockQuerier::new(files, self.tombstones(), mint, maxt)))
    }
}

impl Queryable for Block {
    fn querier(&self, mint: i64, maxt: i64) -> Result<Arc<dyn Querier>, StorageError> {
        Ok(self.querier_between(mint, maxt)?)
    }
}
