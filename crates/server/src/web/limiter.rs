//! How many requests are answered: a bucket of tokens. Source: `golang.org/x/time/rate`.

use std::{sync::Arc, time::Duration};

use firesteel_config::RateLimit;
use firesteel_model::clock::Clock;
use parking_lot::Mutex;

/// Lets requests through at a rate; what is over it is refused, not delayed.
pub(super) struct Limiter {
    limit: RateLimit,
    clock: Arc<dyn Clock>,
    /// Tokens, and when they were counted.
    bucket: Mutex<(f64, Duration)>,
}

impl Limiter {
    /// With a full bucket.
    pub(super) fn new(limit: RateLimit, clock: Arc<dyn Clock>) -> Self {
        let bucket = Mutex::new((limit.burst as f64, clock.monotonic()));
        Self { limit, clock, bucket }
    }

    /// Takes a token, if there is one.
    pub(super) fn allow(&self) -> bool {
        let now = self.clock.monotonic();
        let mut bucket = self.bucket.lock();
        let passed = now.saturating_sub(bucket.1).as_secs_f64();
        let tokens = bucket.0 + passed / self.limit.interval.as_secs_f64();
        let tokens = tokens.min(self.limit.burst as f64);
        let allowed = tokens >= 1.0;
        *bucket = (if allowed { tokens - 1.0 } else { tokens }, now);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firesteel_model::clock::ManualClock;

    #[test]
    fn a_burst_then_one_an_interval() {
        let clock = Arc::new(ManualClock::new(0));
        let limit = RateLimit::new(Duration::from_secs(2), 3);
        let limiter = Limiter::new(limit, Arc::clone(&clock) as _);
        let allowed = |n: usize| (0..n).filter(|_| limiter.allow()).count();
        assert_eq!(allowed(10), 3);
        clock.advance(Duration::from_secs(2));
        assert_eq!(allowed(10), 1);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(allowed(10), 3);
    }
}
