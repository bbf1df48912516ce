//! A loaded configuration.

use std::path::PathBuf;

use crate::{
    AlertingConfig, ConfigError, Diagnostic, GlobalConfig, NotServed, OtlpConfig, Place,
    RemoteReadConfig, RemoteWriteConfig, ScrapeConfig, StorageConfig, TracingConfig, emit,
    schema::root, value::Section,
};

/// A loaded configuration: typed where this version serves it, and whole as a document.
///
/// The typed fields were made from the document when it was loaded; changing them does not change
/// what [`Config::to_yaml`] prints.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The section `global`, with external labels expanded.
    pub global: GlobalConfig,
    /// All jobs: of the main file, then of `scrape_config_files`.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// The section `alerting`.
    pub alerting: AlertingConfig,
    /// Where samples are sent.
    pub remote_write: Vec<RemoteWriteConfig>,
    /// Where samples are read from besides the own storage.
    pub remote_read: Vec<RemoteReadConfig>,
    /// How metrics of OpenTelemetry become series.
    pub otlp: OtlpConfig,
    /// Where the server's own traces go.
    pub tracing: Option<TracingConfig>,
    /// The section `storage`.
    pub storage: StorageConfig,
    /// Patterns of rule files.
    pub rule_files: Vec<PathBuf>,
    /// Patterns of files with further jobs.
    pub scrape_config_files: Vec<PathBuf>,
    pub(crate) document: Section,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) not_served: Vec<NotServed>,
}

impl Config {
    /// Without a job, with Prometheus' defaults.
    pub(crate) fn empty() -> Self {
        Self {
            global: GlobalConfig::default(),
            scrape_configs: Vec::new(),
            alerting: AlertingConfig::default(),
            remote_write: Vec::new(),
            remote_read: Vec::new(),
            otlp: OtlpConfig::default(),
            tracing: None,
            storage: StorageConfig::default(),
            rule_files: Vec::new(),
            scrape_config_files: Vec::new(),
            document: Section::with_defaults(&root::CONFIG, Place::default()),
            warnings: Vec::new(),
            not_served: Vec::new(),
        }
    }

    /// The whole document of the main file, defaults filled in.
    #[must_use]
    pub const fn document(&self) -> &Section {
        &self.document
    }

    /// The document as `/api/v1/status/config` shows it: as Prometheus prints it, defaults filled
    /// in, secrets masked. Jobs of `scrape_config_files` are not part of it.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        emit::document(&self.document)
    }

    /// What is odd but was accepted.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// What is configured and has no effect yet, for a warning each.
    #[must_use]
    pub fn not_served(&self) -> &[NotServed] {
        &self.not_served
    }

    /// Whether an agent could run with it: agents evaluate no rules and read no remote storage.
    ///
    /// # Errors
    /// A section that agents do not have.
    pub fn check_agent(&self, file: &str) -> Result<(), ConfigError> {
        for key in ["alerting", "rule_files", "remote_read"] {
            if self.document.has(key) {
                return Err(ConfigError::Invalid(vec![Diagnostic {
                    file: file.to_owned(),
                    place: self.document.place_of(key),
                    key_path: key.to_owned(),
                    message: format!("field {key} is not allowed in agent mode"),
                }]));
            }
        }
        Ok(())
    }
}
