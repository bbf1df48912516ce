//! Recording rules. Source: `rules/recording.go`.

use firesteel_model::{
    Labels, METRIC_NAME, Timestamp, Value,
    storage::{AppendError, Appendable},
};
use firesteel_promql::{SampleValue, VectorSample};

use crate::{
    RuleSpec,
    output::{Output, Refused, Row},
};

/// Two series of a result would be one.
const DUPLICATES: &str =
    "vector contains metrics with the same labelset after applying rule labels";

/// The labels of a result's series as they are written.
fn written_labels(spec: &RuleSpec, labels: &Labels) -> Labels {
    let mut builder = labels.to_builder();
    builder.set(METRIC_NAME, &spec.name);
    for (name, value) in &spec.labels {
        builder.set(name, value);
    }
    builder.build()
}

/// Takes over a result: labels it, and looks for duplicates and the limit.
pub(crate) fn prepare(
    spec: &RuleSpec,
    limit: usize,
    samples: &[VectorSample],
    output: &mut Output,
) -> Result<(), String> {
    // Before anything is kept of it.
    if limit > 0 && samples.len() > limit {
        return Err(format!("exceeded limit of {limit} with {} series", samples.len()));
    }
    let alters =
        |key: &Labels| key.has(METRIC_NAME) || spec.labels.iter().any(|(name, _)| key.has(name));
    let keys = samples.iter().map(|s| &s.labels);
    if !output.begin(keys, alters, |labels| written_labels(spec, labels)) {
        return Err(DUPLICATES.to_owned());
    }
    Ok(())
}

/// Writes a result that was taken over, in one transaction, with markers for what is gone.
pub(crate) fn write(
    storage: &dyn Appendable,
    samples: &[VectorSample],
    t: Timestamp,
    output: &mut Output,
) -> Result<Refused, AppendError> {
    let rows = samples.iter().map(|sample| Row {
        key: &sample.labels,
        value: match &sample.value {
            SampleValue::Float(v) => Value::Float(*v),
            SampleValue::Histogram(h) => Value::FloatHistogram(h),
        },
    });
    let mut appender = storage.appender();
    let refused = output.write(&mut *appender, rows, t);
    output.mark_stale(&mut *appender, t);
    appender.commit()?;
    output.committed();
    Ok(refused)
}
