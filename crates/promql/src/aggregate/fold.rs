//! Accumulators: aggregations into which series are folded one after the other.
//!
//! One slot per group and step, as columns. A series is folded into its group right after it was
//! computed, so the input of an aggregation is never held as a whole. Within one set of
//! accumulators sums are made in the order of the series, as in Prometheus; accumulators of several
//! threads are merged in a fixed order.

use std::{collections::BTreeMap, ops::Range};

use firesteel_model::FloatHistogram;

use crate::{
    ast::AggregateOp,
    engine::{
        block::{Block, Row, bits},
        labels::SetId,
    },
    histogram::{self, Incompatible},
    window::{
        kahan::{self, RunningMean},
        mixed::HistogramMean,
    },
};

/// Whether series can be folded into an aggregation.
pub(crate) const fn is_foldable(op: AggregateOp) -> bool {
    matches!(
        op,
        AggregateOp::Sum
            | AggregateOp::Avg
            | AggregateOp::Min
            | AggregateOp::Max
            | AggregateOp::Count
            | AggregateOp::Group
            | AggregateOp::Stddev
            | AggregateOp::Stdvar
    )
}

/// What is to be said about the histograms that were folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoldNotes {
    /// Histograms that the aggregation cannot take.
    pub(crate) ignored: bool,
    /// A group had floats and histograms at the same step.
    pub(crate) mixed: bool,
    pub(crate) reset_collision: bool,
    pub(crate) reconciled: bool,
    /// Series (as folded) whose buckets did not fit those before.
    pub(crate) incompatible: Vec<usize>,
}

/// Histograms of a group at a step.
#[derive(Clone, Debug)]
struct HistogramSlot {
    /// `None` once histograms turned out not to fit together, or if a float came first: what comes
    /// then is not looked at.
    sum: Option<HistogramMean>,
    /// Whether there were floats before that.
    mixed: bool,
}

/// Accumulators of some groups.
#[derive(Debug)]
pub(crate) struct Folds {
    op: AggregateOp,
    steps: usize,
    words: usize,
    /// Sum, mean or extreme.
    a: Vec<f64>,
    /// Compensation of a sum; sum of squares of a deviation.
    b: Vec<f64>,
    /// Number of samples.
    n: Vec<f64>,
    /// Whether the mean is calculated incrementally; empty as long as none is.
    incremental: Vec<u64>,
    /// Steps with samples (floats, where histograms are treated apart).
    seen: Vec<u64>,
    /// By group and step.
    histograms: BTreeMap<(usize, usize), HistogramSlot>,
    drop_name: Vec<bool>,
    pub(crate) notes: FoldNotes,
}

impl Folds {
    pub(crate) fn new(op: AggregateOp, groups: usize, steps: usize) -> Self {
        use AggregateOp as Op;
        let words = bits::words(steps);
        let column = |needed: bool| if needed { vec![0.0; groups * steps] } else { Vec::new() };
        let deviation = matches!(op, Op::Stddev | Op::Stdvar);
        Self {
            op,
            steps,
            words,
            a: match op {
                Op::Count | Op::Group => Vec::new(),
                Op::Avg => vec![-0.0; groups * steps],
                _ => vec![0.0; groups * steps],
            },
            b: column(matches!(op, Op::Sum | Op::Avg) || deviation),
            n: column(matches!(op, Op::Count | Op::Avg) || deviation),
            incremental: Vec::new(),
            seen: vec![0; groups * words],
            histograms: BTreeMap::new(),
            drop_name: vec![false; groups],
            notes: FoldNotes::default(),
        }
    }

    /// Bytes that accumulators take.
    pub(crate) const fn bytes(groups: usize, steps: usize) -> u64 {
        (groups as u64).saturating_mul(steps as u64).saturating_mul(25)
    }

    const fn groups(&self) -> usize {
        self.drop_name.len()
    }

    /// Folds a series into a group. `series` names it in the notes.
    pub(crate) fn fold(&mut self, group: usize, series: usize, row: Row<'_>, drop_name: bool) {
        self.drop_name[group] |= drop_name;
        if row.histograms.is_empty() {
            self.fold_floats(group, row.values, row.present);
            return;
        }
        let mut floats = row.present.to_vec();
        for (step, h) in row.histograms.iter().enumerate() {
            if let Some(h) = h {
                bits::clear(&mut floats, step);
                self.fold_histogram(group, step, series, h);
            }
        }
        self.fold_floats(group, row.values, &floats);
    }

    fn fold_histogram(&mut self, group: usize, step: usize, series: usize, h: &FloatHistogram) {
        use AggregateOp as Op;
        match self.op {
            Op::Count | Op::Group => {
                if let Some(n) = self.n.get_mut(group * self.steps + step) {
                    *n += 1.0;
                }
                bits::set(&mut self.seen[group * self.words..][..self.words], step);
            }
            Op::Sum | Op::Avg => match self.histograms.get_mut(&(group, step)) {
                None => {
                    let mixed = self.has_float(group, step);
                    let sum = (!mixed).then(|| HistogramMean::new(h, self.op == Op::Avg));
                    self.histograms.insert((group, step), HistogramSlot { sum, mixed });
                }
                Some(slot) => {
                    let Some(sum) = &mut slot.sum else { return };
                    match sum.add(h) {
                        Ok(outcome) => self.notes.reconciled |= outcome.reconciled,
                        Err(Incompatible) => {
                            let seen = &self.seen[group * self.words..][..self.words];
                            *slot = HistogramSlot { sum: None, mixed: bits::get(seen, step) };
                            if self.notes.incompatible.last() != Some(&series) {
                                self.notes.incompatible.push(series);
                            }
                        }
                    }
                }
            },
            _ => self.notes.ignored = true,
        }
    }

    /// Whether a group has a float at a step so far.
    fn has_float(&self, group: usize, step: usize) -> bool {
        bits::get(&self.seen[group * self.words..][..self.words], step)
    }

    fn fold_floats(&mut self, group: usize, values: &[f64], present: &[u64]) {
        use AggregateOp as Op;
        let from = group * self.steps;
        let seen = &mut self.seen[group * self.words..][..self.words];
        match self.op {
            Op::Group => {}
            Op::Count => {
                let n = &mut self.n[from..][..self.steps];
                each_run(present, self.steps, |steps| n[steps].iter_mut().for_each(|n| *n += 1.0));
            }
            Op::Sum => {
                let sums = &mut self.a[from..][..self.steps];
                let cs = &mut self.b[from..][..self.steps];
                each_run(present, self.steps, |steps| {
                    let slots = sums[steps.clone()].iter_mut().zip(&mut cs[steps.clone()]);
                    for ((sum, c), v) in slots.zip(&values[steps]) {
                        (*sum, *c) = kahan::add(*v, *sum, *c);
                    }
                });
            }
            Op::Max | Op::Min => {
                let best = &mut self.a[from..][..self.steps];
                let max = self.op == Op::Max;
                for i in bits::ones(present) {
                    let (old, v) = (best[i], values[i]);
                    let better = if max { old < v } else { old > v };
                    if better || old.is_nan() || !bits::get(seen, i) {
                        best[i] = v;
                    }
                }
            }
            Op::Avg => {
                each_run(present, self.steps, |steps| self.fold_means(group, steps, values));
                let seen = &mut self.seen[group * self.words..][..self.words];
                bits::or(seen, present);
                return;
            }
            _ => {
                for i in bits::ones(present) {
                    let (at, v) = (from + i, values[i]);
                    if bits::get(seen, i) {
                        self.n[at] += 1.0;
                        let delta = v - self.a[at];
                        self.a[at] += delta / self.n[at];
                        self.b[at] += delta * (v - self.a[at]);
                    } else {
                        self.n[at] = 1.0;
                        self.a[at] = v;
                        self.b[at] = if v.is_finite() { 0.0 } else { f64::NAN };
                    }
                }
            }
        }
        bits::or(seen, present);
    }

    /// Adds values to the means of a group at some steps.
    fn fold_means(&mut self, group: usize, steps: Range<usize>, values: &[f64]) {
        /// Steps that are done together as long as no sum overflows.
        const TOGETHER: usize = 16;
        let mut start = steps.start;
        while start < steps.end {
            let end = steps.end.min(start + TOGETHER);
            let at = group * self.steps + start..group * self.steps + end;
            let n = end - start;
            let (mut sums, mut cs) = ([0.0; TOGETHER], [0.0; TOGETHER]);
            let (old, old_cs) = (&self.a[at.clone()], &self.b[at.clone()]);
            let mut finite = self.incremental.is_empty();
            for (i, v) in values[start..end].iter().enumerate().take(TOGETHER) {
                // What has not been seen is a negative zero, to which all adds exactly.
                (sums[i], cs[i]) = kahan::add(*v, old[i], old_cs[i]);
                finite &= sums[i].is_finite();
            }
            if finite {
                self.a[at.clone()].copy_from_slice(&sums[..n]);
                self.b[at.clone()].copy_from_slice(&cs[..n]);
                self.n[at].iter_mut().for_each(|n| *n += 1.0);
            } else {
                for (at, v) in at.zip(&values[start..end]) {
                    self.add_to_mean(at, *v, self.n[at] == 0.0);
                }
            }
            start = end;
        }
    }

    fn mean(&self, at: usize) -> RunningMean {
        RunningMean {
            sum: self.a[at],
            c: self.b[at],
            count: self.n[at],
            incremental: !self.incremental.is_empty() && bits::get(&self.incremental, at),
        }
    }

    fn set_mean(&mut self, at: usize, mean: RunningMean) {
        (self.a[at], self.b[at], self.n[at]) = (mean.sum, mean.c, mean.count);
        if mean.incremental {
            if self.incremental.is_empty() {
                self.incremental = vec![0; bits::words(self.a.len())];
            }
            bits::set(&mut self.incremental, at);
        }
    }

    #[inline]
    fn add_to_mean(&mut self, at: usize, v: f64, first: bool) {
        if first {
            (self.a[at], self.b[at], self.n[at]) = (v, 0.0, 1.0);
            return;
        }
        let mut mean = self.mean(at);
        mean.add(v);
        self.set_mean(at, mean);
    }

    /// Adds the accumulators of the same groups over further series.
    pub(crate) fn merge(&mut self, mut other: Self) {
        use AggregateOp as Op;
        // Before it is forgotten which floats came before theirs.
        for ((group, step), slot) in std::mem::take(&mut other.histograms) {
            let mixed = self.has_float(group, step);
            match self.histograms.get_mut(&(group, step)) {
                None if mixed => {
                    self.histograms.insert((group, step), HistogramSlot { sum: None, mixed });
                }
                None => {
                    self.histograms.insert((group, step), slot);
                }
                Some(mine) => match (&mut mine.sum, slot.sum) {
                    (None, _) => {}
                    (Some(_), None) => {
                        *mine = HistogramSlot { sum: None, mixed: mixed || slot.mixed };
                    }
                    (Some(sum), Some(theirs)) => match sum.merge(&theirs) {
                        Ok(outcome) => self.notes.reconciled |= outcome.reconciled,
                        Err(Incompatible) => *mine = HistogramSlot { sum: None, mixed },
                    },
                },
            }
        }
        for group in 0..self.groups() {
            self.drop_name[group] |= other.drop_name[group];
            let words = group * self.words..(group + 1) * self.words;
            for i in bits::ones(&other.seen[words.clone()]) {
                let at = group * self.steps + i;
                let first = !bits::get(&self.seen[words.clone()], i);
                match self.op {
                    Op::Group => {}
                    Op::Count => self.n[at] += other.n[at],
                    Op::Sum => {
                        let (sum, c) = kahan::add(other.a[at], self.a[at], self.b[at]);
                        let c = if sum.is_infinite() { 0.0 } else { c + other.b[at] };
                        (self.a[at], self.b[at]) = (sum, c);
                    }
                    Op::Max | Op::Min => {
                        let (old, v) = (self.a[at], other.a[at]);
                        let better = if self.op == Op::Max { old < v } else { old > v };
                        if better || old.is_nan() || first {
                            self.a[at] = v;
                        }
                    }
                    Op::Avg if first => self.set_mean(at, other.mean(at)),
                    Op::Avg => {
                        let mut mean = self.mean(at);
                        mean.merge(&other.mean(at));
                        self.set_mean(at, mean);
                    }
                    _ if first => {
                        (self.a[at], self.b[at], self.n[at]) =
                            (other.a[at], other.b[at], other.n[at]);
                    }
                    _ => {
                        // Chan's formula for the deviation of two parts.
                        let total = self.n[at] + other.n[at];
                        let delta = other.a[at] - self.a[at];
                        self.b[at] +=
                            other.b[at] + delta * delta * self.n[at] * other.n[at] / total;
                        self.a[at] += delta * other.n[at] / total;
                        self.n[at] = total;
                    }
                }
            }
            bits::or(&mut self.seen[words.clone()], &other.seen[words]);
        }
        self.notes.ignored |= other.notes.ignored;
        self.notes.reconciled |= other.notes.reconciled;
        self.notes.incompatible.extend(other.notes.incompatible);
    }

    /// Adds the accumulators of further groups.
    pub(crate) fn append(&mut self, mut other: Self) {
        let (groups, slots) = (self.groups(), self.a.len());
        if !self.incremental.is_empty() || !other.incremental.is_empty() {
            let all = slots + other.a.len();
            self.incremental.resize(bits::words(all), 0);
            for at in bits::ones(&other.incremental) {
                bits::set(&mut self.incremental, slots + at);
            }
        }
        self.a.append(&mut other.a);
        self.b.append(&mut other.b);
        self.n.append(&mut other.n);
        self.seen.append(&mut other.seen);
        self.drop_name.append(&mut other.drop_name);
        let histograms = std::mem::take(&mut other.histograms);
        self.histograms
            .extend(histograms.into_iter().map(|((group, step), h)| ((groups + group, step), h)));
        self.notes.ignored |= other.notes.ignored;
        self.notes.reconciled |= other.notes.reconciled;
        self.notes.incompatible.append(&mut other.notes.incompatible);
    }

    /// The aggregation's result, a row per group in the order of `sets`; groups without samples are
    /// left out.
    pub(crate) fn finish(mut self, sets: &[SetId]) -> (Block, FoldNotes) {
        use AggregateOp as Op;
        let mut notes = std::mem::take(&mut self.notes);
        let mut histograms = std::mem::take(&mut self.histograms);
        let mut block = Block::new(self.steps);
        block.reserve_rows(self.groups());
        for (group, &set) in sets.iter().enumerate().take(self.groups()) {
            let words = group * self.words..(group + 1) * self.words;
            let row = block.push_row(set, self.drop_name[group]);
            let from = group * self.steps;
            let (values, present) = block.columns_mut(row);
            present.copy_from_slice(&self.seen[words]);
            match self.op {
                Op::Group => values.fill(1.0),
                Op::Count => values.copy_from_slice(&self.n[from..][..self.steps]),
                Op::Max | Op::Min => values.copy_from_slice(&self.a[from..][..self.steps]),
                Op::Sum => {
                    let sums = self.a[from..].iter().zip(&self.b[from..]);
                    values.iter_mut().zip(sums).for_each(|(v, (sum, c))| *v = sum + c);
                }
                Op::Avg => {
                    (0..self.steps).for_each(|i| values[i] = self.mean(from + i).value());
                }
                _ => {
                    for (i, v) in values.iter_mut().enumerate() {
                        let variance = self.b[from + i] / self.n[from + i];
                        *v = if self.op == Op::Stddev { variance.sqrt() } else { variance };
                    }
                }
            }
            let mut later = histograms.split_off(&(group + 1, 0));
            std::mem::swap(&mut histograms, &mut later);
            for ((_, step), slot) in later {
                let Some(sum) = slot.sum else {
                    // What was a float beside it does not count either.
                    notes.mixed |= slot.mixed;
                    bits::clear(block.present_mut(row), step);
                    continue;
                };
                if bits::get(block.present(row), step) {
                    notes.mixed = true;
                    bits::clear(block.present_mut(row), step);
                    continue;
                }
                notes.reset_collision |= sum.reset_collision();
                let mut h = sum.finish();
                histogram::compact(&mut h);
                block.set_histogram(row, step, std::sync::Arc::new(h));
            }
        }
        block.remove_empty_rows();
        (block, notes)
    }
}

/// Calls `f` with ranges of steps that are all present.
#[inline(always)]
fn each_run(present: &[u64], steps: usize, mut f: impl FnMut(std::ops::Range<usize>)) {
    for (w, &word) in present.iter().enumerate() {
        let (start, end) = (w * 64, steps.min(w * 64 + 64));
        let full = if end - start == 64 { u64::MAX } else { (1 << (end - start)) - 1 };
        if word == full {
            f(start..end);
            continue;
        }
        let mut rest = word;
        while rest != 0 {
            let i = start + rest.trailing_zeros() as usize;
            f(i..i + 1);
            rest &= rest - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(op: AggregateOp, parts: &[&[&[f64]]]) -> Vec<Option<f64>> {
        // Each part is folded for itself, then merged; NaN with a payload of 1 means absent.
        let steps = parts.iter().flat_map(|p| p.iter()).next().map_or(0, |r| r.len());
        let mut folds: Option<Folds> = None;
        for part in parts {
            let mut f = Folds::new(op, 1, steps);
            for values in *part {
                let mut present = vec![0; bits::words(steps)];
                for (i, v) in values.iter().enumerate() {
                    if v.to_bits() != ABSENT.to_bits() {
                        bits::set(&mut present, i);
                    }
                }
                let row = Row { values, present: &present, histograms: &[] };
                f.fold(0, 0, row, false);
            }
            match &mut folds {
                None => folds = Some(f),
                Some(all) => all.merge(f),
            }
        }
        let (block, _) = folds.unwrap().finish(&[SetId::EMPTY]);
        if block.len() == 0 {
            return vec![None; steps];
        }
        (0..steps).map(|i| block.row(0).has(i).then(|| block.values(0)[i])).collect()
    }

    const ABSENT: f64 = f64::from_bits(0x7ff8_0000_0000_0001);
    const INF: f64 = f64::INFINITY;

    #[test]
    fn every_operator() {
        use AggregateOp as Op;
        let a: &[f64] = &[1.0, 2.0, ABSENT, ABSENT, INF];
        let b: &[f64] = &[3.0, f64::NAN, 5.0, ABSENT, 1.0];
        for parts in [&[&[a, b][..]][..], &[&[a], &[b]]] {
            let show = |op| {
                let values = fold(op, parts);
                values.iter().map(|v| v.map_or("-".into(), |v| v.to_string())).collect::<Vec<_>>()
            };
            assert_eq!(show(Op::Sum), ["4", "NaN", "5", "-", "inf"]);
            assert_eq!(show(Op::Avg), ["2", "NaN", "5", "-", "inf"]);
            assert_eq!(show(Op::Max), ["3", "2", "5", "-", "inf"]);
            assert_eq!(show(Op::Min), ["1", "2", "5", "-", "1"]);
            assert_eq!(show(Op::Count), ["2", "2", "1", "-", "2"]);
            assert_eq!(show(Op::Group), ["1", "1", "1", "-", "1"]);
            assert_eq!(show(Op::Stdvar), ["1", "NaN", "0", "-", "NaN"]);
            assert_eq!(show(Op::Stddev), ["1", "NaN", "0", "-", "NaN"]);
        }
    }

    #[test]
    fn long_rows_take_the_fast_path() {
        let values = vec![0.5; 130];
        let got = fold(AggregateOp::Sum, &[&[&values, &values]]);
        assert!(got.iter().all(|v| *v == Some(1.0)));
    }
}
