//! Kernels of the `_over_time` functions and of linear regression, over the values of one window.

use super::kahan;
use crate::quantile;

/// Values that are compared side by side.
const LANES: usize = 8;

/// The best of `values` by `better`, side by side; NaN is never better.
#[inline(always)]
fn best_value(values: &[f64], worst: f64, better: impl Fn(f64, f64) -> bool) -> f64 {
    let pick = |new: f64, old: f64| if better(new, old) { new } else { old };
    let mut best = [worst; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for lanes in whole {
        for (best, v) in best.iter_mut().zip(lanes) {
            *best = pick(*v, *best);
        }
    }
    rest.iter().chain(&best).fold(worst, |best, v| pick(*v, best))
}

/// `max_over_time`: any number replaces NaN. The window must not be empty.
#[inline]
pub(crate) fn max(values: &[f64]) -> f64 {
    let max = best_value(values, f64::NEG_INFINITY, |new, old| new > old);
    // Of two zeros the first counts, and where there is no number, NaN.
    if max != 0.0 && max != f64::NEG_INFINITY {
        return max;
    }
    values.iter().fold(values[0], |max, &v| if v > max || max.is_nan() { v } else { max })
}

/// `min_over_time`: any number replaces NaN. The window must not be empty.
#[inline]
pub(crate) fn min(values: &[f64]) -> f64 {
    let min = best_value(values, f64::INFINITY, |new, old| new < old);
    if min != 0.0 && min != f64::INFINITY {
        return min;
    }
    values.iter().fold(values[0], |min, &v| if v < min || min.is_nan() { v } else { min })
}

/// Index of the last sample that satisfies `better` against the best before it.
fn best(values: &[f64], better: impl Fn(f64, f64) -> bool) -> usize {
    let mut at = 0;
    for (i, &v) in values.iter().enumerate() {
        if better(v, values[at]) || values[at].is_nan() {
            at = i;
        }
    }
    at
}

/// Index of the newest maximum. The window must not be empty.
pub(crate) fn index_of_max(values: &[f64]) -> usize {
    best(values, |v, max| v >= max)
}

/// Index of the newest minimum. The window must not be empty.
pub(crate) fn index_of_min(values: &[f64]) -> usize {
    best(values, |v, min| v <= min)
}

/// Population variance by Welford's method with compensation.
#[inline]
pub(crate) fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let (mut mean, mut c_mean) = (0.0, 0.0);
    let (mut aux, mut c_aux) = (0.0, 0.0);
    for &v in values {
        count += 1.0;
        let delta = v - (mean + c_mean);
        (mean, c_mean) = kahan::add(delta / count, mean, c_mean);
        (aux, c_aux) = kahan::add(delta * (v - (mean + c_mean)), aux, c_aux);
    }
    (aux + c_aux) / count
}

/// Median of the distances to the median; NaN where a value is NaN.
pub(crate) fn median_absolute_deviation(values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    if values.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    scratch.clear();
    scratch.extend_from_slice(values);
    let median = quantile::quantile(0.5, scratch);
    for v in scratch.iter_mut() {
        *v = (*v - median).abs();
    }
    quantile::quantile(0.5, scratch)
}

/// Quantile `q` of a window.
pub(crate) fn window_quantile(q: f64, values: &[f64], scratch: &mut Vec<f64>) -> f64 {
    scratch.clear();
    scratch.extend_from_slice(values);
    quantile::quantile(q, scratch)
}

/// Least-squares line through the samples: its slope per second, and its value at `intercept_t`.
/// At least one sample.
pub(crate) fn linear_regression(ts: &[i64], vs: &[f64], intercept_t: i64) -> (f64, f64) {
    let first = vs[0];
    let mut constant = true;
    let mut n = 0.0;
    let (mut sum_x, mut c_x) = (0.0, 0.0);
    let (mut sum_y, mut c_y) = (0.0, 0.0);
    let (mut sum_xy, mut c_xy) = (0.0, 0.0);
    let (mut sum_x2, mut c_x2) = (0.0, 0.0);
    for (i, (&t, &v)) in ts.iter().zip(vs).enumerate() {
        if constant && i > 0 && v != first {
            constant = false;
        }
        n += 1.0;
        let x = t.wrapping_sub(intercept_t) as f64 / 1e3;
        (sum_x, c_x) = kahan::add(x, sum_x, c_x);
        (sum_y, c_y) = kahan::add(v, sum_y, c_y);
        (sum_xy, c_xy) = kahan::add(x * v, sum_xy, c_xy);
        (sum_x2, c_x2) = kahan::add(x * x, sum_x2, c_x2);
    }
    if constant {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    sum_x += c_x;
    sum_y += c_y;
    sum_xy += c_xy;
    sum_x2 += c_x2;
    let cov = sum_xy - sum_x * sum_y / n;
    let var = sum_x2 - sum_x * sum_x / n;
    let slope = cov / var;
    (slope, sum_y / n - slope * sum_x / n)
}

/// `deriv`: the slope, with the first sample as the origin of time.
pub(crate) fn deriv(ts: &[i64], vs: &[f64]) -> Option<f64> {
    (vs.len() >= 2).then(|| linear_regression(ts, vs, ts[0]).0)
}

/// `predict_linear`: the line's value `seconds` after the evaluation time.
pub(crate) fn predict_linear(ts: &[i64], vs: &[f64], eval_t: i64, seconds: f64) -> Option<f64> {
    if vs.len() < 2 {
        return None;
    }
    let (slope, intercept) = linear_regression(ts, vs, eval_t);
    Some(slope * seconds + intercept)
}

/// `double_exponential_smoothing` (Holt's linear method) with smoothing factor `sf` and trend
/// factor `tf`, both between 0 and 1.
pub(crate) fn double_exponential_smoothing(vs: &[f64], sf: f64, tf: f64) -> Option<f64> {
    if vs.len() < 2 {
        return None;
    }
    let mut s0 = 0.0;
    let mut s1 = vs[0];
    let mut trend = vs[1] - vs[0];
    for (i, &v) in vs.iter().enumerate().skip(1) {
        let x = sf * v;
        if i > 1 {
            trend = tf * (s1 - s0) + (1.0 - tf) * trend;
        }
        let y = (1.0 - sf) * (s1 + trend);
        (s0, s1) = (s1, x + y);
    }
    Some(s1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn extremes_ignore_nan_unless_it_is_all_there_is() {
        for (values, lo, hi) in
            [(&[NAN, 2.0, 1.0][..], 1.0, 2.0), (&[3.0, NAN], 3.0, 3.0), (&[-0.5], -0.5, -0.5)]
        {
            assert_eq!((min(values), max(values)), (lo, hi));
        }
        assert!(max(&[NAN, NAN]).is_nan());
        assert_eq!(index_of_max(&[1.0, 3.0, 3.0, 2.0]), 2);
        assert_eq!(index_of_min(&[NAN, 1.0, 1.0, 2.0]), 2);
    }

    proptest::proptest! {
        #[test]
        fn extremes_are_those_of_one_by_one(picks in proptest::collection::vec(0_usize..9, 1..40)) {
            let some = [NAN, -0.0, 0.0, 1.0, -1.0, 2.5, f64::INFINITY, f64::NEG_INFINITY, -7.0];
            let values: Vec<f64> = picks.into_iter().map(|i| some[i]).collect();
            let plain = |better: fn(f64, f64) -> bool| {
                values.iter().fold(values[0], |a, &v| if better(v, a) || a.is_nan() { v } else { a })
            };
            let right = [plain(|v, max| v > max), plain(|v, min| v < min)];
            let got = [max(&values), min(&values)];
            proptest::prop_assert_eq!(got.map(f64::to_bits), right.map(f64::to_bits));
        }
    }

    #[test]
    fn variance_and_regression() {
        assert_eq!(variance(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 4.0);
        assert!(variance(&[f64::INFINITY]).is_nan());
        assert_eq!(deriv(&[0, 1000, 2000], &[1.0, 3.0, 5.0]), Some(2.0));
        assert_eq!(deriv(&[0], &[1.0]), None);
        assert_eq!(predict_linear(&[0, 1000], &[1.0, 3.0], 1000, 10.0), Some(23.0));
        assert_eq!(deriv(&[0, 1], &[7.0, 7.0]), Some(0.0));
        assert!(deriv(&[0, 1], &[f64::INFINITY; 2]).unwrap().is_nan());
    }

    #[test]
    fn quantiles_of_windows() {
        let mut scratch = Vec::new();
        assert_eq!(window_quantile(0.75, &[0.0, 1.0, 2.0], &mut scratch), 1.5);
        assert_eq!(median_absolute_deviation(&[4.0, 6.0, 2.0, 1.0, 999.0], &mut scratch), 2.0);
        assert!(median_absolute_deviation(&[NAN, 1.0], &mut scratch).is_nan());
    }

    #[test]
    fn smoothing_follows_a_line() {
        let line: Vec<f64> = (0..10).map(f64::from).collect();
        let got = double_exponential_smoothing(&line, 0.5, 0.5).unwrap();
        assert!((got - 9.0).abs() < 1e-12);
        assert_eq!(double_exponential_smoothing(&[1.0], 0.5, 0.5), None);
    }
}
