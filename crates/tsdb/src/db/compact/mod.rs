//! Compacting blocks.

mod plan;
mod stale;
mod uploads;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use firesteel_model::Timestamp;

pub(super) use self::{plan::Rules, uploads::Uploads};
use super::{Db, Inner, TickStats, maintain::Maintenance};
use crate::{
    TsdbError,
    block::{Block, BlockMeta, Compaction, MergeTarget, Ulid, merge},
    sync::AtomicBool,
};

impl Db {
    /// Compacts blocks until none is to be compacted, without waiting for the next [`Db::tick`] that
    /// looks at them.
    ///
    /// # Errors
    /// The system's, or damage of a block; what was compacted before stays so.
    pub fn compact(&self, now: Timestamp) -> Result<TickStats, TsdbError> {
        let mut maintenance = self.0.maintenance.lock();
        let mut stats = TickStats::default();
        self.0.compact_blocks(&mut maintenance, now, &|| false, &mut stats)?;
        Ok(stats)
    }
}

impl Inner {
    /// Whether work that takes long is to be given up.
    fn gives_up(&self, stop: &dyn Fn() -> bool) -> bool {
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        stop() || is(&self.closing) || is(&self.stopping)
    }

    /// Compacts blocks as long as there is something to compact, unless the head is to be made
    /// into a block meanwhile.
    pub(super) fn compact_blocks(
        &self,
        care: &mut Maintenance,
        now: Timestamp,
        stop: &dyn Fn() -> bool,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let Some(dir) = &self.options.dir else { return Ok(()) };
        self.metrics.compactions_triggered.inc();
        while !self.head_is_due() && !self.gives_up(stop) {
            let planned = self.plan(care);
            if planned.is_empty() {
                break;
            }
            let compacted = self.compact_into_one(&planned, care, dir, now, stop, stats);
            if let Err(error) = compacted {
                if !matches!(error, TsdbError::Canceled) {
                    self.metrics.compactions_failed.inc();
                    tracing::error!(%error, "blocks could not be compacted");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// The blocks to compact next, in the order in which they are queried.
    fn plan(&self, care: &mut Maintenance) -> Vec<Arc<Block>> {
        let blocks = Arc::clone(&self.view.read().blocks);
        let mut metas: Vec<_> = blocks.iter().map(|b| (b.meta(), b)).collect();
        metas.sort_by_key(|(meta, _)| meta.ulid);
        // All that are younger than one that waits for its upload wait, too: there would be a hole.
        let held = metas.iter().position(|(meta, _)| self.waits_for_upload(care, meta));
        metas.truncate(held.unwrap_or(metas.len()));
        let plan = self.rules.plan(&metas.iter().map(|(meta, _)| &**meta).collect::<Vec<_>>());
        let mut planned: Vec<_> =
            plan.iter().filter_map(|&i| metas.get(i)).map(|(_, b)| Arc::clone(b)).collect();
        super::blocks::sort_blocks(&mut planned);
        planned
    }

    fn compact_into_one(
        &self,
        parents: &[Arc<Block>],
        care: &mut Maintenance,
        dir: &Path,
        now: Timestamp,
        stop: &dyn Fn() -> bool,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let metas: Vec<_> = parents.iter().map(|b| b.meta()).collect();
        let metas: Vec<&BlockMeta> = metas.iter().map(|m| &**m).collect();
        let min = metas.iter().map(|m| m.min_time).min().unwrap_or(0);
        let max = metas.iter().map(|m| m.max_time).max().unwrap_or(0);
        if overlap(&metas) {
            self.metrics.vertical_compactions.inc();
        }
        let compaction = Compaction::of_parents(&metas);
        let meta = BlockMeta::new(self.new_ulid(care, dir, now), min, max, compaction);
        let made = self.rewrite(parents, meta, dir, stop);
        if let Err(error @ (TsdbError::Corrupt { .. } | TsdbError::Invalid(_))) = &made {
            // It would fail for ever, and keep all others from being compacted.
            for parent in parents {
                if let Err(error) = parent.update_meta(|meta| meta.compaction.failed = true) {
                    tracing::error!(%error, "a block could not be marked as not to be compacted");
                }
            }
            tracing::error!(%error, "blocks are left out of compactions from now on");
        }
        self.exchange(parents, made?, care, stats)
    }

    /// Makes one block of some, measuring that.
    pub(super) fn rewrite(
        &self,
        parents: &[Arc<Block>],
        meta: BlockMeta,
        dir: &Path,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Arc<Block>>, TsdbError> {
        let clock = &self.options.clock;
        let (began, ulid) = (clock.monotonic(), meta.ulid);
        let stop = || self.gives_up(stop);
        let (fs, budget) = (&self.options.fs, &self.options.budget);
        let target = MergeTarget { fs, parent: dir, budget, stop: &stop };
        self.metrics.populating.set(1.0);
        let made = merge(parents, meta, &target);
        self.metrics.populating.set(0.0);
        let took = clock.monotonic().saturating_sub(began);
        self.metrics.compacted(took);
        let made = made?.map(|meta| self.open_made(dir, &meta)).transpose();
        if made.is_err() {
            // What cannot be opened must not replace what can.
            let _ = super::blocks::delete_dir(&**fs, dir, ulid);
        }
        let from = parents.len();
        tracing::info!(%ulid, from, seconds = took.as_secs_f64(), "blocks compacted");
        made
    }

    /// Takes a block in for its parents. Without one, nothing was left of them.
    pub(super) fn exchange(
        &self,
        parents: &[Arc<Block>],
        made: Option<Arc<Block>>,
        care: &mut Maintenance,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        match &made {
            Some(block) => stats.blocks_made.push(block.meta().ulid),
            None => {
                for parent in parents {
                    parent.update_meta(|meta| meta.compaction.deletable = true)?;
                }
            }
        }
        let gone: BTreeSet<Ulid> = parents.iter().map(|b| b.meta().ulid).collect();
        let replaced = self.replace_blocks(care, &gone, made, stats);
        self.measure_blocks();
        replaced
    }
}

/// Whether some of these overlap.
fn overlap(metas: &[&BlockMeta]) -> bool {
    let mut ranges: Vec<_> = metas.iter().map(|m| (m.min_time, m.max_time)).collect();
    ranges.sort_unstable();
    ranges.windows(2).any(|w| matches!(w, [a, b] if b.0 < a.1))
}
