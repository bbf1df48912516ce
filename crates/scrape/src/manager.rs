//! All jobs: takes configurations, runs discovery and keeps a pool per job.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use firesteel_config::{Config, ScrapeConfig};
use firesteel_discovery::{Job as DiscoveryJob, MakeDiscoverer, Manager, Mechanisms, Source};
use firesteel_model::{
    Labels,
    budget::Budget,
    clock::{Clock, SystemClock},
    metrics::{Collect, Families},
    storage::Appendable,
};
use tokio::{runtime::Handle, time::sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    ExternalAddress, MakeFetch, PoolSnapshot, ScrapeError, Target,
    failure_log::FailureLogs,
    http::DEFAULT_USER_AGENT,
    intake::Intake,
    job::Features,
    offset_seed,
    pool::Pool,
    scrape_loop::{Shared, Storage},
};

/// Options of a [`ScrapeManager`].
#[derive(Clone)]
#[non_exhaustive]
pub struct ScrapeOptions {
    /// How pages are fetched.
    pub fetch: Arc<dyn MakeFetch>,
    /// How targets are discovered; by default with all mechanisms that this build of
    /// `firesteel_discovery` has.
    pub discover: Arc<MakeDiscoverer>,
    /// Where the time comes from. Waiting goes by tokio's clock.
    pub clock: Arc<dyn Clock>,
    /// This server's host name: servers of a pair scrape at different times.
    pub hostname: String,
    /// Where targets are scraped: by default on the runtime on which the manager is made, where
    /// discovery stays.
    pub runtime: Option<Handle>,
    /// How many pages are taken in at a time on threads of the runtime's blocking pool, at least 1.
    pub workers: usize,
    /// Pages of no more bytes, of targets whose last page was a good one, are taken in on the
    /// runtime's own threads: 0.1 to 0.3 us a sample, a fifth of the processor's time saved. For a
    /// runtime that does nothing else; by default 0, no page. Where one is held up, by a slow disk
    /// for example, the pages of the next minute go to the blocking pool.
    pub at_once: usize,
    /// Under which name targets on this host are shown, where that is known.
    pub external: Option<ExternalAddress>,
    /// Whether metadata goes to the storage along with new series (`metadata-wal-records`).
    pub append_metadata: bool,
    /// Whether start timestamps are read, from protobuf and from the `_created` lines of OpenMetrics,
    /// and given to the storage (`st-storage`, `created-timestamp-zero-ingestion`).
    pub start_timestamps: bool,
    /// Whether series get the labels `__type__` and `__unit__` (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Where pages in flight are reserved, by their decompressed size.
    pub budget: Budget,
    /// The least time between two changes of a job's targets that discovery brings about.
    pub discovery_pause: Duration,
    /// A scrape that is late by no more than this, or 1 % of its interval, gets the timestamp it
    /// was meant to have, because regular timestamps compress better. Milliseconds count.
    pub timestamp_tolerance: Duration,
}

impl ScrapeOptions {
    /// Options with defaults: as many workers as there are cores, five seconds between changes.
    pub fn new(fetch: Arc<dyn MakeFetch>) -> Self {
        let mechanisms = Mechanisms::new(DEFAULT_USER_AGENT);
        Self {
            fetch,
            discover: Arc::new(move |config| mechanisms.discoverer(config)),
            clock: Arc::new(SystemClock::new()),
            hostname: String::new(),
            runtime: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            at_once: 0,
            external: None,
            append_metadata: false,
            start_timestamps: false,
            type_and_unit_labels: false,
            budget: Budget::unlimited(),
            discovery_pause: Duration::from_secs(5),
            timestamp_tolerance: Duration::from_millis(2),
        }
    }
}

impl fmt::Debug for ScrapeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrapeOptions")
            .field("fetch", &self.fetch)
            .field("hostname", &self.hostname)
            .field("workers", &self.workers)
            .field("external", &self.external)
            .finish_non_exhaustive()
    }
}

/// A job and the task that brings what discovery finds into its pool.
#[derive(Debug)]
struct Job {
    pool: Arc<Pool>,
    _follow: DropGuard,
}

/// Scrapes the targets of all jobs into a storage.
///
/// Its tasks run on the tokio runtime it was made on, or on that of its options; pages are taken in
/// on the runtime's blocking threads. Dropping it stops everything at once, without staleness markers, as does
/// [`ScrapeManager::shutdown`], which also waits.
#[derive(Debug)]
pub struct ScrapeManager {
    shared: Arc<Shared>,
    options: ScrapeOptions,
    jobs: Mutex<BTreeMap<String, Job>>,
    discovery: Manager,
    _stop: DropGuard,
}

impl ScrapeManager {
    /// A manager without jobs. Must be called on a tokio runtime.
    ///
    /// # Panics
    /// There is no tokio runtime.
    #[must_use]
    pub fn new(appendable: Arc<dyn Appendable>, options: ScrapeOptions) -> Self {
        let shutdown = CancellationToken::new();
        let shared = Arc::new(Shared {
            appendable: Storage(appendable),
            clock: Arc::clone(&options.clock),
            intake: Intake::new(options.workers, options.at_once),
            metrics: Default::default(),
            offset_seed: Default::default(),
            shutdown: shutdown.clone(),
            tasks: Default::default(),
            runtime: options.runtime.clone().unwrap_or_else(Handle::current),
            features: Features {
                append_metadata: options.append_metadata,
                start_timestamps: options.start_timestamps,
                type_and_unit_labels: options.type_and_unit_labels,
            },
            budget: options.budget.clone(),
            timestamp_tolerance: options.timestamp_tolerance,
        });
        let discover = Arc::clone(&options.discover);
        let discovery = Manager::start("scrape", move |config| discover(config));
        let jobs = Mutex::default();
        Self { shared, options, jobs, discovery, _stop: shutdown.drop_guard() }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a configuration: starts, changes and ends jobs. Jobs that have not changed are not
    /// disturbed. Blocks while targets are relabelled, so not for an async thread.
    ///
    /// # Errors
    /// A job cannot be served; the others run, and this one as it did before, if it did. Or a log of
    /// failed scrapes cannot be opened; then nothing changes.
    pub fn apply(&self, config: &Config) -> Result<(), ScrapeError> {
        self.apply_jobs(&config.scrape_configs, &config.global.external_labels)
    }

    /// As [`ScrapeManager::apply`], without a configuration file.
    ///
    /// # Errors
    /// As [`ScrapeManager::apply`].
    pub fn apply_jobs(
        &self,
        configs: &[ScrapeConfig],
        external_labels: &Labels,
    ) -> Result<(), ScrapeError> {
        let logs = FailureLogs::open(configs)?;
        let seed = offset_seed(&self.options.hostname, external_labels);
        self.shared.offset_seed.store(seed, Ordering::Relaxed);
        let mut jobs = self.jobs();
        let mut failed = None;
        let gone: Vec<String> = jobs
            .keys()
            .filter(|name| !configs.iter().any(|c| c.job_name == **name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(job) = jobs.remove(&name) {
                job.pool.stop();
            }
        }
        let mut new = Vec::new();
        for config in configs {
            match self.apply_pool(&jobs, config, &logs) {
                Ok(pool) => new.extend(pool),
                Err(e) => {
                    let job = &*config.job_name;
                    tracing::error!(scrape_pool = job, error = %e, "error reloading scrape pool");
                    failed = Some(e);
                }
            }
        }
        self.discover(configs);
        for pool in new {
            let _follow = self.follow(&pool).drop_guard();
            jobs.insert(pool.name.to_string(), Job { pool, _follow });
        }
        failed.map_or(Ok(()), Err)
    }

    /// Gives a job's pool its configuration; returns a pool that was not there before.
    fn apply_pool(
        &self,
        jobs: &BTreeMap<String, Job>,
        config: &ScrapeConfig,
        logs: &FailureLogs,
    ) -> Result<Option<Arc<Pool>>, ScrapeError> {
        let log = logs.of(config);
        let config = Arc::new(config.clone());
        let fetch = &*self.options.fetch;
        if let Some(job) = jobs.get(&config.job_name) {
            job.pool.set_failure_log(log);
            return job.pool.reload(config, fetch).map(|()| None);
        }
        self.shared.metrics.pools.inc();
        let pool = Pool::new(Arc::clone(&self.shared), config, fetch);
        let pool = pool.inspect_err(|_| self.shared.metrics.pools_failed.inc())?;
        pool.set_failure_log(log);
        Ok(Some(Arc::new(pool)))
    }

    /// Starts what discovers the jobs' targets, and ends what did for jobs of before.
    fn discover(&self, configs: &[ScrapeConfig]) {
        let job = |config: &ScrapeConfig| {
            let sources = config.discovery.iter().cloned().map(Source::Config).collect();
            DiscoveryJob::new(config.job_name.clone(), sources)
        };
        for (job, error) in self.discovery.apply(configs.iter().map(job).collect()) {
            tracing::error!(config = job, err = %error, "Cannot create service discovery");
        }
    }

    /// Brings what discovery finds for a job into its pool.
    fn follow(&self, pool: &Arc<Pool>) -> CancellationToken {
        let stop = self.shared.shutdown.child_token();
        let (pool, pause) = (Arc::clone(pool), self.options.discovery_pause);
        let tasks = self.shared.tasks.clone();
        let mut targets = self.discovery.targets();
        targets.mark_changed();
        self.spawn(&stop, async move {
            while targets.changed().await.is_ok() {
                let groups = targets.borrow_and_update().get(&*pool.name).cloned();
                let Some(groups) = groups.filter(|groups| pool.discovered(groups)) else {
                    continue;
                };
                let pool = Arc::clone(&pool);
                let _ = tasks.spawn_blocking(move || pool.sync(groups)).await;
                sleep(pause).await;
            }
        });
        stop
    }

    fn spawn(&self, stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
        let stop = stop.clone();
        let task = async move {
            stop.run_until_cancelled(task).await;
        };
        self.shared.tasks.spawn_on(task, &self.shared.runtime);
    }

    fn pools(&self) -> Vec<Arc<Pool>> {
        self.jobs().values().map(|job| Arc::clone(&job.pool)).collect()
    }

    /// All jobs, sorted by name, with their targets.
    #[must_use]
    pub fn targets(&self) -> Vec<PoolSnapshot> {
        let external = self.options.external.as_ref();
        self.pools().iter().map(|pool| pool.snapshot(external)).collect()
    }

    /// All targets by job, sorted by name and URL; [`Target::metadata`] is the metadata of each.
    #[must_use]
    pub fn metadata(&self) -> Vec<(String, Vec<Arc<Target>>)> {
        self.pools().iter().map(|pool| (pool.name.to_string(), pool.targets())).collect()
    }

    /// Stops everything and waits until nothing is written any more. There are no staleness markers:
    /// a server that comes back goes on where it was.
    pub async fn shutdown(&self) {
        self.shared.shutdown.cancel();
        self.discovery.shutdown().await;
        for pool in self.pools() {
            pool.stop();
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Collect for ScrapeManager {
    fn collect(&self, out: &mut Families) {
        self.shared.metrics.collect(out);
        self.discovery.collect(out);
        for pool in self.pools() {
            pool.collect(out);
        }
    }
}
