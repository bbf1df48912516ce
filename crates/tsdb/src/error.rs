//! What can go wrong in the storage.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use firesteel_model::storage::{AppendError, StorageError};

/// A failed operation of the storage.
#[derive(Debug)]
#[non_exhaustive]
pub enum TsdbError {
    /// The file system refused.
    Io {
        /// What was being done: `open`, `write`, ...
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file's bytes are not what they must be.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What was found and what was expected.
        what: String,
    },
    /// Another process has the directory open.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A limit of the format or of the configuration; the text names it.
    Limit(String),
    /// The caller broke a rule of the call, such as the order of series.
    Invalid(String),
    /// The database is closed, or still starting.
    NotReady(String),
    /// The work was given up because it was asked to stop.
    Canceled,
}

impl fmt::Display for TsdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, .. } => write!(f, "{action} {path:?}"),
            Self::Corrupt { path, offset, what } => write!(f, "{path:?}, offset {offset}: {what}"),
            Self::Locked { path } => write!(f, "{path:?} is in use by another process"),
            Self::Limit(text) | Self::Invalid(text) => f.write_str(text),
            Self::NotReady(text) => write!(f, "storage is not ready: {text}"),
            Self::Canceled => f.write_str("given up: the storage is being closed"),
        }
    }
}

impl Error for TsdbError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl TsdbError {
    /// Wraps a failure of the file system; made for `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source }
    }

    /// Damage at an offset of a file.
    pub fn corrupt(path: impl AsRef<Path>, offset: u64, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.as_ref().to_owned(), offset, what: what.into() }
    }

    /// Whether the disk (or a quota) is full.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl From<TsdbError> for StorageError {
    fn from(error: TsdbError) -> Self {
        match error {
            TsdbError::Corrupt { path, offset, what } => {
                Self::Corrupt { place: format!("{}, offset {offset}", path.display()), what }
            }
            TsdbError::Limit(text) => Self::Limit(text),
            TsdbError::NotReady(text) => Self::NotReady(text),
            TsdbError::Canceled => Self::Canceled,
            other => Self::other(other.to_string(), other),
        }
    }
}

impl From<TsdbError> for AppendError {
    fn from(error: TsdbError) -> Self {
        if error.is_out_of_space() {
            let TsdbError::Io { action, path, source } = &error else {
                return Self::OutOfSpace(error.to_string());
            };
            return Self::OutOfSpace(format!("{action} {}: {source}", path.display()));
        }
        match error {
            TsdbError::Limit(text) => Self::Limit(text),
            TsdbError::NotReady(text) => Self::NotReady(text),
            other => Self::Other { context: other.to_string(), source: Box::new(other) },
        }
    }
}
