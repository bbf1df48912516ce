//! Where the engine's work runs.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// Runs the parts of a query. The engine has no threads of its own; a caller that has a pool gives
/// it to the engine through this trait.
pub trait Executor: Send + Sync {
    /// Calls `task` with each of `0..count` once, on any threads, and returns when all calls have.
    fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync));

    /// How many tasks may run at the same time.
    fn parallelism(&self) -> usize;
}

/// Runs everything on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Executor for Inline {
    fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(task);
    }

    fn parallelism(&self) -> usize {
        1
    }
}

/// Runs on scoped threads that live as long as a call.
#[derive(Clone, Copy, Debug)]
pub struct ScopedThreads(
    /// How many threads, the calling one included.
    pub usize,
);

impl Executor for ScopedThreads {
    fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    return;
                }
                task(i);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.0.min(count) {
                scope.spawn(work);
            }
            work();
        });
    }

    fn parallelism(&self) -> usize {
        self.0.max(1)
    }
}

/// The results of `f` for `0..count`, in order.
pub(crate) fn map<T: Send>(
    executor: &dyn Executor,
    count: usize,
    f: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    if count == 1 || executor.parallelism() <= 1 {
        return (0..count).map(f).collect();
    }
    let slots: Vec<Mutex<Option<T>>> = (0..count).map(|_| Mutex::new(None)).collect();
    executor.run(count, &|i| {
        let result = f(i);
        *slots[i].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    });
    let taken = slots.into_iter().map(|s| s.into_inner().unwrap_or_else(PoisonError::into_inner));
    // An executor that breaks its promise and leaves tasks out is made up for here.
    taken.enumerate().map(|(i, slot)| slot.unwrap_or_else(|| f(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order() {
        for executor in [&Inline as &dyn Executor, &ScopedThreads(3)] {
            assert_eq!(map(executor, 20, |i| i * i), (0..20).map(|i| i * i).collect::<Vec<_>>());
        }
    }
}
