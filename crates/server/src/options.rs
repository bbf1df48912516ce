//! What the flags say, typed and checked.

use std::{path::PathBuf, time::Duration};

use firesteel_config::{Url, size};
use firesteel_model::regex::Regex;
use firesteel_tsdb::Compression;
use tracing::Level;

use crate::{
    error::ServerError,
    flags::{FEATURES, FLAGS, FeatureEffect, FlagEffect, FlagError, Flags},
    log::LogFormat,
};

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file.
    File(PathBuf),
    /// No file was named and none is there: the server scrapes itself.
    Embedded,
}

/// The server's settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the configuration comes from.
    pub config: ConfigSource,
    /// How often to look whether its files have changed; `None` for never.
    pub auto_reload: Option<Duration>,
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// The file with TLS, users and headers of the server itself.
    pub web_config: Option<PathBuf>,
    /// The origins whose pages may read answers.
    pub cors_origin: Regex,
    /// Path prefix of everything served.
    pub route_prefix: String,
    /// Address under which the server is reached from outside; empty for its own.
    pub external_url: String,
    /// Title of the pages.
    pub page_title: String,
    /// Whether reload and shutdown by HTTP are allowed.
    pub enable_lifecycle: bool,
    /// Whether deleting series and making snapshots by HTTP is allowed.
    pub enable_admin: bool,
    /// Whether remote write requests are taken.
    pub enable_remote_write: bool,
    /// Connections at a time.
    pub max_connections: usize,
    /// How long a client may take to send a request.
    pub read_timeout: Duration,
    /// Folder of the data.
    pub data: PathBuf,
    /// Whether to lock it.
    pub lock: bool,
    /// How much time a block covers.
    pub block_range: Duration,
    /// How much time a compacted block may cover; `None` for what the retention suggests.
    pub max_block_range: Option<Duration>,
    /// Whether overlapping blocks are merged.
    pub merge_overlapping: bool,
    /// File that lists uploaded blocks.
    pub uploads_file: Option<PathBuf>,
    /// How often to look for new blocks.
    pub block_reload_interval: Duration,
    /// Size of a WAL segment.
    pub wal_segment_size: Option<u64>,
    /// How the WAL is compressed.
    pub wal_compression: Compression,
    /// Retention by age as the flag says.
    pub retention_time: Option<Duration>,
    /// Retention by size as the flag says.
    pub retention_size: Option<u64>,
    /// How far instant selectors look back.
    pub lookback: Duration,
    /// How long a query may take.
    pub query_timeout: Duration,
    /// Queries at a time.
    pub query_concurrency: usize,
    /// Samples that a query may hold.
    pub query_max_samples: u64,
    /// Features that are on.
    pub features: Vec<String>,
    /// How far scrapes' timestamps are moved to fit their schedule.
    pub timestamp_tolerance: Duration,
    /// An outage longer than this ends pending alerts.
    pub outage_tolerance: Duration,
    /// An alert that is restored after an outage waits at least so long before it fires.
    pub grace_period: Duration,
    /// How long to wait before an alert that still fires is sent again.
    pub resend_delay: Duration,
    /// Rules that run at a time, where they may.
    pub rule_concurrency: usize,
    /// Alerts that may wait for an Alertmanager.
    pub notification_capacity: usize,
    /// Alerts per request.
    pub notification_batch: usize,
    /// Whether waiting alerts are sent before the end.
    pub drain_notifications: bool,
    /// Level of the log.
    pub log_level: Level,
    /// Form of the log.
    pub log_format: LogFormat,
    /// What to say in the log about flags without effect.
    pub remarks: Vec<String>,
}

impl Options {
    /// Reads the flags.
    ///
    /// # Errors
    /// A value does not fit, or the server cannot do safely what a flag asks for.
    pub fn from_flags(flags: &Flags) -> Result<Self, ServerError> {
        refuse(flags)?;
        let seconds = |name: &str| flags.duration(name).map(Option::unwrap_or_default);
        Ok(Self {
            config: config_source(flags),
            auto_reload: auto_reload(flags)?,
            listen: flags.all("web.listen-address").to_vec(),
            web_config: Some(flags.text("web.config.file"))
                .filter(|file| !file.is_empty())
                .map(PathBuf::from),
            cors_origin: cors_origin(flags)?,
            route_prefix: route_prefix(flags),
            external_url: external_url(flags)?,
            page_title: flags.text("web.page-title").to_owned(),
            enable_lifecycle: flags.bool("web.enable-lifecycle"),
            enable_admin: flags.bool("web.enable-admin-api"),
            enable_remote_write: flags.bool("web.enable-remote-write-receiver"),
            max_connections: flags.number("web.max-connections")?,
            read_timeout: seconds("web.read-timeout")?,
            data: flags.text("storage.tsdb.path").into(),
            lock: !flags.bool("storage.tsdb.no-lockfile"),
            block_range: seconds("storage.tsdb.min-block-duration")?,
            max_block_range: flags
                .duration("storage.tsdb.max-block-duration")?
                .filter(|d| !d.is_zero()),
            merge_overlapping: flags.bool("storage.tsdb.allow-overlapping-compaction"),
            uploads_file: Some(flags.text("storage.tsdb.delay-compact-file.path"))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            block_reload_interval: seconds("storage.tsdb.block-reload-interval")?,
            wal_segment_size: bytes(flags, "storage.tsdb.wal-segment-size")?,
            wal_compression: wal_compression(flags)?,
            retention_time: flags.duration("storage.tsdb.retention.time")?,
            retention_size: bytes(flags, "storage.tsdb.retention.size")?,
            lookback: seconds("query.lookback-delta")?,
            query_timeout: seconds("query.timeout")?,
            query_concurrency: flags.number("query.max-concurrency")?,
            query_max_samples: flags.number("query.max-samples")? as u64,
            features: features(flags),
            timestamp_tolerance: if flags.bool("scrape.adjust-timestamps") {
                seconds("scrape.timestamp-tolerance")?
            } else {
                Duration::ZERO
            },
            outage_tolerance: seconds("rules.alert.for-outage-tolerance")?,
            grace_period: seconds("rules.alert.for-grace-period")?,
            resend_delay: seconds("rules.alert.resend-delay")?,
            rule_concurrency: flags.number("rules.max-concurrent-evals")?,
            notification_capacity: flags.number("alertmanager.notification-queue-capacity")?,
            notification_batch: flags.number("alertmanager.notification-batch-size")?,
            drain_notifications: flags.bool("alertmanager.drain-notification-queue-on-shutdown"),
            log_level: log_level(flags)?,
            log_format: log_format(flags)?,
            remarks: remarks(flags),
        })
    }

    /// Whether a feature is on.
    #[must_use]
    pub fn feature(&self, name: &str) -> bool {
        self.features.iter().any(|f| f == name)
    }
}

/// The flags whose absence would lose data or safety.
fn refuse(flags: &Flags) -> Result<(), FlagError> {
    let error = |text: String| FlagError { text, exit_code: 2 };
    for flag in FLAGS.iter().filter(|f| flags.given().contains(&f.name)) {
        if let FlagEffect::Refused(why) = flag.effect
            && flags.text(flag.name) != flag.default
        {
            return Err(error(format!("--{} is not served yet: {why}\n", flag.name)));
        }
    }
    Ok(())
}

fn config_source(flags: &Flags) -> ConfigSource {
    let file = PathBuf::from(flags.text("config.file"));
    if flags.given().contains(&"config.file") || file.exists() {
        ConfigSource::File(file)
    } else {
        ConfigSource::Embedded
    }
}

/// The interval of `--config.auto-reload`, at least a second.
fn auto_reload(flags: &Flags) -> Result<Option<Duration>, FlagError> {
    let interval = flags.duration("config.auto-reload-interval")?.unwrap_or_default();
    let asked = flags.bool("config.auto-reload")
        || features(flags).iter().any(|feature| feature == "auto-reload-config");
    Ok(asked.then(|| interval.max(Duration::from_secs(1))))
}

fn external_url(flags: &Flags) -> Result<String, FlagError> {
    let text = flags.text("web.external-url");
    let wrong = |reason: String| FlagError {
        text: format!("parse external URL {text:?}: {reason}\n"),
        exit_code: 2,
    };
    if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
        return Err(wrong("URL must not begin or end with quotes".to_owned()));
    }
    Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    Ok(text.to_owned())
}

/// The path of `--web.external-url` unless `--web.route-prefix` says otherwise.
fn route_prefix(flags: &Flags) -> String {
    let given = flags.text("web.route-prefix");
    let path = if given.is_empty() {
        let url = flags.text("web.external-url");
        let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        after_scheme.find('/').map_or("", |at| &after_scheme[at..])
    } else {
        given
    };
    match path.trim_matches('/') {
        "" => String::new(),
        path => format!("/{path}"),
    }
}

fn cors_origin(flags: &Flags) -> Result<Regex, FlagError> {
    let text = flags.text("web.cors.origin");
    Regex::anchored(text).map_err(|error| FlagError {
        text: format!("could not compile CORS regex string {text:?}: {error}\n"),
        exit_code: 2,
    })
}

fn bytes(flags: &Flags, name: &str) -> Result<Option<u64>, FlagError> {
    match flags.text(name) {
        "" | "0" => Ok(None),
        text => match size::parse(text) {
            Ok(0) => Ok(None),
            Ok(bytes) if bytes > 0 => Ok(Some(bytes.unsigned_abs())),
            _ => Err(flags.wrong(name, "a size with a unit such as 512MB")),
        },
    }
}

fn features(flags: &Flags) -> Vec<String> {
    let all = flags.all("enable-feature").iter().flat_map(|v| v.split(','));
    all.map(str::trim).filter(|f| !f.is_empty()).map(str::to_owned).collect()
}

fn wal_compression(flags: &Flags) -> Result<Compression, FlagError> {
    let name = "storage.tsdb.wal-compression-type";
    match flags.text(name) {
        "snappy" | "zstd" if !flags.bool("storage.tsdb.wal-compression") => Ok(Compression::None),
        "snappy" => Ok(Compression::Snappy),
        "zstd" => Ok(Compression::Zstd),
        _ => Err(flags.wrong(name, "snappy or zstd")),
    }
}

fn log_level(flags: &Flags) -> Result<Level, FlagError> {
    match flags.text("log.level") {
        "debug" => Ok(Level::DEBUG),
        "info" => Ok(Level::INFO),
        "warn" => Ok(Level::WARN),
        "error" => Ok(Level::ERROR),
        _ => Err(flags.wrong("log.level", "one of debug, info, warn, error")),
    }
}

fn log_format(flags: &Flags) -> Result<LogFormat, FlagError> {
    match flags.text("log.format") {
        "logfmt" => Ok(LogFormat::Logfmt),
        "json" => Ok(LogFormat::Json),
        _ => Err(flags.wrong("log.format", "logfmt or json")),
    }
}

/// One line for each flag and feature that was given and has no effect.
fn remarks(flags: &Flags) -> Vec<String> {
    let mut remarks = Vec::new();
    for flag in FLAGS.iter().filter(|f| flags.given().contains(&f.name)) {
        if let FlagEffect::Ignored(why) = flag.effect {
            remarks.push(format!("--{} has no effect: {why}", flag.name));
        }
    }
    for name in features(flags) {
        match FEATURES.iter().find(|f| f.name == name).map(|f| f.effect) {
            Some(FeatureEffect::Works | FeatureEffect::AlwaysOn) => {}
            Some(FeatureEffect::Ignored) => {
                remarks.push(format!("--enable-feature={name} has no effect yet"));
            }
            None => remarks.push(format!("--enable-feature={name}: unknown feature")),
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::parse;

    fn options(args: &[&str]) -> Result<Options, ServerError> {
        let all = std::iter::once("firesteel").chain(args.iter().copied());
        Options::from_flags(&parse(all, "0").unwrap())
    }

    #[test]
    fn prefixes_come_from_the_external_url() {
        for (args, prefix) in [
            (&["--web.external-url=http://x/"][..], ""),
            (&["--web.external-url=https://x:1/a/b/"], "/a/b"),
            (&["--web.external-url=https://x/a", "--web.route-prefix=/"], ""),
            (&["--web.route-prefix=p"], "/p"),
        ] {
            assert_eq!(options(args).unwrap().route_prefix, prefix, "{args:?}");
        }
    }

    #[test]
    fn reloads_by_itself_where_a_flag_or_the_old_feature_says_so() {
        for (args, seconds) in [
            (&[][..], None),
            (&["--config.auto-reload-interval=1m"], None),
            (&["--config.auto-reload"], Some(30)),
            (&["--config.auto-reload", "--config.auto-reload-interval=1ms"], Some(1)),
            (&["--enable-feature=auto-reload-config"], Some(30)),
        ] {
            let interval = options(args).unwrap().auto_reload;
            assert_eq!(interval.map(|i| i.as_secs()), seconds, "{args:?}");
        }
    }

    #[test]
    fn values_are_checked_and_flags_without_effect_named() {
        let text = options(&["--query.timeout=x"]).unwrap_err().to_string();
        assert!(text.contains("--query.timeout") && text.contains("\"x\""), "{text}");
        assert_eq!(options(&["--agent"]).unwrap_err().exit_code(), 2);
        for url in ["\"http://x\"", "http://x:y/"] {
            let error = options(&[&format!("--web.external-url={url}")]).unwrap_err();
            assert!(error.to_string().starts_with("parse external URL"), "{error}");
        }
        let options =
            options(&["--auto-gomaxprocs", "--enable-feature=nonsense,native-histograms"]).unwrap();
        assert_eq!(options.remarks.len(), 2);
    }
}
