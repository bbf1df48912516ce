//! The real Prometheus sends what it scrapes to us.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::fs;

use support::{Server, get, metrics_target, peer, prometheus, request, wait_for};

#[test]
fn samples_arrive_from_the_real_prometheus() {
    let Some(program) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let idle = folder.path().join("idle.yml");
    fs::write(&idle, "scrape_configs: []\n").unwrap();
    let server = Server::start(
        folder.path(),
        &[&format!("--config.file={}", idle.display()), "--web.enable-remote-write-receiver"],
    );
    let target = metrics_target(|n| format!("sent{{a=\"b\"}} {n}\n"));
    let config = folder.path().join("sender.yml");
    fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, external_labels: {{from: there}}}}\n\
             scrape_configs:\n- job_name: test\n  static_configs: [{{targets: ['{target}']}}]\n\
             remote_write:\n- url: http://{}/api/v1/write\n  queue_config: {{batch_send_deadline: 200ms}}\n",
            server.address
        ),
    )
    .unwrap();
    let (_sender, _) =
        prometheus(&program, folder.path(), &folder.path().join("theirs"), &config, &[]);
    let count = wait_for("samples", || {
        let result =
            server.query("count_over_time(sent{a=\"b\", from=\"there\", job=\"test\"}[1m])");
        let count: f64 = result[0]["value"][1].as_str()?.parse().ok()?;
        (count >= 5.0).then_some(count)
    });
    println!("{count} samples arrived");
}

#[test]
fn what_is_not_a_request_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--web.enable-remote-write-receiver"]);
    let write = |headers: &[(&str, &str)], body: &[u8]| {
        request(server.address, "POST", "/api/v1/write", headers, body).unwrap().0
    };
    assert_eq!(write(&[], b"not snappy"), 400);
    assert_eq!(write(&[("Content-Type", "text/plain")], b""), 415);
    assert_eq!(write(&[("Content-Encoding", "gzip")], b""), 415);
    // A snappy block that claims a gigabyte.
    assert_eq!(write(&[], &[0x80, 0x80, 0x80, 0x80, 0x04, 0]), 413);
    assert_eq!(get(server.address, "/-/ready").unwrap().0, 200);
    let off = Server::start(tempfile::tempdir().unwrap().path(), &[]);
    let (status, body) = request(off.address, "POST", "/api/v1/write", &[], b"").unwrap();
    let body = String::from_utf8(body).unwrap();
    assert!(
        status == 404 && body.contains("--web.enable-remote-write-receiver"),
        "{status} {body}"
    );
}
