//! Containers. Source: `discovery/moby/docker.go`.

use std::collections::{BTreeMap, HashMap};

use firesteel_model::Labels;
use serde::Deserialize;

use super::{Docker, set_all};
use crate::{
    ADDRESS, DiscoveryError,
    labels::{MetaLabels, host_port},
};

const PREFIX: &str = "__meta_docker_";
/// Containers that share the network of another, and so on: no further than this.
const MOST_SHARED: usize = 16;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Container {
    id: String,
    names: Vec<String>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    labels: Option<BTreeMap<String, String>>,
    ports: Option<Vec<Port>>,
    host_config: HostConfig,
    network_settings: Option<NetworkSettings>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    network_mode: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    networks: Option<Networks>,
}

type Networks = BTreeMap<String, Option<Endpoint>>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Endpoint {
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "IPAddress")]
    ip: String,
    #[serde(rename = "GlobalIPv6Address")]
    ipv6: String,
}

impl Endpoint {
    fn address(&self) -> &str {
        if self.ip.is_empty() { &self.ipv6 } else { &self.ip }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    #[serde(rename = "IP")]
    ip: String,
    private_port: u16,
    public_port: u16,
    #[serde(rename = "Type")]
    kind: String,
}

impl Container {
    fn networks(&self) -> Option<&Networks> {
        let networks = self.network_settings.as_ref()?.networks.as_ref();
        networks.filter(|networks| !networks.is_empty())
    }
}

impl Docker {
    pub(super) async fn containers(&self) -> Result<Vec<Labels>, DiscoveryError> {
        let containers: Vec<Container> = self.api.get(&self.filtered("/containers/json")).await?;
        let networks = self.networks(PREFIX).await?;
        let by_id = containers.iter().map(|c| (c.id.as_str(), c)).collect();
        let mut targets = Vec::new();
        for container in &containers {
            self.targets(container, &by_id, &networks, &mut targets);
        }
        Ok(targets)
    }

    fn targets(
        &self,
        container: &Container,
        by_id: &HashMap<&str, &Container>,
        networks: &BTreeMap<String, Labels>,
        targets: &mut Vec<Labels>,
    ) {
        let Some(name) = container.names.first() else { return };
        let mode = &container.host_config.network_mode;
        let mut common = MetaLabels::new(PREFIX);
        for (label, value) in [
            ("id", &container.id),
            ("name", name),
            ("network_mode", mode),
            ("image", &container.image),
            ("image_id", &container.image_id),
        ] {
            common.set(&format!("container_{label}"), value);
        }
        set_all(&mut common, "container_label_", &container.labels);
        let endpoints = endpoints(container, by_id).into_iter().flatten();
        let mut endpoints: Vec<&Endpoint> = endpoints.filter_map(|(_, e)| e.as_ref()).collect();
        if self.config.match_first_network {
            endpoints.truncate(1);
        }
        for endpoint in endpoints {
            let ip = endpoint.address();
            let target = |address: String, port: Option<&Port>| {
                let mut labels = common.clone();
                labels.set("network_ip", ip);
                if let Some(port) = port {
                    labels.set("port_private", port.private_port.to_string());
                    if port.public_port > 0 {
                        labels.set("port_public", port.public_port.to_string());
                        labels.set("port_public_ip", &port.ip);
                    }
                }
                networks.get(&endpoint.network_id).into_iter().for_each(|n| labels.merge(n));
                labels.set_plain(ADDRESS, address);
                labels.build()
            };
            let ports = container.ports.iter().flatten().filter(|p| p.kind == "tcp");
            let before = targets.len();
            targets.extend(ports.map(|p| target(host_port(ip, p.private_port), Some(p))));
            if targets.len() == before {
                // Containers in the host's network have no ports of their own.
                let address = match mode.as_str() {
                    "host" => self.config.host_networking_host.clone(),
                    _ => host_port(ip, self.config.port),
                };
                targets.push(target(address, None));
            }
        }
    }
}

/// The networks of a container, or of the one whose network it shares.
fn endpoints<'a>(
    container: &'a Container,
    by_id: &HashMap<&str, &'a Container>,
) -> Option<&'a Networks> {
    let mut container = container;
    for _ in 0..MOST_SHARED {
        if let Some(networks) = container.networks() {
            return Some(networks);
        }
        let other = container.host_config.network_mode.strip_prefix("container:")?;
        container = by_id.get(other)?;
    }
    None
}
