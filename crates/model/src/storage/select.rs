//! The reading traits.

use std::sync::Arc;

use super::{LabelHints, QueryContext, SampleBatch, SelectHints, StorageError};
use crate::{Matcher, Timestamp};

/// Something that can be queried: a database, a remote, an application's own data.
pub trait Queryable: Send + Sync {
    /// Opens a consistent view of the samples from `mint` to `maxt`, both inclusive, in
    /// milliseconds. Blocks. What is committed later stays invisible to the view.
    ///
    /// # Errors
    /// The storage is closed or not ready.
    fn querier(&self, mint: Timestamp, maxt: Timestamp) -> Result<Arc<dyn Querier>, StorageError>;
}

/// A consistent view of a time range. Its methods block.
pub trait Querier: Send + Sync {
    /// The series that satisfy all matchers and may have samples in the hinted range. No matcher
    /// selects everything.
    ///
    /// # Errors
    /// Damage, cancellation, a limit. Where a part fails and the rest can serve, it goes on with a
    /// warning instead.
    fn select(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        hints: &SelectHints,
    ) -> Result<Selection, StorageError>;

    /// Names of the labels of the series that satisfy all matchers, sorted, without duplicates.
    ///
    /// # Errors
    /// As [`Querier::select`].
    fn label_names(
        &self,
        ctx: &QueryContext,
        matchers: &[Matcher],
        hints: &LabelHints,
    ) -> Result<LabelResult, StorageError>;

    /// Values of label `name` among the series that satisfy all matchers, sorted, without
    /// duplicates.
    ///
    /// # Errors
    /// As [`Querier::select`].
    fn label_values(
        &self,
        ctx: &QueryContext,
        name: &str,
        matchers: &[Matcher],
        hints: &LabelHints,
    ) -> Result<LabelResult, StorageError>;
}

/// Label names or values.
#[derive(Clone, Debug, Default)]
pub struct LabelResult {
    /// Sorted, without duplicates.
    pub values: Vec<String>,
    /// What could not be read.
    pub warnings: Vec<String>,
    /// Whether a limit cut the list.
    pub truncated: bool,
}

/// Selected series, one set per source.
#[derive(Default)]
pub struct Selection {
    /// The sets. A series may stand in several; where they have a sample for the same time, the
    /// earlier set wins.
    pub sets: Vec<Arc<dyn SeriesSet>>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selection")
            .field("series", &self.sets.iter().map(|s| s.len()).collect::<Vec<_>>())
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// The series that one source contributes to a selection, by index. Holds what it needs (a block,
/// a view of the head) open.
pub trait SeriesSet: Send + Sync {
    /// The dictionary of its label ids.
    fn dictionary(&self) -> &dyn LabelDictionary;

    /// Number of series.
    fn len(&self) -> usize;

    /// Appends the label pairs of series `index` to `out`, as ids of the dictionary, in order of
    /// the names' text.
    ///
    /// # Errors
    /// Damage.
    fn labels(&self, index: usize, out: &mut Vec<(u32, u32)>) -> Result<(), StorageError>;

    /// Times between which all samples lie that its readers give, both inclusive, where the source
    /// knows; what lies in sets whose times do not overlap need not be merged.
    fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        None
    }

    /// A reader with buffers of its own; one per thread.
    fn reader(&self, ctx: &QueryContext) -> Box<dyn SampleReader + '_>;
}

/// Maps label ids to text. Ids are dense enough to index an array with.
pub trait LabelDictionary: Send + Sync {
    /// All ids are below this.
    fn id_bound(&self) -> u32;

    /// Calls `f` with the text of each id, in the order of `ids`.
    ///
    /// # Errors
    /// Damage, or an id that the dictionary does not have.
    fn resolve(&self, ids: &[u32], f: &mut dyn FnMut(usize, &str)) -> Result<(), StorageError>;
}

/// Reads the samples of a set's series, one after the other.
pub trait SampleReader: Send {
    /// Goes to the beginning of series `index`.
    ///
    /// # Errors
    /// Damage, cancellation.
    fn open(&mut self, index: usize) -> Result<(), StorageError>;

    /// Replaces `batch` with the next samples of the series, in time order. Samples outside the
    /// selection's range may come along; the consumer skips them. Returns false, with the batch
    /// empty, at the end.
    ///
    /// # Errors
    /// Damage, cancellation.
    fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError>;

    /// Appends the next samples to columns instead, where they are floats without start timestamps:
    /// at least one, and as many chunks as the source likes. False, with nothing appended, where
    /// [`SampleReader::next`] has to be asked, which may be anywhere.
    ///
    /// # Errors
    /// Damage, cancellation; nothing has been appended then that is not in order.
    fn append(
        &mut self,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<f64>,
    ) -> Result<bool, StorageError> {
        let _ = (times, values);
        Ok(false)
    }
}
