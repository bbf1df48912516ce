//! The texts of annotations, without their prefix. Source: Prometheus `util/annotations`.

use firesteel_model::float::go_quote;

use crate::go::format_g;

/// `text` with the metric's name, if there is one.
pub(crate) fn with_metric_name(text: &str, name: &str) -> String {
    if name.is_empty() {
        text.to_owned()
    } else {
        format!("{text} for metric name {}", go_quote(name))
    }
}

pub(crate) fn invalid_quantile(q: f64) -> String {
    format!("quantile value should be between 0 and 1, got {}", format_g(q))
}

pub(crate) fn invalid_ratio(ratio: f64, cap: f64) -> String {
    format!(
        "ratio value should be between -1 and 1, got {}, capping to {}",
        format_g(ratio),
        format_g(cap)
    )
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
