//! Sends to one Alertmanager, batch by batch, again and again where it does not answer. Source of
//! the request's form: `notifier/sendloop.go`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use firesteel_model::clock::Clock;
use firesteel_net::{HttpClient, Limits, Request};
use http::{
    HeaderValue, StatusCode, Uri,
    header::{CONTENT_TYPE, USER_AGENT},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Alert,
    metrics::SenderMetrics,
    payload,
    queue::{Batch, Queue},
};
use crate::{Nanos, time::from_ms};

/// The pause after a first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: an Alertmanager that is back hears of its alerts soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read: nobody looks at them.
const MAX_ANSWER: u64 = 1 << 20;

/// How requests get to an Alertmanager.
pub(super) trait Transport: Send + Sync {
    /// Sends a request and reads the answer to its end: its status, or why there is none.
    fn send(&self, request: Request) -> impl Future<Output = Result<StatusCode, String>> + Send;
}

impl Transport for HttpClient {
    async fn send(&self, request: Request) -> Result<StatusCode, String> {
        let mut response = Self::send(self, request).await.map_err(|error| error.to_string())?;
        // Read so that the connection can be used again; what it says changes nothing.
        let _ = response.body.whole(0).await;
        Ok(response.status)
    }
}

/// What a sender works with.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) timeout: Duration,
    pub(super) batch: usize,
    pub(super) capacity: usize,
    pub(super) drains: bool,
    pub(super) user_agent: String,
    pub(super) clock: Arc<dyn Clock>,
}

#[derive(Debug)]
pub(super) struct Sender<T = HttpClient> {
    pub(super) url: String,
    uri: Option<Uri>,
    transport: T,
    settings: Settings,
    queue: Mutex<Queue>,
    work: Notify,
    stop: CancellationToken,
    pub(super) metrics: Arc<SenderMetrics>,
}

/// How an attempt went.
enum Sent {
    Taken,
    /// It will never be taken.
    Refused,
    /// It may be taken later.
    Failed,
}

impl<T: Transport> Sender<T> {
    pub(super) fn new(
        url: String,
        transport: T,
        settings: Settings,
        metrics: Arc<SenderMetrics>,
    ) -> Self {
        let uri = url.parse().ok();
        if uri.is_none() {
            tracing::error!(alertmanager = url, "this is no URL that alerts can be sent to");
        }
        Self {
            uri,
            url,
            transport,
            queue: Mutex::new(Queue::new(settings.capacity)),
            settings,
            work: Notify::new(),
            stop: CancellationToken::new(),
            metrics,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Nanos {
        from_ms(self.settings.clock.now())
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue().len()
    }

    /// Takes alerts to send.
    pub(super) fn add(&self, alerts: impl IntoIterator<Item = Alert>) {
        if self.stop.is_cancelled() {
            return;
        }
        let lost = self.queue().add(alerts, self.now());
        self.lost(lost, "its queue is full");
        self.work.notify_one();
    }

    /// Ends [`Sender::run`], which sends what waits if it is to.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    fn lost(&self, alerts: usize, why: &str) {
        if alerts > 0 {
            tracing::warn!(alertmanager = self.url, alerts, "dropping alerts: {why}");
            self.metrics.dropped.add(alerts as u64);
        }
    }

    /// Sends until it is stopped.
    pub(super) async fn run(&self) {
        let mut failures = 0;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = self.wait(failures) => {}
            }
            failures = if self.send_all().await { 0 } else { failures.saturating_add(1) };
        }
        self.drain().await;
    }

    /// Until there is something to send, or to try again.
    async fn wait(&self, failures: u32) {
        if failures == 0 {
            return self.work.notified().await;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(8));
        sleep(pause.min(LONGEST_PAUSE)).await;
    }

    /// Sends what waits; false if an attempt failed. Stops between batches.
    async fn send_all(&self) -> bool {
        while !self.stop.is_cancelled() {
            match self.send_one().await {
                None => return true,
                Some(Sent::Failed) => return false,
                Some(Sent::Taken | Sent::Refused) => {}
            }
        }
        true
    }

    /// Sends the oldest batch; `None` where nothing waits.
    async fn send_one(&self) -> Option<Sent> {
        let batch = {
            let mut queue = self.queue();
            let expired = queue.expire(self.now());
            self.lost(expired, "they could not be sent in time");
            queue.batch(self.settings.batch)
        };
        if batch.len() == 0 {
            return None;
        }
        let sent = self.attempt(&batch).await;
        match sent {
            Sent::Taken => self.queue().done(&batch),
            Sent::Refused => {
                self.queue().done(&batch);
                self.lost(batch.len(), "they were refused");
            }
            Sent::Failed => {}
        }
        Some(sent)
    }

    async fn attempt(&self, batch: &Batch) -> Sent {
        let Some(uri) = self.uri.clone() else { return Sent::Refused };
        let began = Instant::now();
        let alerts = batch.len();
        match self.post(uri, payload::encode(batch.alerts())).await {
            Ok(status) if status.is_success() => {
                self.metrics.took(began.elapsed());
                self.metrics.sent.add(alerts as u64);
                Sent::Taken
            }
            Ok(status) => {
                self.failed(alerts, &format!("bad response status {status}"));
                if is_about_the_alerts(status) { Sent::Refused } else { Sent::Failed }
            }
            Err(error) => {
                self.failed(alerts, &error);
                Sent::Failed
            }
        }
    }

    fn failed(&self, alerts: usize, error: &str) {
        tracing::error!(alertmanager = self.url, alerts, error, "sending alerts failed");
        self.metrics.errors.add(alerts as u64);
    }

    async fn post(&self, uri: Uri, body: Vec<u8>) -> Result<StatusCode, String> {
        let mut request = Request::post(uri, body);
        request.timeout = self.settings.timeout;
        request.limits = Limits::body(MAX_ANSWER);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(agent) = HeaderValue::from_str(&self.settings.user_agent) {
            request.headers.insert(USER_AGENT, agent);
        }
        self.transport.send(request).await
    }

    /// Sends what waits before the end, as long as it is taken.
    async fn drain(&self) {
        if self.settings.drains {
            let all =
                async { while let Some(Sent::Taken | Sent::Refused) = self.send_one().await {} };
            let patience = self.settings.timeout.saturating_mul(2);
            let _ = tokio::time::timeout(patience, all).await;
        }
        let left = self.waiting();
        self.lost(left, "the notifier stops");
    }
}

/// Whether an error of the client's making is one of the alerts', not of an address or of
/// credentials that may be put right.
fn is_about_the_alerts(status: StatusCode) -> bool {
    [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY]
        .contains(&status)
}

#[cfg(test)]
mod tests;
