//! From configuration to discoverers.

use std::{fmt, sync::Arc};

use firesteel_config::DiscoveryConfig;

use crate::{Discoverer, DiscoveryError, DiscoveryMetrics, StaticDiscoverer};

/// What mechanisms share: how they name themselves, and what they count.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mechanisms {
    /// The header `User-Agent` of mechanisms that speak HTTP.
    pub user_agent: String,
    /// The counts; several managers may share them.
    pub metrics: Arc<DiscoveryMetrics>,
}

impl Mechanisms {
    /// With counts of its own.
    pub fn new(user_agent: impl Into<String>) -> Self {
        Self { user_agent: user_agent.into(), metrics: Arc::default() }
    }

    /// The discoverer that a configuration asks for.
    ///
    /// # Errors
    /// This build has no such mechanism, its HTTP client cannot be made, or it is not where it has to
    /// be: in a pod of Kubernetes, on a machine of Amazon.
    pub fn discoverer(
        &self,
        config: &DiscoveryConfig,
    ) -> Result<Box<dyn Discoverer>, DiscoveryError> {
        match config {
            DiscoveryConfig::Static(groups) => boxed(Ok(StaticDiscoverer::new(groups))),
            #[cfg(feature = "file")]
            DiscoveryConfig::File(config) => {
                boxed(Ok(crate::FileDiscoverer::new(config.clone(), self.metrics.clone())))
            }
            #[cfg(feature = "http")]
            DiscoveryConfig::Http(config) => boxed(crate::http_sd::discoverer(config, self)),
            #[cfg(feature = "kubernetes")]
            DiscoveryConfig::Kubernetes(config) => {
                boxed(crate::KubernetesDiscoverer::new(config, self))
            }
            #[cfg(feature = "dns")]
            DiscoveryConfig::Dns(config) => boxed(Ok(crate::dns::discoverer(config, self))),
            #[cfg(feature = "consul")]
            DiscoveryConfig::Consul(config) => boxed(crate::ConsulDiscoverer::new(config, self)),
            #[cfg(feature = "docker")]
            DiscoveryConfig::Docker(config) => boxed(crate::docker::discoverer(config, self)),
            #[cfg(feature = "ec2")]
            DiscoveryConfig::Ec2(config) => boxed(crate::ec2::discoverer(config, self)),
            #[cfg(feature = "hetzner")]
            DiscoveryConfig::Hetzner(config) => boxed(crate::hetzner::discoverer(config, self)),
            #[cfg(feature = "digitalocean")]
            DiscoveryConfig::DigitalOcean(config) => {
                boxed(crate::digitalocean::discoverer(config, self))
            }
            DiscoveryConfig::Other { key, .. } => Err(DiscoveryError::NotServed { key }),
            other => Err(DiscoveryError::NotServed { key: key(other) }),
        }
    }
}

fn boxed<D: Discoverer + fmt::Debug + 'static>(
    made: Result<D, DiscoveryError>,
) -> Result<Box<dyn Discoverer>, DiscoveryError> {
    made.map(|discoverer| Box::new(discoverer) as Box<dyn Discoverer>)
}

/// The key of a mechanism that this build does not have.
fn key(config: &DiscoveryConfig) -> &'static str {
    match config {
        DiscoveryConfig::File(_) => "file_sd_configs",
        DiscoveryConfig::Http(_) => "http_sd_configs",
        DiscoveryConfig::Kubernetes(_) => "kubernetes_sd_configs",
        DiscoveryConfig::Dns(_) => "dns_sd_configs",
        DiscoveryConfig::Consul(_) => "consul_sd_configs",
        DiscoveryConfig::Docker(config) if config.swarm.is_some() => "dockerswarm_sd_configs",
        DiscoveryConfig::Docker(_) => "docker_sd_configs",
        DiscoveryConfig::Ec2(_) => "ec2_sd_configs",
        DiscoveryConfig::Hetzner(_) => "hetzner_sd_configs",
        DiscoveryConfig::DigitalOcean(_) => "digitalocean_sd_configs",
        _ => "this mechanism",
    }
}
