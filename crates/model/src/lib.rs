#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod budget;
pub mod calendar;
pub mod clock;
pub mod duration;
mod escape;
mod exemplar;
pub mod float;
pub mod histogram;
mod labels;
mod matcher;
mod metadata;
pub mod metrics;
pub mod regex;
pub mod relabel;
mod sample;
pub mod storage;
mod unicode;
pub mod wire;

pub use escape::EscapingScheme;
pub use exemplar::Exemplar;
pub use histogram::{CounterResetHint, FloatHistogram, Histogram, HistogramLayout, Span};
pub use labels::{
    Labels, LabelsBuilder, METRIC_NAME, ValidationScheme, is_legacy_label_name,
    is_legacy_metric_name, is_utf8_label_name,
};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use metadata::{Metadata, MetricType};
pub use sample::{STALE_NAN, Sample, Timestamp, Value, is_stale_nan, stale_nan};
