//! Instant selectors: the newest sample of a series at each step, not older than the lookback.

use std::sync::Arc;

use firesteel_model::{
    FloatHistogram, Timestamp, is_stale_nan,
    storage::{BatchValues, SampleBatch, StorageError},
};

use super::{Grid, Samples};
use crate::engine::block::{RowBuf, bits, histogram_samples};

/// What of a sample becomes the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Its value.
    Value,
    /// Its time in seconds (`timestamp`).
    Time,
    /// Its start time in seconds (`start_timestamp`).
    StartTime,
    /// Its time in milliseconds (for `info`).
    Millis,
}

/// What to select.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InstantJob {
    pub(crate) grid: Grid,
    pub(crate) offset: i64,
    pub(crate) at: Option<Timestamp>,
    /// Milliseconds.
    pub(crate) lookback: i64,
    pub(crate) pick: Pick,
}

impl InstantJob {
    /// The time that a step looks at.
    #[inline(always)]
    fn time(&self, step: usize) -> Timestamp {
        self.at.unwrap_or_else(|| self.grid.time(step)).saturating_sub(self.offset)
    }
}

/// The newest sample seen so far.
#[derive(Clone, Debug, Default)]
struct Newest {
    t: Timestamp,
    /// The value to emit; the stale NaN where there is none.
    v: f64,
    start: Timestamp,
    histogram: Option<Arc<FloatHistogram>>,
    any: bool,
}

/// Selects from series after series; one per thread.
#[derive(Debug)]
pub(crate) struct InstantRunner {
    job: InstantJob,
    newest: Newest,
    /// Samples emitted, as Prometheus counts them.
    pub(crate) samples: u64,
    /// Whether a histogram was met where only the times of floats are asked for.
    pub(crate) has_histograms: bool,
}

impl InstantRunner {
    pub(crate) fn new(job: InstantJob) -> Self {
        Self { job, newest: Newest::default(), samples: 0, has_histograms: false }
    }

    /// Selects from the series whose samples `feed` gives, into `row`, which is clear.
    pub(crate) fn series(
        &mut self,
        batch: &mut SampleBatch,
        feed: &mut dyn Samples,
        row: &mut RowBuf,
    ) -> Result<(), StorageError> {
        let steps = self.job.grid.n;
        let mut step = 0;
        self.newest = Newest::default();
        while step < steps && feed.next(batch)? {
            step = match &batch.values {
                BatchValues::Floats(vs) if self.job.pick == Pick::Value => {
                    self.floats(&batch.timestamps, vs, step, row)
                }
                _ => self.any(batch, step, row),
            };
        }
        self.emit(step, Timestamp::MAX, row);
        Ok(())
    }

    /// Takes in floats and emits the steps before the last of them.
    #[inline]
    fn floats(&mut self, ts: &[i64], vs: &[f64], mut step: usize, row: &mut RowBuf) -> usize {
        let (Some(&first), Some(&last), Some(&last_v)) = (ts.first(), ts.last(), vs.last()) else {
            return step;
        };
        step = self.emit(step, first, row);
        let job = self.job;
        let stride = if job.at.is_some() { 0 } else { job.grid.step };
        let mut t = job.time(step);
        let mut at = 0;
        let mut emitted = 0;
        let (values, present) = (&mut row.values[..job.grid.n], &mut row.present[..]);
        let vs = &vs[..ts.len().min(vs.len())];
        // Where steps are denser than samples each sample fills a run of them.
        let dense = stride > 0 && last.saturating_sub(first) / stride > 4 * ts.len() as i64;
        while dense && step < job.grid.n && t < last && at + 1 < vs.len() {
            // The steps from `t` on that lie before the next sample.
            let before = ts[at + 1].saturating_sub(t).saturating_add(stride - 1).max(0) / stride;
            // Those of them that are not too old.
            let fresh = ts[at].saturating_add(job.lookback).saturating_sub(t);
            let fresh = fresh.saturating_add(stride - 1).max(0) / stride;
            let left = job.grid.n - step;
            let run = usize::try_from(before).map_or(left, |n| n.min(left));
            let taken = usize::try_from(fresh).map_or(run, |n| n.min(run));
            if taken > 0 && !is_stale_nan(vs[at]) {
                values[step..step + taken].fill(vs[at]);
                bits::set_run(present, step..step + taken);
                emitted += taken as u64;
            }
            step += run;
            t = t.saturating_add(stride.saturating_mul(run as i64));
            at += 1;
        }
        while step < job.grid.n && t < last {
            // `ts[at] <= t < last`, so the search ends.
            while ts.get(at + 1).is_some_and(|next| *next <= t) {
                at += 1;
            }
            let (Some(&v), Some(&sampled)) = (vs.get(at), ts.get(at)) else { break };
            let taken = (sampled > t.saturating_sub(job.lookback)) & !is_stale_nan(v);
            values[step] = v;
            present[step / 64] |= u64::from(taken) << (step % 64);
            emitted += u64::from(taken);
            step += 1;
            t = t.saturating_add(stride);
        }
        self.samples += emitted;
        self.newest = Newest { t: last, v: last_v, start: 0, histogram: None, any: true };
        step
    }

    /// Takes in any samples and emits the steps before the last of them.
    fn any(&mut self, batch: &SampleBatch, mut step: usize, row: &mut RowBuf) -> usize {
        for (i, &t) in batch.timestamps.iter().enumerate() {
            step = self.emit(step, t, row);
            if step == self.job.grid.n {
                break;
            }
            let start = batch.start_timestamps.get(i).copied().unwrap_or(0);
            let (v, histogram) = match &batch.values {
                BatchValues::Floats(vs) => {
                    (vs.get(i).copied().unwrap_or_else(firesteel_model::stale_nan), None)
                }
                BatchValues::Histograms(h) => {
                    // Rows are only built for samples that a step looks at.
                    let next = batch.timestamps.get(i + 1).copied().unwrap_or(Timestamp::MAX);
                    if self.job.time(step) >= next {
                        continue;
                    }
                    let row = h.row(i).unwrap_or_default();
                    (row.sum, Some(Arc::new(row)))
                }
            };
            self.newest = Newest { t, v, start, histogram, any: true };
        }
        step
    }

    /// Emits the newest sample for the steps before `until`; returns the first other step.
    fn emit(&mut self, mut step: usize, until: Timestamp, row: &mut RowBuf) -> usize {
        let job = self.job;
        while step < job.grid.n {
            let t = job.time(step);
            if t >= until {
                break;
            }
            let n = &self.newest;
            if n.any && n.t > t.saturating_sub(job.lookback) && !is_stale_nan(n.v) {
                self.samples += 1;
                match (job.pick, &n.histogram) {
                    (Pick::Value, None) => row.set(step, n.v),
                    (Pick::Value, Some(h)) => {
                        self.samples += histogram_samples(h) as u64 - 1;
                        row.set_histogram(step, Arc::clone(h));
                    }
                    (Pick::Time, _) => row.set(step, n.t as f64 / 1000.0),
                    (Pick::StartTime, _) => row.set(step, n.start as f64 / 1000.0),
                    (Pick::Millis, Some(_)) => self.has_histograms = true,
                    (Pick::Millis, None) => row.set(step, n.t as f64),
                }
            }
            step += 1;
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firesteel_model::stale_nan;

    struct Chunks<'a>(std::slice::Chunks<'a, (i64, f64)>);

    impl Samples for Chunks<'_> {
        fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
            let (ts, vs) = batch.clear_floats();
            let Some(chunk) = self.0.next() else { return Ok(false) };
            ts.extend(chunk.iter().map(|s| s.0));
            vs.extend(chunk.iter().map(|s| s.1));
            Ok(true)
        }
    }

    fn select(samples: &[(i64, f64)], batch_size: usize, lookback: i64) -> Vec<Option<f64>> {
        select_on(Grid::range(0, 100, 10), samples, batch_size, lookback)
    }

    fn select_on(
        grid: Grid,
        samples: &[(i64, f64)],
        batch_size: usize,
        lookback: i64,
    ) -> Vec<Option<f64>> {
        let job = InstantJob { grid, offset: 0, at: None, lookback, pick: Pick::Value };
        let mut row = RowBuf::new(grid.n);
        let mut feed = Chunks(samples.chunks(batch_size));
        let mut runner = InstantRunner::new(job);
        runner.series(&mut SampleBatch::default(), &mut feed, &mut row).unwrap();
        let row = row.as_row();
        (0..grid.n).map(|i| row.has(i).then(|| row.values[i])).collect()
    }

    proptest::proptest! {
        #[test]
        fn each_step_has_what_a_search_finds(
            gaps in proptest::collection::vec((1_i64..400, 0_u8..5), 1..30),
            size in 1_usize..31,
            lookback in 1_i64..200,
            step in 1_i64..50,
        ) {
            let mut t = -100;
            let samples: Vec<(i64, f64)> = gaps
                .into_iter()
                .map(|(gap, kind)| {
                    t += gap;
                    (t, if kind == 0 { stale_nan() } else { t as f64 })
                })
                .collect();
            let grid = Grid::range(0, 1000, step);
            let right: Vec<Option<u64>> = (0..grid.n)
                .map(|i| {
                    let at = samples.partition_point(|s| s.0 <= grid.time(i)).checked_sub(1)?;
                    let (t, v) = samples[at];
                    (t > grid.time(i) - lookback && !is_stale_nan(v)).then(|| v.to_bits())
                })
                .collect();
            let got = select_on(grid, &samples, size, lookback);
            let got: Vec<_> = got.into_iter().map(|v| v.map(f64::to_bits)).collect();
            proptest::prop_assert_eq!(got, right);
        }
    }

    #[test]
    fn takes_the_newest_sample_within_the_lookback() {
        let samples = [(-5, 0.5), (5, 1.0), (10, 2.0), (12, 3.0), (41, stale_nan()), (70, 4.0)];
        let (n, x, one, two, three, four) =
            (None, Some(0.5), Some(1.0), Some(2.0), Some(3.0), Some(4.0));
        for size in 1..7 {
            let _ = one;
            let got = select(&samples, size, 20);
            assert_eq!(got, [x, two, three, three, n, n, n, four, four, n, n], "{size}");
        }
        assert_eq!(select(&[], 1, 20), [None; 11]);
    }
}
