//! Mechanisms that ask again and again. Source: `discovery/refresh/refresh.go`.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    Discoverer, DiscoveryError, DiscoveryMetrics, TargetGroup, Updates, metrics::RefreshMetrics,
};

/// Something that can be asked for its groups.
pub(crate) trait Refresh: fmt::Debug + Send + 'static {
    /// All groups as they are now, and empty ones in place of those that are gone.
    fn refresh(
        &mut self,
    ) -> impl Future<Output = Result<Vec<TargetGroup>, DiscoveryError>> + Send + '_;
}

/// Asks at once, then at each interval. A failed refresh changes nothing.
#[derive(Debug)]
pub(crate) struct Polled<R> {
    pub(crate) mechanism: &'static str,
    pub(crate) interval: Duration,
    pub(crate) metrics: Arc<DiscoveryMetrics>,
    pub(crate) source: R,
}

impl<R: Refresh> Polled<R> {
    async fn poll(mut self, metrics: &RefreshMetrics, updates: &Updates) {
        // Go's tickers panic at zero; so short an interval would only harm.
        let mut ticks = interval(self.interval.max(Duration::from_millis(100)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let started = Instant::now();
            let result = self.source.refresh().await;
            metrics.observe(started.elapsed(), result.is_ok());
            match result {
                Ok(groups) => {
                    if !updates.send(groups).await {
                        return;
                    }
                }
                Err(error) => tracing::error!(
                    discovery = self.mechanism,
                    config = updates.job(),
                    err = %error,
                    "Unable to refresh target groups"
                ),
            }
        }
    }
}

impl<R: Refresh> Discoverer for Polled<R> {
    fn run(
        self: Box<Self>,
        updates: Updates,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (mechanism, all) = (self.mechanism, self.metrics.clone());
        Box::pin(async move {
            let metrics = all.refresh(mechanism, updates.job());
            tokio::select! {
                () = self.poll(&metrics, &updates) => {}
                () = shutdown.cancelled() => {}
            }
            all.forget_refresh(mechanism, updates.job(), &metrics);
        })
    }
}
