//! Samples that came out of order, on disk: the out-of-order log ("WBL") and the blocks made of it.
//!
//! The head keeps them apart (`head::late`) and logs them twice: in the log with the rest of their
//! batch, then in the out-of-order log, which is for Prometheus and outlives checkpoints. Both have
//! the number of the batch. See `docs/format/wal.md`.

mod flush;
mod restore;

pub(super) use restore::{Logged, restore};

/// The directory of the out-of-order log.
pub(super) const WBL_DIR: &str = "wbl";
/// The hint that marks blocks of such samples.
pub(super) const HINT: &str = "from-out-of-order";
