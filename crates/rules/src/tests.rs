//! Groups at work over storage in memory, by a clock that is moved by hand.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use firesteel_model::{
    Timestamp, Value,
    budget::Budget,
    clock::{Clock, ManualClock},
    storage::{AppendOptions, Appendable, SeriesKey, memory::MemoryStorage},
};
use firesteel_promql::{Engine, QueryOptions, QueryValue, SampleValue};
use tokio::time::{Instant, sleep};

use crate::{
    Alert, AlertState, Group, Health, LoadOptions, ManagerOptions, Nanos, Notify, RuleManager,
    load_text, manager::Shared, metrics::RuleMetrics, notifier, restore::Restoring, time::from_ms,
};

const SECOND: Timestamp = 1000;
const MINUTE: Timestamp = 60 * SECOND;

#[derive(Default)]
struct Sent(Mutex<Vec<notifier::Alert>>);

impl Notify for Sent {
    fn send(&self, alerts: Vec<notifier::Alert>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(alerts);
    }
}

impl Sent {
    /// What was sent since: name and instance, and whether it is resolved.
    fn take(&self, now: Timestamp) -> Vec<(String, bool)> {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |alert: notifier::Alert| {
            let name = alert.labels.get("instance").unwrap_or_default().to_owned();
            (name, alert.ends_at.is_some_and(|end| end <= from_ms(now)))
        };
        let mut all: Vec<_> = sent.drain(..).map(one).collect();
        all.sort();
        all
    }
}

struct World {
    storage: Arc<MemoryStorage>,
    sent: Arc<Sent>,
    clock: Arc<ManualClock>,
    shared: Shared,
}

impl World {
    fn new() -> Self {
        let (storage, sent) = (Arc::new(MemoryStorage::new()), Arc::new(Sent::default()));
        let clock = Arc::new(ManualClock::new(0));
        let shared = Shared {
            engine: Arc::new(Engine::default()),
            queryable: Arc::clone(&storage) as _,
            appendable: Arc::clone(&storage) as _,
            notify: Arc::clone(&sent) as _,
            clock: Arc::clone(&clock) as _,
            budget: Budget::unlimited(),
            restoring: Restoring {
                outage_tolerance: Duration::from_secs(3600),
                grace_period: Duration::from_secs(600),
            },
            resend_delay: Duration::from_secs(60),
            concurrency: None,
            metrics: RuleMetrics::default(),
        };
        Self { storage, sent, clock, shared }
    }

    fn add(&self, t: Timestamp, series: &[(&str, f64)]) {
        let mut appender = self.storage.appender();
        for (text, v) in series {
            let labels = firesteel_promql::parse_metric(text).unwrap();
            let (key, value) = (SeriesKey::Labels(&labels), Value::Float(*v));
            appender.append(key, t, value, &AppendOptions::default()).unwrap();
        }
        appender.commit().unwrap();
    }

    fn evaluate(&self, group: &Group, t: Timestamp) {
        self.clock.set_wall(t);
        group.evaluate(&self.shared, from_ms(t));
    }

    /// An instant query's result, sorted.
    fn query(&self, text: &str, t: Timestamp) -> Vec<String> {
        let engine = &self.shared.engine;
        let result = engine.instant(&*self.storage, text, t, &QueryOptions::default()).unwrap();
        let QueryValue::Vector(samples) = result.value else { panic!("no vector") };
        let text = |sample: &firesteel_promql::VectorSample| match &sample.value {
            SampleValue::Float(v) => format!("{} {v}", sample.labels),
            SampleValue::Histogram(_) => format!("{} histogram", sample.labels),
        };
        let mut all: Vec<_> = samples.iter().map(text).collect();
        all.sort();
        all
    }
}

fn group(rules: &str, restores: bool) -> Group {
    let text = format!("groups:\n- name: g\n  interval: 1m\n{rules}");
    let groups = load_text("r.yml", &text, &LoadOptions::default()).unwrap();
    Group::new(groups.into_iter().next().unwrap(), restores)
}

fn alerts(group: &Group) -> Vec<Alert> {
    group.rules.iter().flat_map(|rule| rule.alerts().active()).collect()
}

fn states(group: &Group) -> Vec<(String, AlertState)> {
    let one = |a: Alert| (a.labels.get("instance").unwrap_or_default().to_owned(), a.state);
    alerts(group).into_iter().map(one).collect()
}

fn last_error(group: &Group) -> String {
    group.rules[0].status().last_error.unwrap_or_default()
}

#[test]
fn recorded_series_have_names_and_labels_and_end_with_a_marker() {
    let world = World::new();
    let group = group(
        "  labels: {from: group, both: group}
  rules:
  - {record: x, expr: 'sum by (a, b) (m)', labels: {both: rule, b: ''}}
  - {record: y, expr: 'x * 2'}
",
        false,
    );
    world.add(0, &[("m{a=\"1\", b=\"2\"}", 1.0), ("m{a=\"2\"}", 2.0)]);
    world.evaluate(&group, 0);
    let x = r#"{__name__="x", a="1", both="rule", from="group"} 1"#;
    assert_eq!(world.query("x", 0)[0], x);
    // Later rules see what earlier ones wrote at the same time.
    let y = r#"{__name__="y", a="2", both="group", from="group"} 4"#;
    assert_eq!(world.query("y", 0)[1], y);
    world
        .add(MINUTE, &[("m{a=\"1\", b=\"2\"}", 5.0), ("m{a=\"2\"}", firesteel_model::stale_nan())]);
    world.evaluate(&group, MINUTE);
    assert_eq!(world.query("x", MINUTE), [x.replace("} 1", "} 5")]);
    assert_eq!(world.query("count(y)", MINUTE), ["{} 1"]);
    assert_eq!(group.rules[0].status().health, Health::Good);
}

#[test]
fn series_that_would_be_one_and_too_many_series_are_errors() {
    let world = World::new();
    world.add(0, &[("m{a=\"1\"}", 1.0), ("m{a=\"2\"}", 2.0)]);
    let same = group("  rules:\n  - {record: x, expr: m, labels: {a: ''}}\n", false);
    world.evaluate(&same, 0);
    let text = "vector contains metrics with the same labelset after applying rule labels";
    assert_eq!(last_error(&same), text);
    let limited = group("  limit: 1\n  rules:\n  - {record: x, expr: m}\n", false);
    world.evaluate(&limited, 0);
    assert_eq!(last_error(&limited), "exceeded limit of 1 with 2 series");
    assert!(world.query("x", 0).is_empty());
    assert_eq!(limited.metrics.failures.value(), 1);
    let alerts = group("  limit: 1\n  rules:\n  - {alert: x, expr: m}\n", false);
    world.evaluate(&alerts, 0);
    assert_eq!(last_error(&alerts), "exceeded limit of 1 with 2 alerts");
    assert!(states(&alerts).is_empty());
    let matrix = group("  rules:\n  - {record: x, expr: '\"text\"'}\n", false);
    world.evaluate(&matrix, 0);
    assert_eq!(last_error(&matrix), "rule result is not a vector or scalar");
}

#[test]
fn queries_look_back_by_the_offset_and_samples_are_written_there() {
    let world = World::new();
    world.add(0, &[("m", 1.0)]);
    world.add(10 * MINUTE, &[("m", 2.0)]);
    let group = group("  query_offset: 10m\n  rules:\n  - {record: x, expr: m}\n", false);
    world.evaluate(&group, 10 * MINUTE);
    assert_eq!(world.query("x", 0), ["{__name__=\"x\"} 1"]);
    assert!(world.query("timestamp(x) > 0", 4 * MINUTE).is_empty());
}

#[test]
fn alerts_are_pending_fire_and_are_resolved() {
    let world = World::new();
    let group = group(
        "  rules:\n  - {alert: Down, expr: 'up == 0', for: 2m, labels: {severity: page}, \
         annotations: {text: hello}}\n",
        false,
    );
    let at = |minute: i64| minute * MINUTE;
    let down = |t| world.add(t, &[("up{instance=\"a\"}", 0.0), ("up{instance=\"b\"}", 1.0)]);
    let a = |state| vec![("a".to_owned(), state)];
    for minute in 0..2 {
        down(at(minute));
        world.evaluate(&group, at(minute));
        assert_eq!(states(&group), a(AlertState::Pending));
        assert!(world.sent.take(at(minute)).is_empty());
    }
    let labels = r#"{__name__="ALERTS", alertname="Down", alertstate="pending", instance="a", severity="page"} 1"#;
    assert_eq!(world.query("ALERTS", at(1)), [labels]);
    down(at(2));
    world.evaluate(&group, at(2));
    assert_eq!(states(&group), a(AlertState::Firing));
    assert_eq!(world.query("ALERTS", at(2)), [labels.replace("pending", "firing")]);
    assert_eq!(world.query("ALERTS_FOR_STATE", at(2)).len(), 1);
    let alert = &alerts(&group)[0];
    assert_eq!((alert.active_at, alert.fired_at), (0, Some(from_ms(at(2)))));
    // Four times the longer of interval and resend delay.
    assert_eq!(alert.valid_until, Some(from_ms(at(6))));
    assert_eq!(*alert.annotations, [("text".to_owned(), "hello".to_owned())]);
    assert_eq!(world.sent.take(at(2)), [("a".to_owned(), false)]);
    // Not again within a minute, and again after it.
    down(at(3));
    world.evaluate(&group, at(3));
    assert!(world.sent.take(at(3)).is_empty());
    down(at(4));
    world.evaluate(&group, at(4));
    assert_eq!(world.sent.take(at(4)), [("a".to_owned(), false)]);
    world.add(at(5), &[("up{instance=\"a\"}", 1.0)]);
    world.evaluate(&group, at(5));
    assert!(states(&group).is_empty() && world.query("ALERTS", at(5)).is_empty());
    assert_eq!(world.sent.take(at(5)), [("a".to_owned(), true)]);
    // Resolved alerts are sent for a quarter of an hour.
    let sent = |minute| {
        world.evaluate(&group, at(minute));
        !world.sent.take(at(minute)).is_empty()
    };
    assert_eq!((6..30).filter(|minute| sent(*minute)).max(), Some(19));
}

#[test]
fn an_alert_goes_on_firing_as_long_as_it_is_told_to() {
    let world = World::new();
    let group = group("  rules:\n  - {alert: A, expr: 'up == 0', keep_firing_for: 3m}\n", false);
    world.add(0, &[("up{instance=\"a\"}", 0.0)]);
    world.evaluate(&group, 0);
    world.add(MINUTE, &[("up{instance=\"a\"}", 1.0)]);
    for minute in 1..4 {
        world.evaluate(&group, minute * MINUTE);
        assert_eq!(states(&group), [("a".to_owned(), AlertState::Firing)], "{minute}");
    }
    assert_eq!(alerts(&group)[0].keep_firing_since, Some(from_ms(MINUTE)));
    world.evaluate(&group, 4 * MINUTE);
    assert!(states(&group).is_empty());
}

#[test]
fn a_changed_rule_keeps_its_alerts_and_may_send_them_back() {
    let world = World::new();
    let before =
        group("  rules:\n  - {alert: A, expr: 'up == 0'}\n  - {record: r, expr: up}\n", false);
    world.add(0, &[("up{instance=\"a\"}", 0.0)]);
    world.evaluate(&before, 0);
    assert_eq!(states(&before)[0].1, AlertState::Firing);
    let after = group("  rules:\n  - {alert: A, expr: 'up == 0', for: 5m}\n", false);
    after.take_over(&before);
    assert_eq!(states(&after)[0].1, AlertState::Firing);
    world.evaluate(&after, MINUTE);
    let alert = &alerts(&after)[0];
    assert_eq!((alert.state, alert.active_at), (AlertState::Pending, 0));
    // The rule that is no longer there has left a marker.
    assert!(world.query("r", MINUTE).is_empty());
    assert_eq!(world.query("r", 30 * SECOND).len(), 1);
}

/// An alert with `for: 15m` that began at 0, a server that was down from `down` to `up`.
fn restored(down: i64, up: i64) -> i64 {
    let world = World::new();
    let rules = "  rules:\n  - {alert: A, expr: 'up == 0', for: 15m}\n";
    let before = group(rules, false);
    for minute in 0..=down {
        world.add(minute * MINUTE, &[("up{instance=\"a\"}", 0.0)]);
        world.evaluate(&before, minute * MINUTE);
    }
    let after = group(rules, true);
    for minute in [up, up + 1] {
        world.add(minute * MINUTE, &[("up{instance=\"a\"}", 0.0)]);
        world.evaluate(&after, minute * MINUTE);
    }
    after.restore(&world.shared);
    alerts(&after)[0].active_at / from_ms(MINUTE)
}

#[test]
fn alerts_are_restored_as_if_there_had_been_no_outage() {
    // It was pending for 2 of 15 minutes; the outage does not count.
    assert_eq!(restored(2, 10), 9);
    // It had 5 minutes left: it waits for the grace period of 10.
    assert_eq!(restored(10, 20), 21 + 10 - 15);
    // It was firing already.
    assert_eq!(restored(20, 30), 0);
    // The outage was too long: it begins anew.
    assert_eq!(restored(2, 100), 100);
}

#[test]
fn independent_rules_may_run_at_the_same_time() {
    let group = group(
        "  rules:
  - {record: a, expr: m}
  - {record: b, expr: n}
  - {record: c, expr: a + b}
  - {record: d, expr: c}
  - {alert: E, expr: d > 1}
  - {record: f, expr: 'ALERTS{alertname=\"E\"}'}
",
        false,
    );
    assert_eq!(
        crate::batches::batches(&group.spec),
        [vec![0, 1], vec![2], vec![3], vec![4], vec![5]]
    );
    let any = self::group(
        "  rules:\n  - {record: a, expr: m}\n  - {record: b, expr: '{x=\"1\"}'}\n",
        false,
    );
    assert_eq!(crate::batches::batches(&any.spec), [vec![0], vec![1]]);
}

#[test]
fn memory_of_alerts_is_bounded() {
    let mut world = World::new();
    world.shared.budget = Budget::root("alerts", 10_000);
    let series: Vec<_> = (0..100).map(|i| format!("m{{i=\"{i}\"}}")).collect();
    let series: Vec<_> = series.iter().map(|s| (s.as_str(), 1.0)).collect();
    world.add(0, &series);
    let group = group("  rules:\n  - {alert: A, expr: m}\n", false);
    world.evaluate(&group, 0);
    assert!(
        last_error(&group).contains("memory limit \"alerts\" reached"),
        "{}",
        last_error(&group)
    );
    assert_eq!(world.shared.budget.used(), 0);
}

/// A clock that goes with tokio's.
#[derive(Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        1_700_000_000_000 + self.0.elapsed().as_millis() as i64
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn groups_run_at_their_times_and_reloads_keep_what_did_not_change() {
    let (storage, sent) = (Arc::new(MemoryStorage::new()), Arc::new(Sent::default()));
    let clock = Arc::new(TokioClock(Instant::now()));
    let engine = Arc::new(Engine::default());
    let options = ManagerOptions::new(
        Arc::clone(&engine),
        Arc::clone(&storage) as _,
        Arc::clone(&storage) as _,
        Arc::clone(&sent) as _,
        Arc::clone(&clock) as _,
    );
    let manager = RuleManager::new(options);
    let apply =
        |text: &str| manager.apply(load_text("r.yml", text, &LoadOptions::default()).unwrap());
    let one = "- name: one\n  interval: 10s\n  rules:\n  - {record: x, expr: time()}\n";
    let two = "- name: two\n  interval: 10s\n  rules:\n  - {record: y, expr: 1}\n";
    apply(&format!("groups:\n{one}{two}"));
    sleep(Duration::from_secs(65)).await;
    let count = |name: &str| {
        let query = format!("count_over_time({name}[10m])");
        let options = QueryOptions::default();
        let result = engine.instant(&*storage, &query, clock.now() + 1, &options).unwrap();
        match result.value {
            QueryValue::Vector(v) => v.first().map_or(0.0, |s| match s.value {
                SampleValue::Float(v) => v,
                SampleValue::Histogram(_) => f64::NAN,
            }),
            _ => f64::NAN,
        }
    };
    assert!((5.0..=6.0).contains(&count("x")) && (5.0..=6.0).contains(&count("y")));
    let groups = manager.groups();
    // Every sample lies in a slot of the group.
    let slots = groups[0].slots;
    let last: Nanos = from_ms(clock.now());
    assert!(last - slots.before(last) < slots.interval());
    let changed = two.replace("expr: 1", "expr: 2");
    apply(&format!("groups:\n{one}{changed}"));
    assert!(Arc::ptr_eq(&manager.groups()[0], &groups[0]));
    assert!(!Arc::ptr_eq(&manager.groups()[1], &groups[1]));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(groups[0].metrics.missed.value(), 0);
    // A group that is gone is marked two intervals later.
    apply(&format!("groups:\n{one}"));
    sleep(Duration::from_secs(1)).await;
    assert!(count("y") > 7.0);
    sleep(Duration::from_secs(25)).await;
    let stale = engine.instant(&*storage, "y", clock.now(), &QueryOptions::default()).unwrap();
    assert_eq!(stale.value, QueryValue::Vector(Vec::new()));
    manager.shutdown().await;
    let before = count("x");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(count("x"), before);
}
