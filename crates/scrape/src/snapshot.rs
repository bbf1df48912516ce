//! How targets look from outside: what `/api/v1/targets` shows.

use std::time::Duration;

use firesteel_model::{Labels, Timestamp};

use crate::{Health, Target, url::ExternalAddress};

/// The targets of a job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PoolSnapshot {
    /// The job.
    pub name: String,
    /// Its targets, sorted by URL.
    pub active: Vec<TargetSnapshot>,
    /// Targets that relabelling dropped, as many as `keep_dropped_targets` allows.
    pub dropped: Vec<DroppedTarget>,
    /// How many were dropped in all.
    pub dropped_count: usize,
}

/// A target that is scraped.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TargetSnapshot {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// Labels that its series get.
    pub labels: Labels,
    /// The job.
    pub scrape_pool: String,
    /// What is asked for.
    pub scrape_url: String,
    /// The same as it is reached from outside.
    pub global_url: String,
    /// Why the last scrape failed, empty if it did not.
    pub last_error: String,
    /// When it began; `None` before the first.
    pub last_scrape: Option<Timestamp>,
    /// How long it took.
    pub last_scrape_duration: Duration,
    /// How the target is.
    pub health: Health,
    /// How often it is scraped.
    pub scrape_interval: Duration,
    /// How long a scrape may take.
    pub scrape_timeout: Duration,
}

/// A target that relabelling dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DroppedTarget {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// The job.
    pub scrape_pool: String,
}

impl TargetSnapshot {
    pub(crate) fn new(target: &Target, pool: &str, external: Option<&ExternalAddress>) -> Self {
        let last = target.last_scrape();
        let url = target.url();
        Self {
            discovered_labels: target.discovered_labels(),
            labels: target.public_labels().clone(),
            scrape_pool: pool.to_owned(),
            scrape_url: url.to_owned(),
            global_url: external.map_or_else(|| url.to_owned(), |e| e.globalize(url)),
            last_error: last.error,
            last_scrape: last.time,
            last_scrape_duration: last.duration,
            health: last.health,
            scrape_interval: target.interval(),
            scrape_timeout: target.timeout(),
        }
    }
}
