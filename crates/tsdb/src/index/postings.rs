//! Algebra on postings: ascending lists of unique series numbers.
//!
//! Lists are read one after the other from where they are (a block's file, the head), so that only
//! the result and, where lists are many, a bitmap are in memory. Memory is reserved before it is
//! taken.

use std::{cmp::Ordering, ops::Range};

use firesteel_model::storage::StorageError;

use super::Memory;

/// From this ratio of lengths on the shorter list is looked up in the longer one.
const GALLOP: usize = 16;
/// Lists are read between two looks at the query's deadline.
const CHECK_LISTS: usize = 512;

/// Reads postings lists.
pub(crate) trait ReadLists {
    /// How a list is named.
    type List;

    /// All series numbers are in this range.
    fn bounds(&self) -> Range<u32>;

    /// The numbers of a list, ascending.
    fn read<'a>(
        &'a mut self,
        list: &'a Self::List,
        memory: &mut Memory<'_>,
    ) -> Result<&'a [u32], StorageError>;
}

/// Marks for the series of a range.
#[derive(Debug)]
pub(crate) struct Bits {
    base: u32,
    words: Vec<u64>,
}

impl Bits {
    /// Bytes that marks for a range take.
    const fn bytes(range: &Range<u32>) -> u64 {
        Self::words(range) as u64 * 8
    }

    const fn words(range: &Range<u32>) -> usize {
        (range.end.saturating_sub(range.start) as usize).div_ceil(64)
    }

    fn new(range: &Range<u32>, memory: &mut Memory<'_>) -> Result<Self, StorageError> {
        memory.take(Self::bytes(range))?;
        Ok(Self { base: range.start, words: vec![0; Self::words(range)] })
    }

    /// Marks for the series of an ascending list.
    pub(crate) fn of(ids: &[u32], memory: &mut Memory<'_>) -> Result<Self, StorageError> {
        let mut bits = Self::new(&span(ids), memory)?;
        bits.mark(ids);
        Ok(bits)
    }

    /// Numbers outside of the range are left out.
    fn mark(&mut self, ids: &[u32]) {
        for &id in ids {
            let at = id.wrapping_sub(self.base);
            if let Some(word) = self.words.get_mut((at / 64) as usize) {
                *word |= 1 << (at % 64);
            }
        }
    }

    /// Whether a series is marked.
    #[inline]
    pub(crate) fn contains(&self, id: u32) -> bool {
        let at = id.wrapping_sub(self.base);
        self.words.get((at / 64) as usize).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn list(&self, memory: &mut Memory<'_>) -> Result<Vec<u32>, StorageError> {
        let count: usize = self.words.iter().map(|w| w.count_ones() as usize).sum();
        memory.take(count as u64 * 4)?;
        let mut out = Vec::with_capacity(count);
        for (i, &word) in self.words.iter().enumerate() {
            let mut word = word;
            while word != 0 {
                out.push(self.base + i as u32 * 64 + word.trailing_zeros());
                word &= word - 1;
            }
        }
        Ok(out)
    }

    fn free(self, memory: &mut Memory<'_>) {
        memory.give(self.words.len() as u64 * 8);
    }
}

/// The range that an ascending list is in.
pub(crate) fn span(ids: &[u32]) -> Range<u32> {
    match (ids.first(), ids.last()) {
        (Some(&first), Some(&last)) => first..last.saturating_add(1),
        _ => 0..0,
    }
}

/// Whether marks for a range are worth it for that many numbers: they take no more memory than a
/// few times the numbers.
pub(crate) fn worth_marking(range: &Range<u32>, numbers: usize) -> bool {
    Bits::words(range) <= 4096.max(numbers.saturating_mul(4))
}

/// What is in any of the lists, each number once. O(numbers) where they are dense.
pub(crate) fn union<R: ReadLists>(
    lists: &[R::List],
    reader: &mut R,
    memory: &mut Memory<'_>,
) -> Result<Vec<u32>, StorageError> {
    let bounds = reader.bounds();
    let mut out: Vec<u32> = Vec::new();
    let mut rest = lists.iter().enumerate();
    let mut marks = None;
    for (i, list) in rest.by_ref() {
        memory.check_every(i, CHECK_LISTS)?;
        let ids = reader.read(list, memory)?;
        memory.take(ids.len() as u64 * 4)?;
        out.extend_from_slice(ids);
        if i > 0 && worth_marking(&bounds, out.len()) && out.len() > 512 {
            marks = Some(Bits::new(&bounds, memory)?);
            break;
        }
    }
    let Some(mut marks) = marks else {
        if lists.len() > 1 {
            // A merge sort that finds the runs and merges them.
            out.sort();
            out.dedup();
        }
        return Ok(out);
    };
    marks.mark(&out);
    memory.give(out.len() as u64 * 4);
    drop(out);
    for (i, list) in rest {
        memory.check_every(i, CHECK_LISTS)?;
        marks.mark(reader.read(list, memory)?);
    }
    let out = marks.list(memory)?;
    marks.free(memory);
    Ok(out)
}

/// Keeps in `ids` what is (`inside`) in any of the lists, or what is in none of them.
pub(crate) fn keep<R: ReadLists>(
    ids: &mut Vec<u32>,
    inside: bool,
    lists: &[R::List],
    reader: &mut R,
    memory: &mut Memory<'_>,
) -> Result<(), StorageError> {
    if ids.is_empty() {
        return Ok(());
    }
    if let [one] = lists {
        let list = reader.read(one, memory)?;
        if inside {
            intersect(ids, list)
        } else {
            subtract(ids, list)
        }
        return Ok(());
    }
    let range = span(ids);
    if worth_marking(&range, ids.len()) {
        let mut marks = Bits::new(&range, memory)?;
        for (i, list) in lists.iter().enumerate() {
            memory.check_every(i, CHECK_LISTS)?;
            let list = reader.read(list, memory)?;
            if list.len() / GALLOP > ids.len() {
                each_common(ids, list, |id| marks.mark(&[id]));
            } else {
                marks.mark(list);
            }
        }
        ids.retain(|&id| marks.contains(id) == inside);
        marks.free(memory);
        return Ok(());
    }
    // Few numbers far apart.
    let mut hits = Vec::new();
    for (i, list) in lists.iter().enumerate() {
        memory.check_every(i, CHECK_LISTS)?;
        let list = reader.read(list, memory)?;
        each_common(ids, list, |id| hits.push(id));
    }
    hits.sort_unstable();
    hits.dedup();
    if inside {
        *ids = hits
    } else {
        subtract(ids, &hits)
    }
    Ok(())
}

/// Calls `f` with what is in both lists. O(a + b), or O(short x log long) where one is far shorter.
fn each_common(a: &[u32], b: &[u32], mut f: impl FnMut(u32)) {
    let (short, mut rest) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let gallop = rest.len() / GALLOP > short.len();
    for &id in short {
        rest = advance(rest, id, gallop);
        if rest.first() == Some(&id) {
            f(id);
        }
    }
}

/// What two ascending lists have in common.
#[cfg(test)]
fn common(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut out = Vec::new();
    each_common(a, b, |id| out.push(id));
    out
}

/// Keeps in `a` what is also in `b`. O(a + b), or O(short x log long) where one is far shorter.
fn intersect(a: &mut Vec<u32>, b: &[u32]) {
    if a.len() / GALLOP > b.len() {
        let mut kept = Vec::with_capacity(b.len());
        each_common(a, b, |id| kept.push(id));
        *a = kept;
        return;
    }
    let mut rest = b;
    let gallop = b.len() / GALLOP > a.len();
    a.retain(|&id| {
        rest = advance(rest, id, gallop);
        rest.first() == Some(&id)
    });
}

/// Removes from `a` what is in `b`. O(a + b), or O(a log b) where `a` is far shorter.
fn subtract(a: &mut Vec<u32>, b: &[u32]) {
    let mut rest = b;
    let gallop = b.len() / GALLOP > a.len();
    a.retain(|&id| {
        rest = advance(rest, id, gallop);
        rest.first() != Some(&id)
    });
}

/// The part of an ascending list from the first number on that is not below `id`.
#[inline]
fn advance(list: &[u32], id: u32, gallop: bool) -> &[u32] {
    if gallop {
        return skip_to(list, id);
    }
    let mut rest = list;
    while let [first, more @ ..] = rest
        && *first < id
    {
        rest = more;
    }
    rest
}

/// As [`advance`], looking ahead in doubling steps.
fn skip_to(list: &[u32], id: u32) -> &[u32] {
    let mut step = 1;
    while list.get(step - 1).is_some_and(|x| *x < id) {
        step *= 2;
    }
    let (from, to) = (step / 2, step.min(list.len()));
    let window = list.get(from..to).unwrap_or_default();
    let at = from + window.partition_point(|x| x.cmp(&id) == Ordering::Less);
    list.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use firesteel_model::storage::QueryContext;
    use proptest::prelude::*;

    use super::*;

    struct Plain(u32);

    impl ReadLists for Plain {
        type List = Vec<u32>;

        fn bounds(&self) -> Range<u32> {
            0..self.0
        }

        fn read<'a>(
            &'a mut self,
            list: &'a Vec<u32>,
            _: &mut Memory<'_>,
        ) -> Result<&'a [u32], StorageError> {
            Ok(list)
        }
    }

    fn set(max: usize, bound: u32) -> impl Strategy<Value = BTreeSet<u32>> {
        prop::collection::btree_set(0..bound, 0..max)
    }

    fn list(set: &BTreeSet<u32>) -> Vec<u32> {
        set.iter().copied().collect()
    }

    /// Dense ones and ones far apart.
    fn some_set() -> impl Strategy<Value = BTreeSet<u32>> {
        prop_oneof![set(8, 2_000), set(600, 2_000), set(40, u32::MAX)]
    }

    proptest! {
        #[test]
        fn agrees_with_sets(a in some_set(), b in some_set()) {
            let (va, vb) = (list(&a), list(&b));
            let expected: Vec<_> = a.intersection(&b).copied().collect();
            prop_assert_eq!(&common(&va, &vb), &expected);
            let mut both = va.clone();
            intersect(&mut both, &vb);
            prop_assert_eq!(both, expected);
            let mut left = va;
            subtract(&mut left, &vb);
            prop_assert_eq!(left, a.difference(&b).copied().collect::<Vec<_>>());
        }

        #[test]
        fn many_lists_agree_with_sets(
            ids in some_set(), sets in prop::collection::vec(some_set(), 0..6), dense: bool,
        ) {
            let ctx = QueryContext::background();
            let mut memory = Memory::new(&ctx).unwrap();
            let lists: Vec<_> = sets.iter().map(list).collect();
            let all: BTreeSet<u32> = sets.iter().flatten().copied().collect();
            let mut reader = Plain(if dense { 2_000 } else { u32::MAX });
            // The bounds hold for whatever is read.
            if !dense || all.last().is_none_or(|&last| last < 2_000) {
                prop_assert_eq!(union(&lists, &mut reader, &mut memory).unwrap(), list(&all));
            }
            let mut inside = list(&ids);
            keep(&mut inside, true, &lists, &mut reader, &mut memory).unwrap();
            prop_assert_eq!(inside, ids.intersection(&all).copied().collect::<Vec<_>>());
            let mut outside = list(&ids);
            keep(&mut outside, false, &lists, &mut reader, &mut memory).unwrap();
            prop_assert_eq!(outside, ids.difference(&all).copied().collect::<Vec<_>>());
        }
    }
}
