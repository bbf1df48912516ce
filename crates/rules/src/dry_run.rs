//! Dry runs: when an alerting rule would have been pending and firing. One range query gives the
//! rule's condition at all times; the alerts then go through the same states as in a group.

use std::collections::BTreeMap;

use firesteel_model::{
    Labels, Timestamp,
    budget::Budget,
    storage::{CancelToken, Queryable},
};
use firesteel_promql::{Engine, QueryOptions, QueryValue, RangeSeries, SampleValue, VectorSample};

use crate::{
    AlertState, GroupSpec, RuleSpec,
    alerting::{Alerts, Evaluation, Texts},
    template::Query,
    time::{from_ms, nanos},
};

/// What a dry run found.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DryRun {
    /// How many evaluations there would have been.
    pub evaluations: usize,
    /// The alerts in order of their labels.
    pub alerts: Vec<AlertHistory>,
}

/// How an alert would have been.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AlertHistory {
    /// What identifies it.
    pub labels: Labels,
    /// Its states in order of time. Between two of them that do not meet there was no alert.
    pub spans: Vec<AlertSpan>,
}

/// A time in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlertSpan {
    /// Pending or firing.
    pub state: AlertState,
    /// The evaluation that brought it there, milliseconds.
    pub from: Timestamp,
    /// The first evaluation that found it otherwise; `None` where the dry run ended before.
    pub until: Option<Timestamp>,
}

/// What templates of labels ask, at a time.
pub type AskAt<'a> = dyn Fn(&str, Timestamp) -> Result<Vec<(Labels, SampleValue)>, String> + 'a;

struct Asking<'a> {
    ask: &'a AskAt<'a>,
    at: Timestamp,
}

impl Query for Asking<'_> {
    fn query(&self, text: &str) -> Result<Vec<(Labels, SampleValue)>, String> {
        (self.ask)(text, self.at)
    }
}

/// The time of queries that are evaluated for `t`.
fn offset(group: &GroupSpec, t: Timestamp) -> Timestamp {
    t.saturating_sub(nanos(group.query_offset) / 1_000_000)
}

fn step(group: &GroupSpec) -> Timestamp {
    (nanos(group.interval) / 1_000_000).max(1)
}

/// Evaluates an alerting rule at `start` and every interval of its group up to `end`, milliseconds.
/// Alerts that were active before `start` begin there. Blocks for one range query, and one instant
/// query for each that the template of a label asks.
///
/// # Errors
/// The query fails, or what it gives cannot be alerts.
pub fn dry_run(
    engine: &Engine,
    storage: &dyn Queryable,
    (group, rule): (&GroupSpec, &RuleSpec),
    (start, end): (Timestamp, Timestamp),
    cancel: &CancelToken,
) -> Result<DryRun, String> {
    let options = QueryOptions { cancel: cancel.clone(), ..QueryOptions::default() };
    let (from, to) = (offset(group, start), offset(group, end));
    let result = engine
        .range(storage, &rule.query, from, to, group.interval, &options)
        .map_err(|error| error.to_string())?;
    let QueryValue::Matrix(series) = &result.value else {
        return Err("rule result is not a vector or scalar".to_owned());
    };
    let ask = |text: &str, at: Timestamp| {
        let result = engine.instant(storage, text, at, &options).map_err(|e| e.to_string())?;
        match result.value {
            QueryValue::Vector(samples) => {
                Ok(samples.into_iter().map(|s| (s.labels, s.value)).collect())
            }
            QueryValue::Scalar(s) => Ok(vec![(Labels::empty(), SampleValue::Float(s.v))]),
            _ => Err("rule result is not a vector or scalar".to_owned()),
        }
    };
    replay((group, rule), (start, end), series, &ask, cancel)
}

/// [`dry_run`] where the result of the range query, with the interval of the group for a step, is
/// there already.
///
/// # Errors
/// What the query gave cannot be alerts, or it was canceled.
pub fn replay(
    (group, rule): (&GroupSpec, &RuleSpec),
    (start, end): (Timestamp, Timestamp),
    series: &[RangeSeries],
    ask: &AskAt<'_>,
    cancel: &CancelToken,
) -> Result<DryRun, String> {
    // Annotations identify nothing.
    let rule = RuleSpec { annotations: Vec::new(), ..rule.clone() };
    let (budget, texts) = (Budget::unlimited(), Texts::of(&rule));
    let mut cursors: Vec<Cursor<'_>> = series.iter().map(Cursor::new).collect();
    let mut alerts = Alerts::default();
    let mut history = History::default();
    let mut run = DryRun::default();
    let mut t = start;
    while t <= end {
        let at = offset(group, t);
        let samples: Vec<VectorSample> = cursors.iter_mut().filter_map(|c| c.at(at)).collect();
        let asking = Asking { ask, at: t };
        let evaluation = Evaluation {
            spec: &rule,
            texts: &texts,
            external_labels: &group.external_labels,
            external_url: &group.external_url,
            limit: group.limit,
            at: from_ms(t),
            query: &asking,
            cancel,
            budget: &budget,
            writes: false,
        };
        // An evaluation that fails leaves the alerts as they are, or clears them.
        let updated = evaluation
            .alerts(&samples)
            .and_then(|(found, held)| alerts.update(&evaluation, found, held));
        if let Err(error) = updated
            && error.canceled
        {
            return Err(error.text);
        }
        history.note(&alerts, t);
        run.evaluations += 1;
        t = t.saturating_add(step(group));
    }
    run.alerts = history.finish();
    Ok(run)
}

/// A place in a series.
struct Cursor<'a> {
    series: &'a RangeSeries,
    float: usize,
    histogram: usize,
}

impl<'a> Cursor<'a> {
    const fn new(series: &'a RangeSeries) -> Self {
        Self { series, float: 0, histogram: 0 }
    }

    /// The sample at a time; times must ascend.
    fn at(&mut self, t: Timestamp) -> Option<VectorSample> {
        let (floats, histograms) = (&self.series.floats, &self.series.histograms);
        while floats.get(self.float).is_some_and(|sample| sample.t < t) {
            self.float += 1;
        }
        while histograms.get(self.histogram).is_some_and(|(time, _)| *time < t) {
            self.histogram += 1;
        }
        let float = floats.get(self.float).filter(|sample| sample.t == t);
        let histogram = histograms.get(self.histogram).filter(|(time, _)| *time == t);
        let value = match (float, histogram) {
            (Some(sample), _) => SampleValue::Float(sample.v),
            (None, Some((_, histogram))) => SampleValue::Histogram(Box::new(histogram.clone())),
            (None, None) => return None,
        };
        Some(VectorSample { labels: self.series.labels.clone(), t, value })
    }
}

/// The states of all alerts so far.
#[derive(Default)]
struct History(BTreeMap<Labels, Vec<AlertSpan>>);

impl History {
    /// Takes down how the alerts are.
    fn note(&mut self, alerts: &Alerts, t: Timestamp) {
        let mut active: BTreeMap<Labels, AlertState> =
            alerts.active().into_iter().map(|alert| (alert.labels, alert.state)).collect();
        for (labels, spans) in &mut self.0 {
            let now = active.remove(labels);
            let open = spans.last_mut().filter(|span| span.until.is_none());
            match (open, now) {
                (Some(span), Some(state)) if span.state == state => {}
                (open, now) => {
                    if let Some(span) = open {
                        span.until = Some(t);
                    }
                    spans.extend(now.map(|state| AlertSpan { state, from: t, until: None }));
                }
            }
        }
        for (labels, state) in active {
            self.0.insert(labels, vec![AlertSpan { state, from: t, until: None }]);
        }
    }

    fn finish(self) -> Vec<AlertHistory> {
        self.0.into_iter().map(|(labels, spans)| AlertHistory { labels, spans }).collect()
    }
}

#[cfg(test)]
mod tests {
    use firesteel_model::storage::memory::MemoryStorage;

    use super::*;
    use crate::{LoadOptions, load_text};

    const MINUTE: Timestamp = 60_000;

    fn run(rule: &str, up: &[f64]) -> DryRun {
        let text = format!("groups: [{{name: g, interval: 1m, rules: [{rule}]}}]");
        let groups = load_text("r.yml", &text, &LoadOptions::default()).unwrap();
        let samples = up.iter().enumerate().map(|(i, v)| (i as i64 * MINUTE, *v)).collect();
        let pairs = vec![("__name__", "up"), ("instance", "a")];
        let storage = MemoryStorage::from_floats([(pairs, samples)]).unwrap();
        let end = (up.len() as i64 - 1) * MINUTE;
        let rule = (&groups[0], &groups[0].rules[0]);
        dry_run(&Engine::default(), &storage, rule, (0, end), &CancelToken::new()).unwrap()
    }

    fn spans(run: &DryRun) -> Vec<(&str, AlertState, i64, Option<i64>)> {
        let minute = |t: Timestamp| t / MINUTE;
        let alerts = run.alerts.iter().flat_map(|alert| {
            let name = alert.labels.get("severity").unwrap_or_default();
            alert.spans.iter().map(move |s| (name, s.state, minute(s.from), s.until.map(minute)))
        });
        alerts.collect()
    }

    #[test]
    fn alerts_are_pending_then_firing_then_gone() {
        use AlertState::{Firing, Pending};
        let up = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let run = run("{alert: Down, expr: up == 0, for: 2m}", &up);
        assert_eq!(run.evaluations, 8);
        let expected =
            [("", Pending, 1, Some(3)), ("", Firing, 3, Some(5)), ("", Pending, 6, None)];
        assert_eq!(spans(&run), expected);
    }

    #[test]
    fn labels_are_templates_and_alerts_keep_firing() {
        use AlertState::Firing;
        let rule = "{alert: Down, expr: up < 2, keep_firing_for: 2m, labels: {severity: \
                    \"{{ if eq $value 0.0 }}page{{ else }}ticket{{ end }}\"}}";
        let run = run(rule, &[0.0, 1.0, 1.0, 1.0]);
        // The first keeps firing for two minutes after its condition was gone.
        assert_eq!(spans(&run), [("page", Firing, 0, Some(3)), ("ticket", Firing, 1, None)]);
    }
}
