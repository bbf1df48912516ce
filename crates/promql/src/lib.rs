#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod aggregate;
mod annotations;
pub mod ast;
mod binary;
mod engine;
mod error;
pub mod functions;
mod go;
mod histogram;
mod options;
mod print;
#[cfg(feature = "promqltest")]
pub mod promqltest;
mod quantile;
mod syntax;
pub mod value;
mod window;

pub use annotations::{Annotations, ForcedMonotonicity, Severity};
pub use ast::{Expr, Span, ValueType};
pub use engine::{
    Engine, EngineOptions, EngineStats, Enter, Executor, Gate, Inline, ObservedQuery, Place,
    Profile, ProfileFigures, ProfileNode, QueryError, QueryObserver, QueryOptions, QueryOrigin,
    QueryOutcome, QueryResult, ScopedThreads, StepStats,
};
pub use error::{ParseError, ParseErrors};
pub use options::ParserOptions;
pub use syntax::{parse, parse_metric, parse_metric_selector};
pub use value::{QueryValue, RangeSeries, SampleValue, VectorSample};
