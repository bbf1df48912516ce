//! `docker_sd_configs` and `dockerswarm_sd_configs`: containers, services, tasks and nodes of a Docker
//! daemon. Source: `discovery/moby`.

mod containers;
mod swarm;

use std::collections::BTreeMap;

use firesteel_config::{DockerSdConfig, SdFilter, SwarmRole};
use firesteel_model::Labels;
use serde::Deserialize;

use crate::{
    DiscoveryError, Mechanisms, TargetGroup,
    http_api::{Api, Query},
    labels::MetaLabels,
    refresh::{Polled, Refresh},
};

/// From one entry of either.
///
/// # Errors
/// The host is not one that can be reached, or the HTTP client cannot be made.
pub(crate) fn discoverer(
    config: &DockerSdConfig,
    mechanisms: &Mechanisms,
) -> Result<Polled<Docker>, DiscoveryError> {
    let interval = config.refresh_interval;
    let api = Api::of_daemon(&config.host, &config.http, &mechanisms.user_agent, interval)?;
    let source = Docker { api, config: config.clone() };
    let mechanism = if config.swarm.is_some() { "dockerswarm" } else { "docker" };
    Ok(Polled { mechanism, interval, metrics: mechanisms.metrics.clone(), source })
}

/// What a daemon knows.
#[derive(Debug)]
pub(crate) struct Docker {
    api: Api,
    config: DockerSdConfig,
}

impl Refresh for Docker {
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let (source, targets) = match self.config.swarm {
            None => ("Docker", self.containers().await?),
            Some(SwarmRole::Services) => ("DockerSwarm", self.services().await?),
            Some(SwarmRole::Tasks) => ("DockerSwarm", self.tasks().await?),
            Some(_) => ("DockerSwarm", self.nodes().await?),
        };
        Ok(vec![TargetGroup { source: source.into(), targets, labels: Labels::empty() }])
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    ingress: bool,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Docker {
    /// The labels of each network.
    async fn networks(
        &self,
        prefix: &'static str,
    ) -> Result<BTreeMap<String, Labels>, DiscoveryError> {
        let networks: Vec<Network> = self.api.get("/networks").await?;
        let labels = |network: Network| {
            let mut labels = MetaLabels::new(prefix);
            labels.set("network_id", &network.id);
            labels.set("network_name", &network.name);
            labels.set("network_scope", &network.scope);
            labels.set("network_internal", network.internal.to_string());
            labels.set("network_ingress", network.ingress.to_string());
            set_all(&mut labels, "network_label_", &network.labels);
            (network.id, labels.build())
        };
        Ok(networks.into_iter().map(labels).collect())
    }

    /// A path with the configured filters.
    fn filtered(&self, path: &str) -> String {
        filtered(path, &self.config.filters)
    }
}

fn filtered(path: &str, filters: &[SdFilter]) -> String {
    let mut query = Query::default();
    if !filters.is_empty() {
        let mut all: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
        for filter in filters {
            let values = filter.values.iter().map(|value| (value.as_str(), true));
            all.entry(&filter.name).or_default().extend(values);
        }
        query.add("filters", &serde_json::json!(all).to_string());
    }
    query.on(path)
}

fn set_all(labels: &mut MetaLabels, prefix: &str, map: &Option<BTreeMap<String, String>>) {
    map.iter().flatten().for_each(|(name, value)| labels.set_free(prefix, name, value));
}

/// The address of one with the length of its network's prefix.
fn without_prefix(cidr: &str) -> Result<&str, DiscoveryError> {
    let ip = cidr.split_once('/').map(|(ip, _)| ip);
    ip.filter(|ip| ip.parse::<std::net::IpAddr>().is_ok()).ok_or_else(|| {
        let what = format!("error while parsing address {cidr}: invalid CIDR address: {cidr}");
        DiscoveryError::Http(what)
    })
}

#[cfg(test)]
mod tests;
