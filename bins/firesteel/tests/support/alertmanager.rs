//! The real Alertmanager.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{fs, net::SocketAddr, path::Path};

use serde_json::Value;

use crate::support::{Process, get, wait_for};

/// A real Alertmanager that keeps its state in `folder`, and writes down there, as `peer.log`, what
/// it hears.
pub(crate) fn start(program: &Path, folder: &Path, address: SocketAddr) -> Process {
    let config = folder.join("alertmanager.yml");
    fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").unwrap();
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", folder.join("alertmanager").display()),
        format!("--web.listen-address={address}"),
        "--cluster.listen-address=".to_owned(),
        "--log.level=debug".to_owned(),
    ];
    let process = Process::start(program, &arguments, folder);
    wait_for("the Alertmanager", || (get(address, "/-/ready").ok()?.0 == 200).then_some(()));
    process
}

/// The alerts that an Alertmanager has, sorted by name.
pub(crate) fn received(address: SocketAddr) -> Vec<Value> {
    let Ok((200, body)) = get(address, "/api/v2/alerts") else { return Vec::new() };
    let mut all: Vec<Value> = serde_json::from_slice(&body).unwrap();
    all.sort_by_key(|alert| alert["labels"]["alertname"].to_string());
    all
}

/// The names of alerts.
pub(crate) fn names(alerts: &[Value]) -> Vec<&str> {
    alerts.iter().filter_map(|a| a["labels"]["alertname"].as_str()).collect()
}
