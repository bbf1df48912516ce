//! What two answers that differ have in common.

use crate::answer::{Answer, Point, Series};

/// Whether both have the same series with points at the same times, of which `same` is true.
pub(super) fn same_shape(
    theirs: &Answer,
    ours: &Answer,
    same: impl Fn(&str, &str) -> bool,
) -> bool {
    let points = |a: &[Point], b: &[Point]| {
        a.len() == b.len()
            && a.iter().zip(b).all(|(a, b)| a.t == b.t && same(&a.values[0], &b.values[0]))
    };
    let same_series = |a: &Series, b: &Series| {
        a.labels == b.labels && points(&a.floats, &b.floats) && points(&a.histograms, &b.histograms)
    };
    theirs.error == ours.error
        && theirs.series.len() == ours.series.len()
        && ours.series.iter().all(|b| theirs.series.iter().any(|a| same_series(a, b)))
}

/// Whether each histogram of ours is one of theirs times a number: rates that are extrapolated
/// otherwise.
pub(super) fn proportional(theirs: &Answer, ours: &Answer) -> bool {
    let same = |a: &Point, b: &Point| {
        let number = |text: &String| text.parse::<f64>().unwrap_or(f64::NAN);
        let factor = number(&b.values[0]) / number(&a.values[0]);
        let close = |a: f64, b: f64| a == b || (a * factor - b).abs() <= 1e-9 * b.abs();
        let bounds = |i: usize| i > 1 && (i - 2) % 4 < 3;
        a.t == b.t
            && a.values.len() == b.values.len()
            && a.values
                .iter()
                .zip(&b.values)
                .enumerate()
                .all(|(i, (a, b))| a == b || !bounds(i) && close(number(a), number(b)))
    };
    let same_series = |a: &Series, b: &Series| {
        a.labels == b.labels
            && a.floats == b.floats
            && a.histograms.len() == b.histograms.len()
            && a.histograms.iter().zip(&b.histograms).all(|(a, b)| same(a, b))
    };
    theirs.error == ours.error
        && theirs.warnings == ours.warnings
        && theirs.infos == ours.infos
        && theirs.series.len() == ours.series.len()
        && ours.series.iter().all(|b| theirs.series.iter().any(|a| same_series(a, b)))
}

/// Whether one has all series of the other, and more.
pub(super) fn has_more(one: &Answer, other: &Answer) -> bool {
    one.series.len() > other.series.len() && other.series.iter().all(|s| one.series.contains(s))
}

/// Whether the buckets of some histogram of theirs do not add up to its count where those of ours do.
pub(super) fn spoiled(theirs: &Answer, ours: &Answer) -> bool {
    let disagrees = |point: &Point| {
        let numbers: Vec<f64> = point.values.iter().filter_map(|v| v.parse().ok()).collect();
        let sum: f64 = numbers.get(2..).unwrap_or_default().chunks_exact(4).map(|b| b[3]).sum();
        let magnitude: f64 = numbers.iter().map(|v| v.abs()).filter(|v| v.is_finite()).sum();
        numbers.len() == point.values.len() && (sum - numbers[0]).abs() > 1e-9 * magnitude
    };
    let points = |a: &Answer| -> Vec<(String, String, bool)> {
        let of = |s: &Series| {
            let labels = s.labels.clone();
            s.histograms.iter().map(move |p| (labels.clone(), p.t.clone(), disagrees(p))).collect()
        };
        a.series.iter().flat_map::<Vec<_>, _>(of).collect()
    };
    let (theirs, ours) = (points(theirs), points(ours));
    let pairs = theirs.iter().zip(&ours);
    theirs.len() == ours.len() && pairs.into_iter().any(|(a, b)| a.2 && !b.2 && a.1 == b.1)
}

/// Whether any annotation contains a text.
pub(super) fn told(answer: &Answer, what: &str) -> bool {
    answer.warnings.iter().chain(&answer.infos).any(|text| text.contains(what))
}

/// The text of the error, if there is one.
pub(super) fn error(answer: &Answer) -> &str {
    answer.error.as_ref().map_or("", |e| &e.1)
}

/// The text of a parse error behind its position.
pub(super) fn parse_error(answer: &Answer) -> Option<&str> {
    error(answer).split_once("parse error: ").map(|t| t.1)
}
