//! Which blocks there are: taking new ones in, and old ones out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Inner, TickStats,
    maintain::{Maintenance, note},
    open::describe,
};
use crate::{
    TsdbError,
    block::{Block, BlockMeta, TMP_DELETION_SUFFIX, Ulid},
    fs::Fs,
};

/// Blocks in the order in which they are queried.
pub(super) fn sort_blocks(blocks: &mut [Arc<Block>]) {
    blocks.sort_by_cached_key(|b| {
        let meta = b.meta();
        (meta.min_time, meta.max_time, meta.ulid)
    });
}

/// The blocks that are not needed: part of another one, or emptied.
pub(super) fn obsolete(blocks: &[Arc<Block>]) -> BTreeSet<Ulid> {
    let mut gone = BTreeSet::new();
    for meta in blocks.iter().map(|b| b.meta()) {
        gone.extend(meta.compaction.parents.iter().map(|p| p.ulid));
        if meta.compaction.deletable {
            gone.insert(meta.ulid);
        }
    }
    gone
}

/// Deletes a block's directory, so that a crash on the way leaves nothing that looks like a block.
pub(super) fn delete_dir(fs: &dyn Fs, dir: &Path, ulid: Ulid) -> Result<(), TsdbError> {
    let (place, tmp) =
        (dir.join(ulid.to_string()), dir.join(format!("{ulid}{TMP_DELETION_SUFFIX}")));
    if fs.exists(&place).map_err(TsdbError::io("look for", &place))? {
        fs.rename(&place, &tmp).map_err(TsdbError::io("rename", &place))?;
        // The new name must last before the first file goes.
        fs.sync_dir(dir).map_err(TsdbError::io("sync", dir))?;
    }
    if fs.exists(&tmp).map_err(TsdbError::io("look for", &tmp))? {
        fs.remove_dir_all(&tmp).map_err(TsdbError::io("remove", &tmp))?;
    }
    Ok(())
}

impl Inner {
    fn open_block(&self, path: &Path) -> Result<Block, TsdbError> {
        let block = Block::open(Arc::clone(&self.options.fs), path)?;
        let block = block.keeping(self.options.decoded.as_ref());
        block.load()?;
        Ok(block)
    }

    /// Opens a block that was just made.
    pub(super) fn open_made(&self, dir: &Path, meta: &BlockMeta) -> Result<Arc<Block>, TsdbError> {
        let path = dir.join(meta.ulid.to_string());
        let block = self.open_block(&path)?;
        Ok(Arc::new(block))
    }

    /// A name that no block has, nor had: a block that another one names as its parent would be
    /// deleted.
    pub(super) fn new_ulid(&self, care: &mut Maintenance, dir: &Path, now: i64) -> Ulid {
        let blocks = Arc::clone(&self.view.read().blocks);
        loop {
            let ulid = Ulid::generate(now, &mut care.rng);
            let named = blocks.iter().any(|b| {
                let compaction = &b.meta().compaction;
                compaction.parents.iter().any(|p| p.ulid == ulid)
                    || compaction.sources.contains(&ulid)
            });
            if !named && !self.options.fs.exists(&dir.join(ulid.to_string())).unwrap_or(false) {
                return ulid;
            }
        }
    }

    /// Takes a block in for what it replaces, and then deletes that. Queries that have it still
    /// read it to the end.
    pub(super) fn replace_blocks(
        &self,
        care: &mut Maintenance,
        gone: &BTreeSet<Ulid>,
        made: Option<Arc<Block>>,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let mut view = self.view.write();
        let mut blocks: Vec<_> =
            view.blocks.iter().filter(|b| !gone.contains(&b.meta().ulid)).cloned().collect();
        let before = view.blocks.len();
        let removed = before - blocks.len();
        blocks.extend(made);
        sort_blocks(&mut blocks);
        view.blocks = Arc::new(blocks);
        drop(view);
        if removed > 0 {
            stats.blocks_deleted.extend(gone);
        }
        care.trash.extend(gone);
        self.empty_trash(care)
    }

    /// Deletes the directories of blocks that are out of use. What fails is tried again.
    pub(super) fn empty_trash(&self, care: &mut Maintenance) -> Result<(), TsdbError> {
        let Some(dir) = &self.options.dir else { return Ok(()) };
        let mut failed = None;
        care.trash.retain(|&ulid| {
            let deleted = delete_dir(&*self.options.fs, dir, ulid);
            let left = deleted.is_err();
            note(&mut failed, deleted);
            left
        });
        failed.map_or(Ok(()), Err)
    }

    /// Takes in blocks that were put into the directory, and forgets those that were taken out of
    /// it. What cannot be opened, perhaps because it is still being copied, is left alone.
    pub(super) fn reload_blocks(&self, care: &mut Maintenance) -> Result<(), TsdbError> {
        let Some(dir) = &self.options.dir else { return Ok(()) };
        self.metrics.reloads.inc();
        let fs = &self.options.fs;
        let listed = fs.read_dir(dir).map_err(TsdbError::io("list", dir)).inspect_err(|_| {
            self.metrics.reloads_failed.inc();
        })?;
        let found = listed.iter().filter(|e| e.is_dir).filter_map(|e| e.name.parse::<Ulid>().ok());
        let found: BTreeSet<Ulid> = found.filter(|u| !care.trash.contains(u)).collect();
        let known: BTreeMap<Ulid, Arc<Block>> =
            self.view.read().blocks.iter().map(|b| (b.meta().ulid, Arc::clone(b))).collect();
        let mut new = Vec::new();
        for ulid in found.iter().filter(|u| !known.contains_key(u)) {
            let path = dir.join(ulid.to_string());
            match self.open_block(&path) {
                Ok(block) if block.meta().ulid == *ulid => {
                    care.unreadable.remove(ulid);
                    new.push(Arc::new(block));
                }
                Ok(_) => {}
                Err(error) => {
                    self.metrics.reloads_failed.inc();
                    if care.unreadable.insert(*ulid) {
                        tracing::warn!(%ulid, error = describe(&error), "block not taken in");
                    }
                }
            }
        }
        let gone: Vec<Ulid> = known.keys().filter(|u| !found.contains(u)).copied().collect();
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let mut view = self.view.write();
        let mut blocks: Vec<_> =
            view.blocks.iter().filter(|b| !gone.contains(&b.meta().ulid)).cloned().collect();
        blocks.extend(new);
        sort_blocks(&mut blocks);
        view.blocks = Arc::new(blocks);
        Ok(())
    }

    /// Measures all blocks; those that cannot be measured count nothing.
    pub(super) fn measure_blocks(&self) {
        let bytes: u64 = self.view.read().blocks.iter().map(|b| b.size().unwrap_or(0)).sum();
        self.block_bytes.store(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}
