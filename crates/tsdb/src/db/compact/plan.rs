//! Which blocks are compacted next. Rules: Prometheus `tsdb/compact.go` (`plan`).

use crate::block::BlockMeta;

/// A block with more than this share of deleted intervals per series is written anew.
const MANY_TOMBSTONES: f64 = 0.05;
/// The steps of block lengths: each three times the one before.
const STEP: i64 = 3;
const MAX_RANGES: usize = 10;

/// What decides about a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::db) struct Rules {
    /// Lengths of blocks, milliseconds, ascending; the first is that of a block from the head.
    pub(in crate::db) ranges: Vec<i64>,
    /// Whether overlapping blocks are merged.
    pub(in crate::db) overlapping: bool,
}

impl Rules {
    /// Blocks of `min` and of three, nine, ... times that, up to `max` milliseconds.
    pub(in crate::db) fn new(min: i64, max: i64, overlapping: bool) -> Self {
        let longer = |range: &i64| range.checked_mul(STEP);
        let ranges = std::iter::successors(Some(min.max(1)), longer).take(MAX_RANGES);
        let mut ranges: Vec<i64> = ranges.take_while(|&r| r <= max).collect();
        if ranges.is_empty() {
            ranges.push(min.max(1));
        }
        Self { ranges, overlapping }
    }

    /// The blocks to compact into one, as places in `blocks`; none where all is as it should be.
    ///
    /// What a block in order says by its end, that all samples before it are in blocks, others do
    /// not say: those of series that were taken out of the head early, and those of late samples
    /// that reach beyond where the head begins. Mixed with others they would seem to say it, and
    /// what only the log has would be passed over at the next start. So they stay among themselves,
    /// late samples until a block in order ends with them.
    pub(in crate::db) fn plan(&self, blocks: &[&BlockMeta]) -> Vec<usize> {
        let in_order = blocks.iter().filter(|b| b.compaction.hints.is_empty());
        let head_from = in_order.map(|b| b.max_time).max().unwrap_or(i64::MIN);
        let class = |meta: &BlockMeta| {
            let has = |hint| meta.compaction.has_hint(hint);
            match () {
                () if has(BlockMeta::STALE_SERIES) => 1,
                () if has(BlockMeta::SELECTED_SERIES) => 2,
                () if has(BlockMeta::OUT_OF_ORDER) && meta.max_time > head_from => 3,
                () => 0,
            }
        };
        let found = (0..4_u8).map(|wanted| {
            let of_class = |i: &usize| blocks.get(*i).is_some_and(|b| class(b) == wanted);
            let mut places: Vec<usize> = (0..blocks.len()).filter(of_class).collect();
            places.sort_by_key(|&i| blocks.get(i).map(|b| b.min_time));
            self.plan_class(&places, blocks)
        });
        found.into_iter().find(|plan| !plan.is_empty()).unwrap_or_default()
    }

    /// `places` are in order of the blocks' beginnings.
    fn plan_class(&self, places: &[usize], all: &[&BlockMeta]) -> Vec<usize> {
        let blocks: Vec<&BlockMeta> = places.iter().filter_map(|&i| all.get(i).copied()).collect();
        let in_all = |plan: std::ops::Range<usize>| places.get(plan).unwrap_or_default().to_vec();
        let overlapping = self.overlapping.then(|| overlap(&blocks)).flatten();
        if let Some(plan) = overlapping {
            return in_all(plan);
        }
        // The newest stays as it is, so that there is time to copy it away.
        let Some((_, older)) = blocks.split_last() else { return Vec::new() };
        let plan = self.level_up(older).or_else(|| self.clean(older));
        plan.map(in_all).unwrap_or_default()
    }

    /// Blocks that make a longer one together.
    fn level_up(&self, blocks: &[&BlockMeta]) -> Option<std::ops::Range<usize>> {
        let newest = blocks.last()?.min_time;
        for &range in self.ranges.get(1..).unwrap_or_default() {
            for part in split(blocks, range) {
                let group = blocks.get(part.clone()).unwrap_or_default();
                let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
                let full = last.max_time.checked_sub(first.min_time) == Some(range);
                let failed = group.iter().any(|b| b.compaction.failed);
                // Not before it is full, unless nothing more can come into it.
                if !failed && group.len() > 1 && (full || last.max_time <= newest) {
                    return Some(part);
                }
            }
        }
        None
    }

    /// A block, the newest first, of which much is deleted: of the longer ones if it is more than a
    /// little, of a short one if it is everything.
    fn clean(&self, blocks: &[&BlockMeta]) -> Option<std::ops::Range<usize>> {
        let long = *self.ranges.get(self.ranges.len() / 2)?;
        for (i, block) in blocks.iter().enumerate().rev() {
            let (stones, series) = (block.stats.num_tombstones, block.stats.num_series);
            if block.max_time.saturating_sub(block.min_time) < long {
                return (stones > 0 && stones >= series).then_some(i..i + 1);
            }
            if stones as f64 / (series as f64 + 1.0) > MANY_TOMBSTONES {
                return Some(i..i + 1);
            }
        }
        None
    }
}

/// The first blocks in a row that overlap. As in Prometheus, of those before the first overlap only
/// the direct neighbour is taken.
fn overlap(blocks: &[&BlockMeta]) -> Option<std::ops::Range<usize>> {
    let mut end = blocks.first()?.max_time;
    let mut found: Option<std::ops::Range<usize>> = None;
    for (i, block) in blocks.iter().enumerate().skip(1) {
        if block.min_time < end {
            found = Some(found.map_or(i - 1, |f| f.start)..i + 1);
        } else if found.is_some() {
            break;
        }
        end = end.max(block.max_time);
    }
    found
}

/// Groups of blocks that lie in the same aligned stretch of `range` milliseconds each.
fn split(blocks: &[&BlockMeta], range: i64) -> Vec<std::ops::Range<usize>> {
    let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
    let mut i = 0;
    while let Some(first) = blocks.get(i) {
        let start = first.min_time.div_euclid(range).saturating_mul(range);
        let end = start.saturating_add(range);
        let rest = blocks.get(i..).unwrap_or_default();
        let n = rest.iter().take_while(|b| b.max_time <= end).count();
        if n > 0 {
            groups.push(i..i + n);
        }
        // One that does not fit belongs to no group.
        i += n.max(1);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Compaction, Ulid};

    fn block(min: i64, max: i64) -> BlockMeta {
        let ulid = Ulid::generate(min, &mut fastrand::Rng::with_seed(max as u64));
        BlockMeta::new(ulid, min, max, Compaction::first_level(ulid))
    }

    fn stones(min: i64, max: i64, series: u64, stones: u64) -> BlockMeta {
        let mut meta = block(min, max);
        meta.stats.num_series = series;
        meta.stats.num_tombstones = stones;
        meta
    }

    fn hinted(min: i64, max: i64, hint: &str) -> BlockMeta {
        let mut meta = block(min, max);
        meta.compaction.hints.push(hint.to_owned());
        meta
    }

    fn failed(min: i64, max: i64) -> BlockMeta {
        let mut meta = block(min, max);
        meta.compaction.failed = true;
        meta
    }

    /// The ranges of the blocks that a plan picks.
    fn plan(blocks: &[BlockMeta]) -> Vec<(i64, i64)> {
        let rules = Rules { ranges: vec![20, 60, 180, 540, 1620], overlapping: true };
        let metas: Vec<&BlockMeta> = blocks.iter().collect();
        rules.plan(&metas).iter().map(|&i| (blocks[i].min_time, blocks[i].max_time)).collect()
    }

    fn blocks(ranges: &[(i64, i64)]) -> Vec<BlockMeta> {
        ranges.iter().map(|&(min, max)| block(min, max)).collect()
    }

    #[test]
    fn blocks_grow_in_steps() {
        for (given, expected) in [
            (&[][..], &[][..]),
            (&[(0, 20)], &[]),
            (&[(0, 20), (20, 40)], &[]),
            // Two of three are not yet a full range, and more may come.
            (&[(0, 20), (20, 40), (40, 60)], &[]),
            // The newest is left alone; the others fill a range.
            (&[(0, 20), (20, 40), (40, 60), (60, 80)], &[(0, 20), (20, 40), (40, 60)]),
            // A gap; what lies before the newest cannot grow any more.
            (&[(0, 20), (60, 80), (80, 100)], &[]),
            (&[(0, 20), (20, 40), (60, 80), (80, 100)], &[(0, 20), (20, 40)]),
            (&[(0, 20), (40, 60), (60, 80), (120, 140)], &[(0, 20), (40, 60)]),
            // Longer ones.
            (&[(0, 60), (60, 120), (120, 180), (180, 200)], &[(0, 60), (60, 120), (120, 180)]),
            // A short range is full before a long one is looked at.
            (
                &[(0, 60), (60, 120), (120, 140), (140, 160), (160, 180), (180, 200)],
                &[(120, 140), (140, 160), (160, 180)],
            ),
            // Blocks of mixed lengths make a range.
            (&[(0, 60), (60, 80), (80, 100), (180, 200), (200, 220)], &[(60, 80), (80, 100)]),
            (&[(0, 60), (60, 100), (180, 200), (200, 220)], &[(0, 60), (60, 100)]),
            // One too long for a range, and one across its border, belong to none.
            (&[(0, 61), (61, 80), (80, 100), (120, 140)], &[]),
            (&[(-60, -40), (-40, -20), (-20, 0), (0, 20)], &[(-60, -40), (-40, -20), (-20, 0)]),
        ] {
            assert_eq!(plan(&blocks(given)), expected, "{given:?}");
            let mut reversed = blocks(given);
            reversed.reverse();
            assert_eq!(plan(&reversed), expected, "{given:?} reversed");
        }
    }

    #[test]
    fn failed_ones_are_left_alone() {
        let mut given = blocks(&[(0, 20), (20, 40), (40, 60), (60, 80), (80, 100), (100, 120)]);
        given.push(block(120, 140));
        given[1] = failed(20, 40);
        assert_eq!(plan(&given), [(60, 80), (80, 100), (100, 120)]);
        given.truncate(4);
        assert_eq!(plan(&given), []);
    }

    #[test]
    fn overlapping_ones_come_first() {
        for (given, expected) in [
            (&[(0, 20), (19, 40), (40, 60)][..], &[(0, 20), (19, 40)][..]),
            // The newest, too, if it overlaps.
            (&[(0, 20), (20, 40), (30, 50)], &[(20, 40), (30, 50)]),
            // All that hang together.
            (&[(0, 20), (10, 40), (30, 50), (50, 70)], &[(0, 20), (10, 40), (30, 50)]),
            (&[(0, 100), (10, 20), (30, 40), (100, 120)], &[(0, 100), (10, 20), (30, 40)]),
            // The first such group only.
            (&[(0, 20), (10, 20), (20, 40), (30, 40)], &[(0, 20), (10, 20)]),
            (&[(0, 10), (0, 10)], &[(0, 10), (0, 10)]),
        ] {
            assert_eq!(plan(&blocks(given)), expected, "{given:?}");
        }
        let rules = Rules { ranges: vec![20, 60], overlapping: false };
        let given = blocks(&[(0, 20), (10, 20)]);
        assert_eq!(rules.plan(&given.iter().collect::<Vec<_>>()), [0_usize; 0]);
    }

    #[test]
    fn tombstones_count_in_long_blocks() {
        let newest = block(2000, 2020);
        for (given, picked) in [
            (stones(0, 540, 10, 3), true),
            (stones(0, 540, 100, 5), false),
            (stones(0, 540, 100, 6), true),
            (stones(0, 180, 10, 0), false),
            // Too short, so only where all is deleted.
            (stones(0, 60, 10, 9), false),
            (stones(0, 60, 10, 10), true),
        ] {
            let range = (given.min_time, given.max_time);
            let found = plan(&[given.clone(), newest.clone()]);
            assert_eq!(found, if picked { vec![range] } else { vec![] }, "{given:?}");
        }
        // A short one ends the search, and the newest is never looked at.
        let behind = [stones(0, 540, 10, 5), stones(600, 620, 10, 5), newest];
        assert_eq!(plan(&behind), []);
        assert_eq!(plan(&[block(0, 540), stones(540, 1080, 1, 1)]), []);
    }

    #[test]
    fn hinted_blocks_stay_among_themselves() {
        let stale = BlockMeta::STALE_SERIES;
        let mixed = [block(0, 20), hinted(0, 20, stale), block(20, 40), hinted(20, 40, stale)];
        assert_eq!(plan(&mixed), []);
        let twice = [block(0, 20), hinted(0, 20, stale), hinted(0, 20, stale)];
        assert_eq!(plan(&twice), [(0, 20), (0, 20)]);
        // Late samples are merged with the others.
        let late = |min, max| hinted(min, max, BlockMeta::OUT_OF_ORDER);
        assert_eq!(plan(&[block(0, 20), late(0, 20)]), [(0, 20), (0, 20)]);
        // But not where the head still has samples in order of their range.
        let mut ahead = vec![block(0, 20), block(20, 40), late(40, 60), late(60, 80)];
        assert_eq!(plan(&ahead), []);
        ahead.push(late(40, 60));
        assert_eq!(plan(&ahead), [(40, 60), (40, 60)]);
        ahead.truncate(4);
        ahead.extend([block(40, 60), block(60, 80)]);
        assert_eq!(plan(&ahead), [(40, 60), (40, 60)]);
        assert_eq!(plan(&[late(0, 20), late(20, 40), late(40, 60), late(60, 80)]).len(), 3);
    }

    #[test]
    fn ranges_go_up_to_the_limit() {
        assert_eq!(Rules::new(2, 60, true).ranges, [2, 6, 18, 54]);
        assert_eq!(Rules::new(2, 54, true).ranges, [2, 6, 18, 54]);
        assert_eq!(Rules::new(2, 1, true).ranges, [2]);
        assert_eq!(Rules::new(1, i64::MAX, true).ranges.len(), 10);
    }
}
