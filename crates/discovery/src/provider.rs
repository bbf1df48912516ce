//! One running discoverer and what it has found.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use firesteel_config::DiscoveryConfig;
use tokio_util::sync::CancellationToken;

use crate::{Discoverer, TargetGroup};

/// Where a job's targets come from.
#[derive(Debug)]
#[non_exhaustive]
pub enum Source {
    /// A section of the configuration. Equal sections of several jobs share one discoverer, which
    /// keeps running across reloads.
    Config(DiscoveryConfig),
    /// A discoverer of the program's own; `id` takes the place of the configuration for sharing
    /// and reloads.
    Custom {
        /// Names the discoverer among all.
        id: String,
        /// The discoverer; not used if one of this id runs already.
        discoverer: Box<dyn Discoverer>,
    },
}

/// What two sources must have in common to share a provider.
#[derive(Debug, PartialEq)]
pub(crate) enum Identity {
    Config(DiscoveryConfig),
    Custom(String),
}

/// A running discoverer.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) id: u64,
    pub(crate) identity: Identity,
    shutdown: CancellationToken,
    /// Whether it has sent anything yet.
    pub(crate) spoken: bool,
    /// How many times it has.
    pub(crate) version: u64,
    found: Found,
}

/// Groups in the order in which their sources first appeared.
#[derive(Debug, Default)]
struct Found {
    places: HashMap<Arc<str>, u64>,
    groups: BTreeMap<u64, Arc<TargetGroup>>,
    next: u64,
}

impl Provider {
    pub(crate) fn new(id: u64, identity: Identity, shutdown: CancellationToken) -> Self {
        Self { id, identity, shutdown, spoken: false, version: 0, found: Found::default() }
    }

    /// Takes what the discoverer sent; an empty group removes its source.
    pub(crate) fn update(&mut self, groups: Vec<TargetGroup>) {
        self.spoken = true;
        self.version += 1;
        let found = &mut self.found;
        for group in groups {
            if group.targets.is_empty() {
                if let Some(place) = found.places.remove(&group.source) {
                    found.groups.remove(&place);
                }
                continue;
            }
            let place = *found.places.entry(group.source.clone()).or_insert_with(|| {
                found.next += 1;
                found.next
            });
            found.groups.insert(place, Arc::new(group));
        }
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<TargetGroup>> {
        self.found.groups.values()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
