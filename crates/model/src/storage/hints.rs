//! What a consumer tells storage so that it can do less.

use crate::Timestamp;

/// What the consumer will look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SampleNeed {
    /// Timestamps and values.
    #[default]
    Values,
    /// Only which series have samples, as `count` over a grid of steps does; values may be
    /// anything but must keep staleness markers.
    Presence,
    /// Only the newest sample in range (staleness markers count), as an instant selector at one
    /// time does. More of them does no harm.
    Newest,
    /// Only the label sets of series with at least one sample in range.
    Labels,
}

/// A share of the series: those whose label hash modulo `count` is `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0 to `count - 1`.
    pub index: u64,
    /// Number of shards.
    pub count: u64,
}

/// Hints for [`super::Querier::select`]. Storage may ignore any of them but `start` and `end`
/// never make it return less than what lies in that range.
#[derive(Clone, Debug, Default)]
pub struct SelectHints {
    /// First timestamp of interest, inclusive, milliseconds.
    pub start: Timestamp,
    /// Last timestamp of interest, inclusive, milliseconds.
    pub end: Timestamp,
    /// Distance of evaluation steps in milliseconds, 0 for an instant query.
    pub step: i64,
    /// Range of the selector in milliseconds, 0 for an instant selector.
    pub range: i64,
    /// The function or aggregation directly around the selector, empty where there is none.
    pub function: String,
    /// Labels of the aggregation directly around the selector.
    pub grouping: Vec<String>,
    /// Whether `grouping` is of `by` (true) or `without`.
    pub by: bool,
    /// The only labels that the query looks at, where that is known. A source may leave out the
    /// others, if the series stay distinct.
    pub projection: Option<Vec<String>>,
    /// At most this many series, 0 for all. Which ones is the source's choice.
    pub limit: usize,
    /// Only this share of the series.
    pub shard: Option<Shard>,
    /// What will be looked at.
    pub need: SampleNeed,
}

impl SelectHints {
    /// Hints that say nothing but the range, both ends inclusive.
    #[must_use]
    pub fn range(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end, ..Self::default() }
    }
}

/// Hints for label names and values.
#[derive(Clone, Debug, Default)]
pub struct LabelHints {
    /// At most this many, 0 for all.
    pub limit: usize,
}
