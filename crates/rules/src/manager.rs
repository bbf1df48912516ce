//! All groups: takes rules, evaluates each group at its time. Source: `rules/manager.go`.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use firesteel_model::{
    budget::Budget,
    clock::Clock,
    metrics::{Collect, Families},
    storage::{Appendable, Queryable},
};
use firesteel_promql::Engine;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Group, GroupSpec, Nanos,
    metrics::RuleMetrics,
    notifier,
    restore::Restoring,
    time::{duration, from_ms},
};

/// How long evaluations that run may go on when everything stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Where alerts go.
pub trait Notify: Send + Sync {
    /// Takes alerts to send, and returns at once.
    fn send(&self, alerts: Vec<notifier::Alert>);
}

/// Options of a [`RuleManager`].
#[derive(Clone)]
pub struct ManagerOptions {
    /// What evaluates queries.
    pub engine: Arc<Engine>,
    /// What queries see.
    pub queryable: Arc<dyn Queryable>,
    /// Where results go.
    pub appendable: Arc<dyn Appendable>,
    /// Where alerts go.
    pub notify: Arc<dyn Notify>,
    /// Where the time comes from. Waiting goes by tokio's clock.
    pub clock: Arc<dyn Clock>,
    /// Memory of alerts.
    pub budget: Budget,
    /// An outage longer than this ends pending alerts.
    pub outage_tolerance: Duration,
    /// An alert that is restored after an outage waits at least so long before it fires.
    pub grace_period: Duration,
    /// How long to wait before an alert that still fires is sent again.
    pub resend_delay: Duration,
    /// How many rules that do not depend on one another may be evaluated at a time besides the one
    /// of each group that runs anyway; `None` for one after the other.
    pub concurrency: Option<usize>,
}

impl fmt::Debug for ManagerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerOptions")
            .field("outage_tolerance", &self.outage_tolerance)
            .field("grace_period", &self.grace_period)
            .field("resend_delay", &self.resend_delay)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

impl ManagerOptions {
    /// Prometheus' defaults.
    pub fn new(
        engine: Arc<Engine>,
        queryable: Arc<dyn Queryable>,
        appendable: Arc<dyn Appendable>,
        notify: Arc<dyn Notify>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            engine,
            queryable,
            appendable,
            notify,
            clock,
            budget: Budget::unlimited(),
            outage_tolerance: Duration::from_secs(3600),
            grace_period: Duration::from_secs(600),
            resend_delay: Duration::from_secs(60),
            concurrency: None,
        }
    }
}

/// What all groups share.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) queryable: Arc<dyn Queryable>,
    pub(crate) appendable: Arc<dyn Appendable>,
    pub(crate) notify: Arc<dyn Notify>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) budget: Budget,
    pub(crate) restoring: Restoring,
    pub(crate) resend_delay: Duration,
    pub(crate) concurrency: Option<Arc<Semaphore>>,
    pub(crate) metrics: RuleMetrics,
}

impl Shared {
    pub(crate) fn new(options: ManagerOptions) -> Self {
        let restoring = Restoring {
            outage_tolerance: options.outage_tolerance,
            grace_period: options.grace_period,
        };
        Self {
            engine: options.engine,
            queryable: options.queryable,
            appendable: options.appendable,
            notify: options.notify,
            clock: options.clock,
            budget: options.budget,
            restoring,
            resend_delay: options.resend_delay,
            concurrency: options.concurrency.map(|n| Arc::new(Semaphore::new(n))),
            metrics: RuleMetrics::default(),
        }
    }

    fn now(&self) -> Nanos {
        from_ms(self.clock.now())
    }
}

/// A group and the task that evaluates it.
struct Running {
    group: Arc<Group>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    groups: BTreeMap<(String, String), Running>,
    /// Whether rules were applied before: those that come later have nothing to restore.
    applied: bool,
    /// Groups that were removed and are to be marked.
    leaving: Vec<JoinHandle<()>>,
    stopped: bool,
}

/// Evaluates rules. Its tasks run on the tokio runtime it was made on, evaluations on that
/// runtime's blocking threads.
pub struct RuleManager {
    shared: Arc<Shared>,
    runtime: Handle,
    stop: CancellationToken,
    state: Mutex<State>,
}

impl fmt::Debug for RuleManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RuleManager({} groups)", self.state().groups.len())
    }
}

impl Drop for RuleManager {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl RuleManager {
    /// A manager without rules. Must be called on a tokio runtime.
    ///
    /// # Panics
    /// Outside of one.
    #[must_use]
    pub fn new(options: ManagerOptions) -> Self {
        Self {
            shared: Arc::new(Shared::new(options)),
            runtime: Handle::current(),
            stop: CancellationToken::new(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts rules into force. Groups that did not change go on as they are; those that did take
    /// over the state of their rules; the series of those that are gone are marked two intervals
    /// later. Returns at once.
    pub fn apply(&self, specs: Vec<GroupSpec>) {
        let mut state = self.state();
        if state.stopped {
            return;
        }
        let restores = !std::mem::replace(&mut state.applied, true);
        let mut old = std::mem::take(&mut state.groups);
        let mut groups = BTreeMap::new();
        for spec in specs {
            let key = (spec.file.clone(), spec.name.clone());
            let running = match old.remove(&key) {
                Some(same) if same.group.spec == spec => same,
                earlier => self.start(Group::new(spec, restores), earlier),
            };
            groups.insert(key, running);
        }
        state.leaving.retain(|task| !task.is_finished());
        state.leaving.extend(old.into_values().map(|gone| self.leave(gone)));
        state.groups = groups;
    }

    fn start(&self, group: Group, earlier: Option<Running>) -> Running {
        let (group, stop) = (Arc::new(group), self.stop.child_token());
        let runner = Runner {
            shared: Arc::clone(&self.shared),
            group: Arc::clone(&group),
            stop: stop.clone(),
        };
        let task = self.runtime.spawn(async move {
            if let Some(mut earlier) = earlier {
                earlier.end().await;
                runner.group.take_over(&earlier.group);
            }
            runner.run().await;
        });
        Running { group, stop, task }
    }

    /// Marks the series of a group that is gone, once its rules could begin elsewhere.
    fn leave(&self, mut gone: Running) -> JoinHandle<()> {
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        self.runtime.spawn(async move {
            gone.end().await;
            let at = shared.now();
            let pause = gone.group.spec.interval.saturating_mul(2);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
            let marked = tokio::task::spawn_blocking(move || {
                gone.group.abandon();
                gone.group.clean_stale(&shared, at);
            });
            let _ = marked.await;
        })
    }

    /// The groups, in order of their files and names.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.state().groups.values().map(|running| Arc::clone(&running.group)).collect()
    }

    /// Stops evaluating, for good; waits for what runs, a few seconds at most. No markers are
    /// written: series go on after a restart.
    pub async fn shutdown(&self) {
        let (groups, leaving) = {
            let mut state = self.state();
            state.stopped = true;
            (std::mem::take(&mut state.groups), std::mem::take(&mut state.leaving))
        };
        self.stop.cancel();
        groups.values().for_each(|running| running.group.stop());
        let held: Vec<_> = groups.values().map(|running| Arc::clone(&running.group)).collect();
        let mut ends = Box::pin(async {
            for mut running in groups.into_values() {
                running.end().await;
            }
            for task in leaving {
                let _ = task.await;
            }
        });
        if timeout(STOP_PATIENCE, &mut ends).await.is_err() {
            tracing::warn!("cancelling rules that are still being evaluated");
            held.iter().for_each(|group| group.cancel());
            let _ = timeout(STOP_PATIENCE, ends).await;
        }
    }
}

impl Running {
    /// Stops it, and waits for the rule that runs.
    async fn end(&mut self) {
        self.group.stop();
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

/// Evaluates a group at its times.
struct Runner {
    shared: Arc<Shared>,
    group: Arc<Group>,
    stop: CancellationToken,
}

impl Runner {
    /// Until it is told to stop; an evaluation is not left half done.
    async fn run(&self) {
        let slots = self.group.slots;
        let mut at = slots.before(self.shared.now()).saturating_add(slots.interval());
        if !self.pause(at - self.shared.now()).await {
            return;
        }
        self.evaluate(at).await;
        let mut restores = self.group.restores;
        while let Some(next) = self.next(at).await {
            at = next;
            self.evaluate(at).await;
            // After the second evaluation: what alerts depend on may not have been scraped or
            // recorded before.
            if std::mem::take(&mut restores) {
                self.blocking(|group, shared| group.restore(shared)).await;
            }
        }
    }

    /// Waits; false if it is time to stop.
    async fn pause(&self, nanos: i64) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = sleep(duration(nanos)) => true,
        }
    }

    /// Waits for the slot after `last`.
    async fn next(&self, last: Nanos) -> Option<Nanos> {
        let slots = self.group.slots;
        loop {
            // However the wall clock jumps, never longer than an interval.
            let left = last + slots.interval() - self.shared.now();
            if !self.pause(left.clamp(1_000_000, slots.interval())).await {
                return None;
            }
            if let Some((at, missed)) = slots.next(last, self.shared.now()) {
                self.group.metrics.missed.add(missed);
                self.group.metrics.scheduled.add(missed);
                return Some(at);
            }
        }
    }

    async fn evaluate(&self, at: Nanos) {
        self.blocking(move |group, shared| group.evaluate(shared, at)).await;
    }

    async fn blocking(&self, work: impl FnOnce(&Group, &Shared) + Send + 'static) {
        let (group, shared) = (Arc::clone(&self.group), Arc::clone(&self.shared));
        if let Err(error) = tokio::task::spawn_blocking(move || work(&group, &shared)).await {
            tracing::error!(group = self.group.key(), %error, "evaluating failed; this is a bug");
        }
    }
}

impl Collect for RuleManager {
    fn collect(&self, out: &mut Families) {
        self.shared.metrics.collect(out);
        for group in self.groups() {
            let spec = &group.spec;
            group.metrics.collect(&group.key(), spec.interval, spec.rules.len(), out);
        }
    }
}
