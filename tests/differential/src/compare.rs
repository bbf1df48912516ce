//! Whether two answers are the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::answer::{Answer, Point, Series};

/// How exactly values must agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Precision {
    /// Digit by digit.
    Exact,
    /// Within this part of the greater of both.
    Relative(f64),
    /// Within this.
    Absolute(f64),
}

/// What an answer's order means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    Any,
    /// Everything does.
    Series,
}

/// Says what differs first, `None` if nothing does.
#[must_use]
pub fn difference(
    theirs: &Answer,
    ours: &Answer,
    precision: Precision,
    order: Order,
) -> Option<String> {
    if theirs.error != ours.error {
        return Some(format!("error: {:?} and {:?}", theirs.error, ours.error));
    }
    for (name, a, b) in
        [("warnings", &theirs.warnings, &ours.warnings), ("infos", &theirs.infos, &ours.infos)]
    {
        if !same_texts(a, b) {
            return Some(format!("{name}:\n  {}\nand\n  {}", a.join("\n  "), b.join("\n  ")));
        }
    }
    if theirs.kind != ours.kind {
        return Some(format!("type: {} and {}", theirs.kind, ours.kind));
    }
    let (mut a, mut b) = (refs(theirs), refs(ours));
    // A matrix is always sorted.
    if order != Order::Series && theirs.kind != "matrix" {
        a.sort_by(|a, b| a.labels.cmp(&b.labels));
        b.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    for (a, b) in a.iter().zip(&b) {
        if a.labels != b.labels {
            return Some(format!("series: {} and {}", a.labels, b.labels));
        }
        let lists = [(&a.floats, &b.floats), (&a.histograms, &b.histograms)];
        for (theirs, ours) in lists {
            if let Some(what) = points(theirs, ours, precision) {
                return Some(format!("{}: {what}", a.labels));
            }
        }
    }
    (a.len() != b.len()).then(|| format!("{} and {} series", a.len(), b.len()))
}

fn refs(answer: &Answer) -> Vec<&Series> {
    answer.series.iter().collect()
}

/// Prometheus picks any ten where there are more.
fn same_texts(a: &[String], b: &[String]) -> bool {
    let cut = |list: &[String]| list.iter().any(|text| text.ends_with("annotations omitted"));
    if cut(a) && cut(b) { a.len() == b.len() } else { a == b }
}

fn points(theirs: &[Point], ours: &[Point], precision: Precision) -> Option<String> {
    for (a, b) in theirs.iter().zip(ours) {
        if a.t != b.t {
            return Some(format!("at {} and at {}", a.t, b.t));
        }
        if !same_values(&a.values, &b.values, precision) {
            return Some(format!("{} and {} at {}", a.values.join(" "), b.values.join(" "), a.t));
        }
    }
    let (a, b) = (theirs.len(), ours.len());
    (a != b).then(|| format!("{a} and {b} points"))
}

/// Of histograms each part may differ by a part of the greatest: buckets are what remains of
/// sums and differences. A bucket that one of them lacks is an empty one.
fn same_values(a: &[String], b: &[String], precision: Precision) -> bool {
    let close: &dyn Fn(f64, f64) -> bool = match precision {
        _ if a == b => return true,
        Precision::Exact => return false,
        Precision::Relative(relative) => {
            let numbers = a.iter().chain(b).map(|v| number(v).abs());
            let scale = numbers.filter(|v| v.is_finite()).fold(0.0, f64::max);
            &move |x, y| (x - y).abs() <= relative * scale
        }
        Precision::Absolute(most) => &move |x, y| (x - y).abs() <= most,
    };
    let same = |x: &String, y: &String| x == y || close(number(x), number(y));
    let ([x, x_rest @ ..], [y, y_rest @ ..]) = (a, b) else { return false };
    if !same(x, y) {
        return false;
    }
    let ([x, x_buckets @ ..], [y, y_buckets @ ..]) = (x_rest, y_rest) else {
        return x_rest == y_rest;
    };
    let (x_buckets, y_buckets) = (buckets(x_buckets), buckets(y_buckets));
    let zero = "0".to_owned();
    let bounds: BTreeSet<_> = x_buckets.keys().chain(y_buckets.keys()).collect();
    let count = |of: &Buckets<'_>, bounds| of.get(bounds).map_or(&zero, |count| *count).clone();
    same(x, y) && bounds.into_iter().all(|b| same(&count(&x_buckets, b), &count(&y_buckets, b)))
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

/// Counts by bounds, and whether these are within.
type Buckets<'a> = BTreeMap<&'a [String], &'a String>;

/// The buckets behind count and sum.
fn buckets(texts: &[String]) -> Buckets<'_> {
    texts.chunks_exact(4).map(|b| (&b[..3], &b[3])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(result: &str, more: &str) -> Answer {
        let body = format!(
            "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":{result}}}{more}}}"
        );
        Answer::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn order_matters_where_it_is_said() {
        let a = answer(
            r#"[{"metric":{"a":"1"},"value":[1,"2"]},{"metric":{"a":"2"},"value":[1,"3"]}]"#,
            "",
        );
        let b = answer(
            r#"[{"metric":{"a":"2"},"value":[1,"3"]},{"metric":{"a":"1"},"value":[1,"2"]}]"#,
            "",
        );
        assert_eq!(difference(&a, &b, Precision::Exact, Order::Any), None);
        assert!(difference(&a, &b, Precision::Exact, Order::Series).is_some());
    }

    #[test]
    fn values_annotations_and_errors_are_compared() {
        let a = answer(r#"[{"metric":{},"value":[1,"0.3"]}]"#, "");
        let b = answer(r#"[{"metric":{},"value":[1,"0.30000000000000004"]}]"#, "");
        assert!(difference(&a, &b, Precision::Exact, Order::Any).is_some());
        assert_eq!(difference(&a, &b, Precision::Relative(1e-12), Order::Any), None);
        let c = answer(r#"[{"metric":{},"value":[1,"0.3"]}]"#, r#","infos":["x"]"#);
        assert!(difference(&a, &c, Precision::Exact, Order::Any).is_some());
        let error = br#"{"status":"error","errorType":"execution","error":"x"}"#;
        let error = Answer::parse(error).unwrap();
        assert!(difference(&a, &error, Precision::Exact, Order::Any).is_some());
    }

    #[test]
    fn buckets_are_compared_by_their_bounds() {
        let h = |texts: &str| -> Vec<String> { texts.split(' ').map(str::to_owned).collect() };
        let a = h("2 1 0 1 2 2 0 2 4 1e-17");
        let b = h("2 1 0 1 2 2");
        assert!(same_values(&a, &b, Precision::Relative(1e-10)));
        assert!(!same_values(&a, &b, Precision::Exact));
        assert!(!same_values(&a, &h("2 1 0 1 4 2"), Precision::Relative(1e-10)));
        assert!(!same_values(&a, &h("2"), Precision::Relative(1e-10)));
        assert!(same_values(&h("1"), &h("1.5"), Precision::Absolute(0.5)));
    }
}
