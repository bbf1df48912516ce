//! One module per family of endpoints.

pub(crate) mod admin;
mod ast;
pub(crate) mod exemplars;
pub(crate) mod features;
pub(crate) mod format;
pub(crate) mod labels;
pub(crate) mod metadata;
pub(crate) mod query;
pub(crate) mod rules;
pub(crate) mod selectors;
pub(crate) mod series;
pub(crate) mod status;
pub(crate) mod targets;
pub(crate) mod write;
