//! Aggregations.

pub(crate) mod fold;
pub(crate) mod select;
