#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod entry;
mod error;
mod format;
mod lex;
mod number;
mod openmetrics;
mod parser;
mod scan;
mod text;
mod write;

pub use entry::{Entry, ExemplarEntry, Series};
pub use error::{Error, SyntaxError};
pub use format::{ChosenFormat, Format, Protocol, accept_header};
pub use parser::{KnownSample, Parser};
pub use write::{OPENMETRICS_CONTENT_TYPE, TEXT_CONTENT_TYPE, encode_openmetrics, encode_text};
