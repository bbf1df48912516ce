//! The real Alertmanager is stopped while alerts begin and end, and started again: it hears of
//! every one of them soon.
//!
//! `FIRESTEEL_OUTAGE=120` makes the outage as many seconds long, 5 where it is not set.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

#[path = "support/alertmanager.rs"]
mod alertmanager;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use alertmanager::received;
use support::{Server, free_address, get, metrics_target, peer, wait_for};

/// Alerts of each kind: more than go into one request.
const EACH: usize = 300;
/// How soon everything is to arrive.
const SOON: Duration = Duration::from_secs(30);

/// What fires: alerts that fire throughout, those that end and those that begin during the outage,
/// and those that do both.
#[derive(Default)]
struct Firing {
    ends: AtomicBool,
    begins: AtomicBool,
    brief: AtomicBool,
}

impl Firing {
    fn page(&self) -> String {
        let value = |flag: &AtomicBool| u8::from(flag.load(Ordering::SeqCst));
        let (ends, begins, brief) = (value(&self.ends), value(&self.begins), value(&self.brief));
        [("stays", 1), ("ends", ends), ("begins", begins), ("brief", brief)]
            .into_iter()
            .flat_map(|(name, value)| {
                (0..EACH).map(move |n| format!("{name}{{n=\"{n}\"}} {value}\n"))
            })
            .collect()
    }
}

const CONFIG: &str = "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
alerting:
  alertmanagers:
  - static_configs: [{targets: ['ALERTMANAGER']}]
scrape_configs:
- job_name: test
  static_configs: [{targets: ['TARGET']}]
";

const RULES: &str = "groups:
- name: all
  rules:
  - {alert: Stays, expr: stays > 0}
  - {alert: Ends, expr: ends > 0}
  - {alert: Begins, expr: begins > 0}
  - {alert: Brief, expr: brief > 0}
";

/// How many alerts of a name are firing for the server.
fn firing(server: &Server, name: &str) -> usize {
    let alerts = server.api("alerts")["alerts"].as_array().unwrap().clone();
    alerts.iter().filter(|a| a["labels"]["alertname"] == name && a["state"] == "firing").count()
}

/// The alerts that an Alertmanager started in `folder` heard of: how many of each name in which
/// state, each once.
fn heard(folder: &Path) -> BTreeMap<(String, &'static str), usize> {
    let log = fs::read_to_string(folder.join("peer.log")).unwrap();
    // `msg="Received alert" ... alert=Name[fingerprint][active]`
    let heard = log.lines().filter(|l| l.contains("Received alert")).filter_map(|line| {
        let alert = line.split_once("alert=")?.1;
        let (name, rest) = alert.trim_start_matches('"').split_once('[')?;
        let (fingerprint, state) = rest.split_once("][")?;
        let state = if state.starts_with("resolved") { "resolved" } else { "active" };
        Some((name.to_owned(), state, fingerprint.to_owned()))
    });
    let each: BTreeSet<_> = heard.collect();
    each.into_iter().fold(BTreeMap::new(), |mut all, (name, state, _)| {
        *all.entry((name, state)).or_default() += 1;
        all
    })
}

/// The sum of the values of a metric of the server itself.
fn metric(server: &Server, name: &str) -> f64 {
    let (_, body) = get(server.address, "/metrics").unwrap();
    let text = String::from_utf8(body).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

#[test]
fn an_alertmanager_that_was_away_hears_of_every_alert_soon() {
    let Some(program) = peer("prometheus-alertmanager") else { return };
    let outage = std::env::var("FIRESTEEL_OUTAGE").map_or(5, |text| text.parse().unwrap());
    let outage = Duration::from_secs(outage);
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let state = Arc::new(Firing::default());
    let of_target = Arc::clone(&state);
    let target = metrics_target(move |_| of_target.page());
    let config = CONFIG.replace("ALERTMANAGER", &address.to_string());
    let config = config.replace("TARGET", &target.to_string());
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    state.ends.store(true, Ordering::SeqCst);
    let first = alertmanager::start(&program, folder.path(), address);
    // An Alertmanager that was restarted has forgotten its alerts: what it had before comes with the
    // resends of the outage, which are as many with a minute, the default, in two minutes.
    let resend = format!("--rules.alert.resend-delay={}ms", outage.as_millis() / 2);
    let server = Server::start(folder.path(), &[&resend]);
    wait_for("the first alerts", || (received(address).len() == 2 * EACH).then_some(()));

    first.stop();
    let stopped = Instant::now();
    state.brief.store(true, Ordering::SeqCst);
    wait_for("the brief alerts", || (firing(&server, "Brief") == EACH).then_some(()));
    state.brief.store(false, Ordering::SeqCst);
    thread::sleep((outage / 2).saturating_sub(stopped.elapsed()));
    state.ends.store(false, Ordering::SeqCst);
    state.begins.store(true, Ordering::SeqCst);
    wait_for("what begins and ends", || {
        let all = ["Stays", "Begins", "Ends", "Brief"].map(|name| firing(&server, name));
        (all == [EACH, EACH, 0, 0]).then_some(())
    });
    thread::sleep(outage.saturating_sub(stopped.elapsed()));
    let (failed, away) =
        (metric(&server, "prometheus_notifications_errors_total"), stopped.elapsed());

    let began = Instant::now();
    let second = alertmanager::start(&program, folder.path(), address);
    let ready = began.elapsed();
    let mut arrived = BTreeMap::new();
    let all =
        [("Stays", "active"), ("Begins", "active"), ("Ends", "resolved"), ("Brief", "resolved")];
    wait_for("all alerts", || {
        let heard = heard(folder.path());
        for (name, state) in all {
            if heard.get(&(name.to_owned(), state)) == Some(&EACH) {
                arrived.entry(name).or_insert(began.elapsed());
            }
        }
        (arrived.len() == all.len()).then_some(())
    });
    println!(
        "away for {away:.1?} in which {failed} alerts were sent in vain; ready {ready:.1?} after its \
         start; all alerts arrived after {arrived:.1?}"
    );
    assert!(arrived.values().all(|&after| after < SOON), "{arrived:?}");
    assert!(failed >= 3.0);
    assert_eq!(metric(&server, "prometheus_notifications_dropped_total"), 0.0);
    let names: BTreeSet<String> = received(address)
        .iter()
        .map(|a| a["labels"]["alertname"].as_str().unwrap().into())
        .collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["Begins", "Stays"]);
    second.stop();
    assert!(server.stop().success());
}
