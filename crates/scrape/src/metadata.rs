//! Metadata of a target's metric families: type, help and unit, as the pages last gave them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use firesteel_model::{Metadata, MetricType};

/// A family and its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyMetadata {
    /// The metric family.
    pub family: String,
    /// What is known about it.
    pub metadata: Metadata,
}

/// A family is remembered for this many scrapes after its last line disappeared.
const KEEP: u64 = 10;

#[derive(Debug, Default)]
struct Family {
    metadata: Metadata,
    /// Lines that the last page had about it.
    lines: u32,
    /// The scrape that did not have any more; meaningful while `lines` is 0.
    lost: u64,
}

/// The metadata of a target. Scrapes write to it only when a line is new or gone, so readers do not
/// disturb them.
#[derive(Debug, Default)]
pub(crate) struct MetadataStore(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    families: HashMap<Box<str>, Family>,
    scrape: u64,
    /// Families without lines.
    lost: usize,
}

/// What a metadata line says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Line<'a> {
    Type(MetricType),
    Help(&'a str),
    Unit(&'a str),
}

impl MetadataStore {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line that the last page did not have.
    pub(crate) fn add(&self, family: &str, line: Line<'_>) {
        let mut inner = self.lock();
        if !inner.families.contains_key(family) {
            inner.families.insert(family.into(), Family::default());
            inner.lost += 1;
        }
        let Some(entry) = inner.families.get_mut(family) else { return };
        let was_lost = entry.lines == 0;
        entry.lines += 1;
        match line {
            Line::Type(kind) => entry.metadata.kind = kind,
            Line::Help(text) => text.clone_into(&mut entry.metadata.help),
            Line::Unit(unit) => unit.clone_into(&mut entry.metadata.unit),
        }
        if was_lost {
            inner.lost -= 1;
        }
    }

    /// A line of this family is gone.
    pub(crate) fn lose(&self, family: &str) {
        let mut inner = self.lock();
        let scrape = inner.scrape;
        let Some(entry) = inner.families.get_mut(family) else { return };
        entry.lines = entry.lines.saturating_sub(1);
        if entry.lines == 0 {
            entry.lost = scrape;
            inner.lost += 1;
        }
    }

    /// A good scrape is done; forgets what has been gone for long.
    pub(crate) fn next_scrape(&self) {
        let mut inner = self.lock();
        inner.scrape += 1;
        if inner.lost > 0 {
            let scrape = inner.scrape;
            inner.families.retain(|_, f| f.lines > 0 || scrape - f.lost <= KEEP);
            inner.lost = inner.families.values().filter(|f| f.lines == 0).count();
        }
    }

    /// All families, sorted by name.
    pub(crate) fn list(&self) -> Vec<FamilyMetadata> {
        let inner = self.lock();
        let mut all: Vec<_> = inner
            .families
            .iter()
            .map(|(name, f)| FamilyMetadata {
                family: name.to_string(),
                metadata: f.metadata.clone(),
            })
            .collect();
        all.sort_by(|a, b| a.family.cmp(&b.family));
        all
    }

    pub(crate) fn get(&self, family: &str) -> Option<Metadata> {
        self.lock().families.get(family).map(|f| f.metadata.clone())
    }

    /// Number of families, and bytes of their texts as Prometheus counts them.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        let bytes = |f: &Family| {
            f.metadata.help.len() + f.metadata.unit.len() + f.metadata.kind.as_str().len()
        };
        (inner.families.len(), inner.families.values().map(bytes).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_outlives_its_lines_by_ten_scrapes() {
        let store = MetadataStore::default();
        store.add("m", Line::Type(MetricType::Gauge));
        store.add("m", Line::Help("old"));
        store.add("m", Line::Help("new"));
        store.lose("m");
        assert_eq!(store.get("m").unwrap().help, "new");
        store.lose("m");
        store.next_scrape();
        assert_eq!(store.size(), (1, 8));
        store.lose("m");
        for _ in 0..10 {
            store.next_scrape();
            assert!(store.get("m").is_some());
        }
        store.next_scrape();
        assert!(store.get("m").is_none() && store.list().is_empty());
    }
}
