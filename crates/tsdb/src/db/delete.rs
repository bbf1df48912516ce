//! Deleting series, and what was deleted.

use std::sync::Arc;

use firesteel_model::{Matcher, Timestamp};

use super::{Db, Inner, TickStats, maintain::Maintenance};
use crate::{
    TsdbError,
    block::{Block, BlockMeta, Compaction},
};

impl Db {
    /// Deletes the samples between two times, both inclusive, that the series which satisfy all
    /// matchers have now. Queries that begin later do not see them; the space is free when their
    /// blocks are compacted, or after [`Db::clean_tombstones`]. Waits for a compaction that is
    /// under way.
    ///
    /// # Errors
    /// Damage, or the system's. Some blocks may have been done then; trying again does the rest.
    pub fn delete(
        &self,
        matchers: &[Matcher],
        mint: Timestamp,
        maxt: Timestamp,
    ) -> Result<(), TsdbError> {
        let inner = &self.0;
        let mut care = inner.maintenance.lock();
        inner.ready()?;
        // They have no log that tombstones could go to, so they must be in blocks.
        inner.compact_late(&mut care, inner.options.clock.now(), &mut TickStats::default())?;
        if inner.head.delete(matchers, mint, maxt)? > 0 {
            // Samples may be lost with the power, but what was deleted must not come back.
            inner.sync_wal()?;
        }
        let blocks = Arc::clone(&inner.view.read().blocks);
        for block in blocks.iter().filter(|b| b.overlaps(mint, maxt)) {
            block.delete(matchers, mint, maxt)?;
        }
        Ok(())
    }

    /// Writes the blocks of which something is deleted anew, without that; blocks of which nothing
    /// is left are removed.
    ///
    /// The newest block stays as it is even if nothing is left of it: its end says up to where
    /// samples in the log count as moved to blocks. Without it they would be back after a restart.
    ///
    /// # Errors
    /// Damage, or the system's. What was done stays done.
    pub fn clean_tombstones(&self) -> Result<(), TsdbError> {
        let inner = &self.0;
        let mut care = inner.maintenance.lock();
        let began = inner.options.clock.monotonic();
        let cleaned = inner.clean_tombstones(&mut care);
        let took = inner.options.clock.monotonic().saturating_sub(began);
        inner.metrics.tombstone_cleanup_seconds.observe(took.as_secs_f64());
        cleaned
    }
}

/// Whether a block ends where the head begins.
fn is_newest(blocks: &[Arc<Block>], block: &BlockMeta) -> bool {
    let in_order = |b: &Arc<Block>| Some(b.meta()).filter(|m| m.compaction.hints.is_empty());
    let later = |m: &Arc<BlockMeta>| m.ulid != block.ulid && m.max_time >= block.max_time;
    block.compaction.hints.is_empty() && !blocks.iter().filter_map(in_order).any(|m| later(&m))
}

impl Inner {
    fn clean_tombstones(&self, care: &mut Maintenance) -> Result<(), TsdbError> {
        let Some(dir) = &self.options.dir else { return Ok(()) };
        let blocks = Arc::clone(&self.view.read().blocks);
        for block in blocks.iter().filter(|b| !b.tombstones().is_empty()) {
            let old = block.meta();
            let ulid = self.new_ulid(care, dir, self.options.clock.now());
            let compaction = Compaction::of_rewritten(ulid, &old);
            let meta = BlockMeta::new(ulid, old.min_time, old.max_time, compaction);
            let parents = [Arc::clone(block)];
            let made = self.rewrite(&parents, meta, dir, &|| false)?;
            if made.is_none() && is_newest(&self.view.read().blocks, &old) {
                continue;
            }
            self.exchange(&parents, made, care, &mut TickStats::default())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering, time::Duration};

    use firesteel_model::{
        Labels, Value,
        storage::{AppendOptions, Appendable, SeriesKey},
    };

    use super::*;
    use crate::fs::SimFs;

    #[test]
    fn cleaning_is_given_up_while_maintenance_is_stopped() {
        let range = Duration::from_millis(1000);
        let db = Db::builder("/data").fs(Arc::new(SimFs::new())).block_range(range).retention(None);
        let db = db.open().unwrap();
        let labels = Labels::from_pairs([("__name__", "m")]);
        for t in 0..60 {
            let mut appender = db.appender();
            let (key, value) = (SeriesKey::Labels(&labels), Value::Float(1.0));
            appender.append(key, t * 100, value, &AppendOptions::default()).unwrap();
            appender.commit().unwrap();
        }
        db.flush_full_ranges(0).unwrap();
        db.delete(&[], 300, 500).unwrap();
        db.0.stopping.store(true, Ordering::Release);
        assert!(matches!(db.clean_tombstones(), Err(TsdbError::Canceled)));
        db.0.stopping.store(false, Ordering::Release);
        let before = db.blocks();
        db.clean_tombstones().unwrap();
        assert_ne!(before[0].ulid, db.blocks()[0].ulid);
    }
}
