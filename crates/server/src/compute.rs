//! Threads on which queries compute.

use std::sync::atomic::{AtomicUsize, Ordering};

use firesteel_promql::Executor;

/// Lends threads to queries: one per processor, less the one that a query brings itself. A query
/// gets those that are idle when it asks, so it never waits for another query's work.
pub(crate) struct ComputePool {
    /// `None` where there is a single processor, or where threads cannot be had.
    pool: Option<rayon_core::ThreadPool>,
    threads: usize,
    idle: AtomicUsize,
}

impl ComputePool {
    /// With so many threads besides the callers'.
    pub(crate) fn new(threads: usize) -> Self {
        let builder = rayon_core::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|i| format!("compute-{i}"));
        let pool = (threads > 0).then(|| builder.build());
        let pool = pool.and_then(|built| match built {
            Ok(pool) => Some(pool),
            Err(error) => {
                tracing::warn!(%error, "queries run on one thread each");
                None
            }
        });
        let threads = if pool.is_some() { threads } else { 0 };
        Self { pool, threads, idle: AtomicUsize::new(threads) }
    }

    /// For all processors.
    pub(crate) fn for_this_machine() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get) - 1)
    }

    /// Takes idle threads, `wanted` at most.
    fn borrow(&self, wanted: usize) -> Borrowed<'_> {
        let mut taken = 0;
        let _ = self.idle.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |idle| {
            taken = idle.min(wanted);
            (taken > 0).then(|| idle - taken)
        });
        Borrowed { idle: &self.idle, taken }
    }
}

/// Threads that are given back when dropped.
struct Borrowed<'a> {
    idle: &'a AtomicUsize,
    taken: usize,
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.idle.fetch_add(self.taken, Ordering::AcqRel);
    }
}

impl Executor for ComputePool {
    fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let borrowed = self.borrow(count.saturating_sub(1));
        let (Some(pool), 1..) = (&self.pool, borrowed.taken) else {
            (0..count).for_each(task);
            return;
        };
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
        pool.in_place_scope(|scope| {
            (0..borrowed.taken).for_each(|_| scope.spawn(|_| work()));
            work();
        });
    }

    fn parallelism(&self) -> usize {
        self.threads + 1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_task_runs_once_whatever_is_idle() {
        for threads in 0..3 {
            let pool = ComputePool::new(threads);
            let _busy = pool.borrow(1);
            for count in [0, 1, 5, 100] {
                let done = Mutex::new(Vec::new());
                pool.run(count, &|i| done.lock().unwrap().push(i));
                let mut done = done.into_inner().unwrap();
                done.sort_unstable();
                assert_eq!(done, (0..count).collect::<Vec<_>>());
            }
            assert_eq!(pool.idle.load(Ordering::Relaxed), threads.saturating_sub(1));
        }
    }
}
