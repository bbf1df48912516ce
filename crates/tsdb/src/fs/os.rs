//! The real file system.

use std::{
    fs::{self, File as StdFile, OpenOptions, TryLockError},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::FallocateFlags;

use super::{DirEntry, File, Fs, Lock, Metadata, Open, Slice, Space};

/// Smaller parts are read rather than mapped: a mapping costs two calls and a page fault per page.
const MIN_MAP: u64 = 64 << 10;

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFs {
    map: bool,
}

impl OsFs {
    /// Reads files with `pread`.
    #[must_use]
    pub const fn new() -> Self {
        Self { map: false }
    }

    /// Maps what is read with [`Fs::read`], where it is large. Mapped pages belong to the page
    /// cache; in turn, a failing disk or a file cut by someone else kills the process.
    #[must_use]
    pub const fn mapped() -> Self {
        Self { map: true }
    }
}

#[derive(Debug)]
struct OsFile {
    file: StdFile,
    end: AtomicU64,
}

impl File for OsFile {
    fn append(&self, data: &[u8]) -> io::Result<u64> {
        let at = self.end.load(Ordering::Acquire);
        self.file.write_all_at(data, at)?;
        self.end.store(at + data.len() as u64, Ordering::Release);
        Ok(at)
    }

    fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(data, offset)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(out, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.end.store(len, Ordering::Release);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if len > 0 {
            return match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, len) {
                Err(e) if e == rustix::io::Errno::OPNOTSUPP || e == rustix::io::Errno::NOSYS => {
                    Ok(())
                }
                other => Ok(other?),
            };
        }
        Ok(())
    }
}

#[derive(Debug)]
struct OsLock {
    /// Closing it releases the lock.
    _file: StdFile,
}

impl Lock for OsLock {}

#[allow(
    unsafe_code,
    reason = "memory maps cannot be made safely; the storage never cuts a file that it maps"
)]
fn map(file: &StdFile) -> io::Result<memmap2::Mmap> {
    // SAFETY: the bytes of a map must not change while they are borrowed. The files that are read
    // as slices (index, chunks, sealed head chunks) are immutable once they have their name, and
    // are unlinked, never truncated. What a foreign process does to them is its responsibility;
    // pread, the default, does not depend on it.
    unsafe { memmap2::Mmap::map(file) }
}

impl Fs for OsFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(how != Open::Read);
        match how {
            Open::Read | Open::Write => {}
            Open::Create => {
                options.create(true).truncate(false);
            }
            Open::CreateNew => {
                options.create_new(true);
            }
            Open::Truncate => {
                options.create(true).truncate(true);
            }
        }
        let file = options.open(path)?;
        let end = AtomicU64::new(file.metadata()?.len());
        Ok(Arc::new(OsFile { file, end }))
    }

    fn read(&self, path: &Path, range: Range<u64>) -> io::Result<Slice> {
        let file = StdFile::open(path)?;
        let len = range.end.saturating_sub(range.start);
        if range.end > file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fits =
            |n: u64| usize::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
        if self.map && len >= MIN_MAP {
            return Ok(Slice::mapped(map(&file)?, fits(range.start)?..fits(range.end)?));
        }
        let mut bytes = vec![0; fits(len)?];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes.into())
    }

    fn maps(&self) -> bool {
        self.map
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        StdFile::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let found = fs::metadata(path)?;
        Ok(Metadata { len: found.len(), is_dir: found.is_dir() })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(OsLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(path)?;
        let unit = found.f_frsize;
        Ok(Space {
            free: found.f_bavail.saturating_mul(unit),
            total: found.f_blocks.saturating_mul(unit),
        })
    }
}
