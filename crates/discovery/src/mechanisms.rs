//! From configuration to discoverers.

use std::sync::Arc;

use firesteel_config::DiscoveryConfig;

use crate::{Discoverer, DiscoveryError, DiscoveryMetrics, StaticDiscoverer};

/// What mechanisms share: how they name themselves, and what they count.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mechanisms {
    /// The header `User-Agent` of mechanisms that speak HTTP.
    pub user_agent: String,
    /// The counts.
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
    /// This build has no such mechanism, or its HTTP client cannot be made.
    pub fn discoverer(
        &self,
        config: &DiscoveryConfig,
    ) -> Result<Box<dyn Discoverer>, DiscoveryError> {
        match config {
            DiscoveryConfig::Static(groups) => Ok(Box::new(StaticDiscoverer::new(groups))),
            #[cfg(feature = "file")]
            DiscoveryConfig::File(config) => {
                Ok(Box::new(crate::FileDiscoverer::new(config.clone(), self.metrics.clone())))
            }
            #[cfg(feature = "http")]
            DiscoveryConfig::Http(config) => Ok(Box::new(crate::HttpDiscoverer::new(
                config,
                &self.user_agent,
                self.metrics.clone(),
            )?)),
            DiscoveryConfig::Other { key, .. } => Err(DiscoveryError::NotServed { key }),
            #[cfg(not(feature = "file"))]
            DiscoveryConfig::File(_) => Err(DiscoveryError::NotServed { key: "file_sd_configs" }),
            _ => Err(DiscoveryError::NotServed { key: "http_sd_configs" }),
        }
    }
}
