//! A page as an application wants it: owned, its series put together to metrics and families.

use std::collections::HashMap;

use firesteel_model::{Exemplar, Labels, LabelsBuilder, METRIC_NAME, MetricType, Timestamp};

use crate::{
    Entry, Error, Format, HistogramSample, NativeHistogram, Parser, ParserOptions, Series,
};

/// The metric families of a page, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Families {
    /// The families. Each name occurs once, even where the page has it in several places.
    pub families: Vec<MetricFamily>,
}

/// Metrics of the same name and type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricFamily {
    /// Its name, as its metadata gives it.
    pub name: String,
    /// Its type; unknown where the page says nothing.
    pub kind: MetricType,
    /// Its help text; empty where there is none.
    pub help: String,
    /// Its unit; empty where there is none.
    pub unit: String,
    /// Its metrics, in the order of the page.
    pub metrics: Vec<Metric>,
}

/// One metric of a family at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its labels, without the name and without `le` or `quantile`.
    pub labels: Labels,
    /// The timestamp in milliseconds where the page gives one.
    pub timestamp: Option<Timestamp>,
    /// When it began to count, in milliseconds: protobuf and `_created` lines.
    pub start_timestamp: Option<Timestamp>,
    /// Its value.
    pub value: MetricValue,
}

/// What a metric says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MetricValue {
    /// One number: counters, gauges, infos, states and what has no type.
    Float {
        /// The number; `None` where the page has nothing but the metric's `_created` line.
        value: Option<f64>,
        /// Its exemplar.
        exemplar: Option<Exemplar>,
    },
    /// A histogram: classic, native or both.
    Histogram(HistogramValue),
    /// A summary.
    Summary {
        /// Quantile and value, in the order of the page.
        quantiles: Vec<(f64, f64)>,
        /// All observations, where the page says how many.
        count: Option<f64>,
        /// Their sum.
        sum: Option<f64>,
    },
}

/// The value of a histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramValue {
    /// Classic buckets, in the order of the page.
    pub buckets: Vec<BucketValue>,
    /// All observations, where the page says how many.
    pub count: Option<f64>,
    /// Their sum.
    pub sum: Option<f64>,
    /// The native histogram.
    pub native: Option<NativeHistogram>,
    /// The exemplars of the native histogram.
    pub exemplars: Vec<Exemplar>,
}

/// A bucket of a classic histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketValue {
    /// Upper bound, inclusive.
    pub bound: f64,
    /// Observations up to it, those of lower buckets among them.
    pub count: f64,
    /// Its exemplar.
    pub exemplar: Option<Exemplar>,
}

impl Families {
    /// Reads a whole page. Takes memory for all of it; linear time.
    ///
    /// # Errors
    /// The page breaks the rules of its format, as Prometheus sees them.
    ///
    /// ```
    /// use firesteel_exposition::{Families, Format, MetricValue};
    ///
    /// let page = b"# TYPE d histogram\nd_bucket{le=\"1\"} 3\nd_bucket{le=\"+Inf\"} 4\nd_sum 5\nd_count 4\n";
    /// let families = Families::parse(Format::PrometheusText, page)?;
    /// let metric = &families.get("d").unwrap().metrics[0];
    /// let MetricValue::Histogram(histogram) = &metric.value else { panic!() };
    /// assert_eq!((histogram.buckets.len(), histogram.count), (2, Some(4.0)));
    /// # Ok::<(), firesteel_exposition::Error>(())
    /// ```
    pub fn parse(format: Format, page: &[u8]) -> Result<Self, Error> {
        let options = ParserOptions { keep_classic_histograms: true, ..ParserOptions::default() };
        let mut parser = Parser::with_options(format, page, options);
        let mut builder = Builder::default();
        while let Some(entry) = parser.next_entry()? {
            match entry {
                Entry::Type { family, kind } => builder.describe(&family, |f| f.kind = kind),
                Entry::Help { family, text } => {
                    builder.describe(&family, |f| f.help = text.into_owned());
                }
                Entry::Unit { family, unit } => {
                    builder.describe(&family, |f| f.unit = unit.into_owned());
                }
                Entry::Series(series) => builder.series(&series)?,
                Entry::Histogram(sample) => builder.histogram(*sample)?,
                Entry::Comment(_) => {}
            }
        }
        Ok(builder.families)
    }

    /// The family of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&MetricFamily> {
        self.families.iter().find(|f| f.name == name)
    }
}

/// What a series is to its family.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Value,
    Bucket,
    Count,
    Sum,
    Created,
}

/// The suffixes of series, and what they are to families of a type.
fn role(kind: MetricType, suffix: &str) -> Option<Role> {
    use MetricType as T;
    Some(match (kind, suffix) {
        (T::Counter, "_total") | (T::Info, "_info") => Role::Value,
        (T::Counter | T::Summary | T::Histogram, "_created") => Role::Created,
        (T::Histogram | T::GaugeHistogram, "_bucket") => Role::Bucket,
        (T::Summary | T::Histogram, "_count") => Role::Count,
        (T::Summary | T::Histogram, "_sum") => Role::Sum,
        // Protobuf has no names of their own for those of gauge histograms.
        (T::GaugeHistogram, "_gcount" | "_count") => Role::Count,
        (T::GaugeHistogram, "_gsum" | "_sum") => Role::Sum,
        (T::Histogram | T::GaugeHistogram, "") => return None,
        (_, "") => Role::Value,
        _ => return None,
    })
}

#[derive(Default)]
struct Builder {
    families: Families,
    by_name: HashMap<String, usize>,
    /// The newest metric of a family with these labels.
    metrics: HashMap<(usize, Labels), usize>,
    labels: LabelsBuilder,
}

impl Builder {
    fn index(&mut self, name: &str) -> usize {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let index = self.families.families.len();
        self.families.families.push(MetricFamily { name: name.to_owned(), ..<_>::default() });
        self.by_name.insert(name.to_owned(), index);
        index
    }

    fn describe(&mut self, name: &str, set: impl FnOnce(&mut MetricFamily)) {
        let index = self.index(name);
        if let Some(family) = self.families.families.get_mut(index) {
            set(family);
        }
    }

    /// The family that a series belongs to, by its name: one whose type has such series, else one
    /// of its own.
    fn family_of(&mut self, name: &str) -> (usize, Role) {
        let base = name.rfind('_').unwrap_or(name.len());
        for at in [name.len(), base] {
            let (base, suffix) = name.split_at_checked(at).unwrap_or((name, ""));
            let Some(&index) = self.by_name.get(base) else { continue };
            let kind = self.families.families.get(index).map(|f| f.kind).unwrap_or_default();
            if let Some(role) = role(kind, suffix) {
                return (index, role);
            }
        }
        (self.index(name), Role::Value)
    }

    /// The metric for a sample: the newest with these labels, if it is of the same time and `free`
    /// says that it has room for the sample; else a new one.
    fn metric(
        &mut self,
        family: usize,
        labels: Labels,
        timestamp: Option<Timestamp>,
        role: Role,
        free: impl FnOnce(&MetricValue) -> bool,
    ) -> Option<&mut Metric> {
        let MetricFamily { kind, metrics, .. } = self.families.families.get_mut(family)?;
        let key = (family, labels);
        let known = self.metrics.get(&key).copied().filter(|&i| {
            metrics.get(i).is_some_and(|m| {
                role == Role::Created || (m.timestamp == timestamp && free(&m.value))
            })
        });
        let index = known.unwrap_or_else(|| {
            let value = match kind {
                MetricType::Histogram | MetricType::GaugeHistogram => {
                    MetricValue::Histogram(HistogramValue::default())
                }
                MetricType::Summary => {
                    MetricValue::Summary { quantiles: Vec::new(), count: None, sum: None }
                }
                _ => MetricValue::Float { value: None, exemplar: None },
            };
            let labels = key.1.clone();
            metrics.push(Metric { labels, timestamp, start_timestamp: None, value });
            self.metrics.insert(key, metrics.len() - 1);
            metrics.len() - 1
        });
        metrics.get_mut(index)
    }

    fn series(&mut self, series: &Series<'_, '_>) -> Result<(), Error> {
        let name = series.metric_name();
        let (family, role) = self.family_of(&name);
        let kind = self.families.families.get(family).map(|f| f.kind).unwrap_or_default();
        series.labels_into(&mut self.labels)?;
        self.labels.del(METRIC_NAME);
        let bound_name = match (role, kind) {
            (Role::Bucket, _) => Some("le"),
            (Role::Value, MetricType::Summary) => Some("quantile"),
            _ => None,
        };
        let bound = bound_name.and_then(|name| {
            let bound = crate::number::float(self.labels.get(name)?.as_bytes()).ok();
            self.labels.del(name);
            bound
        });
        let labels = self.labels.build();
        let exemplar = series.exemplar().map(|e| e.to_exemplar());
        let free = |value: &MetricValue| match value {
            MetricValue::Float { value, .. } => value.is_none(),
            MetricValue::Histogram(h) => match role {
                Role::Count => h.count.is_none(),
                Role::Sum => h.sum.is_none(),
                _ => true,
            },
            MetricValue::Summary { count, sum, .. } => match role {
                Role::Count => count.is_none(),
                Role::Sum => sum.is_none(),
                _ => true,
            },
        };
        let v = series.value;
        let Some(metric) = self.metric(family, labels, series.timestamp, role, free) else {
            return Ok(());
        };
        if series.start_timestamp().is_some() {
            metric.start_timestamp = series.start_timestamp();
        }
        match (role, &mut metric.value, bound) {
            (Role::Created, ..) => metric.start_timestamp = Some((v * 1000.0) as Timestamp),
            (Role::Value, MetricValue::Float { value, exemplar: e }, _) => {
                (*value, *e) = (Some(v), exemplar);
            }
            (Role::Value, MetricValue::Summary { quantiles, .. }, Some(q)) => {
                quantiles.push((q, v))
            }
            (Role::Bucket, MetricValue::Histogram(h), Some(bound)) => {
                h.buckets.push(BucketValue { bound, count: v, exemplar });
            }
            (Role::Count, MetricValue::Histogram(h), _) => h.count = Some(v),
            (Role::Sum, MetricValue::Histogram(h), _) => h.sum = Some(v),
            (Role::Count, MetricValue::Summary { count, .. }, _) => *count = Some(v),
            (Role::Sum, MetricValue::Summary { sum, .. }, _) => *sum = Some(v),
            // A bucket without a bound, a quantile without its label: it says nothing.
            _ => {}
        }
        Ok(())
    }

    fn histogram(&mut self, sample: HistogramSample<'_, '_>) -> Result<(), Error> {
        let HistogramSample { series, histogram, exemplars } = sample;
        let family = self.index(&series.metric_name());
        series.labels_into(&mut self.labels)?;
        self.labels.del(METRIC_NAME);
        let labels = self.labels.build();
        let free =
            |value: &MetricValue| matches!(value, MetricValue::Histogram(h) if h.native.is_none());
        let (timestamp, start) = (series.timestamp, series.start_timestamp());
        if let Some(metric) = self.metric(family, labels, timestamp, Role::Value, free) {
            metric.start_timestamp = start;
            if let MetricValue::Histogram(h) = &mut metric.value {
                (h.native, h.exemplars) = (Some(histogram), exemplars);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_put_together() {
        let page = include_bytes!("../testdata/node_exporter.prom");
        let families = Families::parse(Format::PrometheusText, page).unwrap();
        let types = page.split(|b| *b == b'\n').filter(|l| l.starts_with(b"# TYPE ")).count();
        assert_eq!(families.families.len(), types);
        let page = b"# HELP r Requests.\n# TYPE r counter\n# UNIT r \nr_total{a=\"b\"} 3 # {id=\"x\"} 1\n\
            r_created{a=\"b\"} 1.5\nr_total{a=\"c\"} 4\n# TYPE h histogram\n\
            h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2 # {id=\"y\"} 3\nh_count 2\nh_sum 4\nh_created 2\n\
            h_bucket{a=\"b\",le=\"+Inf\"} 0\n# TYPE s summary\ns{quantile=\"0.5\"} 9\ns_sum 1\ns_count 1\n\
            # TYPE g gauge\ng 1 1\ng 2 2\nalone 7\n# EOF\n";
        let families = Families::parse(Format::OpenMetrics, page).unwrap();
        let names: Vec<_> = families.families.iter().map(|f| &*f.name).collect();
        assert_eq!(names, ["r", "h", "s", "g", "alone"]);
        let r = families.get("r").unwrap();
        assert_eq!((r.kind, &*r.help, r.metrics.len()), (MetricType::Counter, "Requests.", 2));
        assert_eq!(r.metrics[0].start_timestamp, Some(1500));
        assert_eq!(r.metrics[0].labels.to_string(), r#"{a="b"}"#);
        let h = families.get("h").unwrap();
        assert_eq!((h.metrics.len(), h.metrics[0].start_timestamp), (2, Some(2000)));
        let MetricValue::Histogram(v) = &h.metrics[0].value else { panic!("{h:?}") };
        assert_eq!((v.buckets.len(), v.count, v.sum), (2, Some(2.0), Some(4.0)));
        assert_eq!(v.buckets[1].exemplar.as_ref().unwrap().value, 3.0);
        let s = &families.get("s").unwrap().metrics[0].value;
        let quantiles = vec![(0.5, 9.0)];
        assert_eq!(*s, MetricValue::Summary { quantiles, count: Some(1.0), sum: Some(1.0) });
        let times: Vec<_> =
            families.get("g").unwrap().metrics.iter().map(|m| m.timestamp).collect();
        assert_eq!(times, [Some(1000), Some(2000)]);
        assert_eq!(families.get("alone").unwrap().metrics.len(), 1);
    }
}
