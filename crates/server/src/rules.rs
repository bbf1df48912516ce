//! Rules and alerts: what the configuration says of them, put into force.

use std::{net::SocketAddr, sync::Arc};

use firesteel_api::{
    ActiveAlert, AlertingRuleView, AlertmanagersView, RuleGroupView, RuleSource, RuleView,
};
use firesteel_config::{Config, OsFiles};
use firesteel_discovery::Mechanisms;
use firesteel_model::{
    budget::Budget,
    clock::Clock,
    metrics::{Collect, Families},
};
use firesteel_promql::Engine;
use firesteel_rules::{
    Alert, GroupSnapshot, GroupSpec, LoadOptions, ManagerOptions, RuleManager, RuleSnapshot,
    RulesError, load_files,
    notifier::{Notifier, NotifierOptions},
};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::{
    late::LateDb,
    options::Options,
    status::{COMPATIBLE_VERSION, hostname},
};

/// What Prometheus says of a reload whose rules are wrong.
const RESTORED: &str = "error loading rules, previous rule set restored";

/// Evaluates rules and sends alerts.
pub(crate) struct Rules {
    manager: RuleManager,
    notifier: Arc<Notifier>,
    engine: Arc<Engine>,
    /// Without a slash at its end.
    external_url: Arc<str>,
    runtime: Handle,
    /// What is wrong with the rule files of the last reload.
    errors: Mutex<Vec<String>>,
}

impl Rules {
    /// Without rules yet.
    pub(crate) fn new(
        options: &Options,
        own: SocketAddr,
        engine: &Arc<Engine>,
        db: &LateDb,
        budget: &Budget,
        clock: &Arc<dyn Clock>,
        mechanisms: &Mechanisms,
    ) -> Self {
        let agent = format!("Prometheus/{COMPATIBLE_VERSION}");
        let mut notify = NotifierOptions::new(agent, Arc::clone(clock));
        notify.queue_capacity = options.notification_capacity;
        notify.batch_size = options.notification_batch;
        notify.drain = options.drain_notifications;
        notify.mechanisms = mechanisms.clone();
        let notifier = Arc::new(Notifier::new(notify));
        let storage = Arc::new(db.clone());
        let mut rules = ManagerOptions::new(
            Arc::clone(engine),
            Arc::clone(&storage) as _,
            storage,
            Arc::clone(&notifier) as _,
            Arc::clone(clock),
        );
        rules.budget = budget.child("alerts", budget.limit() / 4);
        rules.outage_tolerance = options.outage_tolerance;
        rules.grace_period = options.grace_period;
        rules.resend_delay = options.resend_delay;
        rules.concurrency =
            options.feature("concurrent-rule-eval").then_some(options.rule_concurrency);
        Self {
            manager: RuleManager::new(rules),
            notifier,
            engine: Arc::clone(engine),
            external_url: external_url(&options.external_url, own).into(),
            runtime: Handle::current(),
            errors: Mutex::default(),
        }
    }

    /// Reads the rule files of a configuration. Where one is wrong it is said in the log, and by
    /// the API from here on.
    pub(crate) fn load(&self, config: &Config) -> Result<Vec<GroupSpec>, String> {
        let loaded = self.read(config);
        *self.errors.lock() = match &loaded {
            Ok(_) => Vec::new(),
            Err(error) => error.to_string().lines().map(str::to_owned).collect(),
        };
        loaded.map_err(|error| {
            tracing::error!("loading rules failed: {error}");
            RESTORED.to_owned()
        })
    }

    fn read(&self, config: &Config) -> Result<Vec<GroupSpec>, RulesError> {
        let options = LoadOptions {
            interval: config.global.evaluation_interval,
            query_offset: config.global.rule_query_offset,
            names: config.global.name_validation,
            parser: self.engine.options().parser,
            ignore_unknown_fields: false,
            external_labels: config.global.external_labels.clone(),
            external_url: Arc::clone(&self.external_url),
        };
        load_files(&config.rule_files, &OsFiles, &options)
    }

    /// Whether the rule files of a configuration are right: all that is wrong.
    pub(crate) fn check(&self, config: &Config) -> Result<(), String> {
        self.read(config).map(drop).map_err(|error| error.to_string())
    }

    /// The rules that are evaluated now.
    pub(crate) fn in_force(&self) -> Vec<GroupSpec> {
        self.manager.groups().iter().map(|group| group.spec().clone()).collect()
    }

    /// Puts a configuration and its rules into force. Blocks; must not be called on a thread of
    /// the runtime.
    pub(crate) fn apply(&self, config: &Config, groups: Vec<GroupSpec>) -> Result<(), String> {
        let labels = &config.global.external_labels;
        self.runtime.block_on(self.notifier.apply(&config.alerting, labels))?;
        self.manager.apply(groups);
        Ok(())
    }

    /// No rule is evaluated from here on.
    pub(crate) async fn stop_evaluating(&self) {
        self.manager.shutdown().await;
    }

    /// Sends what waits, and nothing from here on.
    pub(crate) async fn stop_sending(&self) {
        self.notifier.shutdown().await;
    }
}

/// Under which URL the server is reached from outside, without a slash at its end.
fn external_url(given: &str, own: SocketAddr) -> String {
    if given.is_empty() {
        return format!("http://{}:{}", hostname(), own.port());
    }
    given.trim_end_matches('/').to_owned()
}

impl Collect for Rules {
    fn collect(&self, out: &mut Families) {
        self.manager.collect(out);
        self.notifier.collect(out);
    }
}

impl RuleSource for Rules {
    fn groups(&self, with_alerts: bool) -> Vec<RuleGroupView> {
        let groups = self.manager.groups();
        groups.iter().map(|group| group_view(group.snapshot(with_alerts))).collect()
    }

    fn alertmanagers(&self) -> AlertmanagersView {
        let found = self.notifier.alertmanagers();
        AlertmanagersView { active: found.active, dropped: found.dropped }
    }

    fn errors(&self) -> Vec<String> {
        self.errors.lock().clone()
    }
}

fn group_view(group: GroupSnapshot) -> RuleGroupView {
    RuleGroupView {
        name: group.name,
        file: group.file,
        interval: group.interval,
        limit: group.limit,
        rules: group.rules.into_iter().map(rule_view).collect(),
        evaluation_time: group.evaluation_time,
        last_evaluation: group.last_evaluation,
    }
}

fn rule_view(rule: RuleSnapshot) -> RuleView {
    let alerting = rule.alerting.map(|alerting| AlertingRuleView {
        state: alerting.state.as_str(),
        hold: alerting.hold,
        keep_firing_for: alerting.keep_firing_for,
        annotations: alerting.annotations,
        alerts: alerting.alerts.into_iter().map(alert_view).collect(),
    });
    RuleView {
        name: rule.name,
        query: rule.query.to_string(),
        labels: rule.labels,
        health: rule.health.as_str(),
        last_error: rule.last_error,
        evaluation_time: rule.evaluation_time,
        last_evaluation: rule.last_evaluation,
        alerting,
    }
}

fn alert_view(alert: Alert) -> ActiveAlert {
    ActiveAlert {
        labels: alert.labels,
        annotations: alert.annotations,
        state: alert.state.as_str(),
        active_at: alert.active_at,
        keep_firing_since: alert.keep_firing_since,
        value: alert.value,
    }
}
