//! The storage traits: how samples go in ([`Appendable`]) and come out ([`Queryable`]).
//!
//! They are synchronous: a call may block on a disk and must not run on an async runtime's threads.
//!
//! # Reading
//! [`Queryable::querier`] opens a consistent view of a time range. [`Querier::select`] finds series
//! and returns a [`Selection`]: one [`SeriesSet`] per source (the head, each block, a remote), each
//! with a dictionary of its own. Series come **unsorted** and carry label *ids*; a consumer maps
//! each dictionary once into an [`Interner`] and works on integers from there on. The same series
//! may stand in several sets; [`merge::MergedSeries`] groups them by identity. Order is made at the
//! output only.
//!
//! A set gives random access by index, so a consumer can cut it into morsels and read them from
//! several threads, each with a [`SampleReader`] of its own that keeps its buffers from series to
//! series. Samples come in [`SampleBatch`]es, usually one per chunk.
//!
//! # Writing
//! An [`Appender`] is a transaction: a scrape, a write request, a rule evaluation. Commit makes all
//! of it visible at once, dropping it undoes it.

mod appender;
mod batch;
mod context;
mod error;
mod hints;
mod interner;
pub mod memory;
pub mod merge;
mod select;

pub use appender::{
    AppendError, AppendOptions, Appendable, Appender, CommitStats, SeriesKey, SeriesRef,
};
pub use batch::{BatchValues, HistogramBatch, SampleBatch};
pub use context::{CancelToken, QueryContext, QueryStats};
pub use error::StorageError;
pub use hints::{LabelHints, SampleNeed, SelectHints, Shard};
pub use interner::{GlobalLabels, Interner, SymbolMap};
pub use select::{
    LabelDictionary, LabelResult, Querier, Queryable, SampleReader, Selection, SeriesSet,
};
