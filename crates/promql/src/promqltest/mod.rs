//! Runs test scripts in Prometheus' PromQL test language (`promql/promqltest/README.md` there):
//! `load` series, `eval` a query, compare. The scripts of Prometheus are the conformance suite of
//! this engine, over any storage; the notation of series is that of rule unit tests too.
//!
//! ```text
//! load 1m
//!   requests_total{job="a"} 0+60x10
//!
//! eval instant at 10m rate(requests_total[5m])
//!   {job="a"} 1
//! ```
//!
//! As in Prometheus, an instant query is also run with `@` at its evaluation time put on all its
//! selectors, at other evaluation times, and as a range query; all must give the expected result.

mod backend;
mod compare;
mod hints;
mod histogram;
mod nhcb;
mod run;
mod script;
mod series;

pub use backend::{Backend, Loaded, LoadedSample, Outcome, append};
pub use hints::give_hints;
pub use run::{CaseReport, Category, Report, run};
pub use script::{Case, Command, Expect, Expected, Kind, Load, Script, ScriptError, Text, Times};
pub use series::{Point, Series, parse_series};
