//! What an alerting rule would have done over samples that are there. Ours.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use firesteel_config::RuleKind;
use firesteel_model::{
    Labels, Sample, Timestamp,
    budget::Budget,
    storage::{CancelToken, Queryable},
};
use firesteel_promql::{
    Engine, QueryOptions, QueryOrigin, QueryValue, RangeSeries, SampleValue, VectorSample,
};

use crate::{
    AlertState, GroupSpec, Nanos, RuleSpec,
    alerting::{Alerts, Evaluation},
    query::Querying,
    schedule::Slots,
    time::{from_ms, nanos, to_ms},
};

/// As many evaluations as Prometheus gives points of a range query.
const MAX_EVALUATIONS: i64 = 11_000;

/// What an alerting rule would have done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DryRun {
    /// When it would have been evaluated first.
    pub first: Nanos,
    /// How often.
    pub evaluations: u64,
    /// Its alerts, in order of their labels.
    pub alerts: Vec<DryAlert>,
}

/// An alert that would have been.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DryAlert {
    /// What identifies it.
    pub labels: Labels,
    /// When it would have been pending, firing and inactive again, in order; a state lasts until
    /// the next one or the end.
    pub changes: Vec<(Nanos, AlertState)>,
}

impl DryAlert {
    /// For how long it would have fired up to `end`.
    #[must_use]
    pub fn fired_for(&self, end: Nanos) -> Duration {
        let ends = self.changes.iter().skip(1).map(|change| change.0).chain([end]);
        let firing = self.changes.iter().zip(ends).filter(|((_, s), _)| *s == AlertState::Firing);
        firing.map(|((from, _), to)| crate::time::duration(to - from)).sum()
    }
}

/// Evaluates an alerting rule of `group` at the group's own times from `start` to `end`, both
/// inclusive, in milliseconds. Nothing is written or sent. Blocks: costs a range query, and for
/// each time the labels' templates of the alerts that are active then.
///
/// # Errors
/// It is no alerting rule, there are more than 11 000 times, or the query fails.
pub fn dry_run(
    engine: &Engine,
    storage: &dyn Queryable,
    group: &GroupSpec,
    rule: &RuleSpec,
    start: Timestamp,
    end: Timestamp,
) -> Result<DryRun, String> {
    if rule.kind != RuleKind::Alerting {
        return Err(format!("{} is no alerting rule", rule.name));
    }
    let slots = Slots::new(&group.file, &group.name, nanos(group.interval));
    let interval = slots.interval();
    let first = slots.before(from_ms(start).saturating_sub(1)).saturating_add(interval);
    let times = (from_ms(end) - first).div_euclid(interval) + 1;
    if times > MAX_EVALUATIONS {
        return Err(format!(
            "{times} evaluations, more than {MAX_EVALUATIONS}: take a shorter time"
        ));
    }
    let mut replay = Replay::new(engine, storage, group, rule);
    if times < 1 {
        return Ok(replay.finish(first, 0));
    }
    let rows = replay.query(first, times)?;
    let mut next = vec![0; rows.len()];
    for i in 0..times {
        let at = first + i * interval;
        let t = replay.time(at);
        let mut samples = Vec::new();
        for (series, next) in rows.iter().zip(&mut next) {
            if let Some(value) = take(series, next, t) {
                samples.push(VectorSample { labels: series.labels.clone(), t, value });
            }
        }
        replay.step(at, &samples)?;
    }
    Ok(replay.finish(first, times.unsigned_abs()))
}

/// The sample of a series at a time; those before it are passed over.
fn take(series: &RangeSeries, next: &mut usize, t: Timestamp) -> Option<SampleValue> {
    while series.floats.get(*next).is_some_and(|s| s.t < t) {
        *next += 1;
    }
    match series.floats.get(*next) {
        Some(Sample { t: at, v }) if *at == t => Some(SampleValue::Float(*v)),
        _ => {
            let found = series.histograms.binary_search_by_key(&t, |(t, _)| *t).ok()?;
            Some(SampleValue::Histogram(Box::new(series.histograms.get(found)?.1.clone())))
        }
    }
}

struct Replay<'a> {
    engine: &'a Engine,
    storage: &'a dyn Queryable,
    group: &'a GroupSpec,
    /// Without annotations, which nobody reads.
    rule: RuleSpec,
    origin: Arc<QueryOrigin>,
    cancel: CancelToken,
    budget: Budget,
    alerts: Alerts,
    changes: BTreeMap<Labels, Vec<(Nanos, AlertState)>>,
}

impl<'a> Replay<'a> {
    fn new(
        engine: &'a Engine,
        storage: &'a dyn Queryable,
        group: &'a GroupSpec,
        rule: &RuleSpec,
    ) -> Self {
        let (file, name) = (group.file.clone(), group.name.clone());
        let options = engine.options();
        Self {
            engine,
            storage,
            group,
            rule: RuleSpec { annotations: Vec::new(), ..rule.clone() },
            origin: Arc::new(QueryOrigin::Rule { file, group: name }),
            cancel: CancelToken::new(),
            budget: options.budget.child("dry run", options.query_bytes),
            alerts: Alerts::default(),
            changes: BTreeMap::new(),
        }
    }

    /// When the rule asks at a slot.
    fn time(&self, at: Nanos) -> Timestamp {
        to_ms(at.saturating_sub(nanos(self.group.query_offset)))
    }

    fn query(&self, first: Nanos, times: i64) -> Result<Vec<RangeSeries>, String> {
        let step = Duration::from_nanos(self.group.interval.as_nanos() as u64);
        let start = self.time(first);
        let ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let end = start.saturating_add(ms.saturating_mul(times - 1));
        let options = QueryOptions {
            cancel: self.cancel.clone(),
            origin: Some(Arc::clone(&self.origin)),
            ..QueryOptions::default()
        };
        let (engine, query) = (self.engine, &*self.rule.query);
        let result = engine.range(self.storage, query, start, end, step, &options);
        match result.map_err(|error| error.to_string())?.value {
            QueryValue::Matrix(series) => Ok(series),
            _ => Ok(Vec::new()),
        }
    }

    fn step(&mut self, at: Nanos, samples: &[VectorSample]) -> Result<(), String> {
        let querying = Querying {
            engine: self.engine,
            storage: self.storage,
            cancel: &self.cancel,
            origin: &self.origin,
            at: to_ms(at),
        };
        let evaluation = Evaluation {
            spec: &self.rule,
            external_labels: &self.group.external_labels,
            external_url: &self.group.external_url,
            limit: self.group.limit,
            at,
            querying: &querying,
            budget: &self.budget,
            writes: false,
        };
        let (alerts, held) = evaluation.alerts(samples).map_err(|error| error.text)?;
        self.alerts.update(&evaluation, alerts, held).map_err(|error| error.text)?;
        let changes = &mut self.changes;
        // A pending alert that ends is forgotten at once; others are inactive for a while.
        let mut active = BTreeMap::new();
        self.alerts.for_each(|alert| {
            active.insert(alert.labels.clone(), alert.state);
        });
        for (labels, states) in changes.iter_mut() {
            let now = active.remove(labels).unwrap_or(AlertState::Inactive);
            if states.last().is_some_and(|(_, last)| *last != now) {
                states.push((at, now));
            }
        }
        changes.extend(active.into_iter().map(|(labels, state)| (labels, vec![(at, state)])));
        Ok(())
    }

    fn finish(self, first: Nanos, evaluations: u64) -> DryRun {
        let alert = |(labels, changes)| DryAlert { labels, changes };
        DryRun { first, evaluations, alerts: self.changes.into_iter().map(alert).collect() }
    }
}
