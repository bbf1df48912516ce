//! Quantiles of plain values and of classic histograms.
//!
//! Source: Prometheus `promql/quantile.go`.

use std::cmp::Ordering;

use crate::go;

/// Differences between neighbouring buckets below this, relatively, are taken for noise.
const SMALL_DELTA: f64 = 1e-12;

/// Ascending order with NaN first.
#[inline]
pub(crate) fn nan_first(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Quantile `q` of `values`, which are reordered: linear between the two nearest ranks. NaN for no
/// values or `q` NaN, -Inf for `q` below 0, +Inf for `q` above 1. NaN values count as smallest.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let n = values.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0) as usize;
    let weight = rank - rank.floor();
    // Only where zeros of both signs are equal does it show how the values were sorted.
    if values.iter().any(|v| v.to_bits() == (-0.0_f64).to_bits()) {
        go::sort::sort_by(values, |a, b| a.is_nan() || a < b);
        let high = values[(lower + 1).min(values.len() - 1)];
        return values[lower] * (1.0 - weight) + high * weight;
    }
    let (_, &mut low, above) = values.select_nth_unstable_by(lower, nan_first);
    let high = above.iter().copied().min_by(nan_first).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

/// A bucket of a classic histogram: the observations up to its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

/// Where counts fell from one bucket to the next and had to be raised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forced {
    pub(crate) min_bucket: f64,
    pub(crate) max_bucket: f64,
    pub(crate) max_diff: f64,
}

/// Merges buckets of the same bound; they must be sorted.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// Prometheus' `almost.Equal`: equal within a relative tolerance.
pub(crate) fn almost_equal(a: f64, b: f64, tolerance: f64) -> bool {
    if firesteel_model::is_stale_nan(a) || firesteel_model::is_stale_nan(b) {
        return firesteel_model::is_stale_nan(a) && firesteel_model::is_stale_nan(b);
    }
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let diff = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < tolerance * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < tolerance
}

/// Makes counts ascend: tiny differences are ignored silently, falls are raised and reported.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut prev = buckets.first()?.count;
    for b in &mut buckets[1..] {
        let count = b.count;
        if count == prev {
            continue;
        }
        if almost_equal(prev, count, SMALL_DELTA) {
            b.count = prev;
        } else if count < prev {
            b.count = prev;
            let f = forced.get_or_insert(Forced {
                min_bucket: f64::INFINITY,
                max_bucket: f64::NEG_INFINITY,
                max_diff: 0.0,
            });
            f.min_bucket = f.min_bucket.min(b.upper);
            f.max_bucket = f.max_bucket.max(b.upper);
            f.max_diff = f.max_diff.max(prev - count);
        } else {
            prev = count;
        }
    }
    forced
}

/// Quantile `q` of a classic histogram whose buckets are sorted; they may be changed. Linear
/// within a bucket; the lowest bucket starts at 0 if its bound is positive.
pub(crate) fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return (f64::NAN, None);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, forced);
    }
    let rank = q * observations;
    let at = super::window::search(last, |i| buckets[i].count >= rank);
    let value = if at == last {
        buckets[last - 1].upper
    } else if at == 0 && buckets[0].upper <= 0.0 {
        buckets[0].upper
    } else {
        let below = at.checked_sub(1).map(|i| buckets[i]);
        let (start, under) = below.map_or((0.0, 0.0), |b| (b.upper, b.count));
        let count = if at > 0 { buckets[at].count - under } else { buckets[at].count };
        let rank = if at > 0 { rank - under } else { rank };
        start + (buckets[at].upper - start) * (rank / count)
    };
    (value, forced)
}

/// Share of a classic histogram's observations between two bounds. Buckets must be sorted.
pub(crate) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return f64::NAN;
    }
    coalesce(buckets);
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut low_rank, mut high_rank) = (None, None);
    let mut rank = 0.0;
    let mut from = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for b in buckets.iter() {
        // Nothing can be said about the inside of a bucket without a lower bound.
        let inside = |v: f64| {
            if from == f64::NEG_INFINITY {
                b.count
            } else {
                rank + (b.count - rank) * (v - from) / (b.upper - from)
            }
        };
        let at = |v: f64| {
            if from >= v {
                Some(rank)
            } else if b.upper > v {
                Some(inside(v))
            } else {
                None
            }
        };
        low_rank = low_rank.or_else(|| at(lower));
        high_rank = high_rank.or_else(|| at(upper));
        if low_rank.is_some() && high_rank.is_some() {
            break;
        }
        rank = b.count;
        from = b.upper;
    }
    let cap = |rank: Option<f64>| rank.filter(|r| *r <= count).unwrap_or(count);
    (cap(high_rank) - cap(low_rank)) / count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|&(upper, count)| Bucket { upper, count }).collect()
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn quantiles_interpolate_between_ranks() {
        let q = |q, values: &[f64]| quantile(q, &mut values.to_vec());
        assert_eq!(q(0.5, &[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(q(0.25, &[2.0, 1.0]), 1.25);
        assert_eq!((q(-1.0, &[1.0]), q(2.0, &[1.0])), (-INF, INF));
        assert!(q(0.5, &[]).is_nan() && q(f64::NAN, &[1.0]).is_nan());
        assert!(q(0.0, &[f64::NAN, 1.0]).is_nan());
        assert_eq!(q(1.0, &[f64::NAN, 1.0, 0.0]), 1.0);
    }

    #[test]
    fn bucket_quantiles() {
        let b = buckets(&[(1.0, 10.0), (2.0, 20.0), (INF, 20.0)]);
        for (q, want) in [(0.25, 0.5), (0.75, 1.5), (1.0, 2.0), (0.0, 0.0)] {
            assert_eq!(bucket_quantile(q, &mut b.clone()), (want, None), "{q}");
        }
        let mut b = buckets(&[(1.0, 1.0), (2.0, 2.0)]);
        assert!(bucket_quantile(0.5, &mut b).0.is_nan());
        let mut b = buckets(&[(-1.0, 10.0), (INF, 20.0)]);
        assert_eq!(bucket_quantile(0.2, &mut b.clone()).0, -1.0);
        assert_eq!(bucket_quantile(0.9, &mut b).0, -1.0);
    }

    #[test]
    fn falls_are_raised_and_noise_is_not() {
        let mut b = buckets(&[(1.0, 10.0), (2.0, 8.0), (INF, 20.0)]);
        let (_, forced) = bucket_quantile(0.5, &mut b);
        assert_eq!(forced, Some(Forced { min_bucket: 2.0, max_bucket: 2.0, max_diff: 2.0 }));
        let mut b = buckets(&[(1.0, 1e13), (2.0, 1e13 - 0.01), (INF, 2e13)]);
        assert_eq!(bucket_quantile(0.5, &mut b).1, None);
    }

    #[test]
    fn fractions() {
        let b = buckets(&[(1.0, 10.0), (2.0, 20.0), (INF, 20.0)]);
        for (lo, hi, want) in [(0.0, 1.0, 0.5), (0.5, 1.5, 0.5), (-INF, INF, 1.0), (3.0, 2.0, 0.0)]
        {
            assert_eq!(bucket_fraction(lo, hi, &mut b.clone()), want, "{lo} {hi}");
        }
    }
}
