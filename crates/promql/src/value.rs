//! Values: what a query returns. They print as Prometheus prints them.

use std::fmt;

use firesteel_model::{FloatHistogram, Labels, Sample, Timestamp, float::format_f};

use crate::{ast::ValueType, go::format_g, histogram};

/// What a query returns.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryValue {
    /// A number at a time.
    Scalar(Sample),
    /// A text at a time.
    String {
        /// When it was evaluated.
        t: Timestamp,
        /// The text.
        value: String,
    },
    /// Series with one sample each, all at the evaluation time.
    Vector(Vec<VectorSample>),
    /// Series with samples of a range of time.
    Matrix(Vec<RangeSeries>),
}

impl QueryValue {
    /// Its type.
    #[must_use]
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::Scalar(_) => ValueType::Scalar,
            Self::String { .. } => ValueType::String,
            Self::Vector(_) => ValueType::Vector,
            Self::Matrix(_) => ValueType::Matrix,
        }
    }
}

/// A float or a native histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Box<FloatHistogram>),
}

/// A series with one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// When, in milliseconds.
    pub t: Timestamp,
    /// The value.
    pub value: SampleValue,
}

/// A series with the samples of a range of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeSeries {
    /// The series.
    pub labels: Labels,
    /// Its floats, by time.
    pub floats: Vec<Sample>,
    /// Its native histograms, by time.
    pub histograms: Vec<(Timestamp, FloatHistogram)>,
}

impl fmt::Display for QueryValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(s) => write!(f, "scalar: {} @[{}]", format_f(s.v), s.t),
            Self::String { value, .. } => f.write_str(value),
            Self::Vector(samples) => lines(f, samples),
            Self::Matrix(series) => lines(f, series),
        }
    }
}

impl fmt::Display for SampleValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(v) => f.write_str(&format_f(*v)),
            Self::Histogram(h) => write!(f, "{}", HistogramText(h)),
        }
    }
}

impl fmt::Display for VectorSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} => {} @[{}]", self.labels, self.value, self.t)
    }
}

impl fmt::Display for RangeSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} =>", self.labels)?;
        let floats = self.floats.iter().map(|s| format!("{} @[{}]", format_f(s.v), s.t));
        let histograms =
            self.histograms.iter().map(|(t, h)| format!("{} @[{t}]", HistogramText(h)));
        f.write_str(&floats.chain(histograms).collect::<Vec<_>>().join("\n"))
    }
}

fn lines(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str("\n")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// Prints a native histogram: `{count:10, sum:5, [-2,-1):3, [-1,1]:4, (1,2]:3}`.
struct HistogramText<'a>(&'a FloatHistogram);

impl fmt::Display for HistogramText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let h = self.0;
        write!(f, "{{count:{}, sum:{}", format_g(h.count), format_g(h.sum))?;
        let custom = histogram::is_custom(h);
        for b in histogram::uncut_buckets(h).iter().filter(|b| b.count != 0.0) {
            let closed_below = if custom { b.index == 0 } else { b.lower < 0.0 };
            let closed_above = custom || b.upper > 0.0;
            let begin = if closed_below { '[' } else { '(' };
            let end = if closed_above { ']' } else { ')' };
            let (lower, upper) = (format_g(b.lower), format_g(b.upper));
            write!(f, ", {begin}{lower},{upper}{end}:{}", format_g(b.count))?;
        }
        f.write_str("}")
    }
}
