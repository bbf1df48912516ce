//! The texts of annotations, without their prefix. Source: Prometheus `util/annotations`.

use firesteel_model::float::go_quote;

/// A float as Go's `%g` prints it.
pub(crate) fn go_g(v: f64) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if v == 0.0 {
        return if v.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    // Shortest digits with an exponent: `1.5e-7`.
    let text = format!("{v:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{v}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `text` with the metric's name, if there is one.
pub(crate) fn with_metric_name(text: &str, name: &str) -> String {
    if name.is_empty() {
        text.to_owned()
    } else {
        format!("{text} for metric name {}", go_quote(name))
    }
}

pub(crate) fn invalid_quantile(q: f64) -> String {
    format!("quantile value should be between 0 and 1, got {}", go_g(q))
}

pub(crate) fn invalid_ratio(ratio: f64, cap: f64) -> String {
    format!("ratio value should be between -1 and 1, got {}, capping to {}", go_g(ratio), go_g(cap))
}

pub(crate) fn bad_bucket_label(name: &str, value: &str) -> String {
    let text =
        format!("bucket label \"le\" is missing or has a malformed value of {}", go_quote(value));
    with_metric_name(&text, name)
}

pub(crate) fn mixed_floats_histograms(name: &str) -> String {
    format!("encountered a mix of histograms and floats for metric name {}", go_quote(name))
}

pub(crate) const MIXED_AGGREGATION: &str =
    "encountered a mix of histograms and floats for aggregation";

pub(crate) fn mixed_classic_native(name: &str) -> String {
    with_metric_name("vector contains a mix of classic and native histograms", name)
}

pub(crate) fn not_counter(name: &str) -> String {
    format!("this native histogram metric is not a counter: {}", go_quote(name))
}

pub(crate) fn not_gauge(name: &str) -> String {
    format!("this native histogram metric is not a gauge: {}", go_quote(name))
}

pub(crate) fn mixed_schemas(name: &str) -> String {
    format!(
        "vector contains a mix of histograms with exponential and custom buckets schemas for \
         metric name {}",
        go_quote(name)
    )
}

pub(crate) fn incompatible_layout(operator: &str) -> String {
    format!("incompatible bucket layout encountered for binary operator {operator}")
}

pub(crate) const SORT_IN_RANGE_QUERY: &str =
    "sort is ineffective for range queries since results are always ordered by labels";

pub(crate) fn maybe_no_counter(name: &str) -> String {
    format!(
        "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
        go_quote(name)
    )
}

pub(crate) fn maybe_no_counter_label(name: &str, kind: &str) -> String {
    format!(
        "metric might not be a counter, __type__ label is not set to \"counter\" or \
         \"histogram\", got {}: {}",
        go_quote(kind),
        go_quote(name)
    )
}

pub(crate) fn incompatible_types(left: &str, operator: &str, right: &str) -> String {
    format!(
        "incompatible sample types encountered for binary operator {}: {left} {operator} {right}",
        go_quote(operator)
    )
}

pub(crate) fn ignored_in_aggregation(aggregation: &str) -> String {
    format!("ignored histogram in {aggregation} aggregation")
}

pub(crate) fn ignored_in_mixed_range(name: &str) -> String {
    format!(
        "ignored histograms in a range containing both floats and histograms for metric name {}",
        go_quote(name)
    )
}

pub(crate) fn quantile_note(note: crate::histogram::QuantileNote, name: &str) -> String {
    use crate::histogram::QuantileNote as N;
    let text = match note {
        N::Result => "input to histogram_quantile has NaN observations, result is NaN",
        N::Skew => "input to histogram_quantile has NaN observations, result is skewed higher",
        N::Excluded => {
            "input to histogram_fraction has NaN observations, which are excluded from all fractions"
        }
    };
    with_metric_name(text, name)
}

pub(crate) fn reset_collision(operation: &str) -> String {
    format!("conflicting counter resets during histogram {operation}")
}

pub(crate) fn reconciled(operation: &str) -> String {
    format!("mismatched custom buckets were reconciled during {operation}")
}

pub(crate) fn start_overlap(name: &str) -> String {
    format!(
        "sample has start time that overlaps with previous sample timestamp for metric {}",
        go_quote(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_go_prints_them() {
        for (v, text) in [
            (1.5, "1.5"),
            (-0.0, "-0"),
            (1e6, "1e+06"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.234567e+06"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(go_g(v), text);
        }
    }
}
