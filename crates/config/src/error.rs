//! What can be wrong with a configuration, and where.

use std::{fmt, io, path::PathBuf};

/// Why a configuration was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The text has faults: all that were found, in order of files and lines.
    #[error("{}", Listed(.0))]
    Invalid(Vec<Diagnostic>),
}

impl ConfigError {
    /// What is wrong with the text; empty if it could not even be read.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Invalid(diagnostics) => diagnostics,
            Self::Read { .. } => &[],
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Place {
    /// Line, from 1; 0 where no text stands behind a value.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// One thing that is wrong. Prints as `file:line:column: key.path: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// The file's name as it was given to the loader.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// Path of keys and list indexes: `scrape_configs[0].job_name`. Empty for the whole document.
    pub key_path: String,
    /// What is wrong, in Prometheus' words where it has any, and what was expected.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.place.line > 0 {
            write!(f, "{}:{}:", self.place.line, self.place.column)?;
        }
        if !self.key_path.is_empty() {
            write!(f, " {}:", self.key_path)?;
        }
        write!(f, " {}", self.message)
    }
}

struct Listed<'a>(&'a [Diagnostic]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() > 1 {
            writeln!(f, "{} errors:", self.0.len())?;
        }
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            fmt::Display::fmt(diagnostic, f)?;
        }
        Ok(())
    }
}
