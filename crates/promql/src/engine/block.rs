//! Vectors over all steps at once.
//!
//! A [`Block`] holds series as rows: for each step a float, and a bit that tells whether the series
//! has a sample there (so NaN needs no special care). Native histograms are rare and lie beside, in
//! rows that have any.

use std::sync::Arc;

use firesteel_model::{FloatHistogram, budget::Reservation};

use super::labels::SetId;

/// Histograms of a row, one slot per step.
pub(crate) type HistogramRow = Vec<Option<Arc<FloatHistogram>>>;

/// Bitmaps of steps.
pub(crate) mod bits {
    /// Words for `n` steps.
    pub(crate) const fn words(n: usize) -> usize {
        n.div_ceil(64)
    }

    #[inline(always)]
    pub(crate) fn set(bits: &mut [u64], i: usize) {
        bits[i / 64] |= 1 << (i % 64);
    }

    /// Sets a range of bits.
    pub(crate) fn set_run(bits: &mut [u64], run: std::ops::Range<usize>) {
        let mut at = run.start;
        while at < run.end {
            let n = (64 - at % 64).min(run.end - at);
            let mask = if n == 64 { u64::MAX } else { (1 << n) - 1 };
            bits[at / 64] |= mask << (at % 64);
            at += n;
        }
    }

    #[inline(always)]
    pub(crate) fn clear(bits: &mut [u64], i: usize) {
        bits[i / 64] &= !(1 << (i % 64));
    }

    #[inline(always)]
    pub(crate) fn get(bits: &[u64], i: usize) -> bool {
        bits[i / 64] >> (i % 64) & 1 != 0
    }

    /// Sets the first `n` bits.
    pub(crate) fn fill(bits: &mut [u64], n: usize) {
        for (w, word) in bits.iter_mut().enumerate() {
            let rest = n.saturating_sub(w * 64);
            *word = if rest >= 64 { u64::MAX } else { (1 << rest) - 1 };
        }
    }

    pub(crate) fn count(bits: &[u64]) -> usize {
        bits.iter().map(|w| w.count_ones() as usize).sum()
    }

    pub(crate) fn any(bits: &[u64]) -> bool {
        bits.iter().any(|w| *w != 0)
    }

    /// The lowest bit that is set in both.
    pub(crate) fn first_common(a: &[u64], b: &[u64]) -> Option<usize> {
        a.iter().zip(b).enumerate().find_map(|(w, (a, b))| {
            let both = a & b;
            (both != 0).then(|| w * 64 + both.trailing_zeros() as usize)
        })
    }

    pub(crate) fn or(into: &mut [u64], from: &[u64]) {
        into.iter_mut().zip(from).for_each(|(a, b)| *a |= b);
    }

    /// Indices of the bits that are set, ascending.
    #[inline]
    pub(crate) fn ones(bits: &[u64]) -> impl Iterator<Item = usize> + '_ {
        bits.iter().enumerate().flat_map(|(w, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let i = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    w * 64 + i
                })
            })
        })
    }
}

/// One series over all steps, in the making. Its buffers are kept from series to series.
#[derive(Debug, Default)]
pub(crate) struct RowBuf {
    /// Meaningful only where `present` is set and there is no histogram.
    pub(crate) values: Vec<f64>,
    pub(crate) present: Vec<u64>,
    /// Empty, or one slot per step.
    pub(crate) histograms: HistogramRow,
}

impl RowBuf {
    pub(crate) fn new(steps: usize) -> Self {
        Self {
            values: vec![0.0; steps],
            present: vec![0; bits::words(steps)],
            histograms: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.present.fill(0);
        self.histograms.clear();
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, step: usize, v: f64) {
        self.values[step] = v;
        bits::set(&mut self.present, step);
    }

    pub(crate) fn set_histogram(&mut self, step: usize, h: Arc<FloatHistogram>) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.values.len(), None);
        }
        self.set(step, 0.0);
        self.histograms[step] = Some(h);
    }

    pub(crate) fn as_row(&self) -> Row<'_> {
        Row { values: &self.values, present: &self.present, histograms: &self.histograms }
    }
}

/// One series of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) values: &'a [f64],
    pub(crate) present: &'a [u64],
    /// Empty, or one slot per step.
    pub(crate) histograms: &'a [Option<Arc<FloatHistogram>>],
}

impl<'a> Row<'a> {
    /// Whether the row has a sample at a step.
    #[inline]
    pub(crate) fn has(&self, step: usize) -> bool {
        bits::get(self.present, step)
    }

    /// The histogram at a step.
    #[inline]
    pub(crate) fn histogram(&self, step: usize) -> Option<&'a Arc<FloatHistogram>> {
        self.histograms.get(step).and_then(Option::as_ref)
    }

    /// Samples of the row as Prometheus counts them: a histogram counts as several floats.
    pub(crate) fn samples(&self) -> u64 {
        let extra: usize = self.histograms.iter().flatten().map(|h| histogram_samples(h) - 1).sum();
        (bits::count(self.present) + extra) as u64
    }
}

/// As how many float samples a histogram counts: its size in memory by that of a float sample in
/// Prometheus (`promql/value.go`).
pub(crate) fn histogram_samples(h: &FloatHistogram) -> usize {
    let buckets = h.positive_buckets.len() + h.negative_buckets.len();
    let spans = h.layout.positive_spans.len() + h.layout.negative_spans.len();
    let bytes = 8 * (buckets + spans + h.layout.custom_values.len()) + 168;
    ((bytes + 8) / 16).max(1)
}

/// Series over all steps of an evaluation.
#[derive(Debug)]
pub(crate) struct Block {
    steps: usize,
    words: usize,
    pub(crate) sets: Vec<SetId>,
    /// Whether the name is to be dropped at the end of the query (delayed name removal).
    pub(crate) drop_name: Vec<bool>,
    values: Vec<f64>,
    present: Vec<u64>,
    /// Empty where no row has a histogram; else one (maybe empty) row each.
    histograms: Vec<HistogramRow>,
    /// Accounts for the memory.
    pub(crate) reserved: Option<Reservation>,
}

impl Block {
    pub(crate) const fn new(steps: usize) -> Self {
        Self {
            steps,
            words: bits::words(steps),
            sets: Vec::new(),
            drop_name: Vec::new(),
            values: Vec::new(),
            present: Vec::new(),
            histograms: Vec::new(),
            reserved: None,
        }
    }

    /// One series without labels that has `v` at each step: a scalar.
    pub(crate) fn scalar(steps: usize, v: f64) -> Self {
        let mut block = Self::new(steps);
        let row = block.push_row(SetId::EMPTY, false);
        block.values.fill(v);
        bits::fill(block.present_mut(row), steps);
        block
    }

    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }

    pub(crate) const fn steps(&self) -> usize {
        self.steps
    }

    /// Whether any row has histograms.
    pub(crate) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// Bytes of its columns.
    pub(crate) fn bytes(&self) -> usize {
        let slots: usize = self.histograms.iter().map(|h| h.len() * 8).sum();
        self.values.len() * 8 + self.present.len() * 8 + self.sets.len() * 5 + slots
    }

    pub(crate) fn reserve_rows(&mut self, rows: usize) {
        self.sets.reserve(rows);
        self.drop_name.reserve(rows);
        self.values.reserve_exact(rows * self.steps);
        self.present.reserve_exact(rows * self.words);
    }

    /// Adds a row without samples and returns its index.
    pub(crate) fn push_row(&mut self, set: SetId, drop_name: bool) -> usize {
        self.sets.push(set);
        self.drop_name.push(drop_name);
        self.values.resize(self.values.len() + self.steps, 0.0);
        self.present.resize(self.present.len() + self.words, 0);
        if !self.histograms.is_empty() {
            self.histograms.push(Vec::new());
        }
        self.sets.len() - 1
    }

    /// Adds a row with the samples of `row`.
    pub(crate) fn push(&mut self, set: SetId, drop_name: bool, row: Row<'_>) -> usize {
        self.sets.push(set);
        self.drop_name.push(drop_name);
        self.values.extend_from_slice(row.values);
        self.present.extend_from_slice(row.present);
        if !self.histograms.is_empty() {
            self.histograms.push(Vec::new());
        }
        let index = self.sets.len() - 1;
        if !row.histograms.is_empty() {
            *self.histograms_mut(index) = row.histograms.to_vec();
        }
        index
    }

    /// Adds all rows of a block of the same steps.
    pub(crate) fn append(&mut self, mut other: Self) {
        if self.sets.is_empty() {
            let reserved = self.reserved.take();
            *self = other;
            self.reserved = self.reserved.take().or(reserved);
            return;
        }
        if !other.histograms.is_empty() || !self.histograms.is_empty() {
            self.histograms.resize(self.sets.len(), Vec::new());
            other.histograms.resize(other.sets.len(), Vec::new());
            self.histograms.append(&mut other.histograms);
        }
        match (&mut self.reserved, other.reserved.take()) {
            (Some(held), Some(more)) => held.merge(more),
            (held, more) => *held = held.take().or(more),
        }
        self.sets.append(&mut other.sets);
        self.drop_name.append(&mut other.drop_name);
        self.values.append(&mut other.values);
        self.present.append(&mut other.present);
    }

    pub(crate) fn row(&self, row: usize) -> Row<'_> {
        Row {
            values: self.values(row),
            present: self.present(row),
            histograms: self.histograms.get(row).map_or(&[], Vec::as_slice),
        }
    }

    pub(crate) fn values(&self, row: usize) -> &[f64] {
        &self.values[row * self.steps..][..self.steps]
    }

    pub(crate) fn values_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.steps..][..self.steps]
    }

    pub(crate) fn present(&self, row: usize) -> &[u64] {
        &self.present[row * self.words..][..self.words]
    }

    pub(crate) fn present_mut(&mut self, row: usize) -> &mut [u64] {
        &mut self.present[row * self.words..][..self.words]
    }

    /// Values and presence of a row.
    pub(crate) fn columns_mut(&mut self, row: usize) -> (&mut [f64], &mut [u64]) {
        (
            &mut self.values[row * self.steps..][..self.steps],
            &mut self.present[row * self.words..][..self.words],
        )
    }

    /// The histogram slots of a row, made if need be (maybe still empty).
    pub(crate) fn histograms_mut(&mut self, row: usize) -> &mut HistogramRow {
        if self.histograms.is_empty() {
            self.histograms.resize(self.sets.len(), Vec::new());
        }
        &mut self.histograms[row]
    }

    /// Sets a float.
    pub(crate) fn set(&mut self, row: usize, step: usize, v: f64) {
        self.values_mut(row)[step] = v;
        bits::set(self.present_mut(row), step);
    }

    /// Sets a histogram.
    pub(crate) fn set_histogram(&mut self, row: usize, step: usize, h: Arc<FloatHistogram>) {
        self.set(row, step, 0.0);
        let steps = self.steps;
        let slots = self.histograms_mut(row);
        if slots.is_empty() {
            slots.resize(steps, None);
        }
        slots[step] = Some(h);
    }

    /// Copies a sample of a row into one of this block.
    pub(crate) fn copy_sample(&mut self, row: usize, step: usize, from: Row<'_>) {
        match from.histogram(step) {
            Some(h) => self.set_histogram(row, step, Arc::clone(h)),
            None => self.set(row, step, from.values[step]),
        }
    }

    /// Removes all histograms; what was one is no sample any more.
    pub(crate) fn remove_histograms(&mut self) {
        for (row, slots) in std::mem::take(&mut self.histograms).into_iter().enumerate() {
            for (step, _) in slots.iter().enumerate().filter(|(_, slot)| slot.is_some()) {
                bits::clear(self.present_mut(row), step);
            }
        }
    }

    /// Samples as Prometheus counts them.
    pub(crate) fn samples(&self) -> u64 {
        if self.histograms.is_empty() {
            bits::count(&self.present) as u64
        } else {
            (0..self.len()).map(|row| self.row(row).samples()).sum()
        }
    }

    /// Whether the row has a sample.
    pub(crate) fn is_row_empty(&self, row: usize) -> bool {
        !bits::any(self.present(row))
    }

    /// Removes rows without samples, in place.
    pub(crate) fn remove_empty_rows(&mut self) {
        let mut kept = 0;
        for row in 0..self.len() {
            if self.is_row_empty(row) {
                continue;
            }
            if kept < row {
                self.sets[kept] = self.sets[row];
                self.drop_name[kept] = self.drop_name[row];
                let (steps, words) = (self.steps, self.words);
                self.values.copy_within(row * steps..(row + 1) * steps, kept * steps);
                self.present.copy_within(row * words..(row + 1) * words, kept * words);
                if !self.histograms.is_empty() {
                    self.histograms.swap(kept, row);
                }
            }
            kept += 1;
        }
        self.sets.truncate(kept);
        self.drop_name.truncate(kept);
        self.values.truncate(kept * self.steps);
        self.present.truncate(kept * self.words);
        self.histograms.truncate(kept);
    }

    /// Keeps these rows, in this order.
    pub(crate) fn reorder(&mut self, rows: &[usize]) {
        let mut new = Self::new(self.steps);
        new.reserve_rows(rows.len());
        for &row in rows {
            new.push(self.sets[row], self.drop_name[row], self.row(row));
        }
        new.reserved = self.reserved.take();
        *self = new;
    }

    /// Makes `steps` equal steps out of a block of one step.
    pub(crate) fn repeat(&self, steps: usize) -> Self {
        let mut new = Self::new(steps);
        new.reserve_rows(self.len());
        for row in 0..self.len() {
            let index = new.push_row(self.sets[row], self.drop_name[row]);
            if !self.row(row).has(0) {
                continue;
            }
            new.values_mut(index).fill(self.values(row)[0]);
            bits::fill(new.present_mut(index), steps);
            if let Some(h) = self.row(row).histogram(0) {
                *new.histograms_mut(index) = vec![Some(Arc::clone(h)); steps];
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps() {
        let mut b = vec![0; bits::words(70)];
        bits::fill(&mut b, 70);
        assert_eq!(bits::count(&b), 70);
        let mut c = vec![0; 2];
        bits::set(&mut c, 69);
        bits::set(&mut c, 3);
        assert_eq!(bits::ones(&c).collect::<Vec<_>>(), [3, 69]);
        bits::clear(&mut c, 3);
        assert_eq!(bits::first_common(&b, &c), Some(69));
    }

    #[test]
    fn rows_keep_their_histograms() {
        let mut a = Block::new(2);
        let row = a.push_row(SetId(1), false);
        a.set(row, 0, 1.0);
        let mut b = Block::new(2);
        let row = b.push_row(SetId(2), false);
        b.set_histogram(row, 1, Arc::default());
        b.push_row(SetId(3), false);
        a.append(b);
        assert_eq!(a.len(), 3);
        assert!(a.row(1).histogram(1).is_some() && a.row(0).histogram(0).is_none());
        a.remove_empty_rows();
        assert_eq!(a.sets, [SetId(1), SetId(2)]);
        a.reorder(&[1, 0]);
        assert!(a.row(0).histogram(1).is_some());
        a.remove_histograms();
        assert_eq!((a.samples(), a.is_row_empty(0)), (1, true));
    }
}
