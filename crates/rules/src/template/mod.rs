//! Go's `text/template` language, and Prometheus' functions for it.
//!
//! The language is whole: actions with trim markers, comments, pipelines, variables, `if`, `with`,
//! `range` with `break` and `continue`, `define`, `template`, `block`, all of Go's functions, and
//! `printf` with all its verbs. Values have Go's types as far as a template can tell; errors have
//! Go's texts and places. Unlike Go's, an expansion is bounded in time and memory: [`Limits`].
//!
//! Complex numbers are refused. Addresses, which `printf "%p"` shows, are made up. Times are in UTC.
//!
//! ```
//! use firesteel_model::Labels;
//! use firesteel_promql::SampleValue;
//! use firesteel_rules::template::{AlertData, AlertTemplate, NoQueries, alert_name};
//!
//! let labels = Labels::from_pairs([("instance", "db-1:9100")]);
//! let data = AlertData {
//!     labels: &labels,
//!     external_labels: &Labels::empty(),
//!     external_url: "http://prometheus:9090",
//!     value: &SampleValue::Float(0.973),
//! };
//! let text = "{{ $labels.instance | stripPort }} is {{ $value | humanizePercentage }} full";
//! let template = AlertTemplate::parse(&alert_name("Full"), text)?;
//! let text = template.expand(&data, 0, &NoQueries)?;
//! assert_eq!(text, "db-1 is 97.3% full");
//! # Ok::<(), firesteel_rules::template::TemplateError>(())
//! ```

mod alert;
mod ast;
mod builtins;
mod compare;
mod duration;
mod error;
mod escape;
mod eval;
mod exec;
mod format;
mod functions;
mod humanize;
mod lexer;
mod limits;
mod methods;
mod network;
mod number;
mod parser;
mod signature;
mod time;
mod title;
mod token;
mod value;

use std::{collections::BTreeMap, rc::Rc};

pub use alert::{AlertData, AlertTemplate, alert_name};
pub use error::TemplateError;
use exec::Environment;
use firesteel_model::{Labels, Timestamp};
use firesteel_promql::SampleValue;
pub use limits::Limits;
use value::Value;

/// What the function `query` asks: an instant query at the evaluation's time.
pub trait Query {
    /// The samples of an instant query, in its order.
    ///
    /// # Errors
    /// The query's error as a text.
    fn query(&self, text: &str) -> Result<Vec<(Labels, SampleValue)>, String>;
}

/// For templates that ask nothing: every query is an error.
#[derive(Clone, Copy, Debug)]
pub struct NoQueries;

impl Query for NoQueries {
    fn query(&self, _: &str) -> Result<Vec<(Labels, SampleValue)>, String> {
        Err("no queries here".to_owned())
    }
}

/// A parsed template; it can be expanded by many at once.
#[derive(Debug)]
pub struct Template {
    name: String,
    text: String,
    trees: parser::Trees,
}

/// What a template is expanded with.
pub struct Context<'a> {
    /// The fields of the dot.
    pub data: &'a BTreeMap<String, String>,
    /// The time of `now` and of queries.
    pub at: Timestamp,
    /// Where the server is reached, for `externalURL` and `pathPrefix`.
    pub external_url: &'a str,
    /// What `query` asks.
    pub query: &'a dyn Query,
    /// What the expansion may take.
    pub limits: Limits,
}

impl Template {
    /// Parses a text. Costs time and memory in proportion to it.
    ///
    /// # Errors
    /// The text is not a template: Go's message, with the line.
    pub fn parse(name: &str, text: &str) -> Result<Self, TemplateError> {
        let trees = parser::parse(name, text)
            .map_err(|message| TemplateError::Parse { name: name.to_owned(), message })?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), trees })
    }

    /// Expands the template.
    ///
    /// # Errors
    /// An action fails, or the expansion would take more than the limits allow.
    pub fn expand(&self, context: &Context<'_>) -> Result<String, TemplateError> {
        let fields = context.data.iter();
        let fields = fields.map(|(k, v)| (k.clone(), Value::from(v.as_str()).in_interface()));
        let data = Value::Map(Rc::new(fields.collect()));
        let environment = Environment {
            at: context.at,
            external_url: context.external_url,
            query: context.query,
        };
        self.run(data, &environment, context.limits)
    }

    fn run(
        &self,
        data: Value,
        environment: &Environment<'_>,
        limits: Limits,
    ) -> Result<String, TemplateError> {
        let program = (self.name.as_str(), self.text.as_str(), &self.trees);
        let failed = |message| TemplateError::Execute { name: self.name.clone(), message };
        exec::execute(program, data, environment, limits::Budget::new(limits)).map_err(failed)
    }
}

#[cfg(test)]
mod tests;
