//! Aggregations that look at all series of a group at once: `topk`, `bottomk`, `limitk`,
//! `limit_ratio`, `quantile`.

use crate::{
    engine::{
        block::{Block, bits},
        labels::SetId,
    },
    go, quantile,
};

/// What to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The largest values.
    Top,
    /// The smallest values.
    Bottom,
    /// The first series.
    First,
    /// Series by their hash.
    Ratio,
}

/// A sample of a row.
type Item = (f64, usize);

/// Go's `container/heap`, with the order that Prometheus gives it: NaN before everything. Which of
/// several equal samples stays depends on it.
struct Heap {
    items: Vec<Item>,
    /// Whether the largest value is on top.
    reverse: bool,
}

impl Heap {
    fn less(&self, i: usize, j: usize) -> bool {
        less(self.items[i].0, self.items[j].0, self.reverse)
    }

    fn push(&mut self, item: Item) {
        self.items.push(item);
        self.up(self.items.len() - 1);
    }

    fn up(&mut self, mut child: usize) {
        while child > 0 {
            let parent = (child - 1) / 2;
            if !self.less(child, parent) {
                return;
            }
            self.items.swap(parent, child);
            child = parent;
        }
    }

    fn down(&mut self) {
        let mut parent = 0;
        loop {
            let left = 2 * parent + 1;
            if left >= self.items.len() {
                return;
            }
            let right = left + 1;
            let child =
                if right < self.items.len() && self.less(right, left) { right } else { left };
            if !self.less(child, parent) {
                return;
            }
            self.items.swap(parent, child);
            parent = child;
        }
    }

    /// Best first.
    fn sort(&mut self) {
        let reverse = self.reverse;
        go::sort::sort_by(&mut self.items, |a, b| less(b.0, a.0, reverse));
    }
}

fn less(a: f64, b: f64, reverse: bool) -> bool {
    a.is_nan() || if reverse { a > b } else { a < b }
}

/// Chooses samples. `groups[row]` is below `count`; `params` has a value per step; `offsets[row]` is
/// a row's place between 0 and 1, for [`Choice::Ratio`]. Returns the chosen samples, and whether
/// histograms were ignored. In a block of one step the best come first, group by group.
pub(crate) fn choose(
    choice: Choice,
    block: &Block,
    groups: &[usize],
    count: usize,
    params: &[f64],
    offsets: &[f64],
) -> (Block, bool) {
    let steps = block.steps();
    let mut chosen = Block::new(steps);
    let mut ignored = false;
    // Row of the result of each row, none so far.
    let mut rows = vec![usize::MAX; block.len()];
    let mut heaps: Vec<Heap> =
        (0..count).map(|_| Heap { items: Vec::new(), reverse: choice == Choice::Bottom }).collect();
    for step in 0..steps {
        let param = params.get(step).copied().unwrap_or(f64::NAN);
        let k = (param as i64).min(block.len() as i64);
        if choice == Choice::Ratio && param == 0.0 || choice != Choice::Ratio && k < 1 {
            continue;
        }
        let k = usize::try_from(k).unwrap_or(0);
        let ratio = param.clamp(-1.0, 1.0);
        heaps.iter_mut().for_each(|h| h.items.clear());
        for row in 0..block.len() {
            let samples = block.row(row);
            if !samples.has(step) {
                continue;
            }
            let heap = &mut heaps[groups[row]];
            let v = samples.values[step];
            match choice {
                Choice::First => {
                    if heap.items.len() < k {
                        heap.push((v, row));
                    }
                }
                Choice::Ratio => {
                    if is_in_ratio(ratio, offsets[row]) {
                        heap.push((v, row));
                    }
                }
                Choice::Top | Choice::Bottom => {
                    if samples.histogram(step).is_some() {
                        ignored = true;
                    } else if heap.items.len() < k {
                        heap.push((v, row));
                    } else {
                        let worst = heap.items[0].0;
                        let better = if choice == Choice::Top { worst < v } else { worst > v };
                        if better || worst.is_nan() && !v.is_nan() {
                            heap.items[0] = (v, row);
                            heap.down();
                        }
                    }
                }
            }
        }
        for heap in &mut heaps {
            if matches!(choice, Choice::Top | Choice::Bottom) && steps == 1 {
                heap.sort();
            }
            for &(_, row) in &heap.items {
                if rows[row] == usize::MAX {
                    rows[row] = chosen.push_row(block.sets[row], block.drop_name[row]);
                }
                chosen.copy_sample(rows[row], step, block.row(row));
            }
        }
    }
    (chosen, ignored)
}

/// Whether a series at `offset` is in the share `ratio`; a negative one is the rest of the positive
/// share.
fn is_in_ratio(ratio: f64, offset: f64) -> bool {
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

/// Quantiles of the groups, and whether histograms were ignored.
pub(crate) fn quantiles(
    block: &Block,
    groups: &[usize],
    sets: &[SetId],
    params: &[f64],
) -> (Block, bool) {
    let steps = block.steps();
    let mut ignored = false;
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); sets.len()];
    groups.iter().enumerate().for_each(|(row, group)| members[*group].push(row));
    let mut result = Block::new(steps);
    let mut values = Vec::new();
    for (group, rows) in members.iter().enumerate() {
        let drop_name = rows.iter().any(|r| block.drop_name[*r]);
        let target = result.push_row(sets[group], drop_name);
        for step in 0..steps {
            values.clear();
            for row in rows.iter().map(|r| block.row(*r)).filter(|r| r.has(step)) {
                if row.histogram(step).is_some() {
                    ignored = true;
                } else {
                    values.push(row.values[step]);
                }
            }
            if !values.is_empty() {
                let q = params.get(step).copied().unwrap_or(f64::NAN);
                result.set(target, step, quantile::quantile(q, &mut values));
            }
        }
    }
    result.remove_empty_rows();
    (result, ignored)
}

/// The largest number of samples that any step has.
pub(crate) fn widest_step(block: &Block) -> usize {
    if block.steps() == 1 {
        return (0..block.len()).filter(|row| bits::any(block.present(*row))).count();
    }
    block.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(values: &[f64]) -> Block {
        let mut block = Block::new(1);
        for (i, v) in values.iter().enumerate() {
            let row = block.push_row(SetId(i as u32), false);
            block.set(row, 0, *v);
        }
        block
    }

    fn chosen(choice: Choice, values: &[f64], param: f64) -> Vec<u32> {
        let offsets: Vec<f64> = (0..values.len()).map(|i| i as f64 / values.len() as f64).collect();
        let groups = vec![0; values.len()];
        let (block, _) = choose(choice, &block(values), &groups, 1, &[param], &offsets);
        block.sets.iter().map(|s| s.0).collect()
    }

    #[test]
    fn chooses_and_orders() {
        let values = [3.0, f64::NAN, 1.0, 2.0, 3.0];
        assert_eq!(chosen(Choice::Top, &values, 3.0), [0, 4, 3]);
        assert_eq!(chosen(Choice::Bottom, &values, 2.0), [2, 3]);
        assert_eq!(chosen(Choice::Top, &values, 9.0).len(), 5);
        assert_eq!(chosen(Choice::Top, &values, 9.0)[4], 1);
        assert_eq!(chosen(Choice::Top, &values, 0.9), [0; 0]);
        let mut first = chosen(Choice::First, &values, 2.0);
        first.sort_unstable();
        assert_eq!(first, [0, 1]);
        let mut part = chosen(Choice::Ratio, &values, 0.4);
        let mut rest = chosen(Choice::Ratio, &values, -0.6);
        part.sort_unstable();
        rest.sort_unstable();
        assert_eq!((part, rest), (vec![0, 1], vec![2, 3, 4]));
    }

    #[test]
    fn quantile_of_groups() {
        let b = block(&[1.0, 5.0, 3.0, 7.0]);
        let (q, _) = quantiles(&b, &[0, 0, 0, 1], &[SetId(0), SetId(1)], &[0.5]);
        assert_eq!((q.values(0)[0], q.values(1)[0]), (3.0, 7.0));
    }
}
