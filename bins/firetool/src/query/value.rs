//! Prints values of the API as Prometheus' Go model prints them.

use std::{cmp::Ordering, fmt::Write as _};

use firesteel_model::float::{self, go_quote};
use serde_json::{Map, Value};

/// A label set without its name's special place: `{__name__="up", job="x"}`.
pub(crate) fn label_set(labels: &Value) -> String {
    let empty = Map::new();
    let labels = labels.as_object().unwrap_or(&empty);
    let pairs: Vec<String> =
        labels.iter().map(|(k, v)| format!("{k}={}", go_quote(text(v)))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// A metric: `up{job="x"}`.
pub(crate) fn metric(labels: &Value) -> String {
    let empty = Map::new();
    let labels = labels.as_object().unwrap_or(&empty);
    let name = labels.get("__name__").map(text);
    let mut pairs: Vec<String> = labels
        .iter()
        .filter(|(k, _)| *k != "__name__")
        .map(|(k, v)| format!("{k}={}", go_quote(text(v))))
        .collect();
    pairs.sort();
    match (name, pairs.is_empty()) {
        (Some(name), true) => name.to_owned(),
        (None, true) => "{}".to_owned(),
        (name, false) => format!("{}{{{}}}", name.unwrap_or_default(), pairs.join(", ")),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    match value {
        Value::String(s) => s.parse().unwrap_or(f64::NAN),
        other => other.as_f64().unwrap_or(f64::NAN),
    }
}

/// A number as Go prints it without exponent.
fn plain(value: &Value) -> String {
    float::format_f(number(value))
}

/// The result of a query with its numbers as Go's model writes them, which has no exponents; the
/// API has them for the largest and the smallest.
pub(crate) fn without_exponents(data: &Value) -> Value {
    let mut result = data["result"].clone();
    match data["resultType"].as_str() {
        Some("scalar") => plain_texts(&mut result),
        Some("vector" | "matrix") => {
            for series in result.as_array_mut().into_iter().flatten() {
                for key in ["value", "values", "histogram", "histograms"] {
                    series.get_mut(key).into_iter().for_each(plain_texts);
                }
            }
        }
        _ => {}
    }
    result
}

fn plain_texts(value: &mut Value) {
    match value {
        Value::String(_) => *value = Value::String(plain(value)),
        Value::Array(all) => all.iter_mut().for_each(plain_texts),
        Value::Object(all) => all.values_mut().for_each(plain_texts),
        _ => {}
    }
}

/// `1 @[1700000000]`
fn point(pair: &Value) -> String {
    format!("{} @[{}]", plain(&pair[1]), plain(&pair[0]))
}

/// `Count: 1.000000, Sum: 2.000000, Buckets: [(0.5,1]:3] @[1700000000]`
fn histogram_point(pair: &Value) -> String {
    let h = &pair[1];
    let mut out =
        format!("Count: {:.6}, Sum: {:.6}, Buckets: [", number(&h["count"]), number(&h["sum"]));
    for (i, bucket) in h["buckets"].as_array().into_iter().flatten().enumerate() {
        let boundaries = bucket[0].as_u64().unwrap_or(0);
        let _ = write!(
            out,
            "{}{}{},{}{}:{}",
            if i > 0 { " " } else { "" },
            if matches!(boundaries, 1 | 3) { '[' } else { '(' },
            general(number(&bucket[1])),
            general(number(&bucket[2])),
            if matches!(boundaries, 0 | 3) { ']' } else { ')' },
            plain(&bucket[3]),
        );
    }
    format!("{out}] @[{}]", plain(&pair[0]))
}

fn general(v: f64) -> String {
    let mut out = String::new();
    float::write_g(&mut out, v);
    out
}

/// A query's data, in lines.
pub(crate) fn lines(data: &Value) -> String {
    let result = &data["result"];
    let all: &[Value] = result.as_array().map_or(&[], Vec::as_slice);
    match data["resultType"].as_str() {
        Some("scalar") => format!("scalar: {}", point(result)),
        Some("string") => text(&result[1]).to_owned(),
        Some("matrix") => {
            let mut series: Vec<&Value> = all.iter().collect();
            series.sort_by(|a, b| before(&a["metric"], &b["metric"]));
            let texts = series.into_iter().map(|s| {
                let floats = s["values"].as_array().into_iter().flatten().map(point);
                let histograms =
                    s["histograms"].as_array().into_iter().flatten().map(histogram_point);
                let points: Vec<String> = floats.chain(histograms).collect();
                format!("{} =>\n{}", metric(&s["metric"]), points.join("\n"))
            });
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => {
            let texts = all.iter().map(|s| {
                let value = match &s["histogram"] {
                    Value::Null => point(&s["value"]),
                    h => histogram_point(h),
                };
                format!("{} => {value}", metric(&s["metric"]))
            });
            texts.collect::<Vec<_>>().join("\n")
        }
    }
}

/// The order in which Go prints the series of a matrix: fewer labels first.
fn before(a: &Value, b: &Value) -> Ordering {
    let empty = Map::new();
    let (a, b) = (a.as_object().unwrap_or(&empty), b.as_object().unwrap_or(&empty));
    a.len().cmp(&b.len()).then_with(|| {
        let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
        names.sort();
        for name in names {
            let order = match (a.get(name), b.get(name)) {
                (None, _) => Ordering::Less,
                (_, None) => Ordering::Greater,
                (Some(x), Some(y)) => text(x).cmp(text(y)),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_print_as_in_go() {
        let vector = json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "a\"b"}, "value": [1.5, "1e+30"]},
            {"metric": {}, "histogram": [2, {"count": "3", "sum": "0.5",
                "buckets": [[3, "-0.001", "0.001", "1"], [0, "0.5", "1", "2"]]}]},
        ]});
        assert_eq!(
            lines(&vector),
            "up{job=\"a\\\"b\"} => 1000000000000000000000000000000 @[1.5]\n\
             {} => Count: 3.000000, Sum: 0.500000, Buckets: [[-0.001,0.001]:1 (0.5,1]:2] @[2]"
        );
        let matrix = json!({"resultType": "matrix", "result": [
            {"metric": {"a": "2"}, "values": [[1, "1"], [2, "NaN"]]},
            {"metric": {"a": "1"}, "values": [[1, "+Inf"]]},
        ]});
        assert_eq!(lines(&matrix), "{a=\"1\"} =>\n+Inf @[1]\n{a=\"2\"} =>\n1 @[1]\nNaN @[2]");
        assert_eq!(lines(&json!({"resultType": "scalar", "result": [1, "2"]})), "scalar: 2 @[1]");
    }
}
