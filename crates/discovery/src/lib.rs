#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "digitalocean")]
mod digitalocean;
mod discoverer;
#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "docker")]
mod docker;
#[cfg(feature = "ec2")]
mod ec2;
mod error;
#[cfg(feature = "file")]
mod file;
mod group;
#[cfg(feature = "hetzner")]
mod hetzner;
#[cfg(feature = "api")]
mod http_api;
#[cfg(feature = "http")]
mod http_sd;
#[cfg(any(feature = "file", feature = "http"))]
mod json;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(any(feature = "api", feature = "dns"))]
mod labels;
mod manager;
mod mechanisms;
mod metrics;
mod provider;
#[cfg(any(feature = "api", feature = "dns"))]
mod refresh;

#[cfg(feature = "consul")]
pub use consul::ConsulDiscoverer;
pub use discoverer::{Discoverer, StaticDiscoverer, Updates, UpdatesReceiver, updates};
pub use error::DiscoveryError;
#[cfg(feature = "file")]
pub use file::{FileDiscoverer, read_target_groups};
pub use group::{ADDRESS, TargetGroup};
#[cfg(feature = "kubernetes")]
pub use kubernetes::KubernetesDiscoverer;
pub use manager::{Groups, Job, MakeDiscoverer, Manager, Targets};
pub use mechanisms::Mechanisms;
pub use metrics::DiscoveryMetrics;
pub use provider::Source;
