//! Statistics of native histograms.

use firesteel_model::FloatHistogram;

use super::{Bucket, all_buckets, is_custom};
use crate::{functions::gomath, window::kahan};

/// What is to be said about a quantile or a fraction of a histogram with NaN observations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuantileNote {
    /// The quantile lies among them.
    Result,
    /// They count as the largest observations.
    Skew,
    /// They are in no fraction.
    Excluded,
}

/// Quantile `q`. Within a bucket observations are taken to be spread evenly, on a logarithmic scale
/// for exponential buckets.
pub(crate) fn quantile(q: f64, h: &FloatHistogram) -> (f64, Option<QuantileNote>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if h.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let custom = is_custom(h);
    let buckets = all_buckets(h);
    // NaN observations are in the count but in no bucket, so only counting from below is right.
    let forward = h.sum.is_nan() || q < 0.5;
    let mut rank = if forward { q * h.count } else { (1.0 - q) * h.count };
    let mut count = 0.0;
    let mut found = Bucket { lower: 0.0, upper: 0.0, count: 0.0, index: 0 };
    let mut rest = 0;
    let order: Box<dyn Iterator<Item = (usize, &Bucket)>> = if forward {
        Box::new(buckets.iter().enumerate())
    } else {
        Box::new(buckets.iter().enumerate().rev())
    };
    for (i, b) in order {
        rest = i + 1;
        found = *b;
        if b.count == 0.0 {
            continue;
        }
        count += b.count;
        if count >= rank {
            break;
        }
    }
    let (no_negative, no_positive) = (h.negative_buckets.is_empty(), h.positive_buckets.is_empty());
    if !custom && found.lower < 0.0 && found.upper > 0.0 {
        if no_negative && !no_positive {
            found.lower = 0.0;
        } else if no_positive && !no_negative {
            found.upper = 0.0;
        }
    } else if custom {
        if found.lower == f64::NEG_INFINITY {
            if found.upper <= 0.0 {
                return (found.upper, None);
            }
            found.lower = 0.0;
        } else if found.upper == f64::INFINITY {
            return (found.lower, None);
        }
    }
    count = count.min(h.count);
    if count < rank {
        return if h.sum.is_nan() {
            (f64::NAN, Some(QuantileNote::Result))
        } else {
            (found.upper, None)
        };
    }
    rank = if forward { rank - (count - found.count) } else { count - rank };
    let mut note = None;
    if h.sum.is_nan() {
        let total: f64 = count + buckets[rest..].iter().map(|b| b.count).sum::<f64>();
        if total < h.count {
            note = Some(QuantileNote::Skew);
        }
    }
    let fraction = rank / found.count;
    if custom || (found.lower <= 0.0 && found.upper >= 0.0) {
        return (found.lower + (found.upper - found.lower) * fraction, note);
    }
    let (low, high) = (gomath::log2(found.lower.abs()), gomath::log2(found.upper.abs()));
    let value = if found.lower > 0.0 {
        gomath::exp2(low + (high - low) * fraction)
    } else {
        -gomath::exp2(high + (low - high) * (1.0 - fraction))
    };
    (value, note)
}

/// Share of the observations between two bounds.
pub(crate) fn fraction(lower: f64, upper: f64, h: &FloatHistogram) -> (f64, Option<QuantileNote>) {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let custom = is_custom(h);
    let (no_negative, no_positive) = (h.negative_buckets.is_empty(), h.positive_buckets.is_empty());
    let buckets = all_buckets(h);
    let (mut low_rank, mut high_rank) = (None, None);
    let mut rank = 0.0;
    for b in &buckets {
        let mut b = *b;
        let mut zero = false;
        if b.lower <= 0.0 && b.upper >= 0.0 {
            zero = true;
            if no_negative && !no_positive {
                b.lower = 0.0;
            } else if no_positive && !no_negative {
                b.upper = 0.0;
            }
        }
        let at = |v: f64| {
            if b.lower >= v {
                Some(rank)
            } else if b.upper > v {
                let linear = custom || zero;
                Some(if linear && b.lower == f64::NEG_INFINITY {
                    b.count
                } else {
                    rank + b.count * b.fraction_below(v, linear)
                })
            } else {
                None
            }
        };
        low_rank = low_rank.or_else(|| at(lower));
        high_rank = high_rank.or_else(|| at(upper));
        if low_rank.is_some() && high_rank.is_some() {
            break;
        }
        rank += b.count;
    }
    let mut note = None;
    let mut count = h.count;
    if h.sum.is_nan() {
        count = buckets.iter().map(|b| b.count).sum();
        if count < h.count {
            note = Some(QuantileNote::Excluded);
        }
    }
    let cap = |rank: Option<f64>| rank.filter(|r| *r <= count).unwrap_or(count);
    ((cap(high_rank) - cap(low_rank)) / h.count, note)
}

/// Estimated variance: each observation is taken to be in the middle of its bucket.
pub(crate) fn variance(h: &FloatHistogram) -> f64 {
    let custom = is_custom(h);
    let mean = h.sum / h.count;
    let (mut variance, mut c) = (0.0, 0.0);
    for b in all_buckets(h).iter().filter(|b| b.count != 0.0) {
        let value = if custom {
            (b.upper + b.lower) / 2.0
        } else if b.lower <= 0.0 && b.upper >= 0.0 {
            0.0
        } else {
            let middle = (b.upper * b.lower).sqrt();
            if b.upper < 0.0 { -middle } else { middle }
        };
        let delta = value - mean;
        (variance, c) = kahan::add(b.count * delta * delta, variance, c);
    }
    (variance + c) / h.count
}

#[cfg(test)]
mod tests {
    use super::super::tests::histogram;
    use super::*;

    #[test]
    fn quantiles_and_fractions() {
        // 1 in the zero bucket, 2 in (0.5, 1], 3 in (1, 2], 4 in (2, 4].
        let h = histogram(0, &[2.0, 3.0, 4.0], 1.0);
        for (q, want) in [(0.3, 1.0), (0.6, 2.0), (1.0, 4.0), (0.8, 2.0 * 2_f64.sqrt())] {
            assert!((quantile(q, &h).0 - want).abs() < 1e-12, "{q}");
        }
        assert_eq!(quantile(0.05, &h), (0.0005, None));
        assert_eq!(quantile(-1.0, &h).0, f64::NEG_INFINITY);
        for (lo, hi, want) in [(0.0, 1.0, 0.3), (1.0, 2.0, 0.3), (2.0, 9.0, 0.4)] {
            assert!((fraction(lo, hi, &h).0 - want).abs() < 1e-12, "{lo} {hi}");
        }
        assert!(quantile(0.5, &FloatHistogram::default()).0.is_nan());
    }

    #[test]
    fn nan_observations_are_told() {
        let mut h = histogram(0, &[2.0], 0.0);
        (h.count, h.sum) = (4.0, f64::NAN);
        assert_eq!(quantile(0.9, &h).1, Some(QuantileNote::Result));
        assert_eq!(quantile(0.1, &h).1, Some(QuantileNote::Skew));
        assert_eq!(fraction(0.0, 9.0, &h).1, Some(QuantileNote::Excluded));
    }
}
