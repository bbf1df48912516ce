//! The section `alerting`: where alerts go.

use std::time::Duration;

use firesteel_model::{ValidationScheme, relabel::RelabelConfig};

use super::{
    convert::{self, relabel_configs},
    discovery::DiscoveryConfig,
    http::HttpClientConfig,
    remote::SigV4,
};
use crate::{Section, diagnose::Diagnostics};

/// The section `alerting`.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct AlertingConfig {
    /// Rules that alerts pass before they are sent, after the external labels.
    pub alert_relabel_configs: Vec<RelabelConfig>,
    /// Where they are sent.
    pub alertmanagers: Vec<AlertmanagerConfig>,
}

/// The API that Alertmanagers are spoken to with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlertmanagerApi {
    /// `v2`, the only one since Prometheus 3.
    #[default]
    V2,
}

impl AlertmanagerApi {
    /// The name in configuration files and in URLs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
        }
    }
}

/// One entry of `alertmanagers`: a set of Alertmanagers that are found and reached in the same way.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AlertmanagerConfig {
    /// `http` or `https`.
    pub scheme: String,
    /// What stands before `/api/v2/alerts`.
    pub path_prefix: String,
    /// How long a request may take.
    pub timeout: Duration,
    /// The API.
    pub api_version: AlertmanagerApi,
    /// How they are reached.
    pub http: HttpClientConfig,
    /// How requests are signed, where they are.
    pub sigv4: Option<SigV4>,
    /// Where they are found.
    pub discovery: Vec<DiscoveryConfig>,
    /// Rules that the Alertmanagers found pass before they are used.
    pub relabel_configs: Vec<RelabelConfig>,
    /// Rules that alerts pass before they are sent here, after those of [`AlertingConfig`].
    pub alert_relabel_configs: Vec<RelabelConfig>,
}

impl Default for AlertmanagerConfig {
    fn default() -> Self {
        Self {
            scheme: "http".to_owned(),
            path_prefix: String::new(),
            timeout: Duration::from_secs(10),
            api_version: AlertmanagerApi::V2,
            http: HttpClientConfig::default(),
            sigv4: None,
            discovery: Vec::new(),
            relabel_configs: Vec::new(),
            alert_relabel_configs: Vec::new(),
        }
    }
}

impl AlertingConfig {
    /// Of the section, whose rules are checked.
    pub(crate) fn of(
        alerting: &Section,
        scheme: ValidationScheme,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let sections = alerting.sections("alertmanagers").enumerate();
        let alertmanagers = sections.filter(|(_, section)| !section.is_null());
        Self {
            alert_relabel_configs: relabel_configs(
                alerting,
                "alert_relabel_configs",
                scheme,
                diagnostics,
            ),
            alertmanagers: alertmanagers
                .map(|(i, section)| {
                    diagnostics.below("alertmanagers", |d| {
                        d.at_index(i, |d| AlertmanagerConfig::of(section, scheme, d))
                    })
                })
                .collect(),
        }
    }
}

impl AlertmanagerConfig {
    fn of(section: &Section, scheme: ValidationScheme, diagnostics: &mut Diagnostics) -> Self {
        Self {
            scheme: section.text("scheme").to_owned(),
            path_prefix: section.text("path_prefix").to_owned(),
            timeout: section.duration("timeout"),
            api_version: AlertmanagerApi::V2,
            http: convert::http_client(section),
            sigv4: section.section("sigv4").map(SigV4::of),
            discovery: convert::discovery(section),
            relabel_configs: relabel_configs(section, "relabel_configs", scheme, diagnostics),
            alert_relabel_configs: relabel_configs(
                section,
                "alert_relabel_configs",
                scheme,
                diagnostics,
            ),
        }
    }
}
