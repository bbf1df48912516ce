//! Alerts from rules to the real Alertmanager: they arrive, are resolved, and outlast reloads.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

#[path = "support/alertmanager.rs"]
mod alertmanager;
mod support;

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use alertmanager::{names, received};
use jiff::Timestamp;
use serde_json::Value;
use support::{Server, conformance, free_address, get, metrics_target, peer, request, wait_for};

/// A page with everything that the rules of the set-ups look at, healthy or not.
fn page(n: usize, healthy: bool) -> String {
    let (idle, free) = if healthy { (1e6 * n as f64, 90) } else { (1.0, 2) };
    // Slow requests go on; quick ones are many more where all is well.
    let (quick, slow) = (if healthy { 1_000_000 * n } else { 0 }, n * 10);
    let all = quick + slow;
    format!(
        "# TYPE node_cpu_seconds_total counter\n\
         node_cpu_seconds_total{{mode=\"idle\"}} {idle}\n\
         node_memory_MemAvailable_bytes {free}\nnode_memory_MemTotal_bytes 100\n\
         node_filesystem_avail_bytes{{device=\"sda\"}} {free}\n\
         node_filesystem_size_bytes{{device=\"sda\"}} 100\n\
         http_server_requests_seconds_bucket{{uri=\"/\",le=\"1\"}} {quick}\n\
         http_server_requests_seconds_bucket{{uri=\"/\",le=\"3\"}} {all}\n\
         http_server_requests_seconds_bucket{{uri=\"/\",le=\"+Inf\"}} {all}\n"
    )
}

/// Rules that wait for as many seconds as they say minutes.
fn quicker(rules: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix("for:") {
        Some(_) => line.trim_end().trim_end_matches('m').to_owned() + "s\n",
        None => format!("{line}\n"),
    };
    rules.lines().map(line).collect()
}

fn alerting(alertmanager: SocketAddr) -> String {
    format!(
        "alerting:\n  alertmanagers:\n  - static_configs: [{{targets: [\"{alertmanager}\"]}}]\n"
    )
}

const GLOBAL: &str = "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  \
                      evaluation_interval: 1s\n  external_labels: {region: korea}\n";

#[test]
fn the_alerts_of_two_set_ups_arrive_and_are_resolved() {
    let (Some(program), Some(setups)) = (peer("prometheus-alertmanager"), conformance("setups"))
    else {
        return;
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let _alertmanager = alertmanager::start(&program, folder.path(), address);
    let healthy = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&healthy);
    let target = metrics_target(move |n| page(n, state.load(Ordering::SeqCst)));
    for setup in ["proxmox", "hybrid"] {
        let rules = fs::read_to_string(setups.join(setup).join("rules.yml")).unwrap();
        fs::write(folder.path().join(format!("{setup}.rules.yml")), quicker(&rules)).unwrap();
    }
    // The exporter of MySQL is not there until everything is well.
    let mysql = free_address();
    let config = format!(
        "{GLOBAL}rule_files: ['*.rules.yml']\n{}scrape_configs:\n\
         - job_name: node\n  static_configs: [{{targets: ['{target}']}}]\n\
         - job_name: mysql-exporter\n  static_configs: [{{targets: ['{mysql}']}}]\n",
        alerting(address)
    );
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    let arguments = ["--web.external-url=http://prometheus.example/p", "--web.route-prefix=/"];
    let server = Server::start(folder.path(), &arguments);
    let state = |name: &str| {
        let alerts = server.api("alerts")["alerts"].as_array().unwrap().clone();
        let mut of_name = alerts.iter().filter(|a| a["labels"]["alertname"] == name);
        of_name.next().map(|a| a["state"].as_str().unwrap().to_owned())
    };
    wait_for("a pending alert", || (state("DiskSpaceLow")? == "pending").then_some(()));
    assert!(!names(&received(address)).contains(&"DiskSpaceLow"));
    wait_for("all alerts", || (names(&received(address)).len() == 5).then_some(()));
    let alerts = received(address);
    let expected =
        ["ApplicationResponseTime", "DiskSpaceLow", "HighCPUUsage", "HighMemoryUsage", "MySQLDown"];
    // Both set-ups have one of high load, with the same labels: they are one.
    assert_eq!(names(&alerts), expected, "{alerts:#?}");
    let disk = alerts.iter().find(|a| a["labels"]["alertname"] == "DiskSpaceLow").unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for (label, value) in [
        ("severity", "warning"),
        ("region", "korea"),
        ("device", "sda"),
        ("job", "node"),
        ("instance", &target.to_string()),
    ] {
        assert_eq!(disk["labels"][label], value);
    }
    let time = |value: &Value| text(value).parse::<Timestamp>().unwrap().as_second();
    assert!((200..=260).contains(&(time(&disk["endsAt"]) - time(&disk["startsAt"]))), "{disk:#?}");
    let url = text(&disk["generatorURL"]);
    assert!(url.starts_with("http://prometheus.example/p/graph?g0.expr=%281+-+node_"), "{url}");
    assert!(url.ends_with("+%3E+85&g0.tab=1"), "{url}");
    let cpu = alerts.iter().find(|a| a["labels"]["alertname"] == "HighCPUUsage").unwrap();
    let annotations = cpu["annotations"].to_string();
    assert!(annotations.contains(&target.to_string()), "{annotations}");
    println!("amtool: {} alerts", amtool(address));
    healthy.store(true, Ordering::SeqCst);
    let listener = TcpListener::bind(mysql).unwrap();
    let answering = thread::spawn(move || answer_all(&listener));
    wait_for("the end of all alerts", || received(address).is_empty().then_some(()));
    assert!(server.stop().success());
    drop(answering);
}

/// How many alerts Alertmanager's own tool sees.
fn amtool(address: SocketAddr) -> usize {
    let Some(program) = peer("amtool") else { return 0 };
    let output = std::process::Command::new(program)
        .args(["alert", "query", "-o", "json", &format!("--alertmanager.url=http://{address}")])
        .output()
        .unwrap();
    let alerts: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(alerts.len() >= 5);
    alerts.len()
}

/// Answers every request with an empty page.
fn answer_all(listener: &TcpListener) {
    use std::io::Write as _;
    for mut stream in listener.incoming().flatten() {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
            Content-Length: 4\r\nConnection: close\r\n\r\nm 1\n",
        );
    }
}

/// A rule that fires at once, and one that waits.
const RULES: &str = "groups:
- name: now
  rules:
  - {alert: Now, expr: 'vector(1)', annotations: {value: '{{ $value }}'}}
- name: later
  rules:
  - {alert: Later, expr: 'vector(1)', for: 60s}
";

fn write(folder: &Path, alertmanager: SocketAddr, rules: &str) {
    let config = format!("{GLOBAL}rule_files: [rules.yml]\n{}", alerting(alertmanager));
    fs::write(folder.join("prometheus.yml"), config).unwrap();
    fs::write(folder.join("rules.yml"), rules).unwrap();
}

/// The sum of the values of a metric of the server itself.
fn metric(server: &Server, name: &str) -> f64 {
    let (_, body) = get(server.address, "/metrics").unwrap();
    let text = String::from_utf8(body).unwrap();
    let of_name = text
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    of_name.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// `activeAt` of an alert.
fn active_at(server: &Server, name: &str) -> Option<String> {
    let alerts = server.api("alerts")["alerts"].as_array().unwrap().clone();
    let alert = alerts.into_iter().find(|a| a["labels"]["alertname"] == name)?;
    Some(alert["activeAt"].as_str().unwrap().to_owned())
}

#[test]
fn alerts_outlast_reloads() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), free_address(), RULES);
    let server = Server::start(folder.path(), &["--web.enable-lifecycle"]);
    let before = wait_for("alerts of both groups", || {
        active_at(&server, "Now")?;
        active_at(&server, "Later")
    });

    // One group changes; the other one goes on as it was.
    let group = |server: &Server, name: &str| {
        let groups = server.api("rules")["groups"].as_array().unwrap().clone();
        groups.into_iter().find(|g| g["name"] == name).unwrap()
    };
    fs::write(folder.path().join("rules.yml"), RULES.replace("60s", "50s")).unwrap();
    let reload = || request(server.address, "POST", "/-/reload", &[], b"").unwrap();
    assert_eq!(reload().0, 200);
    let rule = group(&server, "later")["rules"][0].clone();
    assert_eq!(rule["duration"], 50);
    let unchanged = group(&server, "now")["rules"][0].clone();
    assert_eq!((&unchanged["health"], &unchanged["state"]), (&"ok".into(), &"firing".into()));
    wait_for("the evaluation of the changed group", || {
        (group(&server, "later")["rules"][0]["health"] == "ok").then_some(())
    });
    assert_eq!(active_at(&server, "Later").unwrap(), before);

    // A file that is wrong leaves all rules in force, and it is said why.
    fs::write(folder.path().join("rules.yml"), RULES.replace("vector(1)", "vector(")).unwrap();
    let (status, body) = reload();
    let body = String::from_utf8(body).unwrap();
    assert!(status == 500 && body.contains("previous rule set restored"), "{status} {body}");
    assert_eq!(group(&server, "now")["rules"][0]["state"], "firing");
    let (_, page) = get(server.address, "/rules").unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("rules.yml:4:24: group &quot;now&quot;, rule 1"), "{page}");
    assert_eq!(metric(&server, "prometheus_config_last_reload_successful"), 0.0);
    fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    assert_eq!(reload().0, 200);
    let (_, page) = get(server.address, "/rules").unwrap();
    assert!(!String::from_utf8(page).unwrap().contains("rules.yml:4:24"));
    assert!(server.stop().success());
}

#[test]
fn a_start_with_a_wrong_rule_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), free_address(), &RULES.replace("alert: Now", "allert: Now"));
    let arguments = support::arguments(folder.path(), &[]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (code, log) = support::run_to_end(folder.path(), &arguments);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("rules.yml:4:6") && log.contains("did you mean alert?"), "{log}");
}

#[test]
fn an_alertmanager_that_never_answers_disturbs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let many: String = (0..50)
        .map(|i| format!("  - {{alert: A{i}, expr: 'vector(1) or label_replace(vector(2), \"a\", \"b\", \"\", \"\")'}}\n"))
        .collect();
    write(
        folder.path(),
        silent.local_addr().unwrap(),
        &format!("{RULES}- name: many\n  rules:\n{many}"),
    );
    let config = folder.path().join("prometheus.yml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("  - static", "  - timeout: 2s\n    static")).unwrap();
    let arguments =
        ["--rules.alert.resend-delay=1s", "--alertmanager.notification-queue-capacity=60"];
    let server = Server::start(folder.path(), &arguments);
    wait_for("failed attempts", || {
        (metric(&server, "prometheus_notifications_errors_total") >= 60.0).then_some(())
    });
    assert!(metric(&server, "prometheus_notifications_queue_length") <= 60.0);
    assert!(metric(&server, "prometheus_notifications_dropped_total") > 0.0);
    assert_eq!(metric(&server, "prometheus_rule_group_iterations_missed_total"), 0.0);
    assert_eq!(server.api("alertmanagers")["activeAlertmanagers"].as_array().unwrap().len(), 1);
    let began = Instant::now();
    assert!(server.stop().success());
    println!("stopped in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(silent);
}
