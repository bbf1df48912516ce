//! The targets of one job, and their loops.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use firesteel_config::ScrapeConfig;
use firesteel_discovery::TargetGroup;
use firesteel_model::{Labels, metrics::Families};

use crate::{
    Discovered, Fetch, FetchRequest, IngestSettings, Ingester, MakeFetch, PoolSnapshot,
    ScrapeError, Target,
    failure_log::{FailureLog, FailureLogSlot},
    job::{accept_of, ingest_settings, same_job, settings_for},
    metrics::{PoolMetrics, PoolState as PoolReport},
    scrape_loop::{Control, ScrapeLoop, Shared, Slot},
    snapshot::{DroppedTarget, TargetSnapshot},
    url::ExternalAddress,
};

/// A target with its loop.
#[derive(Debug)]
struct Running {
    target: Arc<Target>,
    slot: Slot,
    control: Arc<Control>,
}

/// The targets of a job.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: Arc<str>,
    shared: Arc<Shared>,
    state: Mutex<State>,
    metrics: PoolMetrics,
    failure_log: FailureLogSlot,
    /// No loop is started any more.
    stopped: AtomicBool,
}

#[derive(Debug)]
struct State {
    config: Arc<ScrapeConfig>,
    settings: Arc<IngestSettings>,
    fetch: Arc<dyn Fetch>,
    /// Changes with the places that targets come from: what earlier ones still send is ignored.
    epoch: u64,
    /// What discovery found, by discoverer and source.
    groups: BTreeMap<(usize, Arc<str>), TargetGroup>,
    running: HashMap<u64, Running>,
    dropped: Vec<Labels>,
    dropped_count: usize,
}

impl Pool {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: Arc<ScrapeConfig>,
        fetch: &dyn MakeFetch,
    ) -> Result<Self, ScrapeError> {
        let state = State {
            settings: Arc::new(ingest_settings(&config, shared.features)),
            fetch: fetch.make(&config.http)?,
            epoch: 0,
            groups: BTreeMap::new(),
            running: HashMap::new(),
            dropped: Vec::new(),
            dropped_count: 0,
            config,
        };
        Ok(Self {
            name: state.config.job_name.as_str().into(),
            shared,
            state: Mutex::new(state),
            metrics: PoolMetrics::default(),
            failure_log: FailureLogSlot::default(),
            stopped: AtomicBool::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where failed scrapes are logged from now on.
    pub(crate) fn set_failure_log(&self, log: Option<Arc<FailureLog>>) {
        *self.failure_log.lock().unwrap_or_else(PoisonError::into_inner) = log;
    }

    /// Takes a new configuration. If anything that concerns scraping has changed, the loops are
    /// started anew with it and keep what they know about their series.
    pub(crate) fn reload(
        &self,
        config: Arc<ScrapeConfig>,
        fetch: &dyn MakeFetch,
    ) -> Result<(), ScrapeError> {
        let mut state = self.state();
        if same_job(&state.config, &config) {
            state.config = config;
            return Ok(());
        }
        self.shared.metrics.reloads.inc();
        state.fetch = fetch.make(&config.http).inspect_err(|_| {
            self.shared.metrics.reloads_failed.inc();
        })?;
        state.settings = Arc::new(ingest_settings(&config, self.shared.features));
        state.config = config;
        for (hash, old) in std::mem::take(&mut state.running) {
            let new = self.start(&state, old.target.clone(), Some(&old));
            state.running.insert(hash, new);
        }
        self.sync_locked(&mut state);
        Ok(())
    }

    /// Notes groups; each replaces what its source found before, an empty one removes it.
    pub(crate) fn update(&self, epoch: u64, discoverer: usize, groups: Vec<TargetGroup>) {
        let mut state = self.state();
        if state.epoch != epoch {
            return;
        }
        for group in groups {
            let key = (discoverer, Arc::clone(&group.source));
            if group.targets.is_empty() {
                state.groups.remove(&key);
            } else {
                state.groups.insert(key, group);
            }
        }
    }

    /// Forgets what discovery found and begins an epoch; the targets stay until the next sync.
    pub(crate) fn begin_discovery(&self) -> u64 {
        let mut state = self.state();
        state.groups.clear();
        state.epoch += 1;
        state.epoch
    }

    /// Makes targets of what discovery found: starts loops of new ones, ends those of others.
    /// Blocks for as long as relabelling all of them takes.
    pub(crate) fn sync(&self) {
        self.sync_locked(&mut self.state());
    }

    fn sync_locked(&self, state: &mut State) {
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        let started = self.shared.clock.monotonic();
        let found = self.discover(state);
        let gone: Vec<u64> =
            state.running.keys().filter(|hash| !found.contains_key(hash)).copied().collect();
        let mut gone: Vec<Running> =
            gone.iter().filter_map(|hash| state.running.remove(hash)).collect();
        for (hash, target) in found {
            if let Some(running) = state.running.get(&hash) {
                running.target.set_discovered(target.discovered_labels());
                continue;
            }
            // The same series under another URL or interval: goes on where the other stops.
            let heir = gone.iter().position(|g| g.target.public_labels() == target.public_labels());
            let old = heir.map(|i| gone.swap_remove(i));
            let running = self.start(state, Arc::new(target), old.as_ref());
            state.running.insert(hash, running);
        }
        for running in gone {
            running.control.stop.cancel();
        }
        self.check_target_limit(state);
        self.metrics.syncs.inc();
        let length = self.shared.clock.monotonic().saturating_sub(started);
        self.metrics.sync_lengths.observe(length);
    }

    /// The targets of all groups by hash; notes those that were dropped.
    fn discover(&self, state: &mut State) -> HashMap<u64, Target> {
        let mut found = HashMap::new();
        let keep = state.config.limits.keep_dropped_targets;
        let mut dropped = Vec::new();
        let mut dropped_count = 0;
        for group in state.groups.values() {
            for (i, labels) in group.merged().enumerate() {
                match Target::from_discovered(&labels, &state.config) {
                    Ok(Discovered::Target(target)) => {
                        found.entry(target.hash()).or_insert(*target);
                    }
                    Ok(Discovered::Dropped(labels)) => {
                        if keep == 0 || (dropped.len() as u64) < keep {
                            dropped.push(labels);
                        }
                        dropped_count += 1;
                    }
                    Err(e) => {
                        self.metrics.sync_failures.inc();
                        let error = format!("instance {i} in group {}: {e}", group.source);
                        tracing::error!(scrape_pool = &*self.name, error, "Creating target failed");
                    }
                }
            }
        }
        (state.dropped, state.dropped_count) = (dropped, dropped_count);
        found
    }

    /// Starts a target's loop; `old` is the one that it takes over from.
    fn start(&self, state: &State, target: Arc<Target>, old: Option<&Running>) -> Running {
        let mut settings = settings_for(&state.settings, &target);
        if settings.timeout != target.timeout() {
            Arc::make_mut(&mut settings).timeout = target.timeout();
        }
        let control = Arc::new(Control::default());
        let slot = match old {
            Some(old) => {
                old.control.handed_over.store(true, Ordering::Release);
                old.control.stop.cancel();
                Arc::clone(&old.slot)
            }
            None => Slot::new(Ingester::new(target.public_labels(), Arc::clone(&settings)).into()),
        };
        let metadata = match old {
            Some(old) => old.target.metadata_store(),
            // Nobody else knows the slot yet.
            None => slot.try_lock().map(|i| i.metadata_store()).unwrap_or_default(),
        };
        target.set_metadata(metadata);
        if let Some(old) = old {
            target.report(old.target.last_scrape());
        }
        let request = FetchRequest {
            unix_socket: target.unix_socket().map(str::to_owned),
            accept: accept_of(&state.config),
            compression: state.config.enable_compression,
            timeout: target.timeout(),
            body_size_limit: state.config.limits.body_size,
            ..FetchRequest::new(target.url())
        };
        let scrape_loop = ScrapeLoop {
            shared: Arc::clone(&self.shared),
            pool: Arc::clone(&self.name),
            target: Arc::clone(&target),
            fetch: Arc::clone(&state.fetch),
            request,
            slot: Arc::clone(&slot),
            settings,
            control: Arc::clone(&control),
            failure_log: Arc::clone(&self.failure_log),
        };
        self.shared.tasks.spawn_on(scrape_loop.run(), &self.shared.runtime);
        Running { target, slot, control }
    }

    fn check_target_limit(&self, state: &State) {
        let limit = state.config.limits.targets;
        let targets = state.running.len();
        let over = (limit > 0 && targets as u64 > limit).then_some((targets, limit));
        if over.is_some() {
            self.shared.metrics.target_limit.inc();
        }
        for running in state.running.values() {
            *running.control.over_limit.lock().unwrap_or_else(PoisonError::into_inner) = over;
        }
    }

    /// Ends all loops; their series get markers.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for (_, running) in self.state().running.drain() {
            running.control.stop.cancel();
        }
    }

    /// The targets, sorted by URL.
    pub(crate) fn targets(&self) -> Vec<Arc<Target>> {
        let mut all: Vec<_> =
            self.state().running.values().map(|r| Arc::clone(&r.target)).collect();
        all.sort_by(|a, b| (a.url(), a.labels()).cmp(&(b.url(), b.labels())));
        all
    }

    pub(crate) fn snapshot(&self, external: Option<&ExternalAddress>) -> PoolSnapshot {
        let active = self.targets();
        let state = self.state();
        PoolSnapshot {
            name: self.name.to_string(),
            active: active.iter().map(|t| TargetSnapshot::new(t, &self.name, external)).collect(),
            dropped: state
                .dropped
                .iter()
                .map(|labels| DroppedTarget {
                    discovered_labels: labels.clone(),
                    scrape_pool: self.name.to_string(),
                })
                .collect(),
            dropped_count: state.dropped_count,
        }
    }

    pub(crate) fn collect(&self, out: &mut Families) {
        let state = self.state();
        let mut report = PoolReport {
            name: &self.name,
            targets: state.running.len(),
            target_limit: state.config.limits.targets,
            metadata: (0, 0),
            cache_bytes: 0,
        };
        let mut seen = HashSet::new();
        for running in state.running.values() {
            let store = running.target.metadata_store();
            if seen.insert(Arc::as_ptr(&store)) {
                let (entries, bytes) = store.size();
                report.metadata.0 += entries;
                report.metadata.1 += bytes;
            }
            report.cache_bytes += running.control.cache_bytes.load(Ordering::Relaxed) as usize;
        }
        self.metrics.collect(&report, out);
    }
}
