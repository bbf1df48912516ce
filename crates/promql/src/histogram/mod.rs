//! Native histograms: buckets, arithmetic, statistics.
//!
//! Source: Prometheus `model/histogram/float_histogram.go`, `promql/quantile.go`.

mod arithmetic;
mod quantile;
mod trim;

use firesteel_model::{
    CounterResetHint, FloatHistogram, Span,
    histogram::{CUSTOM_BUCKETS_SCHEMA, bucket_bound},
};

use crate::functions::gomath;

pub(crate) use arithmetic::{
    Incompatible, Mode, Outcome, Work, added, detect_reset, equal, subtracted,
};
pub(crate) use quantile::{QuantileNote, fraction, quantile, variance};
pub(crate) use trim::trim;

/// A bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) count: f64,
    pub(crate) index: i32,
}

impl Bucket {
    /// Share of the bucket's observations that are below `v`, which lies in it.
    fn fraction_below(&self, v: f64, linear: bool) -> f64 {
        if linear {
            return (v - self.lower) / (self.upper - self.lower);
        }
        let log = |x: f64| gomath::log2(x.abs());
        let (low, high, at) = (log(self.lower), log(self.upper), log(v));
        if v > 0.0 { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
    }
}

/// Whether bounds are given one by one.
pub(crate) const fn is_custom(h: &FloatHistogram) -> bool {
    h.layout.schema == CUSTOM_BUCKETS_SCHEMA
}

/// Buckets by index.
pub(crate) fn indexed<'a>(
    spans: &'a [Span],
    counts: &'a [f64],
) -> impl Iterator<Item = (i32, f64)> + 'a {
    let mut next = 0_i32;
    let indices = spans.iter().flat_map(move |span| {
        next = next.wrapping_add(span.offset);
        let first = next;
        next = next.wrapping_add(span.length as i32);
        (0..span.length).map(move |i| first.wrapping_add(i as i32))
    });
    indices.zip(counts.iter().copied())
}

/// Spans and counts of buckets that are ordered by index.
fn to_spans(buckets: impl Iterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut next = 0_i32;
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(last) if index == next => last.length += 1,
            _ => spans.push(Span { offset: index.wrapping_sub(next), length: 1 }),
        }
        next = index.wrapping_add(1);
        counts.push(count);
    }
    (spans, counts)
}

/// Positive buckets from zero upwards.
fn positive_buckets(h: &FloatHistogram) -> impl Iterator<Item = Bucket> + '_ {
    let (schema, custom) = (h.layout.schema, &h.layout.custom_values);
    indexed(&h.layout.positive_spans, &h.positive_buckets).map(move |(index, count)| Bucket {
        lower: bucket_bound(schema, index.wrapping_sub(1), custom),
        upper: bucket_bound(schema, index, custom),
        count,
        index,
    })
}

/// Negative buckets from zero downwards.
fn negative_buckets(h: &FloatHistogram) -> impl Iterator<Item = Bucket> + '_ {
    let schema = h.layout.schema;
    indexed(&h.layout.negative_spans, &h.negative_buckets).map(move |(index, count)| Bucket {
        lower: -bucket_bound(schema, index, &[]),
        upper: -bucket_bound(schema, index.wrapping_sub(1), &[]),
        count,
        index,
    })
}

/// All buckets upwards, the zero bucket between the others if it is not empty.
pub(crate) fn uncut_buckets(h: &FloatHistogram) -> Vec<Bucket> {
    let zero = h.layout.zero_threshold;
    let mut all: Vec<Bucket> = negative_buckets(h).collect();
    all.reverse();
    if h.zero_count != 0.0 {
        all.push(Bucket { lower: -zero, upper: zero, count: h.zero_count, index: 0 });
    }
    all.extend(positive_buckets(h));
    all
}

/// All buckets upwards, the zero bucket between the others if it has observations. Buckets that
/// overlap the zero bucket are cut.
pub(crate) fn all_buckets(h: &FloatHistogram) -> Vec<Bucket> {
    let zero = h.layout.zero_threshold;
    let mut all = uncut_buckets(h);
    all.retain(|b| b.lower != -zero || b.upper != zero || b.count > 0.0);
    for b in &mut all {
        if b.upper < 0.0 && b.upper > -zero {
            b.upper = -zero;
        }
        if b.lower > 0.0 && b.lower < zero {
            b.lower = zero;
        }
    }
    all
}

/// Calls `f` on all counts and the sum.
fn each_number(h: &mut FloatHistogram, f: impl Fn(f64) -> f64) {
    for v in [&mut h.zero_count, &mut h.count, &mut h.sum] {
        *v = f(*v);
    }
    h.positive_buckets.iter_mut().chain(&mut h.negative_buckets).for_each(|v| *v = f(*v));
}

/// Multiplies all counts and the sum; a negative factor makes a gauge of it.
pub(crate) fn scale(h: &mut FloatHistogram, factor: f64) {
    each_number(h, |v| v * factor);
    if factor < 0.0 {
        h.counter_reset_hint = CounterResetHint::Gauge;
    }
}

/// Divides all counts and the sum; by zero removes the buckets.
pub(crate) fn divide(h: &mut FloatHistogram, by: f64) {
    each_number(h, |v| v / by);
    if by == 0.0 {
        h.positive_buckets.clear();
        h.negative_buckets.clear();
        h.layout.positive_spans.clear();
        h.layout.negative_spans.clear();
    } else if by < 0.0 {
        h.counter_reset_hint = CounterResetHint::Gauge;
    }
}

/// Removes empty buckets.
pub(crate) fn compact(h: &mut FloatHistogram) {
    let full = |b: &(i32, f64)| b.1 != 0.0;
    let positive = to_spans(indexed(&h.layout.positive_spans, &h.positive_buckets).filter(full));
    let negative = to_spans(indexed(&h.layout.negative_spans, &h.negative_buckets).filter(full));
    (h.layout.positive_spans, h.positive_buckets) = positive;
    (h.layout.negative_spans, h.negative_buckets) = negative;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use firesteel_model::HistogramLayout;

    /// A histogram of schema 0 with positive buckets from `offset` on.
    pub(crate) fn histogram(offset: i32, counts: &[f64], zero: f64) -> FloatHistogram {
        FloatHistogram {
            layout: HistogramLayout {
                zero_threshold: 0.001,
                positive_spans: vec![Span { offset, length: counts.len() as u32 }],
                ..HistogramLayout::default()
            },
            zero_count: zero,
            count: zero + counts.iter().sum::<f64>(),
            sum: 10.0,
            positive_buckets: counts.to_vec(),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn bounds_have_the_rounding_errors_of_prometheus() {
        let mut h = histogram(30, &[1.0, 1.0], 0.0);
        h.layout.schema = 3;
        let first = all_buckets(&h)[0];
        assert_eq!((first.lower, first.upper), (12.337_686_603_263_526, 13.454_342_644_059_43));
    }

    #[test]
    fn spans_and_indices() {
        let spans = [Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }];
        let buckets: Vec<_> = indexed(&spans, &[1.0, 0.0, 3.0]).collect();
        assert_eq!(buckets, [(-2, 1.0), (-1, 0.0), (3, 3.0)]);
        assert_eq!(to_spans(buckets.into_iter()), (spans.to_vec(), vec![1.0, 0.0, 3.0]));
        let mut h = histogram(0, &[0.0, 1.0, 0.0, 2.0], 0.0);
        compact(&mut h);
        assert_eq!(h.positive_buckets, [1.0, 2.0]);
        assert_eq!(
            h.layout.positive_spans,
            [Span { offset: 1, length: 1 }, Span { offset: 1, length: 1 }]
        );
    }
}
