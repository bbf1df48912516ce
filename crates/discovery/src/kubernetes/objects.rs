//! The parts of Kubernetes' objects that labels need; everything else of their JSON is skipped.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Text that `null` may stand for, or nothing.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Something that is kept by its name.
pub(crate) trait Object: for<'de> Deserialize<'de> + Send + 'static {
    /// `namespace/name`, or the name alone where there are no namespaces.
    fn key(&self) -> String;

    /// The version of everything when the object last changed.
    fn version(&self) -> &String;
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) namespace: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) uid: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) resource_version: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<Box<str>, Box<str>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) annotations: BTreeMap<Box<str>, Box<str>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) owner_references: Vec<Owner>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Owner {
    pub(crate) kind: String,
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) controller: bool,
}

impl Meta {
    /// The owner that controls the object.
    pub(crate) fn controller(&self) -> Option<&Owner> {
        self.owner_references.iter().find(|owner| owner.controller)
    }
}

/// An object of which only the metadata matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MetaOnly {
    pub(crate) metadata: Meta,
}

/// An object of which only the owner matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Owned {
    pub(crate) metadata: OwnedMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OwnedMeta {
    name: String,
    namespace: String,
    resource_version: String,
    #[serde(deserialize_with = "nullable")]
    owner_references: Vec<Owner>,
}

impl Owned {
    pub(crate) fn controller(&self) -> Option<&Owner> {
        self.metadata.owner_references.iter().find(|owner| owner.controller)
    }
}

impl Object for Owned {
    fn key(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    fn version(&self) -> &String {
        &self.metadata.resource_version
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: NodeSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: NodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeSpec {
    #[serde(rename = "providerID", deserialize_with = "nullable")]
    pub(crate) provider_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeStatus {
    #[serde(deserialize_with = "nullable")]
    pub(crate) addresses: Vec<NodeAddress>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: Vec<Condition>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) daemon_endpoints: DaemonEndpoints,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeAddress {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: Box<str>,
    pub(crate) status: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DaemonEndpoints {
    #[serde(deserialize_with = "nullable")]
    pub(crate) kubelet_endpoint: KubeletEndpoint,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct KubeletEndpoint {
    // Kubernetes' own types write it so.
    #[serde(rename = "Port", alias = "port")]
    pub(crate) port: i32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pod {
    pub(crate) metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: PodSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    #[serde(deserialize_with = "nullable")]
    pub(crate) node_name: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) init_containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub(crate) name: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) image: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ports: Vec<ContainerPort>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerPort {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: Box<str>,
    pub(crate) container_port: i32,
    #[serde(deserialize_with = "nullable")]
    pub(crate) protocol: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    #[serde(deserialize_with = "nullable")]
    pub(crate) phase: Box<str>,
    #[serde(rename = "podIP", deserialize_with = "nullable")]
    pub(crate) pod_ip: Box<str>,
    #[serde(rename = "hostIP", deserialize_with = "nullable")]
    pub(crate) host_ip: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: Vec<Condition>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerStatus {
    pub(crate) name: Box<str>,
    #[serde(rename = "containerID", deserialize_with = "nullable")]
    pub(crate) container_id: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    pub(crate) metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: ServiceSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: ServiceStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceSpec {
    #[serde(deserialize_with = "nullable")]
    pub(crate) ports: Vec<ServicePort>,
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub(crate) kind: Box<str>,
    #[serde(rename = "clusterIP", deserialize_with = "nullable")]
    pub(crate) cluster_ip: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) external_name: Box<str>,
    #[serde(rename = "loadBalancerIP", deserialize_with = "nullable")]
    pub(crate) load_balancer_ip: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ip_family_policy: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ip_families: Vec<Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServicePort {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: Box<str>,
    pub(crate) port: i32,
    #[serde(deserialize_with = "nullable")]
    pub(crate) protocol: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceStatus {
    #[serde(deserialize_with = "nullable")]
    pub(crate) load_balancer: LoadBalancer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoadBalancer {
    #[serde(deserialize_with = "nullable")]
    pub(crate) ingress: Vec<LoadBalancerIngress>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoadBalancerIngress {
    #[serde(deserialize_with = "nullable")]
    pub(crate) ip: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoints {
    pub(crate) metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) subsets: Vec<Subset>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Subset {
    #[serde(deserialize_with = "nullable")]
    pub(crate) addresses: Vec<EndpointAddress>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) not_ready_addresses: Vec<EndpointAddress>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ports: Vec<ServicePort>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EndpointAddress {
    pub(crate) ip: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) hostname: Box<str>,
    pub(crate) node_name: Option<Box<str>>,
    pub(crate) target_ref: Option<TargetRef>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TargetRef {
    #[serde(deserialize_with = "nullable")]
    pub(crate) kind: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) namespace: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: Box<str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EndpointSlice {
    pub(crate) metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) address_type: Box<str>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) endpoints: Vec<Endpoint>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ports: Vec<EndpointPort>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Endpoint {
    #[serde(deserialize_with = "nullable")]
    pub(crate) addresses: Vec<Box<str>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: EndpointConditions,
    pub(crate) hostname: Option<Box<str>>,
    pub(crate) target_ref: Option<TargetRef>,
    pub(crate) node_name: Option<Box<str>>,
    pub(crate) zone: Option<Box<str>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) deprecated_topology: BTreeMap<Box<str>, Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EndpointConditions {
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EndpointPort {
    pub(crate) name: Option<Box<str>>,
    pub(crate) protocol: Option<Box<str>>,
    pub(crate) port: Option<i32>,
    pub(crate) app_protocol: Option<Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ingress {
    pub(crate) metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: IngressSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct IngressSpec {
    pub(crate) ingress_class_name: Option<Box<str>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) tls: Vec<IngressTls>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) rules: Vec<IngressRule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IngressTls {
    #[serde(deserialize_with = "nullable")]
    pub(crate) hosts: Vec<Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IngressRule {
    #[serde(deserialize_with = "nullable")]
    pub(crate) host: Box<str>,
    pub(crate) http: Option<IngressHttp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IngressHttp {
    #[serde(deserialize_with = "nullable")]
    pub(crate) paths: Vec<IngressPath>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IngressPath {
    #[serde(deserialize_with = "nullable")]
    pub(crate) path: Box<str>,
}

macro_rules! objects {
    ($($name:ident),+) => {
        $(impl Object for $name {
            fn key(&self) -> String {
                let Meta { namespace, name, .. } = &self.metadata;
                if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") }
            }

            fn version(&self) -> &String {
                &self.metadata.resource_version
            }
        })+
    };
}

objects!(MetaOnly, Node, Pod, Service, Endpoints, EndpointSlice, Ingress);
