//! Rules at work.

use std::borrow::Cow;

use super::{Action, RelabelConfig};
use crate::{
    LabelsBuilder,
    regex::{Captures, Regex},
    unicode,
};

/// Applies rules in order. Returns false if one of them drops the label set; the builder's content
/// is then of no use.
///
/// Cost: a rule that changes nothing does not allocate, except to join several sources.
#[must_use]
pub fn process(configs: &[RelabelConfig], labels: &mut LabelsBuilder) -> bool {
    configs.iter().all(|config| apply(config, labels))
}

fn apply(config: &RelabelConfig, labels: &mut LabelsBuilder) -> bool {
    let regex = &config.regex;
    match config.action {
        Action::Keep => return regex.is_match(&source(config, labels)),
        Action::Drop => return !regex.is_match(&source(config, labels)),
        Action::KeepEqual => return equals_target(config, labels),
        Action::DropEqual => return !equals_target(config, labels),
        Action::Replace => replace(config, labels),
        Action::HashMod => {
            let digest = md5::compute(source(config, labels).as_bytes());
            let [.., a, b, c, d, e, f, g, h] = digest.0;
            let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            // A modulus of 0 does not pass validation.
            let rest = hash.checked_rem(config.modulus).unwrap_or(0);
            labels.set(&config.target_label, &rest.to_string());
        }
        Action::Lowercase => map_case(config, labels, unicode::to_lower),
        Action::Uppercase => map_case(config, labels, unicode::to_upper),
        Action::LabelMap => label_map(config, labels),
        Action::LabelDrop => {
            labels.retain(|name, _| !regex.is_match(name));
        }
        Action::LabelKeep => {
            labels.retain(|name, _| regex.is_match(name));
        }
    }
    true
}

/// The values of the source labels, joined; borrowed where there is only one.
fn source<'l>(config: &RelabelConfig, labels: &'l LabelsBuilder) -> Cow<'l, str> {
    let value = |name: &String| labels.get(name).unwrap_or_default();
    match config.source_labels.as_slice() {
        [] => Cow::Borrowed(""),
        [one] => Cow::Borrowed(value(one)),
        [first, others @ ..] => {
            let mut joined = value(first).to_owned();
            for name in others {
                joined.push_str(&config.separator);
                joined.push_str(value(name));
            }
            Cow::Owned(joined)
        }
    }
}

fn equals_target(config: &RelabelConfig, labels: &LabelsBuilder) -> bool {
    labels.get(&config.target_label).unwrap_or_default() == source(config, labels)
}

fn map_case(config: &RelabelConfig, labels: &mut LabelsBuilder, map: fn(char) -> char) {
    let value: String = source(config, labels).chars().map(map).collect();
    labels.set(&config.target_label, &value);
}

fn replace(config: &RelabelConfig, labels: &mut LabelsBuilder) {
    // Fast path: a rule that sets or deletes a label, whatever the others are.
    if config.source_labels.is_empty()
        && config.has_default_regex()
        && !config.target_label.contains('$')
        && !config.replacement.contains('$')
    {
        labels.set(&config.target_label, &config.replacement);
        return;
    }
    let value = source(config, labels);
    let Some(captures) = config.regex.captures(&value) else { return };
    let target = expand(&config.regex, &config.target_label, &value, &captures);
    if config.scheme.is_label_name(&target) {
        let new = expand(&config.regex, &config.replacement, &value, &captures);
        if labels.get(&target).unwrap_or_default() != new {
            labels.set(&target, &new);
        }
    }
}

/// Expands a template; borrows it where it is plain text.
fn expand<'t>(regex: &Regex, template: &'t str, text: &str, captures: &Captures) -> Cow<'t, str> {
    if !template.contains('$') {
        return Cow::Borrowed(template);
    }
    let mut out = String::new();
    regex.expand(template, text, captures, &mut out);
    Cow::Owned(out)
}

fn label_map(config: &RelabelConfig, labels: &mut LabelsBuilder) {
    let regex = &config.regex;
    let matching = labels.iter().filter(|(name, _)| regex.is_match(name));
    let copies: Vec<_> = matching
        .map(|(name, value)| (regex.replace_all(name, &config.replacement), value.to_owned()))
        .collect();
    for (name, value) in copies {
        labels.set(&name, &value);
    }
}
