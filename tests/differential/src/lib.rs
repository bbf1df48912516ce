//! Puts the same data into the real Prometheus and into Firesteel, asks both the same random
//! queries, and shows what differs, shrunk.
//!
//! [`data`] makes the series and [`remote`] writes them; [`generate`] makes queries as typed trees
//! ([`tree`]) that know how to become smaller; [`subject`] is who is asked; [`compare`] says
//! whether two answers are the same, [`exceptions`] where they need not be; [`run`] does it all and
//! [`report`] counts.
#![forbid(unsafe_code)]

pub mod answer;
pub mod compare;
pub mod data;
pub mod exceptions;
pub mod generate;
pub mod http;
pub mod peer;
pub mod remote;
pub mod report;
pub mod run;
mod shrink;
pub mod subject;
pub mod suite;
pub mod tree;

/// What goes wrong in the tool itself.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
