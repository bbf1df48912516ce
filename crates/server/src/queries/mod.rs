//! What is kept of queries outside of the engine: which run now, and a log of those that ran.

mod active;
mod log;

pub(crate) use active::ActiveQueries;
pub(crate) use log::{QueryLog, open_error};
