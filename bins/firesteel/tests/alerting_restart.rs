//! Restarts in the middle of `for`: alerts go on from where they were, as with the real Prometheus
//! that has the same rules, sees the same page, and is stopped and started at the same times.
//!
//! `FIRESTEEL_FOR=900` is 15 minutes with the default grace period of ten; it takes 19 minutes.
//! Where it is not set `for` and the grace period are shorter in the same proportion.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use support::{
    Process, Server, api_data, arguments, get, metrics_target, now_ms, peer, prometheus, wait_for,
};

/// Prometheus' default of `--rules.alert.for-grace-period`, and the `for` that goes with it here.
const GRACE: u64 = 600;
const FOR: u64 = 900;
/// Seconds by which the two may differ: they look at the page, and restore, at times of their own.
const APART: f64 = 3.5;

const RULES: &str = "groups:
- name: all
  rules:
  - {alert: First, expr: first > 0, for: FOR}
  - {alert: Later, expr: later > 0, for: FOR}
  - {alert: Short, expr: first > 0, for: SHORT}
";

/// A state and, in seconds of the epoch, since when an alert is active.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Alert {
    fires: bool,
    active_at: f64,
}

/// The alerts of a server by name.
fn alerts(address: SocketAddr) -> BTreeMap<String, Alert> {
    let data = api_data(address, "alerts");
    let one = |alert: &serde_json::Value| {
        let at: Timestamp = alert["activeAt"].as_str().unwrap().parse().unwrap();
        let active_at = at.as_nanosecond() as f64 / 1e9;
        let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
        (name, Alert { fires: alert["state"] == "firing", active_at })
    };
    data["alerts"].as_array().unwrap().iter().map(one).collect()
}

/// How often the only group was evaluated since the start.
fn iterations(address: SocketAddr) -> f64 {
    let (_, body) = get(address, "/metrics").unwrap();
    let text = String::from_utf8(body).unwrap();
    let line = text.lines().find(|l| l.starts_with("prometheus_rule_group_iterations_total{"));
    line.and_then(|l| l.rsplit_once(' ')?.1.parse().ok()).unwrap_or(0.0)
}

/// Ours, and the real one where there is one.
struct Both {
    server: Server,
    real: Option<(Process, SocketAddr)>,
}

impl Both {
    /// Starts both and waits for their third evaluation: alerts are restored after the second.
    fn start(folder: &Path, grace: &str) -> Self {
        let flag = format!("--rules.alert.for-grace-period={grace}");
        let start_real = || {
            // By the names of its file and its own a group is evaluated at the same moments.
            let (data, config) = (folder.join("real"), Path::new("prometheus.yml"));
            Some(prometheus(&peer("prometheus")?, folder, &data, config, &[&flag]))
        };
        let both = thread::scope(|scope| {
            let real = scope.spawn(start_real);
            let server = Server::spawn(folder, &arguments(folder, &[&flag]));
            Self { server, real: real.join().unwrap() }
        });
        for address in both.addresses() {
            wait_for("the third evaluation", || {
                let ready = get(address, "/-/ready").is_ok_and(|(status, _)| status == 200);
                (ready && iterations(address) >= 3.0).then_some(())
            });
        }
        both
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        [self.server.address].into_iter().chain(self.real.as_ref().map(|(_, a)| *a)).collect()
    }

    /// The alerts of each, ours first.
    fn alerts(&self) -> Vec<BTreeMap<String, Alert>> {
        self.addresses().into_iter().map(alerts).collect()
    }

    fn stop(self) {
        if let Some((process, _)) = self.real {
            process.stop();
        }
        assert!(self.server.stop().success());
    }
}

/// Prints what each has, and checks that they have the same.
fn compare(when: &str, began: f64, sides: &[BTreeMap<String, Alert>]) {
    for (side, alerts) in ["ours", "theirs"].iter().zip(sides) {
        for (name, alert) in alerts {
            let state = if alert.fires { "firing" } else { "pending" };
            println!("{when}: {side:6} {name:8} {state:7} since {:8.3}", alert.active_at - began);
        }
    }
    let [ours, theirs] = sides else { return };
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{when}");
    for (name, alert) in ours {
        let other = theirs[name];
        let apart = (alert.active_at - other.active_at).abs();
        assert!(
            alert.fires == other.fires && apart <= APART,
            "{when}, {name}: {ours:?} {theirs:?}"
        );
    }
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= APART, "{a:.3} is not {b:.3}");
}

#[test]
fn restarts_in_the_middle_of_a_wait_are_as_with_the_real_prometheus() {
    let hold = std::env::var("FIRESTEEL_FOR").map_or(30, |text| text.parse().unwrap());
    let part = |of_default: u64| Duration::from_secs_f64((of_default * hold) as f64 / FOR as f64);
    let grace = part(GRACE);
    let folder = tempfile::tempdir().unwrap();
    let short = format!("{}ms", part(FOR / 9).as_millis());
    let rules = RULES.replace("SHORT", &short).replace("FOR", &format!("{hold}s"));
    fs::write(folder.path().join("rules.yml"), rules).unwrap();
    // The real one looks at no target for its first five seconds. The second alert begins late
    // enough that more than the grace period remains at the restart.
    let (first, later) = (Duration::from_secs(6), Duration::from_secs(6) + part(FOR / 4));
    let clock = Instant::now();
    let target = metrics_target(move |_| {
        let since = |begins| u8::from(clock.elapsed() >= begins);
        format!("first {}\nlater {}\n", since(first), since(later))
    });
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: [rules.yml]\nscrape_configs:\n\
         - job_name: test\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    let grace_flag = format!("{}ms", grace.as_millis());
    let now = || now_ms() as f64 / 1e3;
    let began = now();
    let until = |at: Duration| thread::sleep(at.saturating_sub(clock.elapsed()));

    let both = Both::start(folder.path(), &grace_flag);
    until(first + part(FOR / 2));
    let before = both.alerts();
    both.stop();
    let stopped = now();
    compare("before", began, &before);
    thread::sleep(part(FOR / 60).max(Duration::from_secs(2)));
    let both = Both::start(folder.path(), &grace_flag);
    let (after, restored) = (both.alerts(), now());
    println!("away from {:.3} to {:.3} at most", stopped - began, restored - began);
    compare("after", began, &after);
    for (before, after) in before.iter().zip(&after) {
        // Less than the grace period remained: it fires when that is over.
        near(after["First"].active_at, restored + grace.as_secs_f64() - hold as f64);
        // Only the time that the server was away does not count.
        near(after["Later"].active_at, before["Later"].active_at + restored - stopped);
        // It need not wait for as long as the grace period: it begins anew.
        assert!(before["Short"].fires && after["Short"].active_at > stopped, "{after:?}");
    }

    let mut fired: Vec<BTreeMap<String, f64>> = vec![BTreeMap::new(); after.len()];
    let longest = Duration::from_secs_f64(began + 1.5 * hold as f64 + 20.0 - now());
    let watched = Instant::now();
    while fired.iter().any(|fired| fired.len() < 3) {
        assert!(watched.elapsed() < longest, "{fired:?}");
        for (fired, alerts) in fired.iter_mut().zip(both.alerts()) {
            for (name, _) in alerts.into_iter().filter(|(_, alert)| alert.fires) {
                fired.entry(name).or_insert(now());
            }
        }
        thread::sleep(Duration::from_millis(200));
    }
    for (side, (after, of_side)) in ["ours", "theirs"].iter().zip(after.iter().zip(&fired)) {
        for name in ["First", "Later"] {
            println!("{side:6} {name} fired at {:.1}", of_side[name] - began);
            near(of_side[name], after[name].active_at + hold as f64);
            near(of_side[name], fired[0][name]);
        }
    }

    // What fires goes on firing over a restart, with the time that it had.
    let before = both.alerts();
    both.stop();
    let both = Both::start(folder.path(), &grace_flag);
    let after = both.alerts();
    compare("at the end", began, &after);
    for (before, after) in before.iter().zip(&after) {
        for name in ["First", "Later"] {
            assert!(after[name].fires, "{after:?}");
            assert_eq!(after[name].active_at.floor(), before[name].active_at.floor(), "{name}");
        }
    }
    both.stop();
}
