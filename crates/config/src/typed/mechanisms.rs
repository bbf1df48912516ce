//! What the mechanisms are told: one type for each that is served.

use std::{path::PathBuf, time::Duration};

use super::{convert::http_client, http::HttpClientConfig};
use crate::{Secret, Section, Url};

/// What [`KubernetesSdConfig`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KubernetesRole {
    /// `node`
    Node,
    /// `pod`
    Pod,
    /// `service`
    Service,
    /// `endpoints`
    Endpoints,
    /// `endpointslice`
    EndpointSlice,
    /// `ingress`
    Ingress,
}

impl KubernetesRole {
    /// The name in configurations and labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Pod => "pod",
            Self::Service => "service",
            Self::Endpoints => "endpoints",
            Self::EndpointSlice => "endpointslice",
            Self::Ingress => "ingress",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        use KubernetesRole::{EndpointSlice, Endpoints, Ingress, Node, Pod, Service};
        let all = [Node, Pod, Service, Endpoints, EndpointSlice, Ingress];
        all.into_iter().find(|role| role.name() == name)
    }
}

/// Which objects of a kind Kubernetes is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubernetesSelector {
    /// The kind.
    pub role: KubernetesRole,
    /// A label selector; empty for all.
    pub label: String,
    /// A field selector; empty for all.
    pub field: String,
}

/// What other objects add to a target's labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KubernetesAttach {
    /// Labels and annotations of the node.
    pub node: bool,
    /// Those of the namespace.
    pub namespace: bool,
    /// The name of the deployment.
    pub deployment: bool,
    /// The name of the job.
    pub job: bool,
    /// The name of the cron job.
    pub cronjob: bool,
}

/// One entry of `kubernetes_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KubernetesSdConfig {
    /// Where the API is; without it and `kubeconfig_file` we are in a pod of the cluster.
    pub api_server: Option<Url>,
    /// A file that says where the API is and who we are.
    pub kubeconfig_file: Option<PathBuf>,
    /// How the API is reached; only with `api_server`.
    pub http: HttpClientConfig,
    /// What is looked for.
    pub role: KubernetesRole,
    /// Whether to look into our own namespace.
    pub own_namespace: bool,
    /// Into which others; with neither, into all.
    pub namespaces: Vec<String>,
    /// Which objects.
    pub selectors: Vec<KubernetesSelector>,
    /// What is added.
    pub attach: KubernetesAttach,
}

impl KubernetesSdConfig {
    /// All objects of a role, asked of the cluster we run in.
    #[must_use]
    pub fn new(role: KubernetesRole) -> Self {
        Self {
            api_server: None,
            kubeconfig_file: None,
            http: HttpClientConfig::default(),
            role,
            own_namespace: false,
            namespaces: Vec::new(),
            selectors: Vec::new(),
            attach: KubernetesAttach::default(),
        }
    }

    pub(crate) fn of(section: &Section) -> Option<Self> {
        let role = |s: &Section| KubernetesRole::from_name(s.text("role"));
        let namespaces = section.section("namespaces");
        let attach = section.section("attach_metadata");
        let attach = |key| attach.is_some_and(|a| a.flag(key));
        let selector = |s: &Section| {
            Some(KubernetesSelector {
                role: role(s)?,
                label: s.text("label").to_owned(),
                field: s.text("field").to_owned(),
            })
        };
        let kubeconfig = section.text("kubeconfig_file");
        Some(Self {
            api_server: section.url("api_server").filter(|u| !u.as_str().is_empty()).cloned(),
            kubeconfig_file: (!kubeconfig.is_empty()).then(|| PathBuf::from(kubeconfig)),
            http: http_client(section),
            role: role(section)?,
            own_namespace: namespaces.is_some_and(|n| n.flag("own_namespace")),
            namespaces: namespaces.map(|n| texts(n, "names")).unwrap_or_default(),
            selectors: section.sections("selectors").filter_map(selector).collect(),
            attach: KubernetesAttach {
                node: attach("node"),
                namespace: attach("namespace"),
                deployment: attach("deployment"),
                job: attach("job"),
                cronjob: attach("cronjob"),
            },
        })
    }
}

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DnsRecord {
    /// Services, with their ports.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail servers.
    Mx,
    /// Name servers.
    Ns,
}

/// One entry of `dns_sd_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsSdConfig {
    /// The names asked for.
    pub names: Vec<String>,
    /// The kind of record.
    pub record: DnsRecord,
    /// The targets' port, unless the records have one.
    pub port: u16,
    /// How often.
    pub refresh_interval: Duration,
}

impl DnsSdConfig {
    /// Asks for these names every 30 seconds.
    #[must_use]
    pub fn new(names: Vec<String>, record: DnsRecord, port: u16) -> Self {
        Self { names, record, port, refresh_interval: Duration::from_secs(30) }
    }

    pub(crate) fn of(section: &Section) -> Option<Self> {
        let record = match section.text("type").to_ascii_uppercase().as_str() {
            "SRV" => DnsRecord::Srv,
            "A" => DnsRecord::A,
            "AAAA" => DnsRecord::Aaaa,
            "MX" => DnsRecord::Mx,
            "NS" => DnsRecord::Ns,
            _ => return None,
        };
        Some(Self {
            names: texts(section, "names"),
            record,
            port: u16::try_from(section.int("port")).unwrap_or_default(),
            refresh_interval: section.duration("refresh_interval"),
        })
    }
}

/// One entry of `consul_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ConsulSdConfig {
    /// The agent, `localhost:8500` or with a scheme.
    pub server: String,
    /// What comes before `/v1` in its paths.
    pub path_prefix: String,
    /// The token.
    pub token: Secret,
    /// The datacenter; the agent's own where empty.
    pub datacenter: String,
    /// The namespace of Consul Enterprise.
    pub namespace: String,
    /// The partition of Consul Enterprise.
    pub partition: String,
    /// What stands between tags.
    pub tag_separator: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Whether any server may answer.
    pub allow_stale: bool,
    /// How often, at most.
    pub refresh_interval: Duration,
    /// Which services; all where empty.
    pub services: Vec<String>,
    /// Tags that a service must have.
    pub tags: Vec<String>,
    /// What a node's metadata must be.
    pub node_meta: Vec<(String, String)>,
    /// A filter of the catalog.
    pub filter: String,
    /// A filter of the instances.
    pub health_filter: String,
    /// How it is reached.
    pub http: HttpClientConfig,
}

impl ConsulSdConfig {
    /// All services that an agent knows.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            path_prefix: String::new(),
            token: Secret::default(),
            datacenter: String::new(),
            namespace: String::new(),
            partition: String::new(),
            tag_separator: ",".to_owned(),
            scheme: "http".to_owned(),
            allow_stale: true,
            refresh_interval: Duration::from_secs(30),
            services: Vec::new(),
            tags: Vec::new(),
            node_meta: Vec::new(),
            filter: String::new(),
            health_filter: String::new(),
            http: HttpClientConfig::default(),
        }
    }

    pub(crate) fn of(section: &Section) -> Self {
        let text = |key| section.text(key).to_owned();
        let meta = section.pairs("node_meta");
        let meta = meta.map(|(k, v)| (k.to_owned(), v.value.as_text().unwrap_or("").to_owned()));
        Self {
            server: text("server"),
            path_prefix: text("path_prefix"),
            token: section.secret("token"),
            datacenter: text("datacenter"),
            namespace: text("namespace"),
            partition: text("partition"),
            tag_separator: text("tag_separator"),
            scheme: text("scheme"),
            allow_stale: section.flag("allow_stale"),
            refresh_interval: section.duration("refresh_interval"),
            services: texts(section, "services"),
            tags: texts(section, "tags"),
            node_meta: meta.collect(),
            filter: text("filter"),
            health_filter: text("health_filter"),
            http: http_client(section),
        }
    }
}

/// A name and the values that match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SdFilter {
    /// What is filtered by.
    pub name: String,
    /// Any of these.
    pub values: Vec<String>,
}

/// What of a swarm [`DockerSdConfig`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SwarmRole {
    /// Services and their published ports.
    Services,
    /// Tasks.
    Tasks,
    /// Nodes.
    Nodes,
}

/// One entry of `docker_sd_configs` or `dockerswarm_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DockerSdConfig {
    /// The daemon: `unix:///run/docker.sock`, `tcp://host:2375`, or a URL of http or https.
    pub host: Url,
    /// What of a swarm; containers where it is none.
    pub swarm: Option<SwarmRole>,
    /// The port where there is no other.
    pub port: u16,
    /// Which containers.
    pub filters: Vec<SdFilter>,
    /// The address of containers in the host's network.
    pub host_networking_host: String,
    /// Whether only the first network of a container counts.
    pub match_first_network: bool,
    /// How often.
    pub refresh_interval: Duration,
    /// How the daemon is reached.
    pub http: HttpClientConfig,
}

impl DockerSdConfig {
    /// All containers of a daemon, every minute.
    #[must_use]
    pub fn new(host: Url) -> Self {
        Self {
            host,
            swarm: None,
            port: 80,
            filters: Vec::new(),
            host_networking_host: "localhost".to_owned(),
            match_first_network: true,
            refresh_interval: Duration::from_secs(60),
            http: HttpClientConfig::default(),
        }
    }

    pub(crate) fn of(section: &Section, swarm: bool) -> Option<Self> {
        let role = match section_text(section, swarm, "role") {
            "services" => Some(SwarmRole::Services),
            "tasks" => Some(SwarmRole::Tasks),
            "nodes" => Some(SwarmRole::Nodes),
            _ if swarm => return None,
            _ => None,
        };
        Some(Self {
            swarm: role,
            port: port(section),
            filters: filters(section),
            host_networking_host: section_text(section, !swarm, "host_networking_host").to_owned(),
            match_first_network: !swarm && section.flag("match_first_network"),
            refresh_interval: section.duration("refresh_interval"),
            http: http_client(section),
            ..Self::new(Url::parse(section.text("host")).ok()?)
        })
    }
}

/// A text of a key that not every schema has.
fn section_text<'a>(section: &'a Section, has: bool, key: &str) -> &'a str {
    if has { section.text(key) } else { "" }
}

/// One entry of `ec2_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Ec2SdConfig {
    /// The region; asked of the machine's metadata where empty.
    pub region: String,
    /// The API's URL where it is not Amazon's.
    pub endpoint: String,
    /// The key's id; without it the environment, the profile and the machine's role are tried.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// The profile of the shared credentials file.
    pub profile: String,
    /// A role that is taken on.
    pub role_arn: String,
    /// What its owner wants to be told along.
    pub external_id: String,
    /// The targets' port.
    pub port: u16,
    /// Which instances.
    pub filters: Vec<SdFilter>,
    /// How often.
    pub refresh_interval: Duration,
    /// How the API is reached.
    pub http: HttpClientConfig,
}

impl Ec2SdConfig {
    /// All instances of a region, every minute.
    pub fn new(region: impl Into<String>) -> Self {
        Self {
            region: region.into(),
            endpoint: String::new(),
            access_key: String::new(),
            secret_key: Secret::default(),
            profile: String::new(),
            role_arn: String::new(),
            external_id: String::new(),
            port: 80,
            filters: Vec::new(),
            refresh_interval: Duration::from_secs(60),
            http: HttpClientConfig::default(),
        }
    }

    pub(crate) fn of(section: &Section) -> Self {
        let text = |key| section.text(key).to_owned();
        Self {
            region: text("region"),
            endpoint: text("endpoint"),
            access_key: text("access_key"),
            secret_key: section.secret("secret_key"),
            profile: text("profile"),
            role_arn: text("role_arn"),
            external_id: text("external_id"),
            port: port(section),
            filters: filters(section),
            refresh_interval: section.duration("refresh_interval"),
            http: http_client(section),
        }
    }
}

/// One entry of `hetzner_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HetznerSdConfig {
    /// Whether dedicated servers are looked for (`robot`), not those of the cloud (`hcloud`).
    pub robot: bool,
    /// Which servers of the cloud.
    pub label_selector: String,
    /// The targets' port.
    pub port: u16,
    /// How often.
    pub refresh_interval: Duration,
    /// Who we are, and how the API is reached.
    pub http: HttpClientConfig,
}

impl HetznerSdConfig {
    /// All servers of an account.
    #[must_use]
    pub fn new(robot: bool, http: HttpClientConfig) -> Self {
        let refresh_interval = Duration::from_secs(60);
        Self { robot, label_selector: String::new(), port: 80, refresh_interval, http }
    }

    pub(crate) fn of(section: &Section) -> Self {
        Self {
            robot: section.text("role") == "robot",
            label_selector: section.text("label_selector").to_owned(),
            port: port(section),
            refresh_interval: section.duration("refresh_interval"),
            http: http_client(section),
        }
    }
}

/// One entry of `digitalocean_sd_configs`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DigitalOceanSdConfig {
    /// Whether databases are looked for, not droplets.
    pub databases: bool,
    /// The targets' port.
    pub port: u16,
    /// How often.
    pub refresh_interval: Duration,
    /// Who we are, and how the API is reached.
    pub http: HttpClientConfig,
}

impl DigitalOceanSdConfig {
    /// All droplets, or all databases, of an account.
    #[must_use]
    pub fn new(databases: bool, http: HttpClientConfig) -> Self {
        Self { databases, port: 80, refresh_interval: Duration::from_secs(60), http }
    }

    pub(crate) fn of(section: &Section) -> Self {
        Self {
            databases: section.text("role") == "databases",
            port: port(section),
            refresh_interval: section.duration("refresh_interval"),
            http: http_client(section),
        }
    }
}

fn texts(section: &Section, key: &str) -> Vec<String> {
    section.texts(key).map(str::to_owned).collect()
}

fn port(section: &Section) -> u16 {
    u16::try_from(section.int("port")).unwrap_or_default()
}

fn filters(section: &Section) -> Vec<SdFilter> {
    let filter =
        |f: &Section| SdFilter { name: f.text("name").to_owned(), values: texts(f, "values") };
    section.sections("filters").map(filter).collect()
}
