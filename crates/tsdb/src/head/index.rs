//! Which series there are: labels, references, postings.

mod image;

use std::{hash::BuildHasher, sync::Arc};

use firesteel_model::{Labels, storage::StorageError};
use hashbrown::{HashMap, HashTable};

use super::{
    hash::Keyed,
    postings::List,
    symbols::{Symbols, grow},
};
use crate::index::PostingsSource;

pub(super) use image::Postings;

/// The labels and references of all series, under one lock.
#[derive(Default)]
pub(super) struct Index {
    pub(super) symbols: Symbols,
    schemas: Vec<Schema>,
    by_names: HashMap<Arc<[u32]>, u32>,
    /// By series number; `schema` is [`Meta::DEAD`] for numbers that no series has.
    series: Vec<Meta>,
    /// Series numbers that can be used again.
    free: Vec<u32>,
    by_labels: HashTable<(u32, u32)>,
    hasher: Keyed,
    names: HashMap<u32, Name>,
    all: List,
    live: usize,
}

/// The names of a label set, and the values of all sets with these names, one row each.
struct Schema {
    names: Arc<[u32]>,
    values: Vec<u32>,
    free: Vec<u32>,
}

/// Where the labels of a series are.
#[derive(Clone, Copy)]
struct Meta {
    reference: u64,
    schema: u32,
    row: u32,
}

impl Meta {
    const DEAD: u32 = u32::MAX;
}

/// The values of a label.
#[derive(Default)]
struct Name {
    values: HashMap<u32, List>,
    /// Number of series that have the label.
    series: usize,
}

/// Why a series could not be made.
#[derive(Debug)]
pub(super) struct Full;

impl Index {
    /// The hash by which [`Index::find`] and [`Index::create`] know a label set.
    pub(super) fn hash(&self, labels: &Labels) -> u64 {
        // 32 bits are kept per series, so the table is asked with no more.
        u64::from(self.hasher.hash_one(labels) as u32)
    }

    const fn spread(hash: u32) -> u64 {
        (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The series with these labels.
    pub(super) fn find(&self, hash: u64, labels: &Labels) -> Option<u32> {
        let tag = hash as u32;
        self.by_labels
            .find(Self::spread(tag), |&(id, h)| h == tag && self.has_labels(id, labels))
            .map(|&(id, _)| id)
    }

    fn has_labels(&self, id: u32, labels: &Labels) -> bool {
        let mut theirs = labels.iter();
        for (name, value) in self.pairs(id) {
            let Some((n, v)) = theirs.next() else { return false };
            if self.symbols.text(value) != v || self.symbols.text(name) != n {
                return false;
            }
        }
        theirs.next().is_none()
    }

    /// Makes a series that [`Index::find`] has not found, and returns its number.
    pub(super) fn create(
        &mut self,
        hash: u64,
        reference: u64,
        labels: &Labels,
    ) -> Result<u32, Full> {
        let (mut names, mut values) =
            (smallvec::SmallVec::<[u32; 32]>::new(), smallvec::SmallVec::<[u32; 32]>::new());
        for (name, value) in labels {
            names.push(self.symbols.intern(name).ok_or(Full)?);
            values.push(self.symbols.intern(value).ok_or(Full)?);
        }
        let schema = self.schema(&names)?;
        let row = self.schemas[schema as usize].add(&values)?;
        let meta = Meta { reference, schema, row };
        let id = if let Some(id) = self.free.pop() {
            self.series[id as usize] = meta;
            id
        } else {
            let id = u32::try_from(self.series.len()).map_err(|_| Full)?;
            grow(&mut self.series);
            self.series.push(meta);
            id
        };
        self.link(id, hash as u32);
        Ok(id)
    }

    fn link(&mut self, id: u32, tag: u32) {
        self.by_labels.insert_unique(Self::spread(tag), (id, tag), |&(_, tag)| Self::spread(tag));
        let Some(&meta) = self.series.get(id as usize) else { return };
        let schema = &self.schemas[meta.schema as usize];
        for (i, &name) in schema.names.iter().enumerate() {
            let value = schema.values[meta.row as usize * schema.names.len() + i];
            let name = self.names.entry(name).or_default();
            name.series += 1;
            name.values.entry(value).or_default().insert(id);
        }
        self.all.insert(id);
        self.live += 1;
    }

    fn schema(&mut self, names: &[u32]) -> Result<u32, Full> {
        if let Some(&schema) = self.by_names.get(names) {
            return Ok(schema);
        }
        let schema = u32::try_from(self.schemas.len()).ok().filter(|&s| s < Meta::DEAD);
        let schema = schema.ok_or(Full)?;
        let names: Arc<[u32]> = names.into();
        self.schemas.push(Schema {
            names: Arc::clone(&names),
            values: Vec::new(),
            free: Vec::new(),
        });
        self.by_names.insert(names, schema);
        Ok(schema)
    }

    fn meta(&self, id: u32) -> Option<Meta> {
        self.series.get(id as usize).copied().filter(|m| m.schema != Meta::DEAD)
    }

    /// The label pairs of a series, as symbols, in order of the names' text.
    pub(super) fn pairs(&self, id: u32) -> impl Iterator<Item = (u32, u32)> + Clone + '_ {
        let (names, values) = self.meta(id).map_or((&[] as &[u32], &[] as &[u32]), |meta| {
            let schema = &self.schemas[meta.schema as usize];
            let n = schema.names.len();
            let at = meta.row as usize * n;
            (&schema.names, schema.values.get(at..at + n).unwrap_or_default())
        });
        names.iter().copied().zip(values.iter().copied())
    }

    /// The label pairs of a series as text.
    pub(super) fn text_pairs(&self, id: u32) -> impl Iterator<Item = (&str, &str)> + Clone + '_ {
        self.pairs(id).map(|(n, v)| (self.symbols.text(n), self.symbols.text(v)))
    }

    /// The labels of a series.
    pub(super) fn labels(&self, id: u32) -> Labels {
        Labels::from_sorted(self.text_pairs(id))
    }

    /// The reference of a series; 0 where there is none.
    pub(super) fn reference(&self, id: u32) -> u64 {
        self.meta(id).map_or(0, |m| m.reference)
    }

    /// Number of series.
    pub(super) const fn len(&self) -> usize {
        self.live
    }

    /// All series numbers are below this.
    pub(super) fn bound(&self) -> u32 {
        self.series.len() as u32
    }

    /// All series, in order of their numbers.
    pub(super) fn all(&self) -> Vec<u32> {
        self.all.sorted().into_owned()
    }

    /// Names of labels.
    pub(super) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|&n| self.symbols.text(n))
    }

    /// Names of the labels of some series.
    pub(super) fn names_of(&self, ids: &[u32]) -> Vec<&str> {
        let mut seen = vec![false; self.schemas.len()];
        let mut names: Vec<u32> = Vec::new();
        for &id in ids {
            let Some(meta) = self.meta(id) else { continue };
            if let Some(seen) = seen.get_mut(meta.schema as usize).filter(|s| !**s) {
                *seen = true;
                names.extend_from_slice(&self.schemas[meta.schema as usize].names);
            }
        }
        names.sort_unstable();
        names.dedup();
        names.iter().map(|&n| self.symbols.text(n)).collect()
    }

    /// Values of a label, each with its list.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = (&str, &List)> {
        let name = self.name(name);
        name.into_iter().flat_map(|n| n.values.iter().map(|(&v, l)| (self.symbols.text(v), l)))
    }

    /// Values of a label that some series have, each once.
    pub(super) fn values_of(&self, name: &str, ids: &[u32]) -> Vec<&str> {
        let Some(name) = self.symbols.get(name) else { return Vec::new() };
        // Series of one schema have the label in the same place.
        let mut places: Vec<Option<Option<usize>>> = vec![None; self.schemas.len()];
        let mut seen = vec![0_u64; self.symbols.bound().div_ceil(64) as usize];
        for &id in ids {
            let Some(meta) = self.meta(id) else { continue };
            let schema = &self.schemas[meta.schema as usize];
            let place = *places[meta.schema as usize]
                .get_or_insert_with(|| schema.names.iter().position(|&n| n == name));
            let at = |place| meta.row as usize * schema.names.len() + place;
            let value = place.and_then(|place| schema.values.get(at(place)));
            if let Some(&value) = value
                && let Some(word) = seen.get_mut(value as usize / 64)
            {
                *word |= 1 << (value % 64);
            }
        }
        let bits = |&(i, word): &(u32, u64)| {
            (0..64_u32).filter(move |b| word >> b & 1 == 1).map(move |b| i * 64 + b)
        };
        let words = (0_u32..).zip(seen).filter(|w| w.1 != 0);
        words.flat_map(|w| bits(&w)).map(|value| self.symbols.text(value)).collect()
    }

    fn name(&self, name: &str) -> Option<&Name> {
        self.symbols.get(name).and_then(|n| self.names.get(&n))
    }

    /// Values of a label, each with its number of series.
    pub(super) fn label_values(&self, name: &str) -> impl Iterator<Item = (&str, usize)> {
        self.values(name).map(|(value, list)| (value, list.len()))
    }

    /// For each label: its name, its number of values, the bytes of its values in all series.
    pub(super) fn label_sizes(&self) -> impl Iterator<Item = (&str, usize, usize)> {
        self.names.iter().map(|(&n, name)| {
            let bytes = name.values.iter().map(|(&v, l)| self.symbols.text(v).len() * l.len());
            (self.symbols.text(n), name.values.len(), bytes.sum())
        })
    }

    /// For each label pair: its name, its value, its number of series.
    pub(super) fn pair_sizes(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        self.names.iter().flat_map(move |(&n, name)| {
            name.values
                .iter()
                .map(move |(&v, list)| (self.symbols.text(n), self.symbols.text(v), list.len()))
        })
    }

    /// Number of label pairs.
    pub(super) fn num_pairs(&self) -> usize {
        self.names.values().map(|n| n.values.len()).sum()
    }

    /// Takes series out of the lookups, so that nobody finds them any more; their labels stay
    /// readable until [`Index::release`]. `ids` is sorted.
    pub(super) fn unlink(&mut self, ids: &[u32]) {
        let gone = |id: u32| ids.binary_search(&id).is_ok();
        let mut touched = hashbrown::HashSet::<(u32, u32)>::new();
        for &id in ids {
            touched.extend(self.pairs(id));
        }
        for (name, value) in touched {
            let Some(entry) = self.names.get_mut(&name) else { continue };
            if let Some(list) = entry.values.get_mut(&value) {
                let before = list.len();
                list.retain(|id| !gone(id));
                entry.series -= before - list.len();
                if list.len() == 0 {
                    entry.values.remove(&value);
                }
            }
            if entry.values.is_empty() {
                self.names.remove(&name);
            }
        }
        self.all.retain(|id| !gone(id));
        self.by_labels.retain(|&mut (id, _)| !gone(id));
        self.live = self.live.saturating_sub(ids.len());
    }

    /// Gives up the labels and numbers of unlinked series, and the symbols that only they used.
    pub(super) fn release(&mut self, ids: &[u32]) {
        for &id in ids {
            if let Some(meta) = self.meta(id) {
                self.schemas[meta.schema as usize].free.push(meta.row);
                self.series[id as usize] = Meta { reference: 0, schema: Meta::DEAD, row: 0 };
                self.free.push(id);
            }
        }
        // Numbers are taken from the end, so that they come in order.
        self.free.sort_unstable_by(|a, b| b.cmp(a));
        let mut used = vec![false; self.symbols.bound() as usize];
        for meta in self.series.iter().filter(|m| m.schema != Meta::DEAD) {
            let schema = &self.schemas[meta.schema as usize];
            let n = schema.names.len();
            let at = meta.row as usize * n;
            for &symbol in schema.values.get(at..at + n).unwrap_or_default() {
                used[symbol as usize] = true;
            }
        }
        for schema in &self.schemas {
            for &name in schema.names.iter() {
                used[name as usize] = true;
            }
        }
        self.symbols.retain(|id| used.get(id as usize).copied().unwrap_or(true));
    }

    /// Bytes held, about, by part.
    pub(super) fn memory_parts(&self) -> [(&'static str, usize); 5] {
        let schemas = self
            .schemas
            .iter()
            .map(|s| s.names.len() * 8 + s.values.capacity() * 4 + s.free.capacity() * 4 + 80);
        let lists = self.names.values().map(|n| {
            n.values.capacity() * 22 + n.values.values().map(List::bytes).sum::<usize>() + 64
        });
        [
            ("label strings", self.symbols.bytes()),
            ("label sets", schemas.sum()),
            ("postings", lists.sum::<usize>() + self.all.bytes()),
            ("series", self.series.capacity() * size_of::<Meta>()),
            ("label hash table", self.by_labels.capacity() * 9 * 8 / 7),
        ]
    }
}

impl PostingsSource for Index {
    type List = List;

    fn all(&self) -> Result<Option<List>, StorageError> {
        Ok((self.live > 0).then(|| self.all.clone()))
    }

    fn exact(&self, name: &str, value: &str) -> Result<Option<List>, StorageError> {
        let list = |name: &Name| name.values.get(&self.symbols.get(value)?).cloned();
        Ok(self.name(name).and_then(list))
    }

    fn num_values(&self, name: &str) -> usize {
        self.name(name).map_or(0, |n| n.values.len())
    }

    fn is_on_all(&self, name: &str) -> bool {
        self.name(name).map_or(0, |n| n.series) == self.live
    }

    fn matching(
        &self,
        name: &str,
        prefixes: &[String],
        keep: &mut dyn FnMut(&str) -> Result<bool, StorageError>,
        out: &mut Vec<List>,
    ) -> Result<(), StorageError> {
        for (value, list) in self.values(name) {
            let begins =
                prefixes.is_empty() || prefixes.iter().any(|p| value.starts_with(p.as_str()));
            if begins && keep(value)? {
                out.push(list.clone());
            }
        }
        Ok(())
    }

    fn weight(&self, lists: &[List]) -> Result<u64, StorageError> {
        Ok(lists.iter().map(|l| l.len() as u64).sum())
    }
}

impl Schema {
    fn add(&mut self, values: &[u32]) -> Result<u32, Full> {
        let n = self.names.len();
        if let Some(row) = self.free.pop() {
            self.values[row as usize * n..][..n].copy_from_slice(values);
            return Ok(row);
        }
        let rows = self.values.len().checked_div(n).unwrap_or(0);
        let row = u32::try_from(rows).map_err(|_| Full)?;
        if self.values.capacity() - self.values.len() < n {
            self.values.reserve_exact((self.values.len() / 8).max(n));
        }
        self.values.extend_from_slice(values);
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firesteel_model::{MatchOp, Matcher, storage::QueryContext};
    use proptest::prelude::*;

    use super::super::search;
    use crate::{index::Memory, sync::RwLock};

    fn create(index: &mut Index, reference: u64, labels: &Labels) -> u32 {
        let hash = index.hash(labels);
        assert_eq!(index.find(hash, labels), None);
        let id = index.create(hash, reference, labels).unwrap();
        assert_eq!(index.find(hash, labels), Some(id));
        assert_eq!(index.labels(id), *labels);
        id
    }

    fn some_labels() -> Vec<Labels> {
        let mut all = Vec::new();
        for i in 0..60 {
            let mut builder = Labels::empty().to_builder();
            builder.set("__name__", if i % 2 == 0 { "up" } else { "down" });
            builder.set("instance", &format!("host-{i}"));
            if i % 3 == 0 {
                builder.set("zone", &format!("z{}", i % 5));
            }
            all.push(builder.build());
        }
        all
    }

    proptest! {
        #[test]
        fn plans_agree_with_matching_each_series(
            picks in prop::collection::vec((0_usize..4, 0_usize..4, 0_usize..6), 0..4),
            gone in 0_usize..60,
        ) {
            let mut index = Index::default();
            let mut series = Vec::new();
            for (i, labels) in some_labels().into_iter().enumerate() {
                series.push((create(&mut index, i as u64 + 1, &labels), labels));
            }
            let mut removed: Vec<_> = series.drain(..gone).map(|s| s.0).collect();
            removed.sort_unstable();
            index.unlink(&removed);
            index.release(&removed);
            for i in 0..gone / 2 {
                let labels = Labels::from_pairs([("__name__", "new"), ("instance", &format!("n{i}"))]);
                series.push((create(&mut index, 1000 + i as u64, &labels), labels));
            }
            prop_assert_eq!(index.len(), series.len());
            let matchers: Vec<_> = picks.iter().map(|&(op, name, value)| {
                let op = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex][op];
                let name = ["__name__", "instance", "zone", "nope"][name];
                let value = ["up", "host-1.*", "", ".*", ".+", "z0|z1|host-7"][value];
                Matcher::new(op, name, value).unwrap()
            }).collect();
            let mut expected: Vec<_> = series.iter().filter(|(_, labels)| {
                matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
            }).map(|s| s.0).collect();
            expected.sort_unstable();
            let ctx = QueryContext::background();
            let mut memory = Memory::new(&ctx).unwrap();
            let found =
                search::select(&RwLock::new(index), &matchers, &ctx, &mut memory).unwrap();
            prop_assert_eq!(found, expected, "{:?}", matchers);
        }
    }
}
