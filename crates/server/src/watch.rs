//! Notices that files of the configuration have changed, where the server is asked to.

use std::{path::PathBuf, time::Duration};

use firesteel_config::{ConfigError, OsFiles, fingerprint};
use parking_lot::Mutex;

use crate::options::{ConfigSource, Options};

/// Looks at the configuration's files every now and then. Source: the reload handler in
/// `cmd/prometheus/main.go`.
pub(crate) struct FileWatch {
    file: PathBuf,
    interval: Duration,
    /// That of the files in force; `None` where they could not be read.
    in_force: Mutex<Option<u64>>,
}

impl FileWatch {
    /// A watch over the files as they are now, if the flags ask for one.
    pub(crate) fn of(options: &Options) -> Option<Self> {
        let (interval, ConfigSource::File(file)) = (options.auto_reload?, &options.config) else {
            return None;
        };
        tracing::info!(?interval, "automatic configuration file reloading enabled");
        let watch = Self { file: file.clone(), interval, in_force: Mutex::new(None) };
        watch.took_over(watch.look().ok());
        Some(watch)
    }

    /// The time between two looks.
    pub(crate) const fn interval(&self) -> Duration {
        self.interval
    }

    /// The files' fingerprint now.
    pub(crate) fn look(&self) -> Result<u64, ConfigError> {
        fingerprint(&self.file, &OsFiles).inspect_err(|error| {
            tracing::error!(%error, "failed to generate checksum during configuration reload");
        })
    }

    /// Whether the files are no longer those in force. Files that cannot be read count as changed:
    /// loading them says why, again and again.
    pub(crate) fn changed(&self) -> bool {
        self.look().ok().is_none_or(|now| *self.in_force.lock() != Some(now))
    }

    /// Notes that the files with this fingerprint are in force.
    pub(crate) fn took_over(&self, fingerprint: Option<u64>) {
        *self.in_force.lock() = fingerprint;
    }
}
