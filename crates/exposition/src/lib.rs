#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod created;
mod entry;
mod error;
mod families;
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
mod strict;
mod text;
mod write;

pub use entry::{Entry, ExemplarEntry, Series};
pub use error::{Error, SyntaxError};
pub use families::{BucketValue, Families, HistogramValue, Metric, MetricFamily, MetricValue};
pub use firesteel_model::EscapingScheme;
pub use format::{ChosenFormat, Format, Protocol, accept_header};
pub use native::{HistogramSample, NativeHistogram};
pub use parser::{KnownSample, Parser, ParserOptions};
pub use proto::PROTOBUF_CONTENT_TYPE;
pub use strict::{Checked, check_openmetrics};
pub use write::{
    OPENMETRICS_CONTENT_TYPE, TEXT_CONTENT_TYPE, encode_openmetrics, encode_protobuf, encode_text,
};
