//! What a simulated machine and its disk hold.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    ops::Range,
    path::{Component, Path},
};

use super::{Crash, Fault, OpKind};

const SECTOR: usize = 512;
pub(super) const ROOT: u64 = 0;

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    pub(super) seen: Vec<u8>,
    pub(super) disk: Vec<u8>,
    pub(super) pending: Vec<Change>,
    /// Bytes reserved, whether they are written or not.
    pub(super) reserved: u64,
    /// Names of the file; without one it takes no space.
    pub(super) links: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dir {
    pub(super) seen: BTreeMap<String, u64>,
    pub(super) disk: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
pub(super) enum Inode {
    File(Data),
    Dir(Dir),
}

/// Entries of directories that change together: directory, name, what it names afterwards.
pub(super) type Rename = Vec<(u64, String, Option<u64>)>;

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) inodes: HashMap<u64, Inode>,
    pub(super) next: u64,
    /// Changes of names that no `sync_dir` has made durable, in order.
    pub(super) names: Vec<Rename>,
    pub(super) locks: HashSet<u64>,
    pub(super) faults: Vec<(Fault, u64)>,
    pub(super) short_writes: Option<fastrand::Rng>,
    pub(super) total: u64,
    /// Handles of an earlier generation died in a crash.
    pub(super) generation: u64,
    pub(super) calls: u64,
    /// Before which calls to keep a copy, and the copies.
    pub(super) capture: Option<(Range<u64>, Vec<(u64, State)>)>,
}

pub(super) enum Keep {
    All,
    Nothing,
    Random(fastrand::Rng),
    Names,
}

impl Keep {
    pub(super) fn new(mode: Crash) -> Self {
        match mode {
            Crash::KeepAll => Self::All,
            Crash::DropUnsynced => Self::Nothing,
            Crash::Random { seed } => Self::Random(fastrand::Rng::with_seed(seed)),
            Crash::NamesOnly => Self::Names,
        }
    }

    pub(super) fn one(&mut self) -> bool {
        match self {
            Self::All | Self::Names => true,
            Self::Nothing => false,
            Self::Random(rng) => rng.bool(),
        }
    }
}

pub(super) fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}

impl Data {
    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write(at, bytes) => put(&mut self.disk, at as usize, &bytes),
                Change::SetLen(len) => self.disk.resize(len as usize, 0),
            }
        }
    }

    pub(super) fn crash(&mut self, keep: &mut Keep) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::SetLen(len) => {
                    if keep.one() {
                        self.disk.resize(len as usize, 0);
                    }
                }
                Change::Write(at, bytes) => {
                    let mut at = at as usize;
                    let mut rest = &bytes[..];
                    if matches!(keep, Keep::Names) {
                        // The length is kept with the names, the content is not.
                        let len = self.disk.len().max(at + rest.len());
                        self.disk.resize(len, 0);
                        continue;
                    }
                    while !rest.is_empty() {
                        let n = rest.len().min(SECTOR - at % SECTOR);
                        if keep.one() {
                            put(&mut self.disk, at, &rest[..n]);
                        }
                        at += n;
                        rest = &rest[n..];
                    }
                }
            }
        }
        self.seen.clone_from(&self.disk);
    }
}

pub(super) fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

pub(super) fn components(path: &Path) -> io::Result<Vec<String>> {
    let mut out = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => {
                let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
                out.push(name.to_owned());
            }
            Component::ParentDir => {
                out.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(out)
}

impl State {
    /// An empty file system.
    pub(super) fn new(total: u64) -> Self {
        Self {
            inodes: HashMap::from([(ROOT, Inode::Dir(Dir::default()))]),
            next: ROOT + 1,
            names: Vec::new(),
            locks: HashSet::new(),
            faults: Vec::new(),
            short_writes: None,
            total,
            generation: 0,
            calls: 0,
            capture: None,
        }
    }

    /// Cuts the power.
    pub(super) fn crash(&mut self, mode: Crash) {
        self.generation += 1;
        self.locks.clear();
        self.capture = None;
        self.faults.clear();
        self.short_writes = None;
        let mut keep = Keep::new(mode);
        let names = std::mem::take(&mut self.names);
        for change in names {
            if keep.one() {
                self.apply_to_disk(&change);
            }
        }
        let mut ids: Vec<u64> = self.inodes.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            match self.inodes.get_mut(&id) {
                Some(Inode::File(data)) => data.crash(&mut keep),
                Some(Inode::Dir(dir)) => dir.seen.clone_from(&dir.disk),
                None => {}
            }
        }
        self.collect();
    }

    /// Counts the call and fails it where that is planned.
    pub(super) fn call(&mut self, kind: OpKind) -> io::Result<()> {
        if let Some((range, mut copies)) = self.capture.take() {
            // What only reads leaves the disk as it was.
            if range.contains(&self.calls) && kind != OpKind::Read {
                copies.push((self.calls, self.clone()));
            }
            self.capture = Some((range, copies));
        }
        self.calls += 1;
        for (fault, count) in &mut self.faults {
            if fault.kind.is_some_and(|k| k != kind) {
                continue;
            }
            *count += 1;
            if *count > fault.after && *count - fault.after <= fault.times {
                return Err(match fault.error {
                    io::ErrorKind::StorageFull => rustix::io::Errno::NOSPC.into(),
                    _ => rustix::io::Errno::IO.into(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn dir(&self, id: u64) -> io::Result<&Dir> {
        match self.inodes.get(&id) {
            Some(Inode::Dir(dir)) => Ok(dir),
            Some(Inode::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(not_found()),
        }
    }

    pub(super) fn data(&mut self, id: u64) -> io::Result<&mut Data> {
        match self.inodes.get_mut(&id) {
            Some(Inode::File(data)) => Ok(data),
            Some(Inode::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(not_found()),
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT;
        for name in components(path)? {
            at = *self.dir(at)?.seen.get(&name).ok_or_else(not_found)?;
        }
        Ok(at)
    }

    /// The directory and the name of a path's last part.
    pub(super) fn place(&self, path: &Path) -> io::Result<(u64, String)> {
        let mut parts = components(path)?;
        let name = parts.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = ROOT;
        for part in parts {
            at = *self.dir(at)?.seen.get(&part).ok_or_else(not_found)?;
        }
        self.dir(at)?;
        Ok((at, name))
    }

    pub(super) fn add(&mut self, inode: Inode) -> u64 {
        let id = self.next;
        self.next += 1;
        self.inodes.insert(id, inode);
        id
    }

    pub(super) fn change(&mut self, change: Rename) {
        for (dir, name, to) in &change {
            if let Some(Inode::Dir(dir)) = self.inodes.get_mut(dir) {
                let before = match to {
                    Some(id) => dir.seen.insert(name.clone(), *id),
                    None => dir.seen.remove(name),
                };
                for (id, more) in [(before, false), (*to, true)] {
                    if let Some(Inode::File(data)) = id.and_then(|id| self.inodes.get_mut(&id)) {
                        data.links = if more { data.links + 1 } else { data.links - 1 };
                    }
                }
            }
        }
        self.names.push(change);
    }

    pub(super) fn apply_to_disk(&mut self, change: &Rename) {
        for (dir, name, to) in change {
            if let Some(Inode::Dir(dir)) = self.inodes.get_mut(dir) {
                match to {
                    Some(id) => dir.disk.insert(name.clone(), *id),
                    None => dir.disk.remove(name),
                };
            }
        }
    }

    /// Forgets the inodes that cannot be reached any more. Only after a crash: open handles keep
    /// an unlinked file alive.
    pub(super) fn collect(&mut self) {
        let mut links = HashMap::from([(ROOT, 1)]);
        let mut todo = vec![ROOT];
        while let Some(id) = todo.pop() {
            if let Some(Inode::Dir(dir)) = self.inodes.get(&id) {
                for &id in dir.seen.values() {
                    let count = links.entry(id).or_insert(0);
                    *count += 1;
                    if *count == 1 {
                        todo.push(id);
                    }
                }
            }
        }
        self.inodes.retain(|id, inode| {
            let count = links.get(id).copied().unwrap_or(0);
            if let Inode::File(data) = inode {
                data.links = count;
            }
            count > 0
        });
    }

    pub(super) fn used(&self) -> u64 {
        let len = |inode: &Inode| match inode {
            Inode::File(data) if data.links > 0 => data.reserved.max(data.seen.len() as u64),
            Inode::File(_) | Inode::Dir(_) => 0,
        };
        self.inodes.values().map(len).sum()
    }
}
