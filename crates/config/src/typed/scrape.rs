//! One entry of `scrape_configs`.

use std::{path::PathBuf, time::Duration};

use firesteel_model::{EscapingScheme, ValidationScheme, relabel::RelabelConfig};

use super::{
    discovery::DiscoveryConfig,
    global::{ScrapeLimits, ScrapeProtocol},
    http::HttpClientConfig,
};

/// One scrape job, the global defaults filled in.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScrapeConfig {
    /// The job's name: the default of label `job`. Unique.
    pub job_name: String,
    /// How often its targets are scraped.
    pub scrape_interval: Duration,
    /// How long a scrape may take; not more than the interval.
    pub scrape_timeout: Duration,
    /// Formats asked for, most wanted first; never empty.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// The format assumed where a target does not name a known one.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Whether native histograms are scraped.
    pub scrape_native_histograms: bool,
    /// Whether a classic histogram is kept beside its native twin.
    pub always_scrape_classic_histograms: bool,
    /// Whether classic histograms become native ones with custom buckets.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Whether `scrape_timeout_seconds` and its like are stored.
    pub extra_scrape_metrics: bool,
    /// Path of the metrics.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Query parameters, sorted by name.
    pub params: Vec<(String, Vec<String>)>,
    /// Whether scraped labels win over the target's.
    pub honor_labels: bool,
    /// Whether scraped timestamps are used.
    pub honor_timestamps: bool,
    /// Whether series with timestamps of their own get staleness markers.
    pub track_timestamps_staleness: bool,
    /// Whether compressed answers are asked for.
    pub enable_compression: bool,
    /// Limits.
    pub limits: ScrapeLimits,
    /// The least growth factor from one native bucket to the next; 0 for none.
    pub native_histogram_min_bucket_factor: f64,
    /// Which names are valid.
    pub name_validation: ValidationScheme,
    /// How names are asked for.
    pub name_escaping: EscapingScheme,
    /// Where failed scrapes are logged.
    pub scrape_failure_log_file: Option<PathBuf>,
    /// How targets are reached.
    pub http: HttpClientConfig,
    /// Where targets come from.
    pub discovery: Vec<DiscoveryConfig>,
    /// Rules that targets pass before they are scraped.
    pub relabel_configs: Vec<RelabelConfig>,
    /// Rules that samples pass before they are stored.
    pub metric_relabel_configs: Vec<RelabelConfig>,
}

impl ScrapeConfig {
    /// A job with Prometheus' defaults, without targets.
    pub fn new(job_name: impl Into<String>) -> Self {
        Self {
            job_name: job_name.into(),
            scrape_interval: Duration::from_secs(60),
            scrape_timeout: Duration::from_secs(10),
            scrape_protocols: ScrapeProtocol::DEFAULT.to_vec(),
            fallback_scrape_protocol: None,
            scrape_native_histograms: false,
            always_scrape_classic_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            extra_scrape_metrics: false,
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: Vec::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            enable_compression: true,
            limits: ScrapeLimits::default(),
            native_histogram_min_bucket_factor: 0.0,
            name_validation: ValidationScheme::Utf8,
            name_escaping: EscapingScheme::AllowUtf8,
            scrape_failure_log_file: None,
            http: HttpClientConfig::default(),
            discovery: Vec::new(),
            relabel_configs: Vec::new(),
            metric_relabel_configs: Vec::new(),
        }
    }
}
