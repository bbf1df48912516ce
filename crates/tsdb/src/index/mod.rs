//! The index of a block: which series it has, where their chunks are, and which series have a
//! label.
//!
//! Format: `docs/format/index.md`; source: Prometheus `tsdb/index/index.go`. Written is version 2,
//! read are 1, 2 and 3.

mod matching;
mod memory;
pub(crate) mod postings;
mod reader;
mod search;
mod symbols;
mod table;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use matching::{PostingsReader, PostingsSource, plan};
pub(crate) use memory::Memory;
pub(crate) use reader::IndexReader;
pub(crate) use search::{LabelOf, Search};
pub use symbols::SymbolTable;
pub(crate) use symbols::{SymbolScan, Symbols};
pub(crate) use writer::IndexWriter;

/// First bytes of an index.
const MAGIC: u32 = 0xbaaa_d700;
/// Magic number and version.
const HEADER_LEN: u64 = 5;
/// The table of contents at the end: six offsets and a checksum.
const TOC_LEN: u64 = 6 * 8 + 4;
/// Series begin at multiples of this from version 2 on, and their ids count in it.
const SERIES_UNIT: u64 = 16;

/// A chunk as an index names it. Both times are inclusive, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkMeta {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    /// Number of the segment file, from 0, in the upper half, offset in it in the lower one.
    pub(crate) reference: u64,
}
