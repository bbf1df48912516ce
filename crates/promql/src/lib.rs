#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod annotations;
pub mod ast;
mod error;
pub mod functions;
mod go;
mod options;
mod print;
#[cfg(feature = "promqltest")]
pub mod promqltest;
mod syntax;
pub mod value;

pub use annotations::{Annotations, ForcedMonotonicity, Severity};
pub use ast::{Expr, Span, ValueType};
pub use error::{ParseError, ParseErrors};
pub use options::ParserOptions;
pub use syntax::{parse, parse_metric, parse_metric_selector};
pub use value::{QueryValue, RangeSeries, SampleValue, VectorSample};
