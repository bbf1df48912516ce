//! From objects to groups of targets, for each role. Source: `discovery/kubernetes/{node,pod,service,
//! endpoints,endpointslice,ingress}.go`.

use std::collections::BTreeMap;

use firesteel_model::Labels;

use super::{
    labels::{labels_and_annotations, meta_labels, object},
    objects::{
        Container, Endpoint, EndpointAddress, EndpointPort, EndpointSlice, Endpoints, Ingress,
        MetaOnly, Node, Owned, Pod, Service, ServicePort, TargetRef,
    },
    store::Store,
};
use crate::{
    ADDRESS, TargetGroup,
    labels::{MetaLabels, host_port},
};

/// What else is known when a group is made. What is not attached is `None`.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) pods: Store<Pod>,
    pub(crate) services: Store<Service>,
    pub(crate) nodes: Option<Store<MetaOnly>>,
    pub(crate) namespaces: Option<Store<MetaOnly>>,
    pub(crate) replica_sets: Option<Store<Owned>>,
    pub(crate) jobs: Option<Store<Owned>>,
    /// Whether pods tell the name of their job.
    pub(crate) with_job: bool,
    /// Whether they tell that of their cron job.
    pub(crate) with_cronjob: bool,
}

impl Surroundings {
    fn add_namespace(&self, labels: &mut MetaLabels, namespace: &str) {
        if let Some(found) = self.namespaces.as_ref().and_then(|all| all.get(namespace)) {
            labels_and_annotations(labels, &found.metadata, "namespace");
        }
    }

    fn add_node(&self, labels: &mut MetaLabels, name: Option<&str>) {
        let all = self.nodes.as_ref();
        if let Some(found) = all.zip(name).and_then(|(all, name)| all.get(name)) {
            object(labels, &found.metadata, "node");
        }
    }

    fn pod_of(&self, target: Option<&TargetRef>) -> Option<&Pod> {
        let target = target.filter(|target| &*target.kind == "Pod")?;
        self.pods.get(&format!("{}/{}", target.namespace, target.name))
    }

    /// The labels of a pod wherever it appears.
    fn add_pod(&self, labels: &mut MetaLabels, pod: &Pod) {
        let (meta, status) = (&pod.metadata, &pod.status);
        labels.set("pod_ip", &status.pod_ip);
        let ready = status.conditions.iter().find(|c| &*c.kind == "Ready");
        labels.set("pod_ready", ready.map_or("unknown".to_owned(), |c| c.status.to_lowercase()));
        labels.set("pod_phase", &status.phase);
        labels.set("pod_node_name", &pod.spec.node_name);
        labels.set("pod_host_ip", &status.host_ip);
        labels.set("pod_uid", &meta.uid);
        object(labels, meta, "pod");
        let Some(controller) = meta.controller() else { return };
        labels.set("pod_controller_kind", &controller.kind);
        labels.set("pod_controller_name", &controller.name);
        let above = |all: &Option<Store<Owned>>, kind: &str| {
            let key = format!("{}/{}", meta.namespace, controller.name);
            let owner = all.as_ref()?.get(&key)?.controller()?;
            (owner.kind == kind).then(|| owner.name.clone())
        };
        match controller.kind.as_str() {
            "ReplicaSet" => {
                let name = above(&self.replica_sets, "Deployment");
                labels.set("pod_deployment_name", name.unwrap_or_default());
            }
            "Job" => {
                if self.with_job {
                    labels.set("pod_job_name", &controller.name);
                }
                if self.with_cronjob {
                    let name = above(&self.jobs, "CronJob");
                    labels.set("pod_cronjob_name", name.unwrap_or_default());
                }
            }
            _ => {}
        }
    }
}

fn target(address: &str) -> MetaLabels {
    let mut labels = meta_labels();
    labels.set_plain(ADDRESS, address);
    labels
}

fn group(source: String, labels: &MetaLabels, targets: Vec<Labels>) -> TargetGroup {
    TargetGroup { source: source.into(), targets, labels: labels.build() }
}

pub(crate) fn node_source(key: &str) -> String {
    format!("node/{key}")
}

/// The group of a node; `None`, and what was found before stays, where it has no address.
pub(crate) fn node(node: &Node) -> Option<TargetGroup> {
    let name = &node.metadata.name;
    let mut labels = meta_labels();
    labels.set("node_provider_id", &node.spec.provider_id);
    for condition in &node.status.conditions {
        let kind = condition.kind.to_lowercase();
        labels.set_free("node_condition_", &kind, condition.status.to_lowercase());
    }
    object(&mut labels, &node.metadata, "node");
    let addresses = &node.status.addresses;
    let first = |kind: &str| addresses.iter().find(|a| a.kind == kind);
    let best =
        ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];
    let Some(best) = best.iter().find_map(|kind| first(kind)) else {
        tracing::warn!(
            role = "node",
            node = name,
            err = "host address unknown",
            "No node address found"
        );
        return None;
    };
    let port = node.status.daemon_endpoints.kubelet_endpoint.port;
    let mut one = target(&host_port(&best.address, port));
    one.set_plain("instance", name);
    // The first address of each kind.
    for address in addresses.iter().rev() {
        one.set_free("node_address_", &address.kind, &address.address);
    }
    Some(group(node_source(name), &labels, vec![one.build()]))
}

pub(crate) fn service_source(key: &str) -> String {
    format!("svc/{key}")
}

fn add_service(labels: &mut MetaLabels, service: &Service) {
    labels.set("namespace", &service.metadata.namespace);
    object(labels, &service.metadata, "service");
}

pub(crate) fn service(service: &Service, around: &Surroundings) -> TargetGroup {
    let (meta, spec) = (&service.metadata, &service.spec);
    let mut labels = meta_labels();
    add_service(&mut labels, service);
    around.add_namespace(&mut labels, &meta.namespace);
    let host = format!("{}.{}.svc", meta.name, meta.namespace);
    let one = |port: &ServicePort| {
        let mut one = target(&host_port(&host, port.port));
        one.set("service_port_name", &port.name);
        one.set("service_port_number", port.port.to_string());
        one.set("service_port_protocol", &port.protocol);
        one.set("service_type", &spec.kind);
        match &*spec.kind {
            "ExternalName" => one.set("service_external_name", &spec.external_name),
            _ => one.set("service_cluster_ip", &spec.cluster_ip),
        }
        if &*spec.kind == "LoadBalancer" {
            one.set("service_loadbalancer_ip", load_balancer_ips(service));
        }
        one.build()
    };
    let source = service_source(&format!("{}/{}", meta.namespace, meta.name));
    group(source, &labels, spec.ports.iter().map(one).collect())
}

/// The addresses that the load balancer has, else the one that was asked for.
fn load_balancer_ips(service: &Service) -> String {
    let ingress = &service.status.load_balancer.ingress;
    let ips: Vec<&str> = ingress.iter().map(|i| &*i.ip).filter(|ip| !ip.is_empty()).collect();
    if ips.is_empty() { service.spec.load_balancer_ip.to_string() } else { ips.join(",") }
}

pub(crate) fn ingress_source(key: &str) -> String {
    format!("ingress/{key}")
}

pub(crate) fn ingress(ingress: &Ingress, around: &Surroundings) -> TargetGroup {
    let (meta, spec) = (&ingress.metadata, &ingress.spec);
    let mut labels = meta_labels();
    labels.set("namespace", &meta.namespace);
    if let Some(class) = &spec.ingress_class_name {
        labels.set("ingress_class_name", class);
    }
    object(&mut labels, meta, "ingress");
    around.add_namespace(&mut labels, &meta.namespace);
    let mut targets = Vec::new();
    for rule in &spec.rules {
        let secure = spec.tls.iter().flat_map(|tls| &tls.hosts).any(|h| covers(h, &rule.host));
        let scheme = if secure { "https" } else { "http" };
        let paths: Vec<&str> = match &rule.http {
            Some(http) => http.paths.iter().map(|p| &*p.path).collect(),
            None => vec!["/"],
        };
        for path in paths {
            let mut one = target(&rule.host);
            one.set("ingress_scheme", scheme);
            one.set("ingress_host", &rule.host);
            one.set("ingress_path", if path.is_empty() { "/" } else { path });
            targets.push(one.build());
        }
    }
    group(ingress_source(&format!("{}/{}", meta.namespace, meta.name)), &labels, targets)
}

/// Whether a host is the pattern, or its first label is what the pattern's `*` stands for.
fn covers(pattern: &str, host: &str) -> bool {
    if pattern == host {
        return true;
    }
    let (Some(pattern), Some((_, host))) = (pattern.strip_prefix("*"), host.split_once('.')) else {
        // Without a dot only the whole pattern `*` is as long as the host.
        return pattern == "*" && !host.contains('.');
    };
    pattern.strip_prefix('.') == Some(host)
}

pub(crate) fn pod_source(key: &str) -> String {
    format!("pod/{key}")
}

pub(crate) fn pod(pod: &Pod, around: &Surroundings) -> TargetGroup {
    let (meta, status) = (&pod.metadata, &pod.status);
    let source = pod_source(&format!("{}/{}", meta.namespace, meta.name));
    // A pod that starts or was evicted has no address; selectors of nodes choose pods, too.
    let known = |nodes: &Store<MetaOnly>| nodes.get(&pod.spec.node_name).is_some();
    if status.pod_ip.is_empty() || around.nodes.as_ref().is_some_and(|nodes| !known(nodes)) {
        return TargetGroup::gone(source);
    }
    let mut labels = meta_labels();
    around.add_pod(&mut labels, pod);
    labels.set("namespace", &meta.namespace);
    around.add_node(&mut labels, Some(&pod.spec.node_name));
    around.add_namespace(&mut labels, &meta.namespace);
    let mut targets = Vec::new();
    for (container, init) in containers(pod) {
        let statuses =
            if init { &status.init_container_statuses } else { &status.container_statuses };
        let id = statuses.iter().find(|s| s.name == container.name).map(|s| &*s.container_id);
        let with_container = |mut one: MetaLabels| {
            one.set("pod_container_name", &container.name);
            one.set("pod_container_id", id.unwrap_or_default());
            one.set("pod_container_image", &container.image);
            one.set("pod_container_init", init.to_string());
            one
        };
        if container.ports.is_empty() {
            targets.push(with_container(target(&status.pod_ip)).build());
        }
        for port in &container.ports {
            let address = host_port(&status.pod_ip, port.container_port);
            let mut one = with_container(target(&address));
            one.set("pod_container_port_number", port.container_port.to_string());
            one.set("pod_container_port_name", &port.name);
            one.set("pod_container_port_protocol", &port.protocol);
            targets.push(one.build());
        }
    }
    group(source, &labels, targets)
}

/// All containers, and whether they only initialize.
fn containers(pod: &Pod) -> impl Iterator<Item = (&Container, bool)> {
    let spec = &pod.spec;
    let usual = spec.containers.iter().map(|c| (c, false));
    usual.chain(spec.init_containers.iter().map(|c| (c, true)))
}

/// The ports by which the pods behind endpoints were met.
#[derive(Default)]
struct SeenPods<'a>(BTreeMap<String, (&'a Pod, Vec<i32>)>);

impl<'a> SeenPods<'a> {
    /// Adds a pod's labels to a target that leads to it, and those of the containers that have its
    /// port. `protocol` is the endpoint's, where that wins over the container's.
    fn meet(
        &mut self,
        one: &mut MetaLabels,
        pod: &'a Pod,
        port: Option<i32>,
        protocol: Option<&str>,
        around: &Surroundings,
    ) {
        let key = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
        let seen = &mut self.0.entry(key).or_insert_with(|| (pod, Vec::new())).1;
        around.add_pod(one, pod);
        let Some(port) = port else { return };
        seen.push(port);
        for (container, init) in containers(pod) {
            if let Some(own) = container.ports.iter().find(|p| p.container_port == port) {
                add_container_port(one, container, init, own, protocol);
            }
        }
    }

    /// Targets for the containers' ports that no endpoint has.
    fn others(&self, around: &Surroundings, targets: &mut Vec<Labels>) {
        for (pod, seen) in self.0.values() {
            let ip = &pod.status.pod_ip;
            if ip.is_empty() {
                continue;
            }
            for (container, init) in containers(pod) {
                for port in container.ports.iter().filter(|p| !seen.contains(&p.container_port)) {
                    let mut one = target(&host_port(ip, port.container_port));
                    add_container_port(&mut one, container, init, port, None);
                    around.add_pod(&mut one, pod);
                    targets.push(one.build());
                }
            }
        }
    }
}

fn add_container_port(
    one: &mut MetaLabels,
    container: &Container,
    init: bool,
    port: &super::objects::ContainerPort,
    protocol: Option<&str>,
) {
    one.set("pod_container_name", &container.name);
    one.set("pod_container_image", &container.image);
    one.set("pod_container_port_name", &port.name);
    one.set("pod_container_port_number", port.container_port.to_string());
    one.set("pod_container_port_protocol", protocol.unwrap_or(&port.protocol));
    one.set("pod_container_init", init.to_string());
}

pub(crate) fn endpoints_source(key: &str) -> String {
    format!("endpoints/{key}")
}

pub(crate) fn endpoints(endpoints: &Endpoints, around: &Surroundings) -> TargetGroup {
    let meta = &endpoints.metadata;
    let key = format!("{}/{}", meta.namespace, meta.name);
    let mut labels = meta_labels();
    labels.set("namespace", &meta.namespace);
    if let Some(service) = around.services.get(&key) {
        add_service(&mut labels, service);
    }
    object(&mut labels, meta, "endpoints");
    around.add_namespace(&mut labels, &meta.namespace);
    let (mut targets, mut seen) = (Vec::new(), SeenPods::default());
    for subset in &endpoints.subsets {
        for port in &subset.ports {
            let ready = subset.addresses.iter().map(|a| (a, true));
            for (address, ready) in
                ready.chain(subset.not_ready_addresses.iter().map(|a| (a, false)))
            {
                targets.push(endpoint(address, port, ready, around, &mut seen));
            }
        }
    }
    match meta.labels.get("endpoints.kubernetes.io/over-capacity").map(|v| &**v) {
        Some("truncated") => tracing::warn!(
            endpoint = meta.name,
            "Number of endpoints in one Endpoints object exceeds 1000 and has been truncated, please use \"role: endpointslice\" instead"
        ),
        Some("warning") => tracing::warn!(
            endpoint = meta.name,
            "Number of endpoints in one Endpoints object exceeds 1000, please use \"role: endpointslice\" instead"
        ),
        _ => {}
    }
    seen.others(around, &mut targets);
    group(endpoints_source(&key), &labels, targets)
}

fn endpoint<'a>(
    address: &EndpointAddress,
    port: &ServicePort,
    ready: bool,
    around: &'a Surroundings,
    seen: &mut SeenPods<'a>,
) -> Labels {
    let mut one = target(&host_port(&address.ip, port.port));
    one.set("endpoint_port_name", &port.name);
    one.set("endpoint_port_protocol", &port.protocol);
    one.set("endpoint_ready", ready.to_string());
    let target_ref = address.target_ref.as_ref();
    if let Some(target) = target_ref {
        one.set("endpoint_address_target_kind", &target.kind);
        one.set("endpoint_address_target_name", &target.name);
    }
    one.set("endpoint_node_name", address.node_name.as_deref().unwrap_or_default());
    one.set("endpoint_hostname", &address.hostname);
    let node = target_ref.filter(|t| &*t.kind == "Node").map(|t| &*t.name);
    around.add_node(&mut one, address.node_name.as_deref().or(node));
    if let Some(pod) = around.pod_of(target_ref) {
        seen.meet(&mut one, pod, Some(port.port), Some(&port.protocol), around);
    }
    one.build()
}

pub(crate) fn slice_source(key: &str) -> String {
    format!("endpointslice/{key}")
}

/// The label that names a slice's service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

pub(crate) fn slice(slice: &EndpointSlice, around: &Surroundings) -> TargetGroup {
    let meta = &slice.metadata;
    let mut labels = meta_labels();
    labels.set("namespace", &meta.namespace);
    labels.set("endpointslice_address_type", &slice.address_type);
    object(&mut labels, meta, "endpointslice");
    let service = meta.labels.get(SERVICE_NAME);
    let service = service.and_then(|s| around.services.get(&format!("{}/{s}", meta.namespace)));
    if let Some(service) = service {
        add_service(&mut labels, service);
    }
    around.add_namespace(&mut labels, &meta.namespace);
    let source = slice_source(&format!("{}/{}", meta.namespace, meta.name));
    if service.is_some_and(|service| is_second_family(service, &slice.address_type)) {
        return group(source, &labels, Vec::new());
    }
    let (mut targets, mut seen) = (Vec::new(), SeenPods::default());
    for endpoint in &slice.endpoints {
        for port in &slice.ports {
            for address in &endpoint.addresses {
                targets.push(slice_endpoint(address, endpoint, port, around, &mut seen));
            }
        }
    }
    seen.others(around, &mut targets);
    group(source, &labels, targets)
}

/// Whether the slice holds a dual-stack service's addresses of its second family: the same targets
/// once more.
fn is_second_family(service: &Service, address_type: &str) -> bool {
    let spec = &service.spec;
    matches!(&*spec.ip_family_policy, "PreferDualStack" | "RequireDualStack")
        && spec.ip_families.first().is_some_and(|first| **first != *address_type)
}

fn slice_endpoint<'a>(
    address: &str,
    endpoint: &Endpoint,
    port: &EndpointPort,
    around: &'a Surroundings,
    seen: &mut SeenPods<'a>,
) -> Labels {
    let mut one = match port.port {
        Some(port) => target(&host_port(address, port)),
        None => target(address),
    };
    let text = |value: &Option<Box<str>>| value.as_deref().unwrap_or_default().to_owned();
    let flag = |value: Option<bool>| value.map(|v| v.to_string()).unwrap_or_default();
    let conditions = &endpoint.conditions;
    let target_ref = endpoint.target_ref.as_ref();
    for (name, value) in [
        ("port_name", text(&port.name)),
        ("port_protocol", text(&port.protocol)),
        ("port", port.port.map(|p| p.to_string()).unwrap_or_default()),
        ("port_app_protocol", text(&port.app_protocol)),
        ("endpoint_conditions_ready", flag(conditions.ready)),
        ("endpoint_conditions_serving", flag(conditions.serving)),
        ("endpoint_conditions_terminating", flag(conditions.terminating)),
        ("endpoint_hostname", text(&endpoint.hostname)),
        ("address_target_kind", target_ref.map(|t| t.kind.to_string()).unwrap_or_default()),
        ("address_target_name", target_ref.map(|t| t.name.to_string()).unwrap_or_default()),
        ("endpoint_node_name", text(&endpoint.node_name)),
        ("endpoint_zone", text(&endpoint.zone)),
    ] {
        one.set(&format!("endpointslice_{name}"), value);
    }
    for (name, value) in &endpoint.deprecated_topology {
        one.set_free("endpointslice_endpoint_topology_", name, value);
        one.set_free("endpointslice_endpoint_topology_present_", name, "true");
    }
    let node = target_ref.filter(|t| &*t.kind == "Node").map(|t| &*t.name);
    around.add_node(&mut one, node.or(endpoint.node_name.as_deref()));
    if let Some(pod) = around.pod_of(target_ref) {
        seen.meet(&mut one, pod, port.port, None, around);
    }
    one.build()
}
