//! Memory budgets: a tree of byte reservations.
//!
//! A reservation is taken before the memory is, counts against every budget up to the root, and is
//! returned when it is dropped. A refusal names the budget whose limit it would break.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A refused reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetError {
    /// Name of the budget whose limit was reached.
    pub budget: String,
    /// Bytes asked for.
    pub requested: u64,
    /// Bytes in use.
    pub used: u64,
    /// The limit in bytes.
    pub limit: u64,
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, requested, used, limit } = self;
        write!(
            f,
            "memory limit {budget:?} reached: {requested} bytes more were asked for, \
             {used} of {limit} are in use"
        )
    }
}

impl std::error::Error for BudgetError {}

struct Node {
    name: String,
    limit: AtomicU64,
    used: AtomicU64,
    peak: AtomicU64,
    /// Bytes that only children of up to `small` bytes get.
    headroom: AtomicU64,
    small: AtomicU64,
    parent: Option<Budget>,
}

/// A budget. Clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Node>);

impl Budget {
    /// A root budget; `u64::MAX` means without a limit.
    #[must_use]
    pub fn root(name: &str, limit: u64) -> Self {
        Self::node(name, limit, None)
    }

    /// A root budget without a limit, for tests and small programs.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::root("unlimited", u64::MAX)
    }

    /// A budget below this one: what it reserves counts here too.
    #[must_use]
    pub fn child(&self, name: &str, limit: u64) -> Self {
        Self::node(name, limit, Some(self.clone()))
    }

    fn node(name: &str, limit: u64, parent: Option<Self>) -> Self {
        Self(Arc::new(Node {
            name: name.to_owned(),
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            headroom: AtomicU64::new(0),
            small: AtomicU64::new(u64::MAX),
            parent,
        }))
    }

    /// Reserves `bytes`.
    ///
    /// # Errors
    /// The limit of this budget or of one above it would be broken; nothing is reserved then.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, BudgetError> {
        self.take(bytes)?;
        Ok(Reservation { budget: self.clone(), bytes })
    }

    /// Keeps the last `headroom` bytes of the limit for children that use up to `small` bytes each:
    /// however much the large ones take, the small ones go on.
    pub fn keep_for_small(&self, headroom: u64, small: u64) {
        self.0.headroom.store(headroom, Ordering::Relaxed);
        self.0.small.store(small, Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) -> Result<(), BudgetError> {
        self.take_for(bytes, 0)
    }

    /// Takes bytes for a child that uses `child` bytes then.
    fn take_for(&self, bytes: u64, child: u64) -> Result<(), BudgetError> {
        let node = &*self.0;
        let mut limit = node.limit.load(Ordering::Relaxed);
        if child > node.small.load(Ordering::Relaxed) {
            limit = limit.saturating_sub(node.headroom.load(Ordering::Relaxed));
        }
        let before = node.used.fetch_add(bytes, Ordering::Relaxed);
        let after = before.saturating_add(bytes);
        if after > limit {
            node.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(BudgetError {
                budget: node.name.clone(),
                requested: bytes,
                used: before,
                limit,
            });
        }
        if let Some(parent) = &node.parent {
            parent.take_for(bytes, after).inspect_err(|_| {
                node.used.fetch_sub(bytes, Ordering::Relaxed);
            })?;
        }
        node.peak.fetch_max(after, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, bytes: u64) {
        let mut node = Some(self);
        while let Some(budget) = node {
            budget.0.used.fetch_sub(bytes, Ordering::Relaxed);
            node = budget.0.parent.as_ref();
        }
    }

    /// Its name, as errors give it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The most bytes that were in use at a time.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit; what is in use stays in use.
    pub fn set_limit(&self, limit: u64) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({:?}, {} of {})", self.name(), self.used(), self.limit())
    }
}

/// Reserved bytes; dropping it returns them.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: u64,
}

impl Reservation {
    /// Reserves more.
    ///
    /// # Errors
    /// As [`Budget::reserve`]; the reservation stays as it was.
    pub fn grow(&mut self, bytes: u64) -> Result<(), BudgetError> {
        self.budget.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Returns some of it.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.budget.release(bytes);
        self.bytes -= bytes;
    }

    /// Takes over another reservation of the same budget; one of another budget is returned.
    pub fn merge(&mut self, mut other: Self) {
        if Arc::ptr_eq(&self.budget.0, &other.budget.0) {
            self.bytes += std::mem::take(&mut other.bytes);
        }
    }

    /// Bytes reserved.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_limit_and_takes_nothing() {
        let process = Budget::root("process", 100);
        let query = process.child("query", 80);
        let mut held = query.reserve(60).unwrap();
        assert_eq!(query.reserve(30).unwrap_err().budget, "query");
        let other = process.child("scrape", 80);
        assert_eq!(other.reserve(50).unwrap_err().budget, "process");
        assert_eq!((process.used(), query.used(), other.used()), (60, 60, 0));
        held.grow(20).unwrap();
        held.shrink(70);
        assert_eq!(process.used(), 10);
        drop(held);
        assert_eq!((process.used(), process.peak()), (0, 80));
    }
    #[test]
    fn large_children_leave_room_for_small_ones() {
        let queries = Budget::root("queries", 100);
        queries.keep_for_small(25, 10);
        let (large, other) = (queries.child("query", 80), queries.child("query", 80));
        let _held = large.reserve(70).unwrap();
        let refused = other.reserve(20).unwrap_err();
        assert_eq!((refused.budget.as_str(), refused.limit), ("queries", 75));
        let mut small = other.reserve(4).unwrap();
        small.merge(other.reserve(6).unwrap());
        assert!(large.reserve(1).is_err() && other.reserve(1).is_err());
        assert_eq!((queries.used(), small.bytes()), (80, 10));
    }
}
