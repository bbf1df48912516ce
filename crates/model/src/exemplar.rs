//! Exemplars: a trace reference attached to a sample.

use crate::{Labels, Timestamp};

/// An example of what a sample counted, usually a trace id.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Labels of the exemplar, at most 128 UTF-8 characters in all when written as OpenMetrics.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// When it was observed; `None` means the time of the sample.
    pub timestamp: Option<Timestamp>,
}
