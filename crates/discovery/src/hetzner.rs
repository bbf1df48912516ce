//! `hetzner_sd_configs`: servers of Hetzner, dedicated or of the cloud. Source: `discovery/hetzner`.

use std::{collections::BTreeMap, net::IpAddr};

use firesteel_config::HetznerSdConfig;
use firesteel_model::Labels;
use serde::Deserialize;

use crate::{
    ADDRESS, DiscoveryError, Mechanisms, TargetGroup,
    http_api::{Api, Query, decode},
    labels::{MetaLabels, host_port},
    refresh::{Polled, Refresh},
};

const CLOUD: &str = "https://api.hetzner.cloud/v1";
const ROBOT: &str = "https://robot-ws.your-server.de";
/// What Go prints for an address that is not there; it ends up in labels.
const NIL: &str = "<nil>";
/// Pages of an answer.
const MOST_PAGES: u64 = 10_000;

/// From one entry of `hetzner_sd_configs`.
///
/// # Errors
/// The HTTP client cannot be made.
pub(crate) fn discoverer(
    config: &HetznerSdConfig,
    mechanisms: &Mechanisms,
) -> Result<Polled<Hetzner>, DiscoveryError> {
    at(if config.robot { ROBOT } else { CLOUD }, config, mechanisms)
}

fn at(
    endpoint: &str,
    config: &HetznerSdConfig,
    mechanisms: &Mechanisms,
) -> Result<Polled<Hetzner>, DiscoveryError> {
    let interval = config.refresh_interval;
    let api = Api::new(endpoint, &config.http, &mechanisms.user_agent, interval)?;
    let source = Hetzner { api, config: config.clone() };
    Ok(Polled { mechanism: "hetzner", interval, metrics: mechanisms.metrics.clone(), source })
}

/// The servers of an account.
#[derive(Debug)]
pub(crate) struct Hetzner {
    api: Api,
    config: HetznerSdConfig,
}

impl Refresh for Hetzner {
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let targets = if self.config.robot { self.robot().await? } else { self.cloud().await? };
        Ok(vec![TargetGroup { source: "hetzner".into(), targets, labels: Labels::empty() }])
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CloudServer {
    id: i64,
    name: String,
    status: String,
    public_net: PublicNet,
    private_net: Option<Vec<PrivateNet>>,
    server_type: ServerType,
    location: Option<Location>,
    datacenter: Option<Datacenter>,
    image: Option<Image>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PublicNet {
    ipv4: Option<Ip>,
    ipv6: Option<Ip>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Ip {
    ip: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PrivateNet {
    network: i64,
    ip: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServerType {
    name: String,
    cores: i64,
    cpu_type: String,
    memory: f64,
    disk: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Location {
    name: String,
    network_zone: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Datacenter {
    location: Location,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Image {
    name: Option<String>,
    description: String,
    os_flavor: String,
    os_version: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Network {
    id: i64,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Page {
    servers: Vec<CloudServer>,
    networks: Vec<Network>,
    meta: PageMeta,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PageMeta {
    pagination: Pagination,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Pagination {
    next_page: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RobotEntry {
    server: RobotServer,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RobotServer {
    server_ip: Option<String>,
    server_number: i64,
    server_name: String,
    dc: String,
    status: String,
    product: String,
    cancelled: bool,
    subnet: Option<Vec<Subnet>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Subnet {
    ip: String,
    mask: String,
}

fn meta_labels() -> MetaLabels {
    MetaLabels::new("__meta_hetzner_")
}

impl Hetzner {
    /// All pages of a list.
    async fn pages(&self, path: &str, selector: &str) -> Result<Vec<Page>, DiscoveryError> {
        let mut pages = Vec::new();
        let mut next = Some(1);
        while let Some(number) = next.filter(|n| *n <= MOST_PAGES) {
            let mut query = Query::default();
            if !selector.is_empty() {
                query.add("label_selector", selector);
            }
            query.add("page", &number.to_string());
            query.add("per_page", "50");
            let page: Page = self.api.get(&query.on(path)).await?;
            next = page.meta.pagination.next_page.filter(|next| *next > number);
            pages.push(page);
        }
        Ok(pages)
    }

    async fn cloud(&self) -> Result<Vec<Labels>, DiscoveryError> {
        let servers = self.pages("/servers", &self.config.label_selector).await?;
        let networks = self.pages("/networks", "").await?;
        let networks: BTreeMap<i64, String> =
            networks.into_iter().flat_map(|p| p.networks).map(|n| (n.id, n.name)).collect();
        let servers = servers.iter().flat_map(|page| &page.servers);
        Ok(servers.map(|server| self.cloud_target(server, &networks)).collect())
    }

    fn cloud_target(&self, server: &CloudServer, networks: &BTreeMap<i64, String>) -> Labels {
        let mut labels = meta_labels();
        let ip = |ip: &Option<Ip>| {
            ip.as_ref()
                .map(|ip| ip.ip.clone())
                .filter(|ip| !ip.is_empty())
                .unwrap_or(NIL.to_owned())
        };
        let ipv4 = ip(&server.public_net.ipv4);
        let datacenter = server.datacenter.as_ref().map(|d| &d.location);
        let location = server.location.as_ref().or(datacenter);
        let place = location.map_or("", |l| &l.name);
        let zone = location.map_or("", |l| &l.network_zone);
        let kind = &server.server_type;
        for (name, value) in [
            ("role", "hcloud".to_owned()),
            ("server_id", server.id.to_string()),
            ("server_name", server.name.clone()),
            ("server_status", server.status.clone()),
            ("public_ipv4", ipv4.clone()),
            ("public_ipv6_network", ip(&server.public_net.ipv6)),
            ("hcloud_location", place.to_owned()),
            ("hcloud_location_network_zone", zone.to_owned()),
            // The names of before.
            ("hcloud_datacenter_location", place.to_owned()),
            ("hcloud_datacenter_location_network_zone", zone.to_owned()),
            ("hcloud_server_type", kind.name.clone()),
            ("hcloud_cpu_cores", kind.cores.to_string()),
            ("hcloud_cpu_type", kind.cpu_type.clone()),
            ("hcloud_memory_size_gb", (kind.memory as i64).to_string()),
            ("hcloud_disk_size_gb", kind.disk.to_string()),
        ] {
            labels.set(name, value);
        }
        if let Some(image) = &server.image {
            labels.set("hcloud_image_name", image.name.as_deref().unwrap_or_default());
            labels.set("hcloud_image_description", &image.description);
            labels.set("hcloud_image_os_version", image.os_version.as_deref().unwrap_or_default());
            labels.set("hcloud_image_os_flavor", &image.os_flavor);
        }
        for private in server.private_net.iter().flatten() {
            if let Some(name) = networks.get(&private.network) {
                labels.set_free("hcloud_private_ipv4_", name, &private.ip);
            }
        }
        for (name, value) in server.labels.iter().flatten() {
            labels.set_free("hcloud_label_", name, value);
            labels.set_free("hcloud_labelpresent_", name, "true");
        }
        labels.set_plain(ADDRESS, host_port(&ipv4, self.config.port));
        labels.build()
    }

    async fn robot(&self) -> Result<Vec<Labels>, DiscoveryError> {
        let (response, body) = self.api.bytes("/server").await?;
        if !response.status.is_success() {
            return Err(DiscoveryError::Http(format!(
                "non 2xx status '{}' response during hetzner service discovery with role robot",
                response.status.as_u16()
            )));
        }
        let entries: Vec<RobotEntry> = decode("/server", &body)?;
        Ok(entries.iter().map(|entry| self.robot_target(&entry.server)).collect())
    }

    fn robot_target(&self, server: &RobotServer) -> Labels {
        let mut labels = meta_labels();
        let ip = server.server_ip.clone().unwrap_or_default();
        let datacenter = server.dc.to_lowercase();
        for (name, value) in [
            ("role", "robot".to_owned()),
            ("server_id", server.server_number.to_string()),
            ("server_name", server.server_name.clone()),
            // The name of before.
            ("datacenter", datacenter.clone()),
            ("public_ipv4", ip.clone()),
            ("server_status", server.status.clone()),
            ("robot_datacenter", datacenter),
            ("robot_product", server.product.clone()),
            ("robot_cancelled", server.cancelled.to_string()),
        ] {
            labels.set(name, value);
        }
        let six = |subnet: &&Subnet| !matches!(subnet.ip.parse(), Ok(IpAddr::V4(_)));
        if let Some(subnet) = server.subnet.iter().flatten().find(six) {
            labels.set("public_ipv6_network", format!("{}/{}", subnet.ip, subnet.mask));
        }
        labels.set_plain(ADDRESS, host_port(&ip, self.config.port));
        labels.build()
    }
}

#[cfg(test)]
mod tests {
    use firesteel_config::HttpClientConfig;
    use serde_json::{Value, json};

    use super::*;
    use crate::http_api::tests::Answers;

    async fn targets(answers: &Answers, robot: bool) -> Vec<Vec<String>> {
        let mut config = HetznerSdConfig::new(robot, HttpClientConfig::default());
        config.label_selector = "env".to_owned();
        let endpoint = format!("http://{}", answers.address);
        let mut source = at(&endpoint, &config, &Mechanisms::new("test")).unwrap().source;
        let groups = source.refresh().await.unwrap();
        let bare = |name: &str| name.trim_start_matches("__meta_hetzner_").to_owned();
        let labels = |l: &Labels| l.iter().map(|(n, v)| format!("{}={v}", bare(n))).collect();
        groups[0].targets.iter().map(labels).collect()
    }

    fn server(id: i64, ipv4: Value) -> Value {
        json!({"id": id, "name": "web", "status": "running",
               "public_net": {"ipv4": ipv4, "ipv6": {"ip": "2001:db8::/64"}},
               "private_net": [{"network": 7, "ip": "10.0.0.2"}, {"network": 8, "ip": "10.9.0.2"}],
               "server_type": {"name": "cx22", "cores": 2, "cpu_type": "shared", "memory": 4.0, "disk": 40},
               "datacenter": {"location": {"name": "fsn1", "network_zone": "eu-central"}},
               "image": {"name": "debian-12", "description": "Debian 12", "os_flavor": "debian", "os_version": "12"},
               "labels": {"env/x": "prod", "empty": ""}})
    }

    #[tokio::test]
    async fn cloud_servers_of_all_pages() {
        let meta = |next: Value| json!({"pagination": {"next_page": next}});
        let one =
            json!({"servers": [server(1, json!({"ip": "203.0.113.1"}))], "meta": meta(json!(2))});
        let two = json!({"servers": [server(2, Value::Null)], "meta": meta(Value::Null)});
        let answers = Answers::of(&[
            ("/servers?label_selector=env&page=1&per_page=50", one),
            ("/servers?label_selector=env&page=2&per_page=50", two),
            ("/networks", json!({"networks": [{"id": 7, "name": "my net"}], "meta": {}})),
        ]);
        let all = targets(&answers, false).await;
        assert_eq!(
            all[0],
            [
                "__address__=203.0.113.1:80",
                "hcloud_cpu_cores=2",
                "hcloud_cpu_type=shared",
                "hcloud_datacenter_location=fsn1",
                "hcloud_datacenter_location_network_zone=eu-central",
                "hcloud_disk_size_gb=40",
                "hcloud_image_description=Debian 12",
                "hcloud_image_name=debian-12",
                "hcloud_image_os_flavor=debian",
                "hcloud_image_os_version=12",
                "hcloud_label_env_x=prod",
                "hcloud_labelpresent_empty=true",
                "hcloud_labelpresent_env_x=true",
                "hcloud_location=fsn1",
                "hcloud_location_network_zone=eu-central",
                "hcloud_memory_size_gb=4",
                "hcloud_private_ipv4_my_net=10.0.0.2",
                "hcloud_server_type=cx22",
                "public_ipv4=203.0.113.1",
                "public_ipv6_network=2001:db8::/64",
                "role=hcloud",
                "server_id=1",
                "server_name=web",
                "server_status=running",
            ]
        );
        assert_eq!(all[1][0], "__address__=<nil>:80");
    }

    #[tokio::test]
    async fn dedicated_servers() {
        let page = json!([{"server": {"server_ip": "203.0.113.5", "server_number": 42, "server_name": "big",
                           "dc": "FSN1-DC7", "status": "ready", "product": "AX41", "cancelled": false,
                           "subnet": [{"ip": "203.0.113.0", "mask": "29"}, {"ip": "2001:db8:1::", "mask": "64"}]}}]);
        let answers = Answers::of(&[("/server", page)]);
        assert_eq!(
            targets(&answers, true).await[0],
            [
                "__address__=203.0.113.5:80",
                "datacenter=fsn1-dc7",
                "public_ipv4=203.0.113.5",
                "public_ipv6_network=2001:db8:1::/64",
                "robot_cancelled=false",
                "robot_datacenter=fsn1-dc7",
                "robot_product=AX41",
                "role=robot",
                "server_id=42",
                "server_name=big",
                "server_status=ready",
            ]
        );
    }
}
