//! The per-query interner: one dictionary for all sources of a query.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{LabelDictionary, StorageError};
use crate::Labels;

/// A label set as ids of an [`Interner`], in order of the names' text.
pub type GlobalLabels = Vec<(u32, u32)>;

/// Strings of a query, each with an id. Ids are dense, from 0, in order of arrival.
#[derive(Default)]
pub struct Interner {
    text: String,
    /// `spans[id]` is where its text lies.
    spans: Vec<(u32, u32)>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl std::fmt::Debug for Interner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Interner({} strings, {} bytes)", self.spans.len(), self.text.len())
    }
}

impl Interner {
    /// An empty interner.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The id of `text`, new or known. O(len).
    ///
    /// # Errors
    /// The interner holds 4 GiB of text.
    pub fn intern(&mut self, text: &str) -> Result<u32, StorageError> {
        let hash = self.hasher.hash_one(text);
        let slice = |&(at, len): &(u32, u32)| &self.text[at as usize..][..len as usize];
        if let Some(&id) = self.table.find(hash, |&id| slice(&self.spans[id as usize]) == text) {
            return Ok(id);
        }
        let full = || StorageError::Limit("a query's labels take more than 4 GiB".to_owned());
        let at = u32::try_from(self.text.len()).map_err(|_| full())?;
        let len = u32::try_from(text.len()).map_err(|_| full())?;
        let id = u32::try_from(self.spans.len()).map_err(|_| full())?;
        self.text.push_str(text);
        self.spans.push((at, len));
        let (spans, all, hasher) = (&self.spans, &self.text, &self.hasher);
        self.table.insert_unique(hash, id, |&id| {
            let (at, len) = spans[id as usize];
            hasher.hash_one(&all[at as usize..][..len as usize])
        });
        Ok(id)
    }

    /// The id of `text` if it is known.
    #[must_use]
    pub fn lookup(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.table.find(hash, |&id| self.text(id) == text).copied()
    }

    /// The text of an id that this interner gave.
    ///
    /// # Panics
    /// The id is of another interner.
    #[must_use]
    pub fn text(&self, id: u32) -> &str {
        let (at, len) = self.spans[id as usize];
        &self.text[at as usize..][..len as usize]
    }

    /// Number of strings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len() + self.spans.len() * 8 + self.table.capacity() * 5
    }

    /// The label set of interned pairs.
    #[must_use]
    pub fn labels(&self, pairs: &[(u32, u32)]) -> Labels {
        Labels::from_sorted(pairs.iter().map(|&(n, v)| (self.text(n), self.text(v))))
    }

    /// Interns a label set.
    ///
    /// # Errors
    /// As [`Interner::intern`].
    pub fn intern_labels(&mut self, labels: &Labels) -> Result<GlobalLabels, StorageError> {
        labels.iter().map(|(n, v)| Ok((self.intern(n)?, self.intern(v)?))).collect()
    }
}

/// Maps the ids of one dictionary to an interner's, each looked up once.
#[derive(Debug, Default)]
pub struct SymbolMap {
    /// Global id plus one; 0 where it is not known yet.
    global: Vec<u32>,
    missing: Vec<u32>,
}

impl SymbolMap {
    /// A map for a dictionary with ids below `id_bound`.
    #[must_use]
    pub fn new(id_bound: u32) -> Self {
        Self { global: vec![0; id_bound as usize], missing: Vec::new() }
    }

    /// Rewrites `pairs` from the dictionary's ids to the interner's.
    ///
    /// # Errors
    /// Damage in the dictionary, or an id it does not have.
    pub fn translate(
        &mut self,
        dictionary: &dyn LabelDictionary,
        interner: &mut Interner,
        pairs: &mut [(u32, u32)],
    ) -> Result<(), StorageError> {
        self.missing.clear();
        for &(n, v) in &*pairs {
            for id in [n, v] {
                if self.global.get(id as usize).copied().unwrap_or(0) == 0 {
                    self.missing.push(id);
                }
            }
        }
        if !self.missing.is_empty() {
            let (global, missing) = (&mut self.global, &self.missing);
            let mut failed = None;
            dictionary.resolve(missing, &mut |i, text| match interner.intern(text) {
                Ok(id) => {
                    let local = missing[i] as usize;
                    if global.len() <= local {
                        global.resize(local + 1, 0);
                    }
                    global[local] = id + 1;
                }
                Err(error) => failed = Some(error),
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        for pair in pairs {
            let get = |id: u32| {
                self.global.get(id as usize).copied().unwrap_or(0).checked_sub(1).ok_or_else(|| {
                    StorageError::Corrupt {
                        place: "label dictionary".to_owned(),
                        what: format!("symbol {id} does not exist"),
                    }
                })
            };
            *pair = (get(pair.0)?, get(pair.1)?);
        }
        Ok(())
    }
}
