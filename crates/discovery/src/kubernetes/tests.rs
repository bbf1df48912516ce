//! Against an API server of objects in memory.

use std::{collections::BTreeMap, time::Duration};

use firesteel_config::{KubernetesRole, KubernetesSdConfig, Url};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::*;
use crate::{TargetGroup, UpdatesReceiver, updates};
use cluster::Cluster as Server;

#[path = "../../tests/support/cluster.rs"]
mod cluster;

/// A cluster's worth of objects of all kinds.
fn objects() -> Vec<Value> {
    serde_json::from_str(include_str!("../../tests/data/cluster.json")).unwrap()
}

/// Groups by source, as far as they have come.
struct Found {
    receiver: UpdatesReceiver,
    groups: BTreeMap<String, TargetGroup>,
    metrics: Arc<DiscoveryMetrics>,
    _stop: DropGuard,
}

impl Found {
    fn start(server: &Server, change: impl FnOnce(&mut KubernetesSdConfig)) -> Self {
        let mut config = KubernetesSdConfig::new(KubernetesRole::Pod);
        config.api_server = Some(Url::parse(&format!("http://{}", server.address)).unwrap());
        change(&mut config);
        let mechanisms = Mechanisms::new("test");
        let mut discoverer = KubernetesDiscoverer::new(&config, &mechanisms).unwrap();
        discoverer.first_wait = Duration::from_millis(5);
        let (sender, receiver) = updates();
        let stop = CancellationToken::new();
        tokio::spawn(Box::new(discoverer).run(sender, stop.clone()));
        let metrics = mechanisms.metrics;
        Self { receiver, groups: BTreeMap::new(), metrics, _stop: stop.drop_guard() }
    }

    fn role(server: &Server, role: KubernetesRole) -> Self {
        Self::start(server, |config| config.role = role)
    }

    /// Takes in what comes until it is as a test wants it.
    async fn until(&mut self, done: impl Fn(&BTreeMap<String, TargetGroup>) -> bool) {
        let wait = async {
            loop {
                let groups = self.receiver.recv().await.expect("the discoverer goes on");
                for group in groups {
                    if group.targets.is_empty() {
                        self.groups.remove(&*group.source);
                    } else {
                        self.groups.insert(group.source.to_string(), group);
                    }
                }
                if done(&self.groups) {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(20), wait).await.expect("what was waited for");
    }

    async fn first(&mut self) {
        self.until(|_| true).await;
    }

    fn target(&self, source: &str, i: usize) -> BTreeMap<String, String> {
        let labels = self.groups[source].merged().nth(i).unwrap();
        let name = |n: &str| n.strip_prefix("__meta_kubernetes_").unwrap_or(n).to_owned();
        labels.iter().map(|(n, v)| (name(n), v.to_owned())).collect()
    }

    fn sources(&self) -> Vec<&str> {
        self.groups.keys().map(String::as_str).collect()
    }
}

/// Checks all labels of a target, those of objects' labels and annotations left out.
fn check(target: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    let free = ["_label_", "_labelpresent_", "_annotation_", "_annotationpresent_"];
    let own = |name: &&String| !free.iter().any(|part| name.contains(part));
    let got: BTreeMap<&str, &str> = target
        .iter()
        .filter(|(name, _)| own(name))
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(got, expected.iter().copied().collect(), "{target:?}");
}

#[tokio::test]
async fn nodes() {
    let server = Server::start(&objects());
    let mut found = Found::role(&server, KubernetesRole::Node);
    found.first().await;
    assert_eq!(found.sources(), ["node/big-box", "node/named", "node/pi"]);
    let pi = found.target("node/pi", 0);
    check(
        &pi,
        &[
            ("__address__", "192.168.1.10:10250"),
            ("instance", "pi"),
            ("node_name", "pi"),
            ("node_provider_id", "k3s://pi"),
            ("node_address_InternalIP", "192.168.1.10"),
            ("node_address_Hostname", "pi"),
            ("node_condition_ready", "true"),
            ("node_condition_memorypressure", "false"),
            ("node_condition_weird_condition", "unknown"),
        ],
    );
    assert_eq!(pi["node_label_kubernetes_io_hostname"], "pi");
    assert_eq!(pi["node_labelpresent_kubernetes_io_hostname"], "true");
    assert_eq!(pi["node_annotation_node_alpha_kubernetes_io_ttl"], "0");
    assert_eq!(pi["node_annotationpresent_node_alpha_kubernetes_io_ttl"], "true");
    let big = found.target("node/big-box", 0);
    assert_eq!(big["__address__"], "[fd00::20]:10250");
    assert_eq!(big["node_address_ExternalIP"], "203.0.113.7");
    assert_eq!(found.target("node/named", 0)["__address__"], "named.lan:10250");
}

#[tokio::test]
async fn pods() {
    let server = Server::start(&objects());
    let mut found = Found::role(&server, KubernetesRole::Pod);
    found.first().await;
    assert!(!found.sources().contains(&"pod/default/pending"), "it has no address");
    let web = "pod/default/web-7d4b9c6f5-x1";
    assert_eq!(found.groups[web].targets.len(), 5);
    let common = [
        ("namespace", "default"),
        ("pod_name", "web-7d4b9c6f5-x1"),
        ("pod_ip", "10.42.0.11"),
        ("pod_ready", "true"),
        ("pod_phase", "Running"),
        ("pod_node_name", "pi"),
        ("pod_host_ip", "192.168.1.10"),
        ("pod_uid", "uid-pod-web-7d4b9c6f5-x1"),
        ("pod_controller_kind", "ReplicaSet"),
        ("pod_controller_name", "web-7d4b9c6f5"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&common[..], more].concat();
    check(
        &found.target(web, 1),
        &with(&[
            ("__address__", "10.42.0.11:9113"),
            ("pod_container_name", "web"),
            ("pod_container_id", "containerd://w1"),
            ("pod_container_image", "nginx:1.27"),
            ("pod_container_init", "false"),
            ("pod_container_port_name", "metrics"),
            ("pod_container_port_number", "9113"),
            ("pod_container_port_protocol", "TCP"),
        ]),
    );
    check(
        &found.target(web, 2),
        &with(&[
            ("__address__", "10.42.0.11"),
            ("pod_container_name", "side"),
            ("pod_container_id", "containerd://w2"),
            ("pod_container_image", "busybox:1"),
            ("pod_container_init", "false"),
        ]),
    );
    let init = found.target(web, 3);
    assert_eq!((&*init["__address__"], &*init["pod_container_init"]), ("10.42.0.11:7000", "true"));
    assert_eq!(init["pod_container_id"], "containerd://i1");
    let note = &found.target(web, 0)["pod_annotation_note"];
    assert_eq!(note, "line one\nline two \"quoted\"");
    let backup = found.target("pod/default/backup-29000-zz", 0);
    assert_eq!((&*backup["pod_ready"], &*backup["pod_phase"]), ("unknown", "Succeeded"));
    let six = found.target("pod/monitoring/prometheus-node-exporter-def", 0);
    assert_eq!(six["__address__"], "[fd00::20]:9100");
}

#[tokio::test]
async fn pods_with_what_can_be_attached() {
    let server = Server::start(&objects());
    let mut found = Found::start(&server, |config| {
        let attach = &mut config.attach;
        attach.node = true;
        attach.namespace = true;
        attach.deployment = true;
        attach.job = true;
        attach.cronjob = true;
    });
    found.first().await;
    let web = found.target("pod/default/web-7d4b9c6f5-x1", 0);
    assert_eq!(web["pod_deployment_name"], "web");
    assert_eq!(web["node_name"], "pi");
    assert_eq!(web["node_label_kubernetes_io_arch"], "arm64");
    assert_eq!(web["namespace_label_team"], "t-default");
    let backup = found.target("pod/default/backup-29000-zz", 0);
    assert_eq!(backup["pod_job_name"], "backup-29000");
    assert_eq!(backup["pod_cronjob_name"], "backup");
    assert!(!found.sources().contains(&"pod/default/gone-node"), "its node is not there");
    // What is attached changes, and so do the targets.
    let of = |kind: &str, name: &str| {
        let is = |o: &Value| o["kind"] == *kind && o["metadata"]["name"] == *name;
        objects().into_iter().find(is).unwrap()
    };
    let mut namespace = of("Namespace", "default");
    namespace["metadata"]["labels"]["team"] = json!("other");
    server.put(namespace);
    let web = "pod/default/web-7d4b9c6f5-x1";
    let label = |groups: &BTreeMap<String, TargetGroup>, name: &str| {
        let group = groups.get(web).map(|g| g.labels.clone());
        group.and_then(|l| l.get(&format!("__meta_kubernetes_{name}")).map(str::to_owned))
    };
    found.until(|g| label(g, "namespace_label_team").as_deref() == Some("other")).await;
    let mut node = of("Node", "pi");
    node["metadata"]["labels"]["rack"] = json!("r1");
    server.put(node);
    found.until(|g| label(g, "node_label_rack").as_deref() == Some("r1")).await;
    server.delete("nodes", "/pi");
    found.until(|g| !g.contains_key(web)).await;
}

#[tokio::test]
async fn services() {
    let server = Server::start(&objects());
    let mut found = Found::start(&server, |config| {
        config.role = KubernetesRole::Service;
        config.attach.namespace = true;
    });
    found.first().await;
    check(
        &found.target("svc/default/web", 1),
        &[
            ("__address__", "web.default.svc:9113"),
            ("namespace", "default"),
            ("service_name", "web"),
            ("service_type", "ClusterIP"),
            ("service_cluster_ip", "10.43.0.20"),
            ("service_port_name", "metrics"),
            ("service_port_number", "9113"),
            ("service_port_protocol", "TCP"),
        ],
    );
    let outside = found.target("svc/default/outside", 0);
    assert_eq!(outside["service_external_name"], "db.example.org");
    assert!(!outside.contains_key("service_cluster_ip"));
    assert_eq!(found.target("svc/default/lb", 0)["service_loadbalancer_ip"], "203.0.113.99");
    assert_eq!(outside["namespace_label_team"], "t-default");
    assert!(!found.sources().contains(&"svc/default/portless"));
    let lb = |ips: Value| {
        let is = |o: &Value| o["kind"] == "Service" && o["metadata"]["name"] == "lb";
        let mut lb = objects().into_iter().find(is).unwrap();
        lb["status"]["loadBalancer"]["ingress"] = ips;
        lb
    };
    server.put(lb(json!([{"ip": "1.1.1.1"}, {"hostname": "h"}, {"ip": "2.2.2.2"}])));
    let ips = "__meta_kubernetes_service_loadbalancer_ip";
    found.until(|g| g["svc/default/lb"].targets[0].get(ips) == Some("1.1.1.1,2.2.2.2")).await;
}

#[tokio::test]
async fn endpoints() {
    let server = Server::start(&objects());
    let mut found = Found::start(&server, |config| {
        config.role = KubernetesRole::Endpoints;
        config.attach.node = true;
    });
    found.first().await;
    let web = "endpoints/default/web";
    // Two endpoints, and of the pods' other ports one and three.
    assert_eq!(found.groups[web].targets.len(), 5);
    check(
        &found.target(web, 1),
        &[
            ("__address__", "10.42.1.12:8080"),
            ("namespace", "default"),
            ("endpoints_name", "web"),
            ("endpoint_hostname", "second"),
            ("endpoint_node_name", "big-box"),
            ("endpoint_ready", "false"),
            ("endpoint_port_name", "http"),
            ("endpoint_port_protocol", "TCP"),
            ("endpoint_address_target_kind", "Pod"),
            ("endpoint_address_target_name", "web-7d4b9c6f5-x2"),
            ("service_name", "web"),
            ("node_name", "big-box"),
            ("pod_name", "web-7d4b9c6f5-x2"),
            ("pod_ip", "10.42.1.12"),
            ("pod_ready", "false"),
            ("pod_phase", "Running"),
            ("pod_node_name", "big-box"),
            ("pod_host_ip", "192.168.1.10"),
            ("pod_uid", "uid-pod-web-7d4b9c6f5-x2"),
            ("pod_controller_kind", "ReplicaSet"),
            ("pod_controller_name", "web-7d4b9c6f5"),
            ("pod_container_name", "web"),
            ("pod_container_image", "nginx:1.27"),
            ("pod_container_init", "false"),
            ("pod_container_port_name", "http"),
            ("pod_container_port_number", "8080"),
            ("pod_container_port_protocol", "TCP"),
        ],
    );
    let slow = found.target("endpoints/default/slow", 0);
    assert_eq!(slow["endpoint_address_target_kind"], "Node");
    assert_eq!(slow["node_label_zone"], "attic");
    assert_eq!(slow["service_annotation_prometheus_io_scrape_slow"], "true");
    // A service and a pod change their endpoints.
    let of = |kind: &str, name: &str| {
        let is = |o: &Value| o["kind"] == *kind && o["metadata"]["name"] == *name;
        objects().into_iter().find(is).unwrap()
    };
    let mut service = of("Service", "web");
    service["metadata"]["labels"]["new"] = json!("yes");
    server.put(service);
    let new = "__meta_kubernetes_service_label_new";
    found.until(|g| g[web].labels.get(new) == Some("yes")).await;
    let mut pod = of("Pod", "web-7d4b9c6f5-x1");
    pod["status"]["phase"] = json!("Failed");
    server.put(pod);
    let phase = "__meta_kubernetes_pod_phase";
    found.until(|g| g[web].targets[0].get(phase) == Some("Failed")).await;
    server.delete("services", "default/web");
    found.until(|g| g[web].labels.get(new).is_none()).await;
    server.delete("endpoints", "default/web");
    found.until(|g| !g.contains_key(web)).await;
}

#[tokio::test]
async fn slices() {
    let server = Server::start(&objects());
    let mut found = Found::role(&server, KubernetesRole::EndpointSlice);
    found.first().await;
    let web = "endpointslice/default/web-abc";
    let target = found.target(web, 1);
    for (name, value) in [
        ("__address__", "10.42.1.12:8080"),
        ("namespace", "default"),
        ("endpointslice_name", "web-abc"),
        ("endpointslice_address_type", "IPv4"),
        ("endpointslice_port", "8080"),
        ("endpointslice_port_name", "http"),
        ("endpointslice_port_protocol", "TCP"),
        ("endpointslice_port_app_protocol", "http"),
        ("endpointslice_endpoint_conditions_ready", "false"),
        ("endpointslice_endpoint_conditions_serving", "false"),
        ("endpointslice_endpoint_conditions_terminating", "true"),
        ("endpointslice_endpoint_hostname", "second"),
        ("endpointslice_endpoint_node_name", "big-box"),
        ("endpointslice_address_target_kind", "Pod"),
        ("endpointslice_address_target_name", "web-7d4b9c6f5-x2"),
        ("endpointslice_endpoint_topology_topology_kubernetes_io_zone", "z1"),
        ("endpointslice_endpoint_topology_present_topology_kubernetes_io_zone", "true"),
        ("service_name", "web"),
        ("service_label_app", "web"),
        ("pod_name", "web-7d4b9c6f5-x2"),
        ("pod_container_port_name", "http"),
    ] {
        assert_eq!(target.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(found.target(web, 0)["endpointslice_endpoint_zone"], "attic");
    assert_eq!(found.target("endpointslice/default/orphan-1", 0)["__address__"], "fd00::99");
    // The service becomes dual-stack and its first family is the other one.
    let is = |o: &Value| o["kind"] == "Service" && o["metadata"]["name"] == "web";
    let mut service = objects().into_iter().find(is).unwrap();
    service["spec"]["ipFamilyPolicy"] = json!("PreferDualStack");
    service["spec"]["ipFamilies"] = json!(["IPv6", "IPv4"]);
    server.put(service);
    found.until(|g| !g.contains_key(web)).await;
}

#[tokio::test]
async fn ingresses() {
    let server = Server::start(&objects());
    let mut found = Found::role(&server, KubernetesRole::Ingress);
    found.first().await;
    let site = "ingress/default/site";
    check(
        &found.target(site, 1),
        &[
            ("__address__", "www.example.org"),
            ("namespace", "default"),
            ("ingress_name", "site"),
            ("ingress_class_name", "traefik"),
            ("ingress_scheme", "https"),
            ("ingress_host", "www.example.org"),
            ("ingress_path", "/api"),
        ],
    );
    let of = |i| {
        let target = found.target(site, i);
        let get = |name: &str| target.get(name).cloned().unwrap_or_default();
        [get("ingress_scheme"), get("ingress_host"), get("ingress_path")].join(" ")
    };
    assert_eq!(of(2), "http a.b.example.org /");
    assert_eq!(of(3), "http bare.net /");
    assert_eq!(of(4), "https other.net /");
}

#[tokio::test]
async fn asks_for_what_was_selected_in_namespaces() {
    let server = Server::start(&objects());
    let mut found = Found::start(&server, |config| {
        config.role = KubernetesRole::Pod;
        config.namespaces = vec!["default".to_owned(), "kube-system".to_owned()];
        let text = "scrape_configs:\n- job_name: a\n  kubernetes_sd_configs:\n  - role: pod\n    selectors:\n    - {role: pod, label: app=web, field: spec.nodeName=pi}\n";
        let parsed = firesteel_config::load_str("prometheus.yml", text).unwrap();
        let Some(firesteel_config::DiscoveryConfig::Kubernetes(parsed)) =
            parsed.scrape_configs[0].discovery.first().cloned()
        else {
            panic!("{parsed:?}")
        };
        config.selectors = parsed.selectors;
    });
    found.until(|g| !g.is_empty()).await;
    assert_eq!(found.sources(), ["pod/default/web-7d4b9c6f5-x1"]);
    let requests = server.requests();
    let first = "/api/v1/namespaces/default/pods?fieldSelector=spec.nodeName%3Dpi&labelSelector=app%3Dweb&limit=500";
    assert!(requests.contains(&first.to_owned()), "{requests:?}");
}

fn small_pod(name: &str, ip: &str) -> Value {
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "n"},
           "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"podIP": ip}})
}

#[tokio::test]
async fn lists_in_pages_and_follows_changes() {
    let pods: Vec<_> = (0..25).map(|i| small_pod(&format!("p{i}"), "10.0.0.1")).collect();
    let server = Server::start(&pods);
    server.pages_of(10);
    let mut found = Found::role(&server, KubernetesRole::Pod);
    found.until(|g| g.len() == 25).await;
    let lists = server.requests().iter().filter(|r| !r.contains("watch")).count();
    assert_eq!(lists, 3);
    server.put(small_pod("p3", "10.0.0.2"));
    server.delete("pods", "n/p4");
    server.put(small_pod("p99", "10.0.0.3"));
    found.until(|g| g.len() == 25 && g.contains_key("pod/n/p99")).await;
    assert_eq!(found.target("pod/n/p3", 0)["__address__"], "10.0.0.2");
    let mut families = firesteel_model::metrics::Families::default();
    firesteel_model::metrics::Collect::collect(&*found.metrics, &mut families);
    let families = families.into_sorted();
    let events = families.iter().find(|f| f.name == "prometheus_sd_kubernetes_events_total");
    let pods = events.unwrap().points.iter().filter(|(l, _)| l[0].1 == "pod");
    let counts: Vec<_> = pods.map(|(l, p)| format!("{} {p:?}", l[1].1)).collect();
    assert_eq!(counts, ["add Value(26.0)", "delete Value(1.0)", "update Value(1.0)"]);
}

#[tokio::test]
async fn goes_on_after_disconnects_and_bookmarks() {
    let server = Server::start(&[small_pod("a", "10.0.0.1")]);
    let mut found = Found::role(&server, KubernetesRole::Pod);
    found.until(|g| g.len() == 1).await;
    server.bookmark("pods");
    server.disconnect();
    server.put(small_pod("b", "10.0.0.2"));
    found.until(|g| g.len() == 2).await;
    // The server hiccups when it is asked again.
    server.fail(vec![(500, "InternalError"), (429, "TooManyRequests")]);
    server.disconnect();
    server.delete("pods", "n/a");
    found.until(|g| g.len() == 1).await;
    let requests = server.requests();
    let lists = requests.iter().filter(|r| !r.contains("watch")).count();
    assert_eq!(lists, 1, "watches go on where they were: {requests:?}");
}

#[tokio::test]
async fn lists_anew_when_its_version_is_too_old() {
    let server = Server::start(&[small_pod("a", "10.0.0.1"), small_pod("b", "10.0.0.2")]);
    let mut found = Found::role(&server, KubernetesRole::Pod);
    found.until(|g| g.len() == 2).await;
    // While nobody watches, one pod goes and one comes, and the server forgets both.
    server.fail(vec![(503, "ServiceUnavailable")]);
    server.disconnect();
    server.delete("pods", "n/a");
    server.put(small_pod("c", "10.0.0.3"));
    server.compact();
    found.until(|g| g.len() == 2 && g.contains_key("pod/n/c")).await;
    assert_eq!(found.sources(), ["pod/n/b", "pod/n/c"]);
    // The other way to say the same: an event in a watch.
    server.expire();
    server.put(small_pod("d", "10.0.0.4"));
    found.until(|g| g.contains_key("pod/n/d")).await;
}

#[tokio::test]
async fn speaks_even_when_there_is_nothing() {
    let server = Server::start(&[]);
    server.fail(vec![(403, "Forbidden")]);
    let mut found = Found::role(&server, KubernetesRole::EndpointSlice);
    found.until(|g| g.is_empty()).await;
}
