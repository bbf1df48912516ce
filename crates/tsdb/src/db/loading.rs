//! Opening in two steps: the blocks at once, the head while they are already queried.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use firesteel_model::{
    Timestamp, Value,
    storage::{AppendError, AppendOptions, Appender, CommitStats, SeriesKey, SeriesRef},
};

use super::{Inner, open};
use crate::TsdbError;

/// What opening a database is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenPhase {
    /// The head has not been begun.
    Waiting,
    /// Closed chunks are looked at, and the head snapshot is read.
    Snapshot,
    /// The log is replayed.
    Log,
    /// Out-of-order samples are read.
    Late,
    /// Everything is there.
    Done,
}

/// How far opening a database has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenProgress {
    /// What is being done.
    pub phase: OpenPhase,
    /// The first segment of the log to be replayed.
    pub first_segment: u64,
    /// The last one.
    pub last_segment: u64,
    /// The last one that was replayed.
    pub current_segment: u64,
    /// Samples read from the log.
    pub samples: u64,
}

/// The state behind [`OpenProgress`].
#[derive(Debug)]
pub(crate) struct Progress {
    phase: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    current: AtomicU64,
    samples: AtomicU64,
    /// Nobody waits for it any more.
    cancelled: AtomicBool,
}

const PHASES: [OpenPhase; 5] =
    [OpenPhase::Waiting, OpenPhase::Snapshot, OpenPhase::Log, OpenPhase::Late, OpenPhase::Done];

impl Progress {
    pub(super) fn new(phase: OpenPhase) -> Self {
        let progress = Self {
            phase: AtomicU64::new(0),
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            current: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
        };
        progress.enter(phase);
        progress
    }

    pub(super) fn enter(&self, phase: OpenPhase) {
        let at = PHASES.iter().position(|p| *p == phase).unwrap_or(0);
        self.phase.store(at as u64, Ordering::Release);
    }

    /// Takes note of the segments that there are to replay.
    pub(super) fn segments(&self, mut segments: impl Iterator<Item = u64>) {
        let Some(first) = segments.next() else { return };
        self.first.store(first, Ordering::Release);
        self.last.store(segments.last().unwrap_or(first), Ordering::Release);
    }

    /// Takes note that a segment was replayed, and how many samples were read so far.
    pub(super) fn replayed(&self, segment: u64, samples: u64) {
        self.current.store(segment, Ordering::Release);
        self.samples.store(samples, Ordering::Release);
    }

    pub(super) fn is_done(&self) -> bool {
        self.read().phase == OpenPhase::Done
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Fails once the database is closed.
    pub(super) fn check(&self) -> Result<(), TsdbError> {
        if self.cancelled.load(Ordering::Acquire) {
            return Err(TsdbError::NotReady("it was closed while it was opened".to_owned()));
        }
        Ok(())
    }

    pub(super) fn read(&self) -> OpenProgress {
        let get = |n: &AtomicU64| n.load(Ordering::Acquire);
        let phase = usize::try_from(get(&self.phase)).ok().and_then(|at| PHASES.get(at));
        OpenProgress {
            phase: phase.copied().unwrap_or(OpenPhase::Waiting),
            first_segment: get(&self.first),
            last_segment: get(&self.last),
            current_segment: get(&self.current),
            samples: get(&self.samples),
        }
    }
}

/// Loads the head of a database that was opened with [`DbBuilder::open_blocks`].
///
/// [`DbBuilder::open_blocks`]: super::DbBuilder::open_blocks
#[derive(Debug)]
pub struct HeadLoader(pub(super) Arc<Inner>);

impl HeadLoader {
    /// Loads it: reads the head snapshot, replays and repairs the log, with as many threads as
    /// the builder was given, this one included. When it returns, appends are taken and queries
    /// see everything. Stops soon, with an error, once the database is closed.
    ///
    /// # Errors
    /// The file system refuses, or the log is written in a way that this version does not read.
    /// The database goes on answering from its blocks.
    pub fn run(self) -> Result<(), TsdbError> {
        open::load(&self.0)
    }
}

/// A transaction before the head is there.
pub(super) struct TooEarly;

fn too_early<T>() -> Result<T, AppendError> {
    Err(AppendError::NotReady("the write-ahead log is being replayed".to_owned()))
}

impl Appender for TooEarly {
    fn append(
        &mut self,
        _: SeriesKey<'_>,
        _: Timestamp,
        _: Value<'_>,
        _: &AppendOptions<'_>,
    ) -> Result<SeriesRef, AppendError> {
        too_early()
    }

    fn commit(self: Box<Self>) -> Result<CommitStats, AppendError> {
        too_early()
    }
}
