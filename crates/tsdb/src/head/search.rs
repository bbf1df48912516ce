//! Finding series and values of labels in the head.

use std::ops::Range;

use firesteel_model::{
    Matcher,
    storage::{QueryContext, StorageError},
};

use super::{index::Index, postings::List};
use crate::{
    index::{
        Memory, PostingsReader, PostingsSource, plan,
        postings::{Bits, ReadLists, span, worth_marking},
    },
    sync::RwLock,
};

/// Series and values between two looks at the query's deadline.
const CHECK_EVERY: usize = 4096;
/// Looking at a list costs as much as looking at the label of this many series, which lie side by
/// side.
const SERIES_PER_LIST: usize = 16;

/// Reads lists that were taken under the index' lock and are not changed any more.
struct Lists<'a> {
    index: &'a RwLock<Index>,
    bound: u32,
    scratch: Vec<u32>,
}

impl ReadLists for Lists<'_> {
    type List = List;

    fn bounds(&self) -> Range<u32> {
        0..self.bound
    }

    fn read<'a>(
        &'a mut self,
        list: &'a List,
        memory: &mut Memory<'_>,
    ) -> Result<&'a [u32], StorageError> {
        Ok(match list.sorted() {
            std::borrow::Cow::Borrowed(ids) => ids,
            std::borrow::Cow::Owned(ids) => {
                memory.take((ids.len().saturating_sub(self.scratch.len())) as u64 * 4)?;
                self.scratch = ids;
                &self.scratch
            }
        })
    }
}

impl PostingsReader for Lists<'_> {
    fn filter(
        &mut self,
        ids: &mut Vec<u32>,
        matcher: &Matcher,
        memory: &mut Memory<'_>,
    ) -> Result<(), StorageError> {
        let index = self.index.read();
        let name = index.symbols.get(matcher.name());
        let without = matcher.matches_empty();
        let holds = |id: u32| {
            let value = index.pairs(id).find(|&(n, _)| Some(n) == name);
            value.map_or(without, |(_, v)| matcher.matches(index.symbols.text(v)))
        };
        let (mut i, mut stopped) = (0, Ok(()));
        ids.retain(|&id| {
            i += 1;
            if stopped.is_ok() {
                stopped = memory.check_every(i, CHECK_EVERY);
            }
            stopped.is_ok() && holds(id)
        });
        stopped
    }
}

/// The series that satisfy all matchers, ascending. Values are tried under the lock; lists are
/// combined outside of it.
pub(super) fn select(
    index: &RwLock<Index>,
    matchers: &[Matcher],
    ctx: &QueryContext,
    memory: &mut Memory<'_>,
) -> Result<Vec<u32>, StorageError> {
    let locked = index.read();
    let plan = plan(&*locked, matchers, ctx)?;
    // A list holds no series that came later.
    let bound = locked.bound();
    drop(locked);
    let Some(plan) = plan else { return Ok(Vec::new()) };
    plan.run(&mut Lists { index, bound, scratch: Vec::new() }, memory)
}

/// The values of a label that satisfy `own` and that some of `ids` have, if these are given; each
/// once, in no order.
pub(super) fn values<'a>(
    index: &'a Index,
    name: &str,
    own: &[Matcher],
    ids: Option<&[u32]>,
    memory: &mut Memory<'_>,
) -> Result<Vec<&'a str>, StorageError> {
    let marks = match ids {
        None => None,
        Some(ids)
            if ids.len() < index.num_values(name).saturating_mul(SERIES_PER_LIST)
                || !worth_marking(&span(ids), ids.len()) =>
        {
            return Ok(index.values_of(name, ids));
        }
        Some(ids) => Some(Bits::of(ids, memory)?),
    };
    let mut out = Vec::new();
    for (i, (value, list)) in index.values(name).enumerate() {
        memory.check_every(i, CHECK_EVERY)?;
        let has = |marks: &Bits| list.ids().iter().any(|&id| marks.contains(id));
        if own.iter().all(|m| m.matches(value)) && marks.as_ref().is_none_or(has) {
            memory.take(size_of::<&str>() as u64)?;
            out.push(value);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{any_labels, any_matchers, satisfies};

    proptest! {
        #[test]
        fn agrees_with_matching_each_series(
            all in prop::collection::btree_set(any_labels(), 1..60),
            matchers in any_matchers(), gone in 0_usize..20,
        ) {
            let mut index = Index::default();
            let mut series = Vec::new();
            for (i, labels) in all.into_iter().enumerate() {
                let hash = index.hash(&labels);
                series.push((index.create(hash, i as u64 + 1, &labels).unwrap(), labels));
            }
            let removed: Vec<u32> = series.drain(..gone.min(series.len())).map(|s| s.0).collect();
            index.unlink(&removed);
            index.release(&removed);
            // Numbers that are used again come out of order.
            for (i, labels) in ["x", "y", "zz"].into_iter().enumerate() {
                let labels = firesteel_model::Labels::from_pairs([("c", labels), ("d", "new")]);
                let hash = index.hash(&labels);
                series.push((index.create(hash, 1000 + i as u64, &labels).unwrap(), labels));
            }
            series.retain(|(_, labels)| satisfies(labels, &matchers));
            series.sort_unstable_by_key(|s| s.0);
            let ctx = QueryContext::background();
            let mut memory = Memory::new(&ctx).unwrap();
            let index = RwLock::new(index);
            let found = select(&index, &matchers, &ctx, &mut memory).unwrap();
            prop_assert_eq!(&found, &series.iter().map(|s| s.0).collect::<Vec<_>>());
            let index = index.read();
            let names: BTreeSet<_> =
                series.iter().flat_map(|s| s.1.iter()).map(|l| l.0).collect();
            prop_assert_eq!(index.names_of(&found).into_iter().collect::<BTreeSet<_>>(), names);
            for name in ["a", "c", "nope"] {
                let own: Vec<_> = matchers.iter().filter(|m| m.name() == name).cloned().collect();
                let values = values(&index, name, &own, Some(&found), &mut memory).unwrap();
                let expected: BTreeSet<_> = series.iter().filter_map(|s| s.1.get(name)).collect();
                prop_assert_eq!(values.into_iter().collect::<BTreeSet<_>>(), expected);
            }
        }
    }
}
