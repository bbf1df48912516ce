//! Why a mechanism could not be started or refreshed.

/// A failure of discovery. The targets found earlier stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The mechanism is not part of this version, or not of this build.
    #[error("{key} is not served by this build")]
    NotServed {
        /// The key in the job.
        key: &'static str,
    },
    /// A file or an answer that is not a list of target groups.
    #[error("{from}: {reason}")]
    Groups {
        /// The file or the URL.
        from: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// We are not where the mechanism works, such as in a pod.
    #[error("{0}")]
    Unavailable(String),
    /// Name servers that have no answer.
    #[error("{0}")]
    Dns(String),
    /// No answer, or not one of the kind that was asked for.
    #[error("{0}")]
    Http(String),
}
