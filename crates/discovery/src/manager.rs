//! Runs the discoverers of all jobs and merges what they find. Source: `discovery/manager.go`.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    DiscoveryError, Mechanisms, Source, TargetGroup, Updates,
    discoverer::Update,
    provider::{Identity, Provider},
};

/// Groups per job. A job without targets is there with an empty list.
pub type Targets = BTreeMap<String, Vec<Arc<TargetGroup>>>;

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
/// Reloads that may wait.
const COMMANDS: usize = 4;

/// The running discovery of a program. Everything that it started ends when it is dropped.
#[derive(Debug)]
pub struct Manager {
    commands: mpsc::Sender<Command>,
    targets: watch::Receiver<Arc<Targets>>,
    _shutdown: DropGuard,
}

struct Command {
    jobs: Vec<Job>,
    done: oneshot::Sender<Vec<DiscoveryError>>,
}

impl Manager {
    /// Starts a manager without jobs, as a task of the current runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(mechanisms: Mechanisms) -> Self {
        let (commands, commands_in) = mpsc::channel(COMMANDS);
        let (targets_out, targets) = watch::channel(Arc::default());
        let (updates, updates_in) = Updates::shared();
        let shutdown = CancellationToken::new();
        let state = State {
            mechanisms,
            shutdown: shutdown.clone(),
            updates,
            targets: targets_out,
            providers: Vec::new(),
            jobs: Vec::new(),
            next_id: 0,
        };
        tokio::spawn(state.run(commands_in, updates_in));
        Self { commands, targets, _shutdown: shutdown.drop_guard() }
    }

    /// Replaces the jobs. Sources that stay as they are keep running, and keep their targets.
    /// Returns the sources that could not be started, after the others have been.
    pub async fn apply(&self, jobs: Vec<Job>) -> Vec<DiscoveryError> {
        let (done, result) = oneshot::channel();
        if self.commands.send(Command { jobs, done }).await.is_err() {
            return Vec::new();
        }
        result.await.unwrap_or_default()
    }

    /// What was found, each time that it changed. Changes that come in quick succession are gathered
    /// for a tenth of a second at first, up to five seconds while they go on.
    #[must_use]
    pub fn targets(&self) -> watch::Receiver<Arc<Targets>> {
        self.targets.clone()
    }
}

struct State {
    mechanisms: Mechanisms,
    shutdown: CancellationToken,
    updates: mpsc::Sender<Update>,
    targets: watch::Sender<Arc<Targets>>,
    providers: Vec<Provider>,
    /// Each job with the ids of its providers.
    jobs: Vec<(String, Vec<u64>)>,
    next_id: u64,
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

impl State {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut updates: mpsc::Receiver<Update>,
    ) {
        let shutdown = self.shutdown.clone();
        let mut debounce = Debounce { at: None, delay: FIRST_DELAY, last: None };
        loop {
            let due = debounce.at;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.publish();
                    debounce.published(Instant::now());
                }
                command = commands.recv() => {
                    let Some(Command { jobs, done }) = command else { return };
                    let _ = done.send(self.apply(jobs));
                    debounce.changed(Instant::now());
                }
                update = updates.recv() => {
                    let Some((id, groups)) = update else { return };
                    self.mechanisms.metrics.received.inc();
                    // An update of a provider that a reload has ended is late, and of no use.
                    if let Some(provider) = self.providers.iter_mut().find(|p| p.id == id) {
                        provider.update(groups);
                        debounce.changed(Instant::now());
                    }
                }
            }
        }
    }

    fn apply(&mut self, jobs: Vec<Job>) -> Vec<DiscoveryError> {
        let mut errors = Vec::new();
        self.jobs.clear();
        for job in jobs {
            let mut ids = Vec::with_capacity(job.sources.len());
            for source in job.sources {
                match self.provider(source) {
                    Ok(id) => ids.push(id),
                    Err(error) => {
                        tracing::error!(job = job.name, %error, "cannot start discovery");
                        errors.push(error);
                    }
                }
            }
            self.jobs.push((job.name, ids));
        }
        let used = |p: &Provider| self.jobs.iter().any(|(_, ids)| ids.contains(&p.id));
        let keep: Vec<bool> = self.providers.iter().map(used).collect();
        let mut keep = keep.into_iter();
        self.providers.retain(|_| keep.next().unwrap_or(false));
        let failed = &self.mechanisms.metrics.failed_configs;
        *failed.lock().unwrap_or_else(PoisonError::into_inner) = errors.len();
        errors
    }

    /// The provider for a source: the one that runs, or a new one.
    fn provider(&mut self, source: Source) -> Result<u64, DiscoveryError> {
        let (identity, own) = match source {
            Source::Config(config) => (Identity::Config(config), None),
            Source::Custom { id, discoverer } => (Identity::Custom(id), Some(discoverer)),
        };
        if let Some(provider) = self.providers.iter().find(|p| p.identity == identity) {
            return Ok(provider.id);
        }
        let discoverer = match (own, &identity) {
            (Some(discoverer), _) => discoverer,
            (None, Identity::Config(config)) => self.mechanisms.discoverer(config)?,
            (None, Identity::Custom(_)) => {
                return Err(DiscoveryError::NotServed { key: "custom" });
            }
        };
        self.next_id += 1;
        let shutdown = self.shutdown.child_token();
        let updates = Updates::of(self.next_id, self.updates.clone());
        tokio::spawn(discoverer.run(updates, shutdown.clone()));
        self.providers.push(Provider::new(self.next_id, identity, shutdown));
        Ok(self.next_id)
    }

    fn publish(&self) {
        let mut all = Targets::new();
        let mut counts = BTreeMap::new();
        for (job, ids) in &self.jobs {
            let groups: Vec<_> = ids
                .iter()
                .filter_map(|id| self.providers.iter().find(|p| p.id == *id))
                .flat_map(Provider::groups)
                .cloned()
                .collect();
            counts.insert(job.clone(), groups.iter().map(|g| g.targets.len()).sum());
            all.insert(job.clone(), groups);
        }
        let metrics = &self.mechanisms.metrics;
        *metrics.discovered.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        metrics.sent.inc();
        self.targets.send_replace(Arc::new(all));
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::Pin};

    use firesteel_config::{DiscoveryConfig, StaticGroup};
    use firesteel_model::Labels;

    use super::*;
    use crate::Discoverer;

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

    #[tokio::test(start_paused = true)]
    async fn merges_groups_and_gathers_changes() {
        let manager = Manager::start(Mechanisms::new("test"));
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
        assert!(manager.apply(jobs).await.is_empty());
        send.send(vec![group("1", "a:1"), group("2", "a:2")]).await.unwrap();
        send.send(vec![group("1", "a:3")]).await.unwrap();
        targets.changed().await.unwrap();
        assert_eq!(addresses(&targets.borrow_and_update(), "both"), ["s:1", "a:3", "a:2"]);
        assert!(targets.borrow()["none"].is_empty());
        send.send(vec![TargetGroup::gone("1")]).await.unwrap();
        let before = Instant::now();
        targets.changed().await.unwrap();
        assert_eq!(addresses(&targets.borrow_and_update(), "both"), ["s:1", "a:2"]);
        assert!(before.elapsed() >= FIRST_DELAY * 2, "changes in a row wait longer");
    }

    #[tokio::test(start_paused = true)]
    async fn reloads_keep_what_stays_and_end_what_goes() {
        let manager = Manager::start(Mechanisms::new("test"));
        let mut targets = manager.targets();
        let (a, send, mut ended) = custom("a");
        manager.apply(vec![Job::new("old", vec![a])]).await;
        send.send(vec![group("1", "a:1")]).await.unwrap();
        targets.changed().await.unwrap();
        // The same id: the second discoverer is not needed, the targets are still there.
        let (again, _unused, _) = custom("a");
        manager.apply(vec![Job::new("new", vec![again])]).await;
        targets.changed().await.unwrap();
        assert_eq!(addresses(&targets.borrow_and_update(), "new"), ["a:1"]);
        assert!(!targets.borrow().contains_key("old"));
        manager.apply(Vec::new()).await;
        assert_eq!(ended.recv().await, Some("ended"));
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_ends_everything() {
        let manager = Manager::start(Mechanisms::new("test"));
        let (source, _send, mut ended) = custom("a");
        manager.apply(vec![Job::new("j", vec![source])]).await;
        drop(manager);
        assert_eq!(ended.recv().await, Some("ended"));
    }
}
