//! Families written as text, as Go's client library writes them (`prometheus/common/expfmt`).
//! Protobuf is written in `proto::encode`.

use std::{borrow::Cow, fmt::Write as _};

use firesteel_model::{
    Exemplar, FloatHistogram, Labels, METRIC_NAME, MetricType, Timestamp,
    float::{write_f, write_g, write_om},
    is_legacy_label_name, is_legacy_metric_name,
    metrics::{Family, Point},
};

use crate::{
    BucketValue, EscapingScheme, Families, Format, HistogramValue, Metric, MetricFamily,
    MetricValue, proto,
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
    Families::from(families).write(Format::PrometheusText, EscapingScheme::AllowUtf8, out);
}

/// Appends the families to `out` as OpenMetrics 1.0.0, with `# EOF`.
pub fn encode_openmetrics(families: &[Family], out: &mut Vec<u8>) {
    Families::from(families).write(Format::OpenMetrics, EscapingScheme::AllowUtf8, out);
}

/// Appends the families to `out` as `io.prometheus.client.MetricFamily` messages, each behind its
/// length. Points of a kind that does not fit their family's type are left out.
pub fn encode_protobuf(families: &[Family], out: &mut Vec<u8>) {
    Families::from(families).write(Format::Protobuf, EscapingScheme::AllowUtf8, out);
}

impl From<&[Family]> for Families {
    fn from(own: &[Family]) -> Self {
        Self { families: own.iter().map(MetricFamily::from).collect() }
    }
}

impl From<&Family> for MetricFamily {
    fn from(own: &Family) -> Self {
        let metrics = own.points.iter().map(|(labels, point)| Metric {
            // Labels of an empty value are none; the metric name is not a label here.
            labels: Labels::from_pairs(
                labels
                    .iter()
                    .filter(|(n, v)| !v.is_empty() && n != METRIC_NAME)
                    .map(|(n, v)| (n, v)),
            ),
            timestamp: None,
            start_timestamp: None,
            value: value_of(point),
        });
        Self {
            name: own.name.clone().into_owned(),
            kind: own.kind,
            help: own.help.clone().into_owned(),
            unit: String::new(),
            metrics: metrics.collect(),
        }
    }
}

fn value_of(point: &Point) -> MetricValue {
    match point {
        Point::Value(v) => MetricValue::Float { value: Some(*v), exemplar: None },
        Point::Histogram { buckets, count, sum } => MetricValue::Histogram(HistogramValue {
            buckets: buckets.iter().map(|(b, n)| bucket(*b, *n as f64)).collect(),
            count: Some(*count as f64),
            sum: Some(*sum),
            ..HistogramValue::default()
        }),
        Point::Summary { quantiles, count, sum } => MetricValue::Summary {
            quantiles: quantiles.clone(),
            count: Some(*count as f64),
            sum: Some(*sum),
        },
    }
}

const fn bucket(bound: f64, count: f64) -> BucketValue {
    BucketValue { bound, count, exemplar: None }
}

impl Families {
    /// Appends the families to `out`, with names as the scheme has them; OpenMetrics ends with
    /// `# EOF`. What a format does not have is left out: the old text has no exemplars, no units and
    /// no start timestamps. Native histograms are whole in protobuf alone; text shows their count and
    /// sum, and, of those with custom buckets, the buckets as classic ones, which protobuf gets as
    /// well. In OpenMetrics samples of counters get `_total`, those of infos `_info`.
    pub fn write(&self, format: Format, scheme: EscapingScheme, out: &mut Vec<u8>) {
        if format == Format::Protobuf {
            return proto::write_families(&self.families, scheme, out);
        }
        let mut page =
            Page { out: String::new(), openmetrics: format == Format::OpenMetrics, scheme };
        for family in &self.families {
            page.family(family);
        }
        if page.openmetrics {
            page.out.push_str("# EOF\n");
        }
        out.extend_from_slice(page.out.as_bytes());
    }
}

/// The buckets of a histogram as classic ones: its own, or those of a native one with bounds.
pub(crate) fn classic_buckets(h: &HistogramValue) -> Cow<'_, [BucketValue]> {
    let native = h.native.as_ref().filter(|_| h.buckets.is_empty()).map(|n| n.to_float());
    match native {
        Some(native) if native.layout.is_custom() => Cow::Owned(cumulative(&native)),
        _ => Cow::Borrowed(&h.buckets),
    }
}

fn cumulative(h: &FloatHistogram) -> Vec<BucketValue> {
    let bounds = h.layout.custom_values.iter().copied().chain([f64::INFINITY]);
    let mut counts = vec![0.0; h.layout.custom_values.len() + 1];
    let mut at = 0_i64;
    let mut values = h.positive_buckets.iter();
    for span in &h.layout.positive_spans {
        at += i64::from(span.offset);
        for _ in 0..span.length {
            let Some(value) = values.next() else { break };
            if let Some(count) = usize::try_from(at).ok().and_then(|i| counts.get_mut(i)) {
                *count = *value;
            }
            at += 1;
        }
    }
    let mut total = 0.0;
    let sums = counts.iter().map(|count| {
        total += count;
        total
    });
    bounds.zip(sums).map(|(bound, count)| bucket(bound, count)).collect()
}

/// Count and sum of a histogram, be it classic or native.
pub(crate) fn count_and_sum(h: &HistogramValue) -> (Option<f64>, Option<f64>) {
    let native = h.native.as_ref().map(|n| n.to_float());
    let count = h.count.or(native.as_ref().map(|n| n.count));
    (count, h.sum.or(native.map(|n| n.sum)))
}

struct Page {
    out: String,
    openmetrics: bool,
    scheme: EscapingScheme,
}

/// A metric and what its samples share.
#[derive(Clone, Copy)]
struct Of<'m> {
    family: &'m str,
    kind: MetricType,
    metric: &'m Metric,
}

impl Page {
    fn family(&mut self, family: &MetricFamily) {
        let suffix = match family.kind {
            MetricType::Counter if self.openmetrics => "_total",
            MetricType::Info if self.openmetrics => "_info",
            _ => "",
        };
        // The family goes without the suffix that its samples carry.
        let base = family.name.strip_suffix(suffix).unwrap_or(&family.name);
        let scheme = self.scheme;
        let base = &*scheme.escape(base);
        self.metadata(base, family);
        for metric in &family.metrics {
            self.metric(suffix, Of { family: base, kind: family.kind, metric });
        }
    }

    fn metadata(&mut self, name: &str, family: &MetricFamily) {
        let line = |keyword: &str, text: &str, page: &mut Self| {
            page.out.push_str(keyword);
            page.family_name(name);
            page.out.push(' ');
            let quotes = page.openmetrics;
            page.escaped(text, quotes);
            page.out.push('\n');
        };
        if !family.help.is_empty() {
            line("# HELP ", &family.help, self);
        }
        line("# TYPE ", self.type_name(family.kind), self);
        if self.openmetrics && !family.unit.is_empty() {
            line("# UNIT ", &family.unit, self);
        }
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

    fn metric(&mut self, suffix: &str, of: Of<'_>) {
        match &of.metric.value {
            MetricValue::Float { value, exemplar } => {
                if let Some(v) = value {
                    self.sample(of, suffix, None, *v, exemplar.as_ref());
                }
            }
            MetricValue::Histogram(h) => self.histogram(of, h),
            MetricValue::Summary { quantiles, count, sum } => {
                for (quantile, v) in quantiles {
                    self.sample(of, "", Some(("quantile", *quantile)), *v, None);
                }
                self.sum_and_count(of, *sum, *count);
            }
        }
        if let Some(start) = of.metric.start_timestamp.filter(|_| self.openmetrics) {
            self.series(of, "_created", None);
            self.seconds(start);
            self.out.push('\n');
        }
    }

    fn histogram(&mut self, of: Of<'_>, h: &HistogramValue) {
        let buckets = classic_buckets(h);
        let (count, sum) = count_and_sum(h);
        for b in &*buckets {
            self.count(of, "_bucket", Some(("le", b.bound)), b.count, b.exemplar.as_ref());
        }
        if !buckets.iter().any(|b| b.bound == f64::INFINITY)
            && let Some(count) = count
        {
            self.count(of, "_bucket", Some(("le", f64::INFINITY)), count, None);
        }
        self.sum_and_count(of, sum, count);
    }

    fn sum_and_count(&mut self, of: Of<'_>, sum: Option<f64>, count: Option<f64>) {
        let gauge = self.openmetrics && of.kind == MetricType::GaugeHistogram;
        let (of_sum, of_count) = if gauge { ("_gsum", "_gcount") } else { ("_sum", "_count") };
        if let Some(sum) = sum {
            self.sample(of, of_sum, None, sum, None);
        }
        if let Some(count) = count {
            self.count(of, of_count, None, count, None);
        }
    }

    fn sample(
        &mut self,
        of: Of<'_>,
        suffix: &str,
        extra: Option<(&str, f64)>,
        v: f64,
        exemplar: Option<&Exemplar>,
    ) {
        self.series(of, suffix, extra);
        self.number(v);
        self.rest(of, exemplar);
    }

    /// As [`Self::sample`], for what is a whole number as a rule.
    fn count(
        &mut self,
        of: Of<'_>,
        suffix: &str,
        extra: Option<(&str, f64)>,
        n: f64,
        exemplar: Option<&Exemplar>,
    ) {
        self.series(of, suffix, extra);
        write_f(&mut self.out, n);
        self.rest(of, exemplar);
    }

    /// What follows a value: timestamp, exemplar, line feed.
    fn rest(&mut self, of: Of<'_>, exemplar: Option<&Exemplar>) {
        if let Some(t) = of.metric.timestamp {
            self.out.push(' ');
            if self.openmetrics {
                self.seconds(t);
            } else {
                self.push(t);
            }
        }
        if let Some(exemplar) = exemplar.filter(|_| self.openmetrics) {
            self.out.push_str(" # {");
            for (i, (name, value)) in exemplar.labels.iter().enumerate() {
                if i > 0 {
                    self.out.push(',');
                }
                self.label(name, value);
            }
            self.out.push_str("} ");
            self.number(exemplar.value);
            if let Some(t) = exemplar.timestamp {
                self.out.push(' ');
                self.seconds(t);
            }
        }
        self.out.push('\n');
    }

    /// The series' text; `extra` is a label whose value is a number.
    fn series(&mut self, of: Of<'_>, suffix: &str, extra: Option<(&str, f64)>) {
        let name = of.family;
        let plain = is_legacy_metric_name(name);
        if plain {
            self.out.push_str(name);
            self.out.push_str(suffix);
        }
        let mut separator = '{';
        if !plain {
            self.out.push(separator);
            self.quoted(&format!("{name}{suffix}"));
            separator = ',';
        }
        for (name, value) in &of.metric.labels {
            self.out.push(separator);
            separator = ',';
            self.label(name, value);
        }
        if let Some((name, v)) = extra {
            self.out.push(separator);
            separator = ',';
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.number(v);
            self.out.push('"');
        }
        if separator == ',' {
            self.out.push('}');
        }
        self.out.push(' ');
    }

    fn label(&mut self, name: &str, value: &str) {
        let scheme = self.scheme;
        let name = &*scheme.escape(name);
        if is_legacy_label_name(name) {
            self.out.push_str(name);
        } else {
            self.quoted(name);
        }
        self.out.push('=');
        self.quoted(value);
    }

    fn number(&mut self, v: f64) {
        if self.openmetrics {
            write_om(&mut self.out, v);
        } else {
            write_g(&mut self.out, v);
        }
    }

    /// A time in seconds, from milliseconds.
    fn seconds(&mut self, t: Timestamp) {
        write_f(&mut self.out, t as f64 / 1000.0);
    }

    fn push(&mut self, t: Timestamp) {
        let written = write!(self.out, "{t}");
        debug_assert!(written.is_ok(), "a string takes what is written");
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
