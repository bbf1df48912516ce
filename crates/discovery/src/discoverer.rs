//! The trait that mechanisms implement, in this crate and outside of it.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use firesteel_config::StaticGroup;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{TargetGroup, group::static_groups};

/// The sending end of a discoverer: bounded, so a discoverer waits while nobody takes its groups.
#[derive(Debug, Clone)]
pub struct Updates {
    /// Whose groups these are, for a receiver of many.
    provider: u64,
    /// The job that asked first, which labels the discoverer's metrics.
    job: Arc<str>,
    sender: mpsc::Sender<Update>,
}

/// Groups, and the provider that found them.
pub(crate) type Update = (u64, Vec<TargetGroup>);

/// The receiving end for a single discoverer.
#[derive(Debug)]
pub struct UpdatesReceiver(mpsc::Receiver<Update>);

/// How many lists of groups may wait.
const WAITING: usize = 8;

/// A channel for one discoverer, for programs that do without the [`Manager`](crate::Manager).
#[must_use]
pub fn updates() -> (Updates, UpdatesReceiver) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Updates { provider: 0, job: "".into(), sender }, UpdatesReceiver(receiver))
}

impl Updates {
    /// A channel for the discoverers of many providers.
    pub(crate) fn shared() -> (mpsc::Sender<Update>, mpsc::Receiver<Update>) {
        mpsc::channel(WAITING)
    }

    pub(crate) fn of(provider: u64, job: &str, sender: mpsc::Sender<Update>) -> Self {
        Self { provider, job: job.into(), sender }
    }

    /// The job that asked for the discoverer, the first of them; empty without a manager.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Hands over groups: each replaces what its source found earlier. False when nobody listens any
    /// more and the discoverer may end.
    pub async fn send(&self, groups: Vec<TargetGroup>) -> bool {
        self.sender.send((self.provider, groups)).await.is_ok()
    }
}

impl UpdatesReceiver {
    /// The next groups; `None` when the discoverer has ended.
    pub async fn recv(&mut self) -> Option<Vec<TargetGroup>> {
        self.0.recv().await.map(|(_, groups)| groups)
    }
}

/// Finds targets.
///
/// A mechanism sends all its groups once as soon as it knows them, an empty list if there are none,
/// and later those that change. When a refresh fails it sends nothing: the last targets stay. It
/// ends when `shutdown` is cancelled or [`Updates::send`] returns false; when it ends earlier, what
/// it found stays.
///
/// ```
/// use firesteel_discovery::{Discoverer, TargetGroup, Updates};
/// use firesteel_model::Labels;
/// use std::{future::Future, pin::Pin};
/// use tokio_util::sync::CancellationToken;
///
/// #[derive(Debug)]
/// struct Inventory;
///
/// impl Discoverer for Inventory {
///     fn run(
///         self: Box<Self>,
///         updates: Updates,
///         shutdown: CancellationToken,
///     ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
///         Box::pin(async move {
///             updates.send(vec![TargetGroup::new("all", ["pi:9100"], Labels::empty())]).await;
///             shutdown.cancelled().await;
///         })
///     }
/// }
/// ```
pub trait Discoverer: Send + fmt::Debug {
    /// Runs until it is told to stop.
    fn run(
        self: Box<Self>,
        updates: Updates,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The mechanism behind `static_configs`: sends its groups once.
#[derive(Debug, Clone)]
pub struct StaticDiscoverer(Vec<TargetGroup>);

impl StaticDiscoverer {
    /// From a job's `static_configs`.
    #[must_use]
    pub fn new(groups: &[StaticGroup]) -> Self {
        Self(static_groups(groups))
    }
}

impl Discoverer for StaticDiscoverer {
    fn run(
        self: Box<Self>,
        updates: Updates,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            tokio::select! {
                _ = updates.send(self.0) => {}
                () = shutdown.cancelled() => {}
            }
        })
    }
}
