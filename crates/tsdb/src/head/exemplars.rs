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
        if self.ring.len() >= self.capacity
            && let Some(oldest) = self.ring.pop_front()
            && self.newest.get(&oldest.reference) == Some(&oldest.t)
        {
            self.newest.remove(&oldest.reference);
        }
        self.newest.insert(stored.reference, stored.t);
        self.ring.push_back(stored);
        self.appended += 1;
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
