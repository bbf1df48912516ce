//! On which thread a page is taken in.
//!
//! Handing a page of a thousand known series to another thread and waiting for it costs as much as
//! half of taking it in: two wake-ups, and caches that have to be filled again. So a runtime that
//! does nothing but scraping may take such pages in itself, for as long as that is quick.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use firesteel_model::clock::Clock;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// A page that took longer was held up: by a disk, or by work that needs the processors more.
const HELD_UP: Duration = Duration::from_millis(20);
/// For so long after that, pages go to threads that may wait.
const WARY: Duration = Duration::from_secs(60);

/// Decides where pages are taken in.
#[derive(Debug)]
pub(crate) struct Intake {
    /// Bounds how many pages are taken in on threads of their own.
    threads: Arc<Semaphore>,
    /// Pages of no more bytes may be taken in where they were fetched.
    at_once: usize,
    /// Until when they may not; milliseconds of the clock's monotonic side.
    wary_until: AtomicU64,
}

impl Intake {
    pub(crate) fn new(threads: usize, at_once: usize) -> Self {
        let threads = Arc::new(Semaphore::new(threads.max(1)));
        Self { threads, at_once, wary_until: AtomicU64::new(0) }
    }

    /// Does the work for a page of so many bytes; `known` says that the target's last page was a
    /// good one, so that there is little new to be expected.
    pub(crate) async fn take_in<T: Send + 'static>(
        &self,
        (bytes, known): (usize, bool),
        clock: &dyn Clock,
        tasks: &TaskTracker,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let began = clock.monotonic();
        if known
            && bytes <= self.at_once
            && millis(began) >= self.wary_until.load(Ordering::Relaxed)
        {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            let ended = clock.monotonic();
            if ended.saturating_sub(began) > HELD_UP {
                self.wary_until.store(millis(ended + WARY), Ordering::Relaxed);
            }
            return done.map_err(|_| "the page's work panicked".to_owned());
        }
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let work = move || {
            let _permit = permit;
            work()
        };
        tasks.spawn_blocking(work).await.map_err(|e| e.to_string())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use firesteel_model::clock::ManualClock;

    use super::*;

    /// Whether a page is taken in on the thread where it was fetched, and `delay` passes meanwhile.
    async fn here(
        intake: &Intake,
        page: (usize, bool),
        clock: &Arc<ManualClock>,
        delay: u64,
    ) -> bool {
        let (here, passing) = (thread::current().id(), Arc::clone(clock));
        let work = move || {
            passing.advance(Duration::from_millis(delay));
            thread::current().id()
        };
        intake.take_in(page, &**clock, &TaskTracker::new(), work).await.unwrap() == here
    }

    #[tokio::test]
    async fn known_pages_are_taken_in_at_once_while_that_is_quick() {
        let clock = Arc::new(ManualClock::new(0));
        let intake = Intake::new(1, 1000);
        assert!(here(&intake, (1000, true), &clock, 5).await);
        assert!(!here(&intake, (1001, true), &clock, 500).await);
        assert!(!here(&intake, (10, false), &clock, 500).await);
        // A disk that holds one up is not waited for again, for a while.
        assert!(here(&intake, (10, true), &clock, 21).await);
        assert!(!here(&intake, (10, true), &clock, 500).await);
        clock.advance(Duration::from_secs(60));
        assert!(here(&intake, (10, true), &clock, 0).await);
    }

    #[tokio::test]
    async fn a_panic_costs_the_page_alone() {
        let clock = ManualClock::new(0);
        for at_once in [0, 1000] {
            let intake = Intake::new(1, at_once);
            let tasks = TaskTracker::new();
            let panics = || -> u8 { panic!("a page") };
            assert!(intake.take_in((10, true), &clock, &tasks, panics).await.is_err());
            assert_eq!(intake.take_in((10, true), &clock, &tasks, || 1).await, Ok(1));
        }
    }
}
