//! Range-vector kernels: one series against all steps of an evaluation.
//!
//! A series is decoded batch by batch into a [`SeriesBuffer`]. As soon as the buffer reaches beyond
//! the end of a step's window, that window is computed; samples that no later window needs are
//! dropped from time to time. So memory per series is that of a window and a batch, whatever the
//! length of the query, and each sample is decoded once. Window edges move by two indices, never by
//! search; counter resets are found once per sample, not once per window.
//!
//! Windows are open on the left and closed on the right.

pub(crate) mod kahan;
pub(crate) mod mixed;
pub(crate) mod over_time;
mod range;
pub(crate) mod rate;
mod select;

use std::sync::Arc;

use firesteel_model::{
    FloatHistogram, Timestamp, is_stale_nan,
    storage::{BatchValues, SampleBatch, StorageError},
};

pub(crate) use range::{Extend, RangeJob, RangeRunner};
pub(crate) use rate::search;
pub(crate) use select::{InstantJob, InstantRunner, Pick};

/// The times of an evaluation: `start`, `start + step`, ... `n` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) start: Timestamp,
    /// More than 0; 1 where there is a single time.
    pub(crate) step: i64,
    pub(crate) n: usize,
}

impl Grid {
    pub(crate) const fn instant(t: Timestamp) -> Self {
        Self { start: t, step: 1, n: 1 }
    }

    /// From `start` to at most `end`; empty if `end` is before.
    pub(crate) fn range(start: Timestamp, end: Timestamp, step: i64) -> Self {
        let step = step.max(1);
        let n = if end < start {
            0
        } else {
            usize::try_from(end.saturating_sub(start) / step)
                .unwrap_or(usize::MAX)
                .saturating_add(1)
        };
        Self { start, step, n }
    }

    #[inline(always)]
    pub(crate) const fn time(&self, i: usize) -> Timestamp {
        self.start.saturating_add(self.step.saturating_mul(i as i64))
    }

    /// The last time; `start` if there is none.
    pub(crate) const fn end(&self) -> Timestamp {
        self.time(self.n.saturating_sub(1))
    }
}

/// Where the windows of a selector lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowSpec {
    pub(crate) grid: Grid,
    /// Length of the window.
    pub(crate) range: i64,
    pub(crate) offset: i64,
    /// A fixed time instead of the step's.
    pub(crate) at: Option<Timestamp>,
    /// How much the samples' window reaches beyond the range at its begin.
    pub(crate) before: i64,
    /// And at its end.
    pub(crate) after: i64,
}

impl WindowSpec {
    /// Begin (exclusive) and end (inclusive) of the range at a step.
    #[inline(always)]
    pub(crate) fn edges(&self, step: usize) -> (Timestamp, Timestamp) {
        let t = self.at.unwrap_or_else(|| self.grid.time(step));
        let end = t.saturating_sub(self.offset);
        (end.saturating_sub(self.range), end)
    }
}

/// Gives the samples of a series, run by run, in order of time.
pub(crate) trait Samples {
    /// Replaces `batch` with the next samples; false at the end.
    fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError>;

    /// Appends the next samples to columns instead; false where `next` has to be asked.
    fn append(
        &mut self,
        _times: &mut Vec<Timestamp>,
        _values: &mut Vec<f64>,
    ) -> Result<bool, StorageError> {
        Ok(false)
    }
}

/// Samples of one series around the current windows. Staleness markers are left out.
#[derive(Debug, Default)]
pub(crate) struct SeriesBuffer {
    pub(crate) ts: Vec<Timestamp>,
    pub(crate) vs: Vec<f64>,
    /// Start timestamps of the floats; empty where they are not asked for.
    pub(crate) st: Vec<Timestamp>,
    /// Whether resets are looked for.
    pub(crate) counts_resets: bool,
    /// Indices of floats that are less than the one before, ascending.
    pub(crate) resets: Vec<u32>,
    pub(crate) histogram_ts: Vec<Timestamp>,
    pub(crate) histograms: Vec<Arc<FloatHistogram>>,
    pub(crate) histogram_st: Vec<Timestamp>,
}

impl SeriesBuffer {
    pub(crate) fn clear(&mut self) {
        self.ts.clear();
        self.vs.clear();
        self.st.clear();
        self.resets.clear();
        self.histogram_ts.clear();
        self.histograms.clear();
        self.histogram_st.clear();
    }

    /// Adds the samples of a batch with times in `(after, until]`.
    pub(crate) fn append(
        &mut self,
        batch: &SampleBatch,
        after: Timestamp,
        until: Timestamp,
        starts: bool,
    ) {
        let from = batch.timestamps.partition_point(|t| *t <= after);
        let to = batch.timestamps.partition_point(|t| *t <= until);
        if from >= to {
            return;
        }
        let starts_of = |i: usize| batch.start_timestamps.get(i).copied().unwrap_or(0);
        match &batch.values {
            BatchValues::Floats(values) => {
                let Some(values) = values.get(from..to) else { return };
                let old = self.vs.len();
                // Looks at all of them, which takes less than to be ready to stop.
                if values.iter().fold(false, |any, v| any | is_stale_nan(*v)) {
                    for (i, &v) in (from..to).zip(values) {
                        if !is_stale_nan(v) {
                            self.ts.push(batch.timestamps[i]);
                            self.vs.push(v);
                            if starts {
                                self.st.push(starts_of(i));
                            }
                        }
                    }
                } else {
                    self.ts.extend_from_slice(&batch.timestamps[from..to]);
                    self.vs.extend_from_slice(values);
                    if starts {
                        self.st.extend((from..to).map(starts_of));
                    }
                }
                if self.counts_resets {
                    self.find_resets(old);
                }
            }
            BatchValues::Histograms(histograms) => {
                for i in from..to {
                    let Some(h) = histograms.row(i).filter(|h| !is_stale_nan(h.sum)) else {
                        continue;
                    };
                    self.histogram_ts.push(batch.timestamps[i]);
                    self.histograms.push(Arc::new(h));
                    if starts {
                        self.histogram_st.push(starts_of(i));
                    }
                }
            }
        }
    }

    /// Brings floats that were appended to the columns, from index `old` on, into order with the
    /// rest: as [`SeriesBuffer::append`] of their batch.
    pub(crate) fn take_in(&mut self, old: usize, after: Timestamp, until: Timestamp) {
        if self.ts.last().is_some_and(|t| *t > until) {
            let end = old + self.ts[old..].partition_point(|t| *t <= until);
            self.ts.truncate(end);
            self.vs.truncate(end);
        }
        if self.ts.get(old).is_some_and(|t| *t <= after) {
            let dead = old..old + self.ts[old..].partition_point(|t| *t <= after);
            self.ts.drain(dead.clone());
            self.vs.drain(dead);
        }
        let new = self.vs.get(old..).unwrap_or_default();
        if new.iter().fold(false, |any, v| any | is_stale_nan(*v)) {
            let mut kept = old;
            for i in old..self.vs.len() {
                if !is_stale_nan(self.vs[i]) {
                    (self.ts[kept], self.vs[kept]) = (self.ts[i], self.vs[i]);
                    kept += 1;
                }
            }
            self.ts.truncate(kept);
            self.vs.truncate(kept);
        }
        if self.counts_resets {
            self.find_resets(old);
        }
    }

    fn find_resets(&mut self, from: usize) {
        /// Samples that are looked at together; hardly ever there is a reset among them.
        const TOGETHER: usize = 32;
        let mut start = from.max(1);
        while let (Some(new), Some(old)) = (self.vs.get(start..), self.vs.get(start - 1..)) {
            if new.is_empty() {
                return;
            }
            let n = new.len().min(TOGETHER);
            let (new, old) = (&new[..n], &old[..n]);
            if new.iter().zip(old).fold(false, |any, (new, old)| any | (new < old)) {
                let less = (0..n).filter(|i| new[*i] < old[*i]);
                self.resets.extend(less.map(|i| (start + i) as u32));
            }
            start += n;
        }
    }
}

/// The floats of one window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    pub(crate) ts: &'a [Timestamp],
    pub(crate) vs: &'a [f64],
    /// As many as `ts`, or none.
    pub(crate) st: &'a [Timestamp],
    /// Indices of resets after the first sample of the window, counted from `base`.
    pub(crate) resets: &'a [u32],
    pub(crate) base: u32,
    pub(crate) range_start: Timestamp,
    pub(crate) range_end: Timestamp,
    /// The evaluation time.
    pub(crate) t: Timestamp,
}

/// What kernels noticed about a series; the caller turns it into annotations, which name the
/// metric.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    /// Floats and histograms in one window of a function that cannot take both.
    pub(crate) mixed: bool,
    /// Histograms were ignored beside floats.
    pub(crate) ignored: bool,
    pub(crate) not_counter: bool,
    pub(crate) not_gauge: bool,
    /// Exponential and custom buckets met.
    pub(crate) mixed_schemas: bool,
    pub(crate) reset_collision: bool,
    /// Custom bounds differed, in an addition, a subtraction, an aggregation.
    pub(crate) reconciled_add: bool,
    pub(crate) reconciled_sub: bool,
    pub(crate) reconciled_agg: bool,
    pub(crate) start_overlaps: u32,
    /// Quantiles outside of 0 to 1.
    pub(crate) bad_quantiles: Vec<f64>,
}

impl Notes {
    pub(crate) fn is_empty(&self) -> bool {
        !(self.mixed
            || self.ignored
            || self.not_counter
            || self.not_gauge
            || self.mixed_schemas
            || self.reset_collision
            || self.reconciled_add
            || self.reconciled_sub
            || self.reconciled_agg
            || self.start_overlaps > 0
            || !self.bad_quantiles.is_empty())
    }

    pub(crate) fn bad_quantile(&mut self, q: f64) {
        if self.bad_quantiles.iter().all(|b| b.to_bits() != q.to_bits()) {
            self.bad_quantiles.push(q);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) struct Owned {
        buffer: SeriesBuffer,
        range_start: Timestamp,
        range_end: Timestamp,
    }

    /// A window over these samples.
    pub(crate) fn window(ts: &[i64], vs: &[f64], range_start: i64, range_end: i64) -> Owned {
        let mut buffer = SeriesBuffer { ts: ts.to_vec(), vs: vs.to_vec(), ..Default::default() };
        buffer.find_resets(0);
        Owned { buffer, range_start, range_end }
    }

    impl Owned {
        pub(crate) fn get(&self) -> Window<'_> {
            Window {
                ts: &self.buffer.ts,
                vs: &self.buffer.vs,
                st: &[],
                resets: &self.buffer.resets,
                base: 0,
                range_start: self.range_start,
                range_end: self.range_end,
                t: self.range_end,
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn appended_columns_are_taken_in_as_batches_are(
            runs in proptest::collection::vec(proptest::collection::vec((1_i64..9, 0_u8..6), 0..9), 1..6),
            after in -5_i64..60,
            length in 0_i64..150,
        ) {
            let mut t = 0;
            let [mut one, mut two] =
                [(); 2].map(|()| SeriesBuffer { counts_resets: true, ..Default::default() });
            for run in runs {
                let mut batch = SampleBatch::default();
                let (ts, vs) = batch.clear_floats();
                for (gap, v) in run {
                    t += gap;
                    ts.push(t);
                    vs.push(if v == 0 { firesteel_model::stale_nan() } else { f64::from(v) });
                }
                let old = two.ts.len();
                two.ts.extend_from_slice(ts);
                two.vs.extend_from_slice(vs);
                one.append(&batch, after, after + length, false);
                two.take_in(old, after, after + length);
                proptest::prop_assert_eq!((&one.ts, &one.vs), (&two.ts, &two.vs));
                proptest::prop_assert_eq!(&one.resets, &two.resets);
            }
        }
    }

    #[test]
    fn grids() {
        assert_eq!(Grid::range(0, 100, 30), Grid { start: 0, step: 30, n: 4 });
        assert_eq!(Grid::range(0, 100, 30).end(), 90);
        assert_eq!(Grid::range(10, 9, 30).n, 0);
    }
}
