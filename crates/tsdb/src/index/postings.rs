//! Algebra on postings: ascending lists of unique series numbers.

use std::cmp::Ordering;

/// From this ratio of lengths on the shorter list is looked up in the longer one.
const GALLOP: usize = 16;

/// Several postings lists, one after the other in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    ids: Vec<u32>,
    /// Where each list begins.
    starts: Vec<usize>,
}

impl Lists {
    /// Begins a list; what is appended to the vector belongs to it.
    pub(crate) fn begin(&mut self) -> &mut Vec<u32> {
        self.starts.push(self.ids.len());
        &mut self.ids
    }

    /// What is in any of them, each number once. O(n log lists).
    pub(crate) fn union(mut self) -> Vec<u32> {
        if self.starts.len() > 1 {
            // A merge sort that finds the runs and merges them.
            self.ids.sort();
            self.ids.dedup();
        }
        self.ids
    }
}

/// Keeps in `a` what is also in `b`. O(min(a + b, a log b)).
pub(crate) fn intersect(a: &mut Vec<u32>, b: &[u32]) {
    if a.len() / GALLOP > b.len() {
        let mut rest = &a[..];
        let mut kept = Vec::with_capacity(b.len());
        for &id in b {
            rest = skip_to(rest, id);
            if rest.first() == Some(&id) {
                kept.push(id);
            }
        }
        *a = kept;
        return;
    }
    let mut rest = b;
    if b.len() / GALLOP > a.len() {
        a.retain(|&id| {
            rest = skip_to(rest, id);
            rest.first() == Some(&id)
        });
        return;
    }
    a.retain(|&id| {
        while let [first, more @ ..] = rest
            && *first < id
        {
            rest = more;
        }
        rest.first() == Some(&id)
    });
}

/// Removes from `a` what is in `b`. O(min(a + b, a log b)).
pub(crate) fn subtract(a: &mut Vec<u32>, b: &[u32]) {
    let mut rest = b;
    let gallop = b.len() / GALLOP > a.len();
    a.retain(|&id| {
        if gallop {
            rest = skip_to(rest, id);
        } else {
            while let [first, more @ ..] = rest
                && *first < id
            {
                rest = more;
            }
        }
        rest.first() != Some(&id)
    });
}

/// The part of an ascending list from the first number on that is not below `id`; looks ahead in
/// doubling steps.
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

    use proptest::prelude::*;

    use super::*;

    fn set(max: usize) -> impl Strategy<Value = BTreeSet<u32>> {
        prop::collection::btree_set(0_u32..2_000, 0..max)
    }

    fn list(set: &BTreeSet<u32>) -> Vec<u32> {
        set.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn agrees_with_sets(
            a in prop_oneof![set(8), set(600)],
            b in prop_oneof![set(8), set(600)],
        ) {
            let mut both = list(&a);
            intersect(&mut both, &list(&b));
            prop_assert_eq!(both, a.intersection(&b).copied().collect::<Vec<_>>());
            let mut left = list(&a);
            subtract(&mut left, &list(&b));
            prop_assert_eq!(left, a.difference(&b).copied().collect::<Vec<_>>());
        }

        #[test]
        fn unions_agree_with_sets(sets in prop::collection::vec(set(50), 0..6)) {
            let mut lists = Lists::default();
            let mut all = BTreeSet::new();
            for set in &sets {
                lists.begin().extend(set);
                all.extend(set.iter().copied());
            }
            prop_assert_eq!(lists.union(), list(&all));
        }
    }
}
