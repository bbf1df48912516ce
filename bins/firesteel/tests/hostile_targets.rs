//! Targets that misbehave fail alone.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{io::Write as _, thread, time::Duration};

use support::{Server, metrics_target, target, wait_for, write_config};

#[test]
fn each_fails_with_its_reason_and_disturbs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let good = metrics_target(|n| format!("good {n}\n"));
    let garbage = metrics_target(|_| "\u{1}\u{2} not { metrics\n".to_owned());
    let wrong_type = target(|_, stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        );
    });
    let endless = target(|_, stream| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
        let line = "endless_metric 1\n".repeat(1000);
        let _ = stream.write_all(head);
        while stream.write_all(line.as_bytes()).is_ok() {}
    });
    let silent = target(|_, _| thread::sleep(Duration::from_secs(3600)));
    let targets = [good, garbage, wrong_type, endless, silent];
    let file = write_config(folder.path(), "1s", "  body_size_limit: 1MB\n", &targets);
    let server = Server::start(folder.path(), &[&format!("--config.file={}", file.display())]);
    let all = wait_for("a scrape of every target", || {
        let targets = server.api("targets")["activeTargets"].as_array()?.clone();
        targets.iter().all(|t| t["health"] != "unknown").then_some(targets)
    });
    for (address, reason) in [
        (good, ""),
        (garbage, "line 1, column 1"),
        (wrong_type, "Content-Type"),
        (endless, "body size limit exceeded"),
        (silent, "deadline"),
    ] {
        let target = all.iter().find(|t| t["labels"]["instance"] == address.to_string()).unwrap();
        let error = target["lastError"].as_str().unwrap();
        assert_eq!(target["health"], if address == good { "up" } else { "down" }, "{target}");
        assert!(
            error.contains(reason) && error.is_empty() == (address == good),
            "{address}: {error}"
        );
    }
    let ups = wait_for("up of every target", || {
        let ups = server.query("sort(up)");
        (ups.as_array()?.len() == 5).then_some(ups)
    });
    let values: Vec<_> =
        ups.as_array().unwrap().iter().map(|u| u["value"][1].as_str().unwrap()).collect();
    assert_eq!(values, ["0", "0", "0", "0", "1"]);
}
