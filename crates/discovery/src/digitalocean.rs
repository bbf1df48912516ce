//! `digitalocean_sd_configs`: droplets and databases. Source: `discovery/digitalocean`.

use firesteel_config::DigitalOceanSdConfig;
use firesteel_model::Labels;
use serde::Deserialize;

use crate::{
    ADDRESS, DiscoveryError, Mechanisms, TargetGroup,
    http_api::{Api, Query},
    labels::{MetaLabels, host_port},
    refresh::{Polled, Refresh},
};

const ENDPOINT: &str = "https://api.digitalocean.com";
/// Pages of an answer.
const MOST_PAGES: u64 = 10_000;

/// From one entry of `digitalocean_sd_configs`.
///
/// # Errors
/// The HTTP client cannot be made.
pub(crate) fn discoverer(
    config: &DigitalOceanSdConfig,
    mechanisms: &Mechanisms,
) -> Result<Polled<DigitalOcean>, DiscoveryError> {
    at(ENDPOINT, config, mechanisms)
}

fn at(
    endpoint: &str,
    config: &DigitalOceanSdConfig,
    mechanisms: &Mechanisms,
) -> Result<Polled<DigitalOcean>, DiscoveryError> {
    let interval = config.refresh_interval;
    let api = Api::new(endpoint, &config.http, &mechanisms.user_agent, interval)?;
    let source = DigitalOcean { api, databases: config.databases, port: config.port };
    Ok(Polled { mechanism: "digitalocean", interval, metrics: mechanisms.metrics.clone(), source })
}

/// What an account has.
#[derive(Debug)]
pub(crate) struct DigitalOcean {
    api: Api,
    databases: bool,
    port: u16,
}

impl Refresh for DigitalOcean {
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let (source, targets) = if self.databases {
            ("DigitalOcean Databases", self.databases().await?)
        } else {
            ("DigitalOcean", self.droplets().await?)
        };
        Ok(vec![TargetGroup { source: source.into(), targets, labels: Labels::empty() }])
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Page {
    droplets: Option<Vec<Droplet>>,
    databases: Option<Vec<Database>>,
    links: Option<Links>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Links {
    pages: Option<Pages>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Pages {
    last: String,
}

impl Page {
    fn is_last(&self) -> bool {
        let pages = self.links.as_ref().and_then(|l| l.pages.as_ref());
        pages.is_none_or(|pages| pages.last.is_empty())
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Droplet {
    id: i64,
    name: String,
    image: Image,
    networks: Networks,
    region: Region,
    size_slug: String,
    status: String,
    vpc_uuid: String,
    features: Option<Vec<String>>,
    tags: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Image {
    slug: Option<String>,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Region {
    slug: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Networks {
    v4: Option<Vec<Address>>,
    v6: Option<Vec<Address>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Address {
    ip_address: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Database {
    id: String,
    name: String,
    engine: String,
    version: String,
    status: String,
    region: String,
    size: String,
    num_nodes: i64,
    connection: Option<Connection>,
    private_connection: Option<Connection>,
    tags: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Connection {
    host: String,
}

fn meta_labels() -> MetaLabels {
    MetaLabels::new("__meta_digitalocean_")
}

/// A list surrounded by what separates it; empty where the list is.
fn joined(list: &Option<Vec<String>>) -> String {
    match list.as_deref() {
        None | Some([]) => String::new(),
        Some(list) => format!(",{},", list.join(",")),
    }
}

impl DigitalOcean {
    async fn droplets(&self) -> Result<Vec<Labels>, DiscoveryError> {
        let mut targets = Vec::new();
        for number in 1..MOST_PAGES {
            let mut query = Query::default();
            if number > 1 {
                query.add("page", &number.to_string());
            }
            let page: Page = self.api.get(&query.on("/v2/droplets")).await?;
            targets.extend(page.droplets.iter().flatten().filter_map(|d| self.droplet(d)));
            if page.is_last() {
                break;
            }
        }
        Ok(targets)
    }

    fn droplet(&self, droplet: &Droplet) -> Option<Labels> {
        let Networks { v4, v6 } = &droplet.networks;
        v4.as_ref().filter(|addresses| !addresses.is_empty())?;
        let find = |addresses: &Option<Vec<Address>>, kind: &str| {
            let found = addresses.iter().flatten().find(|a| a.kind == kind);
            found.map(|a| a.ip_address.clone()).unwrap_or_default()
        };
        let public = find(v4, "public");
        let mut labels = meta_labels();
        for (name, value) in [
            ("droplet_id", droplet.id.to_string()),
            ("droplet_name", droplet.name.clone()),
            ("image", droplet.image.slug.clone().unwrap_or_default()),
            ("image_name", droplet.image.name.clone()),
            ("private_ipv4", find(v4, "private")),
            ("public_ipv4", public.clone()),
            ("public_ipv6", find(v6, "public")),
            ("region", droplet.region.slug.clone()),
            ("size", droplet.size_slug.clone()),
            ("status", droplet.status.clone()),
            ("vpc", droplet.vpc_uuid.clone()),
            ("features", joined(&droplet.features)),
            ("tags", joined(&droplet.tags)),
        ] {
            labels.set(name, value);
        }
        labels.set_plain(ADDRESS, host_port(&public, self.port));
        Some(labels.build())
    }

    async fn databases(&self) -> Result<Vec<Labels>, DiscoveryError> {
        let mut targets = Vec::new();
        for number in 1..MOST_PAGES {
            let mut query = Query::default();
            query.add("page", &number.to_string());
            query.add("per_page", "100");
            let page: Page = self.api.get(&query.on("/v2/databases")).await?;
            let found = page.databases.unwrap_or_default();
            if found.is_empty() {
                break;
            }
            targets.extend(found.iter().map(|database| self.database(database)));
        }
        Ok(targets)
    }

    fn database(&self, database: &Database) -> Labels {
        let host = |c: &Option<Connection>| c.as_ref().map(|c| c.host.clone()).unwrap_or_default();
        let (public, private) = (host(&database.connection), host(&database.private_connection));
        let mut labels = meta_labels();
        for (name, value) in [
            ("id", database.id.clone()),
            ("name", database.name.clone()),
            ("engine", database.engine.clone()),
            ("version", database.version.clone()),
            ("status", database.status.clone()),
            ("region", database.region.clone()),
            ("size", database.size.clone()),
            ("num_nodes", database.num_nodes.to_string()),
            ("host", public.clone()),
            ("private_host", private.clone()),
        ] {
            labels.set(&format!("db_{name}"), value);
        }
        for tag in database.tags.iter().flatten() {
            labels.set(&format!("db_tag_{tag}"), "true");
        }
        let host = if private.is_empty() { public } else { private };
        if !host.is_empty() {
            labels.set_plain(ADDRESS, host_port(&host, self.port));
        }
        labels.build()
    }
}

#[cfg(test)]
mod tests {
    use firesteel_config::HttpClientConfig;
    use serde_json::json;

    use super::*;
    use crate::http_api::tests::Answers;

    async fn targets(answers: &Answers, databases: bool) -> Vec<Vec<String>> {
        let config = DigitalOceanSdConfig::new(databases, HttpClientConfig::default());
        let endpoint = format!("http://{}", answers.address);
        let mut source = at(&endpoint, &config, &Mechanisms::new("test")).unwrap().source;
        let groups = source.refresh().await.unwrap();
        let bare = |name: &str| name.trim_start_matches("__meta_digitalocean_").to_owned();
        let labels = |l: &Labels| l.iter().map(|(n, v)| format!("{}={v}", bare(n))).collect();
        groups[0].targets.iter().map(labels).collect()
    }

    #[tokio::test]
    async fn droplets_of_all_pages() {
        let droplet = |id: i64, v4: serde_json::Value| {
            json!({"id": id, "name": "web", "image": {"slug": "debian-12", "name": "12 x64"},
                   "networks": {"v4": v4, "v6": [{"ip_address": "2001:db8::1", "type": "public"}]},
                   "region": {"slug": "fra1"}, "size_slug": "s-1vcpu-1gb", "status": "active", "vpc_uuid": "v",
                   "features": ["backups", "ipv6"], "tags": ["monitor"]})
        };
        let v4 = json!([{"ip_address": "10.0.0.2", "type": "private"}, {"ip_address": "203.0.113.2", "type": "public"}]);
        let more = json!({"pages": {"next": "http://x/?page=2", "last": "http://x/?page=2"}});
        let answers = Answers::of(&[
            (
                "/v2/droplets?page=2",
                json!({"droplets": [droplet(2, json!([])), droplet(3, v4.clone())], "links": {}}),
            ),
            ("/v2/droplets", json!({"droplets": [droplet(1, v4)], "links": more})),
        ]);
        let all = targets(&answers, false).await;
        assert_eq!(all.len(), 2, "one has no address");
        assert_eq!(
            all[0],
            [
                "__address__=203.0.113.2:80",
                "droplet_id=1",
                "droplet_name=web",
                "features=,backups,ipv6,",
                "image=debian-12",
                "image_name=12 x64",
                "private_ipv4=10.0.0.2",
                "public_ipv4=203.0.113.2",
                "public_ipv6=2001:db8::1",
                "region=fra1",
                "size=s-1vcpu-1gb",
                "status=active",
                "tags=,monitor,",
                "vpc=v",
            ]
        );
    }

    #[tokio::test]
    async fn databases() {
        let page = json!({"databases": [{"id": "d1", "name": "db", "engine": "pg", "version": "16", "status": "online",
                          "region": "fra1", "size": "small", "num_nodes": 2, "connection": {"host": "db.example.org"},
                          "private_connection": {"host": "private-db"}, "tags": ["prod"]}]});
        let none = json!({"databases": []});
        let answers = Answers::of(&[
            ("/v2/databases?page=1&per_page=100", page),
            ("/v2/databases?page=2&per_page=100", none),
        ]);
        assert_eq!(
            targets(&answers, true).await,
            [[
                "__address__=private-db:80",
                "db_engine=pg",
                "db_host=db.example.org",
                "db_id=d1",
                "db_name=db",
                "db_num_nodes=2",
                "db_private_host=private-db",
                "db_region=fra1",
                "db_size=small",
                "db_status=online",
                "db_tag_prod=true",
                "db_version=16",
            ]]
        );
    }
}
