//! Alerts: how they begin, fire and end. Source: `rules/alerting.go`.

use std::{sync::Arc, time::Duration};

use firesteel_model::{
    Labels, LabelsBuilder, METRIC_NAME, Timestamp, Value,
    budget::{Budget, Reservation},
    storage::{AppendError, Appendable, CancelToken},
};
use firesteel_promql::{SampleValue, VectorSample};
use hashbrown::HashMap;

use crate::{
    Nanos, RuleSpec,
    output::{Output, Refused, Row},
    query::EvalError,
    template::{self, AlertData, AlertTemplate, TemplateError},
    time::{nanos, to_ms, to_seconds},
};

/// The metric that says which alerts there are.
pub(crate) const ALERTS: &str = "ALERTS";
/// The metric that says since when.
pub(crate) const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";
/// The label that holds an alert's name.
pub(crate) const ALERT_NAME: &str = "alertname";
const ALERT_STATE: &str = "alertstate";

/// How long a resolved alert is kept, and sent again and again.
const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

const DUPLICATES: &str =
    "vector contains metrics with the same labelset after applying alert labels";

/// What an alert takes in memory besides its labels, about.
const ALERT_BYTES: usize = 320;

/// After so many series of a result it is looked whether to stop.
const LOOK: usize = 256;

/// How an alert is. Ordered: a rule is as its highest alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertState {
    /// Its rule was not evaluated yet.
    Unknown,
    /// Its condition is gone.
    Inactive,
    /// Its condition has been there for less than `for`.
    Pending,
    /// Its condition has been there long enough.
    Firing,
}

impl AlertState {
    /// The name in the API and in `alertstate`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// Names and values.
pub type Annotations = Arc<[(String, String)]>;

/// An alert.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alert {
    /// How it is.
    pub state: AlertState,
    /// What identifies it.
    pub labels: Labels,
    /// What is said about it, sorted by name. Unlike labels these may be empty.
    pub annotations: Annotations,
    /// The value of its query at the last evaluation that had it.
    pub value: f64,
    /// Since when its condition is true.
    pub active_at: Nanos,
    /// When it began to fire.
    pub fired_at: Option<Nanos>,
    /// When its condition was gone.
    pub resolved_at: Option<Nanos>,
    /// When it was last sent.
    pub last_sent_at: Option<Nanos>,
    /// Until when Alertmanager is to take it for firing.
    pub valid_until: Option<Nanos>,
    /// Since when it fires without its condition.
    pub keep_firing_since: Option<Nanos>,
}

impl Alert {
    fn new(labels: Labels, annotations: Annotations, value: f64, active_at: Nanos) -> Self {
        Self {
            state: AlertState::Pending,
            labels,
            annotations,
            value,
            active_at,
            fired_at: None,
            resolved_at: None,
            last_sent_at: None,
            valid_until: None,
            keep_firing_since: None,
        }
    }

    /// Whether Alertmanagers should hear of it now.
    fn needs_sending(&self, now: Nanos, resend_delay: Duration) -> bool {
        if self.state == AlertState::Pending {
            return false;
        }
        // Resolved since it was last sent; what never happened is before everything.
        self.resolved_at > self.last_sent_at
            || self.last_sent_at.is_none_or(|sent| sent.saturating_add(nanos(resend_delay)) < now)
    }

    fn bytes(&self) -> u64 {
        // The labels stand in the series of both metrics too.
        let annotations: usize = self.annotations.iter().map(|(n, v)| n.len() + v.len() + 64).sum();
        (self.labels.packed_len() * 4 + annotations + ALERT_BYTES) as u64
    }
}

/// An alert and the series that tell of it, made once.
#[derive(Debug)]
struct Active {
    alert: Alert,
    pending: Option<Labels>,
    firing: Option<Labels>,
    for_state: Option<Labels>,
}

impl Active {
    const fn new(alert: Alert) -> Self {
        Self { alert, pending: None, firing: None, for_state: None }
    }
}

/// The alerts of a rule, by their labels.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    active: HashMap<Labels, Active>,
    held: Option<Reservation>,
}

type Named = (String, Result<AlertTemplate, TemplateError>);

/// What a rule says of its alerts, parsed. Validation has found errors before; where it did not
/// they stand in the alerts.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    labels: Vec<Named>,
    annotations: Vec<Named>,
}

impl Texts {
    pub(crate) fn of(spec: &RuleSpec) -> Self {
        let name = template::alert_name(&spec.name);
        let parse =
            |(key, text): &(String, String)| (key.clone(), AlertTemplate::parse(&name, text));
        Self {
            labels: spec.labels.iter().map(parse).collect(),
            annotations: spec.annotations.iter().map(parse).collect(),
        }
    }
}

/// What an evaluation needs besides the result.
pub(crate) struct Evaluation<'a> {
    pub(crate) spec: &'a RuleSpec,
    pub(crate) texts: &'a Texts,
    pub(crate) external_labels: &'a Labels,
    pub(crate) external_url: &'a str,
    pub(crate) limit: usize,
    /// The slot.
    pub(crate) at: Nanos,
    /// What templates ask.
    pub(crate) query: &'a dyn template::Query,
    pub(crate) cancel: &'a CancelToken,
    pub(crate) budget: &'a Budget,
    /// Whether series are written yet.
    pub(crate) writes: bool,
}

/// A series to write, and its value.
pub(crate) type Written = (Labels, f64);

impl Evaluation<'_> {
    /// Labels and annotations of the alerts of a result, by label set. No alert is changed yet:
    /// templates may take their time and may ask for alerts.
    pub(crate) fn alerts(
        &self,
        samples: &[VectorSample],
    ) -> Result<(Vec<Alert>, Reservation), EvalError> {
        let memory =
            |error: firesteel_model::budget::BudgetError| EvalError::from(error.to_string());
        let mut held = self.budget.reserve(0).map_err(memory)?;
        let mut alerts = Vec::new();
        let mut seen = hashbrown::HashSet::new();
        for (i, sample) in samples.iter().enumerate() {
            if i % LOOK == 0 && self.cancel.is_canceled() {
                return Err(EvalError {
                    text: "evaluation was canceled".to_owned(),
                    canceled: true,
                });
            }
            let alert = self.alert(sample);
            held.grow(alert.bytes()).map_err(memory)?;
            if !seen.insert(alert.labels.clone()) {
                return Err(DUPLICATES.to_owned().into());
            }
            alerts.push(alert);
        }
        Ok((alerts, held))
    }

    fn alert(&self, sample: &VectorSample) -> Alert {
        let data = AlertData {
            labels: &sample.labels,
            external_labels: self.external_labels,
            external_url: self.external_url,
            value: &sample.value,
        };
        let expand = |text: &Result<AlertTemplate, TemplateError>| {
            let text = text.as_ref().map_err(Clone::clone);
            let text = text.and_then(|text| text.expand(&data, to_ms(self.at), self.query));
            text.unwrap_or_else(|error| {
                tracing::warn!(
                    alert = self.spec.name,
                    %error,
                    "expanding an alert's template failed"
                );
                format!("<error expanding template: {error}>")
            })
        };
        let mut builder = sample.labels.to_builder();
        builder.del(METRIC_NAME);
        for (name, text) in &self.texts.labels {
            builder.set(name, &expand(text));
        }
        builder.set(ALERT_NAME, &self.spec.name);
        let annotations = self.texts.annotations.iter();
        let annotations = annotations.map(|(name, text)| (name.clone(), expand(text)));
        let value = match &sample.value {
            SampleValue::Float(v) => *v,
            SampleValue::Histogram(_) => 0.0,
        };
        Alert::new(builder.build(), annotations.collect(), value, self.at)
    }
}

impl Alerts {
    /// Takes over the alerts of an evaluation, and says which series to write.
    pub(crate) fn update(
        &mut self,
        evaluation: &Evaluation<'_>,
        alerts: Vec<Alert>,
        mut held: Reservation,
    ) -> Result<Vec<Written>, EvalError> {
        let mut here = hashbrown::HashSet::with_capacity(alerts.len());
        for alert in alerts {
            here.insert(alert.labels.clone());
            match self.active.get_mut(&alert.labels) {
                Some(known) if known.alert.state != AlertState::Inactive => {
                    known.alert.value = alert.value;
                    known.alert.annotations = alert.annotations;
                }
                _ => {
                    self.active.insert(alert.labels.clone(), Active::new(alert));
                }
            }
        }
        let (spec, at) = (evaluation.spec, evaluation.at);
        let mut count = 0;
        let mut written = Vec::new();
        self.active.retain(|labels, active| {
            if here.contains(labels) {
                active.alert.keep_firing_since = None;
            } else {
                let forget = is_over(&active.alert, at);
                if !keeps_firing(&mut active.alert, spec, at) {
                    return !forget;
                }
            }
            count += 1;
            advance(&mut active.alert, spec, at);
            if evaluation.writes {
                written.extend(active.series(spec));
            }
            true
        });
        if evaluation.limit > 0 && count > evaluation.limit {
            self.clear();
            let limit = evaluation.limit;
            return Err(format!("exceeded limit of {limit} with {count} alerts").into());
        }
        self.account(&mut held)?;
        self.held = Some(held);
        Ok(written)
    }

    /// Reserves what all alerts take, the resolved ones too.
    fn account(&mut self, held: &mut Reservation) -> Result<(), EvalError> {
        let bytes = self.active.values().map(|active| active.alert.bytes()).sum::<u64>();
        let result = match bytes.checked_sub(held.bytes()) {
            Some(more) => held.grow(more).map_err(|error| EvalError::from(error.to_string())),
            None => {
                held.shrink(held.bytes() - bytes);
                Ok(())
            }
        };
        if result.is_err() {
            self.clear();
        }
        result
    }

    fn clear(&mut self) {
        self.active = HashMap::new();
        self.held = None;
    }

    /// The alerts that Alertmanagers should hear of now; they count as sent.
    pub(crate) fn take_unsent(
        &mut self,
        now: Nanos,
        resend_delay: Duration,
        interval: Duration,
    ) -> Vec<Alert> {
        let mut unsent = Vec::new();
        // Two evaluations or two requests may fail.
        let valid = nanos(interval.max(resend_delay)).saturating_mul(4);
        for active in self.active.values_mut() {
            if active.alert.needs_sending(now, resend_delay) {
                active.alert.last_sent_at = Some(now);
                active.alert.valid_until = Some(now.saturating_add(valid));
                unsent.push(active.alert.clone());
            }
        }
        unsent
    }

    /// The highest state of an alert.
    pub(crate) fn state(&self) -> AlertState {
        let states = self.active.values().map(|active| active.alert.state);
        states.max().unwrap_or(AlertState::Inactive).max(AlertState::Inactive)
    }

    /// The alerts that are pending or firing, in order of their labels.
    pub(crate) fn active(&self) -> Vec<Alert> {
        let active = self.active.values().map(|active| &active.alert);
        let mut all: Vec<_> = active.filter(|a| a.resolved_at.is_none()).cloned().collect();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all
    }

    /// Calls `f` for each alert.
    pub(crate) fn for_each(&mut self, mut f: impl FnMut(&mut Alert)) {
        self.active.values_mut().for_each(|active| f(&mut active.alert));
    }
}

/// Whether an alert whose condition is gone need not be remembered.
fn is_over(alert: &Alert, at: Nanos) -> bool {
    alert.state == AlertState::Pending
        || alert.resolved_at.is_some_and(|resolved| at - resolved > nanos(RESOLVED_RETENTION))
}

/// Whether an alert goes on firing though its condition is gone; else it is resolved.
fn keeps_firing(alert: &mut Alert, spec: &RuleSpec, at: Nanos) -> bool {
    if alert.state == AlertState::Firing && !spec.keep_firing_for.is_zero() {
        let since = *alert.keep_firing_since.get_or_insert(at);
        if at - since < nanos(spec.keep_firing_for) {
            return true;
        }
    }
    if alert.state != AlertState::Inactive {
        alert.state = AlertState::Inactive;
        alert.resolved_at = Some(at);
    }
    false
}

/// From pending to firing, and back where `for` has become longer.
fn advance(alert: &mut Alert, spec: &RuleSpec, at: Nanos) {
    let long_enough = at - alert.active_at >= nanos(spec.hold);
    match alert.state {
        AlertState::Pending if long_enough => {
            alert.state = AlertState::Firing;
            alert.fired_at = Some(at);
        }
        AlertState::Firing if !long_enough => {
            alert.state = AlertState::Pending;
            alert.fired_at = None;
            alert.last_sent_at = None;
            alert.keep_firing_since = None;
        }
        _ => {}
    }
}

impl Active {
    /// What both metrics say of it.
    fn series(&mut self, spec: &RuleSpec) -> [Written; 2] {
        let alert = &self.alert;
        let cached = match alert.state {
            AlertState::Firing => &mut self.firing,
            _ => &mut self.pending,
        };
        let alerts = cached.get_or_insert_with(|| {
            let mut builder = base(spec, &alert.labels, ALERTS);
            builder.set(ALERT_STATE, alert.state.as_str());
            builder.build()
        });
        let for_state = self
            .for_state
            .get_or_insert_with(|| base(spec, &alert.labels, ALERTS_FOR_STATE).build());
        let since = to_seconds(alert.active_at) as f64;
        [(alerts.clone(), 1.0), (for_state.clone(), since)]
    }
}

/// Labels of a series about an alert. As in Prometheus a label of the rule that is expanded to
/// nothing is here as it is written.
fn base(spec: &RuleSpec, labels: &Labels, metric: &str) -> LabelsBuilder {
    let mut builder = LabelsBuilder::new();
    let own = spec.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in own.chain(labels) {
        builder.set(name, value);
    }
    builder.set(METRIC_NAME, metric).set(ALERT_NAME, &spec.name);
    builder
}

/// The labels that the series of a rule's alerts have in common, as far as they are known.
pub(crate) fn for_state_labels(spec: &RuleSpec) -> Labels {
    base(spec, &Labels::empty(), ALERTS_FOR_STATE).build()
}

/// Writes the series of an evaluation, in one transaction, with markers for what is gone.
pub(crate) fn write(
    storage: &dyn Appendable,
    written: &[Written],
    t: Timestamp,
    output: &mut Output,
) -> Result<Refused, AppendError> {
    output.begin(written.iter().map(|(labels, _)| labels), |_| false, Labels::clone);
    let rows = written.iter().map(|(key, v)| Row { key, value: Value::Float(*v) });
    let mut appender = storage.appender();
    let refused = output.write(&mut *appender, rows, t);
    output.mark_stale(&mut *appender, t);
    appender.commit()?;
    output.committed();
    Ok(refused)
}
