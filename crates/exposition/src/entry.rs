//! What a page is made of.

use std::borrow::Cow;

use firesteel_model::{
    Exemplar, Labels, LabelsBuilder, METRIC_NAME, MetricType, Timestamp, float::write_om,
};

use crate::{Error, HistogramSample, number};

/// One entry of a page. Texts are borrowed from the page.
// A tag of eight bytes: after one of a single byte the rest is copied in pieces that lie across those
// it was written in, and each such copy waits until the writes have reached the cache.
#[repr(u64)]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Entry<'p, 'a> {
    /// A sample and its series.
    Series(Series<'p, 'a>),
    /// A sample that is a native histogram: protobuf, or converted from a classic one.
    Histogram(Box<HistogramSample<'p, 'a>>),
    /// `# TYPE`.
    Type {
        /// The metric family.
        family: Cow<'a, str>,
        /// Its type.
        kind: MetricType,
    },
    /// `# HELP`.
    Help {
        /// The metric family.
        family: Cow<'a, str>,
        /// The text, unescaped.
        text: Cow<'a, str>,
    },
    /// `# UNIT`, OpenMetrics only.
    Unit {
        /// The metric family.
        family: Cow<'a, str>,
        /// The unit; may be empty.
        unit: Cow<'a, str>,
    },
    /// Any other comment, Prometheus text only; from the `#` to the end of the line.
    Comment(&'a [u8]),
}

/// A label as it stands on the page, escapes and all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawLabel<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) name_escaped: bool,
    pub(crate) value_escaped: bool,
}

/// What a series adds to the name and labels of its metric: protobuf has one metric where there are
/// several series.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Part {
    pub(crate) suffix: &'static str,
    /// `le` or `quantile`.
    pub(crate) bound: Option<(&'static str, f64)>,
}

impl Part {
    pub(crate) const fn suffix(suffix: &'static str) -> Self {
        Self { suffix, bound: None }
    }

    pub(crate) const fn bound(suffix: &'static str, label: &'static str, bound: f64) -> Self {
        Self { suffix, bound: Some((label, bound)) }
    }
}

/// What the scanners find out about a series. It stays in the parser and series borrow it: they are
/// handed on by value, so every byte of them counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) name_escaped: bool,
    /// What the last `# TYPE` line said.
    pub(crate) kind: MetricType,
    pub(crate) labels: Vec<RawLabel<'a>>,
    pub(crate) start: Option<Timestamp>,
    /// In protobuf, what the series adds to its metric; there labels are written as they are.
    pub(crate) part: Option<Part>,
    /// Value and timestamp of the exemplar.
    pub(crate) exemplar: Option<(f64, Option<Timestamp>)>,
    pub(crate) exemplar_labels: Vec<RawLabel<'a>>,
}

impl<'a> Line<'a> {
    pub(crate) fn exemplar(&self) -> Option<ExemplarEntry<'_, 'a>> {
        let (value, timestamp) = self.exemplar?;
        Some(ExemplarEntry { value, timestamp, labels: &self.exemplar_labels })
    }
}

/// A sample, and its series as text.
#[derive(Clone, Debug)]
pub struct Series<'p, 'a> {
    /// The series as it stands on the page: metric name and labels. The same text means the same
    /// series as long as the type of its family stays the same, so it can serve as a cache key.
    /// Where it does not stand on the page in one piece (protobuf, converted histograms) it is made
    /// of the same parts; [`Format::read_series`](crate::Format::read_series) reads all of these.
    pub raw: &'p [u8],
    /// The value; any NaN on a text page is `0x7ff8000000000001`.
    pub value: f64,
    /// The timestamp in milliseconds where the page gives one.
    pub timestamp: Option<Timestamp>,
    pub(crate) line: &'p Line<'a>,
}

/// The labels of a series. An iterator of its own: chaining the bound of a protobuf series, which is
/// rare, to the labels costs each label a tenth of its time.
struct LabelPairs<'p, 'a> {
    labels: std::slice::Iter<'p, RawLabel<'a>>,
    kind: MetricType,
    /// Whose bound comes last.
    part: Option<&'p Part>,
}

impl<'a> Iterator for LabelPairs<'_, 'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let Some(label) = self.labels.next() else { return bound_of(self.part.take()?) };
        let bound = match self.kind {
            MetricType::Histogram => label.name == "le",
            MetricType::Summary => label.name == "quantile",
            _ => false,
        };
        // Fast path: it is as it stands there.
        if !(bound || label.name_escaped || label.value_escaped) {
            return Some((Cow::Borrowed(label.name), Cow::Borrowed(label.value)));
        }
        Some(decoded(label, self.kind))
    }
}

/// A label that does not stand on the page as it is meant.
#[inline(never)]
fn decoded<'a>(label: &RawLabel<'a>, kind: MetricType) -> (Cow<'a, str>, Cow<'a, str>) {
    let name = unescape(label.name, label.name_escaped);
    let value = unescape(label.value, label.value_escaped);
    let value = match (kind, &*name) {
        (MetricType::Histogram, "le") | (MetricType::Summary, "quantile") => normalised(value),
        _ => value,
    };
    (name, value)
}

#[cold]
fn bound_of<'a>(part: &Part) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    let (name, bound) = part.bound?;
    let mut text = String::with_capacity(24);
    write_om(&mut text, bound);
    Some((name.into(), text.into()))
}

/// Up to so many labels it does not matter in which order they come.
const FEW_LABELS: usize = 32;

impl<'p, 'a> Series<'p, 'a> {
    /// The metric name, unescaped. May be empty: `{""} 1` parses.
    #[must_use]
    pub fn metric_name(&self) -> Cow<'a, str> {
        let name = unescape(self.line.name, self.line.name_escaped);
        match &self.line.part {
            Some(part) if !part.suffix.is_empty() => (name + part.suffix).into_owned().into(),
            _ => name,
        }
    }

    /// The type that the last `# TYPE` line gave. A page that leaves out such lines makes it wrong,
    /// as in Prometheus.
    #[must_use]
    pub const fn kind(&self) -> MetricType {
        self.line.kind
    }

    /// When the counter began to count, in milliseconds: protobuf, and `_created` lines of
    /// OpenMetrics where [`ParserOptions::start_timestamps`](crate::ParserOptions) asks for them.
    #[must_use]
    pub const fn start_timestamp(&self) -> Option<Timestamp> {
        self.line.start
    }

    /// The labels without the metric name, in the order of the page, unescaped; `le` of a histogram
    /// and `quantile` of a summary are rewritten as OpenMetrics floats (`1` becomes `1.0`).
    /// Allocates only where something changes. Names may repeat.
    #[inline]
    pub fn labels(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'p, 'a> {
        let line = self.line;
        let kind = if line.part.is_some() { MetricType::Unknown } else { line.kind };
        LabelPairs { labels: line.labels.iter(), kind, part: line.part.as_ref() }
    }

    /// Puts the metric name and all labels into `out`, which is emptied first.
    ///
    /// # Errors
    /// A label name occurs twice.
    pub fn labels_into(&self, out: &mut LabelsBuilder) -> Result<(), Error> {
        out.clear();
        let mut add = |name: &str, value: &str| {
            if out.get(name).is_some() {
                return Err(Error::DuplicateLabel(name.to_owned()));
            }
            out.set(name, value);
            Ok(())
        };
        add(METRIC_NAME, &self.metric_name())?;
        if self.line.labels.len() <= FEW_LABELS {
            return self.labels().try_for_each(|(name, value)| add(&name, &value));
        }
        // The builder keeps its pairs sorted: with many labels it must not move them each time.
        let mut labels: Vec<_> = self.labels().collect();
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        labels.into_iter().try_for_each(|(name, value)| add(&name, &value))
    }

    /// The label set.
    ///
    /// # Errors
    /// A label name occurs twice.
    pub fn to_labels(&self) -> Result<Labels, Error> {
        let mut builder = LabelsBuilder::new();
        self.labels_into(&mut builder)?;
        Ok(builder.build())
    }

    /// The exemplar; OpenMetrics and protobuf only.
    #[must_use]
    pub fn exemplar(&self) -> Option<ExemplarEntry<'p, 'a>> {
        self.line.exemplar()
    }
}

/// An exemplar as it stands on the page.
#[derive(Clone, Debug)]
pub struct ExemplarEntry<'p, 'a> {
    /// The value.
    pub value: f64,
    /// The timestamp in milliseconds where the page gives one.
    pub timestamp: Option<Timestamp>,
    pub(crate) labels: &'p [RawLabel<'a>],
}

impl ExemplarEntry<'_, '_> {
    /// As an owned exemplar. Escapes in its labels stay as they are, as in Prometheus.
    #[must_use]
    pub fn to_exemplar(&self) -> Exemplar {
        Exemplar {
            labels: Labels::from_pairs(self.labels.iter().map(|l| (l.name, l.value))),
            value: self.value,
            timestamp: self.timestamp,
        }
    }
}

/// Resolves `\"`, `\\` and `\n`; any other backslash stays.
pub(crate) fn unescape(text: &str, escaped: bool) -> Cow<'_, str> {
    if escaped { unescape_slow(text, true) } else { Cow::Borrowed(text) }
}

/// Resolves `\\` and `\n`, and `\"` where `quotes` is set.
#[cold]
pub(crate) fn unescape_slow(text: &str, quotes: bool) -> Cow<'_, str> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('\\') => out.push('\\'),
            Some('"') if quotes => out.push('"'),
            _ => {
                out.push('\\');
                rest = after;
                continue;
            }
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A bound as OpenMetrics writes it: shortest digits, with a point or an exponent.
pub(crate) fn normalised(value: Cow<'_, str>) -> Cow<'_, str> {
    match number::plain_decimal(value.as_bytes()) {
        Some(number::Plain::WithPoint) => return value,
        Some(number::Plain::Integer) => {
            let mut text = String::with_capacity(value.len() + 2);
            text.push_str(&value);
            text.push_str(".0");
            return Cow::Owned(text);
        }
        None if &*value == "+Inf" => return value,
        None => {}
    }
    let Ok(v) = number::float(value.as_bytes()) else { return value };
    let mut text = String::with_capacity(value.len() + 2);
    write_om(&mut text, v);
    if *text == *value { value } else { Cow::Owned(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_escapes_stay() {
        assert_eq!(unescape(r#"a\"b\\n\nc\d\"#, true), "a\"b\\n\nc\\d\\");
        assert_eq!(unescape_slow(r#"\"\n"#, false), "\\\"\n");
    }

    #[test]
    fn bounds_become_openmetrics_floats() {
        for (text, expected) in [
            ("1", "1.0"),
            ("+Inf", "+Inf"),
            ("inf", "+Inf"),
            ("0.50", "0.5"),
            ("1e9", "1e+09"),
            ("x", "x"),
        ] {
            assert_eq!(normalised(Cow::Borrowed(text)), expected);
        }
    }
}
