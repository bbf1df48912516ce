//! The configuration in force: loading, reloading, and what is said about it.

use std::{path::Path, sync::Arc, time::Duration};

use firesteel_config::{
    Config, ConfigError, LoadOptions, NotServed, OsFiles, embedded_default, load,
};
use firesteel_model::{
    Timestamp,
    clock::Clock,
    metrics::{Collect, Families},
};
use parking_lot::Mutex;

use crate::{
    error::ServerError,
    options::{ConfigSource, Options},
};

/// Where samples are kept for where nothing says otherwise.
const DEFAULT_RETENTION: Duration = Duration::from_secs(15 * 86_400);

/// The configuration in force.
#[derive(Clone)]
pub(crate) struct InForce {
    pub(crate) config: Arc<Config>,
    /// When it was loaded.
    pub(crate) since: Timestamp,
    /// Whether the last attempt to load succeeded.
    pub(crate) last_succeeded: bool,
}

/// Loads the configuration and keeps the one in force.
pub(crate) struct Configuration {
    source: ConfigSource,
    options: LoadOptions,
    /// What the embedded default scrapes.
    own_address: String,
    clock: Arc<dyn Clock>,
    in_force: Mutex<InForce>,
}

impl Configuration {
    /// Loads it for the first time.
    pub(crate) fn load(
        options: &Options,
        own_address: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ServerError> {
        let mut load_options = LoadOptions::default();
        load_options.retention.time = options.retention_time.unwrap_or_default();
        load_options.retention.size_bytes = options.retention_size.unwrap_or_default();
        if options.retention_time.is_none() && options.retention_size.is_none() {
            load_options.retention.time = DEFAULT_RETENTION;
        }
        load_options.extra_scrape_metrics = options.feature("extra-scrape-metrics");
        load_options.protobuf_first = ["st-storage", "created-timestamp-zero-ingestion"]
            .into_iter()
            .any(|name| options.feature(name));
        let source = options.config.clone();
        let config = read(&source, &load_options, &own_address)
            .map_err(|e| ServerError::Config { file: source.name(), reason: e.to_string() })?;
        say(&config);
        let in_force =
            InForce { config: Arc::new(config), since: clock.now(), last_succeeded: true };
        Ok(Self {
            source,
            options: load_options,
            own_address,
            clock,
            in_force: Mutex::new(in_force),
        })
    }

    /// Reads it again; nothing of it is in force until [`Configuration::put_in_force`].
    pub(crate) fn read(&self) -> Result<Arc<Config>, ConfigError> {
        read(&self.source, &self.options, &self.own_address).map(Arc::new)
    }

    /// Notes that a configuration has been put into force everywhere.
    pub(crate) fn put_in_force(&self, config: Arc<Config>) {
        say(&config);
        let since = self.clock.now();
        *self.in_force.lock() = InForce { config, since, last_succeeded: true };
    }

    /// Notes that a configuration could not be read, or not be put into force everywhere.
    pub(crate) fn failed(&self) {
        self.in_force.lock().last_succeeded = false;
    }

    /// The name of the file, for messages.
    pub(crate) fn name(&self) -> String {
        self.source.name()
    }

    pub(crate) fn in_force(&self) -> InForce {
        self.in_force.lock().clone()
    }
}

impl ConfigSource {
    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Embedded => "embedded default".to_owned(),
        }
    }
}

fn read(
    source: &ConfigSource,
    options: &LoadOptions,
    own_address: &str,
) -> Result<Config, ConfigError> {
    match source {
        ConfigSource::File(path) => load(Path::new(path), &OsFiles, options),
        ConfigSource::Embedded => {
            let mut config = embedded_default(own_address);
            config.storage.retention = options.retention;
            Ok(config)
        }
    }
}

/// One line for each thing that is odd or has no effect yet.
fn say(config: &Config) {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    for line in not_served(config) {
        tracing::warn!("{line}");
    }
}

/// What the configuration asks for in vain, with its place.
pub(crate) fn not_served(config: &Config) -> Vec<String> {
    let line = |n: &NotServed| {
        let (file, place, key, what) = (&n.file, n.place, &n.key_path, &n.what);
        format!("{file}:{}:{}: {key}: not served yet: {what}", place.line, place.column)
    };
    config.not_served().iter().map(line).collect()
}

impl Collect for Configuration {
    fn collect(&self, out: &mut Families) {
        let in_force = self.in_force();
        out.gauge(
            "prometheus_config_last_reload_successful",
            "Whether the last configuration reload attempt was successful.",
            f64::from(u8::from(in_force.last_succeeded)),
        );
        out.gauge(
            "prometheus_config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload.",
            in_force.since as f64 / 1000.0,
        );
    }
}
