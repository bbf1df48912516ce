//! Protobuf: `io.prometheus.client.MetricFamily` messages, each behind its length as a varint.
//!
//! Source: `model/textparse/protobufparse.go` and `prompb/io/prometheus/client/metrics.proto`.
//! Families are read one after the other, their metrics one by one; a metric with several series
//! (summaries, classic histograms) gives them in Prometheus' order: count, sum, then quantiles or
//! buckets. One difference is meant: in a family where classic histograms stand before native ones,
//! Prometheus takes the latter for classic ones, too; here each histogram is what it is.

mod decode;
mod encode;

use std::borrow::Cow;

use firesteel_model::{
    Exemplar, MetricType,
    wire::{Reader, WireError, get_varint},
};

use crate::{
    Entry, Error, NativeHistogram, ParserOptions,
    entry::{Part, RawLabel},
    error::quote,
    key,
    nhcb::ClassicHistogram,
};
use decode::{ExemplarValue, Metric, Problem};
pub use encode::PROTOBUF_CONTENT_TYPE;
pub(crate) use encode::write_families;

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Family,
    Unit,
    Type,
    Metric,
    /// The n-th series of a summary or classic histogram.
    Series(usize),
    /// The classic histogram as a native one.
    Converted,
}

/// What was found; names, labels and times are in the reader.
pub(crate) enum Found<'a> {
    Metadata(Entry<'a, 'a>),
    Series { part: Part, value: f64, exemplar: Option<ExemplarValue> },
    Histogram(NativeHistogram, Vec<Exemplar>),
    End,
}

/// The head of a family.
#[derive(Debug, Default)]
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    unit: Cow<'a, str>,
    kind: MetricType,
}

/// The state of a protobuf reader.
#[derive(Debug)]
pub(crate) struct Proto<'a> {
    page: &'a [u8],
    options: ParserOptions,
    /// Where the next family begins, and where the current one's message does.
    at: usize,
    family_at: usize,
    family: Family<'a>,
    /// The fields of the family that are left.
    rest: Reader<'a>,
    pub(crate) metric: Metric<'a>,
    step: Step,
    /// Whether the current histogram is taken for a classic one.
    classic: bool,
    /// Identifies the current series or metadata entry.
    pub(crate) key: Vec<u8>,
}

impl<'a> Proto<'a> {
    pub(crate) fn new(page: &'a [u8], options: ParserOptions) -> Self {
        Self {
            page,
            options,
            at: 0,
            family_at: 0,
            family: Family::default(),
            rest: Reader::new(&[]),
            metric: Metric::default(),
            step: Step::Family,
            classic: false,
            key: Vec::new(),
        }
    }

    pub(crate) const fn name(&self) -> &'a str {
        self.family.name
    }

    pub(crate) const fn kind(&self) -> MetricType {
        self.family.kind
    }

    fn failed(&self, offset: usize, message: impl Into<String>) -> Error {
        Error::Protobuf { offset, message: message.into() }
    }

    fn damaged(&self, e: &WireError) -> Error {
        let e = WireError { offset: self.family_at + e.offset, ..*e };
        self.failed(e.offset, format!("protobuf: {e}"))
    }

    fn wrong(&self, problem: Problem) -> Error {
        match problem {
            Problem::Wire(e) => self.damaged(&e),
            Problem::Other(message) => self.failed(self.family_at, message),
        }
    }

    fn histogram_failed(&self, why: &str) -> Error {
        let name = quote(self.family.name.as_bytes());
        self.failed(self.family_at, format!("histogram {name}: {why}"))
    }

    /// The next entry. Labels go to `labels`, those of its exemplar to `exemplar_labels`.
    pub(crate) fn next(
        &mut self,
        labels: &mut Vec<RawLabel<'a>>,
        exemplar_labels: &mut Vec<RawLabel<'a>>,
    ) -> Result<Found<'a>, Error> {
        loop {
            match self.step {
                Step::Family => {
                    if self.at >= self.page.len() {
                        return Ok(Found::End);
                    }
                    if self.next_family()? {
                        return Ok(self.help());
                    }
                }
                Step::Unit => {
                    self.step = Step::Type;
                    if !self.family.unit.is_empty() {
                        return Ok(self.unit());
                    }
                }
                Step::Type => return Ok(self.type_entry()),
                Step::Metric => match self.next_metric(labels)? {
                    None => self.step = Step::Family,
                    Some(None) => {}
                    Some(Some(())) => return self.first_of_metric(labels, exemplar_labels),
                },
                Step::Series(n) => return self.series(n, labels, exemplar_labels),
                Step::Converted => return self.converted(labels),
            }
        }
    }

    /// Reads the head of the next family; false for one without metrics, which counts for nothing.
    fn next_family(&mut self) -> Result<bool, Error> {
        let bytes = self.page.get(self.at..).unwrap_or_default();
        let Some((len, prefix @ ..=5)) = get_varint(bytes) else {
            return Err(self.failed(self.at, "clientpb: invalid varint encountered"));
        };
        let end = usize::try_from(len).ok().and_then(|len| len.checked_add(prefix));
        let Some(message) = end.and_then(|end| bytes.get(prefix..end)) else {
            let message = format!(
                "clientpb: insufficient length of buffer, expected at least {} bytes, got {} bytes",
                len.saturating_add(prefix as u64),
                bytes.len()
            );
            return Err(self.failed(self.at, message));
        };
        self.family_at = self.at + prefix;
        self.at = self.family_at + message.len();
        self.rest = Reader::new(message);
        let mut head = self.rest.clone();
        let (mut name, mut help, mut unit) = (&b""[..], &b""[..], &b""[..]);
        let (mut kind, mut metrics) = (0, false);
        while let Some(field) = head.field().map_err(|e| self.damaged(&e))? {
            let read = match field.number {
                1 => field.bytes().map(|v| name = v),
                2 => field.bytes().map(|v| help = v),
                3 => field.varint().map(|v| kind = v as i32),
                4 => field.bytes().map(|_| metrics = true),
                5 => field.bytes().map(|v| unit = v),
                _ => Ok(()),
            };
            read.map_err(|e| self.damaged(&e))?;
        }
        if !metrics {
            return Ok(false);
        }
        let unit = String::from_utf8_lossy(unit);
        let Some(name) = std::str::from_utf8(name).ok().filter(|n| !n.is_empty()) else {
            let name = String::from_utf8_lossy(name);
            return Err(self.failed(self.family_at, format!("invalid metric name: {name}")));
        };
        let quoted = || quote(name.as_bytes());
        let Ok(help) = std::str::from_utf8(help) else {
            let help = String::from_utf8_lossy(help);
            let message = format!("invalid help for metric {}: {help}", quoted());
            return Err(self.failed(self.family_at, message));
        };
        let kind = match kind {
            0 => MetricType::Counter,
            1 => MetricType::Gauge,
            2 => MetricType::Summary,
            3 => MetricType::Unknown,
            4 => MetricType::Histogram,
            5 => MetricType::GaugeHistogram,
            other => {
                let message = format!("unknown metric type for metric {}: {other}", quoted());
                return Err(self.failed(self.family_at, message));
            }
        };
        self.family = Family { name, help, unit, kind };
        Ok(true)
    }

    fn help(&mut self) -> Found<'a> {
        self.step = Step::Unit;
        let Family { name, help, .. } = self.family;
        key::metadata(&mut self.key, b'H', name, help);
        Found::Metadata(Entry::Help { family: name.into(), text: help.into() })
    }

    fn unit(&mut self) -> Found<'a> {
        let (name, unit) = (self.family.name, self.family.unit.clone());
        key::metadata(&mut self.key, b'U', name, &unit);
        Found::Metadata(Entry::Unit { family: name.into(), unit })
    }

    fn type_entry(&mut self) -> Found<'a> {
        self.step = Step::Metric;
        let Family { name, kind, .. } = self.family;
        key::metadata(&mut self.key, b'T', name, kind.as_str());
        Found::Metadata(Entry::Type { family: name.into(), kind })
    }

    /// Reads the next field of the family; `None` at its end, `Some(None)` if it is no metric.
    #[expect(clippy::option_option, reason = "end, nothing, something")]
    fn next_metric(&mut self, labels: &mut Vec<RawLabel<'a>>) -> Result<Option<Option<()>>, Error> {
        let field = self.rest.field().map_err(|e| self.damaged(&e))?;
        let Some(field) = field else { return Ok(None) };
        if field.number != 4 {
            return Ok(Some(None));
        }
        let message = field.message().map_err(|e| self.damaged(&e))?;
        let read = self.metric.read(message, self.family.kind, labels);
        read.map_err(|problem| self.wrong(problem))?;
        Ok(Some(Some(())))
    }

    fn first_of_metric(
        &mut self,
        labels: &[RawLabel<'a>],
        exemplar_labels: &mut Vec<RawLabel<'a>>,
    ) -> Result<Found<'a>, Error> {
        let options = self.options;
        match self.family.kind {
            MetricType::Summary => self.series(0, labels, exemplar_labels),
            MetricType::Histogram | MetricType::GaugeHistogram => {
                self.classic = options.ignore_native_histograms || !self.metric.is_native();
                if !self.classic {
                    self.native(labels)
                } else if options.convert_classic_histograms && !options.keep_classic_histograms {
                    self.converted(labels)
                } else {
                    self.series(0, labels, exemplar_labels)
                }
            }
            _ => {
                self.step = Step::Metric;
                let (value, exemplar) = (self.metric.value, self.metric.exemplar);
                let exemplar =
                    if self.family.kind == MetricType::Counter { exemplar } else { None };
                self.float(Part::default(), value, exemplar, labels, exemplar_labels)
            }
        }
    }

    fn float(
        &mut self,
        part: Part,
        value: f64,
        exemplar: Option<&'a [u8]>,
        labels: &[RawLabel<'a>],
        exemplar_labels: &mut Vec<RawLabel<'a>>,
    ) -> Result<Found<'a>, Error> {
        key::series(&mut self.key, self.family.name, &part, labels);
        let exemplar = match exemplar {
            None => None,
            Some(message) => {
                decode::exemplar(message, exemplar_labels).map_err(|problem| self.wrong(problem))?
            }
        };
        Ok(Found::Series { part, value, exemplar })
    }

    /// The n-th series of a summary or classic histogram: count, sum, quantiles or buckets.
    fn series(
        &mut self,
        n: usize,
        labels: &[RawLabel<'a>],
        exemplar_labels: &mut Vec<RawLabel<'a>>,
    ) -> Result<Found<'a>, Error> {
        let metric = &self.metric;
        let is_summary = self.family.kind == MetricType::Summary;
        let (part, value, exemplar, last) = match n {
            0 => (Part::suffix("_count"), metric.count(), None, false),
            1 => {
                (Part::suffix("_sum"), metric.sum, None, is_summary && metric.quantiles.is_empty())
            }
            n if is_summary => {
                let (q, v) = metric.quantiles.get(n - 2).copied().unwrap_or_default();
                (Part::bound("", "quantile", q), v, None, n > metric.quantiles.len())
            }
            n => match metric.buckets.get(n - 2) {
                Some(b) => {
                    let part = Part::bound("_bucket", "le", b.bound);
                    (part, b.value(), b.exemplar, b.bound == f64::INFINITY)
                }
                None => (Part::bound("_bucket", "le", f64::INFINITY), metric.count(), None, true),
            },
        };
        self.step = if !last {
            Step::Series(n + 1)
        } else if !is_summary && self.classic && self.options.convert_classic_histograms {
            Step::Converted
        } else {
            Step::Metric
        };
        self.float(part, value, exemplar, labels, exemplar_labels)
    }

    fn native(&mut self, labels: &[RawLabel<'a>]) -> Result<Found<'a>, Error> {
        let again = self.options.keep_classic_histograms && !self.metric.buckets.is_empty();
        self.step = if again { Step::Series(0) } else { Step::Metric };
        let gauge = self.family.kind == MetricType::GaugeHistogram;
        let exemplars = self.metric.native_exemplars().map_err(|problem| self.wrong(problem))?;
        let histogram = self.metric.native(gauge).map_err(|why| self.histogram_failed(&why))?;
        key::series(&mut self.key, self.family.name, &Part::default(), labels);
        Ok(Found::Histogram(histogram, exemplars))
    }

    fn converted(&mut self, labels: &[RawLabel<'a>]) -> Result<Found<'a>, Error> {
        self.step = Step::Metric;
        let mut classic = ClassicHistogram::default();
        classic.set_count(self.metric.count());
        classic.set_sum(self.metric.sum);
        for bucket in &self.metric.buckets {
            classic.set_bucket(bucket.bound, bucket.value());
        }
        let mut histogram = classic.convert().map_err(|e| self.failed(self.family_at, e))?;
        if self.family.kind == MetricType::GaugeHistogram {
            histogram.set_gauge();
        }
        let exemplars = self.metric.native_exemplars().map_err(|problem| self.wrong(problem))?;
        key::series(&mut self.key, self.family.name, &Part::default(), labels);
        Ok(Found::Histogram(histogram, exemplars))
    }
}
