//! What a target exposed last time, so that a page that looks the same costs little.
//!
//! Each series line and metadata line of the last page is an entry: its text, in one arena, and what
//! was found out about it (the storage's reference, or that relabelling drops it). Entries know which
//! entry followed them, so on the next page the text of every line is *predicted* and compared as
//! bytes: no hashing, no parsing of labels, no relabelling, as long as the order stays. Where a
//! prediction fails, the line is parsed and its text looked up in a hash table; where that fails too,
//! the line is new.
//!
//! Staleness is a generation number per entry: a pass over the entries after the page finds those
//! that were not seen, and the pass is only made if some are missing.
//!
//! Cost: 32 bytes, the line's text and about 6 bytes of hash table per entry.

use std::hash::BuildHasher as _;

use firesteel_model::{MetricType, storage::SeriesRef};
use hashbrown::{DefaultHashBuilder, HashTable};

/// The index of an entry.
pub(crate) type EntryId = u32;

const NONE: EntryId = EntryId::MAX;

/// Texts beyond this many bytes are not kept; such a line is read in full each time.
const MAX_TEXT: usize = u32::MAX as usize / 2;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An unused slot.
    Free,
    /// A series that is stored.
    Series,
    /// A series that relabelling drops.
    Dropped,
    /// A metadata line; for `# TYPE` what it says.
    Metadata(Option<MetricType>),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The storage's reference of a series.
    series: u64,
    start: u32,
    len: u32,
    /// The entry that followed on the last page.
    next: EntryId,
    /// The generation that saw it last.
    seen: u32,
    kind: Kind,
    /// The generation that stored a sample which a staleness marker must end some day; 0 for none.
    tracked: u32,
    /// Whether, when `tracked` was set, a marker was owed for the page before.
    was_owed: bool,
}

/// Where in a page a reader is: the entry that was read last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor(EntryId);

#[derive(Debug)]
pub(crate) struct Cache {
    text: Vec<u8>,
    entries: Vec<Entry>,
    free: Vec<EntryId>,
    table: HashTable<EntryId>,
    hasher: DefaultHashBuilder,
    /// The entry that came first on the last page.
    first: EntryId,
    generation: u32,
    /// Entries in use, and of these the ones that this generation has seen.
    live: usize,
    seen: usize,
    /// The last page, if it was a good one: the series that it tracked are owed a marker.
    owed: Option<u32>,
    /// Series that are owed one, those that this page tracks, and those that are both.
    owed_count: usize,
    tracked: usize,
    renewed: usize,
    /// Bytes of `text` that no entry uses.
    garbage: usize,
    /// Entries after the last good page; bounds growth while pages fail.
    good: usize,
}

/// What a lookup says about a series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) kind: Kind,
    pub(crate) series: SeriesRef,
    /// This page has had it before.
    pub(crate) repeated: bool,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            entries: Vec::new(),
            free: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            first: NONE,
            generation: 0,
            live: 0,
            seen: 0,
            owed: None,
            owed_count: 0,
            tracked: 0,
            renewed: 0,
            garbage: 0,
            good: 0,
        }
    }
}

impl Cache {
    /// Begins a page.
    pub(crate) fn begin(&mut self) -> Cursor {
        self.generation = self.generation.wrapping_add(1).max(1);
        (self.seen, self.tracked, self.renewed) = (0, 0, 0);
        Cursor(NONE)
    }

    /// The entry that is expected after the cursor, and its text.
    #[inline]
    pub(crate) fn predicted(&self, cursor: Cursor) -> Option<(EntryId, Kind, &[u8])> {
        let id = match self.entries.get(cursor.0 as usize) {
            Some(entry) => entry.next,
            None => self.first,
        };
        let entry = self.entries.get(id as usize)?;
        if entry.kind == Kind::Free {
            return None;
        }
        Some((id, entry.kind, self.text_of(entry)))
    }

    #[inline]
    fn text_of(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize;
        self.text.get(start..start + entry.len as usize).unwrap_or_default()
    }

    /// The text of an entry.
    pub(crate) fn text(&self, id: EntryId) -> &[u8] {
        self.entries.get(id as usize).map(|entry| self.text_of(entry)).unwrap_or_default()
    }

    /// Looks a line up by its text.
    pub(crate) fn find(&self, text: &[u8]) -> Option<EntryId> {
        let hash = self.hasher.hash_one(text);
        self.table.find(hash, |&id| self.text(id) == text).copied()
    }

    /// As [`Self::find`]; looks first at the entry that is expected after the cursor.
    #[inline]
    pub(crate) fn find_from(&self, cursor: Cursor, text: &[u8]) -> Option<EntryId> {
        match self.predicted(cursor) {
            Some((id, _, expected)) if expected == text => Some(id),
            _ => self.find(text),
        }
    }

    /// Notes that the page has entry `id` at the cursor, and moves the cursor behind it.
    #[inline]
    pub(crate) fn see(&mut self, cursor: &mut Cursor, id: EntryId) -> Known {
        self.link(*cursor, id);
        *cursor = Cursor(id);
        let Some(entry) = self.entries.get_mut(id as usize) else {
            return Known { kind: Kind::Free, series: SeriesRef(0), repeated: false };
        };
        let repeated = entry.seen == self.generation;
        entry.seen = self.generation;
        self.seen += usize::from(!repeated);
        Known { kind: entry.kind, series: SeriesRef(entry.series), repeated }
    }

    #[inline]
    fn link(&mut self, cursor: Cursor, id: EntryId) {
        match self.entries.get_mut(cursor.0 as usize) {
            // A line that occurs twice must not lead back to itself.
            Some(before) if before.next != id && cursor.0 != id => before.next = id,
            Some(_) => {}
            None => self.first = id,
        }
    }

    /// Adds a line that was not known, at the cursor. Not kept if there is no room.
    pub(crate) fn insert(
        &mut self,
        cursor: &mut Cursor,
        text: &[u8],
        kind: Kind,
        series: SeriesRef,
    ) -> Option<EntryId> {
        if self.text.len() + text.len() > MAX_TEXT || self.entries.len() >= NONE as usize {
            return None;
        }
        let entry = Entry {
            series: series.0,
            start: self.text.len() as u32,
            len: text.len() as u32,
            next: NONE,
            seen: self.generation,
            kind,
            tracked: 0,
            was_owed: false,
        };
        self.text.extend_from_slice(text);
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.entries.get_mut(id as usize) {
                    *slot = entry;
                }
                id
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as EntryId
            }
        };
        let hash = self.hasher.hash_one(text);
        let Self { table, hasher, text, entries, .. } = self;
        table.insert_unique(hash, id, |&id| hash_of(hasher, text, entries, id));
        self.live += 1;
        self.seen += 1;
        self.link(*cursor, id);
        *cursor = Cursor(id);
        Some(id)
    }

    /// Notes a new reference for a series.
    pub(crate) fn set_series(&mut self, id: EntryId, series: SeriesRef) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.series = series.0;
        }
    }

    /// Notes that the sample just stored has to be ended by a marker when its series goes. A series
    /// that is not tracked again is ended with this page.
    #[inline]
    pub(crate) fn track(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        if entry.tracked == self.generation {
            return;
        }
        entry.was_owed = Some(entry.tracked) == self.owed;
        entry.tracked = self.generation;
        self.tracked += 1;
        self.renewed += usize::from(entry.was_owed);
    }

    /// Whether the last page was a good one.
    pub(crate) const fn last_was_good(&self) -> bool {
        self.owed.is_some()
    }

    /// Ends a good page: the series that it did not have join `stale`, of which those that it had
    /// are taken out; the lines that it did not have leave the cache, texts of metadata lines go to
    /// `lost`.
    pub(crate) fn finish(&mut self, stale: &mut Vec<SeriesRef>, lost: &mut Vec<Vec<u8>>) {
        if self.seen != self.live || self.renewed != self.owed_count {
            self.sweep(stale, lost);
        }
        self.keep_alive(stale);
        (self.owed, self.owed_count) = (Some(self.generation), self.tracked);
        self.good = self.live;
        self.shrink();
    }

    fn sweep(&mut self, stale: &mut Vec<SeriesRef>, lost: &mut Vec<Vec<u8>>) {
        for index in 0..self.entries.len() {
            let Some(&entry) = self.entries.get(index) else { break };
            if entry.kind == Kind::Free {
                continue;
            }
            if Some(entry.tracked) == self.owed {
                stale.push(SeriesRef(entry.series));
            }
            if entry.seen != self.generation {
                if matches!(entry.kind, Kind::Metadata(_)) {
                    lost.push(self.text_of(&entry).to_vec());
                }
                self.remove(index as EntryId);
            }
        }
    }

    /// Takes out of `stale` what this page has: several lines may be one series after relabelling.
    fn keep_alive(&self, stale: &mut Vec<SeriesRef>) {
        if stale.is_empty() {
            return;
        }
        stale.sort_unstable();
        stale.dedup();
        let mut alive = vec![false; stale.len()];
        for entry in self.entries.iter().filter(|e| e.tracked == self.generation) {
            if let Ok(at) = stale.binary_search(&SeriesRef(entry.series)) {
                alive[at] = true;
            }
        }
        let mut alive = alive.into_iter();
        stale.retain(|_| !alive.next().unwrap_or(false));
    }

    /// Ends a page that failed or was empty: all series join `stale`, the lines stay.
    pub(crate) fn fail(&mut self, stale: &mut Vec<SeriesRef>) {
        for entry in &self.entries {
            let renewed = entry.tracked == self.generation && entry.was_owed;
            if renewed || Some(entry.tracked) == self.owed {
                stale.push(SeriesRef(entry.series));
            }
        }
        (self.owed, self.owed_count) = (None, 0);
        stale.sort_unstable();
        stale.dedup();
        // A target with ever new series on pages that fail must not fill the memory.
        if self.live > self.good * 2 + 1000 {
            self.sweep(&mut Vec::new(), &mut Vec::new());
            self.good = self.live;
        }
        self.shrink();
    }

    fn remove(&mut self, id: EntryId) {
        let hash = hash_of(&self.hasher, &self.text, &self.entries, id);
        if let Ok(slot) = self.table.find_entry(hash, |&other| other == id) {
            slot.remove();
        }
        if let Some(entry) = self.entries.get_mut(id as usize) {
            self.garbage += entry.len as usize;
            entry.kind = Kind::Free;
            entry.tracked = 0;
            entry.len = 0;
            self.free.push(id);
            self.live -= 1;
        }
    }

    /// Gives memory back once enough of it is unused.
    fn shrink(&mut self) {
        if self.garbage > 4096 + self.text.len() / 2 || self.free.len() > 64 + self.live {
            self.rebuild();
        }
        let slack = |len: usize| len + len / 8 + 64;
        if self.text.capacity() > slack(self.text.len()) {
            self.text.shrink_to_fit();
        }
        if self.entries.capacity() > slack(self.entries.len()) {
            self.entries.shrink_to_fit();
        }
    }

    /// Copies what is in use into new memory.
    fn rebuild(&mut self) {
        let mut ids = vec![NONE; self.entries.len()];
        let mut text = Vec::with_capacity(self.text.len() - self.garbage);
        let mut entries = Vec::with_capacity(self.live);
        for (entry, new) in self.entries.iter().zip(&mut ids) {
            if entry.kind == Kind::Free {
                continue;
            }
            *new = entries.len() as EntryId;
            let start = text.len() as u32;
            text.extend_from_slice(self.text_of(entry));
            entries.push(Entry { start, ..*entry });
        }
        let renamed = |id: EntryId| ids.get(id as usize).copied().unwrap_or(NONE);
        for entry in &mut entries {
            entry.next = renamed(entry.next);
        }
        self.first = renamed(self.first);
        let mut table = HashTable::with_capacity(entries.len());
        for id in 0..entries.len() as EntryId {
            let hash = hash_of(&self.hasher, &text, &entries, id);
            table.insert_unique(hash, id, |&id| hash_of(&self.hasher, &text, &entries, id));
        }
        (self.text, self.entries, self.table) = (text, entries, table);
        self.free = Vec::new();
        self.garbage = 0;
    }

    /// Lines that are kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Bytes of memory, estimated.
    pub(crate) fn memory(&self) -> usize {
        self.text.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.free.capacity() * size_of::<EntryId>()
            + self.table.allocation_size()
    }
}

fn hash_of(hasher: &DefaultHashBuilder, text: &[u8], entries: &[Entry], id: EntryId) -> u64 {
    let line = entries.get(id as usize).and_then(|e| {
        let start = e.start as usize;
        text.get(start..start + e.len as usize)
    });
    hasher.hash_one(line.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Reads a page of series names; returns the stale ones and how many lines were predicted.
    fn page(cache: &mut Cache, names: &[u64], good: bool) -> (Vec<u64>, usize) {
        let mut cursor = cache.begin();
        let mut predicted = 0;
        for &name in names {
            let text = format!("series_{name}");
            let id = match cache.predicted(cursor) {
                Some((id, _, raw)) if raw == text.as_bytes() => {
                    predicted += 1;
                    Some(id)
                }
                _ => cache.find(text.as_bytes()),
            };
            let id = match id {
                Some(id) => {
                    assert_eq!(cache.see(&mut cursor, id).series, SeriesRef(name));
                    id
                }
                None => cache
                    .insert(&mut cursor, text.as_bytes(), Kind::Series, SeriesRef(name))
                    .unwrap(),
            };
            cache.track(id);
        }
        let mut stale = Vec::new();
        if good {
            cache.finish(&mut stale, &mut Vec::new());
        } else {
            cache.fail(&mut stale);
        }
        let mut stale: Vec<u64> = stale.into_iter().map(|s| s.0).collect();
        stale.sort_unstable();
        (stale, predicted)
    }

    #[test]
    fn the_second_page_is_predicted_whole() {
        let mut cache = Cache::default();
        assert_eq!(page(&mut cache, &[1, 2, 3], true), (vec![], 0));
        assert_eq!(page(&mut cache, &[1, 2, 3], true), (vec![], 3));
        // A line in the middle goes, another comes: one line is not foreseen, the next are.
        assert_eq!(page(&mut cache, &[1, 4, 3], true), (vec![2], 1));
        assert_eq!(page(&mut cache, &[1, 4, 3], true), (vec![], 3));
    }

    #[test]
    fn a_failed_page_ends_all_series_once() {
        let mut cache = Cache::default();
        page(&mut cache, &[1, 2], true);
        assert_eq!(page(&mut cache, &[1], false).0, [1, 2]);
        assert_eq!(page(&mut cache, &[], false).0, [0; 0]);
        assert_eq!(page(&mut cache, &[1, 2], true), (vec![], 2));
        assert_eq!(page(&mut cache, &[2], true).0, [1]);
    }

    #[test]
    fn failing_pages_with_new_series_do_not_fill_the_memory() {
        let mut cache = Cache::default();
        for i in 0..100 {
            let names: Vec<u64> = (i * 100..i * 100 + 100).collect();
            page(&mut cache, &names, false);
            assert!(cache.len() <= 1200, "{}", cache.len());
        }
    }

    #[test]
    fn two_lines_of_one_series_are_stale_together() {
        let mut cache = Cache::default();
        let lines: [&[u8]; 2] = [b"a", b"b"];
        let read = |cache: &mut Cache, lines: &[&[u8]]| {
            let mut cursor = cache.begin();
            for line in lines {
                let id = match cache.find(line) {
                    Some(id) => {
                        cache.see(&mut cursor, id);
                        id
                    }
                    None => cache.insert(&mut cursor, line, Kind::Series, SeriesRef(7)).unwrap(),
                };
                cache.track(id);
            }
            let mut stale = Vec::new();
            cache.finish(&mut stale, &mut Vec::new());
            stale
        };
        assert!(read(&mut cache, &lines).is_empty());
        assert!(read(&mut cache, &lines[..1]).is_empty());
        assert_eq!(read(&mut cache, &[]), [SeriesRef(7)]);
    }

    #[test]
    fn memory_is_given_back() {
        let mut cache = Cache::default();
        let many: Vec<u64> = (0..10_000).collect();
        page(&mut cache, &many, true);
        let full = cache.memory();
        assert!(full / 10_000 < 80, "{}", full / 10_000);
        page(&mut cache, &many[..10], true);
        assert!(cache.memory() < full / 20, "{} of {full}", cache.memory());
        assert_eq!(page(&mut cache, &many[..10], true), (vec![], 10));
    }

    proptest! {
        #[test]
        fn staleness_agrees_with_sets(
            pages in prop::collection::vec((prop::collection::vec(0_u64..12, 0..12), any::<bool>()), 1..30),
        ) {
            let mut cache = Cache::default();
            let mut owed: BTreeSet<u64> = BTreeSet::new();
            for (names, good) in pages {
                let stale = page(&mut cache, &names, good).0;
                let now = if good { names.into_iter().collect() } else { BTreeSet::new() };
                let expected: Vec<u64> = owed.difference(&now).copied().collect();
                owed = now;
                prop_assert_eq!(stale, expected);
            }
        }
    }
}
