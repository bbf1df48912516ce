//! Keeps up with one kind of object: lists all, then watches, and lists anew when the server has
//! forgotten where we were. Source: `client-go`'s `tools/cache/reflector.go`.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    api::{ApiError, Cluster, Resource, WatchEvent},
    objects::Object,
};
use crate::DiscoveryMetrics;

/// What has become known.
#[derive(Debug)]
pub(crate) enum Change<T> {
    /// Some of all objects there are.
    Page(Vec<T>),
    /// All pages have come: what was not among them is gone.
    Listed,
    /// A list was broken off and begins again.
    Restarted,
    /// An object is new, or has changed.
    Put(Box<T>),
    /// An object is gone.
    Deleted(String),
}

/// How long to wait after failures: twice as long after each, up to half a minute, with as much
/// again by chance so that servers do not come back all at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    last_failure: Option<Instant>,
}

const LONGEST: Duration = Duration::from_secs(30);
/// Without a failure for so long, the next wait is short again.
const CALM: Duration = Duration::from_secs(120);

impl Backoff {
    pub(crate) fn new(first: Duration) -> Self {
        Self { first, next: first, last_failure: None }
    }

    async fn wait(&mut self) {
        let now = Instant::now();
        if self.last_failure.is_some_and(|last| now.duration_since(last) > CALM) {
            self.next = self.first;
        }
        self.last_failure = Some(now);
        let length = self.next;
        self.next = (length * 2).min(LONGEST);
        sleep(length.mul_f64(1.0 + fastrand::f64())).await;
    }
}

/// Follows one resource.
pub(crate) struct Reflector<T, E> {
    pub(crate) cluster: Cluster,
    pub(crate) resource: Resource,
    pub(crate) metrics: Arc<DiscoveryMetrics>,
    pub(crate) backoff: Backoff,
    /// Which reflector this is.
    pub(crate) id: usize,
    pub(crate) events: mpsc::Sender<(usize, E)>,
    pub(crate) wrap: fn(Change<T>) -> E,
}

/// Nobody listens any more.
struct Closed;

/// How a watch ended.
enum Ended {
    /// The server has ended it, or the connection broke: the next goes on from here.
    Here,
    /// All must be listed anew.
    Lost,
}

impl<T: Object, E: Send> Reflector<T, E> {
    /// Runs until nobody listens.
    pub(crate) async fn run(mut self) {
        loop {
            let version = match self.list().await {
                Ok(Ok(version)) => version,
                Ok(Err(error)) => {
                    self.failed("failed to list", &error);
                    self.backoff.wait().await;
                    continue;
                }
                Err(Closed) => return,
            };
            if self.follow(version).await.is_err() {
                return;
            }
        }
    }

    async fn send(&self, change: Change<T>) -> Result<(), Closed> {
        self.events.send((self.id, (self.wrap)(change))).await.map_err(|_| Closed)
    }

    fn failed(&self, what: &str, error: &ApiError) {
        self.metrics.kubernetes.failures.inc();
        let path = &*self.resource.path;
        match error {
            ApiError::Expired => tracing::debug!(path, "{what}: the version is too old"),
            ApiError::Failed(reason) => {
                tracing::error!(discovery = "kubernetes", path, err = reason, "{what}");
            }
        }
    }

    /// Lists everything; returns the version of the list.
    async fn list(&mut self) -> Result<Result<String, ApiError>, Closed> {
        let mut next = String::new();
        loop {
            let page = match self.cluster.page::<T>(&self.resource, &next).await {
                Ok(page) => page,
                Err(error) => {
                    if !next.is_empty() {
                        self.send(Change::Restarted).await?;
                    }
                    return Ok(Err(error));
                }
            };
            self.send(Change::Page(page.items)).await?;
            if page.next.is_empty() {
                self.send(Change::Listed).await?;
                return Ok(Ok(page.resource_version));
            }
            next = page.next;
        }
    }

    /// Watches until everything has to be listed anew.
    async fn follow(&mut self, mut version: String) -> Result<(), Closed> {
        loop {
            // By chance, so that not all watches end at once.
            let time = Duration::from_secs(fastrand::u64(300..600));
            let started = Instant::now();
            let before = version.clone();
            match self.watch(&mut version, time).await? {
                Ok(Ended::Here) => {}
                Ok(Ended::Lost) | Err(ApiError::Expired) => return Ok(()),
                Err(error) => {
                    self.failed("failed to watch", &error);
                    self.backoff.wait().await;
                    continue;
                }
            }
            // A server that ends watches at once would be asked without a pause.
            if started.elapsed() < Duration::from_secs(1) && before == version {
                self.backoff.wait().await;
            }
        }
    }

    async fn watch(
        &mut self,
        version: &mut String,
        time: Duration,
    ) -> Result<Result<Ended, ApiError>, Closed> {
        let mut watch = match self.cluster.watch(&self.resource, version, time).await {
            Ok(watch) => watch,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            match watch.next::<T>().await {
                Ok(Some(WatchEvent::Bookmark(at))) => *version = at,
                Ok(Some(WatchEvent::Put(object))) => {
                    version.clone_from(object.version());
                    self.send(Change::Put(Box::new(object))).await?;
                }
                Ok(Some(WatchEvent::Deleted(object))) => {
                    version.clone_from(object.version());
                    self.send(Change::Deleted(object.key())).await?;
                }
                Ok(None) => return Ok(Ok(Ended::Here)),
                Err(ApiError::Expired) => {
                    self.failed("failed to watch", &ApiError::Expired);
                    return Ok(Ok(Ended::Lost));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}
