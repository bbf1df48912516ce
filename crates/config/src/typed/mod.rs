//! The typed views: what the other crates work with.

pub(crate) mod alerting;
pub(crate) mod convert;
pub(crate) mod discovery;
pub(crate) mod global;
pub(crate) mod http;
pub(crate) mod otlp;
pub(crate) mod remote;
pub(crate) mod scrape;
pub(crate) mod storage;
pub(crate) mod tracing;
pub(crate) mod web;
