//! `check service-discovery`: what a job discovers, and what its relabelling makes of it. Source:
//! `cmd/promtool/sd.go`.

use std::{collections::BTreeMap, io::Write, path::Path, time::Duration};

use firesteel_config::{LoadOptions, OsFiles, ScrapeConfig};
use firesteel_discovery::{Discoverer, Mechanisms, TargetGroup, UpdatesReceiver, updates};
use firesteel_model::Labels;
use firesteel_scrape::{Discovered, Target};
use serde_json::{Map, Value};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{Failure, Outcome};

/// Once all discoverers have spoken, and nothing has come for so long, there is no need to go on.
const QUIET: Duration = Duration::from_secs(1);

/// Looks for a job's targets for so long at most, and prints them.
pub(crate) fn run(config: &Path, job: &str, time: Duration, out: &mut dyn Write) -> Outcome {
    let loaded = firesteel_config::load(config, &OsFiles, &LoadOptions::default());
    let loaded = loaded.map_err(|error| Failure::new(format!("Cannot load config {error}")))?;
    let Some(found) = loaded.scrape_configs.iter().find(|c| c.job_name == job) else {
        let mut text = format!("Job {job} not found. Select one of:");
        for known in &loaded.scrape_configs {
            text.push_str(&format!("\n\t{}", known.job_name));
        }
        return Err(Failure::new(text));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let groups = runtime.block_on(discover(found, time))?;
    runtime.shutdown_background();
    let mut results: Vec<String> = Vec::new();
    for groups in groups.into_values() {
        let mut of_source: Vec<String> = Vec::new();
        for labels in groups.iter().flat_map(|group| group.merged().collect::<Vec<_>>()) {
            let result = result(&labels, found);
            if !of_source.contains(&result) {
                of_source.push(result);
            }
        }
        results.extend(of_source);
    }
    let text = match results.as_slice() {
        [] => "[]".to_owned(),
        results => format!("[\n{}\n]", results.join(",\n")),
    };
    // As Go writes JSON, so that it can stand in a page of HTML.
    let text = text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    write!(out, "{text}")?;
    Ok(())
}

/// All groups that came, by source.
async fn discover(
    config: &ScrapeConfig,
    time: Duration,
) -> Result<BTreeMap<String, Vec<TargetGroup>>, Failure> {
    let until = Instant::now() + time;
    let mechanisms = Mechanisms::new(concat!("firetool/", env!("CARGO_PKG_VERSION")));
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let mut tasks = JoinSet::new();
    for section in &config.discovery {
        let discoverer = mechanisms
            .discoverer(section)
            .map_err(|error| Failure::new(format!("Could not create new discoverer {error}")))?;
        let (sender, receiver) = updates();
        tasks.spawn(follow(discoverer, receiver, sender, until, stop.clone()));
    }
    let mut all: BTreeMap<String, Vec<TargetGroup>> = BTreeMap::new();
    while let Some(groups) = tasks.join_next().await {
        for group in groups.into_iter().flatten() {
            all.entry(group.source.to_string()).or_default().push(group);
        }
    }
    Ok(all)
}

/// What one discoverer sends.
async fn follow(
    discoverer: Box<dyn Discoverer>,
    mut receiver: UpdatesReceiver,
    sender: firesteel_discovery::Updates,
    until: Instant,
    stop: CancellationToken,
) -> Vec<TargetGroup> {
    tokio::spawn(discoverer.run(sender, stop));
    let mut found = Vec::new();
    let mut next = until;
    while let Ok(Some(groups)) = timeout_at(next, receiver.recv()).await {
        found.extend(groups);
        next = until.min(Instant::now() + QUIET);
    }
    found
}

/// What becomes of discovered labels. What is wrong with them is not said: promtool prints an empty
/// mapping, too.
fn result(labels: &Labels, config: &ScrapeConfig) -> String {
    let (labels_after, failed) = match Target::from_discovered(labels, config) {
        Ok(Discovered::Target(target)) => (target.labels().clone(), false),
        Ok(Discovered::Dropped(_)) => (Labels::empty(), false),
        Err(_) => (Labels::empty(), true),
    };
    let discovered = mapping(&Target::completed(labels, config));
    let labels = mapping(&labels_after);
    let error = if failed { ",\n    \"error\": {}" } else { "" };
    format!("  {{\n    \"discoveredLabels\": {discovered},\n    \"labels\": {labels}{error}\n  }}")
}

/// Labels as they stand within a result.
fn mapping(labels: &Labels) -> String {
    let pairs = labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    let all = Value::Object(pairs.collect::<Map<String, Value>>());
    format!("{all:#}").replace('\n', "\n    ")
}
