//! The buckets of a native histogram, with their boundaries.
//!
//! Source: Prometheus `model/histogram/generic.go`. Its boundaries of schemas 1 to 8 come from
//! repeated multiplication, not from correctly rounded powers of two, so the same is done here.

use std::sync::LazyLock;

use crate::{FloatHistogram, Span, histogram::CUSTOM_BUCKETS_SCHEMA};

/// A bucket of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower boundary.
    pub lower: f64,
    /// Upper boundary.
    pub upper: f64,
    /// Whether the lower boundary belongs to it.
    pub lower_inclusive: bool,
    /// Whether the upper boundary belongs to it.
    pub upper_inclusive: bool,
    /// Observations in it.
    pub count: f64,
    /// Its index in the layout; 0 for the zero bucket.
    pub index: i32,
}

/// The growth factor of schemas 1 to 8, halved: the second boundary at or above one half.
const HALF_FACTORS: [f64; 8] = [
    0.7071067811865475,
    0.5946035575013605,
    0.5452538663326288,
    0.5221368912137069,
    0.5109485743270583,
    0.5054446430258502,
    0.5027149505564014,
    0.5013556375251013,
];

/// For each schema from 0 to 8 the boundaries from one half up to (without) one.
static BOUNDS: LazyLock<Vec<Vec<f64>>> = LazyLock::new(|| {
    let mut all = vec![vec![0.5]];
    for half_factor in HALF_FACTORS {
        let coarser = all.last().cloned().unwrap_or_default();
        let factor = half_factor * 2.0;
        let mut bounds = Vec::with_capacity(coarser.len() * 2);
        for bound in coarser {
            bounds.push(bound);
            bounds.push(bound * factor);
        }
        all.push(bounds);
    }
    all
});

/// The upper boundary of exponential bucket `index` (`-4 <= schema <= 8`); the largest float where
/// it would be beyond.
#[must_use]
pub fn exponential_bound(index: i32, schema: i32) -> f64 {
    if schema <= 0 {
        let exponent = i64::from(index) << schema.unsigned_abs().min(31);
        return if exponent == 1024 { f64::MAX } else { ldexp(1.0, exponent) };
    }
    let bounds = &BOUNDS[schema.min(8) as usize];
    let within = (index & (bounds.len() as i32 - 1)) as usize;
    let exponent = i64::from(index >> schema.min(8)) + 1;
    if within == 0 && exponent == 1025 { f64::MAX } else { ldexp(bounds[within], exponent) }
}

/// `fraction * 2^exponent`, rounded once.
fn ldexp(fraction: f64, exponent: i64) -> f64 {
    if exponent > 1100 {
        return f64::INFINITY;
    }
    if exponent < -1200 {
        return 0.0;
    }
    // Powers of two are exact; two steps reach what one factor cannot represent. Going down, the
    // first step stays normal, so only the last one rounds.
    let exponent = exponent as i32;
    match exponent {
        1024.. => fraction * 2f64.powi(1023) * 2f64.powi(exponent - 1023),
        -1022..=1023 => fraction * 2f64.powi(exponent),
        _ => fraction * 2f64.powi(-960) * 2f64.powi(exponent + 960),
    }
}

/// Indexes of the buckets that spans describe, in order.
fn indexes(spans: &[Span]) -> impl Iterator<Item = i32> {
    let mut next = 0_i32;
    spans.iter().flat_map(move |span| {
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add_unsigned(span.length);
        (0..span.length).map(move |i| first.wrapping_add_unsigned(i))
    })
}

impl FloatHistogram {
    /// The upper boundary of bucket `index`, its sign aside.
    fn bound(&self, index: i32) -> f64 {
        if self.layout.schema != CUSTOM_BUCKETS_SCHEMA {
            return exponential_bound(index, self.layout.schema);
        }
        match usize::try_from(index) {
            Ok(i) => self.layout.custom_values.get(i).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        }
    }

    /// A bucket; boundaries do not reach into the zero bucket.
    fn bucket(&self, positive: bool, index: i32, count: f64) -> Bucket {
        let (outer, inner) = (self.bound(index), self.bound(index.wrapping_sub(1)));
        let (mut lower, mut upper) = if positive { (inner, outer) } else { (-outer, -inner) };
        let custom = self.layout.schema == CUSTOM_BUCKETS_SCHEMA;
        let (lower_inclusive, upper_inclusive) =
            if custom { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        let threshold = self.layout.zero_threshold;
        if lower > 0.0 && lower < threshold {
            lower = threshold;
        }
        if upper < 0.0 && upper > -threshold {
            upper = -threshold;
        }
        Bucket { lower, upper, lower_inclusive, upper_inclusive, count, index }
    }

    /// The buckets above the zero bucket, in ascending order.
    fn positive(&self) -> impl Iterator<Item = Bucket> + '_ {
        indexes(&self.layout.positive_spans)
            .zip(&self.positive_buckets)
            .map(|(index, &count)| self.bucket(true, index, count))
    }

    /// All buckets in ascending order: negative ones, the zero bucket if it is not empty, positive
    /// ones. Allocates for the negative side alone.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        let mut negative: Vec<Bucket> = indexes(&self.layout.negative_spans)
            .zip(&self.negative_buckets)
            .map(|(index, &count)| self.bucket(false, index, count))
            .collect();
        negative.reverse();
        let threshold = self.layout.zero_threshold;
        let zero = (self.zero_count > 0.0).then_some(Bucket {
            lower: -threshold,
            upper: threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
            index: 0,
        });
        negative.into_iter().chain(zero).chain(self.positive())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HistogramLayout;

    #[test]
    fn boundaries_are_prometheus() {
        for (index, schema, bound) in [
            (0, 0, 1.0),
            (3, 0, 8.0),
            (-2, 0, 0.25),
            (1, -1, 4.0),
            (1, 1, 1.414_213_562_373_095),
            (-1, 1, 0.707_106_781_186_547_5),
            (1024, 0, f64::MAX),
            (2048, 1, f64::MAX),
            (-1074, 0, 5e-324),
        ] {
            assert_eq!(exponential_bound(index, schema), bound, "{index} of {schema}");
        }
    }

    #[test]
    fn buckets_come_in_ascending_order() {
        let span = |offset, length| Span { offset, length };
        let h = FloatHistogram {
            layout: HistogramLayout {
                zero_threshold: 0.001,
                positive_spans: vec![span(0, 2), span(1, 1)],
                negative_spans: vec![span(1, 2)],
                ..HistogramLayout::default()
            },
            zero_count: 5.0,
            positive_buckets: vec![1.0, 2.0, 3.0],
            negative_buckets: vec![7.0, 8.0],
            ..FloatHistogram::default()
        };
        let all: Vec<_> = h.buckets().map(|b| (b.lower, b.upper, b.count)).collect();
        let expected = [
            (-4.0, -2.0, 8.0),
            (-2.0, -1.0, 7.0),
            (-0.001, 0.001, 5.0),
            (0.5, 1.0, 1.0),
            (1.0, 2.0, 2.0),
            (4.0, 8.0, 3.0),
        ];
        assert_eq!(all, expected);
    }
}
