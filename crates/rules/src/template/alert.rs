//! Labels and annotations of alerts.

use std::rc::Rc;

use firesteel_model::{Labels, Timestamp};
use firesteel_promql::SampleValue;

use super::{
    Limits, Query, Template, TemplateError,
    exec::Environment,
    value::{Data, Value},
};

/// Variables that every template of an alert begins with. They count for positions in errors.
const DEFINITIONS: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                           {{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// What the templates of an alert are about.
#[derive(Clone, Copy, Debug)]
pub struct AlertData<'a> {
    /// The labels of the sample, its name among them: `$labels`.
    pub labels: &'a Labels,
    /// The server's external labels: `$externalLabels`.
    pub external_labels: &'a Labels,
    /// Where the server is reached: `$externalURL`.
    pub external_url: &'a str,
    /// The sample's value: `$value`.
    pub value: &'a SampleValue,
}

impl AlertData<'_> {
    fn to_value(self) -> Value {
        Value::Data(Rc::new(Data {
            labels: self.labels.clone(),
            external_labels: self.external_labels.clone(),
            external_url: self.external_url.into(),
            value: self.value.clone().into(),
        }))
    }
}

/// The name of the templates of an alerting rule; errors quote it.
#[must_use]
pub fn alert_name(rule: &str) -> String {
    format!("__alert_{rule}")
}

/// Whether a text is more than itself.
fn has_actions(text: &str) -> bool {
    text.contains("{{")
}

/// Expands the text of a label or an annotation as Prometheus does for alerts: with `$labels`,
/// `$externalLabels`, `$externalURL` and `$value`. Templates of alerts are
/// named by [`alert_name`]. `query` is asked for instant queries at `at`.
///
/// A text without actions costs a copy. Others are parsed each time; time and memory are bounded by
/// [`Limits`].
///
/// # Errors
/// The text is not a template, it fails, or it takes more than the limits allow. Prometheus then
/// puts `<error expanding template: error>` in its place.
pub fn expand(
    name: &str,
    text: &str,
    data: &AlertData<'_>,
    at: Timestamp,
    query: &dyn Query,
) -> Result<String, TemplateError> {
    if !has_actions(text) {
        return Ok(text.to_owned());
    }
    let template = Template::parse(name, &format!("{DEFINITIONS}{text}"))?;
    let environment = Environment { at, external_url: data.external_url, query };
    template.run(data.to_value(), &environment, Limits::default())
}

/// Parses the text of a label or an annotation, as the validation of rules does.
///
/// # Errors
/// The text is not a template.
pub fn check(name: &str, text: &str) -> Result<(), TemplateError> {
    if !has_actions(text) {
        return Ok(());
    }
    Template::parse(name, &format!("{DEFINITIONS}{text}")).map(|_| ())
}
