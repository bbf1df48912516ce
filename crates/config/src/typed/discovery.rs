//! Where targets come from.

use std::{path::PathBuf, time::Duration};

use firesteel_model::Labels;

use super::http::HttpClientConfig;
use crate::{Section, Url};

/// One discovery section of a job.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DiscoveryConfig {
    /// All of the job's `static_configs`, in order.
    Static(Vec<StaticGroup>),
    /// One of `file_sd_configs`.
    File(FileSdConfig),
    /// One of `http_sd_configs`.
    Http(Box<HttpSdConfig>),
    /// A mechanism that this version reads but does not serve.
    Other {
        /// The key, such as `kubernetes_sd_configs`.
        key: &'static str,
        /// Its values.
        section: Section,
    },
}

/// One entry of `static_configs`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StaticGroup {
    /// Addresses.
    pub targets: Vec<String>,
    /// Labels of all of them.
    pub labels: Labels,
}

impl StaticGroup {
    /// A group of addresses with common labels.
    #[must_use]
    pub fn new(targets: Vec<String>, labels: Labels) -> Self {
        Self { targets, labels }
    }
}

/// One entry of `file_sd_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSdConfig {
    /// Paths; the last component may be a pattern.
    pub files: Vec<PathBuf>,
    /// How often the files are read again, besides when they change.
    pub refresh_interval: Duration,
}

impl FileSdConfig {
    /// These files, read again every 5 minutes at the latest.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { files, refresh_interval: Duration::from_secs(300) }
    }
}

/// One entry of `http_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HttpSdConfig {
    /// Where the list of groups is.
    pub url: Url,
    /// How often it is fetched; also the limit of one fetch.
    pub refresh_interval: Duration,
    /// How it is reached.
    pub http: HttpClientConfig,
}

impl HttpSdConfig {
    /// This URL, every minute.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self { url, refresh_interval: Duration::from_secs(60), http: HttpClientConfig::default() }
    }
}
