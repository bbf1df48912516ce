//! A group: its rules are evaluated together, at the same time. Source: `rules/group.go`.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use firesteel_model::{
    Labels, Timestamp,
    storage::{AppendError, CancelToken, QueryContext},
};
use firesteel_promql::QueryOrigin;

use crate::{
    GroupSpec, Nanos,
    alerting::{self, Evaluation},
    batches::batches,
    manager::Shared,
    metrics::GroupMetrics,
    notifier,
    output::{Refused, append_marker},
    query::{EvalError, Querying},
    recording, restore,
    rule::Rule,
    schedule::Slots,
    time::{from_ms, nanos, to_ms},
};

/// A group at work.
#[derive(Debug)]
pub struct Group {
    pub(crate) spec: GroupSpec,
    pub(crate) rules: Vec<Rule>,
    pub(crate) slots: Slots,
    pub(crate) metrics: GroupMetrics,
    /// Which rules may run at the same time.
    batches: Vec<Vec<usize>>,
    origin: Arc<QueryOrigin>,
    /// Series of rules that are no longer there.
    stale: Mutex<Vec<Labels>>,
    times: Mutex<Times>,
    /// Whether to look for the state of alerts from before a restart.
    pub(crate) restores: bool,
    /// No further rule is begun.
    stopped: AtomicBool,
    cancel: CancelToken,
}

/// When the group was evaluated last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// When it began.
    pub(crate) began: Option<Nanos>,
    pub(crate) took: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    pub(crate) fn new(spec: GroupSpec, restores: bool) -> Self {
        let rules = spec.rules.iter().map(|rule| Rule::new(rule.clone(), !restores)).collect();
        let origin = QueryOrigin::Rule { file: spec.file.clone(), group: spec.name.clone() };
        Self {
            rules,
            slots: Slots::new(&spec.file, &spec.name, nanos(spec.interval)),
            metrics: GroupMetrics::default(),
            batches: batches(&spec),
            origin: Arc::new(origin),
            stale: Mutex::default(),
            times: Mutex::default(),
            restores,
            stopped: AtomicBool::new(false),
            cancel: CancelToken::new(),
            spec,
        }
    }

    /// Its name, the only one in its file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The file it is from.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.spec.file
    }

    /// What it was made of.
    #[must_use]
    pub const fn spec(&self) -> &GroupSpec {
        &self.spec
    }

    /// What metrics call it.
    pub(crate) fn key(&self) -> String {
        format!("{};{}", self.spec.file, self.spec.name)
    }

    pub(crate) fn times(&self) -> Times {
        *lock(&self.times)
    }

    /// No further rule is begun; the one that runs is waited for.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Queries that run fail.
    pub(crate) fn cancel(&self) {
        self.stop();
        self.cancel.cancel();
    }

    /// The time of samples, and of queries.
    fn offset_ms(&self, at: Nanos) -> Timestamp {
        to_ms(at.saturating_sub(nanos(self.spec.query_offset)))
    }

    /// Evaluates all rules for a slot. Blocks.
    pub(crate) fn evaluate(&self, shared: &Shared, at: Nanos) {
        let (began, clock) = (shared.clock.now(), shared.clock.monotonic());
        self.metrics.scheduled.inc();
        let samples = self.evaluate_rules(shared, at);
        if let Some(samples) = samples {
            self.metrics.samples.store(samples as u64, Ordering::Relaxed);
            self.clean_stale(shared, at);
        }
        let took = shared.clock.monotonic().saturating_sub(clock);
        shared.metrics.iterated(took);
        let sum: Duration = self.rules.iter().map(|rule| rule.status().took).sum();
        self.metrics.last_rule_duration_sum.set(sum.as_secs_f64());
        self.metrics.last_duration.set(took.as_secs_f64());
        self.metrics.last_evaluation.set(began as f64 / 1000.0);
        *lock(&self.times) = Times { began: Some(from_ms(began)), took };
    }

    /// The samples that they gave; `None` where the group was stopped meanwhile.
    fn evaluate_rules(&self, shared: &Shared, at: Nanos) -> Option<usize> {
        let samples = AtomicUsize::new(0);
        let one = |index: usize| {
            if let Some(rule) = self.rules.get(index) {
                samples.fetch_add(self.evaluate_rule(shared, rule, at), Ordering::Relaxed);
            }
        };
        let stopped = || self.stopped.load(Ordering::Acquire);
        if let Some(places) = &shared.concurrency {
            for batch in &self.batches {
                let next = AtomicUsize::new(0);
                let work = || {
                    while let Some(index) = batch.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if stopped() {
                            return;
                        }
                        one(*index);
                    }
                };
                std::thread::scope(|scope| {
                    for _ in 1..batch.len() {
                        let Ok(place) = Arc::clone(places).try_acquire_owned() else { break };
                        scope.spawn(move || {
                            work();
                            drop(place);
                        });
                    }
                    work();
                });
            }
        } else {
            for index in 0..self.rules.len() {
                if stopped() {
                    return None;
                }
                one(index);
            }
        }
        (!stopped()).then(|| samples.into_inner())
    }

    /// Evaluates a rule: how many samples it gave.
    fn evaluate_rule(&self, shared: &Shared, rule: &Rule, at: Nanos) -> usize {
        let (began, clock) = (shared.clock.now(), shared.clock.monotonic());
        self.metrics.evaluations.inc();
        let result = if rule.is_alerting() {
            self.alert(shared, rule, at)
        } else {
            self.record(shared, rule, at)
        };
        let samples = match result {
            Ok((samples, refused)) => {
                self.say_refused(rule, &refused);
                rule.set_health(refused.error.map(|error| error.to_string()));
                samples
            }
            Err(error) => {
                self.metrics.failures.inc();
                if !error.canceled {
                    let (file, group) = (&self.spec.file, &self.spec.name);
                    let (name, error) = (&rule.spec.name, &error.text);
                    tracing::warn!(file, group, name, error, "evaluating a rule failed");
                }
                rule.set_health(Some(error.text));
                0
            }
        };
        let took = shared.clock.monotonic().saturating_sub(clock);
        shared.metrics.evaluated(took);
        rule.set_evaluated(from_ms(began), took);
        samples
    }

    fn querying<'a>(&'a self, shared: &'a Shared, at: Nanos) -> Querying<'a> {
        Querying {
            engine: &shared.engine,
            storage: &*shared.queryable,
            cancel: &self.cancel,
            origin: &self.origin,
            at: to_ms(at),
        }
    }

    fn record(
        &self,
        shared: &Shared,
        rule: &Rule,
        at: Nanos,
    ) -> Result<(usize, Refused), EvalError> {
        let t = self.offset_ms(at);
        let answer = self.querying(shared, at).vector(&rule.spec.expr, t)?;
        let mut output = rule.output();
        recording::prepare(&rule.spec, self.spec.limit, &answer.samples, &mut output)?;
        let refused = recording::write(&*shared.appendable, &answer.samples, t, &mut output)
            .map_err(append_error)?;
        Ok((answer.samples.len(), refused))
    }

    fn alert(
        &self,
        shared: &Shared,
        rule: &Rule,
        at: Nanos,
    ) -> Result<(usize, Refused), EvalError> {
        let t = self.offset_ms(at);
        let querying = self.querying(shared, at);
        let evaluation = Evaluation {
            spec: &rule.spec,
            texts: &rule.texts,
            external_labels: &self.spec.external_labels,
            external_url: &self.spec.external_url,
            limit: self.spec.limit,
            at,
            query: &querying,
            cancel: &self.cancel,
            budget: &shared.budget,
            writes: rule.is_restored(),
        };
        let answer = querying.vector(&rule.spec.expr, t)?;
        let (alerts, held) = evaluation.alerts(&answer.samples)?;
        drop(answer);
        let written = rule.alerts().update(&evaluation, alerts, held)?;
        self.send(shared, rule, at);
        let mut output = rule.output();
        let refused =
            alerting::write(&*shared.appendable, &written, t, &mut output).map_err(append_error)?;
        Ok((written.len(), refused))
    }

    fn send(&self, shared: &Shared, rule: &Rule, at: Nanos) {
        let unsent = rule.alerts().take_unsent(at, shared.resend_delay, self.spec.interval);
        if unsent.is_empty() {
            return;
        }
        let url = notifier::generator_url(&self.spec.external_url, &rule.spec.query);
        let alert = |alert: alerting::Alert| notifier::Alert {
            labels: alert.labels,
            annotations: alert.annotations,
            starts_at: alert.fired_at,
            ends_at: alert.resolved_at.or(alert.valid_until),
            generator_url: Arc::clone(&url),
        };
        shared.notify.send(unsent.into_iter().map(alert).collect());
    }

    fn say_refused(&self, rule: &Rule, refused: &Refused) {
        let (file, group, name) = (&self.spec.file, &self.spec.name, &rule.spec.name);
        for (what, dropped) in [
            ("out of order", refused.out_of_order),
            ("too old", refused.too_old),
            ("with another value at the same time", refused.duplicates),
        ] {
            if dropped > 0 {
                tracing::warn!(
                    file,
                    group,
                    name,
                    dropped,
                    "results of a rule were refused: {what}"
                );
            }
        }
    }

    /// Marks the series of rules that are no longer there.
    pub(crate) fn clean_stale(&self, shared: &Shared, at: Nanos) {
        let mut stale = lock(&self.stale);
        if stale.is_empty() {
            return;
        }
        let t = self.offset_ms(at);
        let mut appender = shared.appendable.appender();
        for labels in &*stale {
            append_marker(&mut *appender, labels, t);
        }
        match appender.commit() {
            Ok(_) => stale.clear(),
            Err(error) => tracing::warn!(%error, "marking series of earlier rules failed"),
        }
    }

    /// All series that it wrote are without a rule now.
    pub(crate) fn abandon(&self) {
        let mut stale = lock(&self.stale);
        for rule in &self.rules {
            stale.extend(rule.output().written().cloned());
        }
    }

    /// Takes over the state of the group that it replaces. Rules are the same by name and labels;
    /// of several the first is the first.
    pub(crate) fn take_over(&self, from: &Self) {
        *lock(&self.times) = from.times();
        let mut left: Vec<Option<&Rule>> = from.rules.iter().map(Some).collect();
        for rule in &self.rules {
            let same = |old: &&mut Option<&Rule>| old.is_some_and(|old| rule.continues(old));
            if let Some(old) = left.iter_mut().find(same).and_then(Option::take) {
                rule.take_over(old);
            }
        }
        let mut stale = lock(&self.stale);
        stale.append(&mut lock(&from.stale));
        for rule in left.into_iter().flatten() {
            stale.extend(rule.output().written().cloned());
        }
    }

    /// Looks for the state of alerts from before a restart. Blocks.
    pub(crate) fn restore(&self, shared: &Shared) {
        let began = shared.clock.monotonic();
        let now = from_ms(shared.clock.now());
        for rule in self.rules.iter().filter(|rule| rule.is_alerting()) {
            let options = shared.engine.options();
            let mut ctx = QueryContext::new(
                Arc::clone(&shared.clock),
                options.budget.child("restoring alerts", options.query_bytes),
            )
            .with_timeout(options.timeout);
            ctx.cancel = self.cancel.clone();
            restore::restore(rule, &*shared.queryable, &ctx, now, shared.restoring);
        }
        let took = shared.clock.monotonic().saturating_sub(began);
        self.metrics.last_restore_duration.set(took.as_secs_f64());
    }
}

fn append_error(error: AppendError) -> EvalError {
    error.to_string().into()
}
