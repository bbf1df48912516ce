//! Compares results with what a script expects.

use std::collections::{BTreeMap, HashMap};

use firesteel_model::{FloatHistogram, Labels, Span, Timestamp, float::format_f, is_stale_nan};

use super::{
    histogram::HistogramPoint,
    script::{Case, Expect, Expected, Kind, Times},
    series::Point,
};
use crate::histogram::indexed;
use crate::value::{QueryValue, RangeSeries, SampleValue, VectorSample};

/// How much values may differ, relative to the sum of their magnitudes.
const EPSILON: f64 = 1e-6;

/// Whether floats are the same but for rounding; staleness markers only equal themselves, other
/// NaNs one another.
fn almost(a: f64, b: f64) -> bool {
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

fn almost_histogram(expected: &HistogramPoint, actual: &FloatHistogram) -> bool {
    let (e, a) = (&expected.histogram, actual);
    e.layout.schema == a.layout.schema
        && e.layout.custom_values == a.layout.custom_values
        && e.layout.zero_threshold == a.layout.zero_threshold
        && almost(e.count, a.count)
        && almost(e.sum, a.sum)
        && almost(e.zero_count, a.zero_count)
        && same_buckets(
            (&e.layout.positive_spans, &e.positive_buckets),
            (&a.layout.positive_spans, &a.positive_buckets),
        )
        && same_buckets(
            (&e.layout.negative_spans, &e.negative_buckets),
            (&a.layout.negative_spans, &a.negative_buckets),
        )
        && (!expected.states_hint || e.counter_reset_hint == a.counter_reset_hint)
}

/// Whether the buckets that are not empty are the same.
fn same_buckets(expected: (&[Span], &[f64]), actual: (&[Span], &[f64])) -> bool {
    let filled = |(spans, counts)| -> BTreeMap<i32, f64> {
        indexed(spans, counts).filter(|(_, count)| *count != 0.0).collect()
    };
    let (e, a) = (filled(expected), filled(actual));
    e.len() == a.len() && e.iter().zip(&a).all(|((i, x), (j, y))| i == j && almost(*x, *y))
}

impl Case {
    pub(super) fn is_ordered(&self) -> bool {
        self.expects.iter().any(|e| matches!(e, Expect::Ordered))
    }

    /// Compares a result with the expected values.
    pub(super) fn compare(&self, value: &QueryValue) -> Result<(), String> {
        match (value, &self.expected) {
            (QueryValue::Scalar(got), Expected::Scalar(want)) => {
                if almost(*want, got.v) {
                    Ok(())
                } else {
                    let (want, got) = (format_f(*want), format_f(got.v));
                    Err(format!("expected scalar {want}, got {got}"))
                }
            }
            (QueryValue::String { value, .. }, Expected::String(want)) if value == want => Ok(()),
            (QueryValue::Vector(got), Expected::Series(want)) => self.compare_vector(got, want),
            (QueryValue::Matrix(got), Expected::Series(want)) => self.compare_matrix(got, want),
            (value, expected) => Err(format!("expected {expected:?}, got {value}")),
        }
    }

    fn compare_vector(
        &self,
        got: &[VectorSample],
        want: &[(Labels, Vec<Point>)],
    ) -> Result<(), String> {
        let positions = positions(want);
        let mut seen = vec![false; want.len()];
        for (i, sample) in got.iter().enumerate() {
            let Some(&at) = positions.get(&sample.labels) else {
                return Err(format!("unexpected {sample}"));
            };
            if self.is_ordered() && at != i {
                return Err(format!("expected {} at {at}, is at {i}", sample.labels));
            }
            let point = want[at].1.first();
            let same = match (point, &sample.value) {
                (Some(Point::Float(want)), SampleValue::Float(v)) => almost(*want, *v),
                (Some(Point::Omitted) | None, SampleValue::Float(v)) => almost(0.0, *v),
                (Some(Point::Histogram(want)), SampleValue::Histogram(h)) => {
                    almost_histogram(want, h)
                }
                _ => false,
            };
            if !same {
                return Err(format!("expected {point:?}, got {sample}"));
            }
            seen[at] = true;
        }
        all_seen(want, &seen)
    }

    fn compare_matrix(
        &self,
        got: &[RangeSeries],
        want: &[(Labels, Vec<Point>)],
    ) -> Result<(), String> {
        if self.is_ordered() {
            return Err("expected an ordered result, got a matrix".to_owned());
        }
        sorted(got)?;
        let times = match (self.matrix_times, self.kind) {
            (Some(times), _) | (None, Kind::Range(times)) => times,
            (None, Kind::Instant(_)) => return Err("unexpected range vector".to_owned()),
        };
        let positions = positions(want);
        let mut seen = vec![false; want.len()];
        for series in got {
            let Some(&at) = positions.get(&series.labels) else {
                return Err(format!("unexpected {series}"));
            };
            compare_series(&want[at].1, times, series)?;
            seen[at] = true;
        }
        all_seen(want, &seen)
    }
}

fn positions(want: &[(Labels, Vec<Point>)]) -> HashMap<&Labels, usize> {
    want.iter().enumerate().map(|(i, (labels, _))| (labels, i)).collect()
}

fn all_seen(want: &[(Labels, Vec<Point>)], seen: &[bool]) -> Result<(), String> {
    match seen.iter().position(|seen| !seen) {
        Some(i) => Err(format!("expected {} with {:?}, not found", want[i].0, want[i].1)),
        None => Ok(()),
    }
}

/// Range vectors are always sorted by labels.
pub(super) fn sorted(got: &[RangeSeries]) -> Result<(), String> {
    match got.windows(2).find(|pair| pair[0].labels > pair[1].labels) {
        Some(pair) => Err(format!("not sorted: {} before {}", pair[0].labels, pair[1].labels)),
        None => Ok(()),
    }
}

fn compare_series(want: &[Point], times: Times, got: &RangeSeries) -> Result<(), String> {
    let step = i64::try_from(times.step.as_millis()).unwrap_or(i64::MAX);
    let mut floats: Vec<(Timestamp, f64)> = Vec::new();
    let mut histograms: Vec<(Timestamp, &HistogramPoint)> = Vec::new();
    for (i, point) in want.iter().enumerate() {
        let t = times.start + i as i64 * step;
        if t > times.end {
            return Err(format!("{} values are more than the range has steps", want.len()));
        }
        match point {
            Point::Omitted => {}
            Point::Float(v) => floats.push((t, *v)),
            Point::Histogram(h) => histograms.push((t, h)),
        }
    }
    let same = floats.len() == got.floats.len()
        && histograms.len() == got.histograms.len()
        && floats.iter().zip(&got.floats).all(|((t, v), s)| *t == s.t && almost(*v, s.v))
        && histograms
            .iter()
            .zip(&got.histograms)
            .all(|((t, want), (at, h))| t == at && almost_histogram(want, h));
    if same {
        return Ok(());
    }
    let floats: Vec<_> = floats.iter().map(|(t, v)| format!("{} @[{t}]", format_f(*v))).collect();
    let histograms: Vec<_> =
        histograms.iter().map(|(t, h)| format!("{:?} @[{t}]", h.histogram)).collect();
    Err(format!("expected {} {}, got {got}", floats.join(" "), histograms.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn almost_equal() {
        assert!(almost(1.0, 1.0 + 1e-7) && !almost(1.0, 1.0 + 1e-5));
        assert!(almost(f64::NAN, -f64::NAN) && !almost(f64::NAN, 1.0));
        assert!(!almost(firesteel_model::stale_nan(), f64::NAN));
        assert!(almost(0.0, -0.0) && !almost(0.0, 1e-300));
        assert!(almost(f64::INFINITY, f64::INFINITY) && !almost(f64::INFINITY, 1.0));
    }
}
