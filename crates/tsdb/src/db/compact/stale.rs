//! Series that went stale are put into blocks of their own and taken out of the head before its
//! time. Rules: Prometheus `tsdb/db.go` (`CompactStaleHead`).

use std::{path::Path, time::Duration};

use firesteel_model::Timestamp;

use super::super::{
    Inner, TickStats,
    maintain::Maintenance,
    to_block::{self, Source},
};
use crate::{
    TsdbError,
    block::{BlockMeta, Compaction},
    head::Ended,
};

/// Not worth it if the head is made into a block within this time.
const SOON: Duration = Duration::from_secs(600);

impl Inner {
    /// Takes stale series out of the head if there are many.
    pub(in crate::db) fn compact_stale(
        &self,
        care: &mut Maintenance,
        now: Timestamp,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let threshold = *self.stale_series_threshold.lock();
        let Some(dir) = self.options.dir.as_deref().filter(|_| threshold > 0.0) else {
            return Ok(());
        };
        let began = self.options.clock.monotonic();
        let next = care.head_compacted.map(|at| at + self.options.block_range);
        if next.is_some_and(|next| began + SOON > next) {
            return Ok(());
        }
        let ended = self.head.stale_series();
        let share = ended.len() as f64 / self.head.num_series().max(1) as f64;
        if ended.is_empty() || share < threshold {
            return Ok(());
        }
        self.metrics.stale_compactions.inc();
        tracing::info!(series = ended.len(), "stale series leave the head");
        if let Err(error) = self.write_ended(&ended, care, dir, now, stats) {
            self.metrics.stale_compactions_failed.inc();
            return Err(error);
        }
        stats.series_removed += self.head.evict(ended);
        let took = self.options.clock.monotonic().saturating_sub(began);
        self.metrics.stale_compaction_seconds.observe(took.as_secs_f64());
        Ok(())
    }

    /// Makes blocks of all that some series have in the head, one for each range.
    fn write_ended(
        &self,
        ended: &[Ended],
        care: &mut Maintenance,
        dir: &Path,
        now: Timestamp,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let range = self.options.range_ms();
        let only = ended.iter().map(|e| e.id).collect();
        let Some((oldest, newest)) = self.head.time_range() else { return Ok(()) };
        let mut start = oldest.div_euclid(range).saturating_mul(range);
        while start <= newest {
            let end = start.saturating_add(range);
            let ulid = self.new_ulid(care, dir, now);
            let mut compaction = Compaction::first_level(ulid);
            compaction.hints.push(BlockMeta::STALE_SERIES.to_owned());
            let meta = BlockMeta::new(ulid, start, end, compaction);
            let began = self.options.clock.monotonic();
            let fs = self.options.fs.clone();
            let made =
                to_block::write(&self.head, Source::Of(&only), fs, dir, meta, &self.options.events);
            self.metrics.compacted(self.options.clock.monotonic().saturating_sub(began));
            if let Some(meta) = made? {
                let block = self.open_made(dir, &meta)?;
                stats.blocks_made.push(meta.ulid);
                self.replace_blocks(care, &std::collections::BTreeSet::new(), Some(block), stats)?;
            }
            if end == start {
                break;
            }
            start = end;
        }
        Ok(())
    }
}
