//! All Alertmanagers: finds them, and gives each what it is to hear. Source: `notifier/manager.go`,
//! `notifier/alertmanagerset.go`.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use firesteel_config::{AlertingConfig, AlertmanagerConfig};
use firesteel_discovery::{Job, Manager as Discovery, Mechanisms, Source, TargetGroup, Targets};
use firesteel_model::{
    Labels,
    clock::Clock,
    metrics::{Collect, Families},
    relabel::{self, RelabelConfig},
};
use firesteel_net::HttpClient;
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Alert,
    metrics::SenderMetrics,
    sender::{Sender, Settings},
    targets,
};
use crate::Notify;

/// Options of a [`Notifier`].
#[derive(Clone, Debug)]
pub struct NotifierOptions {
    /// How many alerts may wait for an Alertmanager.
    pub queue_capacity: usize,
    /// How many alerts a request has at most.
    pub batch_size: usize,
    /// Whether what waits is sent before the end.
    pub drain: bool,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// How Alertmanagers are discovered.
    pub mechanisms: Mechanisms,
    /// Where the time comes from. Waiting goes by tokio's clock.
    pub clock: Arc<dyn Clock>,
}

impl NotifierOptions {
    /// Prometheus' defaults.
    pub fn new(user_agent: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        let user_agent = user_agent.into();
        Self {
            mechanisms: Mechanisms::new(user_agent.clone()),
            queue_capacity: 10_000,
            batch_size: 256,
            drain: true,
            user_agent,
            clock,
        }
    }
}

/// The URLs of Alertmanagers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alertmanagers {
    /// Those that alerts are sent to.
    pub active: Vec<String>,
    /// Those that relabelling dropped.
    pub dropped: Vec<String>,
}

/// Sends alerts to Alertmanagers. Its tasks run on the tokio runtime it was made on.
pub struct Notifier {
    inner: Arc<Inner>,
    discovery: Discovery,
    _stop: DropGuard,
}

struct Inner {
    options: NotifierOptions,
    runtime: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    external_labels: Labels,
    relabel: Vec<RelabelConfig>,
    sets: Vec<Set>,
    /// Senders that were stopped and may still be sending what waited.
    leaving: Vec<JoinHandle<()>>,
    /// Number of the next set, by which discovery knows it.
    next: u64,
    stopped: bool,
}

/// The Alertmanagers of one section of the configuration.
struct Set {
    job: String,
    config: AlertmanagerConfig,
    client: HttpClient,
    senders: BTreeMap<String, (Arc<Sender>, JoinHandle<()>)>,
    /// In the order in which they were found.
    active: Vec<String>,
    dropped: Vec<String>,
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").field("alertmanagers", &self.alertmanagers()).finish()
    }
}

impl Notifier {
    /// A notifier without Alertmanagers. Must be called on a tokio runtime.
    ///
    /// # Panics
    /// Outside of one.
    #[must_use]
    pub fn new(options: NotifierOptions) -> Self {
        let mechanisms = options.mechanisms.clone();
        let discovery = Discovery::start("notify", move |config| mechanisms.discoverer(config));
        let inner =
            Arc::new(Inner { options, runtime: Handle::current(), state: Mutex::default() });
        let (mut found, stop) = (discovery.targets(), CancellationToken::new());
        let (of_task, stopped) = (Arc::clone(&inner), stop.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stopped.cancelled() => return,
                    changed = found.changed() => if changed.is_err() { return },
                }
                let targets = Arc::clone(&found.borrow_and_update());
                of_task.sync(&targets);
            }
        });
        Self { inner, discovery, _stop: stop.drop_guard() }
    }

    /// Puts a configuration into force. Alertmanagers whose section did not change keep what waits
    /// for them.
    ///
    /// # Errors
    /// A section asks for what is not served; the earlier configuration stays in force.
    pub async fn apply(
        &self,
        alerting: &AlertingConfig,
        external_labels: &Labels,
    ) -> Result<(), String> {
        let jobs = self.inner.apply(alerting, external_labels)?;
        for (_, error) in self.discovery.apply(jobs) {
            tracing::error!(err = %error, "Cannot create service discovery");
        }
        let targets = Arc::clone(&self.discovery.targets().borrow());
        self.inner.sync(&targets);
        Ok(())
    }

    /// The Alertmanagers as they are known now.
    #[must_use]
    pub fn alertmanagers(&self) -> Alertmanagers {
        let state = self.inner.state();
        let all = |of: fn(&Set) -> &Vec<String>| state.sets.iter().flat_map(of).cloned().collect();
        Alertmanagers { active: all(|set| &set.active), dropped: all(|set| &set.dropped) }
    }

    /// Stops, for good; what waits is sent before, if it is to, as long as it is taken.
    pub async fn shutdown(&self) {
        let leaving = {
            let mut state = self.inner.state();
            state.stopped = true;
            let sets = std::mem::take(&mut state.sets);
            let mut leaving = std::mem::take(&mut state.leaving);
            leaving.extend(sets.into_iter().flat_map(Set::stop));
            leaving
        };
        for task in leaving {
            let _ = task.await;
        }
    }
}

impl Notify for Notifier {
    fn send(&self, alerts: Vec<Alert>) {
        let state = self.inner.state();
        let alerts = relabelled(&state.relabel, &state.external_labels, alerts);
        for set in state.sets.iter().filter(|set| !set.senders.is_empty()) {
            let rules = &set.config.alert_relabel_configs;
            let alerts = relabelled(rules, &Labels::empty(), alerts.clone());
            for (sender, _) in set.senders.values() {
                sender.add(alerts.iter().cloned());
            }
        }
    }
}

/// Alerts with the external labels that they do not have themselves, and changed by rules; what
/// the rules drop is left out.
fn relabelled(rules: &[RelabelConfig], external: &Labels, alerts: Vec<Alert>) -> Vec<Alert> {
    if rules.is_empty() && external.is_empty() {
        return alerts;
    }
    let one = |mut alert: Alert| {
        let mut labels = alert.labels.to_builder();
        for (name, value) in external {
            if !alert.labels.has(name) {
                labels.set(name, value);
            }
        }
        relabel::process(rules, &mut labels).then(|| {
            alert.labels = labels.build();
            alert
        })
    };
    alerts.into_iter().filter_map(one).collect()
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a configuration over; what is to be discovered then.
    fn apply(&self, alerting: &AlertingConfig, external: &Labels) -> Result<Vec<Job>, String> {
        let mut wanted = Vec::with_capacity(alerting.alertmanagers.len());
        for config in &alerting.alertmanagers {
            if config.sigv4.is_some() {
                // Unsigned requests would be refused.
                tracing::error!("no alerts are sent to Alertmanagers with sigv4: not served yet");
                continue;
            }
            let client = HttpClient::new(&config.http).map_err(|error| error.to_string())?;
            wanted.push((config, client));
        }
        let mut state = self.state();
        if state.stopped {
            return Ok(Vec::new());
        }
        state.external_labels = external.clone();
        state.relabel.clone_from(&alerting.alert_relabel_configs);
        let mut old = std::mem::take(&mut state.sets);
        let mut sets = Vec::with_capacity(wanted.len());
        for (config, client) in wanted {
            let set = match old.iter().position(|set| set.config == *config) {
                Some(same) => old.swap_remove(same),
                None => {
                    state.next += 1;
                    Set::new(format!("alertmanagers/{}", state.next), config.clone(), client)
                }
            };
            sets.push(set);
        }
        state.leaving.retain(|task| !task.is_finished());
        state.leaving.extend(old.into_iter().flat_map(Set::stop));
        let job = |set: &Set| {
            let sources = set.config.discovery.iter().cloned().map(Source::Config);
            Job::new(set.job.clone(), sources.collect())
        };
        let jobs = sets.iter().map(job).collect();
        state.sets = sets;
        Ok(jobs)
    }

    /// Takes over what discovery found.
    fn sync(&self, found: &Targets) {
        let mut state = self.state();
        let state = &mut *state;
        for i in 0..state.sets.len() {
            let Some(groups) = found.get(&state.sets[i].job) else { continue };
            let known: Vec<_> = state
                .sets
                .iter()
                .flat_map(|set| set.senders.values())
                .map(|(sender, _)| (sender.url.clone(), Arc::clone(&sender.metrics)))
                .collect();
            // Metrics are by address: two sections with the same one share them.
            let metrics = |url: &str| {
                let same = known.iter().find(|(known, _)| known == url);
                same.map(|(_, metrics)| Arc::clone(metrics)).unwrap_or_default()
            };
            let gone = state.sets[i].sync(groups, self, metrics);
            state.leaving.retain(|task| !task.is_finished());
            state.leaving.extend(gone);
        }
    }
}

impl Set {
    fn new(job: String, config: AlertmanagerConfig, client: HttpClient) -> Self {
        let (active, dropped) = (Vec::new(), Vec::new());
        Self { job, config, client, senders: BTreeMap::new(), active, dropped }
    }

    /// Begins and ends senders as discovery has it; those that end.
    fn sync(
        &mut self,
        groups: &[Arc<TargetGroup>],
        inner: &Inner,
        metrics: impl Fn(&str) -> Arc<SenderMetrics>,
    ) -> Vec<JoinHandle<()>> {
        let found = targets::find(&self.config, groups);
        let mut old = std::mem::take(&mut self.senders);
        for url in &found.active {
            let running = old.remove(url).unwrap_or_else(|| {
                let options = &inner.options;
                let settings = Settings {
                    timeout: self.config.timeout,
                    batch: options.batch_size.max(1),
                    capacity: options.queue_capacity,
                    drains: options.drain,
                    user_agent: options.user_agent.clone(),
                    clock: Arc::clone(&options.clock),
                };
                let client = self.client.clone();
                let sender = Arc::new(Sender::new(url.clone(), client, settings, metrics(url)));
                let of_task = Arc::clone(&sender);
                (sender, inner.runtime.spawn(async move { of_task.run().await }))
            });
            self.senders.insert(url.clone(), running);
        }
        (self.active, self.dropped) = (found.active, found.dropped);
        old.into_values().map(stop).collect()
    }

    fn stop(self) -> impl Iterator<Item = JoinHandle<()>> {
        self.senders.into_values().map(stop)
    }
}

fn stop((sender, task): (Arc<Sender>, JoinHandle<()>)) -> JoinHandle<()> {
    sender.stop();
    task
}

impl Collect for Notifier {
    fn collect(&self, out: &mut Families) {
        self.discovery.collect(out);
        let state = self.inner.state();
        let mut by_url: BTreeMap<&str, (&SenderMetrics, usize)> = BTreeMap::new();
        let senders = state.sets.iter().flat_map(|set| set.senders.values());
        for (sender, _) in senders {
            let entry = by_url.entry(&sender.url).or_insert((&sender.metrics, 0));
            entry.1 += sender.waiting();
        }
        for (url, (metrics, waiting)) in by_url {
            metrics.collect(url, waiting, out);
        }
        out.gauge(
            "prometheus_notifications_queue_capacity",
            "The capacity of the alert notifications queue.",
            self.inner.options.queue_capacity as f64,
        );
        let discovered = state.sets.iter().map(|set| set.active.len()).sum::<usize>();
        out.gauge(
            "prometheus_notifications_alertmanagers_discovered",
            "The number of alertmanagers discovered and active.",
            discovered as f64,
        );
    }
}

#[cfg(test)]
mod tests;
