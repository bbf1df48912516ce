//! The file system behind a trait, so that every fault can be rehearsed.
//!
//! All of the storage goes through [`Fs`]. [`OsFs`] is the real one; [`SimFs`] lives in memory,
//! loses what was not synced, tears sectors and fails on demand.

mod append;
mod os;
mod read_only;
mod sim;
mod slice;
mod source;
#[cfg(test)]
mod tests;

use std::{fmt, io, ops::Range, path::Path, sync::Arc};

pub(crate) use append::{AppendWriter, replace_file};
pub use os::OsFs;
pub use read_only::ReadOnlyFs;
pub use sim::{Crash, Fault, OpKind, SimFs};
pub use slice::Slice;
pub(crate) use source::{Source, Window};

/// How [`Fs::open`] opens a file. Every file can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// For reading and writing; made where it is missing.
    Create,
    /// For reading and writing; must not exist.
    CreateNew,
    /// For reading and writing; emptied where it exists, made where not.
    Truncate,
}

/// What there is to know about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Length in bytes; meaningless for directories.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Its name within the directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Space of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What is left for us.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

/// Holds a lock until it is dropped (or the process dies).
pub trait Lock: Send + Sync + fmt::Debug {}

/// An open file. Handles can be shared by threads.
pub trait File: Send + Sync + fmt::Debug {
    /// Writes at the end of the file and returns where. The end is the length at opening time
    /// plus what this handle appended; [`File::set_len`] moves it. One thread at a time appends.
    ///
    /// # Errors
    /// Part of `data` may lie in the file then, past the end, which did not move: the next append
    /// overwrites it, [`File::set_len`] to [`File::end`] cuts it.
    fn append(&self, data: &[u8]) -> io::Result<u64>;

    /// Where the next [`File::append`] goes.
    fn end(&self) -> u64;

    /// Writes at `offset` and returns how many bytes, which may be fewer than given.
    ///
    /// # Errors
    /// The system's.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// The system's; a part may be written.
    fn write_all_at(&self, mut data: &[u8], mut offset: u64) -> io::Result<()> {
        while !data.is_empty() {
            match self.write_at(data, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    data = data.get(n..).unwrap_or_default();
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Reads at `offset` and returns how many bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `out` from `offset`.
    ///
    /// # Errors
    /// The system's, or [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < out.len() {
            match self.read_at(&mut out[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Makes what was written durable (`fdatasync`). The file's name needs [`Fs::sync_dir`].
    ///
    /// # Errors
    /// The system's. What was written before may be lost for good then, even if a later sync
    /// succeeds: write it again.
    fn sync(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> io::Result<u64>;

    /// Cuts or extends (with zeros) the file; the end for appending becomes `len`.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves space on disk for the file to grow to `len`, without changing its length. Does
    /// nothing where the file system cannot.
    ///
    /// # Errors
    /// The disk is full, among others.
    fn allocate(&self, len: u64) -> io::Result<()>;
}

/// A file system. Paths are used as they are given.
pub trait Fs: Send + Sync + fmt::Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;

    /// Reads a part of a file, which must have it. The result is owned or mapped, as the
    /// implementation sees fit.
    ///
    /// # Errors
    /// The system's, or [`io::ErrorKind::UnexpectedEof`].
    fn read(&self, path: &Path, range: Range<u64>) -> io::Result<Slice>;

    /// Whether [`Fs::read`] maps large files, so that it is cheap to ask for all of one.
    fn maps(&self) -> bool {
        false
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// The system's.
    fn read_all(&self, path: &Path) -> io::Result<Slice> {
        self.read(path, 0..self.metadata(path)?.len)
    }

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file or directory, replacing a file of the new name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name.
    ///
    /// # Errors
    /// The system's.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and the missing ones above it.
    ///
    /// # Errors
    /// The system's.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all below it.
    ///
    /// # Errors
    /// The system's.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, sorted by name. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// The system's.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// What there is to know about a path.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotFound`] where there is nothing.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Whether there is something at a path.
    ///
    /// # Errors
    /// The system's.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Takes an exclusive lock (`flock`) on a file, which is made where it is missing. Does not
    /// wait.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where someone else holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// Space of the file system that holds `path`.
    ///
    /// # Errors
    /// The system's.
    fn space(&self, path: &Path) -> io::Result<Space>;
}
