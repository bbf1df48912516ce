//! What is kept. Rules: Prometheus `tsdb/db.go` (`BeyondTimeRetention`, `BeyondSizeRetention`).

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use firesteel_model::Timestamp;

use super::{Inner, TickStats, blocks::obsolete, late, maintain::Maintenance, open};
use crate::{TsdbError, block::Ulid, fs::Fs};

/// Blocks behind a gap of this many block ranges ...
const GAP: i64 = 12;
/// ... that cover less than this many say nothing about the age of the others.
const TRUSTED: i64 = 3;

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) time: Option<Duration>,
    pub(super) bytes: Option<u64>,
    /// Of the disk; prevails over `bytes`.
    pub(super) percentage: Option<f64>,
}

/// A block as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    ulid: Ulid,
    min: Timestamp,
    max: Timestamp,
    size: u64,
}

/// How many of the blocks, newest first, the time retention keeps. Age is counted from the newest
/// block's end and never by the clock.
///
/// Prometheus deletes everything once there is a block far in the future, as there is after the
/// clock of a target or its own has jumped. We do not count from a few blocks that lie apart from
/// all others until they cover some time: blocks of three ranges after a gap of twelve or more.
fn within_time(blocks: &[Kept], kept: i64, range: i64) -> usize {
    let newest = trusted_end(blocks, range);
    let old = |b: &Kept| newest.saturating_sub(b.max) >= kept;
    // The newest is always kept.
    blocks.iter().skip(1).position(old).map_or(blocks.len(), |n| n + 1)
}

/// From when age is counted.
fn trusted_end(blocks: &[Kept], range: i64) -> Timestamp {
    let mut end = blocks.first().map_or(0, |b| b.max);
    let (mut covered, mut start) = (0_i64, Timestamp::MAX);
    for block in blocks {
        let gap = start.saturating_sub(block.max);
        if start != Timestamp::MAX && gap >= range.saturating_mul(GAP) {
            if covered >= range.saturating_mul(TRUSTED) {
                return end;
            }
            (end, covered, start) = (block.max, 0, Timestamp::MAX);
        }
        let until = block.max.min(start);
        covered = covered.saturating_add(until.saturating_sub(block.min).max(0));
        start = start.min(block.min);
    }
    // The oldest of all are trusted whatever they cover, there being nothing else.
    end
}

/// How many of the blocks, newest first, fit a limit, of which `used` bytes are taken.
fn within_size(blocks: &[Kept], used: u64, limit: u64) -> usize {
    let mut total = used;
    let over = |b: &Kept| {
        total = total.saturating_add(b.size);
        total > limit
    };
    blocks.iter().position(over).unwrap_or(blocks.len())
}

/// Bytes of all files below a directory; what cannot be read counts nothing.
fn dir_size(fs: &dyn Fs, dir: &Path) -> u64 {
    let size = |entry: crate::fs::DirEntry| {
        let path = dir.join(&entry.name);
        if entry.is_dir { dir_size(fs, &path) } else { fs.metadata(&path).map_or(0, |m| m.len) }
    };
    fs.read_dir(dir).unwrap_or_default().into_iter().map(size).sum()
}

/// From when the age of samples is counted that are in memory alone. As with blocks, a jump far ahead
/// does not count until samples there have gone on for some time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trusted {
    /// Where samples have come to, jumps excepted.
    end: Option<Timestamp>,
    /// Where the jump went to.
    jump: Option<Timestamp>,
}

impl Trusted {
    fn look(&mut self, newest: Timestamp, range: i64) -> Timestamp {
        let end = self.end.unwrap_or(newest);
        if newest.saturating_sub(end) >= range.saturating_mul(GAP) {
            let began = *self.jump.get_or_insert(newest);
            if newest.saturating_sub(began) < range.saturating_mul(TRUSTED) {
                return end;
            }
        }
        *self = Self { end: Some(newest), jump: None };
        newest
    }
}

impl Inner {
    /// From when on the retention keeps samples in memory.
    fn kept_from(&self, trusted: &mut Trusted) -> Timestamp {
        let Some((_, newest)) = self.head.time_range() else { return Timestamp::MIN };
        let newest = trusted.look(newest, self.options.range_ms());
        match self.retention.lock().time {
            Some(kept) => {
                let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
                newest.saturating_sub(kept)
            }
            None => Timestamp::MIN,
        }
    }

    /// Without a directory there are no blocks: the head forgets what the retention does not allow.
    pub(super) fn forget_in_memory(&self, trusted: &mut Trusted, stats: &mut TickStats) {
        let from = self.kept_from(trusted);
        // In steps, as each goes over all series.
        let step = self.options.range_ms() / 4;
        if self.head.time_range().is_none_or(|(oldest, _)| from <= oldest.saturating_add(step)) {
            return;
        }
        self.head.raise_min_valid(from);
        let mut view = self.view.write();
        view.head_from = view.head_from.max(from);
        drop(view);
        self.head.truncate(from);
        self.head.forget_late(from);
        stats.series_removed += self.head.reclaim();
    }

    /// The limit of all files in bytes; `None` where there is none.
    fn size_limit(&self, dir: &Path) -> Option<u64> {
        let retention = *self.retention.lock();
        if let Some(percentage) = retention.percentage.filter(|p| *p > 0.0) {
            match self.options.fs.space(dir) {
                Ok(space) if space.total > 0 => {
                    return Some((space.total as f64 * percentage / 100.0) as u64);
                }
                _ => tracing::warn!(?dir, "size of the disk is unknown: no limit by percentage"),
            }
        }
        retention.bytes
    }

    /// Deletes blocks: those that are part of another, and those that the retention does not allow.
    pub(super) fn delete_blocks(
        &self,
        care: &mut Maintenance,
        stats: &mut TickStats,
    ) -> Result<(), TsdbError> {
        let Some(dir) = &self.options.dir else { return Ok(()) };
        let blocks = Arc::clone(&self.view.read().blocks);
        let mut gone = obsolete(&blocks);
        let mut left: Vec<Kept> = Vec::with_capacity(blocks.len());
        for block in blocks.iter() {
            let meta = block.meta();
            if !gone.contains(&meta.ulid) {
                let size = block.size().unwrap_or(0);
                left.push(Kept { ulid: meta.ulid, min: meta.min_time, max: meta.max_time, size });
            }
        }
        left.sort_by_key(|b| std::cmp::Reverse(b.max));
        let time = self.retention.lock().time.filter(|t| !t.is_zero());
        let mut keep = left.len();
        if let Some(time) = time {
            let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
            let n = within_time(&left, time, self.options.range_ms());
            if n < left.len() {
                self.metrics.time_retentions.inc();
            }
            keep = keep.min(n);
        }
        if let Some(limit) = self.size_limit(dir).filter(|l| *l > 0) {
            let n = within_size(&left, self.head_files_size(dir), limit);
            if n < left.len() {
                self.metrics.size_retentions.inc();
            }
            keep = keep.min(n);
        }
        gone.extend(left.drain(keep..).map(|b| b.ulid));
        let present: BTreeSet<Ulid> =
            blocks.iter().map(|b| b.meta().ulid).filter(|u| gone.contains(u)).collect();
        if present.is_empty() {
            self.measure_blocks();
            return self.empty_trash(care);
        }
        let deleted = self.replace_blocks(care, &present, None, stats);
        self.measure_blocks();
        deleted
    }

    /// Bytes of the logs and of the head's chunks, which count as data, too.
    fn head_files_size(&self, dir: &Path) -> u64 {
        let logs = [open::WAL_DIR, late::WBL_DIR].iter();
        let logs: u64 = logs.map(|log| dir_size(&*self.options.fs, &dir.join(log))).sum();
        logs + self.head.chunk_files().map_or(0, |files| files.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(ranges: &[(i64, i64)]) -> Vec<Kept> {
        let kept = |&(min, max): &(i64, i64)| Kept { ulid: Ulid::default(), min, max, size: 10 };
        ranges.iter().map(kept).collect()
    }

    #[test]
    fn age_counts_from_the_newest_block() {
        let days = blocks(&[(90, 100), (80, 90), (70, 80), (0, 70)]);
        for (kept, expected) in [(5, 1), (10, 1), (11, 2), (20, 2), (30, 3), (31, 4), (1000, 4)] {
            assert_eq!(within_time(&days, kept, 10), expected, "{kept}");
        }
        assert_eq!(within_time(&[], 5, 10), 0);
        assert_eq!(within_time(&days[..1], 0, 10), 1);
    }

    #[test]
    fn a_jump_of_the_clock_deletes_nothing() {
        let mut all = blocks(&[(90, 100), (80, 90), (70, 80), (60, 70)]);
        all.insert(0, blocks(&[(10_000, 10_010)])[0]);
        assert_eq!(within_time(&all, 50, 10), 5);
        all.insert(0, blocks(&[(10_010, 10_020)])[0]);
        assert_eq!(within_time(&all, 50, 10), 6);
        // Time goes on there: it was no jump, or it is none any more.
        all.insert(0, blocks(&[(10_020, 10_030)])[0]);
        assert_eq!(within_time(&all, 50, 10), 3);
        // Two jumps.
        let mut twice = blocks(&[(90_000, 90_010), (10_000, 10_010)]);
        twice.extend(blocks(&[(90, 100), (80, 90), (70, 80), (60, 70), (0, 10)]));
        assert_eq!(within_time(&twice, 50, 10), 6);
    }

    #[test]
    fn a_jump_in_memory_counts_once_time_goes_on_there() {
        let mut trusted = Trusted::default();
        for (newest, expected) in [
            (100, 100),
            (219, 219),
            (10_000, 219),
            (10_029, 219),
            (10_030, 10_030),
            (10_040, 10_040),
            (90_000, 10_040),
        ] {
            assert_eq!(trusted.look(newest, 10), expected, "{newest}");
        }
    }

    #[test]
    fn sizes_add_up_from_the_newest() {
        let all = blocks(&[(20, 30), (10, 20), (0, 10)]);
        for (used, limit, expected) in [(0, 30, 3), (0, 29, 2), (5, 30, 2), (30, 30, 0), (0, 9, 0)]
        {
            assert_eq!(within_size(&all, used, limit), expected, "{used} of {limit}");
        }
        assert_eq!(within_size(&all, u64::MAX, u64::MAX), 3);
    }
}
