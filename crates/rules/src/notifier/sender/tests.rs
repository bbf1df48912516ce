//! A sender before an Alertmanager that is away, silent or picky, in a time of its own.

use std::collections::BTreeMap;

use firesteel_model::{Labels, Timestamp};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::*;

/// When the tests begin.
const BEGIN: Timestamp = 1_700_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);

/// Wall time that goes with tokio's.
#[derive(Debug)]
struct Virtual(Instant);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        BEGIN + self.0.elapsed().as_millis() as Timestamp
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What an Alertmanager does with a request.
enum Does {
    Answers(StatusCode),
    Refuses,
    Hangs,
}

/// An Alertmanager that does what `does` says of the seconds since its start and the alerts.
struct Fake<F> {
    began: Instant,
    does: F,
    /// When each request came, with what alerts.
    requests: Mutex<Vec<(Duration, Vec<Value>)>>,
}

impl<F: Fn(u64, &[Value]) -> Does + Send + Sync> Transport for Arc<Fake<F>> {
    async fn send(&self, request: Request) -> Result<StatusCode, String> {
        let alerts: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
        let does = (self.does)(self.began.elapsed().as_secs(), &alerts);
        self.requests.lock().unwrap().push((self.began.elapsed(), alerts));
        match does {
            Does::Answers(status) => Ok(status),
            Does::Refuses => Err("connection refused".to_owned()),
            Does::Hangs => {
                sleep(request.timeout).await;
                Err("timeout".to_owned())
            }
        }
    }
}

impl<F> Fake<F> {
    /// Seconds at which requests came, and how many alerts they had.
    fn times(&self) -> Vec<(u64, usize)> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|(at, alerts)| (at.as_secs(), alerts.len())).collect()
    }

    /// The last that was heard of each alert since a time: when, and until when it fires.
    fn heard(&self, since: Duration) -> BTreeMap<String, (Duration, String)> {
        let requests = self.requests.lock().unwrap();
        let requests = requests.iter().filter(|(at, _)| *at >= since);
        let each = requests.flat_map(|(at, alerts)| alerts.iter().map(|alert| (*at, alert)));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        each.map(|(at, a)| (text(&a["labels"]["alertname"]), (at, text(&a["endsAt"])))).collect()
    }
}

struct World<F> {
    fake: Arc<Fake<F>>,
    sender: Arc<Sender<Arc<Fake<F>>>>,
    task: JoinHandle<()>,
}

impl<F: Fn(u64, &[Value]) -> Does + Send + Sync + 'static> World<F> {
    fn new(capacity: usize, does: F) -> Self {
        let began = Instant::now();
        let fake = Arc::new(Fake { began, does, requests: Mutex::default() });
        let settings = Settings {
            timeout: Duration::from_secs(10),
            batch: 256,
            capacity,
            drains: true,
            user_agent: "test".to_owned(),
            clock: Arc::new(Virtual(began)),
        };
        let url = "http://alertmanager/api/v2/alerts".to_owned();
        let sender = Sender::new(url, Arc::clone(&fake), settings, Arc::default());
        let sender = Arc::new(sender);
        let of_task = Arc::clone(&sender);
        Self { fake, sender, task: tokio::spawn(async move { of_task.run().await }) }
    }

    /// Adds alerts `name` to `name + count`, that fire until so long from now.
    fn add(&self, names: &[String], fires_for: Duration) {
        let now = self.sender.now();
        self.sender.add(names.iter().map(|name| alert(name, now + crate::time::nanos(fires_for))));
    }

    /// The same, resolved now.
    fn resolve(&self, names: &[String]) {
        self.add(names, Duration::ZERO);
    }

    /// Sent, failed and dropped alerts.
    fn counts(&self) -> (u64, u64, u64) {
        let metrics = &self.sender.metrics;
        (metrics.sent.value(), metrics.errors.value(), metrics.dropped.value())
    }

    async fn stop(self) -> Arc<Fake<F>> {
        self.sender.stop();
        self.task.await.unwrap();
        self.fake
    }
}

fn alert(name: &str, ends_at: Nanos) -> Alert {
    Alert {
        labels: Labels::from_pairs([("alertname", name)]),
        annotations: [].into(),
        starts_at: Some(from_ms(BEGIN)),
        ends_at: Some(ends_at),
        generator_url: "".into(),
    }
}

fn names(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}{n}")).collect()
}

/// An Alertmanager that cannot be reached until a second.
fn away_until(back: u64) -> impl Fn(u64, &[Value]) -> Does {
    move |now, _| if now < back { Does::Refuses } else { Does::Answers(StatusCode::OK) }
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_fifteen_seconds() {
    let world = World::new(1000, away_until(100));
    world.add(&names("a", 1), 10 * MINUTE);
    sleep(Duration::from_millis(1500)).await;
    // What comes meanwhile goes with the next attempt, and does not make it earlier.
    world.add(&names("b", 1), 10 * MINUTE);
    sleep(2 * MINUTE).await;
    let expected =
        [(0, 1), (1, 1), (3, 2), (7, 2), (15, 2), (30, 2), (45, 2), (60, 2), (75, 2), (90, 2)];
    assert_eq!(world.fake.times()[..10], expected);
    assert_eq!(world.fake.times()[10..], [(105, 2)]);
    assert_eq!(world.counts(), (2, 18, 0));
    // After a success the next alert is sent at once, and the next failure begins anew.
    world.add(&names("c", 1), MINUTE);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.fake.times()[11..], [(121, 1)]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_two_minutes_loses_nothing() {
    let away = |now| (30..150).contains(&now);
    let world =
        World::new(
            10_000,
            move |now, _: &[Value]| {
                if away(now) { Does::Refuses } else { Does::Answers(StatusCode::OK) }
            },
        );
    let [stays, ends, begins, brief] = ["stays", "ends", "begins", "brief"].map(|n| names(n, 300));
    // Each is sent again every minute and fires for four, as Prometheus does.
    let fires_for = 4 * MINUTE;
    world.add(&stays, fires_for);
    world.add(&ends, fires_for);
    sleep(Duration::from_secs(40)).await;
    assert_eq!(world.counts(), (600, 0, 0));
    world.add(&brief, fires_for);
    sleep(Duration::from_secs(20)).await;
    world.add(&stays, fires_for);
    world.resolve(&brief);
    sleep(Duration::from_secs(20)).await;
    world.resolve(&ends);
    world.add(&begins, fires_for);
    sleep(Duration::from_secs(100)).await;
    let heard = world.fake.heard(Duration::from_secs(150));
    assert_eq!(heard.len(), 1200);
    let latest = heard.values().map(|(at, _)| *at).max().unwrap();
    assert!(latest <= Duration::from_secs(165), "{latest:?}");
    // Of each the state that it has now.
    let until = |name: &str| heard[name].1.as_str();
    assert_eq!(until("stays299"), "2023-11-14T22:18:20.000Z");
    assert_eq!(until("begins0"), "2023-11-14T22:18:40.000Z");
    assert_eq!(until("ends7"), "2023-11-14T22:14:40.000Z");
    assert_eq!(until("brief256"), "2023-11-14T22:14:20.000Z");
    let (sent, _, dropped) = world.counts();
    assert_eq!((sent, dropped, world.sender.waiting()), (1800, 0, 0));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_was_silent_hears_within_thirty_seconds() {
    for back in 60..90 {
        let world =
            World::new(
                100,
                move |now, _: &[Value]| {
                    if now < back { Does::Hangs } else { Does::Answers(StatusCode::OK) }
                },
            );
        world.add(&names("a", 50), 10 * MINUTE);
        sleep(3 * MINUTE).await;
        let heard = world.fake.heard(Duration::from_secs(back));
        let (at, _) = heard["a49"];
        assert!(at < Duration::from_secs(back + 30), "back after {back} s, heard after {at:?}");
        assert_eq!(world.counts().0, 50);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_any_more_is_given_up() {
    let world = World::new(1000, away_until(1200));
    world.add(&names("fires", 3), 4 * MINUTE);
    world.resolve(&names("resolved", 2));
    sleep(5 * MINUTE).await;
    assert_eq!((world.sender.waiting(), world.counts().2), (2, 3));
    sleep(11 * MINUTE).await;
    assert_eq!((world.sender.waiting(), world.counts().2), (0, 5));
    sleep(5 * MINUTE).await;
    world.add(&names("later", 1), 4 * MINUTE);
    sleep(Duration::from_secs(16)).await;
    assert_eq!(world.fake.heard(Duration::from_secs(1200)).len(), 1);
    assert_eq!(world.counts().0, 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_does_not_stop_the_next() {
    let is_bad = |alerts: &[Value]| alerts.iter().any(|a| a["labels"]["alertname"] == "bad0");
    let world = World::new(1000, move |_, alerts: &[Value]| {
        let bad = is_bad(alerts);
        Does::Answers(if bad { StatusCode::BAD_REQUEST } else { StatusCode::OK })
    });
    world.add(&[names("bad", 1), names("with", 255), names("next", 10)].concat(), 4 * MINUTE);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.fake.times(), [(0, 256), (0, 10)]);
    assert_eq!(world.counts(), (10, 256, 256));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_tried_again() {
    let world = World::new(10, |now, _: &[Value]| {
        Does::Answers(if now < 20 { StatusCode::UNAUTHORIZED } else { StatusCode::OK })
    });
    world.add(&names("a", 1), 4 * MINUTE);
    sleep(MINUTE).await;
    assert_eq!(world.counts(), (1, 5, 0));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_one_that_is_silent() {
    let world = World::new(10, |_, _: &[Value]| Does::Hangs);
    world.add(&names("a", 3), 4 * MINUTE);
    sleep(Duration::from_secs(5)).await;
    let (began, metrics) = (Instant::now(), Arc::clone(&world.sender.metrics));
    world.stop().await;
    assert!(began.elapsed() <= Duration::from_secs(25), "{:?}", began.elapsed());
    assert_eq!(metrics.dropped.value(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_sent_at_the_end() {
    let world = World::new(1000, away_until(50));
    world.add(&names("a", 600), 4 * MINUTE);
    // In the middle of a pause.
    sleep(Duration::from_secs(52)).await;
    let metrics = Arc::clone(&world.sender.metrics);
    let fake = world.stop().await;
    assert_eq!(fake.heard(Duration::from_secs(50)).len(), 600);
    assert_eq!((metrics.sent.value(), metrics.dropped.value()), (600, 0));
}
