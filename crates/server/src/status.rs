//! What the server says of itself.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use firesteel_api::{
    BuildInfo, CardinalityEntry, Features, RuntimeInfo, StatusSource, TsdbStatus, WalReplay,
};
use firesteel_config::Config;
use firesteel_model::{
    MetricType, Timestamp,
    clock::Clock,
    duration,
    metrics::{Collect, Families, Point},
};
use firesteel_tsdb::{Db, OpenPhase};

use crate::{
    configuration::{Configuration, not_served},
    late::LateDb,
    options::Options,
    process,
};

/// The Prometheus version whose behaviour is served; clients choose their requests by it.
pub(crate) const COMPATIBLE_VERSION: &str = "3.14.0";

/// The server's own view of itself.
pub(crate) struct ServerStatus {
    pub(crate) flags: Vec<(String, String)>,
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) db: LateDb,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Timestamp,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) features: Features,
    pub(crate) ready: AtomicBool,
}

impl StatusSource for ServerStatus {
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn can_query(&self) -> bool {
        self.db.db().is_some()
    }

    fn wal_replay(&self) -> WalReplay {
        let Some(progress) = self.db.db().map(Db::open_progress) else {
            return WalReplay { text: "opening blocks".to_owned(), ..WalReplay::default() };
        };
        let (min, max) = (progress.first_segment, progress.last_segment);
        let current = progress.current_segment;
        let text = match progress.phase {
            OpenPhase::Log => format!(
                "replaying the write-ahead log: segment {current} of {min} to {max}, {} samples",
                progress.samples
            ),
            OpenPhase::Snapshot => "loading the head".to_owned(),
            OpenPhase::Late => "reading out-of-order samples".to_owned(),
            _ => String::new(),
        };
        WalReplay { min, max, current, text }
    }

    fn build_info(&self) -> BuildInfo {
        BuildInfo {
            version: COMPATIBLE_VERSION.to_owned(),
            revision: option_env!("FIRESTEEL_REVISION").unwrap_or("unknown").to_owned(),
            branch: "main".to_owned(),
            build_user: String::new(),
            build_date: option_env!("FIRESTEEL_BUILD_DATE")
                .unwrap_or("20260101-00:00:00")
                .to_owned(),
            go_version: "rust".to_owned(),
            application: "Firesteel".to_owned(),
            application_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn runtime_info(&self) -> RuntimeInfo {
        let in_force = self.configuration.in_force();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        RuntimeInfo {
            start_time: rfc3339(self.started),
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::new()).display().to_string(),
            hostname: hostname(),
            server_time: rfc3339(self.clock.now()),
            reload_config_success: in_force.last_succeeded,
            last_config_time: rfc3339(in_force.since),
            corruption_count: self.db.db().map_or(0, |db| db.open_report().damage.len() as i64),
            goroutine_count: process::threads(),
            gomaxprocs: cores as i64,
            gomemlimit: self
                .memory_limit
                .map_or(i64::MAX, |b| i64::try_from(b).unwrap_or(i64::MAX)),
            gogc: String::new(),
            godebug: String::new(),
            storage_retention: retention_text(&in_force.config),
            not_served: not_served(&in_force.config),
        }
    }

    fn flags(&self) -> Vec<(String, String)> {
        self.flags.clone()
    }

    fn features(&self) -> Features {
        self.features.clone()
    }

    fn config_yaml(&self) -> String {
        self.configuration.in_force().config.to_yaml()
    }

    fn tsdb_status(&self, limit: usize) -> Option<TsdbStatus> {
        let stats = self.db.db()?.stats(limit);
        let rows = |rows: Vec<(String, u64)>| {
            rows.into_iter().map(|(name, value)| CardinalityEntry { name, value }).collect()
        };
        Some(TsdbStatus {
            num_series: stats.num_series,
            num_label_pairs: stats.num_label_pairs,
            chunk_count: stats.chunk_count,
            min_time: stats.min_time,
            max_time: stats.max_time,
            series_count_by_metric_name: rows(stats.series_count_by_metric_name),
            label_value_count_by_label_name: rows(stats.label_value_count_by_label_name),
            memory_in_bytes_by_label_name: rows(stats.memory_in_bytes_by_label_name),
            series_count_by_label_value_pair: rows(stats.series_count_by_label_value_pair),
        })
    }
}

impl Collect for ServerStatus {
    fn collect(&self, out: &mut Families) {
        let build = self.build_info();
        out.add(
            "prometheus_build_info",
            MetricType::Gauge,
            "A metric with a constant '1' value labeled by version, revision, branch and goversion \
             from which the program was built.",
            &[
                ("branch", &build.branch),
                ("goversion", &build.go_version),
                ("revision", &build.revision),
                ("version", &build.version),
            ],
            Point::Value(1.0),
        );
        let ready = f64::from(u8::from(self.is_ready()));
        out.gauge("prometheus_ready", "Whether Prometheus startup was fully completed.", ready);
    }
}

/// As `15d or 10GiB or 80%`, as Prometheus words it.
fn retention_text(config: &Config) -> String {
    let retention = &config.storage.retention;
    let mut parts = Vec::new();
    if !retention.time.is_zero() {
        parts.push(duration::format(retention.time));
    }
    if retention.size_bytes > 0 {
        let bytes = i64::try_from(retention.size_bytes).unwrap_or(i64::MAX);
        parts.push(firesteel_config::size::format(bytes));
    }
    if retention.percentage > 0.0 {
        parts.push(format!("{}%", retention.percentage));
    }
    parts.join(" or ")
}

fn rfc3339(t: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(t).map_or_else(|_| String::new(), |t| t.to_string())
}

/// Prometheus' functions of templates.
const TEMPLATING: [&str; 29] = [
    "args",
    "externalURL",
    "first",
    "graphLink",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "label",
    "match",
    "now",
    "parseDuration",
    "pathPrefix",
    "query",
    "reReplaceAll",
    "safeHtml",
    "sortByLabel",
    "stripDomain",
    "stripPort",
    "strvalue",
    "tableLink",
    "title",
    "toDuration",
    "toLower",
    "toTime",
    "toUpper",
    "urlQueryEscape",
    "value",
];

/// What is switched on outside of the API and the query language, as `/api/v1/features` gives it.
pub(crate) fn features(options: &Options) -> Features {
    let mut all = Features::new();
    let mut set = |category: &'static str, features: &[(&str, bool)]| {
        let names = features.iter().map(|(name, on)| ((*name).to_owned(), *on));
        all.insert(category, names.collect());
    };
    set("otlp_receiver", &[("delta_conversion", false), ("native_delta_ingestion", false)]);
    set(
        "prometheus",
        &[("agent_mode", false), ("auto_reload_config", false), ("server_mode", true)],
    );
    set(
        "rules",
        &[
            ("concurrent_rule_eval", options.feature("concurrent-rule-eval")),
            ("keep_firing_for", true),
            ("query_offset", true),
        ],
    );
    set(
        "scrape",
        &[
            ("extra_scrape_metrics", true),
            ("start_timestamp_zero_ingestion", false),
            ("type_and_unit_labels", false),
        ],
    );
    let mechanisms = ["file", "http", "static"].map(|name| (name, true));
    set("service_discovery_providers", &mechanisms);
    set("templating_functions", &TEMPLATING.map(|name| (name, true)));
    set(
        "tsdb",
        &[
            ("delayed_compaction", false),
            ("exemplar_storage", options.feature("exemplar-storage")),
            ("histograms_st_encoding", false),
            ("isolation", true),
            ("native_histograms", true),
            ("st_storage", false),
            ("use_uncached_io", false),
            ("xor2_encoding", true),
        ],
    );
    set("ui", &[("ui_v2", false), ("ui_v3", false)]);
    all
}

/// The machine's name.
pub(crate) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
