//! Windows of series that have native histograms, alone or beside floats.

use std::sync::Arc;

use firesteel_model::{CounterResetHint, FloatHistogram, Timestamp};

use super::{
    Notes, RangeRunner, Window,
    range::{Cursor, Extend, float_step},
    rate::{self, RateKind, Sampled, is_start_reset, search},
};
use crate::{
    engine::block::RowBuf,
    functions::FunctionId,
    histogram::{self, Incompatible, Mode, Outcome, Work},
};

/// The histograms of one window.
#[derive(Clone, Copy)]
struct Histograms<'a> {
    ts: &'a [Timestamp],
    hs: &'a [Arc<FloatHistogram>],
    /// As many as `ts`, or none.
    st: &'a [Timestamp],
}

/// A sample of either kind.
#[derive(Clone, Copy)]
enum Either<'a> {
    Float(f64),
    Histogram(&'a FloatHistogram),
}

struct Point<'a> {
    t: Timestamp,
    start: Timestamp,
    value: Either<'a>,
}

/// What a window of histograms gives.
enum Value {
    Float(f64),
    Histogram(FloatHistogram),
}

impl RangeRunner<'_> {
    /// Computes a window that may have histograms.
    pub(super) fn mixed_step(&mut self, step: usize, cursor: Cursor, row: &mut RowBuf) {
        let job = self.job;
        let (start, end) = job.spec.edges(step);
        let buffer = std::mem::take(&mut self.buffer);
        let range = cursor.histogram_low..cursor.histogram_high;
        let h = Histograms {
            ts: &buffer.histogram_ts[range.clone()],
            hs: &buffer.histograms[range.clone()],
            st: buffer.histogram_st.get(range).unwrap_or_default(),
        };
        let w = cursor.window(&buffer, &job.spec, step, start, end);
        let value = if w.vs.is_empty() && h.hs.is_empty() {
            None
        } else if h.hs.is_empty() {
            self.floats(&w, step).map(Value::Float)
        } else {
            self.with_histograms(&w, h, step)
        };
        match value {
            Some(Value::Float(v)) => row.set(step, v),
            Some(Value::Histogram(h)) => row.set_histogram(step, Arc::new(h)),
            None => {}
        }
        self.buffer = buffer;
    }

    fn floats(&mut self, w: &Window<'_>, step: usize) -> Option<f64> {
        float_step(self.job, w, step, &mut self.scratch, &mut self.notes, &mut self.error)
    }

    fn with_histograms(&mut self, w: &Window<'_>, h: Histograms<'_>, step: usize) -> Option<Value> {
        use FunctionId as F;
        let floats = w.vs.len();
        if self.job.interpolate {
            if floats > 0 {
                self.notes.mixed = true;
                return None;
            }
            return smoothed(h, w, &mut self.notes).map(Value::Histogram);
        }
        let counted = |runner: &mut Self, counter, per_second| {
            if floats > 0 {
                runner.notes.mixed = true;
                return None;
            }
            let kind = RateKind { counter, per_second };
            match runner.job.extend {
                Extend::None => extrapolated(h, w, kind, &mut runner.notes),
                extend => extended(h, w, kind, extend == Extend::Smoothed, &mut runner.notes),
            }
            .map(Value::Histogram)
        };
        match self.job.func {
            F::Rate => counted(self, true, true),
            F::Increase => counted(self, true, false),
            F::Delta => counted(self, false, false),
            F::Irate => instant(w, h, true, &mut self.notes),
            F::Idelta => instant(w, h, false, &mut self.notes),
            F::SumOverTime | F::AvgOverTime => {
                if floats > 0 {
                    self.notes.mixed = true;
                    return None;
                }
                let mean = self.job.func == F::AvgOverTime;
                sum(h.hs, mean, &mut self.notes).map(Value::Histogram)
            }
            F::CountOverTime => Some(Value::Float((floats + h.hs.len()) as f64)),
            F::PresentOverTime | F::AbsentOverTime => Some(Value::Float(1.0)),
            F::FirstOverTime => Some(match w.ts.first() {
                Some(t) if *t < h.ts[0] => Value::Float(w.vs[0]),
                _ => Value::Histogram((*h.hs[0]).clone()),
            }),
            F::LastOverTime => {
                let last = h.hs.len() - 1;
                Some(match w.ts.last() {
                    Some(t) if *t > h.ts[last] => Value::Float(w.vs[floats - 1]),
                    _ => Value::Histogram((*h.hs[last]).clone()),
                })
            }
            F::TsOfFirstOverTime => {
                let first = w.ts.first().map_or(h.ts[0], |t| h.ts[0].min(*t));
                Some(Value::Float(first as f64 / 1000.0))
            }
            F::TsOfLastOverTime => {
                let last = h.ts[h.ts.len() - 1];
                let last = w.ts.last().map_or(last, |t| last.max(*t)).max(0);
                Some(Value::Float(last as f64 / 1000.0))
            }
            F::Resets | F::Changes => self.compare(w, h),
            F::Deriv | F::PredictLinear | F::DoubleExponentialSmoothing => {
                self.notes.ignored |= floats > 0;
                if floats == 0 { None } else { self.floats(w, step).map(Value::Float) }
            }
            _ if floats == 0 => None,
            _ => {
                self.notes.ignored = true;
                self.floats(w, step).map(Value::Float)
            }
        }
    }

    /// `resets` or `changes` over both kinds in order of time.
    fn compare(&self, w: &Window<'_>, h: Histograms<'_>) -> Option<Value> {
        let mut points: Vec<Point<'_>> = Vec::with_capacity(w.ts.len() + h.ts.len());
        points.extend((0..w.ts.len()).map(|i| Point {
            t: w.ts[i],
            start: w.st.get(i).copied().unwrap_or(0),
            value: Either::Float(w.vs[i]),
        }));
        points.extend((0..h.ts.len()).map(|i| Point {
            t: h.ts[i],
            start: h.st.get(i).copied().unwrap_or(0),
            value: Either::Histogram(&h.hs[i]),
        }));
        points.sort_by_key(|p| p.t);
        if self.job.extend == Extend::Anchored {
            let behind = points.partition_point(|p| p.t <= w.range_start);
            if behind >= points.len() {
                return None;
            }
            points.drain(..behind.saturating_sub(1));
        }
        let resets = self.job.func == FunctionId::Resets;
        let differs = |pair: &&[Point<'_>]| {
            let (a, b) = (&pair[0], &pair[1]);
            let started = resets && is_start_reset(a.start, a.t, b.start, b.t);
            match (a.value, b.value) {
                (Either::Float(a), Either::Float(b)) if resets => b < a || started,
                (Either::Float(a), Either::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
                (Either::Histogram(a), Either::Histogram(b)) if resets => {
                    started || histogram::detect_reset(b, a)
                }
                (Either::Histogram(a), Either::Histogram(b)) => !histogram::equal(a, b),
                _ => true,
            }
        };
        Some(Value::Float(points.windows(2).filter(differs).count() as f64))
    }
}

/// Subtracts, and notes what is to be said about it.
fn subtract(a: &FloatHistogram, b: &FloatHistogram, notes: &mut Notes) -> Option<FloatHistogram> {
    match histogram::subtracted(a, b) {
        Ok((h, outcome)) => {
            notes.reconciled_sub |= outcome.reconciled;
            Some(h)
        }
        Err(Incompatible) => {
            notes.mixed_schemas = true;
            None
        }
    }
}

/// Adds, and notes what is to be said about it.
fn add(a: &FloatHistogram, b: &FloatHistogram, notes: &mut Notes) -> Option<FloatHistogram> {
    match histogram::added(a, b) {
        Ok((h, outcome)) => {
            notes.reconciled_add |= outcome.reconciled;
            Some(h)
        }
        Err(Incompatible) => {
            notes.mixed_schemas = true;
            None
        }
    }
}

/// Sum or mean of histograms.
fn sum(hs: &[Arc<FloatHistogram>], mean: bool, notes: &mut Notes) -> Option<FloatHistogram> {
    let (first, rest) = hs.split_first()?;
    let mut sum = HistogramMean::new(first, mean);
    for h in rest {
        match sum.add(h) {
            Ok(outcome) => notes.reconciled_agg |= outcome.reconciled,
            Err(Incompatible) => {
                notes.mixed_schemas = true;
                return None;
            }
        }
    }
    notes.reset_collision |= sum.reset_collision();
    Some(sum.finish())
}

/// The sum or the mean of histograms, in the making; as [`super::kahan::RunningMean`] for floats.
#[derive(Clone, Debug)]
pub(crate) struct HistogramMean {
    work: Work,
    count: f64,
    mean: bool,
    incremental: bool,
    saw_reset: bool,
    saw_not_reset: bool,
}

impl HistogramMean {
    pub(crate) fn new(first: &FloatHistogram, mean: bool) -> Self {
        let mut new = Self {
            work: Work::new(first),
            count: 1.0,
            mean,
            incremental: false,
            saw_reset: false,
            saw_not_reset: false,
        };
        new.see(first);
        new
    }

    fn see(&mut self, h: &FloatHistogram) {
        self.saw_reset |= h.counter_reset_hint == CounterResetHint::Reset;
        self.saw_not_reset |= h.counter_reset_hint == CounterResetHint::NotReset;
    }

    /// Whether some said that a counter reset happened and some that none did.
    pub(crate) const fn reset_collision(&self) -> bool {
        self.saw_reset && self.saw_not_reset
    }

    pub(crate) fn add(&mut self, h: &FloatHistogram) -> Result<Outcome, Incompatible> {
        self.see(h);
        self.count += 1.0;
        if !self.mean {
            return self.work.combine(h, Mode::Kahan);
        }
        if !self.incremental {
            let mut next = self.work.clone();
            let outcome = next.combine(h, Mode::Kahan)?;
            if !next.has_overflow() {
                self.work = next;
                return Ok(outcome);
            }
            self.incremental = true;
            self.work.divide(self.count - 1.0);
        }
        self.work.scale((self.count - 1.0) / self.count);
        let mut part = h.clone();
        histogram::divide(&mut part, self.count);
        self.work.combine(&part, Mode::Kahan)
    }

    pub(crate) fn finish(mut self) -> FloatHistogram {
        if self.mean && !self.incremental {
            self.work.divide(self.count);
        }
        self.work.finish()
    }
}

/// `rate`, `increase` or `delta` of histograms.
fn extrapolated(
    h: Histograms<'_>,
    w: &Window<'_>,
    kind: RateKind,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    let (&first_t, &last_t) = (h.ts.first()?, h.ts.last()?);
    let mut result = if h.hs.len() > 1 { Some(increase(h, kind, notes)?) } else { None };
    let start = if kind.counter { rate::usable_start(h.st, first_t, w.range_start) } else { None };
    let sampled = Sampled {
        first_t,
        last_t,
        intervals: h.hs.len() - 1,
        first: h.hs[0].count,
        increase: result.as_ref().map_or(0.0, |r| r.count),
        start,
    };
    let factor = rate::extrapolation_factor(&sampled, kind, w.range_start, w.range_end)?;
    if start.is_some() {
        result = Some(match result {
            None => (*h.hs[0]).clone(),
            Some(r) => add(&r, &h.hs[0], notes)?,
        });
    }
    let mut result = result?;
    histogram::scale(&mut result, factor);
    Some(result)
}

/// The increase from the first to the last of at least two histograms, resets corrected.
fn increase(h: Histograms<'_>, kind: RateKind, notes: &mut Notes) -> Option<FloatHistogram> {
    let hs = h.hs;
    let last = hs.last()?;
    let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    let starts = h.st.len() == hs.len();
    let started = |i: usize| starts && is_start_reset(h.st[i - 1], h.ts[i - 1], h.st[i], h.ts[i]);
    let empty;
    let mut prev: &FloatHistogram = &hs[0];
    let mut warn_counter = kind.counter && (gauge(prev) || gauge(last));
    if kind.counter && (started(1) || histogram::detect_reset(&hs[1], prev)) {
        // What came before the reset does not matter, so its layout must not either.
        let mut nothing = FloatHistogram::default();
        nothing.layout.schema = hs[1].layout.schema;
        nothing.layout.custom_values.clone_from(&hs[1].layout.custom_values);
        empty = nothing;
        prev = &empty;
    }
    let custom = histogram::is_custom(prev);
    let mut min_schema = last.layout.schema.min(prev.layout.schema);
    let mut mixed = histogram::is_custom(last) != custom;
    if kind.counter && !mixed {
        for h in &hs[1..hs.len() - 1] {
            warn_counter |= gauge(h);
            min_schema = min_schema.min(h.layout.schema);
            mixed |= histogram::is_custom(h) != custom;
        }
    }
    if mixed {
        notes.mixed_schemas = true;
        notes.not_counter |= warn_counter && histogram::is_custom(last) != custom;
        return None;
    }
    notes.not_counter |= warn_counter;
    let mut work = Work::new(last);
    work.reduce_to(min_schema);
    let combined = work.combine(prev, Mode::Subtract).map(|o| notes.reconciled_sub |= o.reconciled);
    if combined.is_err() {
        notes.mixed_schemas = true;
        return None;
    }
    if kind.counter {
        let mut overlap = false;
        for (i, current) in hs.iter().enumerate().skip(1) {
            overlap |= starts && rate::starts_overlap(h.st[i - 1], h.ts[i - 1], h.st[i]);
            if started(i) || histogram::detect_reset(current, prev) {
                match work.combine(prev, Mode::Add) {
                    Ok(outcome) => notes.reconciled_add |= outcome.reconciled,
                    Err(Incompatible) => {
                        notes.mixed_schemas = true;
                        return None;
                    }
                }
            }
            prev = current;
        }
        if overlap {
            notes.start_overlaps = 1;
        }
    } else if !gauge(&hs[0]) || !gauge(last) {
        notes.not_gauge = true;
    }
    let mut result = work.finish();
    result.counter_reset_hint = CounterResetHint::Gauge;
    histogram::compact(&mut result);
    Some(result)
}

/// `irate` (`counter`) or `idelta`: the last two samples of either kind.
fn instant(w: &Window<'_>, h: Histograms<'_>, counter: bool, notes: &mut Notes) -> Option<Value> {
    let floats = (0..w.ts.len()).rev().take(2).map(|i| Point {
        t: w.ts[i],
        start: w.st.get(i).copied().unwrap_or(0),
        value: Either::Float(w.vs[i]),
    });
    let histograms = (0..h.ts.len()).rev().take(2).map(|i| Point {
        t: h.ts[i],
        start: h.st.get(i).copied().unwrap_or(0),
        value: Either::Histogram(&h.hs[i]),
    });
    let mut points: Vec<Point<'_>> = floats.chain(histograms).collect();
    points.sort_by_key(|p| p.t);
    let [.., before, last] = &points[..] else { return None };
    let interval = last.t - before.t;
    if interval == 0 {
        return None;
    }
    let seconds = interval as f64 / 1000.0;
    let started = counter && is_start_reset(before.start, before.t, last.start, last.t);
    match (before.value, last.value) {
        (Either::Float(a), Either::Float(b)) => {
            let change = if counter && (b < a || started) { b } else { b - a };
            Some(Value::Float(if counter { change / seconds } else { change }))
        }
        (Either::Histogram(a), Either::Histogram(b)) => {
            let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
            notes.not_counter |= counter && (gauge(a) || gauge(b));
            notes.not_gauge |= !(counter || gauge(a) && gauge(b));
            let mut result = if counter && (started || histogram::detect_reset(b, a)) {
                b.clone()
            } else {
                subtract(b, a, notes)?
            };
            result.counter_reset_hint = CounterResetHint::Gauge;
            histogram::compact(&mut result);
            if counter {
                histogram::divide(&mut result, seconds);
            }
            Some(Value::Histogram(result))
        }
        _ => {
            notes.mixed = true;
            None
        }
    }
}

/// The histogram at `t` between two; a counter that was reset is taken to rise from nothing.
fn interpolate(
    (t1, h1): (Timestamp, &FloatHistogram),
    (t2, h2): (Timestamp, &FloatHistogram),
    t: Timestamp,
    counter: bool,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    if t == t1 {
        return Some(h1.clone());
    }
    if t == t2 {
        return Some(h2.clone());
    }
    let fraction = (t - t1) as f64 / (t2 - t1) as f64;
    if counter && histogram::detect_reset(h2, h1) {
        let mut h = h2.clone();
        histogram::scale(&mut h, fraction);
        return Some(h);
    }
    let mut difference = subtract(h2, h1, notes)?;
    histogram::scale(&mut difference, fraction);
    add(&difference, h1, notes)
}

/// A selector under `smoothed` at the middle of the window.
fn smoothed(h: Histograms<'_>, w: &Window<'_>, notes: &mut Notes) -> Option<FloatHistogram> {
    let t = w.range_end - (w.range_end - w.range_start) / 2;
    let next = h.ts.partition_point(|s| *s < t);
    if h.ts.get(next) == Some(&t) {
        return Some((*h.hs[next]).clone());
    }
    let before = next.checked_sub(1)?;
    if next == h.ts.len() {
        let mut last = (*h.hs[before]).clone();
        last.counter_reset_hint = CounterResetHint::Unknown;
        return Some(last);
    }
    let (a, b) = (&h.hs[before], &h.hs[next]);
    if histogram::is_custom(a) != histogram::is_custom(b) {
        notes.mixed_schemas = true;
        return None;
    }
    let gauge = CounterResetHint::Gauge;
    let counter = a.counter_reset_hint != gauge || b.counter_reset_hint != gauge;
    interpolate((h.ts[before], a), (h.ts[next], b), t, counter, notes)
}

/// `rate`, `increase` or `delta` of histograms under `anchored` or `smoothed`.
fn extended(
    h: Histograms<'_>,
    w: &Window<'_>,
    kind: RateKind,
    smoothed: bool,
    notes: &mut Notes,
) -> Option<FloatHistogram> {
    let mut last = h.ts.len().checked_sub(1)?;
    let (start, end) = (w.range_start, w.range_end);
    let first = search(last, |i| h.ts[i] > start).saturating_sub(1);
    if smoothed {
        last = search(last, |i| h.ts[i] >= end);
    }
    if h.ts[last] <= start || smoothed && h.ts[first] > end {
        return None;
    }
    let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    let custom = histogram::is_custom(&h.hs[first]);
    for x in &h.hs[first..=last] {
        if histogram::is_custom(x) != custom {
            notes.mixed_schemas = true;
            return None;
        }
        notes.not_counter |= kind.counter && gauge(x);
    }
    let point = |i: usize| (h.ts[i], &*h.hs[i]);
    let left_inside = smoothed && h.ts[first] < start;
    let left = if left_inside {
        interpolate(point(first), point(first + 1), start, kind.counter, notes)?
    } else {
        (*h.hs[first]).clone()
    };
    let right = if smoothed && last > 0 && h.ts[last] > end {
        interpolate(point(last - 1), point(last), end, kind.counter, notes)?
    } else {
        (*h.hs[last]).clone()
    };
    notes.not_gauge |= !(kind.counter || gauge(&left) && gauge(&right));
    let mut result = subtract(&right, &left, notes)?;
    if kind.counter {
        let mut prev = &left;
        let mut next = first + 1;
        if left_inside && histogram::detect_reset(&h.hs[first + 1], &h.hs[first]) {
            // The left edge has taken care of this reset.
            prev = &h.hs[first + 1];
            next += 1;
        }
        if next <= last {
            for x in &h.hs[next..last] {
                if histogram::detect_reset(x, prev) {
                    result = add(&result, prev, notes)?;
                }
                prev = x;
            }
            if histogram::detect_reset(&right, prev) {
                result = add(&result, prev, notes)?;
            }
        }
    }
    if kind.per_second {
        histogram::divide(&mut result, (end - start) as f64 / 1000.0);
    }
    result.counter_reset_hint = CounterResetHint::Gauge;
    histogram::compact(&mut result);
    Some(result)
}

impl HistogramMean {
    /// Adds what another one has seen.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<Outcome, Incompatible> {
        self.saw_reset |= other.saw_reset;
        self.saw_not_reset |= other.saw_not_reset;
        if !self.mean {
            self.count += other.count;
            return self.work.combine(&other.work.clone().finish(), Mode::Kahan);
        }
        // As means of both, weighted.
        for part in [self.incremental, other.incremental] {
            if part {
                let total = self.count + other.count;
                if !self.incremental {
                    self.work.divide(self.count);
                    self.incremental = true;
                }
                self.work.scale(self.count / total);
                let mut theirs = other.clone().finish();
                histogram::scale(&mut theirs, other.count / total);
                self.count = total;
                return self.work.combine(&theirs, Mode::Kahan);
            }
        }
        self.count += other.count;
        self.work.combine(&other.work.clone().finish(), Mode::Kahan)
    }
}
