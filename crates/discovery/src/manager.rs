//! Runs the discoverers of all jobs and merges what they find. Source: `discovery/manager.go`.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use firesteel_config::DiscoveryConfig;
use firesteel_model::metrics::{Collect, Families};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    Discoverer, DiscoveryError, Source, TargetGroup, Updates,
    discoverer::Update,
    metrics::ManagerMetrics,
    provider::{Identity, Provider},
};

/// Makes a discoverer of a section; [`Mechanisms::discoverer`](crate::Mechanisms::discoverer) is one.
pub type MakeDiscoverer =
    dyn Fn(&DiscoveryConfig) -> Result<Box<dyn Discoverer>, DiscoveryError> + Send + Sync;

/// A job's groups, in the order of its sources. What has not changed is the same allocation.
pub type Groups = Arc<[Arc<TargetGroup>]>;

/// Groups per job. A job without targets is there with an empty list; one that is not there (yet) has
/// discoverers that have never spoken.
pub type Targets = BTreeMap<String, Groups>;

/// A job and where its targets come from.
#[derive(Debug)]
#[non_exhaustive]
pub struct Job {
    /// The job's name.
    pub name: String,
    /// Its sources, in order.
    pub sources: Vec<Source>,
}

impl Job {
    /// A job with its sources.
    pub fn new(name: impl Into<String>, sources: Vec<Source>) -> Self {
        Self { name: name.into(), sources }
    }
}

/// After the first of a run of changes, this long is waited for others.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// While changes keep coming, the delay doubles up to this.
const LAST_DELAY: Duration = Duration::from_secs(5);
/// A job is published without the discoverers that have not spoken by then.
const GRACE: Duration = Duration::from_secs(5);

/// The running discovery of a program. Everything that it started ends when it is dropped.
#[derive(Debug)]
pub struct Manager {
    inner: Arc<Inner>,
    targets: watch::Receiver<Arc<Targets>>,
    _shutdown: DropGuard,
}

struct Inner {
    make: Box<MakeDiscoverer>,
    metrics: ManagerMetrics,
    state: Mutex<State>,
    /// The jobs have changed.
    applied: Notify,
    targets: watch::Sender<Arc<Targets>>,
    updates: mpsc::Sender<Update>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    runtime: Handle,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    providers: Vec<Provider>,
    jobs: Vec<JobState>,
    next_id: u64,
}

/// A job that has been asked for.
struct JobState {
    name: String,
    providers: Vec<u64>,
    /// When its present sources were asked for.
    since: Instant,
    /// What was last published, and the versions of the providers it is of.
    published: Option<(Vec<u64>, Groups)>,
}

impl Manager {
    /// Starts a manager without jobs, as a task of the current runtime. `name` is the label `name` of
    /// its metrics, with Prometheus `scrape` or `notify`; `make` makes discoverers of sections.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(
        name: &'static str,
        make: impl Fn(&DiscoveryConfig) -> Result<Box<dyn Discoverer>, DiscoveryError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let (targets_out, targets) = watch::channel(Arc::default());
        let (updates, updates_in) = Updates::shared();
        let shutdown = CancellationToken::new();
        let inner = Arc::new(Inner {
            make: Box::new(make),
            metrics: ManagerMetrics::new(name),
            state: Mutex::default(),
            applied: Notify::new(),
            targets: targets_out,
            updates,
            shutdown: shutdown.clone(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        });
        inner.tasks.spawn(Arc::clone(&inner).run(updates_in));
        Self { inner, targets, _shutdown: shutdown.drop_guard() }
    }

    /// Replaces the jobs. Sources that stay as they are keep running, and keep their targets.
    /// Returns the sources that could not be started; the others have been. May be called on any
    /// thread; starts tasks, does not wait for them.
    pub fn apply(&self, jobs: Vec<Job>) -> Vec<(String, DiscoveryError)> {
        let errors = self.inner.apply(jobs);
        self.inner.applied.notify_one();
        errors
    }

    /// What was found, each time that it changed. A job is there once all its discoverers have
    /// spoken, at the latest five seconds after it was asked for. Changes that come in quick
    /// succession are gathered for a tenth of a second at first, up to five seconds while they go on.
    #[must_use]
    pub fn targets(&self) -> watch::Receiver<Arc<Targets>> {
        self.targets.clone()
    }

    /// Stops all discoverers and waits until they have ended.
    pub async fn shutdown(&self) {
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Collect for Manager {
    fn collect(&self, out: &mut Families) {
        self.inner.metrics.collect(out);
    }
}

/// When the next change is published.
struct Debounce {
    at: Option<Instant>,
    delay: Duration,
    last: Option<Instant>,
}

impl Debounce {
    fn changed(&mut self, now: Instant) {
        if self.at.is_some() {
            return;
        }
        let quiet = self.last.is_none_or(|last| now.duration_since(last) > LAST_DELAY);
        self.delay = if quiet { FIRST_DELAY } else { (self.delay * 2).min(LAST_DELAY) };
        self.at = Some(now + self.delay);
    }

    fn published(&mut self, now: Instant) {
        self.at = None;
        self.last = Some(now);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>, mut updates: mpsc::Receiver<Update>) {
        let mut debounce = Debounce { at: None, delay: FIRST_DELAY, last: None };
        loop {
            let grace = self.state().next_grace();
            let due = debounce.at.into_iter().chain(grace).min();
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.publish();
                    debounce.published(Instant::now());
                }
                () = self.applied.notified() => debounce.changed(Instant::now()),
                update = updates.recv() => {
                    let Some((id, groups)) = update else { return };
                    self.metrics.received.inc();
                    match self.state().update(id, groups) {
                        Updated::Nothing => {}
                        Updated::Provider => debounce.changed(Instant::now()),
                        // Whoever waits for a job's first targets waits no longer than it must.
                        Updated::JobIsReady => debounce.at = Some(Instant::now()),
                    }
                }
            }
        }
    }

    fn apply(&self, jobs: Vec<Job>) -> Vec<(String, DiscoveryError)> {
        let mut errors = Vec::new();
        let mut state = self.state();
        let mut before: HashMap<String, JobState> =
            std::mem::take(&mut state.jobs).into_iter().map(|j| (j.name.clone(), j)).collect();
        for Job { name, sources } in jobs {
            let mut providers = Vec::with_capacity(sources.len());
            for source in sources {
                match self.provider(&mut state, &name, source) {
                    Ok(id) => providers.push(id),
                    Err(error) => errors.push((name.clone(), error)),
                }
            }
            let job = match before.remove(&name) {
                Some(job) if job.providers == providers => job,
                _ => JobState { name, providers, since: Instant::now(), published: None },
            };
            state.jobs.push(job);
        }
        let State { providers, jobs, .. } = &mut *state;
        providers.retain(|p| jobs.iter().any(|job| job.providers.contains(&p.id)));
        self.metrics.set_failed(errors.len());
        // Nobody shall take what earlier sources have found for the targets of new ones.
        let known = state.bring_up_to_date(Instant::now());
        self.targets.send_replace(Arc::new(known));
        errors
    }

    /// The id of the provider for a source, started if there is none yet.
    fn provider(
        &self,
        state: &mut State,
        job: &str,
        source: Source,
    ) -> Result<u64, DiscoveryError> {
        let (identity, discoverer) = match source {
            Source::Config(config) => (Identity::Config(config), None),
            Source::Custom { id, discoverer } => (Identity::Custom(id), Some(discoverer)),
        };
        if let Some(provider) = state.providers.iter().find(|p| p.identity == identity) {
            return Ok(provider.id);
        }
        let discoverer = match (discoverer, &identity) {
            (Some(discoverer), _) => discoverer,
            (None, Identity::Config(config)) => (self.make)(config)?,
            (None, Identity::Custom(_)) => return Err(DiscoveryError::NotServed { key: "custom" }),
        };
        state.next_id += 1;
        let shutdown = self.shutdown.child_token();
        let updates = Updates::of(state.next_id, job, self.updates.clone());
        let run = {
            // A discoverer may look for its runtime before it is polled.
            let _runtime = self.runtime.enter();
            discoverer.run(updates, shutdown.clone())
        };
        self.tasks.spawn_on(run, &self.runtime);
        state.providers.push(Provider::new(state.next_id, identity, shutdown));
        Ok(state.next_id)
    }

    fn publish(&self) {
        let all = self.state().bring_up_to_date(Instant::now());
        let count = |groups: &Groups| groups.iter().map(|g| g.targets.len()).sum();
        let counts = all.iter().map(|(job, groups)| (job.clone(), count(groups))).collect();
        self.metrics.set_discovered(counts);
        self.metrics.sent.inc();
        self.targets.send_replace(Arc::new(all));
    }
}

/// What an update changes.
enum Updated {
    Nothing,
    Provider,
    JobIsReady,
}

impl State {
    fn update(&mut self, id: u64, groups: Vec<TargetGroup>) -> Updated {
        // An update of a provider that a reload has ended is late, and of no use.
        let Some(provider) = self.providers.iter_mut().find(|p| p.id == id) else {
            return Updated::Nothing;
        };
        let first = !provider.spoken;
        provider.update(groups);
        let spoken = |id: &u64| self.providers.iter().any(|p| p.id == *id && p.spoken);
        let ready = |job: &JobState| job.published.is_none() && job.providers.iter().all(spoken);
        if first && self.jobs.iter().any(ready) { Updated::JobIsReady } else { Updated::Provider }
    }

    /// The groups of all jobs that have any, or whose discoverers have been silent too long.
    fn bring_up_to_date(&mut self, now: Instant) -> Targets {
        let Self { providers, jobs, .. } = self;
        for job in jobs.iter_mut() {
            let of = |id: &u64| providers.iter().find(|p| p.id == *id);
            let own: Vec<&Provider> = job.providers.iter().filter_map(of).collect();
            if own.iter().any(|p| !p.spoken) && now < job.since + GRACE {
                continue;
            }
            let versions: Vec<u64> = own.iter().map(|p| p.version).collect();
            if job.published.as_ref().is_some_and(|(known, _)| *known == versions) {
                continue;
            }
            let groups: Groups = own.iter().flat_map(|p| p.groups()).cloned().collect();
            job.published = Some((versions, groups));
        }
        let known = |job: &JobState| Some((job.name.clone(), job.published.as_ref()?.1.clone()));
        jobs.iter().filter_map(known).collect()
    }

    /// When the first of the jobs whose discoverers are silent is published without them.
    fn next_grace(&self) -> Option<Instant> {
        let waiting = self.jobs.iter().filter(|job| job.published.is_none());
        waiting.map(|job| job.since + GRACE).min()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::Pin};

    use firesteel_config::{DiscoveryConfig, StaticGroup};
    use firesteel_model::Labels;

    use super::*;
    use crate::{Discoverer, Mechanisms};

    fn manager() -> Manager {
        let mechanisms = Mechanisms::new("test");
        Manager::start("test", move |config| mechanisms.discoverer(config))
    }

    /// Sends what a test hands it.
    #[derive(Debug)]
    struct Script(mpsc::Receiver<Vec<TargetGroup>>, mpsc::Sender<&'static str>);

    impl Discoverer for Script {
        fn run(
            mut self: Box<Self>,
            updates: Updates,
            shutdown: CancellationToken,
        ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(async move {
                loop {
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        groups = self.0.recv() => match groups {
                            Some(groups) => { updates.send(groups).await; }
                            None => shutdown.cancelled().await,
                        }
                    }
                }
                let _ = self.1.send("ended").await;
            })
        }
    }

    fn custom(id: &str) -> (Source, mpsc::Sender<Vec<TargetGroup>>, mpsc::Receiver<&'static str>) {
        let (send, receive) = mpsc::channel(8);
        let (ended, ended_in) = mpsc::channel(1);
        let discoverer = Box::new(Script(receive, ended));
        (Source::Custom { id: id.to_owned(), discoverer }, send, ended_in)
    }

    fn group(source: &str, address: &str) -> TargetGroup {
        TargetGroup::new(source, [address], Labels::empty())
    }

    fn addresses(targets: &Targets, job: &str) -> Vec<String> {
        let groups = &targets[job];
        let all = groups.iter().flat_map(|g| g.targets.iter());
        all.map(|t| t.get(crate::ADDRESS).unwrap_or_default().to_owned()).collect()
    }

    async fn until(targets: &mut watch::Receiver<Arc<Targets>>, job: &str, expected: &[&str]) {
        let is = |t: &Arc<Targets>| t.contains_key(job) && addresses(t, job) == expected;
        targets.wait_for(is).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_wait_for_ever_for_a_silent_discoverer() {
        let manager = manager();
        let mut targets = manager.targets();
        let (silent, _send, _ended) = custom("silent");
        let (speaks, send, _ended) = custom("speaks");
        manager.apply(vec![Job::new("j", vec![silent, speaks])]);
        send.send(vec![group("1", "a:1")]).await.unwrap();
        let before = Instant::now();
        until(&mut targets, "j", &["a:1"]).await;
        assert!(before.elapsed() >= GRACE - FIRST_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn merges_groups_and_gathers_changes() {
        let manager = manager();
        let mut targets = manager.targets();
        let fixed = DiscoveryConfig::Static(vec![StaticGroup::new(
            vec!["s:1".to_owned()],
            Labels::from_pairs([("x", "1")]),
        )]);
        let (source, send, _ended) = custom("a");
        let jobs = vec![
            Job::new("both", vec![Source::Config(fixed.clone()), source]),
            Job::new("none", Vec::new()),
        ];
        assert!(manager.apply(jobs).is_empty());
        send.send(vec![group("1", "a:1"), group("2", "a:2")]).await.unwrap();
        send.send(vec![group("1", "a:3")]).await.unwrap();
        assert!(targets.borrow()["none"].is_empty());
        assert!(!targets.borrow().contains_key("both"), "its discoverers have not spoken");
        let before = Instant::now();
        until(&mut targets, "both", &["s:1", "a:3", "a:2"]).await;
        assert!(before.elapsed() <= FIRST_DELAY * 2);
        send.send(vec![TargetGroup::gone("1")]).await.unwrap();
        let before = Instant::now();
        until(&mut targets, "both", &["s:1", "a:2"]).await;
        assert!(before.elapsed() >= FIRST_DELAY, "changes in a row wait");
    }

    #[tokio::test(start_paused = true)]
    async fn reloads_keep_what_stays_and_end_what_goes() {
        let manager = manager();
        let mut targets = manager.targets();
        let (a, send, mut ended) = custom("a");
        manager.apply(vec![Job::new("old", vec![a])]);
        send.send(vec![group("1", "a:1")]).await.unwrap();
        until(&mut targets, "old", &["a:1"]).await;
        // The same id: the second discoverer is not needed, the targets are still there.
        let (again, _unused, _) = custom("a");
        manager.apply(vec![Job::new("new", vec![again])]);
        assert_eq!(addresses(&targets.borrow_and_update(), "new"), ["a:1"]);
        assert!(!targets.borrow().contains_key("old"));
        manager.apply(Vec::new());
        assert_eq!(ended.recv().await, Some("ended"));
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_ends_everything() {
        let manager = manager();
        let (source, _send, mut ended) = custom("a");
        manager.apply(vec![Job::new("j", vec![source])]);
        drop(manager);
        assert_eq!(ended.recv().await, Some("ended"));
    }
}
