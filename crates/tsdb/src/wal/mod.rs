//! The write-ahead log: Prometheus' segments, records and checkpoints, with batches that are
//! atomic.
//!
//! The format is described in `docs/format/wal.md`. [`record`] knows what records say, [`page`] how
//! they lie in a segment, [`read`] puts batches together, [`writer`] writes them, [`follow`] reads
//! along.

mod compress;
pub mod follow;
pub mod page;
pub mod read;
pub mod record;
pub mod repair;
pub mod segments;
mod tail;
pub mod writer;

pub use compress::Compression;
pub(crate) use tail::Tail;
pub use tail::WalPosition;
