//! What a database tells its owner as it happens.

use std::{fmt, path::PathBuf, sync::Arc};

use crate::block::{BlockMeta, Ulid};

/// Something that happened in a database. See [`super::DbBuilder::on_event`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A block was made, and queries see it.
    BlockWritten {
        /// What it is.
        meta: Box<BlockMeta>,
    },
    /// A damaged block was put aside; its samples are missing from now on.
    BlockQuarantined {
        /// Where it is now. A file `reason` in it says why.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Blocks were deleted: too old, too much, or part of another.
    BlocksDeleted {
        /// Which.
        blocks: Vec<Ulid>,
    },
    /// The disk is full. Commits are refused from now on; queries, retention and what makes space
    /// go on.
    OutOfSpace {
        /// What the file system said.
        reason: String,
    },
    /// There is space again, and commits are taken.
    IngestionResumed,
    /// Damage was found, outside of blocks or in a chunk, and what was done about it.
    CorruptionFound {
        /// The file.
        path: PathBuf,
        /// Where in it and what.
        what: String,
    },
    /// The state of the head was written to disk, for a faster start.
    SnapshotWritten {
        /// The directory or file.
        path: PathBuf,
    },
}

/// Gets events. It is called while locks are held and must not call into the database.
pub(super) type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// Who is told of events.
#[derive(Clone, Default)]
pub(super) struct Events(pub(super) Option<Listener>);

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Events(listener)" } else { "Events(none)" })
    }
}

impl Events {
    pub(super) fn send(&self, event: &Event) {
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }
}
