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

/// The text of a label or an annotation of an alerting rule: parsed once, expanded for each alert.
/// One without actions is not a template, and costs a copy.
#[derive(Debug)]
pub struct AlertTemplate(Text);

#[derive(Debug)]
enum Text {
    Plain(String),
    Actions(Template),
}

impl AlertTemplate {
    /// Parses a text, as the validation of rules does. The name is that of [`alert_name`].
    ///
    /// # Errors
    /// The text is not a template.
    pub fn parse(name: &str, text: &str) -> Result<Self, TemplateError> {
        if !text.contains("{{") {
            return Ok(Self(Text::Plain(text.to_owned())));
        }
        Template::parse(name, &format!("{DEFINITIONS}{text}")).map(|t| Self(Text::Actions(t)))
    }

    /// Expands it as Prometheus does for alerts: with `$labels`, `$externalLabels`, `$externalURL`
    /// and `$value`. `query` is asked for instant queries at `at`. Time and memory are bounded by
    /// [`Limits`].
    ///
    /// # Errors
    /// It fails, or takes more than the limits allow. Prometheus then puts
    /// `<error expanding template: error>` in its place.
    pub fn expand(
        &self,
        data: &AlertData<'_>,
        at: Timestamp,
        query: &dyn Query,
    ) -> Result<String, TemplateError> {
        match &self.0 {
            Text::Plain(text) => Ok(text.clone()),
            Text::Actions(template) => {
                let environment = Environment { at, external_url: data.external_url, query };
                template.run(data.to_value(), &environment, Limits::default())
            }
        }
    }
}
