//! Making blocks of late samples.

use std::{path::Path, sync::Arc};

use firesteel_model::Timestamp;

use super::HINT;
use crate::{
    TsdbError,
    block::{Block, BlockMeta, Compaction},
    db::{
        Inner,
        blocks::sort_blocks,
        maintain::{Maintenance, TickStats, range_end},
        to_block::{self, Source},
    },
    head::{Frozen, remove_out_of_order},
};

/// Late samples are made into blocks when their log has this many bytes, even if nothing else is.
const MAX_LOG: u64 = 256 << 20;

impl Inner {
    /// Makes blocks of the late samples if that cannot wait until a block is made of the others.
    pub(in crate::db) fn compact_urgent_late(
        &self,
        maintenance: &mut Maintenance,
        now: Timestamp,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        self.finish_late(maintenance)?;
        let large = self.head.with_wbl(|wbl| wbl.size()).unwrap_or(0) >= MAX_LOG;
        if large || self.head.wbl_is_behind() {
            self.compact_late(maintenance, now, stats)?;
        }
        Ok(())
    }

    /// Makes blocks of the late samples that there are, one per aligned range, and has the head and
    /// the out-of-order log forget them. What comes meanwhile waits for the next time.
    pub(in crate::db) fn compact_late(
        &self,
        maintenance: &mut Maintenance,
        now: Timestamp,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let Some(dir) = &self.options.dir else { return Ok(()) };
        let Some((oldest, newest)) = self.head.late_range() else { return Ok(()) };
        let behind = self.head.wbl_is_behind();
        let Some(frozen) = self.head.freeze_late() else { return Ok(()) };
        let mut made = Vec::new();
        let range = (oldest, newest);
        // Else a power cut could leave half of a batch: this one, in blocks.
        let result = self
            .sync_wal()
            .and_then(|()| self.make_late_blocks(frozen, range, &mut made, maintenance, dir, now));
        if let Err(error) = result {
            // All or none, or those that were made would be made again.
            for block in made {
                let _ = self.options.fs.remove_dir_all(block.dir());
            }
            if behind {
                self.head.set_wbl_behind();
            }
            return Err(error);
        }
        stats.blocks_made.extend(made.iter().map(|b| b.meta().ulid));
        let mut view = self.view.write();
        let mut blocks = view.blocks.to_vec();
        blocks.extend(made);
        sort_blocks(&mut blocks);
        view.blocks = Arc::new(blocks);
        drop(view);
        // Readers find them in blocks from here on; what follows saves doing it again.
        self.head.release_late(frozen);
        stats.series_removed += self.head.reclaim();
        maintenance.late_done = Some(frozen);
        self.finish_late(maintenance)
    }

    /// Removes from disk what blocks were made of.
    fn finish_late(&self, maintenance: &mut Maintenance) -> Result<(), TsdbError> {
        let (Some(frozen), Some(dir)) = (maintenance.late_done, &self.options.dir) else {
            return Ok(());
        };
        if maintenance.late_chunks {
            remove_out_of_order(&*self.options.fs, dir)?;
            maintenance.late_chunks = false;
        }
        self.head.log_done(frozen)?;
        self.sync_wbl()?;
        self.head.remove_done(frozen)?;
        maintenance.late_done = None;
        Ok(())
    }

    fn make_late_blocks(
        &self,
        frozen: Frozen,
        (oldest, newest): (Timestamp, Timestamp),
        made: &mut Vec<Arc<Block>>,
        maintenance: &mut Maintenance,
        dir: &Path,
        now: Timestamp,
    ) -> Result<(), TsdbError> {
        let range = self.options.range_ms();
        let mut next = Some(oldest);
        while let Some(oldest) = next.filter(|&t| t <= newest) {
            let (start, end) =
                (oldest.div_euclid(range).saturating_mul(range), range_end(oldest, range));
            let ulid = self.new_ulid(maintenance, dir, now);
            let mut compaction = Compaction::first_level(ulid);
            compaction.hints.push(HINT.to_owned());
            let meta = BlockMeta::new(ulid, start, end, compaction);
            let source = Source::Late(frozen.generation);
            let fs = Arc::clone(&self.options.fs);
            let began = self.options.clock.monotonic();
            let written = to_block::write(&self.head, source, fs, dir, meta, &self.options.events);
            self.metrics.compacted(self.options.clock.monotonic().saturating_sub(began));
            if let Some(meta) = written? {
                made.push(self.open_made(dir, &meta)?);
            }
            // Gaps may be of years.
            next = self.head.oldest_late(end, frozen.generation).filter(|&t| t >= end);
        }
        Ok(())
    }
}
