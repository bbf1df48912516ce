//! The configuration changes while the server runs: all of it or nothing.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use support::{Server, get, metrics_target, request, wait_for, write_config};

/// Status and text of a reload over HTTP.
fn reload(server: &Server) -> (u16, String) {
    let (status, body) = request(server.address, "POST", "/-/reload", &[], b"").unwrap();
    (status, String::from_utf8(body).unwrap())
}

/// The value of a metric of the server itself.
fn own_metric(address: SocketAddr, name: &str) -> f64 {
    let (_, page) = get(address, "/metrics").unwrap();
    let page = String::from_utf8(page).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} is not in {page}")).parse().unwrap()
}

/// What the server says of its configuration: text, targets' pools, whether the last load was good.
fn state(server: &Server) -> (String, Vec<String>, bool) {
    let yaml = server.api("status/config")["yaml"].as_str().unwrap().to_owned();
    let targets = server.api("targets");
    let targets = targets["activeTargets"].as_array().unwrap();
    let mut pools: Vec<_> =
        targets.iter().map(|t| t["scrapePool"].as_str().unwrap().to_owned()).collect();
    pools.sort_unstable();
    let success = server.api("status/runtimeinfo")["reloadConfigSuccess"] == true;
    (yaml, pools, success)
}

struct Running {
    folder: tempfile::TempDir,
    file: PathBuf,
    target: SocketAddr,
    server: Server,
}

/// A server with one job, `test`.
fn start(more: &[&str]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let target = metrics_target(|n| format!("m {n}\n"));
    let file = write_config(folder.path(), "1s", "", &[target]);
    let config = format!("--config.file={}", file.display());
    let mut arguments = vec![config.as_str()];
    arguments.extend(more);
    let server = Server::start(folder.path(), &arguments);
    wait_for("a sample", || (server.query("m") != serde_json::json!([])).then_some(()));
    Running { folder, file, target, server }
}

fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from));
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn a_bad_file_leaves_everything_as_it_was() {
    let Running { folder: _folder, file, server, .. } = start(&["--web.enable-lifecycle"]);
    let good = fs::read_to_string(&file).unwrap();
    let before = state(&server);
    assert!(before.2);
    let loaded = "prometheus_config_last_reload_success_timestamp_seconds";
    let successful = "prometheus_config_last_reload_successful";
    let since = own_metric(server.address, loaded);
    for (bad, why) in [
        ("scrape_configs: 5\n".to_owned(), "prometheus.yml:1:17: scrape_configs: expected a list"),
        (good.replace("job_name: test", "job_nam: test"), "field job_nam not found"),
        ("a: [".to_owned(), "prometheus.yml:"),
    ] {
        fs::write(&file, bad).unwrap();
        let (status, body) = reload(&server);
        assert_eq!(status, 500, "{body}");
        assert!(
            body.starts_with(
                "failed to reload config: couldn't load configuration (--config.file=\""
            ) && body.contains(why),
            "{body}"
        );
        let after = state(&server);
        assert_eq!((&after.0, &after.1, after.2), (&before.0, &before.1, false));
        assert_eq!(own_metric(server.address, loaded), since);
        assert_eq!(own_metric(server.address, successful), 0.0);
    }
    fs::write(&file, &good).unwrap();
    assert_eq!(reload(&server), (200, String::new()));
    assert_eq!(state(&server), before);
    assert_eq!(own_metric(server.address, successful), 1.0);
    assert!(own_metric(server.address, loaded) > since);
}

#[test]
fn what_cannot_be_put_into_force_leaves_everything_as_it_was() {
    let Running { folder, file, server, .. } = start(&["--web.enable-lifecycle"]);
    let good = fs::read_to_string(&file).unwrap();
    let before = state(&server);
    let log = folder.path().join("none/query.log");
    let bad = good
        .replace("global:\n", &format!("global:\n  query_log_file: {}\n", log.display()))
        .replace("job_name: test", "job_name: renamed");
    fs::write(&file, bad).unwrap();
    let (status, body) = reload(&server);
    assert_eq!(status, 500, "{body}");
    let expected =
        "one or more errors occurred while applying the new configuration (--config.file=\"";
    assert!(body.contains(expected) && body.contains("query_log_file"), "{body}");
    let after = state(&server);
    assert_eq!((&after.0, &after.1, after.2), (&before.0, &before.1, false));
    // It goes through once the reason is gone.
    fs::create_dir(folder.path().join("none")).unwrap();
    assert_eq!(reload(&server), (200, String::new()));
    wait_for("the new job", || (state(&server).1 == ["renamed"]).then_some(()));
}

#[test]
fn signals_reload_and_http_needs_a_flag() {
    let Running { folder: _folder, file, server, .. } = start(&[]);
    let (status, body) = reload(&server);
    assert_eq!((status, body.as_str()), (403, "Lifecycle API is not enabled."));
    change(&file, "job_name: test", "job_name: renamed");
    server.signal("HUP");
    wait_for("the new job", || (state(&server).1 == ["renamed"]).then_some(()));
    // What is not under scrape_configs counts, too: the step of subqueries.
    let steps = || server.query("count_over_time(vector(1)[10m:])")[0]["value"][1].clone();
    assert_eq!(steps(), "10");
    change(&file, "global:\n", "global:\n  evaluation_interval: 10s\n");
    server.signal("HUP");
    wait_for("the new step", || (steps() == "60").then_some(()));
}

#[test]
fn watched_files_are_reloaded_when_they_change() {
    let Running { folder, file, target, server } =
        start(&["--config.auto-reload", "--config.auto-reload-interval=1s"]);
    change(&file, "job_name: test", "job_name: renamed");
    wait_for("the new job", || (state(&server).1 == ["renamed"]).then_some(()));
    // Files that it names are watched as well, and new ones that a pattern matches.
    change(&file, "scrape_configs:", "scrape_config_files: ['jobs/*.yml']\nscrape_configs:");
    fs::create_dir(folder.path().join("jobs")).unwrap();
    let more = folder.path().join("jobs/more.yml");
    let job = |name: &str| {
        format!(
            "scrape_configs:\n- job_name: {name}\n  static_configs:\n  - targets: ['{target}']\n"
        )
    };
    for name in ["some", "second"] {
        fs::write(&more, job(name)).unwrap();
        wait_for("the job of the other file", || {
            (state(&server).1 == ["renamed", name]).then_some(())
        });
    }
    // A bad file is said to be bad and changes nothing; the next good one counts.
    fs::write(&more, "scrape_configs: 5\n").unwrap();
    wait_for("the refusal", || (!state(&server).2).then_some(()));
    assert_eq!(state(&server).1, ["renamed", "second"]);
    assert!(server.log().contains("more.yml:1:17: scrape_configs: expected a list"));
    fs::write(&more, job("third")).unwrap();
    wait_for("the third job", || {
        let (_, pools, success) = state(&server);
        (success && pools == ["renamed", "third"]).then_some(())
    });
    assert!(server.stop().success());
}
