//! The per-query interner: one dictionary for all sources of a query.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{LabelDictionary, StorageError};
use crate::Labels;

/// A label set as ids of an [`Interner`], in order of the names' text.
pub type GlobalLabels = Vec<(u32, u32)>;

/// Sizes of the pieces of memory that texts lie in: the first, and those of many texts.
const PIECE_BYTES: std::ops::RangeInclusive<usize> = 1 << 10..=1 << 16;

/// Strings of a query, each with an id. Ids are dense, from 0, in order of arrival.
///
/// Texts lie in pieces that never grow: a buffer that doubles takes three times what is in it while
/// it moves, and queries are held to what they may take of memory.
#[derive(Default)]
pub struct Interner {
    pieces: Vec<String>,
    /// Capacity of all pieces.
    piece_bytes: usize,
    /// `spans[id]` is where its text lies.
    spans: Vec<TextSpan>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy)]
struct TextSpan {
    piece: u32,
    at: u32,
    len: u32,
}

impl TextSpan {
    fn text(self, pieces: &[String]) -> &str {
        &pieces[self.piece as usize][self.at as usize..][..self.len as usize]
    }
}

impl std::fmt::Debug for Interner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Interner({} strings, {} bytes)", self.spans.len(), self.bytes())
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
        let found = self.table.find(hash, |&id| self.text(id) == text);
        if let Some(&id) = found {
            return Ok(id);
        }
        let full = || StorageError::Limit("a query's labels take more than 4 GiB".to_owned());
        let id = u32::try_from(self.spans.len()).map_err(|_| full())?;
        let span = self.keep(text).ok_or_else(full)?;
        self.spans.push(span);
        let (spans, pieces, hasher) = (&self.spans, &self.pieces, &self.hasher);
        self.table.insert_unique(hash, id, |&id| hasher.hash_one(spans[id as usize].text(pieces)));
        Ok(id)
    }

    /// Puts a text behind the others.
    fn keep(&mut self, text: &str) -> Option<TextSpan> {
        let len = u32::try_from(text.len()).ok()?;
        let last = self.pieces.last().map_or(0, |piece| piece.capacity() - piece.len());
        if last < text.len() || self.pieces.is_empty() {
            let usual = self.piece_bytes.clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end());
            let piece = String::with_capacity(usual.max(text.len()));
            self.piece_bytes = self.piece_bytes.checked_add(piece.capacity())?;
            u32::try_from(self.piece_bytes).ok()?;
            self.pieces.push(piece);
        }
        let index = self.pieces.len() - 1;
        let piece = self.pieces.last_mut()?;
        let at = piece.len() as u32;
        piece.push_str(text);
        Some(TextSpan { piece: index as u32, at, len })
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
        self.spans[id as usize].text(&self.pieces)
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
        self.piece_bytes + self.spans.len() * 12 + self.table.capacity() * 5
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
