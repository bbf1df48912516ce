//! Runs a function of a range vector over one series after the other.

use std::{collections::VecDeque, ops::Range};

use firesteel_model::{
    Timestamp,
    storage::{QueryContext, SampleBatch},
};

use super::{
    Notes, Samples, SeriesBuffer, Window, WindowSpec, kahan, over_time,
    rate::{self, RateKind},
};
use crate::{engine::block::RowBuf, engine::error::EvalError, functions::FunctionId};

/// The modifier of a range selector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extend {
    #[default]
    None,
    Anchored,
    Smoothed,
}

/// What to compute.
#[derive(Debug)]
pub(crate) struct RangeJob<'a> {
    pub(crate) func: FunctionId,
    pub(crate) spec: WindowSpec,
    pub(crate) extend: Extend,
    /// Scalar arguments, one value per step each.
    pub(crate) params: &'a [Vec<f64>],
    /// Whether start timestamps tell resets.
    pub(crate) starts: bool,
    /// Whether it is an instant selector under `smoothed`, not a function.
    pub(crate) interpolate: bool,
}

/// Computes a job for series after series; one per thread.
#[derive(Debug)]
pub(crate) struct RangeRunner<'a> {
    pub(super) job: &'a RangeJob<'a>,
    pub(super) buffer: SeriesBuffer,
    cursor: Cursor,
    best: Best,
    pub(super) scratch: Vec<f64>,
    /// What was noticed about the current series.
    pub(crate) notes: Notes,
    pub(super) error: Option<String>,
    /// Samples in all windows so far.
    pub(crate) window_samples: u64,
    /// Samples in the largest window of the current series.
    pub(crate) peak_window: u64,
    /// Samples in the last window.
    pub(crate) last_window: u64,
    /// Samples read so far.
    pub(crate) samples_read: u64,
    /// Stops it.
    ctx: Option<&'a QueryContext>,
}

/// Samples that may be the best of a window, by index.
#[derive(Clone, Debug, Default)]
struct Best {
    kept: VecDeque<(usize, f64)>,
    /// Samples before this index have been looked at.
    seen: usize,
}

/// Edges of the current window as indices into the buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    pub(super) low: usize,
    pub(super) high: usize,
    reset_low: usize,
    reset_high: usize,
    pub(super) histogram_low: usize,
    pub(super) histogram_high: usize,
}

/// Samples of windows between two looks at whether to go on.
const PIECE: usize = 1 << 22;

/// Windows up to this many samples are searched whole for the best.
const SHORT: usize = 192;

/// Dead samples before the window that are kept before they are dropped.
const SLACK: usize = 1024;

/// Whether a function looks at the resets of its windows.
const fn counts_resets(func: FunctionId) -> bool {
    matches!(func, FunctionId::Rate | FunctionId::Increase | FunctionId::Resets)
}

impl<'a> RangeRunner<'a> {
    pub(crate) fn new(job: &'a RangeJob<'a>) -> Self {
        Self {
            job,
            buffer: SeriesBuffer { counts_resets: counts_resets(job.func), ..Default::default() },
            cursor: Cursor::default(),
            best: Best::default(),
            scratch: Vec::new(),
            notes: Notes::default(),
            error: None,
            window_samples: 0,
            peak_window: 0,
            last_window: 0,
            samples_read: 0,
            ctx: None,
        }
    }

    /// The same, stopped by its query: windows of one series may be hours of work.
    pub(crate) const fn watched(mut self, ctx: &'a QueryContext) -> Self {
        self.ctx = Some(ctx);
        self
    }

    /// Computes the job for the series whose samples `feed` gives, into `row`, which is clear.
    pub(crate) fn series(
        &mut self,
        batch: &mut SampleBatch,
        feed: &mut dyn Samples,
        row: &mut RowBuf,
    ) -> Result<(), EvalError> {
        let steps = self.job.spec.grid.n;
        self.buffer.clear();
        (self.peak_window, self.last_window) = (0, 0);
        self.cursor = Cursor::default();
        self.best.kept.clear();
        self.best.seen = 0;
        let (mut step, mut more) = (0, steps > 0);
        let after = self.edges(0).0;
        let until = self.edges(steps.saturating_sub(1)).1;
        let mut seen = Timestamp::MIN;
        while step < steps {
            let b = &mut self.buffer;
            let old = b.ts.len();
            let held = old + b.histograms.len();
            if more && !self.job.starts && feed.append(&mut b.ts, &mut b.vs)? {
                seen = b.ts.last().copied().unwrap_or(seen);
                b.take_in(old, after, until);
            } else if more && feed.next(batch)? {
                b.append(batch, after, until, self.job.starts);
                seen = batch.timestamps.last().copied().unwrap_or(seen);
            } else {
                (more, seen) = (false, Timestamp::MAX);
            }
            self.samples_read += (b.ts.len() + b.histograms.len() - held) as u64;
            // The windows that have all their samples by now.
            let ready = step + self.ready(step..steps, seen);
            if ready > step {
                while step < ready {
                    let held = self.buffer.ts.len() + self.buffer.histograms.len() * 16;
                    let piece = ready.min(step + (PIECE / held.max(1)).max(1));
                    self.compute(step..piece, row);
                    if let Some(error) = self.error.take() {
                        return Err(EvalError::Execution(error));
                    }
                    step = piece;
                    if step < ready
                        && let Some(ctx) = self.ctx
                    {
                        ctx.check()?;
                    }
                }
                self.drop_dead();
            }
        }
        Ok(())
    }

    /// Begin (exclusive) and end of the samples that the window of a step holds.
    fn edges(&self, step: usize) -> (Timestamp, Timestamp) {
        let spec = &self.job.spec;
        let (start, end) = spec.edges(step);
        (start.saturating_sub(spec.before), end.saturating_add(spec.after))
    }

    /// How many of the steps have windows that end before or at `seen`.
    fn ready(&self, steps: Range<usize>, seen: Timestamp) -> usize {
        rate::search(steps.len(), |i| self.edges(steps.start + i).1 > seen)
    }

    fn drop_dead(&mut self) {
        let c = &mut self.cursor;
        let b = &mut self.buffer;
        if c.low > SLACK {
            let dead = c.low;
            self.best.kept.iter_mut().for_each(|kept| kept.0 = kept.0.wrapping_sub(dead));
            self.best.kept.retain(|kept| kept.0 < usize::MAX / 2);
            self.best.seen = self.best.seen.saturating_sub(dead);
            b.ts.drain(..dead);
            b.vs.drain(..dead);
            b.st.drain(..dead.min(b.st.len()));
            let gone = b.resets.partition_point(|r| (*r as usize) < dead);
            b.resets.drain(..gone);
            b.resets.iter_mut().for_each(|r| *r -= dead as u32);
            c.reset_low = c.reset_low.saturating_sub(gone);
            c.reset_high = c.reset_high.saturating_sub(gone);
            c.high -= dead;
            c.low = 0;
        }
        if c.histogram_low > SLACK / 16 {
            let dead = c.histogram_low;
            b.histogram_ts.drain(..dead);
            b.histograms.drain(..dead);
            b.histogram_st.drain(..dead.min(b.histogram_st.len()));
            c.histogram_high -= dead;
            c.histogram_low = 0;
        }
    }

    fn compute(&mut self, steps: Range<usize>, row: &mut RowBuf) {
        if self.buffer.histograms.is_empty() {
            self.compute_floats(steps, row);
        } else {
            self.compute_mixed(steps, row);
        }
    }

    /// Calls `f` with each window that has samples.
    #[inline(always)]
    fn each(
        &mut self,
        steps: Range<usize>,
        row: &mut RowBuf,
        mut f: impl FnMut(&Window<'_>, usize) -> Option<f64>,
    ) {
        let (spec, b) = (self.job.spec, &self.buffer);
        let mut c = self.cursor;
        let (mut total, mut peak) = (0, 0);
        let first = steps.start;
        let (start, end) = spec.edges(first);
        let stride = if spec.at.is_some() { 0 } else { spec.grid.step };
        let (mut start, mut end) = (start, end);
        let has_resets = !b.resets.is_empty();
        let mut pace = Pace::default();
        for step in steps {
            c.advance_at(
                &mut pace,
                &b.ts,
                start.saturating_sub(spec.before),
                end.saturating_add(spec.after),
            );
            if has_resets {
                c.advance_resets(b);
            }
            let n = c.high - c.low;
            if n > 0 {
                total += n;
                peak = n.max(peak);
                let window = c.window(b, &spec, step, start, end);
                if let Some(v) = f(&window, step) {
                    row.set(step, v);
                }
            }
            // The ends of all steps are representable; behind the last it does not matter.
            start = start.wrapping_add(stride);
            end = end.wrapping_add(stride);
        }
        self.cursor = c;
        self.last_window = (c.high - c.low) as u64;
        self.window_samples += total as u64;
        self.peak_window = self.peak_window.max(peak as u64);
    }

    /// Windows of floats alone: one loop per function, so that each is compiled for itself.
    fn compute_floats(&mut self, steps: Range<usize>, row: &mut RowBuf) {
        use FunctionId as F;
        let job = self.job;
        if job.interpolate || job.extend != Extend::None {
            let mut scratch = std::mem::take(&mut self.scratch);
            let (mut notes, mut error) = (std::mem::take(&mut self.notes), None);
            self.each(steps, row, |w, step| {
                float_step(job, w, step, &mut scratch, &mut notes, &mut error)
            });
            (self.scratch, self.notes) = (scratch, notes);
            self.error = error;
            return;
        }
        let mut placement = rate::Placement::default();
        match job.func {
            F::Rate | F::Increase if job.starts => {
                let kind = RateKind { counter: true, per_second: job.func == F::Rate };
                self.each(steps, row, |w, _| rate::extrapolated(w, kind));
                self.note_overlaps();
            }
            F::Rate => {
                let seconds = Some(job.spec.range as f64 / 1000.0);
                self.each(steps, row, |w, _| {
                    rate::extrapolated_next(w, true, seconds, &mut placement)
                });
            }
            F::Increase => {
                self.each(steps, row, |w, _| rate::extrapolated_next(w, true, None, &mut placement))
            }
            F::Delta => self
                .each(steps, row, |w, _| rate::extrapolated_next(w, false, None, &mut placement)),
            F::SumOverTime => self.each(steps, row, |w, _| Some(kahan::sum(w.vs))),
            F::AvgOverTime => self.each(steps, row, |w, _| Some(kahan::mean(w.vs))),
            F::MaxOverTime => self.extremes(steps, row, over_time::max, |new, old| new > old),
            F::MinOverTime => self.extremes(steps, row, over_time::min, |new, old| new < old),
            F::CountOverTime => self.each(steps, row, |w, _| Some(w.vs.len() as f64)),
            F::LastOverTime => self.each(steps, row, |w, _| w.vs.last().copied()),
            _ => {
                let mut scratch = std::mem::take(&mut self.scratch);
                let (mut notes, mut error) = (std::mem::take(&mut self.notes), None);
                self.each(steps, row, |w, step| {
                    float_step(job, w, step, &mut scratch, &mut notes, &mut error)
                });
                (self.scratch, self.notes) = (scratch, notes);
                self.error = error;
            }
        }
    }

    /// `max_over_time` and `min_over_time`. Short windows are searched one by one, which takes many
    /// samples at a time; for long ones, of the samples so far those are kept that are not beaten by
    /// a newer one, so the best of a window is the first of them.
    #[inline(always)]
    fn extremes(
        &mut self,
        steps: Range<usize>,
        row: &mut RowBuf,
        of_window: impl Fn(&[f64]) -> f64,
        better: impl Fn(f64, f64) -> bool,
    ) {
        let mut best = std::mem::take(&mut self.best);
        self.each(steps, row, |w, _| {
            if w.vs.len() <= SHORT {
                return Some(of_window(w.vs));
            }
            let (low, high) = (w.base as usize, w.base as usize + w.vs.len());
            for i in best.seen.max(low)..high {
                let v = w.vs[i - low];
                if v.is_nan() {
                    continue;
                }
                while best.kept.back().is_some_and(|(_, old)| better(v, *old)) {
                    best.kept.pop_back();
                }
                best.kept.push_back((i, v));
            }
            best.seen = high;
            while best.kept.front().is_some_and(|(i, _)| *i < low) {
                best.kept.pop_front();
            }
            Some(best.kept.front().map_or(f64::NAN, |(_, v)| *v))
        });
        self.best = best;
    }

    /// Start timestamps that overlap the sample before, as far as windows were computed.
    fn note_overlaps(&mut self) {
        if self.job.starts && rate::has_start_overlap(&self.buffer.ts, &self.buffer.st) {
            self.notes.start_overlaps = 1;
        }
    }

    /// Windows of a series that has histograms.
    fn compute_mixed(&mut self, steps: Range<usize>, row: &mut RowBuf) {
        for step in steps {
            let spec = self.job.spec;
            let (start, end) = spec.edges(step);
            let (from, to) = (start.saturating_sub(spec.before), end.saturating_add(spec.after));
            self.cursor.advance(&self.buffer, from, to);
            self.cursor.advance_resets(&self.buffer);
            self.cursor.advance_histograms(&self.buffer, from, to);
            let c = self.cursor;
            let size = c.high - c.low
                + self.buffer.histograms[c.histogram_low..c.histogram_high]
                    .iter()
                    .map(|h| crate::engine::block::histogram_samples(h))
                    .sum::<usize>();
            self.window_samples += size as u64;
            self.peak_window = self.peak_window.max(size as u64);
            self.last_window = size as u64;
            self.mixed_step(step, c, row);
        }
    }
}

/// By how much the edges moved last. Samples and steps are regular, so they mostly move by the same
/// again, and need not look at what lies between.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    low: usize,
    high: usize,
}

/// The first index from `at` on, up to `end`, whose time is after `t`; tries `at + pace` first.
#[inline(always)]
fn first_after(ts: &[Timestamp], at: usize, end: usize, t: Timestamp, pace: &mut usize) -> usize {
    let guess = at + *pace;
    if guess <= end
        && (*pace == 0 || ts[guess - 1] <= t)
        && (guess == end || ts.get(guess).is_none_or(|next| *next > t))
    {
        return guess;
    }
    let mut found = at;
    while found < end && ts[found] <= t {
        found += 1;
    }
    *pace = found - at;
    found
}

impl Cursor {
    /// [`Cursor::advance`] for step after step.
    #[inline(always)]
    fn advance_at(
        &mut self,
        pace: &mut Pace,
        ts: &[Timestamp],
        after: Timestamp,
        until: Timestamp,
    ) {
        self.high = first_after(ts, self.high, ts.len(), until, &mut pace.high);
        self.low = first_after(ts, self.low, self.high, after, &mut pace.low);
    }

    #[inline(always)]
    fn advance(&mut self, b: &SeriesBuffer, after: Timestamp, until: Timestamp) {
        while self.high < b.ts.len() && b.ts[self.high] <= until {
            self.high += 1;
        }
        while self.low < self.high && b.ts[self.low] <= after {
            self.low += 1;
        }
    }

    #[inline(always)]
    fn advance_resets(&mut self, b: &SeriesBuffer) {
        while self.reset_high < b.resets.len() && (b.resets[self.reset_high] as usize) < self.high {
            self.reset_high += 1;
        }
        while self.reset_low < self.reset_high && b.resets[self.reset_low] as usize <= self.low {
            self.reset_low += 1;
        }
    }

    fn advance_histograms(&mut self, b: &SeriesBuffer, after: Timestamp, until: Timestamp) {
        let ts = &b.histogram_ts;
        while self.histogram_high < ts.len() && ts[self.histogram_high] <= until {
            self.histogram_high += 1;
        }
        while self.histogram_low < self.histogram_high && ts[self.histogram_low] <= after {
            self.histogram_low += 1;
        }
    }

    #[inline(always)]
    pub(super) fn window<'b>(
        &self,
        b: &'b SeriesBuffer,
        spec: &WindowSpec,
        step: usize,
        range_start: Timestamp,
        range_end: Timestamp,
    ) -> Window<'b> {
        Window {
            ts: &b.ts[self.low..self.high],
            vs: &b.vs[self.low..self.high],
            st: b.st.get(self.low..self.high).unwrap_or_default(),
            resets: &b.resets[self.reset_low..self.reset_high],
            base: self.low as u32,
            range_start,
            range_end,
            t: spec.grid.time(step),
        }
    }
}

/// One window of floats, not empty, for any function.
pub(super) fn float_step(
    job: &RangeJob<'_>,
    w: &Window<'_>,
    step: usize,
    scratch: &mut Vec<f64>,
    notes: &mut Notes,
    error: &mut Option<String>,
) -> Option<f64> {
    use FunctionId as F;
    if job.interpolate {
        return smoothed_value(w);
    }
    let param = |i: usize| job.params.get(i).and_then(|p| p.get(step)).copied().unwrap_or(f64::NAN);
    let seconds = |t: i64| t as f64 / 1000.0;
    let counted = |counter, per_second| {
        let kind = RateKind { counter, per_second };
        match job.extend {
            Extend::None => rate::extrapolated(w, kind),
            Extend::Anchored => rate::extended(w, kind, false),
            Extend::Smoothed => rate::extended(w, kind, true),
        }
    };
    match job.func {
        F::Rate => counted(true, true),
        F::Increase => counted(true, false),
        F::Delta => counted(false, false),
        F::Irate => rate::instant(w, true),
        F::Idelta => rate::instant(w, false),
        F::Resets => anchored(job, w).and_then(|w| rate::resets(&w)),
        F::Changes => anchored(job, w).and_then(|w| rate::changes(w.vs)),
        F::SumOverTime => Some(kahan::sum(w.vs)),
        F::AvgOverTime => Some(kahan::mean(w.vs)),
        F::MaxOverTime => Some(over_time::max(w.vs)),
        F::MinOverTime => Some(over_time::min(w.vs)),
        F::CountOverTime => Some(w.vs.len() as f64),
        F::PresentOverTime | F::AbsentOverTime => Some(1.0),
        F::FirstOverTime => w.vs.first().copied(),
        F::LastOverTime => w.vs.last().copied(),
        F::TsOfFirstOverTime => w.ts.first().map(|t| seconds(*t)),
        // Prometheus takes the later of this and the last histogram, 0 where there is none.
        F::TsOfLastOverTime => w.ts.last().map(|t| seconds((*t).max(0))),
        F::TsOfMaxOverTime => Some(seconds(w.ts[over_time::index_of_max(w.vs)])),
        F::TsOfMinOverTime => Some(seconds(w.ts[over_time::index_of_min(w.vs)])),
        F::StddevOverTime => Some(over_time::variance(w.vs).sqrt()),
        F::StdvarOverTime => Some(over_time::variance(w.vs)),
        F::MadOverTime => Some(over_time::median_absolute_deviation(w.vs, scratch)),
        F::QuantileOverTime => {
            let q = param(0);
            if !(0.0..=1.0).contains(&q) {
                notes.bad_quantile(q);
            }
            Some(over_time::window_quantile(q, w.vs, scratch))
        }
        F::Deriv => over_time::deriv(w.ts, w.vs),
        F::PredictLinear => over_time::predict_linear(w.ts, w.vs, w.t, param(0)),
        F::DoubleExponentialSmoothing => {
            let (sf, tf) = (param(0), param(1));
            for (what, factor, short) in [("smoothing", sf, "sf"), ("trend", tf, "tf")] {
                if factor <= 0.0 || factor >= 1.0 {
                    error.get_or_insert_with(|| {
                        format!(
                            "invalid {what} factor. Expected: 0 < {short} < 1, got: {factor:.6}"
                        )
                    });
                    return None;
                }
            }
            over_time::double_exponential_smoothing(w.vs, sf, tf)
        }
        _ => {
            error.get_or_insert_with(|| format!("{:?} is no function of a range vector", job.func));
            None
        }
    }
}

/// Under `anchored`, the window from the last sample at or before the range's begin; `None` where
/// there is nothing after it.
fn anchored<'w>(job: &RangeJob<'_>, w: &Window<'w>) -> Option<Window<'w>> {
    if job.extend == Extend::None {
        return Some(*w);
    }
    let behind = w.ts.partition_point(|t| *t <= w.range_start);
    if behind >= w.ts.len() {
        return None;
    }
    let first = behind.saturating_sub(1);
    let base = w.base + first as u32;
    let skip = w.resets.partition_point(|r| *r <= base);
    Some(Window {
        ts: &w.ts[first..],
        vs: &w.vs[first..],
        st: w.st.get(first..).unwrap_or_default(),
        resets: &w.resets[skip..],
        base,
        ..*w
    })
}

/// The value in the middle of the range, interpolated between its neighbours; the last value where
/// nothing follows.
fn smoothed_value(w: &Window<'_>) -> Option<f64> {
    let t = w.range_end - (w.range_end - w.range_start) / 2;
    let next = w.ts.partition_point(|s| *s < t);
    if w.ts.get(next) == Some(&t) {
        return Some(w.vs[next]);
    }
    let before = next.checked_sub(1)?;
    if next == w.ts.len() {
        return Some(w.vs[before]);
    }
    let point = |i: usize| (w.ts[i], w.vs[i]);
    Some(rate::interpolate(point(before), point(next), t, false))
}
