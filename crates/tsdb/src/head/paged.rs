//! An array that grows without moving and is read without a lock.

use std::sync::OnceLock;

const PAGE: usize = 512;
const MIDDLE: usize = 1024;
const TOP: usize = 1024;

/// An array of atomics (or other shared cells), indexed from 0, that can grow up to
/// [`Paged::CAPACITY`]. Pages are made on demand and stay until the end.
pub(super) struct Paged<T> {
    top: Box<[OnceLock<Middle<T>>]>,
}

type Middle<T> = Box<[OnceLock<Box<[T]>>]>;

fn empty<T>(n: usize) -> Box<[OnceLock<T>]> {
    (0..n).map(|_| OnceLock::new()).collect()
}

impl<T: Default> Paged<T> {
    pub(super) const CAPACITY: u64 = (PAGE * MIDDLE * TOP) as u64;

    pub(super) fn new() -> Self {
        Self { top: empty(TOP) }
    }

    /// The cell, if its page was made.
    #[inline]
    pub(super) fn get(&self, index: u64) -> Option<&T> {
        let index = usize::try_from(index).ok()?;
        let middle = self.top.get(index / (PAGE * MIDDLE))?.get()?;
        middle.get(index / PAGE % MIDDLE)?.get()?.get(index % PAGE)
    }

    /// The cell, made if needed; `None` beyond the capacity.
    pub(super) fn ensure(&self, index: u64) -> Option<&T> {
        let index = usize::try_from(index).ok()?;
        let middle = self.top.get(index / (PAGE * MIDDLE))?.get_or_init(|| empty(MIDDLE));
        let page = middle
            .get(index / PAGE % MIDDLE)?
            .get_or_init(|| (0..PAGE).map(|_| T::default()).collect());
        page.get(index % PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn grows_in_place() {
        let paged = Paged::<AtomicU32>::new();
        assert!(paged.get(0).is_none());
        for i in [0, 511, 512, 600_000, Paged::<AtomicU32>::CAPACITY - 1] {
            paged.ensure(i).unwrap().store(i as u32, Ordering::Relaxed);
        }
        assert_eq!(paged.get(600_000).unwrap().load(Ordering::Relaxed), 600_000);
        assert!(paged.ensure(Paged::<AtomicU32>::CAPACITY).is_none());
    }
}
