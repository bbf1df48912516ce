//! Lists of series numbers.

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

    /// The numbers, in any order.
    pub(super) fn ids(&self) -> &[u32] {
        match self {
            Self::Empty => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(many) => &many.ids,
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
            prop_assert_eq!(list.sorted().into_owned(), sorted(&set));
        }
    }
}
