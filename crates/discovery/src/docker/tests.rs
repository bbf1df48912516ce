use firesteel_config::Url;
use serde_json::{Value, json};

use super::*;
use crate::http_api::tests::Answers;

fn networks() -> Value {
    json!([
        {"Id": "n1", "Name": "bridge", "Scope": "local", "Internal": false, "Ingress": false, "Labels": {"my.net": "x"}},
        {"Id": "n2", "Name": "ingress", "Scope": "swarm", "Internal": true, "Ingress": true, "Labels": null},
    ])
}

async fn targets(pages: &[(&str, Value)], change: impl FnOnce(&mut DockerSdConfig)) -> Vec<String> {
    let answers = Answers::of(pages);
    let mut config =
        DockerSdConfig::new(Url::parse(&format!("tcp://{}", answers.address)).unwrap());
    change(&mut config);
    let mut docker = discoverer(&config, &Mechanisms::new("test")).unwrap().source;
    let groups = docker.refresh().await.unwrap();
    assert_eq!(groups.len(), 1);
    groups[0].targets.iter().map(ToString::to_string).collect()
}

/// Labels in the order of their names.
fn labels(prefix: &str, address: &str, labels: &[(&str, &str)]) -> String {
    let mut pairs = vec![("__address__".to_owned(), address.to_owned())];
    pairs.extend(labels.iter().map(|(n, v)| (format!("{prefix}{n}"), (*v).to_owned())));
    Labels::from_pairs(pairs).to_string()
}

#[tokio::test]
async fn containers() {
    let network =
        |id: &str, ip: &str| json!({"NetworkID": id, "IPAddress": ip, "GlobalIPv6Address": ""});
    let container = |id: &str, mode: &str, ports: Value, networks: Value| {
        json!({"Id": id, "Names": [format!("/{id}")], "Image": "img", "ImageID": "sha256:1",
               "Labels": {"com.docker.compose.project": "home"}, "Ports": ports,
               "HostConfig": {"NetworkMode": mode}, "NetworkSettings": {"Networks": networks}})
    };
    let ports = json!([{"IP": "0.0.0.0", "PrivatePort": 9100, "PublicPort": 19100, "Type": "tcp"},
                       {"PrivatePort": 53, "Type": "udp"}, {"PrivatePort": 9101, "Type": "tcp"}]);
    let page = json!([
        container("web", "bridge", ports.clone(), json!({"bridge": network("n1", "172.17.0.2"), "zz": network("n2", "10.0.0.2")})),
        container("host", "host", json!([]), json!({"host": network("n9", "")})),
        container("side", "container:web", json!([]), json!({})),
        container("six", "v6", json!([]), json!({"v6": {"NetworkID": "n9", "IPAddress": "", "GlobalIPv6Address": "fd00::2"}})),
        container("lost", "container:nowhere", json!([]), json!({})),
        {"Id": "nameless"},
    ]);
    let pages = [("/containers/json", page), ("/networks", networks())];
    let all = targets(&pages, |config| config.host_networking_host = "pi".to_owned()).await;
    let of = |id: &'static str, mode: &'static str, address: &str, more: &[(&str, &str)]| {
        let name = format!("/{id}");
        let own = [
            ("container_id", id),
            ("container_name", &name),
            ("container_network_mode", mode),
            ("container_image", "img"),
            ("container_image_id", "sha256:1"),
            ("container_label_com_docker_compose_project", "home"),
        ];
        labels("__meta_docker_", address, &[&own[..], more].concat())
    };
    let bridge = [
        ("network_id", "n1"),
        ("network_name", "bridge"),
        ("network_scope", "local"),
        ("network_internal", "false"),
        ("network_ingress", "false"),
        ("network_label_my_net", "x"),
        ("network_ip", "172.17.0.2"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&bridge[..], more].concat();
    let public =
        [("port_private", "9100"), ("port_public", "19100"), ("port_public_ip", "0.0.0.0")];
    assert_eq!(all[0], of("web", "bridge", "172.17.0.2:9100", &with(&public)));
    assert_eq!(all[1], of("web", "bridge", "172.17.0.2:9101", &with(&[("port_private", "9101")])));
    assert_eq!(all[2], of("host", "host", "pi", &[]));
    assert_eq!(all[3], of("side", "container:web", "172.17.0.2:80", &with(&[])));
    assert_eq!(all[4], of("six", "v6", "[fd00::2]:80", &[("network_ip", "fd00::2")]));
    assert_eq!(all.len(), 5);
    let all = targets(&pages, |config| config.match_first_network = false).await;
    assert_eq!(all.len(), 8, "two of the second network of two containers more: {all:#?}");
}

#[tokio::test]
async fn by_a_unix_socket_with_filters() {
    use std::io::{Read as _, Write as _};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            let len = stream.read(&mut buffer).unwrap();
            heads.push(String::from_utf8_lossy(&buffer[..len]).into_owned());
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
            stream.write_all(head).unwrap();
        }
        heads
    });
    let url = Url::parse(&format!("unix://{}", path.display())).unwrap();
    let mut config = DockerSdConfig::new(url);
    let name = "name".to_owned();
    config.filters = vec![SdFilter { name, values: vec!["a".to_owned(), "b".to_owned()] }];
    let mut docker = discoverer(&config, &Mechanisms::new("test")).unwrap().source;
    let groups = docker.refresh().await.unwrap();
    assert_eq!((&*groups[0].source, groups[0].targets.len()), ("Docker", 0));
    let heads = server.join().unwrap();
    let filters = "filters=%7B%22name%22%3A%7B%22a%22%3Atrue%2C%22b%22%3Atrue%7D%7D";
    assert!(heads[0].contains(filters), "{heads:?}");
}

fn swarm_node() -> Value {
    json!([{"ID": "node1", "Spec": {"Role": "manager", "Availability": "active", "Labels": {"a.b": "c"}},
            "Description": {"Hostname": "pi", "Platform": {"Architecture": "aarch64", "OS": "linux"}, "Engine": {"EngineVersion": "27.1"}},
            "Status": {"State": "ready", "Addr": "192.168.1.10"},
            "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "192.168.1.10:2377"}}])
}

const NODE: &[(&str, &str)] = &[
    ("node_id", "node1"),
    ("node_role", "manager"),
    ("node_availability", "active"),
    ("node_hostname", "pi"),
    ("node_platform_architecture", "aarch64"),
    ("node_platform_os", "linux"),
    ("node_status", "ready"),
    ("node_address", "192.168.1.10"),
    ("node_label_a_b", "c"),
];

const SERVICE: &[(&str, &str)] = &[
    ("service_id", "svc1"),
    ("service_name", "web"),
    ("service_mode", "replicated"),
    ("service_label_tier", "front"),
];

const INGRESS: &[(&str, &str)] = &[
    ("network_id", "n2"),
    ("network_name", "ingress"),
    ("network_scope", "swarm"),
    ("network_internal", "true"),
    ("network_ingress", "true"),
];

fn services() -> Value {
    json!([{"ID": "svc1",
            "Spec": {"Name": "web", "Labels": {"tier": "front"}, "Mode": {"Replicated": {"Replicas": 2}},
                     "TaskTemplate": {"ContainerSpec": {"Image": "nginx:1", "Hostname": "h"}}},
            "Endpoint": {"Ports": [{"Name": "http", "Protocol": "tcp", "PublishedPort": 8080, "PublishMode": "ingress"},
                                   {"Protocol": "udp", "PublishedPort": 53}],
                         "VirtualIPs": [{"NetworkID": "n2", "Addr": "10.0.0.5/24"}]},
            "UpdateStatus": {"State": "completed"}},
           {"ID": "svc2", "Spec": {"Name": "plain", "Mode": {"Global": {}}},
            "Endpoint": {"VirtualIPs": [{"NetworkID": "n2", "Addr": "10.0.0.6/24"}]}}])
}

#[tokio::test]
async fn nodes_of_a_swarm() {
    let pages = [("/nodes", swarm_node())];
    let all = targets(&pages, |config| config.swarm = Some(SwarmRole::Nodes)).await;
    let more = [
        ("node_engine_version", "27.1"),
        ("node_manager_leader", "true"),
        ("node_manager_reachability", "reachable"),
        ("node_manager_address", "192.168.1.10:2377"),
    ];
    let expected = labels("__meta_dockerswarm_", "192.168.1.10:80", &[NODE, &more].concat());
    assert_eq!(all, [expected]);
}

#[tokio::test]
async fn services_of_a_swarm() {
    let pages = [("/services", services()), ("/networks", networks())];
    let all = targets(&pages, |config| config.swarm = Some(SwarmRole::Services)).await;
    let more = [
        ("service_endpoint_port_name", "http"),
        ("service_endpoint_port_publish_mode", "ingress"),
        ("service_task_container_hostname", "h"),
        ("service_task_container_image", "nginx:1"),
        ("service_updating_status", "completed"),
    ];
    let web = labels("__meta_dockerswarm_", "10.0.0.5:8080", &[SERVICE, INGRESS, &more].concat());
    let plain = [("service_id", "svc2"), ("service_name", "plain"), ("service_mode", "global")];
    let plain = labels("__meta_dockerswarm_", "10.0.0.6:80", &[INGRESS, &plain].concat());
    assert_eq!(all, [web, plain]);
}

#[tokio::test]
async fn tasks_of_a_swarm() {
    let task = |id: &str, service: &str| {
        json!({"ID": id, "ServiceID": service, "NodeID": "node1", "Slot": 2, "DesiredState": "running",
               "Spec": {"ContainerSpec": {"Labels": {"x-y": "z"}}},
               "Status": {"State": "running", "ContainerStatus": {"ContainerID": "c1"},
                          "PortStatus": {"Ports": [{"Protocol": "tcp", "PublishedPort": 9000, "PublishMode": "host"}]}},
               "NetworksAttachments": [{"Network": {"ID": "n2"}, "Addresses": ["10.0.0.7/24"]}]})
    };
    let pages = [
        ("/tasks", json!([task("t1", "svc1"), task("t2", "svc2")])),
        ("/services", services()),
        ("/nodes", swarm_node()),
        ("/networks", networks()),
    ];
    let all = targets(&pages, |config| config.swarm = Some(SwarmRole::Tasks)).await;
    let own = [
        ("task_id", "t1"),
        ("task_desired_state", "running"),
        ("task_state", "running"),
        ("task_slot", "2"),
        ("task_container_id", "c1"),
        ("container_label_x_y", "z"),
    ];
    let host = [("task_port_publish_mode", "host")];
    let prefix = "__meta_dockerswarm_";
    let first = labels(prefix, "192.168.1.10:9000", &[NODE, SERVICE, &own, &host].concat());
    let mode = [("task_port_publish_mode", "ingress")];
    let second = labels(prefix, "10.0.0.7:8080", &[NODE, SERVICE, &own, INGRESS, &mode].concat());
    assert_eq!(all[..2], [first, second]);
    assert_eq!(all.len(), 4);
    assert!(all[3].contains(r#"__address__="10.0.0.7:80""#), "{}", all[3]);
}
