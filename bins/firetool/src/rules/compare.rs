//! What tests compare, and how it prints when it differs.

use std::{cmp::Ordering, collections::BTreeMap};

use firesteel_model::{
    CounterResetHint, FloatHistogram, Labels,
    float::{self, go_quote},
};
use firesteel_promql::{SampleValue, VectorSample};

/// An alert: labels and annotations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FiringAlert {
    pub(super) labels: Labels,
    /// Unlike labels these may be empty.
    pub(super) annotations: BTreeMap<String, String>,
}

impl FiringAlert {
    fn json(&self) -> serde_json::Value {
        let labels: BTreeMap<&str, &str> = self.labels.iter().collect();
        serde_json::json!({"Labels": labels, "Annotations": &self.annotations})
    }
}

/// Puts `indent` before every line but the first.
pub(super) fn indent(text: &str, indent: &str) -> String {
    text.replace('\n', &format!("\n{indent}"))
}

/// Alerts as promtool prints them.
pub(super) fn print_alerts(alerts: &[FiringAlert]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let one = |(i, alert): (usize, &FiringAlert)| {
        let annotations = alert.annotations.iter();
        let annotations: Vec<String> =
            annotations.map(|(name, value)| format!("{name}={}", go_quote(value))).collect();
        let annotations = annotations.join(", ");
        let text = format!("\nLabels:{}\nAnnotations:{{{annotations}}}", alert.labels);
        format!("\n{i}:{}", indent(&text, "  "))
    };
    let all: Vec<String> = alerts.iter().enumerate().map(one).collect();
    format!("[{}\n]", all.join(","))
}

/// The lines of both lists as JSON, marked where they differ.
pub(super) fn diff_alerts(expected: &[FiringAlert], got: &[FiringAlert]) -> String {
    let lines = |alerts: &[FiringAlert]| -> Vec<String> {
        let json: Vec<_> = alerts.iter().map(FiringAlert::json).collect();
        let text = serde_json::to_string_pretty(&json).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let (old, new) = (lines(expected), lines(got));
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                out.push(format!("  {a}"));
                (i, j) = (i + 1, j + 1);
            }
            // What comes again later in the other list waits for it.
            (Some(a), Some(_)) if !new[j..].contains(a) => {
                out.push(format!("\u{1b}[0;31m- {a}\u{1b}[0m"));
                i += 1;
            }
            (_, Some(b)) => {
                out.push(format!("\u{1b}[0;32m+ {b}\u{1b}[0m"));
                j += 1;
            }
            (Some(a), None) => {
                out.push(format!("\u{1b}[0;31m- {a}\u{1b}[0m"));
                i += 1;
            }
            (None, None) => break,
        }
    }
    out.join("\n")
}

/// A sample: labels, and a float or a histogram in series notation.
#[derive(Clone, Debug)]
pub(super) struct ResultSample {
    pub(super) labels: Labels,
    pub(super) value: f64,
    pub(super) histogram: Option<String>,
}

impl ResultSample {
    pub(super) fn same(&self, other: &Self, fuzzy: bool) -> bool {
        self.labels == other.labels
            && self.histogram == other.histogram
            && same_float(self.value, other.value, fuzzy)
    }

    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.labels.cmp(&other.labels)
    }
}

impl From<VectorSample> for ResultSample {
    fn from(sample: VectorSample) -> Self {
        let (value, histogram) = match sample.value {
            SampleValue::Float(v) => (v, None),
            SampleValue::Histogram(h) => (0.0, Some(notation(*h))),
        };
        Self { labels: sample.labels, value, histogram }
    }
}

impl std::fmt::Display for ResultSample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.histogram {
            Some(histogram) => write!(f, "{} {histogram}", self.labels),
            None => {
                let mut value = String::new();
                float::write_e(&mut value, self.value);
                // Names of what is not finite stay as they are.
                let value = if self.value.is_finite() { value.to_uppercase() } else { value };
                write!(f, "{} {value}", self.labels)
            }
        }
    }
}

/// Samples as promtool prints them.
pub(super) fn print_samples(samples: &[ResultSample]) -> String {
    match samples {
        [] => "nil".to_owned(),
        samples => samples.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Equal, or neighbours where that is enough. NaN is not equal to itself.
fn same_float(a: f64, b: f64, fuzzy: bool) -> bool {
    a == b || (fuzzy && (a.next_down() == b || a.next_up() == b))
}

fn g(v: f64) -> String {
    let mut out = String::new();
    float::write_g(&mut out, v);
    out
}

/// A histogram in series notation. Source: `TestExpression` of Prometheus' float histograms.
pub(super) fn notation(mut histogram: FloatHistogram) -> String {
    histogram.compact(u32::MAX);
    let layout = &histogram.layout;
    let mut parts = Vec::new();
    if layout.schema != 0 {
        parts.push(format!("schema:{}", layout.schema));
    }
    for (name, value) in [
        ("count", histogram.count),
        ("sum", histogram.sum),
        ("z_bucket", histogram.zero_count),
        ("z_bucket_w", layout.zero_threshold),
    ] {
        if value != 0.0 {
            parts.push(format!("{name}:{}", g(value)));
        }
    }
    let list = |values: &[f64]| values.iter().map(|v| g(*v)).collect::<Vec<_>>().join(" ");
    if layout.is_custom() {
        parts.push(format!("custom_values:[{}]", list(&layout.custom_values)));
    }
    let hint = match histogram.counter_reset_hint {
        CounterResetHint::Unknown => None,
        CounterResetHint::Reset => Some("reset"),
        CounterResetHint::NotReset => Some("not_reset"),
        CounterResetHint::Gauge => Some("gauge"),
    };
    parts.extend(hint.map(|hint| format!("counter_reset_hint:{hint}")));
    for (offset, name, spans, buckets) in [
        ("offset", "buckets", &layout.positive_spans, &histogram.positive_buckets),
        ("n_offset", "n_buckets", &layout.negative_spans, &histogram.negative_buckets),
    ] {
        if let Some(span) = spans.first().filter(|span| span.offset != 0) {
            parts.push(format!("{offset}:{}", span.offset));
        }
        if !buckets.is_empty() {
            parts.push(format!("{name}:[{}]", list(buckets)));
        }
    }
    format!("{{{{{}}}}}", parts.join(" "))
}
