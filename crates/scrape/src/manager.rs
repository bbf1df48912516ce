//! All jobs: takes configurations, runs discovery and keeps a pool per job.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use firesteel_config::{Config, DiscoveryConfig, ScrapeConfig};
use firesteel_discovery::{Discoverer, DiscoveryError, Mechanisms, updates};
use firesteel_model::{
    Labels,
    budget::Budget,
    clock::{Clock, SystemClock},
    metrics::{Collect, Families},
    storage::Appendable,
};
use tokio::{runtime::Handle, sync::Notify, time::sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    ExternalAddress, MakeFetch, PoolSnapshot, ScrapeError, Target,
    failure_log::FailureLogs,
    http::DEFAULT_USER_AGENT,
    job::Features,
    offset_seed,
    pool::Pool,
    scrape_loop::{Shared, Storage},
};

/// Makes a discoverer of a section.
pub type MakeDiscoverer =
    dyn Fn(&DiscoveryConfig) -> Result<Box<dyn Discoverer>, DiscoveryError> + Send + Sync;

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
    /// How many pages are taken in at a time, at least 1. Each occupies a thread of the runtime's
    /// blocking pool.
    pub workers: usize,
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
            workers: std::thread::available_parallelism().map_or(1, usize::from),
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

/// A job with its discovery.
#[derive(Debug)]
struct Job {
    pool: Arc<Pool>,
    config: Arc<ScrapeConfig>,
    discovery: CancellationToken,
}

/// Scrapes the targets of all jobs into a storage.
///
/// Its tasks run on the tokio runtime it was made on; pages are taken in on that runtime's blocking
/// threads. Dropping it stops everything at once, without staleness markers, as does
/// [`ScrapeManager::shutdown`], which also waits.
#[derive(Debug)]
pub struct ScrapeManager {
    shared: Arc<Shared>,
    options: ScrapeOptions,
    jobs: Mutex<BTreeMap<String, Job>>,
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
            compute: Arc::new(tokio::sync::Semaphore::new(options.workers.max(1))),
            metrics: Default::default(),
            offset_seed: Default::default(),
            shutdown: shutdown.clone(),
            tasks: Default::default(),
            runtime: Handle::current(),
            features: Features {
                append_metadata: options.append_metadata,
                start_timestamps: options.start_timestamps,
                type_and_unit_labels: options.type_and_unit_labels,
            },
            budget: options.budget.clone(),
            timestamp_tolerance: options.timestamp_tolerance,
        });
        Self { shared, options, jobs: Mutex::default(), _stop: shutdown.drop_guard() }
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
                job.discovery.cancel();
                job.pool.stop();
            }
        }
        for config in configs {
            if let Err(e) = self.apply_job(&mut jobs, config, &logs) {
                let job = &*config.job_name;
                tracing::error!(scrape_pool = job, error = %e, "error reloading scrape pool");
                failed = Some(e);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn apply_job(
        &self,
        jobs: &mut BTreeMap<String, Job>,
        config: &ScrapeConfig,
        logs: &FailureLogs,
    ) -> Result<(), ScrapeError> {
        let log = logs.of(config);
        let config = Arc::new(config.clone());
        let fetch = &*self.options.fetch;
        if let Some(job) = jobs.get_mut(&config.job_name) {
            job.pool.set_failure_log(log);
            job.pool.reload(Arc::clone(&config), fetch)?;
            if job.config.discovery != config.discovery {
                job.discovery.cancel();
                job.discovery = self.discover(&job.pool, &config);
            }
            job.config = config;
            return Ok(());
        }
        self.shared.metrics.pools.inc();
        let pool = Pool::new(Arc::clone(&self.shared), Arc::clone(&config), fetch);
        let pool = Arc::new(pool.inspect_err(|_| self.shared.metrics.pools_failed.inc())?);
        pool.set_failure_log(log);
        let discovery = self.discover(&pool, &config);
        jobs.insert(config.job_name.clone(), Job { pool, config, discovery });
        Ok(())
    }

    /// Starts a job's discoverers and the task that brings their groups into the pool.
    fn discover(&self, pool: &Arc<Pool>, config: &ScrapeConfig) -> CancellationToken {
        let stop = self.shared.shutdown.child_token();
        let epoch = pool.begin_discovery();
        let changed = Arc::new(Notify::new());
        let waiting = Arc::new(AtomicUsize::new(0));
        for (index, section) in config.discovery.iter().enumerate() {
            let discoverer = match (self.options.discover)(section) {
                Ok(discoverer) => discoverer,
                Err(e) => {
                    let job = &*config.job_name;
                    tracing::warn!(scrape_pool = job, error = %e, "Cannot create service discovery");
                    continue;
                }
            };
            waiting.fetch_add(1, Ordering::AcqRel);
            let (sender, mut receiver) = updates();
            let run = discoverer.run(sender, stop.clone());
            self.spawn(&stop, run);
            let (pool, changed) = (Arc::clone(pool), Arc::clone(&changed));
            let waiting = Arc::clone(&waiting);
            self.spawn(&stop, async move {
                let mut first = true;
                while let Some(groups) = receiver.recv().await {
                    pool.update(epoch, index, groups);
                    if std::mem::take(&mut first) {
                        waiting.fetch_sub(1, Ordering::AcqRel);
                    }
                    changed.notify_one();
                }
            });
        }
        // Without discoverers there is nothing to wait for.
        changed.notify_one();
        let (pool, pause) = (Arc::clone(pool), self.options.discovery_pause);
        let tasks = self.shared.tasks.clone();
        self.spawn(&stop, async move {
            // All discoverers get a chance to speak first, so that targets do not come and go.
            let all = async {
                loop {
                    changed.notified().await;
                    if waiting.load(Ordering::Acquire) == 0 {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(pause, all).await;
            loop {
                let pool = Arc::clone(&pool);
                let _ = tasks.spawn_blocking(move || pool.sync()).await;
                sleep(pause).await;
                changed.notified().await;
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
        for pool in self.pools() {
            pool.collect(out);
        }
    }
}
