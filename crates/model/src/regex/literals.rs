//! A set of texts, quick to look up.

use std::{collections::HashSet, hash::BuildHasher};

use hashbrown::{DefaultHashBuilder, HashTable};

/// From this many texts on a hash is cheaper than comparing one after the other.
const HASHED_FROM: usize = 16;

#[derive(Debug)]
pub(super) struct LiteralSet {
    texts: Vec<String>,
    /// Lengths of the shortest and the longest text.
    lengths: (usize, usize),
    hashed: Option<(DefaultHashBuilder, HashTable<u32>)>,
}

impl LiteralSet {
    /// `None` for more texts than an index can count.
    pub(super) fn new(texts: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut seen = HashSet::new();
        let texts: Vec<_> = texts.into_iter().filter(|t| seen.insert(t.clone())).collect();
        let count = u32::try_from(texts.len()).ok()?;
        let lengths = texts.iter().map(String::len);
        let lengths = (lengths.clone().min()?, lengths.max()?);
        let hashed = (texts.len() >= HASHED_FROM).then(|| {
            let builder = DefaultHashBuilder::default();
            let mut table = HashTable::with_capacity(texts.len());
            let hash = |i: u32| builder.hash_one(texts[i as usize].as_str());
            for i in 0..count {
                table.insert_unique(hash(i), i, |i| hash(*i));
            }
            (builder, table)
        });
        Some(Self { texts, lengths, hashed })
    }

    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        if text.len() < self.lengths.0 || text.len() > self.lengths.1 {
            return false;
        }
        match &self.hashed {
            Some((builder, table)) => {
                let equal = |i: &u32| self.texts[*i as usize] == text;
                table.find(builder.hash_one(text), equal).is_some()
            }
            None => self.texts.iter().any(|t| t == text),
        }
    }
}
