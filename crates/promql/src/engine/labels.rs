//! Label sets of a query as integers.
//!
//! All label sets that a query meets or makes are interned: equal sets have the same [`SetId`], so
//! grouping, matching and the search for duplicates compare integers. Text is looked at only to
//! order labels by name, and at the output.

use std::hash::BuildHasher;

use firesteel_model::{
    Labels, METRIC_NAME,
    storage::{Interner, StorageError},
};
use hashbrown::{DefaultHashBuilder, HashTable};

/// A label set of a [`LabelStore`]. Dense, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SetId(pub(crate) u32);

impl SetId {
    /// The set without labels.
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A label pair, as ids of the interner.
pub(crate) type Pair = (u32, u32);

/// Interned strings and label sets of a query.
#[derive(Debug)]
pub(crate) struct LabelStore {
    pub(crate) interner: Interner,
    pairs: Vec<Pair>,
    /// `ends[set]` is where its pairs end.
    ends: Vec<u32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// `without_metadata[set]` is what remains without name, type and unit, plus one; 0 where it
    /// has not been asked for yet.
    without_metadata: Vec<u32>,
    /// Ids of `__name__`, `__type__` and `__unit__`.
    metadata: [u32; 3],
    scratch: Vec<Pair>,
}

impl LabelStore {
    pub(crate) fn new() -> Result<Self, StorageError> {
        let mut interner = Interner::new();
        let metadata = [
            interner.intern(METRIC_NAME)?,
            interner.intern("__type__")?,
            interner.intern("__unit__")?,
        ];
        let mut store = Self {
            interner,
            pairs: Vec::new(),
            ends: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            without_metadata: Vec::new(),
            metadata,
            scratch: Vec::new(),
        };
        store.intern(&[])?;
        Ok(store)
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.interner.bytes()
            + self.pairs.len() * 8
            + self.ends.len() * 4
            + self.table.capacity() * 5
    }

    /// Id of `__name__`.
    pub(crate) const fn name_label(&self) -> u32 {
        self.metadata[0]
    }

    /// Whether a label is `__name__`, `__type__` or `__unit__`.
    pub(crate) fn is_metadata(&self, label: u32) -> bool {
        self.metadata.contains(&label)
    }

    /// The pairs of a set, in order of the names' text.
    pub(crate) fn pairs(&self, set: SetId) -> &[Pair] {
        pairs_of(&self.pairs, &self.ends, set.0)
    }

    /// The set of these pairs, which are in order of the names' text, without empty values.
    pub(crate) fn intern(&mut self, pairs: &[Pair]) -> Result<SetId, StorageError> {
        let hash = self.hasher.hash_one(pairs);
        let (all, ends) = (&self.pairs, &self.ends);
        if let Some(&id) = self.table.find(hash, |&id| pairs_of(all, ends, id) == pairs) {
            return Ok(SetId(id));
        }
        let full = |_| StorageError::Limit("more than 4 G labels in a query".to_owned());
        let id = u32::try_from(self.ends.len()).map_err(full)?;
        let end = u32::try_from(self.pairs.len() + pairs.len()).map_err(full)?;
        self.pairs.extend_from_slice(pairs);
        self.ends.push(end);
        let (all, ends, hasher) = (&self.pairs, &self.ends, &self.hasher);
        self.table.insert_unique(hash, id, |&id| hasher.hash_one(pairs_of(all, ends, id)));
        Ok(SetId(id))
    }

    /// The set of those pairs of `set` that `keep` accepts.
    pub(crate) fn filtered(
        &mut self,
        set: SetId,
        keep: impl Fn(u32) -> bool,
    ) -> Result<SetId, StorageError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend(self.pairs(set).iter().copied().filter(|p| keep(p.0)));
        let result = self.intern(&scratch);
        self.scratch = scratch;
        result
    }

    /// The set without name, type and unit.
    pub(crate) fn drop_metadata(&mut self, set: SetId) -> Result<SetId, StorageError> {
        if let Some(&known) = self.without_metadata.get(set.index()).filter(|k| **k != 0) {
            return Ok(SetId(known - 1));
        }
        let metadata = self.metadata;
        let result = self.filtered(set, |label| !metadata.contains(&label))?;
        if self.without_metadata.len() <= set.index() {
            self.without_metadata.resize(self.ends.len(), 0);
        }
        self.without_metadata[set.index()] = result.0 + 1;
        Ok(result)
    }

    /// The set without its name alone.
    pub(crate) fn drop_name(&mut self, set: SetId) -> Result<SetId, StorageError> {
        let name = self.name_label();
        self.filtered(set, |label| label != name)
    }

    /// The set with label `name` set to `value`; an empty value removes it.
    pub(crate) fn with_label(
        &mut self,
        set: SetId,
        name: u32,
        value: u32,
    ) -> Result<SetId, StorageError> {
        let mut pairs: Vec<Pair> = self.pairs(set).to_vec();
        self.edit(&mut pairs, name, value);
        self.intern(&pairs)
    }

    /// Sets a label of pairs that are in order; an empty value removes it.
    pub(crate) fn edit(&self, pairs: &mut Vec<Pair>, name: u32, value: u32) {
        let text = self.interner.text(name);
        let empty = self.interner.text(value).is_empty();
        match pairs.binary_search_by(|p| self.interner.text(p.0).cmp(text)) {
            Ok(at) if empty => {
                pairs.remove(at);
            }
            Ok(at) => pairs[at].1 = value,
            Err(_) if empty => {}
            Err(at) => pairs.insert(at, (name, value)),
        }
    }

    /// The value of a label of a set.
    pub(crate) fn value(&self, set: SetId, label: u32) -> Option<u32> {
        self.pairs(set).iter().find(|p| p.0 == label).map(|p| p.1)
    }

    /// The text of a label of a set, empty where it has none.
    pub(crate) fn text(&self, set: SetId, label: u32) -> &str {
        self.value(set, label).map_or("", |v| self.interner.text(v))
    }

    /// The metric name of a set, empty where it has none.
    pub(crate) fn metric_name(&self, set: SetId) -> &str {
        self.text(set, self.name_label())
    }

    /// The set as text.
    pub(crate) fn labels(&self, set: SetId) -> Labels {
        self.interner.labels(self.pairs(set))
    }

    /// Ids of label names.
    pub(crate) fn label_ids(&mut self, names: &[String]) -> Result<Vec<u32>, StorageError> {
        names.iter().map(|n| self.interner.intern(n)).collect()
    }

    /// Interns a set given as text.
    pub(crate) fn intern_labels(&mut self, labels: &Labels) -> Result<SetId, StorageError> {
        let pairs = self.interner.intern_labels(labels)?;
        self.intern(&pairs)
    }

    /// Order of two sets as Prometheus orders them: pair by pair, by text.
    pub(crate) fn compare(&self, a: SetId, b: SetId) -> std::cmp::Ordering {
        let texts = |set: SetId| {
            self.pairs(set).iter().map(|p| (self.interner.text(p.0), self.interner.text(p.1)))
        };
        texts(a).cmp(texts(b))
    }
}

fn pairs_of<'a>(pairs: &'a [Pair], ends: &[u32], set: u32) -> &'a [Pair] {
    let index = set as usize;
    let start = index.checked_sub(1).map_or(0, |before| ends[before] as usize);
    &pairs[start..ends[index] as usize]
}

/// Which labels decide about a group or a match: those listed, or all but those listed.
#[derive(Clone, Debug)]
pub(crate) struct Projection {
    pub(crate) labels: Vec<u32>,
    /// Whether `labels` are the ones to keep.
    pub(crate) keep: bool,
}

impl Projection {
    /// `by (...)` and `on (...)`, or `without (...)` and `ignoring (...)`, which leave out the name
    /// too.
    pub(crate) fn new(
        store: &mut LabelStore,
        names: &[String],
        keep: bool,
    ) -> Result<Self, StorageError> {
        let mut labels = store.label_ids(names)?;
        if !keep {
            labels.push(store.name_label());
        }
        Ok(Self { labels, keep })
    }

    /// Whether a label decides.
    #[inline]
    pub(crate) fn has(&self, label: u32) -> bool {
        self.labels.contains(&label) == self.keep
    }

    /// What decides in `set`, as a set.
    pub(crate) fn of(&self, store: &mut LabelStore, set: SetId) -> Result<SetId, StorageError> {
        if self.keep && self.labels.is_empty() {
            return Ok(SetId::EMPTY);
        }
        store.filtered(set, |label| self.has(label))
    }
}

/// Dense numbers for set ids, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    /// `numbers[set]` is its number plus one, 0 for none.
    numbers: Vec<u32>,
    pub(crate) sets: Vec<SetId>,
}

impl Numbering {
    /// The number of `set`, new or known.
    pub(crate) fn number(&mut self, set: SetId) -> usize {
        if self.numbers.len() <= set.index() {
            self.numbers.resize((set.index() + 1).next_power_of_two(), 0);
        }
        let number = &mut self.numbers[set.index()];
        if *number == 0 {
            self.sets.push(set);
            *number = self.sets.len() as u32;
        }
        *number as usize - 1
    }

    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_have_equal_ids() {
        let mut store = LabelStore::new().unwrap();
        let a = Labels::from_pairs([("__name__", "m"), ("a", "1"), ("z", "2")]);
        let id = store.intern_labels(&a).unwrap();
        assert_eq!(store.intern_labels(&a).unwrap(), id);
        let bare = store.drop_metadata(id).unwrap();
        assert_eq!(store.labels(bare), a.without_name());
        assert_eq!(store.drop_metadata(id).unwrap(), bare);
        assert_eq!(store.drop_metadata(bare).unwrap(), bare);
        assert_eq!(store.metric_name(id), "m");

        let (m, five) = (store.interner.intern("m").unwrap(), store.interner.intern("5").unwrap());
        let empty = store.interner.intern("").unwrap();
        let more = store.with_label(bare, m, five).unwrap();
        assert_eq!(store.labels(more).to_string(), r#"{a="1", m="5", z="2"}"#);
        assert_eq!(store.with_label(more, m, empty).unwrap(), bare);
        assert!(store.compare(bare, more).is_gt());

        let by = Projection::new(&mut store, &["z".to_owned()], true).unwrap();
        let group = by.of(&mut store, id).unwrap();
        assert_eq!(store.labels(group).to_string(), r#"{z="2"}"#);
        let without = Projection::new(&mut store, &["z".to_owned()], false).unwrap();
        let group = without.of(&mut store, id).unwrap();
        assert_eq!(store.labels(group).to_string(), r#"{a="1"}"#);
    }
}
