//! What groups and rules are like now, for APIs and pages.

use std::{sync::Arc, time::Duration};

use crate::{Alert, AlertState, Group, Health, Nanos, rule::Rule};

/// A group.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// Its name, the only one in its file.
    pub name: String,
    /// The file it is from.
    pub file: String,
    /// How often it is evaluated.
    pub interval: Duration,
    /// How many series or alerts a rule of it may give; 0 for any number.
    pub limit: usize,
    /// Its rules in order.
    pub rules: Vec<RuleSnapshot>,
    /// How long the last evaluation took.
    pub evaluation_time: Duration,
    /// When it began, `None` before the first.
    pub last_evaluation: Option<Nanos>,
}

/// A rule.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuleSnapshot {
    /// Name of the series or of the alert.
    pub name: String,
    /// The query.
    pub query: Arc<str>,
    /// The labels, those of the group included.
    pub labels: Vec<(String, String)>,
    /// How it is.
    pub health: Health,
    /// Why the last evaluation failed.
    pub last_error: Option<String>,
    /// How long the last evaluation took.
    pub evaluation_time: Duration,
    /// When it began, `None` before the first.
    pub last_evaluation: Option<Nanos>,
    /// What only alerting rules have.
    pub alerting: Option<AlertingSnapshot>,
}

/// What an alerting rule has besides.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AlertingSnapshot {
    /// The state of its highest alert.
    pub state: AlertState,
    /// How long an alert is pending before it fires.
    pub hold: Duration,
    /// How long an alert goes on firing when its condition is gone.
    pub keep_firing_for: Duration,
    /// Templates.
    pub annotations: Vec<(String, String)>,
    /// The alerts that are pending or firing, in order of their labels.
    pub alerts: Vec<AlertSnapshot>,
}

/// An alert.
pub type AlertSnapshot = Alert;

impl Group {
    /// What it is like now; alerts only where they are asked for.
    #[must_use]
    pub fn snapshot(&self, with_alerts: bool) -> GroupSnapshot {
        let times = self.times();
        GroupSnapshot {
            name: self.spec.name.clone(),
            file: self.spec.file.clone(),
            interval: self.spec.interval,
            limit: self.spec.limit,
            rules: self.rules.iter().map(|rule| rule.snapshot(with_alerts)).collect(),
            evaluation_time: times.took,
            last_evaluation: times.began,
        }
    }
}

impl Rule {
    fn snapshot(&self, with_alerts: bool) -> RuleSnapshot {
        let status = self.status();
        let alerting = self.is_alerting().then(|| AlertingSnapshot {
            state: self.state(),
            hold: self.spec.hold,
            keep_firing_for: self.spec.keep_firing_for,
            annotations: self.spec.annotations.clone(),
            alerts: if with_alerts { self.alerts().active() } else { Vec::new() },
        });
        RuleSnapshot {
            name: self.spec.name.clone(),
            query: Arc::clone(&self.spec.query),
            labels: self.spec.labels.clone(),
            health: status.health,
            last_error: status.last_error,
            evaluation_time: status.took,
            last_evaluation: status.evaluated_at,
            alerting,
        }
    }
}
