//! Targets from Kubernetes, side by side with the real Prometheus, which asks the same API server.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

#[path = "../../../crates/discovery/tests/support/cluster.rs"]
mod cluster;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use cluster::Cluster;
use serde_json::{Value, json};
use support::{Server, api_data, arguments, conformance, get, peer, prometheus, wait_for};

fn objects() -> Vec<Value> {
    let text = include_str!("../../../crates/discovery/tests/data/cluster.json");
    serde_json::from_str(text).unwrap()
}

/// Whether a label is newer than the Prometheus we compare with.
fn is_newer(name: &str) -> bool {
    name.starts_with("__meta_kubernetes_node_condition_")
        || name.ends_with("_histograms__")
        || name == "__convert_classic_histograms_to_nhcb__"
}

/// All targets, active and dropped, as far as they do not change with each scrape.
fn targets(address: SocketAddr) -> BTreeSet<String> {
    let data = api_data(address, "targets");
    let mut all = BTreeSet::new();
    for (kind, fields) in [
        ("activeTargets", &["discoveredLabels", "labels", "scrapePool", "scrapeUrl"][..]),
        ("droppedTargets", &["discoveredLabels", "scrapePool"]),
    ] {
        for target in data[kind].as_array().into_iter().flatten() {
            let mut line = format!("{kind} ");
            for field in fields {
                match target[*field].as_object() {
                    Some(labels) => {
                        let old = labels.iter().filter(|(name, _)| !is_newer(name));
                        let sorted: BTreeMap<&String, &Value> = old.collect();
                        line.push_str(&format!("{sorted:?} "));
                    }
                    None => line.push_str(&format!("{} ", target[*field])),
                }
            }
            all.insert(line);
        }
    }
    all
}

/// Both servers with a configuration find the same targets.
fn compare(folder: &Path, config: &Path, least: usize) -> Option<Server> {
    let real = peer("prometheus")?;
    let flag = format!("--config.file={}", config.display());
    let ours = Server::start(folder, &[&flag]);
    let (_real, theirs) = prometheus(&real, folder, &folder.join("real"), config, &[]);
    let began = std::time::Instant::now();
    let last = loop {
        let last = (targets(ours.address), targets(theirs));
        if last.0 == last.1 && last.0.len() >= least {
            return Some(ours);
        }
        if began.elapsed().as_secs() > 45 {
            break last;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
        a.difference(b).take(3).cloned().collect::<Vec<_>>().join("\n")
    };
    panic!(
        "{} targets here, {} there; only here:\n{}\nonly there:\n{}\n{}",
        last.0.len(),
        last.1.len(),
        only(&last.0, &last.1),
        only(&last.1, &last.0),
        ours.log(),
    );
}

#[test]
fn the_helm_chart_whole() {
    let Some(setup) = conformance("setups/helm") else { return };
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&objects());
    let account = folder.path().join("account");
    fs::create_dir(&account).unwrap();
    fs::write(account.join("token"), "t0ken").unwrap();
    fs::write(account.join("ca.crt"), CA).unwrap();
    let text = fs::read_to_string(setup.join("prometheus.yml")).unwrap();
    let text = text
        .replace("/var/run/secrets/kubernetes.io/serviceaccount", &account.display().to_string())
        .replace("- role: ", &format!("- api_server: http://{}\n      role: ", cluster.address));
    // Sections of jobs stand less deep than those of Alertmanagers.
    let text = text.replace("\n  - api_server", "\n    - api_server");
    let config = folder.path().join("prometheus.yml");
    fs::write(&config, text).unwrap();
    let Some(ours) = compare(folder.path(), &config, 20) else { return };
    // Equal sections share what asks the API.
    let lists = cluster
        .requests()
        .iter()
        .filter(|r| r.contains("/endpointslices") && !r.contains("watch"))
        .count();
    assert!(lists <= 4, "three jobs of two servers: {lists} lists");
    // A pod comes, another goes.
    let mut pod = objects().into_iter().find(|o| o["kind"] == "Pod").unwrap();
    pod["metadata"]["name"] = json!("newcomer");
    pod["metadata"]["annotations"] = json!({"prometheus.io/scrape": "true"});
    cluster.put(pod);
    cluster.disconnect();
    wait_for("the new pod", || {
        targets(ours.address).iter().any(|t| t.contains("newcomer")).then_some(())
    });
}

#[test]
fn every_role_with_what_can_be_attached() {
    let folder = tempfile::tempdir().unwrap();
    // A pod of a node that is not there: Prometheus leaves it out since 3.14 only.
    let known = |o: &Value| o["metadata"]["name"] != "gone-node";
    let cluster = Cluster::start(&objects().into_iter().filter(known).collect::<Vec<_>>());
    cluster.pages_of(3);
    let mut text = String::from("scrape_configs:\n");
    for (role, attach) in [
        ("node", ""),
        ("pod", "{node: true}"),
        ("pod", "{node: false}"),
        ("service", ""),
        ("endpoints", "{node: true}"),
        ("endpoints", "{node: false}"),
        ("endpointslice", "{node: true}"),
        ("endpointslice", "{node: false}"),
        ("ingress", ""),
    ] {
        let attach = if attach.is_empty() { "{}" } else { attach };
        text.push_str(&format!(
            "- job_name: {role}{}\n  scrape_interval: 1h\n  kubernetes_sd_configs:\n  - role: {role}\n    \
             api_server: http://{}\n    attach_metadata: {attach}\n",
            attach.len(),
            cluster.address
        ));
    }
    let config = folder.path().join("prometheus.yml");
    fs::write(&config, text).unwrap();
    compare(folder.path(), &config, 50);
}

#[test]
fn outside_a_cluster_it_says_so_and_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let config: PathBuf = folder.path().join("prometheus.yml");
    fs::write(
        &config,
        "scrape_configs:\n- job_name: pods\n  kubernetes_sd_configs:\n  - role: pod\n",
    )
    .unwrap();
    let flag = format!("--config.file={}", config.display());
    let server = Server::spawn(folder.path(), &arguments(folder.path(), &[&flag]));
    wait_for("readiness", || (get(server.address, "/-/ready").ok()?.0 == 200).then_some(()));
    let log = server.log();
    for said in ["Cannot create service discovery", "unable to load in-cluster configuration"] {
        assert!(log.contains(said), "{log}");
    }
    let (_, page) = get(server.address, "/metrics").unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("prometheus_sd_failed_configs{name=\"scrape\"} 1"), "{page}");
}

/// Some certificate: the scrapes that would need it go nowhere.
const CA: &str = "-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIUTG8VNobrQ70JiGRsj3376sv73v0wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGc29tZWNhMCAXDTI2MTEyMTEwMjI1MloYDzIxMjYxMDI4MTAy
MjUyWjARMQ8wDQYDVQQDDAZzb21lY2EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAQPB6e+243loXDlAhoOGAPsi6Xmk/eHKdjBsO88EuXLcsXNx2o0xU1a/9aps1zp
/THMjIFlETXpw9iibchTR/qto1MwUTAdBgNVHQ4EFgQUwhNPE3IOs9LXRMggOrU/
v6Yi07cwHwYDVR0jBBgwFoAUwhNPE3IOs9LXRMggOrU/v6Yi07cwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEA0gHv6oCskTRVwh92j2wLouet5Fhi
FgAmAetjoL+z/TcCIQCWb6QkLZjKy4+pGro2Acs6EcKXewD6AW1cXUCM4HxK6A==
-----END CERTIFICATE-----
";
