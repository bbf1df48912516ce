//! Sums and differences of native histograms, and the detection of counter resets.

use firesteel_model::{CounterResetHint, FloatHistogram, histogram::CUSTOM_BUCKETS_SCHEMA};

use super::{bucket_bound, indexed, is_custom, to_spans};
use crate::window::kahan;

/// A number and its compensation.
type Number = (f64, f64);

/// A bucket by index.
type Entry = (i32, Number);

/// A histogram in a form that is easy to add to: buckets by index, each number with a compensation.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    hint: CounterResetHint,
    schema: i32,
    zero_threshold: f64,
    zero: Number,
    count: Number,
    sum: Number,
    positive: Vec<Entry>,
    negative: Vec<Entry>,
    custom: Vec<f64>,
}

/// What happened while one histogram was added to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// One of them says that a counter reset happened, the other that none did.
    pub(crate) reset_collision: bool,
    /// Custom bounds differed; those in common were kept.
    pub(crate) reconciled: bool,
}

/// One has exponential, the other custom buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incompatible;

/// How numbers are added.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Add,
    Subtract,
    /// With compensation.
    Kahan,
}

impl Mode {
    fn apply(self, to: &mut Number, v: f64) {
        match self {
            Self::Add => to.0 += v,
            Self::Subtract => to.0 -= v,
            Self::Kahan => *to = kahan::add(v, to.0, to.1),
        }
    }
}

/// The bucket of a coarser schema that holds bucket `index`.
const fn coarser(index: i32, by: i32) -> i32 {
    (index.wrapping_sub(1) >> by).wrapping_add(1)
}

fn reduce(buckets: &mut Vec<Entry>, by: i32) {
    let by = by.clamp(0, 31);
    let mut reduced: Vec<Entry> = Vec::with_capacity(buckets.len());
    for &(index, number) in &*buckets {
        let index = coarser(index, by);
        match reduced.last_mut() {
            Some(last) if last.0 == index => {
                last.1 = kahan::add(number.0, last.1.0, last.1.1 + number.1);
            }
            _ => reduced.push((index, number)),
        }
    }
    *buckets = reduced;
}

fn combine(to: &mut Vec<Entry>, from: &[Entry], mode: Mode) {
    let same = to.len() == from.len() && to.iter().zip(from).all(|(a, b)| a.0 == b.0);
    if same {
        for (a, b) in to.iter_mut().zip(from) {
            mode.apply(&mut a.1, b.1.0);
        }
        return;
    }
    let mut merged = Vec::with_capacity(to.len() + from.len());
    let (mut a, mut b) = (to.iter().peekable(), from.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x.0 == y.0 => {
                let mut number = x.1;
                mode.apply(&mut number, y.1.0);
                merged.push((x.0, number));
                a.next();
                b.next();
            }
            (Some(x), other) if other.is_none_or(|y| x.0 < y.0) => {
                merged.push(**x);
                a.next();
            }
            (_, Some(y)) => {
                let mut number = (0.0, 0.0);
                mode.apply(&mut number, y.1.0);
                merged.push((y.0, number));
                b.next();
            }
            _ => break,
        }
    }
    *to = merged;
}

impl Work {
    pub(crate) fn new(h: &FloatHistogram) -> Self {
        let entries = |spans, counts| indexed(spans, counts).map(|(i, v)| (i, (v, 0.0))).collect();
        Self {
            hint: h.counter_reset_hint,
            schema: h.layout.schema,
            zero_threshold: h.layout.zero_threshold,
            zero: (h.zero_count, 0.0),
            count: (h.count, 0.0),
            sum: (h.sum, 0.0),
            positive: entries(&h.layout.positive_spans, &h.positive_buckets),
            negative: entries(&h.layout.negative_spans, &h.negative_buckets),
            custom: h.layout.custom_values.clone(),
        }
    }

    /// The histogram, compensations added.
    pub(crate) fn finish(self) -> FloatHistogram {
        let total = |n: Number| if n.0.is_infinite() { n.0 } else { n.0 + n.1 };
        let mut h = FloatHistogram {
            counter_reset_hint: self.hint,
            zero_count: total(self.zero),
            count: total(self.count),
            sum: total(self.sum),
            ..FloatHistogram::default()
        };
        h.layout.schema = self.schema;
        h.layout.zero_threshold = self.zero_threshold;
        h.layout.custom_values = self.custom;
        let counts = |entries: Vec<Entry>| to_spans(entries.into_iter().map(|e| (e.0, total(e.1))));
        (h.layout.positive_spans, h.positive_buckets) = counts(self.positive);
        (h.layout.negative_spans, h.negative_buckets) = counts(self.negative);
        h
    }

    fn numbers(&mut self) -> impl Iterator<Item = &mut Number> {
        let buckets = self.positive.iter_mut().chain(&mut self.negative).map(|e| &mut e.1);
        [&mut self.zero, &mut self.count, &mut self.sum].into_iter().chain(buckets)
    }

    /// Multiplies all numbers.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.numbers().for_each(|n| *n = (n.0 * factor, n.1 * factor));
    }

    /// Divides all numbers.
    pub(crate) fn divide(&mut self, by: f64) {
        self.numbers().for_each(|n| *n = (n.0 / by, n.1 / by));
    }

    /// Whether a number is infinite.
    pub(crate) fn has_overflow(&self) -> bool {
        let mut all = self.positive.iter().chain(&self.negative).map(|e| e.1.0);
        [self.zero.0, self.count.0, self.sum.0].iter().any(|v| v.is_infinite())
            || all.any(f64::is_infinite)
    }

    const fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Adds or subtracts a histogram. Schemas, zero buckets and custom bounds are reconciled.
    pub(crate) fn combine(
        &mut self,
        h: &FloatHistogram,
        mode: Mode,
    ) -> Result<Outcome, Incompatible> {
        if self.is_custom() != is_custom(h) {
            return Err(Incompatible);
        }
        let mut outcome = Outcome { reset_collision: self.adjust_hint(h), reconciled: false };
        let mut other = Self::new(h);
        if !self.is_custom() {
            self.reconcile_zero(&mut other);
            mode.apply(&mut self.zero, other.zero.0);
        }
        mode.apply(&mut self.count, h.count);
        mode.apply(&mut self.sum, h.sum);
        if self.is_custom() {
            if self.custom != other.custom {
                outcome.reconciled = true;
                let common: Vec<f64> =
                    self.custom.iter().copied().filter(|b| other.custom.contains(b)).collect();
                self.map_custom(&common);
                other.map_custom(&common);
                combine(&mut self.positive, &other.positive, mode);
                self.positive.retain(|e| e.1 != (0.0, 0.0));
            } else {
                combine(&mut self.positive, &other.positive, mode);
            }
            return Ok(outcome);
        }
        self.reduce_to(other.schema);
        other.reduce_to(self.schema);
        // What lies in the zero bucket is counted there already.
        let threshold = self.zero_threshold;
        for entries in [&mut other.positive, &mut other.negative] {
            let first =
                entries.iter().position(|e| bucket_bound(self.schema, e.0, &[]) > threshold);
            entries.drain(..first.unwrap_or(entries.len()));
        }
        combine(&mut self.positive, &other.positive, mode);
        combine(&mut self.negative, &other.negative, mode);
        Ok(outcome)
    }

    /// Makes buckets coarser if `schema` is coarser.
    pub(crate) fn reduce_to(&mut self, schema: i32) {
        if schema < self.schema && !self.is_custom() {
            let by = self.schema - schema;
            reduce(&mut self.positive, by);
            reduce(&mut self.negative, by);
            self.schema = schema;
        }
    }

    /// Moves buckets to bounds that are a part of their own.
    fn map_custom(&mut self, bounds: &[f64]) {
        let mut mapped: Vec<Entry> = Vec::new();
        for &(index, number) in &self.positive {
            let upper = bucket_bound(CUSTOM_BUCKETS_SCHEMA, index, &self.custom);
            let at = bounds.partition_point(|b| *b < upper) as i32;
            match mapped.last_mut() {
                Some(last) if last.0 == at => {
                    last.1 = kahan::add(number.0, last.1.0, last.1.1 + number.1);
                }
                _ => mapped.push((at, number)),
            }
        }
        self.positive = mapped;
        self.custom = bounds.to_vec();
    }

    /// Sets the hint to what holds for the sum; true if both contradict each other.
    fn adjust_hint(&mut self, h: &FloatHistogram) -> bool {
        use CounterResetHint::{Gauge, Unknown};
        let (mine, theirs) = (self.hint, h.counter_reset_hint);
        if mine == theirs || mine == Gauge {
            return false;
        }
        if theirs == Gauge {
            self.hint = Gauge;
            return false;
        }
        if mine == Unknown {
            return false;
        }
        self.hint = Unknown;
        theirs != Unknown
    }

    /// Makes both zero buckets as wide as it takes to be equal.
    fn reconcile_zero(&mut self, other: &mut Self) {
        while self.zero_threshold != other.zero_threshold {
            let (wide, narrow) = if self.zero_threshold > other.zero_threshold {
                (self.zero_threshold, &mut *other)
            } else {
                (other.zero_threshold, &mut *self)
            };
            if !narrow.widen_zero(wide) {
                return;
            }
        }
    }

    /// Widens the zero bucket to `threshold`, or to the end of the bucket that it would cut. False
    /// if nothing can be done (NaN).
    fn widen_zero(&mut self, mut threshold: f64) -> bool {
        if threshold.is_nan() || self.zero_threshold.is_nan() {
            return false;
        }
        let schema = self.schema;
        let cut = |entries: &[Entry], threshold: f64| {
            entries
                .iter()
                .map(|e| (bucket_bound(schema, e.0.wrapping_sub(1), &[]), e))
                .take_while(|(lower, _)| *lower < threshold)
                .map(|(_, e)| (bucket_bound(schema, e.0, &[]), e.1.0))
                .find(|(upper, count)| *upper > threshold && *count != 0.0)
                .map(|(upper, _)| upper)
        };
        while let Some(wider) =
            cut(&self.positive, threshold).or_else(|| cut(&self.negative, threshold))
        {
            threshold = wider;
        }
        for entries in [&mut self.positive, &mut self.negative] {
            let inside = |e: &Entry| bucket_bound(schema, e.0.wrapping_sub(1), &[]) < threshold;
            let n = entries.iter().take_while(|e| inside(e)).count();
            for (_, number) in entries.drain(..n) {
                self.zero = kahan::add(number.0, self.zero.0, self.zero.1 + number.1);
            }
            entries.retain(|e| e.1 != (0.0, 0.0));
        }
        // Plain numbers stay plain.
        self.zero = (self.zero.0 + self.zero.1, 0.0);
        self.zero_threshold = threshold;
        true
    }
}

/// `a + b`.
pub(crate) fn added(
    a: &FloatHistogram,
    b: &FloatHistogram,
) -> Result<(FloatHistogram, Outcome), Incompatible> {
    let mut work = Work::new(a);
    let outcome = work.combine(b, Mode::Add)?;
    Ok((work.finish(), outcome))
}

/// `a - b`.
pub(crate) fn subtracted(
    a: &FloatHistogram,
    b: &FloatHistogram,
) -> Result<(FloatHistogram, Outcome), Incompatible> {
    let mut work = Work::new(a);
    let outcome = work.combine(b, Mode::Subtract)?;
    Ok((work.finish(), outcome))
}

/// Whether a counter reset happened between `previous` and `current`: by the hint, else if a count
/// fell or a bucket got lost.
pub(crate) fn detect_reset(current: &FloatHistogram, previous: &FloatHistogram) -> bool {
    match current.counter_reset_hint {
        CounterResetHint::Reset => return true,
        CounterResetHint::NotReset => return false,
        CounterResetHint::Unknown | CounterResetHint::Gauge => {}
    }
    if current.count < previous.count {
        return true;
    }
    let (mut now, mut before) = (Work::new(current), Work::new(previous));
    if now.is_custom() != before.is_custom() {
        return true;
    }
    if now.is_custom() {
        if now.custom != before.custom {
            let common: Vec<f64> =
                now.custom.iter().copied().filter(|b| before.custom.contains(b)).collect();
            now.map_custom(&common);
            before.map_custom(&common);
        }
        return lost(&now.positive, &before.positive);
    }
    if now.schema > before.schema || now.zero_threshold < before.zero_threshold {
        return true;
    }
    if now.zero_threshold != before.zero_threshold {
        before.widen_zero(now.zero_threshold);
        if now.zero_threshold != before.zero_threshold {
            return true;
        }
    }
    if now.zero.0 < before.zero.0 {
        return true;
    }
    before.reduce_to(now.schema);
    lost(&now.positive, &before.positive) || lost(&now.negative, &before.negative)
}

/// Whether a bucket lost observations, or is gone though it held something, be it NaN.
fn lost(now: &[Entry], before: &[Entry]) -> bool {
    let mut rest = now.iter().peekable();
    before.iter().any(|e| {
        while rest.next_if(|n| n.0 < e.0).is_some() {}
        match rest.peek().filter(|n| n.0 == e.0) {
            Some(n) => n.1.0 < e.1.0,
            None => e.1.0 != 0.0,
        }
    })
}

/// Whether two histograms are the same, bit for bit, however their spans are cut.
pub(crate) fn equal(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    let numbers = |h: &FloatHistogram| [h.count, h.sum, h.zero_count].map(f64::to_bits);
    let buckets = |h: &FloatHistogram| {
        let bits = |(i, v): (i32, f64)| (i, v.to_bits());
        let positive: Vec<_> =
            indexed(&h.layout.positive_spans, &h.positive_buckets).map(bits).collect();
        let negative: Vec<_> =
            indexed(&h.layout.negative_spans, &h.negative_buckets).map(bits).collect();
        (positive, negative)
    };
    a.layout.schema == b.layout.schema
        && a.layout.zero_threshold == b.layout.zero_threshold
        && (!is_custom(a) || a.layout.custom_values == b.layout.custom_values)
        && numbers(a) == numbers(b)
        && buckets(a) == buckets(b)
}

#[cfg(test)]
mod tests {
    use super::super::tests::histogram;
    use super::*;

    #[test]
    fn adds_buckets_by_index() {
        let a = histogram(0, &[1.0, 2.0], 1.0);
        let b = histogram(1, &[10.0, 20.0], 2.0);
        let (sum, outcome) = added(&a, &b).unwrap();
        assert_eq!(sum.positive_buckets, [1.0, 12.0, 20.0]);
        assert_eq!((sum.zero_count, sum.count, sum.sum), (3.0, 36.0, 20.0));
        assert_eq!(outcome, Outcome::default());
        let (difference, _) = subtracted(&sum, &b).unwrap();
        assert_eq!(difference.positive_buckets, [1.0, 2.0, 0.0]);
        let mut compacted = difference;
        super::super::compact(&mut compacted);
        assert!(equal(&compacted, &a));
    }

    #[test]
    fn coarser_schemas_and_wider_zero_buckets_win() {
        let mut fine = histogram(1, &[1.0, 1.0, 1.0, 1.0], 0.0);
        fine.layout.schema = 1;
        let (sum, _) = added(&fine, &histogram(1, &[1.0], 0.0)).unwrap();
        assert_eq!((sum.layout.schema, &sum.positive_buckets[..]), (0, &[3.0, 2.0][..]));
        let mut wide = histogram(3, &[1.0], 5.0);
        wide.layout.zero_threshold = 3.0;
        let (sum, _) = added(&histogram(1, &[1.0, 1.0], 0.0), &wide).unwrap();
        assert_eq!((sum.layout.zero_threshold, sum.zero_count), (4.0, 7.0));
        assert_eq!(sum.positive_buckets, [1.0]);
    }

    #[test]
    fn resets() {
        let a = histogram(0, &[1.0, 2.0], 1.0);
        let b = histogram(0, &[1.0, 3.0], 1.0);
        assert!(!detect_reset(&b, &a) && detect_reset(&a, &b));
        let moved = histogram(0, &[0.0, 9.0], 1.0);
        assert!(detect_reset(&moved, &a));
        // A bucket that is gone, whatever it held.
        let odd = histogram(0, &[f64::NAN, f64::NAN], 0.0);
        let gone = FloatHistogram { count: f64::NAN, ..histogram(1, &[f64::NAN], 0.0) };
        assert!(detect_reset(&gone, &odd) && !detect_reset(&odd, &odd));
        assert!(detect_reset(&histogram(0, &[-1.0], 0.0), &histogram(0, &[0.0], -1.0)));
        let hinted = FloatHistogram { counter_reset_hint: CounterResetHint::NotReset, ..a };
        assert!(!detect_reset(&hinted, &b));
    }

    #[test]
    fn custom_bounds_are_intersected() {
        let custom = |bounds: &[f64], counts: &[f64]| {
            let mut h = histogram(0, counts, 0.0);
            h.layout.schema = CUSTOM_BUCKETS_SCHEMA;
            h.layout.zero_threshold = 0.0;
            h.layout.custom_values = bounds.to_vec();
            h
        };
        let a = custom(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0, 1.0]);
        let b = custom(&[1.0, 3.0], &[10.0, 10.0, 10.0]);
        let (sum, outcome) = added(&a, &b).unwrap();
        assert!(outcome.reconciled);
        assert_eq!(sum.layout.custom_values, [1.0, 3.0]);
        assert_eq!(sum.positive_buckets, [11.0, 12.0, 11.0]);
        assert_eq!(added(&a, &histogram(0, &[1.0], 0.0)).unwrap_err(), Incompatible);
    }
}
