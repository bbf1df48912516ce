//! From rule files to groups that can be evaluated: queries parsed, templates checked.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use firesteel_config::{
    Diagnostic, ReadFiles, RuleConfig, RuleFile, RuleGroupConfig, RuleKind, load_rule_file,
};
use firesteel_model::{Labels, ValidationScheme, float::go_quote};
use firesteel_promql::{Expr, ParserOptions, parse};

use crate::{
    Nanos, RulesError,
    schedule::Slots,
    template::{self, AlertTemplate},
    time::nanos,
};

/// What rule files are read with.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The interval of groups that give none.
    pub interval: Duration,
    /// The query offset of groups that give none.
    pub query_offset: Duration,
    /// Which names are valid.
    pub names: ValidationScheme,
    /// What queries may use.
    pub parser: ParserOptions,
    /// Whether keys that do not exist are passed over.
    pub ignore_unknown_fields: bool,
    /// `$externalLabels` of templates.
    pub external_labels: Labels,
    /// `$externalURL` of templates, without a slash at its end.
    pub external_url: Arc<str>,
}

impl Default for LoadOptions {
    /// Prometheus' defaults.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            query_offset: Duration::ZERO,
            names: ValidationScheme::default(),
            parser: ParserOptions::default(),
            ignore_unknown_fields: false,
            external_labels: Labels::empty(),
            external_url: "".into(),
        }
    }
}

/// A group to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSpec {
    /// The file it is from.
    pub file: String,
    /// Its name, the only one in its file.
    pub name: String,
    /// How often it is evaluated.
    pub interval: Duration,
    /// How far in the past.
    pub query_offset: Duration,
    /// How many series or alerts a rule of it may give; 0 for any number.
    pub limit: usize,
    /// Its rules in order.
    pub rules: Vec<RuleSpec>,
    pub(crate) external_labels: Labels,
    pub(crate) external_url: Arc<str>,
}

impl GroupSpec {
    /// The first time at `at` or after it that the group is evaluated: groups have places of their
    /// own in their intervals.
    #[must_use]
    pub fn first_evaluation(&self, at: Nanos) -> Nanos {
        let slots = Slots::new(&self.file, &self.name, nanos(self.interval));
        let slot = slots.before(at);
        if slot < at { slot.saturating_add(slots.interval()) } else { slot }
    }
}

/// A rule to evaluate.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// What it makes.
    pub kind: RuleKind,
    /// Name of the series or of the alert.
    pub name: String,
    /// The query.
    pub expr: Expr,
    /// The query as Prometheus prints it.
    pub query: Arc<str>,
    /// How long an alert is pending before it fires.
    pub hold: Duration,
    /// How long an alert goes on firing when its condition is gone.
    pub keep_firing_for: Duration,
    /// The labels, those of the group included; an empty value removes a label.
    pub labels: Vec<(String, String)>,
    /// Templates.
    pub annotations: Vec<(String, String)>,
}

/// Equal where they do the same; the form of the query does not count.
impl PartialEq for RuleSpec {
    fn eq(&self, other: &Self) -> bool {
        let key = |r: &Self| (r.kind, r.hold, r.keep_firing_for);
        key(self) == key(other)
            && self.name == other.name
            && self.query == other.query
            && self.labels == other.labels
            && self.annotations == other.annotations
    }
}

/// Reads a rule file and checks all of it, queries and templates too: everything that is wrong is
/// among the errors.
#[must_use]
pub fn check_file(name: &str, text: &str, options: &LoadOptions) -> RuleFile {
    check(name, text, options, &mut Vec::new())
}

fn check(name: &str, text: &str, options: &LoadOptions, specs: &mut Vec<GroupSpec>) -> RuleFile {
    let mut file = load_rule_file(name, text, options.names, options.ignore_unknown_fields);
    let mut errors = Vec::new();
    for group in &file.groups {
        let mut rules = Vec::with_capacity(group.rules.len());
        for rule in &group.rules {
            let mut report = |place, what: String| {
                errors.push(Diagnostic::in_rule_file(
                    name,
                    place,
                    rule.message(&group.name, &what),
                ));
            };
            if !rule.expr.text.is_empty() {
                match parse(&rule.expr.text, &options.parser) {
                    Ok(expr) => rules.push(rule_spec(group, rule, expr)),
                    Err(error) => {
                        report(rule.expr.place, format!("could not parse expression: {error}"))
                    }
                }
            }
            if rule.kind == RuleKind::Alerting {
                let name = template::alert_name(&rule.name.text);
                for (what, map) in [("label", &rule.labels), ("annotation", &rule.annotations)] {
                    for (key, value) in map {
                        if let Err(error) = AlertTemplate::parse(&name, &value.text) {
                            let (key, error) = (go_quote(key), error.message());
                            report(value.place, format!("{what} {key}: {error}"));
                        }
                    }
                }
            }
        }
        specs.push(GroupSpec {
            file: name.to_owned(),
            name: group.name.clone(),
            interval: group.interval.unwrap_or(options.interval),
            query_offset: group.query_offset.unwrap_or(options.query_offset),
            limit: group.limit,
            rules,
            external_labels: options.external_labels.clone(),
            external_url: Arc::clone(&options.external_url),
        });
    }
    file.errors.extend(errors);
    file.errors.sort_by_key(|e| e.place);
    file
}

fn rule_spec(group: &RuleGroupConfig, rule: &RuleConfig, expr: Expr) -> RuleSpec {
    let own = rule.labels.iter().map(|(k, v)| (k.as_str(), v.text.as_str()));
    let mut labels: BTreeMap<&str, &str> =
        group.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    labels.extend(own);
    let pair = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
    RuleSpec {
        kind: rule.kind,
        name: rule.name.text.clone(),
        query: expr.to_string().into(),
        expr,
        hold: rule.hold,
        keep_firing_for: rule.keep_firing_for,
        labels: labels.into_iter().map(pair).collect(),
        annotations: rule.annotations.iter().map(|(k, v)| pair((k, &v.text))).collect(),
    }
}

/// Loads a rule file from a text.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_text(
    name: &str,
    text: &str,
    options: &LoadOptions,
) -> Result<Vec<GroupSpec>, RulesError> {
    let mut specs = Vec::new();
    let file = check(name, text, options, &mut specs);
    for warning in &file.warnings {
        tracing::warn!("{warning}");
    }
    if file.errors.is_empty() { Ok(specs) } else { Err(RulesError::Invalid(file.errors)) }
}

/// Loads the files that match any of the patterns, each once.
///
/// # Errors
/// A file cannot be read, or is wrong: everything that was found in all files.
pub fn load_files(
    patterns: &[PathBuf],
    files: &dyn ReadFiles,
    options: &LoadOptions,
) -> Result<Vec<GroupSpec>, RulesError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let found = files
            .expand(pattern)
            .map_err(|source| RulesError::Read { path: pattern.clone(), source })?;
        for path in found {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    let (mut groups, mut errors) = (Vec::new(), Vec::new());
    for path in &paths {
        match load_one(path, files, options) {
            Ok(loaded) => groups.extend(loaded),
            Err(RulesError::Invalid(found)) => errors.extend(found),
            Err(error) => return Err(error),
        }
    }
    if errors.is_empty() { Ok(groups) } else { Err(RulesError::Invalid(errors)) }
}

fn load_one(
    path: &Path,
    files: &dyn ReadFiles,
    options: &LoadOptions,
) -> Result<Vec<GroupSpec>, RulesError> {
    let text =
        files.read(path).map_err(|source| RulesError::Read { path: path.to_owned(), source })?;
    load_text(&path.to_string_lossy(), &text, options)
}
