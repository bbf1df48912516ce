//! A file system that does not change.

use std::{io, ops::Range, path::Path, sync::Arc};

use super::{DirEntry, File, Fs, Lock, Metadata, Open, Slice, Space};

/// Passes reading on to another file system and refuses everything else, with
/// [`io::ErrorKind::ReadOnlyFilesystem`].
#[derive(Clone, Debug)]
pub struct ReadOnlyFs(Arc<dyn Fs>);

impl ReadOnlyFs {
    /// Reads from `fs`.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>) -> Self {
        Self(fs)
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Fs for ReadOnlyFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if matches!(how, Open::Read) { self.0.open(path, how) } else { refused() }
    }

    fn read(&self, path: &Path, range: Range<u64>) -> io::Result<Slice> {
        self.0.read(path, range)
    }

    fn maps(&self) -> bool {
        self.0.maps()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn hard_link(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.read_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.0.metadata(path)
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Lock>> {
        refused()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.space(path)
    }
}
