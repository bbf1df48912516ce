//! Metric metadata: type, unit and help.

use std::fmt;

/// The type of a metric family. The numbers are those of Prometheus' WAL metadata records
/// (`tsdb/record/record.go`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MetricType {
    /// No type was given (`unknown`, in the old text format `untyped`).
    #[default]
    Unknown = 0,
    /// Only goes up, or resets to zero.
    Counter = 1,
    /// Goes up and down.
    Gauge = 2,
    /// A histogram, classic or native.
    Histogram = 3,
    /// A histogram whose buckets are gauges.
    GaugeHistogram = 4,
    /// Quantiles computed by the client.
    Summary = 5,
    /// Labels that do not change, value 1.
    Info = 6,
    /// A set of boolean states.
    StateSet = 7,
}

impl MetricType {
    /// The name in OpenMetrics and in Prometheus' API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }

    /// Reads [`MetricType::as_str`]'s names; `None` for any other text (also for `untyped`, which
    /// only the old text format knows).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "unknown" => Self::Unknown,
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "gaugehistogram" => Self::GaugeHistogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            _ => return None,
        })
    }

    /// The type of a WAL metadata record's byte; unknown bytes mean [`MetricType::Unknown`].
    #[must_use]
    pub const fn from_u8(byte: u8) -> Self {
        match byte {
            1 => Self::Counter,
            2 => Self::Gauge,
            3 => Self::Histogram,
            4 => Self::GaugeHistogram,
            5 => Self::Summary,
            6 => Self::Info,
            7 => Self::StateSet,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for MetricType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Type, unit and help of a metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The type.
    pub kind: MetricType,
    /// The unit, empty where none was given.
    pub unit: String,
    /// The help text, unescaped.
    pub help: String,
}
