//! What the API asks of the program around it, as traits. All methods may block briefly; they are
//! called from blocking threads.

use std::{sync::Arc, time::Duration};

use firesteel_model::{Exemplar, Labels, Matcher, Metadata, Timestamp};
use serde::Serialize;

use crate::handlers::features::Features;

/// A target that is scraped.
#[derive(Clone, Debug)]
pub struct TargetView {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// Labels that its series get.
    pub labels: Labels,
    /// Its job.
    pub scrape_pool: String,
    /// Where it is scraped.
    pub scrape_url: String,
    /// The same as seen from elsewhere.
    pub global_url: String,
    /// Why the last scrape failed; empty if it did not.
    pub last_error: String,
    /// When the last scrape began, `None` before the first.
    pub last_scrape: Option<Timestamp>,
    /// How long it took, in seconds.
    pub last_scrape_duration: f64,
    /// `up`, `down` or `unknown`.
    pub health: &'static str,
    /// As Prometheus prints durations.
    pub scrape_interval: String,
    /// As Prometheus prints durations.
    pub scrape_timeout: String,
}

/// A target that relabelling dropped.
#[derive(Clone, Debug)]
pub struct DroppedTarget {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// Its job.
    pub scrape_pool: String,
}

/// Metadata of a metric family as one target gave it.
#[derive(Clone, Debug)]
pub struct FamilyMetadata {
    /// Name of the family.
    pub family: String,
    /// Type, unit and help.
    pub metadata: Metadata,
    /// Labels of the target.
    pub target: Labels,
}

/// The scraper, as the API sees it.
pub trait TargetSource: Send + Sync {
    /// Targets that are scraped, in order of their pools.
    fn active(&self) -> Vec<TargetView>;
    /// Targets that relabelling dropped, as far as they are kept.
    fn dropped(&self) -> Vec<DroppedTarget>;
    /// Number of dropped targets per pool.
    fn dropped_counts(&self) -> Vec<(String, usize)>;
    /// Metadata of all targets' families.
    fn metadata(&self) -> Vec<FamilyMetadata>;
}

/// A group of rules.
#[derive(Clone, Debug)]
pub struct RuleGroupView {
    /// Its name, the only one in its file.
    pub name: String,
    /// The file it is from.
    pub file: String,
    /// How often it is evaluated.
    pub interval: Duration,
    /// How many series or alerts a rule of it may give; 0 for any number.
    pub limit: usize,
    /// Its rules in order.
    pub rules: Vec<RuleView>,
    /// How long the last evaluation took.
    pub evaluation_time: Duration,
    /// When it began, in nanoseconds since the epoch; `None` before the first.
    pub last_evaluation: Option<i64>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct RuleView {
    /// Name of the series or of the alert.
    pub name: String,
    /// The query.
    pub query: String,
    /// The labels that it gives, sorted by name.
    pub labels: Vec<(String, String)>,
    /// `ok`, `err` or `unknown`.
    pub health: &'static str,
    /// Why the last evaluation failed.
    pub last_error: Option<String>,
    /// How long the last evaluation took.
    pub evaluation_time: Duration,
    /// When it began, in nanoseconds since the epoch; `None` before the first.
    pub last_evaluation: Option<i64>,
    /// What alerting rules have besides; recording rules have none.
    pub alerting: Option<AlertingRuleView>,
}

/// What an alerting rule has besides.
#[derive(Clone, Debug)]
pub struct AlertingRuleView {
    /// `firing`, `pending`, `inactive` or `unknown`.
    pub state: &'static str,
    /// How long an alert is pending before it fires.
    pub hold: Duration,
    /// How long an alert goes on firing when its condition is gone.
    pub keep_firing_for: Duration,
    /// Templates, sorted by name.
    pub annotations: Vec<(String, String)>,
    /// Alerts that are pending or firing.
    pub alerts: Vec<ActiveAlert>,
}

/// An alert that is pending or firing.
#[derive(Clone, Debug)]
pub struct ActiveAlert {
    /// What identifies it.
    pub labels: Labels,
    /// What is said about it, sorted by name.
    pub annotations: Arc<[(String, String)]>,
    /// `firing` or `pending`.
    pub state: &'static str,
    /// Since when, in nanoseconds since the epoch.
    pub active_at: i64,
    /// Since when it fires without its condition, in nanoseconds since the epoch.
    pub keep_firing_since: Option<i64>,
    /// The value of its query.
    pub value: f64,
}

/// The URLs of Alertmanagers.
#[derive(Clone, Debug, Default)]
pub struct AlertmanagersView {
    /// Those that alerts are sent to.
    pub active: Vec<String>,
    /// Those that relabelling dropped.
    pub dropped: Vec<String>,
}

/// Rules and alerts, as the API sees them.
pub trait RuleSource: Send + Sync {
    /// All groups, in order of their files and names; alerts only where they are asked for.
    fn groups(&self, with_alerts: bool) -> Vec<RuleGroupView>;
    /// Where alerts are sent.
    fn alertmanagers(&self) -> AlertmanagersView;
    /// What is wrong with the rule files, where others are in force: file, line and reason each.
    fn errors(&self) -> Vec<String> {
        Vec::new()
    }
}

/// `/api/v1/status/buildinfo`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildInfo {
    /// The Prometheus version that the program is compatible with.
    pub version: String,
    /// Source revision.
    pub revision: String,
    /// Source branch.
    pub branch: String,
    /// Who built it.
    pub build_user: String,
    /// When, as `YYYYMMDD-hh:mm:ss`.
    pub build_date: String,
    /// The compiler.
    pub go_version: String,
    /// The program's name.
    pub application: String,
    /// The program's own version.
    pub application_version: String,
}

/// `/api/v1/status/runtimeinfo`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(non_snake_case, reason = "the API's own spelling of its keys")]
pub struct RuntimeInfo {
    /// RFC 3339.
    pub start_time: String,
    /// Working directory.
    #[serde(rename = "CWD")]
    pub cwd: String,
    /// Host name.
    pub hostname: String,
    /// RFC 3339.
    pub server_time: String,
    /// Whether the last reload succeeded.
    pub reload_config_success: bool,
    /// RFC 3339, of the last successful load.
    pub last_config_time: String,
    /// Corruptions found in the WAL.
    pub corruption_count: i64,
    /// Threads.
    pub goroutine_count: i64,
    /// Cores that are used.
    #[serde(rename = "GOMAXPROCS")]
    pub gomaxprocs: i64,
    /// Memory limit in bytes.
    #[serde(rename = "GOMEMLIMIT")]
    pub gomemlimit: i64,
    /// Always empty.
    #[serde(rename = "GOGC")]
    pub gogc: String,
    /// Always empty.
    #[serde(rename = "GODEBUG")]
    pub godebug: String,
    /// As `15d or 10GiB`.
    pub storage_retention: String,
    /// Settings of the configuration that have no effect yet, each with file and line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_served: Vec<String>,
}

/// A row of the tables of `/api/v1/status/tsdb`.
#[derive(Clone, Debug, Serialize)]
pub struct CardinalityEntry {
    /// What is counted.
    pub name: String,
    /// How many.
    pub value: u64,
}

/// `/api/v1/status/tsdb`.
#[derive(Clone, Debug, Default)]
pub struct TsdbStatus {
    /// Series in the head.
    pub num_series: u64,
    /// Distinct label pairs in the head.
    pub num_label_pairs: u64,
    /// Chunks in the head.
    pub chunk_count: u64,
    /// Oldest sample of the head.
    pub min_time: Timestamp,
    /// Newest sample of the head.
    pub max_time: Timestamp,
    /// Metrics with the most series.
    pub series_count_by_metric_name: Vec<CardinalityEntry>,
    /// Labels with the most values.
    pub label_value_count_by_label_name: Vec<CardinalityEntry>,
    /// Labels whose values take the most bytes.
    pub memory_in_bytes_by_label_name: Vec<CardinalityEntry>,
    /// Label pairs with the most series.
    pub series_count_by_label_value_pair: Vec<CardinalityEntry>,
}

/// How far the write-ahead log is replayed: numbers of segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalReplay {
    /// The first segment.
    pub min: u64,
    /// The last one.
    pub max: u64,
    /// The last one that was replayed.
    pub current: u64,
    /// What is being done, in words, for `/-/ready`; empty where there is nothing to say.
    pub text: String,
}

/// The program, as the API sees it.
pub trait StatusSource: Send + Sync {
    /// `/-/ready` and everything that appends answer 503 until this is true.
    fn is_ready(&self) -> bool;
    /// Queries answer 503 until this is true. It may be so earlier than [`StatusSource::is_ready`]:
    /// while the newest samples are being loaded, the older ones can be asked for.
    fn can_query(&self) -> bool {
        self.is_ready()
    }
    /// How far the write-ahead log is replayed.
    fn wal_replay(&self) -> WalReplay {
        WalReplay::default()
    }
    /// What was built.
    fn build_info(&self) -> BuildInfo;
    /// How it runs.
    fn runtime_info(&self) -> RuntimeInfo;
    /// The flags, sorted by name.
    fn flags(&self) -> Vec<(String, String)>;
    /// The configuration in force, secrets masked.
    fn config_yaml(&self) -> String;
    /// What is switched on besides the API and the query language, which the API knows itself.
    fn features(&self) -> Features {
        Features::new()
    }
    /// The storage's cardinality, tables with at most `limit` rows; `None` where there is none.
    fn tsdb_status(&self, limit: usize) -> Option<TsdbStatus>;
}

/// Work on the storage that `--web.enable-admin-api` allows. Errors are texts for the caller.
pub trait StorageAdmin: Send + Sync {
    /// Deletes the samples between two times, both inclusive, of the series that satisfy all
    /// matchers.
    ///
    /// # Errors
    /// The storage's; a part may be deleted then.
    fn delete_series(
        &self,
        matchers: &[Matcher],
        mint: Timestamp,
        maxt: Timestamp,
    ) -> Result<(), String>;
    /// Frees the space of what is deleted.
    ///
    /// # Errors
    /// The storage's.
    fn clean_tombstones(&self) -> Result<(), String>;
    /// Makes a copy of the storage below its folder `snapshots`, under this name.
    ///
    /// # Errors
    /// The storage's.
    fn snapshot(&self, name: &str, with_head: bool) -> Result<(), String>;
}

/// Exemplars, as the API sees them.
pub trait ExemplarSource: Send + Sync {
    /// Exemplars between two times, both inclusive, of the series that satisfy all matchers of at
    /// least one set: by series in the order of their labels, oldest first.
    fn exemplars(
        &self,
        mint: Timestamp,
        maxt: Timestamp,
        selectors: &[Vec<Matcher>],
    ) -> Vec<(Labels, Vec<Exemplar>)>;
}

/// What `/-/reload` and `/-/quit` do.
pub trait Lifecycle: Send + Sync {
    /// Whether `--web.enable-lifecycle` was given.
    fn is_enabled(&self) -> bool;
    /// Reloads the configuration; returns when it is in force.
    ///
    /// # Errors
    /// Why the old configuration stays in force.
    fn reload(&self) -> Result<(), String>;
    /// Asks the program to stop.
    fn quit(&self);
}
