//! Pages written, as Go's client library writes them (`prometheus/common/expfmt`).

use firesteel_model::{
    METRIC_NAME, MetricType,
    float::{write_g, write_om},
    is_legacy_label_name, is_legacy_metric_name,
    metrics::{Family, MetricLabel, Point},
};

/// The `Content-Type` of what [`encode_text`] writes.
pub const TEXT_CONTENT_TYPE: &str =
    "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8";

/// The `Content-Type` of what [`encode_openmetrics`] writes.
pub const OPENMETRICS_CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";

/// Appends the families to `out` as Prometheus text 1.0.0, which readers of 0.0.4 understand as
/// long as all names are in the old syntax. Points of a kind that does not fit their family's type
/// are written by what they are.
pub fn encode_text(families: &[Family], out: &mut Vec<u8>) {
    let mut page = Page { out: String::new(), openmetrics: false };
    for family in families {
        page.metadata(&family.name, family);
        for (labels, point) in &family.points {
            page.point(&family.name, &family.name, labels, point);
        }
    }
    out.extend_from_slice(page.out.as_bytes());
}

/// Appends the families to `out` as OpenMetrics 1.0.0, with `# EOF`.
pub fn encode_openmetrics(families: &[Family], out: &mut Vec<u8>) {
    let mut page = Page { out: String::new(), openmetrics: true };
    for family in families {
        // A counter's family goes without the suffix that its samples carry.
        let is_counter = family.kind == MetricType::Counter;
        let base = match family.name.strip_suffix("_total") {
            Some(base) if is_counter => base,
            _ => &family.name,
        };
        let sample = if is_counter { format!("{base}_total") } else { base.to_owned() };
        page.metadata(base, family);
        for (labels, point) in &family.points {
            page.point(base, &sample, labels, point);
        }
    }
    page.out.push_str("# EOF\n");
    out.extend_from_slice(page.out.as_bytes());
}

struct Page {
    out: String,
    openmetrics: bool,
}

impl Page {
    fn metadata(&mut self, name: &str, family: &Family) {
        if !family.help.is_empty() {
            self.out.push_str("# HELP ");
            self.family_name(name);
            self.out.push(' ');
            let quotes = self.openmetrics;
            self.escaped(&family.help, quotes);
            self.out.push('\n');
        }
        self.out.push_str("# TYPE ");
        self.family_name(name);
        self.out.push(' ');
        self.out.push_str(self.type_name(family.kind));
        self.out.push('\n');
    }

    /// The old format knows fewer types; the others are shown as the nearest it has.
    const fn type_name(&self, kind: MetricType) -> &'static str {
        if self.openmetrics {
            return kind.as_str();
        }
        match kind {
            MetricType::Unknown => "untyped",
            MetricType::Info | MetricType::StateSet => "gauge",
            MetricType::GaugeHistogram => "histogram",
            kind => kind.as_str(),
        }
    }

    fn family_name(&mut self, name: &str) {
        if is_legacy_metric_name(name) {
            self.out.push_str(name);
        } else {
            self.quoted(name);
        }
    }

    fn point(&mut self, family: &str, sample: &str, labels: &[MetricLabel], point: &Point) {
        match point {
            Point::Value(v) => {
                self.series(sample, "", labels, None);
                self.value(*v);
            }
            Point::Histogram { buckets, count, sum } => {
                for (bound, count) in buckets {
                    self.series(family, "_bucket", labels, Some(("le", *bound)));
                    self.count(*count);
                }
                if !buckets.iter().any(|(bound, _)| *bound == f64::INFINITY) {
                    self.series(family, "_bucket", labels, Some(("le", f64::INFINITY)));
                    self.count(*count);
                }
                self.sum_and_count(family, labels, *sum, *count);
            }
            Point::Summary { quantiles, count, sum } => {
                for (quantile, v) in quantiles {
                    self.series(family, "", labels, Some(("quantile", *quantile)));
                    self.value(*v);
                }
                self.sum_and_count(family, labels, *sum, *count);
            }
        }
    }

    fn sum_and_count(&mut self, family: &str, labels: &[MetricLabel], sum: f64, count: u64) {
        self.series(family, "_sum", labels, None);
        self.value(sum);
        self.series(family, "_count", labels, None);
        self.count(count);
    }

    /// The series' text; `extra` is a label whose value is a number.
    fn series(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &[MetricLabel],
        extra: Option<(&str, f64)>,
    ) {
        let plain = is_legacy_metric_name(name);
        if plain {
            self.out.push_str(name);
            self.out.push_str(suffix);
        }
        // Labels of an empty value are none; the metric name is not a label here.
        let labels = labels.iter().filter(|(n, v)| !v.is_empty() && n != METRIC_NAME);
        let mut separator = '{';
        if !plain {
            self.out.push(separator);
            self.quoted(&format!("{name}{suffix}"));
            separator = ',';
        }
        for (name, value) in labels {
            self.out.push(separator);
            separator = ',';
            if is_legacy_label_name(name) {
                self.out.push_str(name);
            } else {
                self.quoted(name);
            }
            self.out.push('=');
            self.quoted(value);
        }
        if let Some((name, v)) = extra {
            self.out.push(separator);
            separator = ',';
            self.out.push_str(name);
            self.out.push_str("=\"");
            if self.openmetrics {
                write_om(&mut self.out, v);
            } else {
                write_g(&mut self.out, v);
            }
            self.out.push('"');
        }
        if separator == ',' {
            self.out.push('}');
        }
        self.out.push(' ');
    }

    fn value(&mut self, v: f64) {
        if self.openmetrics {
            write_om(&mut self.out, v);
        } else {
            write_g(&mut self.out, v);
        }
        self.out.push('\n');
    }

    fn count(&mut self, n: u64) {
        use std::fmt::Write as _;
        let _ = writeln!(self.out, "{n}");
    }

    fn quoted(&mut self, text: &str) {
        self.out.push('"');
        self.escaped(text, true);
        self.out.push('"');
    }

    fn escaped(&mut self, text: &str, quotes: bool) {
        for c in text.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '"' if quotes => self.out.push_str("\\\""),
                c => self.out.push(c),
            }
        }
    }
}
