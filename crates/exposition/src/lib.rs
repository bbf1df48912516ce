#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod created;
mod entry;
mod error;
mod format;
mod key;
mod lex;
mod native;
mod nhcb;
mod number;
mod openmetrics;
mod parser;
mod proto;
mod scan;
mod text;
mod write;

pub use entry::{Entry, ExemplarEntry, Series};
pub use error::{Error, SyntaxError};
pub use format::{ChosenFormat, Format, Protocol, accept_header};
pub use native::{HistogramSample, NativeHistogram};
pub use parser::{KnownSample, Parser, ParserOptions};
pub use proto::{PROTOBUF_CONTENT_TYPE, encode_protobuf};
pub use write::{OPENMETRICS_CONTENT_TYPE, TEXT_CONTENT_TYPE, encode_openmetrics, encode_text};
