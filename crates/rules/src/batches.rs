//! Which rules of a group do not depend on one another. Source: `rules/group.go`,
//! `rules/manager.go`.

use firesteel_config::RuleKind;
use firesteel_model::{METRIC_NAME, Matcher};

use crate::{
    GroupSpec, RuleSpec,
    alerting::{ALERT_NAME, ALERTS, ALERTS_FOR_STATE},
};

/// Runs of rules: the rules of a run may be evaluated at the same time, the runs one after the
/// other. Indexes into the group's rules.
pub(crate) fn batches(group: &GroupSpec) -> Vec<Vec<usize>> {
    let rules = &group.rules;
    let Some(dependencies) = dependencies(rules) else {
        return (0..rules.len()).map(|i| vec![i]).collect();
    };
    let depends = |i: usize| dependencies.iter().any(|&(_, by)| by == i);
    let is_needed = |i: usize| dependencies.iter().any(|&(of, _)| of == i);
    let (mut first, mut between, mut last) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..rules.len() {
        match (depends(i), is_needed(i)) {
            (false, _) => first.push(i),
            (true, true) => between.push(vec![i]),
            (true, false) => last.push(i),
        }
    }
    let runs = std::iter::once(first).chain(between).chain(std::iter::once(last));
    runs.filter(|run| !run.is_empty()).collect()
}

/// Pairs of a rule and a later one that reads what it writes; `None` where a query may read
/// anything.
fn dependencies(rules: &[RuleSpec]) -> Option<Vec<(usize, usize)>> {
    let mut found = Vec::new();
    for (i, rule) in rules.iter().enumerate() {
        for selector in rule.expr.selectors() {
            let matcher = |name: &str| selector.matchers.iter().find(|m| m.name() == name);
            let name = matcher(METRIC_NAME)?;
            let reads_alerts = name.matches(ALERTS) || name.matches(ALERTS_FOR_STATE);
            let alert = matcher(ALERT_NAME);
            let reads = |other: &RuleSpec| {
                let is_alert = other.kind == RuleKind::Alerting;
                let named = |m: &Matcher| m.matches(&other.name);
                named(name) || (reads_alerts && is_alert && alert.is_none_or(named))
            };
            let before = rules.iter().take(i).enumerate();
            found.extend(before.filter(|(_, other)| reads(other)).map(|(of, _)| (of, i)));
        }
    }
    Some(found)
}
