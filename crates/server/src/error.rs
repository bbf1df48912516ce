//! Why the server does not start, or stopped.

use crate::flags::FlagError;

/// A failure of the server as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The command line is wrong.
    #[error("{}", .0.text.trim_end())]
    Flags(FlagError),
    /// The configuration is wrong or cannot be read.
    #[error("couldn't load configuration (--config.file={file:?}): {reason}")]
    Config {
        /// The file.
        file: String,
        /// All that is wrong with it.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("listening on {address} (--web.listen-address): {source}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server's own TLS, users or headers cannot be had.
    #[error("unable to validate web configuration file (--web.config.file={file:?}): {reason}")]
    WebConfig {
        /// The file.
        file: String,
        /// All that is wrong with it.
        reason: String,
    },
    /// The storage cannot be opened.
    #[error("opening storage in {path:?} (--storage.tsdb.path): {source}")]
    Storage {
        /// The folder.
        path: String,
        /// Why.
        source: firesteel_tsdb::TsdbError,
    },
    /// The system refuses something else.
    #[error("{context}: {source}")]
    System {
        /// What was being done.
        context: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl ServerError {
    /// Prometheus' exit codes: 2 for the command line and the configuration, 1 for the rest.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Flags(error) => error.exit_code,
            Self::Config { .. } => 2,
            _ => 1,
        }
    }
}

impl From<FlagError> for ServerError {
    fn from(error: FlagError) -> Self {
        Self::Flags(error)
    }
}
