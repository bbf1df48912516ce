//! Whether two answers are the same.

use crate::answer::{Answer, Point, Series};

/// How exactly values must agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Precision {
    /// Digit by digit.
    Exact,
    /// Within this part of the greater of both.
    Relative(f64),
}

/// What an answer's order means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    Any,
    /// The values come in this order; equal ones in any.
    Values,
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
    if order == Order::Values {
        let values = |a: &Answer| -> Vec<_> {
            a.series.iter().filter_map(|s| s.floats.first()).map(|p| p.values.clone()).collect()
        };
        let (a, b) = (values(theirs), values(ours));
        let same = |(a, b): (&Vec<String>, &Vec<String>)| same_values(a, b, precision);
        if a.len() != b.len() || !a.iter().zip(&b).all(same) {
            return Some("order of the values".to_owned());
        }
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
/// sums and differences.
fn same_values(a: &[String], b: &[String], precision: Precision) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if a == b {
        return true;
    }
    let Precision::Relative(relative) = precision else { return false };
    let number = |text: &String| text.parse::<f64>().unwrap_or(f64::NAN);
    let scale = a.iter().chain(b).map(|v| number(v).abs()).filter(|v| v.is_finite());
    let scale = scale.fold(0.0, f64::max);
    let bound = |i: usize| i > 1 && (i - 2) % 4 < 3;
    a.iter()
        .zip(b)
        .enumerate()
        .all(|(i, (x, y))| x == y || !bound(i) && (number(x) - number(y)).abs() <= relative * scale)
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
        assert!(difference(&a, &b, Precision::Exact, Order::Values).is_some());
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
}
