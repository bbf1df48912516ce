//! The head's strings: each once, with a small id.

use std::hash::BuildHasher;

use firesteel_chunk::varint;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::image::ImageError;
use crate::wal::record::Cursor;

/// Bytes of text per page. Longer strings get a page of their own.
const PAGE: usize = 64 * 1024;

/// Label names and values. Ids are dense; the id of a string that is gone is used again.
#[derive(Default)]
pub(super) struct Symbols {
    pages: Vec<Page>,
    spans: Vec<Span>,
    free: Vec<u32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    bytes: usize,
}

#[derive(Default)]
struct Page {
    text: String,
    /// Bytes of it that a symbol still uses.
    used: usize,
}

#[derive(Clone, Copy, Default)]
struct Span {
    page: u32,
    at: u32,
    len: u32,
}

impl Symbols {
    fn slice(pages: &[Page], span: Span) -> &str {
        let text = pages.get(span.page as usize).map_or("", |p| p.text.as_str());
        text.get(span.at as usize..(span.at + span.len) as usize).unwrap_or_default()
    }

    /// The text of an id; empty for one that does not exist.
    #[inline]
    pub(super) fn text(&self, id: u32) -> &str {
        self.spans.get(id as usize).map_or("", |&span| Self::slice(&self.pages, span))
    }

    /// The id of a string, if there is one.
    pub(super) fn get(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.table.find(hash, |&id| self.text(id) == text).copied()
    }

    /// The id of a string, new or known. `None` where ids (or 4 GiB pages) run out.
    pub(super) fn intern(&mut self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        if let Some(&id) = self.table.find(hash, |&id| self.text(id) == text) {
            return Some(id);
        }
        let span = self.store(text)?;
        let id = if let Some(id) = self.free.pop() {
            self.spans[id as usize] = span;
            id
        } else {
            let id = u32::try_from(self.spans.len()).ok().filter(|&id| id < u32::MAX)?;
            grow(&mut self.spans);
            self.spans.push(span);
            id
        };
        let (pages, spans, hasher) = (&self.pages, &self.spans, &self.hasher);
        self.table
            .insert_unique(hash, id, |&id| hasher.hash_one(Self::slice(pages, spans[id as usize])));
        Some(id)
    }

    fn store(&mut self, text: &str) -> Option<Span> {
        let len = u32::try_from(text.len()).ok()?;
        let fits = |p: &Page| p.text.capacity() - p.text.len() >= text.len();
        if !self.pages.last().is_some_and(fits) {
            let text = String::with_capacity(PAGE.max(text.len()));
            self.bytes += text.capacity();
            self.pages.push(Page { text, used: 0 });
        }
        let page = u32::try_from(self.pages.len() - 1).ok()?;
        let last = self.pages.last_mut()?;
        let at = u32::try_from(last.text.len()).ok()?;
        last.text.push_str(text);
        last.used += text.len();
        Some(Span { page, at, len })
    }

    /// Forgets all symbols of which `keep` is false, and returns pages that nothing uses.
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let (free, pages, spans, bytes) =
            (&mut self.free, &mut self.pages, &mut self.spans, &mut self.bytes);
        self.table.retain(|&mut id| {
            if keep(id) {
                return true;
            }
            let span = std::mem::take(&mut spans[id as usize]);
            let last = pages.len() - 1;
            let page = &mut pages[span.page as usize];
            page.used -= span.len as usize;
            if page.used == 0 && span.page as usize != last {
                *bytes -= page.text.capacity();
                page.text = String::new();
            }
            free.push(id);
            false
        });
    }

    /// Writes the texts of some ids for an image of the head, from `from` up to `to`, about `bytes`
    /// bytes of them. Returns the id to go on with.
    pub(super) fn put(&self, from: u32, to: u32, bytes: usize, out: &mut Vec<u8>) -> u32 {
        for id in from..to {
            if out.len() >= bytes {
                return id;
            }
            let text = self.text(id);
            // The empty text has an id only where nothing else uses that id.
            varint::put_uvarint(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        to
    }

    /// Takes texts that [`Symbols::put`] wrote, for the ids that follow.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let text = cursor.str("a symbol")?;
            let id = u32::try_from(self.spans.len()).ok().filter(|&id| id < u32::MAX);
            let id = id.ok_or(ImageError::new("too many symbols"))?;
            let hash = self.hasher.hash_one(text);
            let known = self.table.find(hash, |&id| self.text(id) == text).is_some();
            grow(&mut self.spans);
            if text.is_empty() || known {
                self.spans.push(Span::default());
                self.free.push(id);
                if known {
                    return Err(ImageError::new("a symbol is there twice"));
                }
                continue;
            }
            let span = self.store(text).ok_or(ImageError::new("too many symbols"))?;
            self.spans.push(span);
            let (pages, spans, hasher) = (&self.pages, &self.spans, &self.hasher);
            self.table.insert_unique(hash, id, |&id| {
                hasher.hash_one(Self::slice(pages, spans[id as usize]))
            });
        }
        Ok(())
    }

    /// All ids are below this.
    pub(super) fn bound(&self) -> u32 {
        self.spans.len() as u32
    }

    /// Number of strings.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.spans.capacity() * size_of::<Span>() + self.table.capacity() * 5
    }
}

/// Makes room in steps of an eighth: what grows slowly must not hold twice what it needs.
pub(super) fn grow<T>(vec: &mut Vec<T>) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact((vec.len() / 8).max(16));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interns_forgets_and_uses_ids_again() {
        let mut symbols = Symbols::default();
        let ids: Vec<_> =
            (0..1000).map(|i| symbols.intern(&format!("value-{i}")).unwrap()).collect();
        assert_eq!(symbols.intern("value-7"), Some(ids[7]));
        symbols.retain(|id| id % 2 == 0);
        assert_eq!(symbols.len(), 500);
        assert_eq!(symbols.get("value-7"), None);
        assert_eq!(symbols.text(ids[8]), "value-8");
        let again = symbols.intern("new").unwrap();
        assert!(again < 1000 && again % 2 == 1);
        let long = "x".repeat(PAGE * 2);
        let id = symbols.intern(&long).unwrap();
        assert_eq!(symbols.text(id), long);
        symbols.retain(|_| false);
        assert_eq!((symbols.len(), symbols.text(again)), (0, ""));
    }
}
