//! Blocks: immutable directories with the samples of a time range.
//!
//! A block has `meta.json`, `index`, `chunks/000001` and on, and `tombstones`; formats are in
//! `docs/format/`. [`Block`] reads one, [`BlockWriter`] makes one.

mod chunks;
mod decode;
mod delete;
pub(crate) mod integrity;
mod labels;
mod merge;
mod meta;
mod querier;
mod reader;
mod repair;
#[cfg(test)]
mod tests;
mod tombstones;
mod ulid;
pub(crate) mod verify;
mod visit;
mod writer;

pub use integrity::{FileSum, Integrity};
pub use meta::{BlockDesc, BlockMeta, BlockStats, Compaction};
pub use reader::Block;
pub use repair::repair_version;
pub use tombstones::{Interval, Tombstones};
pub use ulid::{Ulid, UlidError};
pub use visit::ChunkInfo;
pub use writer::{BlockWriter, EncodedChunk};

pub(crate) use decode::{ChunkDecoder, append_floats, retain};
pub(crate) use merge::{Target as MergeTarget, merge};

pub use crate::index::SymbolTable;

/// Suffix of a block that is being written. What carries it at a start is an unfinished rest.
pub const TMP_CREATION_SUFFIX: &str = ".tmp-for-creation";
/// Suffix of a block that is being removed.
pub const TMP_DELETION_SUFFIX: &str = ".tmp-for-deletion";

const META_FILE: &str = "meta.json";
const INDEX_FILE: &str = "index";
const CHUNKS_DIR: &str = "chunks";
const TOMBSTONES_FILE: &str = "tombstones";
