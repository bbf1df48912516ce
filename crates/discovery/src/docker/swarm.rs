//! Services, tasks and nodes of a swarm. Source: `discovery/moby/{services,tasks,nodes}.go`.

use std::collections::BTreeMap;

use firesteel_model::Labels;
use serde::Deserialize;

use super::{Docker, set_all, without_prefix};
use crate::{
    ADDRESS, DiscoveryError,
    labels::{MetaLabels, host_port},
};

const PREFIX: &str = "__meta_dockerswarm_";

fn meta_labels() -> MetaLabels {
    MetaLabels::new(PREFIX)
}

type Map = Option<BTreeMap<String, String>>;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Node {
    #[serde(rename = "ID")]
    id: String,
    spec: NodeSpec,
    description: NodeDescription,
    status: NodeStatus,
    manager_status: Option<ManagerStatus>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct NodeSpec {
    role: String,
    availability: String,
    labels: Map,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct NodeDescription {
    hostname: String,
    platform: Platform,
    engine: Engine,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Platform {
    #[serde(rename = "Architecture")]
    architecture: String,
    #[serde(rename = "OS")]
    os: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Engine {
    engine_version: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct NodeStatus {
    state: String,
    addr: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ManagerStatus {
    leader: bool,
    reachability: String,
    addr: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    spec: ServiceSpec,
    endpoint: ServiceEndpoint,
    update_status: Option<State>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceSpec {
    name: String,
    labels: Map,
    mode: Mode,
    task_template: TaskSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Mode {
    global: Option<serde::de::IgnoredAny>,
    replicated: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct TaskSpec {
    container_spec: Option<ContainerSpec>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerSpec {
    image: String,
    hostname: String,
    labels: Map,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    state: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServiceEndpoint {
    #[serde(rename = "Ports")]
    ports: Option<Vec<Port>>,
    #[serde(rename = "VirtualIPs")]
    virtual_ips: Option<Vec<VirtualIp>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct VirtualIp {
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "Addr")]
    addr: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    name: String,
    protocol: String,
    publish_mode: String,
    published_port: u32,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Task {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    slot: i64,
    desired_state: String,
    spec: TaskSpec,
    status: TaskStatus,
    networks_attachments: Option<Vec<Attachment>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct TaskStatus {
    state: String,
    container_status: Option<ContainerStatus>,
    port_status: PortStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ContainerStatus {
    #[serde(rename = "ContainerID")]
    container_id: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct PortStatus {
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Attachment {
    network: AttachedNetwork,
    addresses: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AttachedNetwork {
    #[serde(rename = "ID")]
    id: String,
}

fn tcp(ports: &Option<Vec<Port>>) -> impl Iterator<Item = &Port> {
    ports.iter().flatten().filter(|port| port.protocol == "tcp")
}

/// The labels of a node that other objects' targets have, too.
fn node_labels(node: &Node) -> MetaLabels {
    let mut labels = meta_labels();
    let Node { spec, description, status, .. } = node;
    for (name, value) in [
        ("id", &node.id),
        ("role", &spec.role),
        ("address", &status.addr),
        ("availability", &spec.availability),
        ("hostname", &description.hostname),
        ("platform_architecture", &description.platform.architecture),
        ("platform_os", &description.platform.os),
        ("status", &status.state),
    ] {
        labels.set(&format!("node_{name}"), value);
    }
    set_all(&mut labels, "node_label_", &spec.labels);
    labels
}

/// The labels of a service that other objects' targets have, too.
fn service_labels(service: &Service) -> MetaLabels {
    let mut labels = meta_labels();
    let spec = &service.spec;
    let mode = match &spec.mode {
        Mode { global: Some(_), .. } => "global",
        Mode { replicated: Some(_), .. } => "replicated",
        Mode { .. } => "",
    };
    labels.set("service_id", &service.id);
    labels.set("service_name", &spec.name);
    labels.set("service_mode", mode);
    set_all(&mut labels, "service_label_", &spec.labels);
    labels
}

impl Docker {
    pub(super) async fn nodes(&self) -> Result<Vec<Labels>, DiscoveryError> {
        let nodes: Vec<Node> = self.api.get(&self.filtered("/nodes")).await?;
        let target = |node: &Node| {
            let mut labels = node_labels(node);
            labels.set("node_engine_version", &node.description.engine.engine_version);
            if let Some(manager) = &node.manager_status {
                labels.set("node_manager_leader", manager.leader.to_string());
                labels.set("node_manager_reachability", &manager.reachability);
                labels.set("node_manager_address", &manager.addr);
            }
            labels.set_plain(ADDRESS, host_port(&node.status.addr, self.config.port));
            labels.build()
        };
        Ok(nodes.iter().map(target).collect())
    }

    pub(super) async fn services(&self) -> Result<Vec<Labels>, DiscoveryError> {
        let services: Vec<Service> = self.api.get(&self.filtered("/services")).await?;
        let networks = self.networks(PREFIX).await?;
        let mut targets = Vec::new();
        for service in &services {
            let mut common = service_labels(service);
            if let Some(container) = &service.spec.task_template.container_spec {
                common.set("service_task_container_hostname", &container.hostname);
                common.set("service_task_container_image", &container.image);
            }
            if let Some(update) = &service.update_status {
                common.set("service_updating_status", &update.state);
            }
            for ip in service.endpoint.virtual_ips.iter().flatten() {
                let host = without_prefix(&ip.addr)?;
                let network = networks.get(&ip.network_id);
                let before = targets.len();
                for port in tcp(&service.endpoint.ports) {
                    let mut labels = common.clone();
                    labels.set("service_endpoint_port_name", &port.name);
                    labels.set("service_endpoint_port_publish_mode", &port.publish_mode);
                    network.into_iter().for_each(|n| labels.merge(n));
                    labels.set_plain(ADDRESS, host_port(host, port.published_port));
                    targets.push(labels.build());
                }
                if targets.len() == before {
                    let mut labels = common.clone();
                    network.into_iter().for_each(|n| labels.merge(n));
                    labels.set_plain(ADDRESS, host_port(host, self.config.port));
                    targets.push(labels.build());
                }
            }
        }
        Ok(targets)
    }

    pub(super) async fn tasks(&self) -> Result<Vec<Labels>, DiscoveryError> {
        let tasks: Vec<Task> = self.api.get(&self.filtered("/tasks")).await?;
        let services: Vec<Service> = self.api.get("/services").await?;
        let nodes: Vec<Node> = self.api.get("/nodes").await?;
        let networks = self.networks(PREFIX).await?;
        let services: BTreeMap<&str, &Service> =
            services.iter().map(|s| (s.id.as_str(), s)).collect();
        let nodes: BTreeMap<&str, &Node> = nodes.iter().map(|n| (n.id.as_str(), n)).collect();
        let mut targets = Vec::new();
        for task in &tasks {
            let service = services.get(&*task.service_id).copied();
            let node = nodes.get(&*task.node_id).copied();
            task_targets(task, service, node, &networks, self.config.port, &mut targets)?;
        }
        Ok(targets)
    }
}

fn task_targets(
    task: &Task,
    service: Option<&Service>,
    node: Option<&Node>,
    networks: &BTreeMap<String, Labels>,
    fallback_port: u16,
    targets: &mut Vec<Labels>,
) -> Result<(), DiscoveryError> {
    let mut common = meta_labels();
    common.set("task_id", &task.id);
    common.set("task_desired_state", &task.desired_state);
    common.set("task_state", &task.status.state);
    common.set("task_slot", task.slot.to_string());
    if let Some(status) = &task.status.container_status {
        common.set("task_container_id", &status.container_id);
    }
    if let Some(container) = &task.spec.container_spec {
        set_all(&mut common, "container_label_", &container.labels);
    }
    service.into_iter().for_each(|s| common.merge(&service_labels(s).build()));
    node.into_iter().for_each(|n| common.merge(&node_labels(n).build()));
    let node_address = node.map_or("", |n| &n.status.addr);
    for port in tcp(&task.status.port_status.ports) {
        let mut labels = common.clone();
        labels.set("task_port_publish_mode", &port.publish_mode);
        labels.set_plain(ADDRESS, host_port(node_address, port.published_port));
        targets.push(labels.build());
    }
    for attachment in task.networks_attachments.iter().flatten() {
        let network = networks.get(&attachment.network.id);
        for address in attachment.addresses.iter().flatten() {
            let host = without_prefix(address)?;
            let before = targets.len();
            for port in service.into_iter().flat_map(|s| tcp(&s.endpoint.ports)) {
                let mut labels = common.clone();
                labels.set("task_port_publish_mode", &port.publish_mode);
                network.into_iter().for_each(|n| labels.merge(n));
                labels.set_plain(ADDRESS, host_port(host, port.published_port));
                targets.push(labels.build());
            }
            if targets.len() == before {
                let mut labels = common.clone();
                network.into_iter().for_each(|n| labels.merge(n));
                labels.set_plain(ADDRESS, host_port(host, fallback_port));
                targets.push(labels.build());
            }
        }
    }
    Ok(())
}
