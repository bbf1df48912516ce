//! `consul_sd_configs`: services that Consul knows. Source: `discovery/consul/consul.go`.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use firesteel_config::ConsulSdConfig;
use firesteel_net::Limits;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    ADDRESS, Discoverer, DiscoveryError, DiscoveryMetrics, Mechanisms, TargetGroup, Updates,
    http_api::{Api, MAX_BYTES, Query, decode},
    labels::{MetaLabels, host_port},
};

/// How long Consul may wait for something new.
const WATCH: Duration = Duration::from_secs(120);
/// How much longer its answer may take.
const EXTRA: Duration = Duration::from_secs(15);
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(15);

/// Finds the services of a Consul.
#[derive(Debug)]
pub struct ConsulDiscoverer(Shared);

#[derive(Debug, Clone)]
struct Shared {
    api: Api,
    config: Arc<ConsulSdConfig>,
    metrics: Arc<DiscoveryMetrics>,
    retry: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Service,
    #[serde(default)]
    checks: Vec<Check>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Node {
    node: String,
    address: String,
    tagged_addresses: Option<BTreeMap<String, String>>,
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    tags: Option<Vec<String>>,
    meta: Option<BTreeMap<String, String>>,
    port: i64,
    address: String,
    namespace: String,
    partition: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Check {
    #[serde(rename = "CheckID")]
    id: String,
    status: String,
}

impl ConsulDiscoverer {
    /// From one entry of `consul_sd_configs`.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(config: &ConsulSdConfig, mechanisms: &Mechanisms) -> Result<Self, DiscoveryError> {
        let (scheme, server) =
            config.server.split_once("://").unwrap_or((&config.scheme, &config.server));
        let prefix = config.path_prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        let base = format!("{scheme}://{}{slash}{prefix}", server.trim_end_matches('/'));
        let mut api = Api::new(&base, &config.http, &mechanisms.user_agent, WATCH + EXTRA)?;
        if !config.token.is_empty() {
            let token = HeaderValue::from_str(config.token.expose());
            let mut token =
                token.map_err(|_| DiscoveryError::Http("the token cannot be sent".to_owned()))?;
            token.set_sensitive(true);
            api.headers.insert("x-consul-token", token);
        }
        let config = Arc::new(config.clone());
        let metrics = mechanisms.metrics.clone();
        Ok(Self(Shared { api, config, metrics, retry: RETRY }))
    }
}

impl Discoverer for ConsulDiscoverer {
    fn run(
        self: Box<Self>,
        updates: Updates,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            // Whatever follows single services ends with this.
            let stop = shutdown.child_token();
            let _stop = stop.clone().drop_guard();
            tokio::select! {
                () = self.0.run(&updates, &stop) => {}
                () = shutdown.cancelled() => {}
            }
        })
    }
}

impl Shared {
    async fn run(mut self, updates: &Updates, stop: &CancellationToken) {
        while self.config.datacenter.is_empty() {
            match self.datacenter().await {
                Ok(datacenter) => {
                    Arc::make_mut(&mut self.config).datacenter = datacenter;
                    break;
                }
                Err(err) => {
                    tracing::error!(discovery = "consul", %err, "Error retrieving datacenter name");
                    self.metrics.consul_rpc_failures.inc();
                    sleep(self.retry).await;
                }
            }
        }
        let config = &self.config;
        if config.services.is_empty() || !config.tags.is_empty() || !config.filter.is_empty() {
            return self.follow_catalog(updates, stop).await;
        }
        for name in config.services.clone() {
            self.follow_service(name, updates, stop);
        }
        stop.cancelled().await;
    }

    /// The agent's own datacenter.
    async fn datacenter(&self) -> Result<String, DiscoveryError> {
        let own: serde_json::Value = self.api.get("/v1/agent/self").await?;
        let name = own.pointer("/Config/Datacenter").and_then(serde_json::Value::as_str);
        name.map(str::to_owned).ok_or_else(|| {
            DiscoveryError::Http("invalid value for Config.Datacenter of the agent".to_owned())
        })
    }

    fn query(&self, index: u64, filter: &str) -> Query {
        let config = &self.config;
        let mut query = Query::default();
        for (name, value) in [
            ("dc", &*config.datacenter),
            ("ns", &config.namespace),
            ("partition", &config.partition),
            ("filter", filter),
        ] {
            if !value.is_empty() {
                query.add(name, value);
            }
        }
        if config.allow_stale {
            query.add("stale", "");
        }
        if index > 0 {
            query.add("index", &index.to_string());
        }
        query.add("wait", &format!("{}ms", WATCH.as_millis()));
        for (name, value) in &config.node_meta {
            query.add("node-meta", &format!("{name}:{value}"));
        }
        query
    }

    /// Asks, and waits if nothing is newer than `index`; `None` if that is still so.
    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        index: &mut u64,
    ) -> Result<Option<T>, DiscoveryError> {
        let fail = |e: String| DiscoveryError::Http(e);
        let mut response = self.api.send(path, Limits::body(MAX_BYTES), WATCH + EXTRA).await?;
        let body = response.body.whole(0).await.map_err(|e| fail(e.to_string()))?;
        if response.status != StatusCode::OK {
            let text = String::from_utf8_lossy(body.get(..body.len().min(200)).unwrap_or(&body));
            let status = response.status.as_u16();
            return Err(fail(format!("Unexpected response code: {status} ({})", text.trim())));
        }
        let header = response.headers.get("x-consul-index").and_then(|v| v.to_str().ok());
        let new = header.and_then(|text| text.parse().ok()).unwrap_or(0);
        if new == *index {
            return Ok(None);
        }
        *index = new;
        decode(path, &body).map(Some)
    }

    async fn follow_catalog(&self, updates: &Updates, stop: &CancellationToken) {
        let mut ticks = interval(self.config.refresh_interval.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut followed: HashMap<String, JoinHandle<()>> = HashMap::new();
        let mut index = 0;
        loop {
            ticks.tick().await;
            let path = self.query(index, &self.config.filter).on("/v1/catalog/services");
            let started = Instant::now();
            let answer = self.ask::<BTreeMap<String, Vec<String>>>(&path, &mut index).await;
            self.metrics.consul_rpc("catalog", "services", started.elapsed());
            let services = match answer {
                Ok(Some(services)) => services,
                Ok(None) => continue,
                Err(err) => {
                    tracing::error!(discovery = "consul", %err, "Error refreshing service list");
                    self.metrics.consul_rpc_failures.inc();
                    sleep(self.retry).await;
                    continue;
                }
            };
            for (name, tags) in &services {
                if self.wants(name, tags) && !followed.contains_key(name) {
                    let task = self.follow_service(name.clone(), updates, stop);
                    followed.insert(name.clone(), task);
                }
            }
            let gone: Vec<String> =
                followed.keys().filter(|name| !services.contains_key(*name)).cloned().collect();
            for name in &gone {
                if let Some(task) = followed.remove(name) {
                    task.abort();
                    // What it was about to send must not come after the group that removes it.
                    let _ = task.await;
                }
            }
            let gone: Vec<_> = gone.into_iter().map(TargetGroup::gone).collect();
            if (followed.is_empty() || !gone.is_empty()) && !updates.send(gone).await {
                return;
            }
        }
    }

    fn wants(&self, name: &str, tags: &[String]) -> bool {
        let config = &self.config;
        (config.services.is_empty() || config.services.iter().any(|s| s == name))
            && config.tags.iter().all(|tag| tags.contains(tag))
    }

    fn follow_service(
        &self,
        name: String,
        updates: &Updates,
        stop: &CancellationToken,
    ) -> JoinHandle<()> {
        let (shared, updates, stop) = (self.clone(), updates.clone(), stop.clone());
        tokio::spawn(async move {
            stop.run_until_cancelled(shared.follow(&name, &updates)).await;
        })
    }

    async fn follow(&self, name: &str, updates: &Updates) {
        let mut ticks = interval(self.config.refresh_interval.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut path = String::from("/v1/health/service/");
        crate::http_api::escape(name, &mut path);
        let mut index = 0;
        loop {
            ticks.tick().await;
            let mut query = self.query(index, &self.config.health_filter);
            self.config.tags.iter().for_each(|tag| query.add("tag", tag));
            let started = Instant::now();
            let answer = self.ask::<Vec<Entry>>(&query.on(&path), &mut index).await;
            self.metrics.consul_rpc("health", "service", started.elapsed());
            match answer {
                Ok(Some(entries)) => {
                    if !updates.send(vec![self.group(name, &entries)]).await {
                        return;
                    }
                }
                Ok(None) => {}
                Err(err) => {
                    tracing::error!(discovery = "consul", service = name, %err, "Error refreshing service");
                    self.metrics.consul_rpc_failures.inc();
                    sleep(self.retry).await;
                }
            }
        }
    }

    fn group(&self, name: &str, entries: &[Entry]) -> TargetGroup {
        let mut common = meta_labels();
        common.set("service", name);
        common.set("dc", &self.config.datacenter);
        let separator = &self.config.tag_separator;
        let target = |Entry { node, service, checks }: &Entry| {
            let mut labels = meta_labels();
            let host = if service.address.is_empty() { &node.address } else { &service.address };
            labels.set_plain(ADDRESS, host_port(host, service.port));
            // Surrounded by separators, so that expressions need not mind the first and the last.
            let tags = service.tags.iter().flatten().map(String::as_str).collect::<Vec<_>>();
            let tags = format!("{separator}{}{separator}", tags.join(separator));
            let port = service.port.to_string();
            for (name, value) in [
                ("address", &*node.address),
                ("node", &node.node),
                ("namespace", &service.namespace),
                ("partition", &service.partition),
                ("tags", &tags),
                ("service_address", &service.address),
                ("service_port", &port),
                ("service_id", &service.id),
                ("health", status(checks)),
            ] {
                labels.set(name, value);
            }
            for (prefix, map) in [
                ("metadata_", &node.meta),
                ("service_metadata_", &service.meta),
                ("tagged_address_", &node.tagged_addresses),
            ] {
                map.iter().flatten().for_each(|(k, v)| labels.set_free(prefix, k, v));
            }
            labels.build()
        };
        let targets = entries.iter().map(target).collect();
        TargetGroup { source: name.into(), targets, labels: common.build() }
    }
}

fn meta_labels() -> MetaLabels {
    MetaLabels::new("__meta_consul_")
}

/// The state of all checks together: the worst of them.
fn status(checks: &[Check]) -> &'static str {
    let maintenance =
        |c: &Check| c.id == "_node_maintenance" || c.id.starts_with("_service_maintenance");
    let any = |status: &str| checks.iter().any(|c| c.status == status);
    if checks.iter().any(maintenance) {
        "maintenance"
    } else if checks.iter().any(|c| !matches!(&*c.status, "passing" | "warning" | "critical")) {
        ""
    } else if any("critical") {
        "critical"
    } else if any("warning") {
        "warning"
    } else {
        "passing"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};

    use super::*;
    use crate::{http_api::tests::Answers, updates};

    fn entry(id: &str, health: &str) -> Value {
        json!({
            "Node": {"Node": "pi", "Address": "10.0.0.1", "Datacenter": "home",
                     "TaggedAddresses": {"lan": "10.0.0.1", "wan-v4": "203.0.113.1"},
                     "Meta": {"rack.name": "r1"}},
            "Service": {"ID": id, "Service": "web", "Tags": ["a", "b"], "Port": 8080, "Address": "10.0.0.9",
                        "Meta": {"version": "2"}, "Namespace": "team", "Partition": "part"},
            "Checks": [{"CheckID": "serfHealth", "Status": "passing"},
                       {"CheckID": "service:web", "Status": health}],
        })
    }

    #[tokio::test]
    async fn follows_services() {
        // Index, services and instances; the test changes them.
        let state = Arc::new(Mutex::new((
            1,
            json!({"consul": [], "web": ["a", "b"]}),
            json!([entry("web1", "warning")]),
        )));
        let shared = state.clone();
        let answers = Answers::start(move |path| {
            let (index, services, web) = shared.lock().unwrap().clone();
            let asked = path.split("index=").nth(1).and_then(|t| t.split('&').next()?.parse().ok());
            if asked == Some(index) {
                return None;
            }
            let body = match path.split('?').next().unwrap() {
                "/up/v1/agent/self" => json!({"Config": {"Datacenter": "home"}}),
                "/up/v1/catalog/services" => services,
                "/up/v1/health/service/web" => web,
                other => panic!("{other}"),
            };
            Some((200, vec![("X-Consul-Index".to_owned(), index.to_string())], body.to_string()))
        });
        let mut config = ConsulSdConfig::new(answers.address.to_string());
        config.path_prefix = "/up".to_owned();
        config.tags = vec!["b".to_owned()];
        config.refresh_interval = Duration::from_millis(10);
        config.token = firesteel_config::Secret::new("t0ken");
        config.node_meta = vec![("rack".to_owned(), "r1".to_owned())];
        let discoverer = ConsulDiscoverer::new(&config, &Mechanisms::new("test")).unwrap();
        let (sender, mut receiver) = updates();
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        tokio::spawn(Box::new(discoverer).run(sender, stop));
        let groups = receiver.recv().await.unwrap();
        assert_eq!((groups.len(), &*groups[0].source), (1, "web"));
        let labels = groups[0].merged().next().unwrap();
        let got: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(
            got,
            [
                "__address__=10.0.0.9:8080",
                "__meta_consul_address=10.0.0.1",
                "__meta_consul_dc=home",
                "__meta_consul_health=warning",
                "__meta_consul_metadata_rack_name=r1",
                "__meta_consul_namespace=team",
                "__meta_consul_node=pi",
                "__meta_consul_partition=part",
                "__meta_consul_service=web",
                "__meta_consul_service_address=10.0.0.9",
                "__meta_consul_service_id=web1",
                "__meta_consul_service_metadata_version=2",
                "__meta_consul_service_port=8080",
                "__meta_consul_tagged_address_lan=10.0.0.1",
                "__meta_consul_tagged_address_wan_v4=203.0.113.1",
                "__meta_consul_tags=,a,b,",
            ]
        );
        let requests = answers.requests();
        let health = requests.iter().find(|r| r.contains("/health/")).unwrap();
        for part in [
            "dc=home",
            "stale=",
            "wait=120000ms",
            "node-meta=rack%3Ar1",
            "tag=b",
            "x-consul-token: t0ken",
        ] {
            assert!(health.contains(part), "{part} in {health}");
        }
        *state.lock().unwrap() = (2, json!({"consul": []}), json!([]));
        loop {
            let groups = receiver.recv().await.unwrap();
            if groups.iter().any(|g| &*g.source == "web" && g.targets.is_empty()) {
                break;
            }
        }
    }

    #[test]
    fn the_worst_check_counts() {
        let check = |id: &str, status: &str| Check { id: id.to_owned(), status: status.to_owned() };
        assert_eq!(status(&[]), "passing");
        assert_eq!(status(&[check("a", "warning"), check("b", "critical")]), "critical");
        let node = check("_node_maintenance", "critical");
        assert_eq!(status(&[check("a", "passing"), node]), "maintenance");
    }
}
