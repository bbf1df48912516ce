//! What holds between the keys of groups and rules.

use std::collections::HashSet;

use firesteel_model::{METRIC_NAME, ValidationScheme, float::go_quote};

use crate::{
    Place,
    diagnose::Diagnostics,
    value::{Item, Section},
};

/// A message about a rule as Prometheus words it.
pub(super) fn message(group: &str, number: usize, name: &str, what: &str) -> String {
    format!("group {}, rule {number}, {}: {what}", go_quote(group), go_quote(name))
}

/// Checks all groups; what could not even be decoded is left out, it has been reported.
pub(super) fn groups(file: &Section, scheme: ValidationScheme, diagnostics: &mut Diagnostics) {
    let broken: Vec<String> = diagnostics.errors.iter().map(|e| e.key_path.clone()).collect();
    let is_broken = |path: &str| broken.iter().any(|b| b.starts_with(path));
    let mut names = HashSet::new();
    for (i, group) in file.sections("groups").enumerate() {
        let name = group.text("name");
        if !is_broken(&format!("groups[{i}].name")) {
            check_name(group, &mut names, diagnostics);
        }
        for (key, item) in group.pairs("labels") {
            if let Some(what) = label_fault(key, scheme) {
                diagnostics.error(item.place, what);
            }
        }
        for (j, rule) in group.sections("rules").enumerate() {
            if is_broken(&format!("groups[{i}].rules[{j}]")) {
                continue;
            }
            for (place, what) in rule_faults(rule, scheme) {
                let name = [rule.text("alert"), rule.text("record")];
                let name = name.into_iter().find(|n| !n.is_empty()).unwrap_or_default();
                diagnostics.error(place, message(group.text("name"), j + 1, name, &what));
            }
        }
        names.insert(name.to_owned());
    }
}

fn check_name(group: &Section, names: &mut HashSet<String>, diagnostics: &mut Diagnostics) {
    let name = group.text("name");
    if name.is_empty() {
        diagnostics.error(group.place(), "Groupname must not be empty");
    }
    if names.contains(name) {
        let message = format!("groupname: \"{name}\" is repeated in the same file");
        diagnostics.error(group.place(), message);
    }
}

fn label_fault(name: &str, scheme: ValidationScheme) -> Option<String> {
    let valid = scheme.is_label_name(name) && name != METRIC_NAME;
    (!valid).then(|| format!("invalid label name: {name}"))
}

/// All that is wrong with a rule, apart from its query and its templates.
fn rule_faults(rule: &Section, scheme: ValidationScheme) -> Vec<(Place, String)> {
    let mut faults = Vec::new();
    let mut add = |place: Place, what: &str| faults.push((place, what.to_owned()));
    let (record, alert) = (rule.text("record"), rule.text("alert"));
    let record_place = rule.place_of("record");
    if !record.is_empty() && !alert.is_empty() {
        add(record_place, "only one of 'record' and 'alert' must be set");
    }
    if record.is_empty() && alert.is_empty() {
        add(rule.place(), "one of 'record' or 'alert' must be set");
    }
    if rule.text("expr").is_empty() {
        add(rule.place_of("expr"), "field 'expr' must be set in rule");
    }
    if !record.is_empty() {
        for key in ["annotations", "for", "keep_firing_for"] {
            if rule.has(key) {
                add(rule.place_of(key), &format!("invalid field '{key}' in recording rule"));
            }
        }
        if !scheme.is_metric_name(record) {
            add(record_place, &format!("invalid recording rule name: {record}"));
        }
        if record.contains(['{', '}']) {
            let what = "braces present in the recording rule name; should it be in expr?";
            add(record_place, &format!("{what}: {record}"));
        }
    }
    let place = |item: &Item| item.place;
    for (name, item) in rule.pairs("labels") {
        if let Some(what) = label_fault(name, scheme) {
            add(place(item), &what);
        }
    }
    for (name, item) in rule.pairs("annotations") {
        if !scheme.is_label_name(name) {
            add(place(item), &format!("invalid annotation name: {name}"));
        }
    }
    faults
}
