//! Starts the parts in order, keeps them together, stops them in reverse.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use firesteel_api::{Api, ApiService, Lifecycle, ServeOptions, serve_behind};
use firesteel_config::{Config, FloatEncoding};
use firesteel_discovery::{DiscoveryMetrics, Mechanisms};
use firesteel_model::{
    budget::Budget,
    clock::{Clock, SystemClock},
};
use firesteel_promql::{Engine, EngineOptions, ParserOptions};
use firesteel_rules::GroupSpec;
use firesteel_scrape::{ExternalAddress, HttpFetch, ScrapeManager, ScrapeOptions};
use firesteel_tsdb::{Db, Durability, TsdbError};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle, Runtime},
    sync::Notify,
    time::MissedTickBehavior,
};

use crate::{
    adapters::{Admin, Targets},
    compute::ComputePool,
    configuration::Configuration,
    error::ServerError,
    flags::{Flags, shown},
    late::LateDb,
    log, memory,
    options::{ConfigSource, Options},
    process::ProcessMetrics,
    queries::{ActiveQueries, QueryLog, open_error},
    rules::Rules,
    signals::{Signal, Signals},
    status::{COMPATIBLE_VERSION, ServerStatus, features, hostname},
    watch::FileWatch,
    web::Web,
};

/// The share of the memory limit that reservations may take; the rest is for what is not counted.
const BUDGET_SHARE: f64 = 0.8;

/// Pages of no more bytes are taken in on the threads that fetch them: a millisecond's work at most.
const AT_ONCE: usize = 512 << 10;

/// Runs the server until it is told to stop: by a signal, or by HTTP where that is allowed. Blocks.
///
/// # Errors
/// The server could not start; see [`ServerError::exit_code`].
pub fn run(flags: &Flags) -> Result<(), ServerError> {
    let options = Options::from_flags(flags)?;
    log::init(options.log_level, options.log_format);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting Firesteel");
    for remark in &options.remarks {
        tracing::warn!("{remark}");
    }
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .thread_name("firesteel")
        // Deep queries recurse; what is not touched costs nothing.
        .thread_stack_size(8 << 20)
        .build()
        .map_err(|source| ServerError::System { context: "starting threads", source })?;
    let scraping = scrape_runtime()?;
    let result = runtime.block_on(Server::start_and_run(options, flags, scraping.handle().clone()));
    scraping.shutdown_timeout(std::time::Duration::from_secs(5));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}

/// The runtime that fetches pages and takes most of them in: see decision 12. It has half of the
/// processors' threads, as one that works while another sleeps spares the caches of both.
fn scrape_runtime() -> Result<Runtime, ServerError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread()
        .worker_threads((processors / 2).clamp(1, 8))
        .enable_all()
        .thread_name("scrape")
        .build()
        .map_err(|source| ServerError::System { context: "starting threads", source })
}

struct Server {
    configuration: Arc<Configuration>,
    scrape: Arc<ScrapeManager>,
    rules: Arc<Rules>,
    db: LateDb,
    engine: Arc<Engine>,
    enable_lifecycle: bool,
    keeps_exemplars: bool,
    /// How floats are written where the configuration does not say.
    floats: FloatEncoding,
    active_queries: Arc<ActiveQueries>,
    query_log: Arc<QueryLog>,
    /// Asks the main loop to stop.
    quit: Notify,
    /// Reloads one at a time.
    reloading: parking_lot::Mutex<()>,
    storage_open: AtomicBool,
    watch: Option<FileWatch>,
}

impl Server {
    async fn start_and_run(
        options: Options,
        flags: &Flags,
        scraping: Handle,
    ) -> Result<(), ServerError> {
        let signals = Signals::new()
            .map_err(|source| ServerError::System { context: "taking signals", source })?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let (listeners, addresses) = listen(&options.listen).await?;
        let own =
            addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 9090)));
        let own_target = format!("localhost:{}", own.port());
        let web = Web::new(options.web_config.as_deref(), &clock).map_err(|reason| {
            let file = options.web_config.clone().unwrap_or_default().display().to_string();
            ServerError::WebConfig { file, reason }
        })?;
        let watch = FileWatch::of(&options);
        let configuration = Configuration::load(&options, own_target, Arc::clone(&clock))?;
        let configuration = Arc::new(configuration);

        let memory_limit = memory::limit();
        let budget_bytes = memory_limit.map_or(u64::MAX, |b| (b as f64 * BUDGET_SHARE) as u64);
        let budget = Budget::root("process", budget_bytes);
        let db = LateDb::default();
        let active_queries = Arc::new(ActiveQueries::new(Arc::clone(&clock)));
        let query_log = Arc::new(QueryLog::new(Arc::clone(&clock)));
        let mut engine_options = engine_options(&options, &configuration, &budget, &clock);
        engine_options.observers =
            vec![Arc::clone(&active_queries) as _, Arc::clone(&query_log) as _];
        let engine = Arc::new(Engine::new(engine_options));
        // Jobs and Alertmanagers are found by the same mechanisms, which count together.
        let mechanisms = Mechanisms::new(format!("Prometheus/{COMPATIBLE_VERSION}"));
        let discovery = Arc::clone(&mechanisms.metrics);
        let rules = Rules::new(&options, own, &engine, &db, &budget, &clock, &mechanisms);
        let rules = Arc::new(rules);
        rules
            .check(&configuration.in_force().config)
            .map_err(|reason| ServerError::Config { file: options.config.name(), reason })?;
        let scrape = Arc::new(scrape_manager(&options, &db, &clock, own, mechanisms, scraping));
        let server = Arc::new(Self {
            configuration: Arc::clone(&configuration),
            scrape: Arc::clone(&scrape),
            rules,
            db: db.clone(),
            engine: Arc::clone(&engine),
            enable_lifecycle: options.enable_lifecycle,
            keeps_exemplars: options.feature("exemplar-storage"),
            floats: default_floats(&options),
            active_queries,
            query_log,
            quit: Notify::new(),
            reloading: parking_lot::Mutex::new(()),
            storage_open: AtomicBool::new(false),
            watch,
        });
        let status = Arc::new(ServerStatus {
            flags: shown(flags, &options, &configuration.in_force().config),
            configuration: Arc::clone(&configuration),
            db: db.clone(),
            clock: Arc::clone(&clock),
            started: clock.now(),
            memory_limit,
            features: features(&options),
            ready: AtomicBool::new(false),
        });
        let service = service(&options, &server, &status, engine, &clock, discovery);
        let stop = Arc::new(Notify::new());
        let mut serving = Vec::new();
        for listener in listeners {
            let stop = Arc::clone(&stop);
            let mut serve_options = ServeOptions::default();
            serve_options.max_connections = options.max_connections;
            serve_options.header_timeout = options.read_timeout;
            let (service, web) = (service.clone(), web.clone());
            serving.push(tokio::spawn(async move {
                serve_behind(listener, service, web, serve_options, stop.notified()).await;
            }));
        }
        say_where(&options, &addresses, if web.speaks_tls() { "https" } else { "http" });

        let result = server.main_loop(&options, &status, budget, clock, signals).await;
        status.ready.store(false, Ordering::Release);
        server.rules.stop_evaluating().await;
        server.scrape.shutdown().await;
        server.rules.stop_sending().await;
        stop.notify_waiters();
        for task in serving {
            let _ = task.await;
        }
        server.close_storage().await;
        result
    }

    /// Opens storage, then scrapes, until told to stop.
    async fn main_loop(
        self: &Arc<Self>,
        options: &Options,
        status: &Arc<ServerStatus>,
        budget: Budget,
        clock: Arc<dyn Clock>,
        mut signals: Signals,
    ) -> Result<(), ServerError> {
        let config = self.configuration.in_force().config;
        let builder = storage_builder(options, &config, &budget, &clock);
        let place = self.db.clone();
        let (active, folder) = (Arc::clone(&self.active_queries), options.data.clone());
        let places = options.query_concurrency;
        let mut opening = tokio::task::spawn_blocking(move || {
            let (db, loader) = builder.open_blocks()?;
            if let Err(error) = active.open(&folder, places) {
                tracing::error!(%error, "the file of active queries cannot be written");
            }
            // From here on the blocks answer queries.
            place.set(db.clone());
            loader.run()?;
            Ok::<_, TsdbError>(db)
        });
        let mut reload_asked = false;
        let maintenance = loop {
            tokio::select! {
                opened = &mut opening => {
                    let db = opened
                        .map_err(|e| ServerError::System {
                            context: "opening storage",
                            source: std::io::Error::other(e),
                        })?
                        .map_err(|source| ServerError::Storage {
                            path: options.data.display().to_string(),
                            source,
                        })?;
                    say_opened(&db);
                    let maintenance = db.spawn_maintenance().map_err(|source| ServerError::Storage {
                        path: options.data.display().to_string(),
                        source,
                    })?;
                    break maintenance;
                }
                signal = signals.next() => match signal {
                    Signal::Stop(name) => {
                        tracing::warn!(signal = name, "stopping before the storage was open");
                        // Has the loading stop soon; it is waited for, as it may be repairing.
                        self.close_storage().await;
                        let _ = opening.await;
                        return Ok(());
                    }
                    Signal::Reload => reload_asked = true,
                },
            }
        };
        self.storage_open.store(true, Ordering::Release);
        let server = Arc::clone(self);
        let apply = move || server.apply(&config, server.rules.load(&config)?);
        let applied = tokio::task::spawn_blocking(apply).await;
        if let Err(reason) = applied.unwrap_or_else(|error| Err(error.to_string())) {
            tracing::error!("failed to apply configuration: {reason}");
            self.configuration.failed();
        }
        status.ready.store(true, Ordering::Release);
        tracing::info!("server is ready to receive web requests");
        if reload_asked {
            self.reload_off_runtime(Self::reload).await;
        }
        let mut looks = self.watch.as_ref().map(|watch| {
            let mut looks = tokio::time::interval(watch.interval());
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        });
        loop {
            let look = async {
                match &mut looks {
                    Some(looks) => looks.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = look => self.reload_off_runtime(Self::reload_if_changed).await,
                signal = signals.next() => match signal {
                    Signal::Reload => self.reload_off_runtime(Self::reload).await,
                    Signal::Stop(name) => {
                        tracing::warn!(signal = name, "received an OS signal, exiting gracefully");
                        break;
                    }
                },
                () = self.quit.notified() => {
                    tracing::warn!("received termination request via web service, exiting gracefully");
                    break;
                }
            }
        }
        drop(maintenance);
        Ok(())
    }

    /// Puts a configuration into force.
    fn apply(&self, config: &Config, rules: Vec<GroupSpec>) -> Result<(), String> {
        self.rules.apply(config, rules)?;
        if let Some(db) = self.db.db() {
            let retention = &config.storage.retention;
            db.set_retention(
                Some(retention.time).filter(|t| !t.is_zero()),
                Some(retention.size_bytes).filter(|b| *b > 0),
                Some(retention.percentage).filter(|p| *p > 0.0),
            );
            db.set_out_of_order_window(config.storage.out_of_order_time_window);
            db.set_stale_series_threshold(config.storage.stale_series_compaction_threshold);
            db.set_max_exemplars(max_exemplars(self.keeps_exemplars, config));
            let floats = config.storage.float_encoding.unwrap_or(self.floats);
            db.set_xor2_floats(floats == FloatEncoding::Xor2).map_err(|e| e.to_string())?;
        }
        let log = config.global.query_log_file.as_ref();
        self.query_log.open(log).map_err(|error| open_error(log, &error))?;
        self.engine.set_subquery_step(config.global.evaluation_interval);
        self.scrape.apply(config).map_err(|error| error.to_string())
    }

    async fn close_storage(self: &Arc<Self>) {
        let db = self.db.clone();
        let closed = tokio::task::spawn_blocking(move || db.db().map(Db::close)).await;
        match closed {
            Ok(Some(Err(error))) => tracing::error!(%error, "closing storage failed"),
            Err(error) => tracing::error!(%error, "closing storage failed; this is a bug"),
            Ok(_) => tracing::info!("see you next time"),
        }
    }
}

impl Server {
    /// Runs a reload, which blocks, on a thread of its own. It logs what goes wrong.
    async fn reload_off_runtime(self: &Arc<Self>, reload: fn(&Self) -> Result<(), String>) {
        let server = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || reload(&server)).await;
    }

    /// Reloads where the watched files have changed.
    fn reload_if_changed(&self) -> Result<(), String> {
        if !self.watch.as_ref().is_some_and(FileWatch::changed) {
            return Ok(());
        }
        tracing::info!("configuration file change detected, reloading the configuration");
        self.reload()
    }

    /// Reads the configuration and puts it into force; what fails leaves the one before in force.
    fn reload_all_or_nothing(&self) -> Result<(), String> {
        let file = self.configuration.name();
        let config = self.configuration.read().map_err(|error| {
            format!("couldn't load configuration (--config.file={file:?}): {error}")
        })?;
        // The likeliest to fail, before anything is changed.
        let failed = |reason: String| {
            format!(
                "one or more errors occurred while applying the new configuration \
                 (--config.file={file:?}): {reason}"
            )
        };
        let (rules, rules_before) = (self.rules.load(&config), self.rules.in_force());
        if let Err(reason) = self.apply(&config, rules.map_err(failed)?) {
            let before = self.configuration.in_force().config;
            if let Err(error) = self.apply(&before, rules_before) {
                tracing::error!("going back to the configuration before: {error}");
            }
            return Err(failed(reason));
        }
        self.configuration.put_in_force(config);
        Ok(())
    }
}

impl Lifecycle for Server {
    fn is_enabled(&self) -> bool {
        self.enable_lifecycle
    }

    fn reload(&self) -> Result<(), String> {
        let _one = self.reloading.lock();
        if !self.storage_open.load(Ordering::Acquire) {
            return Err("the storage is not open yet".to_owned());
        }
        // Before the files are read: what changes while they are is noticed later.
        let fingerprint = self.watch.as_ref().and_then(|watch| watch.look().ok());
        self.reload_all_or_nothing().inspect_err(|error| {
            tracing::error!("error reloading config: {error}");
            self.configuration.failed();
        })?;
        if let Some(watch) = &self.watch {
            watch.took_over(fingerprint);
        }
        tracing::info!(
            filename = self.configuration.name(),
            "completed loading of configuration file"
        );
        Ok(())
    }

    fn quit(&self) {
        self.quit.notify_one();
    }
}

fn engine_options(
    options: &Options,
    configuration: &Configuration,
    budget: &Budget,
    clock: &Arc<dyn Clock>,
) -> EngineOptions {
    let config = configuration.in_force().config;
    let queries = budget.child("queries", budget.limit() / 2);
    // However much the large ones take, there is room for what dashboards ask.
    queries.keep_for_small(queries.limit() / 4, queries.limit() / 16);
    EngineOptions {
        lookback_delta: options.lookback,
        timeout: options.query_timeout,
        max_samples: options.query_max_samples,
        subquery_step: config.global.evaluation_interval,
        delayed_name_removal: options.feature("promql-delayed-name-removal"),
        use_start_timestamps: options.feature("use-start-timestamps"),
        type_and_unit_labels: options.feature("type-and-unit-labels"),
        parser: ParserOptions {
            experimental_functions: options.feature("promql-experimental-functions"),
            extended_range_selectors: options.feature("promql-extended-range-selectors"),
            fill_modifiers: options.feature("promql-binop-fill-modifiers"),
            // Always on since Prometheus 3.14.
            duration_expressions: true,
            ..ParserOptions::default()
        },
        max_concurrency: Some(options.query_concurrency),
        query_bytes: queries.limit() / 2,
        budget: queries,
        clock: Arc::clone(clock),
        executor: Arc::new(ComputePool::for_this_machine()),
        ..EngineOptions::default()
    }
}

/// Share of the process' memory for chunks that dashboards read again and again, and its bound.
const DECODED_SHARE: u64 = 16;
const MAX_DECODED: u64 = 48 << 20;

const ZERO_INGESTION: &str = "created-timestamp-zero-ingestion";

fn scrape_manager(
    options: &Options,
    db: &LateDb,
    clock: &Arc<dyn Clock>,
    own: SocketAddr,
    mechanisms: Mechanisms,
    runtime: Handle,
) -> ScrapeManager {
    let mut scrape = ScrapeOptions::new(Arc::new(HttpFetch::default()));
    scrape.runtime = Some(runtime);
    scrape.at_once = AT_ONCE;
    scrape.discover = Arc::new(move |config| mechanisms.discoverer(config));
    scrape.clock = Arc::clone(clock);
    scrape.hostname = hostname();
    scrape.timestamp_tolerance = options.timestamp_tolerance;
    scrape.append_metadata = options.feature("metadata-wal-records");
    scrape.start_timestamps = options.feature("st-storage") || options.feature(ZERO_INGESTION);
    scrape.type_and_unit_labels = options.feature("type-and-unit-labels");
    let (scheme, host) = match options.external_url.split_once("://") {
        Some((scheme, rest)) => {
            (scheme.to_owned(), rest.split('/').next().unwrap_or_default().to_owned())
        }
        None => ("http".to_owned(), format!("{}:{}", hostname(), own.port())),
    };
    scrape.external = Some(ExternalAddress::new(&own.to_string(), &host, &scheme));
    ScrapeManager::new(Arc::new(db.clone()), scrape)
}

/// Exemplars to keep: Prometheus' feature and its setting.
fn max_exemplars(enabled: bool, config: &Config) -> usize {
    let set = config.storage.max_exemplars.unwrap_or(100_000);
    if enabled { usize::try_from(set).unwrap_or(0) } else { 0 }
}

/// How floats are written by the flags alone.
fn default_floats(options: &Options) -> FloatEncoding {
    if options.feature("xor2-encoding") { FloatEncoding::Xor2 } else { FloatEncoding::Xor }
}

fn storage_builder(
    options: &Options,
    config: &Config,
    budget: &Budget,
    clock: &Arc<dyn Clock>,
) -> firesteel_tsdb::DbBuilder {
    let retention = &config.storage.retention;
    let mut builder = Db::builder(&options.data)
        .clock(Arc::clone(clock))
        .budget(budget.child("head", u64::MAX))
        .decoded_chunks((budget.limit() / DECODED_SHARE).min(MAX_DECODED))
        .durability(Durability::Interval(std::time::Duration::from_secs(1)))
        .block_range(options.block_range)
        .wal_compression(options.wal_compression)
        .max_exemplars(max_exemplars(options.feature("exemplar-storage"), config))
        .retention(Some(retention.time).filter(|t| !t.is_zero()))
        .retention_bytes(Some(retention.size_bytes).filter(|b| *b > 0))
        .out_of_order_window(config.storage.out_of_order_time_window)
        .retention_percentage(Some(retention.percentage).filter(|p| *p > 0.0))
        .max_block_range(options.max_block_range)
        .merge_overlapping(options.merge_overlapping)
        .uploads_file(options.uploads_file.as_deref())
        .block_reload_interval(options.block_reload_interval)
        .stale_series_threshold(config.storage.stale_series_compaction_threshold)
        .xor2_floats(
            config.storage.float_encoding.unwrap_or(default_floats(options)) == FloatEncoding::Xor2,
        )
        .store_start_timestamps(options.feature("st-storage"))
        .histogram_start_timestamps(options.feature("histograms-st-encoding"))
        .zeros_at_start_timestamps(options.feature(ZERO_INGESTION))
        .lock(options.lock);
    if let Some(bytes) = options.wal_segment_size {
        builder = builder.wal_segment_size(bytes);
    }
    builder
}

fn service(
    options: &Options,
    server: &Arc<Server>,
    status: &Arc<ServerStatus>,
    engine: Arc<Engine>,
    clock: &Arc<dyn Clock>,
    discovery: Arc<DiscoveryMetrics>,
) -> ApiService {
    let db = Arc::new(server.db.clone());
    let mut api = Api::builder(Arc::clone(&engine), Arc::clone(&db) as _)
        .targets(Arc::new(Targets(Arc::clone(&server.scrape))))
        .rules(Arc::clone(&server.rules) as _)
        .status(Arc::clone(status) as _)
        .lifecycle(Arc::clone(server) as _)
        .exemplars(Arc::clone(&db) as _)
        .metrics(Arc::clone(status) as _)
        .metrics(Arc::clone(&server.configuration) as _)
        .metrics(Arc::clone(&db) as _)
        .metrics(engine)
        .metrics(Arc::clone(&server.query_log) as _)
        .metrics(Arc::clone(&server.scrape) as _)
        .metrics(discovery)
        .metrics(Arc::clone(&server.rules) as _)
        .metrics(Arc::new(ProcessMetrics))
        .clock(Arc::clone(clock))
        .prefix(&options.route_prefix)
        .cors_origin(options.cors_origin.clone())
        .page_title(&options.page_title)
        .per_step_stats(options.feature("promql-per-step-stats"));
    if options.enable_remote_write {
        api = api.write(db);
    }
    if options.enable_admin {
        let (db, data) = (server.db.clone(), options.data.clone());
        api = api.admin(Arc::new(Admin { db, data }));
    }
    api.build()
}

async fn listen(addresses: &[String]) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), ServerError> {
    let (mut listeners, mut bound) = (Vec::new(), Vec::new());
    for address in addresses {
        // Go listens on every interface where the host is left out.
        let host_given = !address.starts_with(':');
        let full = if host_given { address.clone() } else { format!("0.0.0.0{address}") };
        let failed = |source| ServerError::Listen { address: address.clone(), source };
        let listener = TcpListener::bind(&full).await.map_err(failed)?;
        bound.push(listener.local_addr().map_err(failed)?);
        listeners.push(listener);
    }
    Ok((listeners, bound))
}

fn say_where(options: &Options, addresses: &[SocketAddr], scheme: &str) {
    for address in addresses {
        tracing::info!(%address, "listening");
    }
    if options.config == ConfigSource::Embedded {
        let port = addresses.first().map_or(0, SocketAddr::port);
        let prefix = &options.route_prefix;
        tracing::info!(
            "no --config.file and no prometheus.yml here: running on the embedded default, which scrapes \
             this server every 15s. Open {scheme}://localhost:{port}{prefix}/query"
        );
    }
}

fn say_opened(db: &Db) {
    let report = db.open_report();
    if report.is_clean() {
        tracing::info!("storage is open: {report}");
    } else {
        tracing::warn!("storage is open: {report}");
    }
}
