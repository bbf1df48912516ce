//! The scraper and the storage as the API wants to see them.

use std::{path::PathBuf, sync::Arc};

use firesteel_api::{DroppedTarget, FamilyMetadata, StorageAdmin, TargetSource, TargetView};
use firesteel_model::{Matcher, Timestamp, duration};
use firesteel_scrape::{ScrapeManager, Target};
use firesteel_tsdb::{Db, TsdbError};

use crate::late::LateDb;

/// The scraper's targets.
pub(crate) struct Targets(pub(crate) Arc<ScrapeManager>);

impl TargetSource for Targets {
    fn active(&self) -> Vec<TargetView> {
        let mut all = Vec::new();
        for pool in self.0.targets() {
            all.extend(pool.active.into_iter().map(|target| TargetView {
                discovered_labels: target.discovered_labels,
                labels: target.labels,
                scrape_pool: pool.name.clone(),
                scrape_url: target.scrape_url,
                global_url: target.global_url,
                last_error: target.last_error,
                last_scrape: target.last_scrape,
                last_scrape_duration: target.last_scrape_duration.as_secs_f64(),
                health: target.health.as_str(),
                scrape_interval: duration::format(target.scrape_interval),
                scrape_timeout: duration::format(target.scrape_timeout),
            }));
        }
        all
    }

    fn dropped(&self) -> Vec<DroppedTarget> {
        let mut all = Vec::new();
        for pool in self.0.targets() {
            all.extend(pool.dropped.into_iter().map(|target| DroppedTarget {
                discovered_labels: target.discovered_labels,
                scrape_pool: target.scrape_pool,
            }));
        }
        all
    }

    fn dropped_counts(&self) -> Vec<(String, usize)> {
        self.0.targets().into_iter().map(|pool| (pool.name, pool.dropped_count)).collect()
    }

    fn metadata(&self) -> Vec<FamilyMetadata> {
        let targets = self.0.metadata().into_iter().flat_map(|(_, targets)| targets);
        let of_target = |target: Arc<Target>| {
            let labels = target.public_labels().clone();
            let families = target.metadata().into_iter();
            families.map(move |m| FamilyMetadata {
                family: m.family,
                metadata: m.metadata,
                target: labels.clone(),
            })
        };
        targets.flat_map(of_target).collect()
    }
}

/// Work on the storage.
pub(crate) struct Admin {
    pub(crate) db: LateDb,
    /// The storage's folder.
    pub(crate) data: PathBuf,
}

impl Admin {
    fn run(&self, work: impl FnOnce(&Db) -> Result<(), TsdbError>) -> Result<(), String> {
        let db = self.db.db().ok_or("TSDB not ready")?;
        work(db).map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })
    }
}

impl StorageAdmin for Admin {
    fn delete_series(
        &self,
        matchers: &[Matcher],
        mint: Timestamp,
        maxt: Timestamp,
    ) -> Result<(), String> {
        self.run(|db| db.delete(matchers, mint, maxt))
    }

    fn clean_tombstones(&self) -> Result<(), String> {
        self.run(Db::clean_tombstones)
    }

    fn snapshot(&self, name: &str, with_head: bool) -> Result<(), String> {
        self.run(|db| db.snapshot(self.data.join("snapshots").join(name), with_head))
    }
}
