#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod annotations;
pub mod ast;
mod error;
pub mod functions;
mod options;
pub mod value;

pub use annotations::{Annotations, ForcedMonotonicity, Severity};
pub use ast::{Expr, Span, ValueType};
pub use error::{ParseError, ParseErrors};
pub use options::ParserOptions;
pub use value::{QueryValue, RangeSeries, SampleValue, VectorSample};
