//! Notices that something happens in directories: by inotify where there is one.

use std::path::PathBuf;

// Reads any descriptor that tells when it is ready, such as inotify's.
#[cfg(target_os = "linux")]
use tokio::net::unix::pipe::Receiver;

/// Directories that are watched.
#[derive(Debug)]
pub(super) struct Watcher {
    directories: Vec<PathBuf>,
    #[cfg(target_os = "linux")]
    inotify: Option<Receiver>,
}

#[cfg(target_os = "linux")]
impl Watcher {
    /// Watches the directories of these patterns.
    ///
    /// # Errors
    /// The system has no more watches; then [`Watcher::changed`] waits for ever.
    pub(super) fn new(patterns: &[PathBuf]) -> (Self, Option<std::io::Error>) {
        use rustix::fs::inotify;
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let made = inotify::init(flags).map_err(std::io::Error::from);
        let (inotify, error) = match made.and_then(Receiver::from_owned_fd_unchecked) {
            Ok(inotify) => (Some(inotify), None),
            Err(error) => (None, Some(error)),
        };
        (Self { directories: directories(patterns), inotify }, error)
    }

    /// Watches what is there now: directories come and go. Cheap for those that are watched.
    ///
    /// # Errors
    /// A directory that is there cannot be watched.
    pub(super) fn renew(&self) -> Result<(), std::io::Error> {
        use rustix::fs::inotify::{self, WatchFlags as On};
        let Some(inotify) = &self.inotify else { return Ok(()) };
        let on = On::CREATE | On::CLOSE_WRITE | On::MOVED_TO | On::MOVED_FROM | On::DELETE;
        let on = on | On::ATTRIB | On::ONLYDIR;
        let mut failed = Ok(());
        for directory in &self.directories {
            match inotify::add_watch(inotify, directory, on) {
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => failed = Err(error.into()),
            }
        }
        failed
    }

    /// Waits until something happens in one of them. Cancel-safe.
    pub(super) async fn changed(&self) {
        let Some(inotify) = &self.inotify else { return std::future::pending().await };
        if inotify.readable().await.is_err() {
            return std::future::pending().await;
        }
        // What has happened does not matter: files are looked at anyway.
        let mut buffer = [0; 4096];
        while inotify.try_read(&mut buffer).is_ok_and(|len| len > 0) {}
    }
}

#[cfg(not(target_os = "linux"))]
impl Watcher {
    pub(super) fn new(patterns: &[PathBuf]) -> (Self, Option<std::io::Error>) {
        (Self { directories: directories(patterns) }, None)
    }

    pub(super) fn renew(&self) -> Result<(), std::io::Error> {
        tracing::trace!(directories = self.directories.len(), "files are looked at now and then");
        Ok(())
    }

    pub(super) async fn changed(&self) {
        std::future::pending().await
    }
}

/// Where the files of patterns are.
fn directories(patterns: &[PathBuf]) -> Vec<PathBuf> {
    let parent = |pattern: &PathBuf| match pattern.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut all: Vec<PathBuf> = patterns.iter().map(parent).collect();
    all.sort();
    all.dedup();
    all
}
