//! Native histograms as entries of a page.

use firesteel_model::{Exemplar, FloatHistogram, Histogram, Value, histogram::CounterResetHint};

use crate::Series;

/// A native histogram with integer or with float counts.
#[derive(Clone, Debug, PartialEq)]
pub enum NativeHistogram {
    /// Integer counts.
    Integer(Histogram),
    /// Float counts.
    Float(FloatHistogram),
}

impl NativeHistogram {
    /// As a value to append to a storage.
    #[must_use]
    pub const fn value(&self) -> Value<'_> {
        match self {
            Self::Integer(h) => Value::Histogram(h),
            Self::Float(h) => Value::FloatHistogram(h),
        }
    }

    /// The sum of the observations.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        match self {
            Self::Integer(h) => h.sum,
            Self::Float(h) => h.sum,
        }
    }

    /// With float counts.
    #[must_use]
    pub fn to_float(&self) -> FloatHistogram {
        match self {
            Self::Integer(h) => h.to_float(),
            Self::Float(h) => h.clone(),
        }
    }

    pub(crate) const fn set_gauge(&mut self) {
        match self {
            Self::Integer(h) => h.counter_reset_hint = CounterResetHint::Gauge,
            Self::Float(h) => h.counter_reset_hint = CounterResetHint::Gauge,
        }
    }

    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Self::Integer(h) => h.validate().is_ok(),
            Self::Float(h) => h.validate().is_ok(),
        }
    }
}

/// A sample that is a native histogram, and its series.
#[derive(Clone, Debug)]
pub struct HistogramSample<'p, 'a> {
    /// The series; its value is the histogram's sum.
    pub series: Series<'p, 'a>,
    /// The histogram, without needless empty buckets. Not validated unless it was converted.
    pub histogram: NativeHistogram,
    /// Its exemplars, in the order of the page.
    pub exemplars: Vec<Exemplar>,
}
