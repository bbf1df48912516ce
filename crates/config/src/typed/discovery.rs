//! Where targets come from.

use std::{path::PathBuf, time::Duration};

use firesteel_model::Labels;

use super::{
    http::HttpClientConfig,
    mechanisms::{
        ConsulSdConfig, DigitalOceanSdConfig, DnsSdConfig, DockerSdConfig, Ec2SdConfig,
        HetznerSdConfig, KubernetesSdConfig,
    },
};
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
    /// One of `kubernetes_sd_configs`.
    Kubernetes(Box<KubernetesSdConfig>),
    /// One of `dns_sd_configs`.
    Dns(DnsSdConfig),
    /// One of `consul_sd_configs`.
    Consul(Box<ConsulSdConfig>),
    /// One of `docker_sd_configs` or `dockerswarm_sd_configs`.
    Docker(Box<DockerSdConfig>),
    /// One of `ec2_sd_configs`.
    Ec2(Box<Ec2SdConfig>),
    /// One of `hetzner_sd_configs`.
    Hetzner(Box<HetznerSdConfig>),
    /// One of `digitalocean_sd_configs`.
    DigitalOcean(Box<DigitalOceanSdConfig>),
    /// A mechanism that this version reads but does not serve.
    Other {
        /// The key, such as `kubernetes_sd_configs`.
        key: &'static str,
        /// Its values.
        section: Section,
    },
}

impl DiscoveryConfig {
    /// The mechanism's name in Prometheus' messages and metrics: `kubernetes`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::File(_) => "file",
            Self::Http(_) => "http",
            Self::Kubernetes(_) => "kubernetes",
            Self::Dns(_) => "dns",
            Self::Consul(_) => "consul",
            Self::Docker(config) if config.swarm.is_some() => "dockerswarm",
            Self::Docker(_) => "docker",
            Self::Ec2(_) => "ec2",
            Self::Hetzner(_) => "hetzner",
            Self::DigitalOcean(_) => "digitalocean",
            Self::Other { key, .. } => key.strip_suffix("_sd_configs").unwrap_or(key),
        }
    }
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
