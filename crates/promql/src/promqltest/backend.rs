//! What a script runs on.

use std::time::Duration;

use firesteel_model::{
    Labels, Timestamp, Value,
    storage::{AppendOptions, Appendable, SeriesKey},
};

use crate::value::{QueryValue, SampleValue};

/// An engine over a storage.
pub trait Backend {
    /// Removes all samples.
    ///
    /// # Errors
    /// The storage's text.
    fn clear(&mut self) -> Result<(), String>;

    /// Adds samples, all at once.
    ///
    /// # Errors
    /// The storage's text.
    fn load(&mut self, series: &[Loaded]) -> Result<(), String>;

    /// Evaluates an instant query.
    ///
    /// # Errors
    /// The query's error, as Prometheus prints it.
    fn instant(&mut self, query: &str, t: Timestamp) -> Result<Outcome, String>;

    /// Evaluates a range query.
    ///
    /// # Errors
    /// The query's error, as Prometheus prints it.
    fn range(
        &mut self,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
    ) -> Result<Outcome, String>;
}

/// What a query returned.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The result.
    pub value: QueryValue,
    /// Texts of the warnings, with positions.
    pub warnings: Vec<String>,
    /// Texts of the remarks, with positions.
    pub infos: Vec<String>,
}

/// A series to be loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The series.
    pub labels: Labels,
    /// Its samples, by time.
    pub samples: Vec<LoadedSample>,
}

/// A sample to be loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedSample {
    /// When, in milliseconds.
    pub t: Timestamp,
    /// When the counter began to count, where the script says so.
    pub start: Option<Timestamp>,
    /// The value.
    pub value: SampleValue,
}

/// Appends samples to a storage, in one transaction.
///
/// # Errors
/// The storage's text, and the series.
pub fn append(series: &[Loaded], storage: &dyn Appendable) -> Result<(), String> {
    let mut appender = storage.appender();
    for one in series {
        for sample in &one.samples {
            let value = match &sample.value {
                SampleValue::Float(v) => Value::Float(*v),
                SampleValue::Histogram(h) => Value::FloatHistogram(h),
            };
            let options =
                AppendOptions { start_timestamp: sample.start, ..AppendOptions::default() };
            appender
                .append(SeriesKey::Labels(&one.labels), sample.t, value, &options)
                .map_err(|e| format!("{} at {}: {e}", one.labels, sample.t))?;
        }
    }
    appender.commit().map(drop).map_err(|e| e.to_string())
}
