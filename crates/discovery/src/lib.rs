#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod discoverer;
mod error;
#[cfg(feature = "file")]
mod file;
mod group;
#[cfg(feature = "http")]
mod http_sd;
#[cfg(any(feature = "file", feature = "http"))]
mod json;
mod manager;
mod mechanisms;
mod metrics;
mod provider;

pub use discoverer::{Discoverer, StaticDiscoverer, Updates, UpdatesReceiver, updates};
pub use error::DiscoveryError;
#[cfg(feature = "file")]
pub use file::{FileDiscoverer, read_target_groups};
pub use group::{ADDRESS, TargetGroup};
#[cfg(feature = "http")]
pub use http_sd::HttpDiscoverer;
pub use manager::{Job, Manager, Targets};
pub use mechanisms::Mechanisms;
pub use metrics::DiscoveryMetrics;
pub use provider::Source;
