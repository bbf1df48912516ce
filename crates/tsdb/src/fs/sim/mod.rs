//! A file system in memory that fails the way disks do.
//!
//! Files and directories are inodes. Each has what a process sees and what the disk holds; the
//! writes and the changes of names in between wait for a sync. [`SimFs::crash`] throws away the
//! former according to a [`Crash`] mode. Everything random comes from a seed.
mod disk;

use std::{io, ops::Range, path::Path, sync::Arc};

use parking_lot::Mutex;

use self::disk::{Change, Data, Dir, Inode, ROOT, State, components, put};
use super::{DirEntry, File, Fs, Lock, Metadata, Open, Slice, Space};

/// What survives a simulated power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Everything, as when only the process is killed.
    KeepAll,
    /// Only what was synced.
    DropUnsynced,
    /// What was synced and a random part of the rest: changes of names one by one, writes
    /// by sectors of 512 bytes.
    Random {
        /// Decides which part.
        seed: u64,
    },
    /// Names and lengths of files, but of what was not synced zeros instead of the content, as
    /// file systems do that write their own structures first.
    NamesOnly,
}

/// A kind of call, for [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// Opening that may create, removing, renaming, linking, making directories.
    Name,
    /// Writing, also cutting and reserving.
    Write,
    /// Reading.
    Read,
    /// Syncing a file or a directory.
    Sync,
}

/// A failure to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Calls of this kind count; `None` for all.
    pub kind: Option<OpKind>,
    /// How many of them succeed first.
    pub after: u64,
    /// How many fail then; `u64::MAX` for all that follow.
    pub times: u64,
    /// What they fail with: [`io::ErrorKind::StorageFull`] for ENOSPC; anything else is EIO.
    pub error: io::ErrorKind,
}

/// A simulated file system. Clones share it.
#[derive(Clone, Debug)]
pub struct SimFs(Arc<Mutex<State>>);

impl Default for SimFs {
    fn default() -> Self {
        Self::new()
    }
}

impl SimFs {
    /// An empty file system of 1 TiB.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State::new(1 << 40))))
    }

    /// Cuts the power: what `mode` does not keep is gone, open handles fail from now on, locks
    /// are free, faults are forgotten.
    pub fn crash(&self, mode: Crash) {
        self.0.lock().crash(mode);
    }

    /// An independent copy of the disk and of what processes see of it, without handles, locks and
    /// faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::detached(self.0.lock().clone())
    }

    fn detached(mut state: State) -> Self {
        state.generation += 1;
        state.locks.clear();
        state.faults.clear();
        (state.short_writes, state.capture) = (None, None);
        Self(Arc::new(Mutex::new(state)))
    }

    /// Copies the file system before each call of these numbers that changes something, see
    /// [`SimFs::calls`].
    pub fn capture(&self, calls: Range<u64>) {
        self.0.lock().capture = Some((calls, Vec::new()));
    }

    /// Ends the capture and hands out the copies, each with the number of calls before it.
    #[must_use]
    pub fn take_captured(&self) -> Vec<(u64, Self)> {
        let captured = self.0.lock().capture.take().map_or_else(Vec::new, |c| c.1);
        captured.into_iter().map(|(n, state)| (n, Self::detached(state))).collect()
    }

    /// Plans a failure. Several may be planned; each counts for itself.
    pub fn fail(&self, fault: Fault) {
        self.0.lock().faults.push((fault, 0));
    }

    /// Takes back all planned failures.
    pub fn heal(&self) {
        let mut state = self.0.lock();
        state.faults.clear();
        state.short_writes = None;
    }

    /// From now on `write_at` writes a random part of what it is given, at least a byte.
    pub fn short_writes(&self, seed: u64) {
        self.0.lock().short_writes = Some(fastrand::Rng::with_seed(seed));
    }

    /// Sets the size of the file system; writes beyond it fail with ENOSPC.
    pub fn set_total(&self, bytes: u64) {
        self.0.lock().total = bytes;
    }

    /// How many calls there were, to choose which one to fail.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    id: u64,
    generation: u64,
    writable: bool,
    end: Mutex<u64>,
}

impl SimFile {
    fn with<T>(
        &self,
        kind: OpKind,
        work: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.fs.0.lock();
        if state.generation != self.generation {
            return Err(io::Error::other("the file was open when the simulated machine crashed"));
        }
        if kind == OpKind::Write && !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        state.call(kind)?;
        work(&mut state)
    }
}

impl File for SimFile {
    fn append(&self, data: &[u8]) -> io::Result<u64> {
        let mut end = self.end.lock();
        let at = *end;
        self.write_all_at(data, at)?;
        *end = at + data.len() as u64;
        Ok(at)
    }

    fn end(&self) -> u64 {
        *self.end.lock()
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.with(OpKind::Write, |state| {
            let mut n = data.len();
            if let Some(rng) = &mut state.short_writes
                && n > 1
            {
                n = rng.usize(1..=n);
            }
            let room = state.total.saturating_sub(state.used());
            let file = state.data(self.id)?;
            let held = file.reserved.max(file.seen.len() as u64);
            let grow = (offset + n as u64).saturating_sub(held);
            if grow > room {
                n = n.saturating_sub((grow - room) as usize);
                if n == 0 {
                    return Err(rustix::io::Errno::NOSPC.into());
                }
            }
            put(&mut file.seen, offset as usize, &data[..n]);
            file.pending.push(Change::Write(offset, data[..n].to_vec()));
            Ok(n)
        })
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(OpKind::Read, |state| {
            let seen = &state.data(self.id)?.seen;
            let from = seen.get(offset as usize..).unwrap_or_default();
            let n = from.len().min(out.len());
            out[..n].copy_from_slice(&from[..n]);
            Ok(n)
        })
    }

    fn sync(&self) -> io::Result<()> {
        let done = self.with(OpKind::Sync, |state| {
            state.data(self.id)?.sync();
            Ok(())
        });
        if done.is_err() {
            // As Linux does: the pages count as clean from here on, so no later sync writes them.
            let mut state = self.fs.0.lock();
            if state.generation == self.generation
                && let Ok(data) = state.data(self.id)
            {
                data.pending.clear();
            }
        }
        done
    }

    fn len(&self) -> io::Result<u64> {
        self.with(OpKind::Read, |state| Ok(state.data(self.id)?.seen.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut end = self.end.lock();
        self.with(OpKind::Write, |state| {
            let file = state.data(self.id)?;
            file.seen.resize(len as usize, 0);
            file.reserved = 0;
            file.pending.push(Change::SetLen(len));
            Ok(())
        })?;
        *end = len;
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(OpKind::Write, |state| {
            let room = state.total.saturating_sub(state.used());
            let data = state.data(self.id)?;
            let grow = len.saturating_sub(data.reserved.max(data.seen.len() as u64));
            if grow > room {
                return Err(rustix::io::Errno::NOSPC.into());
            }
            data.reserved = data.reserved.max(len);
            Ok(())
        })
    }
}

#[derive(Debug)]
struct SimLock {
    fs: SimFs,
    id: u64,
    generation: u64,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.fs.0.lock();
        if state.generation == self.generation {
            state.locks.remove(&self.id);
        }
    }
}

impl Fs for SimFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut state = self.0.lock();
        state.call(if how == Open::Read { OpKind::Read } else { OpKind::Name })?;
        let id = match state.find(path) {
            Ok(_) if how == Open::CreateNew => return Err(io::ErrorKind::AlreadyExists.into()),
            Ok(id) => id,
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Err(e) if matches!(how, Open::Read | Open::Write) => return Err(e),
            Err(_) => {
                let (dir, name) = state.place(path)?;
                let id = state.add(Inode::File(Data::default()));
                state.change(vec![(dir, name, Some(id))]);
                id
            }
        };
        let data = state.data(id)?;
        if how == Open::Truncate && !data.seen.is_empty() {
            data.seen.clear();
            data.pending.push(Change::SetLen(0));
        }
        let end = Mutex::new(data.seen.len() as u64);
        let generation = state.generation;
        let writable = how != Open::Read;
        Ok(Arc::new(SimFile { fs: self.clone(), id, generation, writable, end }))
    }

    fn read(&self, path: &Path, range: Range<u64>) -> io::Result<Slice> {
        let mut state = self.0.lock();
        state.call(OpKind::Read)?;
        let id = state.find(path)?;
        let bytes = state.data(id)?.seen.get(range.start as usize..range.end as usize);
        Ok(bytes.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec().into())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(OpKind::Sync)?;
        let id = state.find(dir)?;
        state.dir(id)?;
        let names = std::mem::take(&mut state.names);
        for change in names {
            if change.iter().any(|(dir, _, _)| *dir == id) {
                state.apply_to_disk(&change);
            } else {
                state.names.push(change);
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(OpKind::Name)?;
        let id = state.find(from)?;
        let (from_dir, from_name) = state.place(from)?;
        let (to_dir, to_name) = state.place(to)?;
        if let Ok(there) = state.find(to)
            && let Ok(dir) = state.dir(there)
            && !dir.seen.is_empty()
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.change(vec![(from_dir, from_name, None), (to_dir, to_name, Some(id))]);
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(OpKind::Name)?;
        let id = state.find(from)?;
        state.data(id)?;
        let (dir, name) = state.place(to)?;
        if state.dir(dir)?.seen.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.change(vec![(dir, name, Some(id))]);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(OpKind::Name)?;
        let id = state.find(path)?;
        state.data(id)?;
        let (dir, name) = state.place(path)?;
        state.change(vec![(dir, name, None)]);
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.call(OpKind::Name)?;
        let mut at = ROOT;
        for name in components(path)? {
            let found = state.dir(at)?.seen.get(&name).copied();
            at = match found {
                Some(id) => id,
                None => {
                    let id = state.add(Inode::Dir(Dir::default()));
                    state.change(vec![(at, name, Some(id))]);
                    id
                }
            };
        }
        state.dir(at).map(|_| ())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        // Entry by entry, as the real one: a crash in between leaves a part.
        for entry in self.read_dir(path)? {
            let below = path.join(&entry.name);
            if entry.is_dir {
                self.remove_dir_all(&below)?;
            } else {
                self.remove_file(&below)?;
            }
        }
        let mut state = self.0.lock();
        state.call(OpKind::Name)?;
        let (dir, name) = state.place(path)?;
        state.change(vec![(dir, name, None)]);
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.0.lock();
        state.call(OpKind::Read)?;
        let dir = state.dir(state.find(path)?)?;
        let is_dir = |id: &u64| matches!(state.inodes.get(id), Some(Inode::Dir(_)));
        let entry =
            |(name, id): (&String, &u64)| DirEntry { name: name.clone(), is_dir: is_dir(id) };
        Ok(dir.seen.iter().map(entry).collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let mut state = self.0.lock();
        state.call(OpKind::Read)?;
        let id = state.find(path)?;
        Ok(match state.inodes.get(&id) {
            Some(Inode::File(data)) => Metadata { len: data.seen.len() as u64, is_dir: false },
            _ => Metadata { len: 0, is_dir: true },
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.open(path, Open::Create)?;
        let mut state = self.0.lock();
        let id = state.find(path)?;
        if !state.locks.insert(id) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { fs: self.clone(), id, generation: state.generation }))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let mut state = self.0.lock();
        state.call(OpKind::Read)?;
        Ok(Space { free: state.total.saturating_sub(state.used()), total: state.total })
    }
}
