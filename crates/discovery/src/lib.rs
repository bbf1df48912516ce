#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod discoverer;
mod group;

pub use discoverer::{Discoverer, StaticDiscoverer, Updates, updates};
pub use group::{ADDRESS, TargetGroup};
