#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod content_type;
mod receive;

pub use content_type::{ContentTypeError, WriteMessage};
pub use receive::{MAX_AHEAD_MS, WriteError, WriteLimits, WriteOutcome, write, write_decoded};
