//! Rule files: YAML to typed values that know where they stand. What a query or a template says is
//! not looked at here. Source: `model/rulefmt/rulefmt.go`.

mod check;
mod schema;

use std::{collections::BTreeMap, time::Duration};

use firesteel_model::ValidationScheme;

use crate::{
    Diagnostic, Place,
    diagnose::Diagnostics,
    value::{Item, Section, Value},
    yaml::{self, Node, NodeKind},
};

/// A text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Placed {
    /// The text.
    pub text: String,
    /// Where its value begins; line 0 where it is not in the file.
    pub place: Place,
}

/// What a rule makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// Series: `record`.
    Recording,
    /// Alerts: `alert`.
    Alerting,
}

/// A rule as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleConfig {
    /// What it makes.
    pub kind: RuleKind,
    /// Name of the series or of the alert.
    pub name: Placed,
    /// The query.
    pub expr: Placed,
    /// How long an alert is pending before it fires.
    pub hold: Duration,
    /// How long an alert goes on firing when its condition is gone.
    pub keep_firing_for: Duration,
    /// Its own labels, without those of the group. Templates in alerting rules.
    pub labels: BTreeMap<String, Placed>,
    /// Templates.
    pub annotations: BTreeMap<String, Placed>,
    /// Where it stands.
    pub place: Place,
    /// Its number in the group, from 1, as messages give it.
    pub number: usize,
}

/// A group of rules as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleGroupConfig {
    /// Its name, the only one in its file.
    pub name: String,
    /// How often it is evaluated; `None` for the global interval.
    pub interval: Option<Duration>,
    /// How far in the past; `None` for the global offset.
    pub query_offset: Option<Duration>,
    /// How many series or alerts a rule of it may give; 0 for any number.
    pub limit: usize,
    /// Labels of all its rules.
    pub labels: BTreeMap<String, String>,
    /// The rules in order.
    pub rules: Vec<RuleConfig>,
    /// Where it stands.
    pub place: Place,
}

/// What was read of a rule file: what is right, and all that is wrong.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RuleFile {
    /// The groups in order.
    pub groups: Vec<RuleGroupConfig>,
    /// What is wrong, in order of lines; a file with errors is not to be used.
    pub errors: Vec<Diagnostic>,
    /// What is odd but was accepted.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a rule file, or a PrometheusRule resource of Kubernetes. `name` stands for the file in
/// messages, which are Prometheus' own: `group "g", rule 1, "name": ...`. Keys that do not exist
/// are errors unless `ignore_unknown`.
#[must_use]
pub fn load_rule_file(
    name: &str,
    text: &str,
    scheme: ValidationScheme,
    ignore_unknown: bool,
) -> RuleFile {
    let mut diagnostics = Diagnostics::new(name);
    diagnostics.lenient = ignore_unknown;
    let groups = match yaml::load_first(text) {
        Err(error) => {
            diagnostics.error(error.place, error.message);
            Vec::new()
        }
        Ok((node, more)) => {
            if more {
                let message = "Multiple document yaml rules files are not supported, only the \
                               first document is processed";
                diagnostics.warn(Place::default(), message);
            }
            node.filter(|node| !node.is_null())
                .map_or_else(Vec::new, |node| document(&node, scheme, &mut diagnostics))
        }
    };
    let mut errors = diagnostics.errors;
    errors.sort_by_key(|e| e.place);
    RuleFile { groups, errors, warnings: diagnostics.warnings }
}

fn document(
    node: &Node,
    scheme: ValidationScheme,
    diagnostics: &mut Diagnostics,
) -> Vec<RuleGroupConfig> {
    let section = if is_resource(node) {
        resource(node, diagnostics)
    } else {
        crate::decode::section(node, &schema::FILE, diagnostics)
    };
    let Some(section) = section else { return Vec::new() };
    check::groups(&section, scheme, diagnostics);
    section.sections("groups").map(group).collect()
}

/// Whether a document is a PrometheusRule.
fn is_resource(node: &Node) -> bool {
    let text = |key: &str| match &node.kind {
        NodeKind::Map(pairs) => pairs.iter().find_map(|(k, v)| match (&k.kind, &v.kind) {
            (NodeKind::Scalar(k), NodeKind::Scalar(v)) if k.text == key => Some(v.text.as_str()),
            _ => None,
        }),
        _ => None,
    };
    text("kind") == Some("PrometheusRule") && text("apiVersion").is_some()
}

/// The `spec` of a resource; of what else it has (metadata, status) nothing matters.
fn resource(node: &Node, diagnostics: &mut Diagnostics) -> Option<Section> {
    let NodeKind::Map(pairs) = &node.kind else { return None };
    let known = |key: &Node| match &key.kind {
        NodeKind::Scalar(key) => schema::RESOURCE.field(&key.text).is_some(),
        _ => true,
    };
    let kept = pairs.iter().filter(|(key, _)| known(key)).cloned().collect();
    let node = Node { place: node.place, kind: NodeKind::Map(kept) };
    let resource = crate::decode::section(&node, &schema::RESOURCE, diagnostics)?;
    resource.section("spec").cloned()
}

fn group(section: &Section) -> RuleGroupConfig {
    let rules = section.sections("rules").enumerate();
    let text = |(name, item): (&str, &Item)| {
        (name.to_owned(), item.value.as_text().unwrap_or_default().to_owned())
    };
    RuleGroupConfig {
        name: section.text("name").to_owned(),
        interval: Some(section.duration("interval")).filter(|d| !d.is_zero()),
        query_offset: section.get("query_offset").map(|_| section.duration("query_offset")),
        limit: usize::try_from(section.int("limit")).unwrap_or(0),
        labels: section.pairs("labels").map(text).collect(),
        rules: rules.map(|(i, rule)| self::rule(i + 1, rule)).collect(),
        place: section.place(),
    }
}

fn rule(number: usize, section: &Section) -> RuleConfig {
    let placed = |key: &str| Placed {
        text: section.text(key).to_owned(),
        place: section.get(key).map(|item| item.place).unwrap_or_default(),
    };
    let map = |key: &str| {
        let pair = |(name, item): (&str, &Item)| {
            let text = match &item.value {
                Value::Text(text) => text.clone(),
                _ => String::new(),
            };
            (name.to_owned(), Placed { text, place: item.place })
        };
        section.pairs(key).map(pair).collect()
    };
    // One of both is empty where the rule is right.
    let kind =
        if section.text("alert").is_empty() { RuleKind::Recording } else { RuleKind::Alerting };
    RuleConfig {
        kind,
        name: placed(match kind {
            RuleKind::Recording => "record",
            RuleKind::Alerting => "alert",
        }),
        expr: placed("expr"),
        hold: section.duration("for"),
        keep_firing_for: section.duration("keep_firing_for"),
        labels: map("labels"),
        annotations: map("annotations"),
        place: section.place(),
        number,
    }
}

impl RuleConfig {
    /// A message about this rule as Prometheus words it.
    #[must_use]
    pub fn message(&self, group: &str, what: &str) -> String {
        check::message(group, self.number, &self.name.text, what)
    }
}

impl Diagnostic {
    /// Something wrong at a place of a rule file.
    pub fn in_rule_file(file: impl Into<String>, place: Place, message: impl Into<String>) -> Self {
        Self { file: file.into(), place, key_path: String::new(), message: message.into() }
    }
}

#[cfg(test)]
mod tests;
