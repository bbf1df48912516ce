#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod adapters;
mod compute;
mod configuration;
mod error;
pub mod flags;
mod late;
mod log;
mod memory;
mod options;
mod process;
mod queries;
mod rules;
mod run;
mod signals;
mod status;
mod watch;
mod web;

pub use error::ServerError;
pub use options::{ConfigSource, Options};
pub use run::run;
