//! The newest exemplars, in a ring.

use std::collections::VecDeque;

use firesteel_model::{Exemplar, Labels, Timestamp};
use hashbrown::HashMap;

/// An exemplar and its series.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) reference: u64,
    pub(super) series: Labels,
    pub(super) t: Timestamp,
    pub(super) exemplar: Exemplar,
}

/// A bounded number of exemplars, the oldest of which give way.
#[derive(Debug, Default)]
pub(super) struct Exemplars {
    ring: VecDeque<Stored>,
    /// Newest of each series.
    newest: HashMap<u64, Timestamp>,
    capacity: usize,
    pub(super) appended: u64,
}

/// What becomes of an exemplar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new.
    Take,
    /// It is there already, or exemplars are not kept.
    Ignore,
    /// The series has a newer one.
    OutOfOrder,
}

impl Exemplars {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Whether an exemplar could be added.
    pub(super) fn check(&self, reference: u64, t: Timestamp) -> Verdict {
        if self.capacity == 0 {
            return Verdict::Ignore;
        }
        match self.newest.get(&reference) {
            Some(&newest) if t < newest => Verdict::OutOfOrder,
            // Prometheus takes a second exemplar of the same time for a repetition, too.
            Some(&newest) if t == newest => Verdict::Ignore,
            _ => Verdict::Take,
        }
    }

    pub(super) fn add(&mut self, stored: Stored) {
        if self.check(stored.reference, stored.t) != Verdict::Take {
            return;
        }
        while self.ring.len() >= self.capacity && self.drop_oldest() {}
        self.newest.insert(stored.reference, stored.t);
        self.ring.push_back(stored);
        self.appended += 1;
    }

    /// Forgets the oldest. False where there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.ring.pop_front() else { return false };
        if self.newest.get(&oldest.reference) == Some(&oldest.t) {
            self.newest.remove(&oldest.reference);
        }
        true
    }

    /// Sets how many there can be.
    pub(super) fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        while self.ring.len() > capacity && self.drop_oldest() {}
        self.ring.shrink_to_fit();
        self.newest.shrink_to_fit();
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.ring.iter()
    }

    /// Number of exemplars, of series that have some, and how many there can be.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.ring.len(), self.newest.len(), self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(reference: u64, t: Timestamp) -> Stored {
        let exemplar = Exemplar { labels: Labels::default(), value: 1.0, timestamp: Some(t) };
        Stored { reference, series: Labels::default(), t, exemplar }
    }

    #[test]
    fn the_oldest_give_way() {
        let mut all = Exemplars::new(3);
        for t in 1..=5 {
            all.add(stored(t as u64 % 2, t));
        }
        assert_eq!(all.iter().map(|e| e.t).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(all.check(1, 4), Verdict::OutOfOrder);
        all.resize(1);
        assert_eq!(all.sizes(), (1, 1, 1));
        // What was forgotten of a series does not stand in the way of another start.
        assert_eq!(all.check(0, 1), Verdict::Take);
        all.resize(0);
        assert_eq!((all.sizes(), all.check(1, 9)), ((0, 0, 0), Verdict::Ignore));
    }
}
