//! Lists of series numbers, and what can be done with them.

use std::{borrow::Cow, sync::Arc};

/// Series numbers of one label pair. Copied on write while a reader holds it.
#[derive(Clone, Debug, Default)]
pub(super) enum List {
    /// None.
    #[default]
    Empty,
    /// The one series of a pair that nobody shares.
    One(u32),
    /// Several.
    Many(Arc<Many>),
}

/// A list whose beginning is sorted. Numbers mostly arrive in order; those that are used again
/// after a collection do not, and wait unsorted at the end until there are enough of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Many {
    ids: Vec<u32>,
    sorted: usize,
}

impl List {
    /// Adds a number that is not in the list.
    pub(super) fn insert(&mut self, id: u32) {
        match self {
            Self::Empty => *self = Self::One(id),
            Self::One(first) => {
                let ids = vec![(*first).min(id), (*first).max(id)];
                *self = Self::Many(Arc::new(Many { ids, sorted: 2 }));
            }
            Self::Many(many) => Arc::make_mut(many).insert(id),
        }
    }

    /// A list of numbers in order.
    pub(super) fn from_sorted(ids: Vec<u32>) -> Self {
        match *ids {
            [] => Self::Empty,
            [id] => Self::One(id),
            _ => Self::Many(Arc::new(Many { sorted: ids.len(), ids })),
        }
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(_) => 1,
            Self::Many(many) => many.ids.len(),
        }
    }

    /// The numbers in order.
    pub(super) fn sorted(&self) -> Cow<'_, [u32]> {
        match self {
            Self::Empty => Cow::Borrowed(&[]),
            Self::One(id) => Cow::Borrowed(std::slice::from_ref(id)),
            Self::Many(many) => many.sorted(),
        }
    }

    /// Removes the numbers for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        match self {
            Self::Empty => {}
            Self::One(id) => {
                if !keep(*id) {
                    *self = Self::Empty;
                }
            }
            Self::Many(many) => {
                if many.ids.iter().all(|&id| keep(id)) {
                    return;
                }
                let mut ids: Vec<_> = many.ids.iter().copied().filter(|&id| keep(id)).collect();
                ids.sort_unstable();
                *self = match *ids {
                    [] => Self::Empty,
                    [id] => Self::One(id),
                    _ => Self::Many(Arc::new(Many { sorted: ids.len(), ids })),
                };
            }
        }
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        if let Self::Many(many) = self { 56 + many.ids.capacity() * 4 } else { 0 }
    }
}

impl Many {
    fn insert(&mut self, id: u32) {
        super::symbols::grow(&mut self.ids);
        let in_order =
            self.sorted == self.ids.len() && self.ids.last().is_none_or(|&last| last < id);
        self.ids.push(id);
        if in_order {
            self.sorted += 1;
        } else if self.ids.len() - self.sorted > 64 + self.ids.len() / 16 {
            self.ids.sort_unstable();
            self.sorted = self.ids.len();
        }
    }

    fn sorted(&self) -> Cow<'_, [u32]> {
        if self.sorted == self.ids.len() {
            return Cow::Borrowed(&self.ids);
        }
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        Cow::Owned(ids)
    }
}

/// What is in both of two sorted lists.
pub(super) fn intersect(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut out = Vec::with_capacity(short.len());
    if long.len() / 16 > short.len() {
        let mut rest = long;
        for &id in short {
            rest = gallop(rest, id);
            if rest.first() == Some(&id) {
                out.push(id);
            }
        }
        return out;
    }
    let mut j = 0;
    for &id in short {
        while long.get(j).is_some_and(|&l| l < id) {
            j += 1;
        }
        if long.get(j) == Some(&id) {
            out.push(id);
        }
    }
    out
}

/// `list` from the first number on that is not below `id`.
fn gallop(list: &[u32], id: u32) -> &[u32] {
    let mut step = 1;
    while list.get(step).is_some_and(|&l| l < id) {
        step *= 2;
    }
    let low = step / 2;
    let high = (step + 1).min(list.len());
    let within = list.get(low..high).unwrap_or_default();
    list.get(low + within.partition_point(|&l| l < id)..).unwrap_or_default()
}

/// Removes the numbers of a sorted list from another.
pub(super) fn subtract(from: &mut Vec<u32>, what: &[u32]) {
    let mut rest = what;
    from.retain(|&id| {
        rest = gallop(rest, id);
        rest.first() != Some(&id)
    });
}

/// What is in any of the lists, sorted.
pub(super) fn union(lists: &[List]) -> Vec<u32> {
    if let [one] = lists {
        return one.sorted().into_owned();
    }
    let mut out = Vec::with_capacity(lists.iter().map(List::len).sum());
    for list in lists {
        match list {
            List::Empty => {}
            List::One(id) => out.push(*id),
            List::Many(many) => out.extend_from_slice(&many.ids),
        }
    }
    // The values of one label are disjoint, so there is nothing to deduplicate.
    out.sort_unstable();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sorted(set: &BTreeSet<u32>) -> Vec<u32> {
        set.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn algebra(
            a in prop::collection::btree_set(0_u32..2000, 0..600),
            b in prop::collection::btree_set(0_u32..2000, 0..30),
        ) {
            let (va, vb) = (sorted(&a), sorted(&b));
            let both: Vec<_> = a.intersection(&b).copied().collect();
            prop_assert_eq!(&intersect(&va, &vb), &both);
            prop_assert_eq!(&intersect(&vb, &va), &both);
            let mut rest = va.clone();
            subtract(&mut rest, &vb);
            prop_assert_eq!(rest, a.difference(&b).copied().collect::<Vec<_>>());
            let mut rest = vb;
            subtract(&mut rest, &va);
            prop_assert_eq!(rest, b.difference(&a).copied().collect::<Vec<_>>());
        }

        #[test]
        fn lists(ids in prop::collection::vec(0_u32..500, 0..400)) {
            let (mut list, mut set) = (List::Empty, BTreeSet::new());
            for id in ids {
                if set.insert(id) {
                    list.insert(id);
                }
                prop_assert_eq!(list.len(), set.len());
            }
            prop_assert_eq!(list.sorted().into_owned(), sorted(&set));
            list.retain(|id| id % 3 == 0);
            set.retain(|id| id % 3 == 0);
            prop_assert_eq!(union(&[list]), sorted(&set));
        }
    }
}
