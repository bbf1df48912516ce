//! The life of a target: scrape, wait, scrape, and at its end markers.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use firesteel_model::{Timestamp, budget::Budget, clock::Clock, storage::Appendable};
use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Fetch, FetchRequest, Fetched, Health, IngestSettings, Ingested, Ingester, LastScrape, Page,
    Scrape, ScrapeError, Target,
    failure_log::{FailureLog, FailureLogSlot},
    intake::Intake,
    job::Features,
    metrics::ScrapeMetrics,
};

/// What all loops of a manager share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) appendable: Storage,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where pages are taken in.
    pub(crate) intake: Intake,
    pub(crate) metrics: ScrapeMetrics,
    pub(crate) offset_seed: AtomicU64,
    /// Everything stops at once.
    pub(crate) shutdown: CancellationToken,
    /// All tasks, so that a shutdown can wait for them.
    pub(crate) tasks: TaskTracker,
    /// Where they run.
    pub(crate) runtime: Handle,
    pub(crate) features: Features,
    /// Where pages in flight are reserved.
    pub(crate) budget: Budget,
    pub(crate) timestamp_tolerance: Duration,
}

/// What is reserved for a page whose size is not known yet.
const LEAST_PAGE: usize = 64 * 1024;

/// The storage, with a name for debugging.
#[derive(Clone)]
pub(crate) struct Storage(pub(crate) Arc<dyn Appendable>);

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Storage")
    }
}

/// A target's ingester. A loop that takes over from another shares it, so that what is known about
/// the target's series survives, and two scrapes are never taken in at once.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Ingester>>;

/// The handle by which a pool steers a loop.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// Ends the loop after the scrape that is under way.
    pub(crate) stop: CancellationToken,
    /// Whether the series get no markers at the end, because another loop goes on with them.
    pub(crate) handed_over: AtomicBool,
    /// Why every scrape fails at the moment: targets and the limit that they exceed.
    pub(crate) over_limit: Mutex<Option<(usize, u64)>>,
    /// Bytes that the ingester keeps.
    pub(crate) cache_bytes: AtomicU64,
}

/// The loop of a target.
#[derive(Debug)]
pub(crate) struct ScrapeLoop {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Arc<str>,
    pub(crate) target: Arc<Target>,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) request: FetchRequest,
    pub(crate) slot: Slot,
    pub(crate) settings: Arc<IngestSettings>,
    pub(crate) control: Arc<Control>,
    pub(crate) failure_log: FailureLogSlot,
}

impl ScrapeLoop {
    /// Runs until the target is removed or everything shuts down.
    pub(crate) async fn run(self) {
        let shutdown = self.shared.shutdown.clone();
        shutdown.run_until_cancelled(self.run_until_stopped()).await;
    }

    async fn run_until_stopped(self) {
        // Waits for a scrape of the loop that this one takes over from.
        self.slot.lock().await.set_settings(Arc::clone(&self.settings));
        let every = self.target.interval();
        let clock = &self.shared.clock;
        let seed = self.shared.offset_seed.load(Ordering::Relaxed);
        let offset = self.target.offset(every, seed, clock.now());
        let stop = &self.control.stop;
        if stop.run_until_cancelled(sleep(offset)).await.is_none() {
            return;
        }
        let mut ticker = interval(every);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticker.tick().await;
        let mut schedule = Schedule::new(clock.now(), every, self.shared.timestamp_tolerance);
        let mut last = None;
        let mut size_hint = 0;
        while !stop.is_cancelled() {
            let time = schedule.align(clock.now());
            self.scrape(time, &mut last, &mut size_hint).await;
            stop.run_until_cancelled(ticker.tick()).await;
        }
        // The target may come back, so its markers wait for two intervals and a bit: by then a new
        // loop has stored newer samples, and the markers are out of order.
        if last.is_none() || self.control.handed_over.load(Ordering::Acquire) {
            return;
        }
        ticker.tick().await;
        let stale_time = clock.now();
        ticker.tick().await;
        sleep(every / 10).await;
        self.end(stale_time).await;
    }

    async fn scrape(&self, time: Timestamp, last: &mut Option<Duration>, size_hint: &mut usize) {
        let shared = &self.shared;
        let started = shared.clock.monotonic();
        if let Some(last) = last.replace(started) {
            let lengths = shared.metrics.intervals(self.target.interval());
            lengths.observe(started.saturating_sub(last));
        }
        // Reserved before the page comes; grown to what has come.
        let mut reserved = shared.budget.reserve((*size_hint).max(LEAST_PAGE) as u64);
        let mut fetched = match &reserved {
            Ok(_) => self.fetch(*size_hint).await,
            Err(e) => Err(ScrapeError::Fetch(e.to_string())),
        };
        if let (Ok(page), Ok(held)) = (&fetched, &mut reserved)
            && let Err(e) = held.grow((page.body.len() as u64).saturating_sub(held.bytes()))
        {
            fetched = Err(ScrapeError::Fetch(e.to_string()));
        }
        if let Ok(fetched) = &fetched
            && !fetched.body.is_empty()
        {
            *size_hint = fetched.body.len();
        }
        let outcome = self.ingest(time, started, fetched).await;
        self.report(time, outcome);
    }

    async fn fetch(&self, size_hint: usize) -> Result<Fetched, ScrapeError> {
        let over = *self.control.over_limit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((targets, limit)) = over {
            return Err(ScrapeError::TargetLimit { targets, limit });
        }
        let fetch = self.fetch.fetch(&self.request, size_hint);
        match tokio::time::timeout(self.target.timeout(), fetch).await {
            Ok(result) => result,
            Err(_) => Err(ScrapeError::Timeout { url: self.request.url.clone() }),
        }
    }

    /// Takes the page in.
    async fn ingest(
        &self,
        time: Timestamp,
        started: Duration,
        fetched: Result<Fetched, ScrapeError>,
    ) -> Result<Ingested, String> {
        let mut ingester = Arc::clone(&self.slot).lock_owned().await;
        let shared = Arc::clone(&self.shared);
        let control = Arc::clone(&self.control);
        let failed = fetched.is_err().then(|| self.failure_log());
        let log = failed.flatten().map(|log| (log, self.pool.clone(), Arc::clone(&self.target)));
        let known = fetched.is_ok() && ingester.last_was_good();
        let bytes = fetched.as_ref().map_or(0, |page| page.body.len());
        let work = move || {
            // Borrowed from here on, so that the body lives until the page is taken in.
            let (body, error) = match fetched {
                Ok(fetched) => (fetched, None),
                Err(e) => (Fetched::default(), Some(e)),
            };
            let page = match error {
                None => Ok(Page { body: &body.body, content_type: &body.content_type }),
                Some(e) => Err(e),
            };
            if let (Some((log, job, target)), Err(e)) = (&log, &page)
                && let Err(error) = log.write(shared.clock.now(), job, target.url(), e)
            {
                tracing::warn!(scrape_pool = &**job, %error, "Failed scrape was not logged");
            }
            let scrape = Scrape { time, started, page };
            let outcome = ingester.ingest(&*shared.appendable.0, &*shared.clock, scrape);
            control.cache_bytes.store(ingester.memory() as u64, Ordering::Relaxed);
            outcome
        };
        let Shared { intake, clock, tasks, .. } = &*self.shared;
        intake.take_in((bytes, known), &**clock, tasks, work).await
    }

    fn failure_log(&self) -> Option<Arc<FailureLog>> {
        self.failure_log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn report(&self, time: Timestamp, outcome: Result<Ingested, String>) {
        let (pool, url) = (&*self.pool, self.target.url());
        let outcome = outcome.unwrap_or_else(|e| {
            tracing::error!(scrape_pool = pool, target_url = url, error = e, "Scrape panicked");
            Ingested {
                error: Some(ScrapeError::Fetch(format!("internal error: {e}"))),
                ..Ingested::default()
            }
        });
        self.shared.metrics.count(&outcome);
        for (n, what) in [
            (outcome.out_of_order, "Error on ingesting out-of-order samples"),
            (
                outcome.duplicates,
                "Error on ingesting samples with different value but same timestamp",
            ),
            (
                outcome.out_of_bounds,
                "Error on ingesting samples that are too old or are too far into the future",
            ),
            (outcome.exemplars_out_of_order, "Error on ingesting out-of-order exemplars"),
        ] {
            if n > 0 {
                tracing::warn!(scrape_pool = pool, target_url = url, num_dropped = n, "{what}");
            }
        }
        if let Some(e) = &outcome.storage_error {
            tracing::error!(scrape_pool = pool, target_url = url, error = %e, "Scrape commit failed");
        }
        let health = if outcome.error.is_none() { Health::Up } else { Health::Down };
        let error = outcome.error.map(|e| e.to_string()).unwrap_or_default();
        if health == Health::Down {
            tracing::debug!(scrape_pool = pool, target_url = url, error, "Scrape failed");
        }
        self.target.report(LastScrape {
            health,
            error,
            time: Some(time),
            duration: outcome.duration,
        });
    }

    async fn end(&self, time: Timestamp) {
        let mut ingester = Arc::clone(&self.slot).lock_owned().await;
        let shared = Arc::clone(&self.shared);
        let work = move || ingester.end(&*shared.appendable.0, time);
        if let Ok(Err(e)) = self.shared.tasks.spawn_blocking(work).await {
            tracing::warn!(scrape_pool = &*self.pool, error = %e, "Stale commit failed");
        }
    }
}

/// Aligns the times of scrapes: one that is hardly late gets the time it was meant to have.
#[derive(Debug)]
pub(crate) struct Schedule {
    aligned: Timestamp,
    interval: i64,
    tolerance: i64,
}

impl Schedule {
    pub(crate) fn new(first: Timestamp, interval: Duration, tolerance: Duration) -> Self {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let interval = ms(interval).max(1);
        Self { aligned: first, interval, tolerance: ms(tolerance).min(interval / 100) }
    }

    /// The time for a scrape that begins now. A clock that was set begins a new schedule.
    pub(crate) fn align(&mut self, now: Timestamp) -> Timestamp {
        let late = now.saturating_sub(self.aligned);
        if late < -self.tolerance {
            self.aligned = now;
            return now;
        }
        if late >= self.interval {
            self.aligned = now - late % self.interval;
        }
        if now - self.aligned <= self.tolerance { self.aligned } else { now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_aligned_within_the_tolerance() {
        let mut s = Schedule::new(1000, Duration::from_secs(15), Duration::from_millis(2));
        assert_eq!(s.align(1000), 1000);
        assert_eq!(s.align(16_002), 16_000);
        assert_eq!(s.align(31_003), 31_003);
        assert_eq!(s.align(46_001), 46_000);
        assert_eq!(s.align(45_999), 46_000);
        // Ticks were missed.
        assert_eq!(s.align(1000 + 15_000 * 100 + 1), 1_501_000);
        // The clock was set back.
        assert_eq!(s.align(500), 500);
        assert_eq!(s.align(15_501), 15_500);
        let mut s = Schedule::new(0, Duration::from_millis(100), Duration::from_millis(2));
        assert_eq!((s.align(101), s.align(202)), (100, 202));
    }
}
