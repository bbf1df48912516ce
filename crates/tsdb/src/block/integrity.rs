//! The integrity file of a block: what its files were when it was written.
//!
//! ```text
//! firesteel integrity 1
//! file 8754 0badcafe index
//! file 1234 deadbeef chunks/000001
//! file 9 9c1e5c30 tombstones
//! meta 543 12345678
//! <543 bytes: a copy of meta.json>
//! end 89abcdef
//! ```
//! Lengths are bytes, checksums CRC32C in hexadecimal; the last covers all lines before it. The
//! format is ours; see `docs/format/integrity.md`. Prometheus ignores the file.

use std::{fmt::Write as _, io, path::Path};

use super::{BlockMeta, CHUNKS_DIR, INDEX_FILE, META_FILE, TOMBSTONES_FILE, Tombstones};
use crate::{
    TsdbError,
    fs::{Fs, Open, replace_file},
};

/// Its name.
pub(crate) const INTEGRITY_FILE: &str = "integrity";
const HEAD: &str = "firesteel integrity 1\n";
/// The longest that is read: some 100 000 chunk files.
const MAX_LEN: u64 = 8 << 20;
/// Bytes per read of [`checksum`].
const PIECE: usize = 256 << 10;

/// What an integrity file says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSum {
    /// Its path from the block's directory on.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// CRC32C of its bytes.
    pub crc: u32,
}

/// An integrity file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integrity {
    /// Index, chunk files and tombstones.
    pub files: Vec<FileSum>,
    /// The bytes of `meta.json`.
    pub meta: Vec<u8>,
}

/// Length and checksum of a file; `watch` is told how many bytes were read and may end it (then
/// there is no result).
pub(crate) fn checksum(
    fs: &dyn Fs,
    path: &Path,
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<(u64, u32)>, TsdbError> {
    let file = fs.open(path, Open::Read).map_err(TsdbError::io("open", path))?;
    let mut piece = vec![0; PIECE];
    let (mut at, mut crc) = (0, 0);
    loop {
        let n = match file.read_at(&mut piece, at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(TsdbError::io("read", path))?,
        };
        if n == 0 {
            return Ok(Some((at, crc)));
        }
        crc = crc32c::crc32c_append(crc, piece.get(..n).unwrap_or_default());
        at += n as u64;
        if !watch(n as u64) {
            return Ok(None);
        }
    }
}

/// The names of a block's files that never change, in order.
pub(crate) fn fixed_files(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>, TsdbError> {
    let chunks = dir.join(CHUNKS_DIR);
    let mut names = vec![INDEX_FILE.to_owned()];
    for entry in fs.read_dir(&chunks).map_err(TsdbError::io("list", &chunks))? {
        if !entry.is_dir && entry.name.parse::<u64>().is_ok() {
            names.push(format!("{CHUNKS_DIR}/{}", entry.name));
        }
    }
    Ok(names)
}

impl Integrity {
    /// Describes the block in `dir` as it is now. Reads all of it.
    ///
    /// # Errors
    /// The file system's.
    pub fn describe(fs: &dyn Fs, dir: &Path) -> Result<Self, TsdbError> {
        let mut names = fixed_files(fs, dir)?;
        let tombstones = dir.join(TOMBSTONES_FILE);
        if fs.exists(&tombstones).map_err(TsdbError::io("look for", &tombstones))? {
            names.push(TOMBSTONES_FILE.to_owned());
        }
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            let (len, crc) = checksum(fs, &dir.join(&name), &mut |_| true)?.unwrap_or_default();
            files.push(FileSum { name, len, crc });
        }
        let path = dir.join(META_FILE);
        let meta = fs.read_all(&path).map_err(TsdbError::io("read", &path))?.to_vec();
        Ok(Self { files, meta })
    }

    /// Reads the file of a block's directory; `None` where there is none.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>, TsdbError> {
        let path = dir.join(INTEGRITY_FILE);
        let len = match fs.metadata(&path) {
            Ok(found) => found.len,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(TsdbError::io("stat", &path)(e)),
        };
        if len > MAX_LEN {
            let what = format!("integrity file of {len} bytes, the limit is {MAX_LEN}");
            return Err(TsdbError::corrupt(&path, 0, what));
        }
        let bytes = fs.read(&path, 0..len).map_err(TsdbError::io("read", &path))?;
        Self::decode(&bytes)
            .map(Some)
            .ok_or_else(|| TsdbError::corrupt(&path, 0, "the integrity file is damaged"))
    }

    /// Writes it to a block's directory: beside the old file, synced, then renamed.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), TsdbError> {
        replace_file(fs, &dir.join(INTEGRITY_FILE), &self.encode())
    }

    /// What it says of a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FileSum> {
        self.files.iter().find(|f| f.name == name)
    }

    fn encode(&self) -> Vec<u8> {
        let mut text = HEAD.to_owned();
        for FileSum { name, len, crc } in &self.files {
            let _ = writeln!(text, "file {len} {crc:08x} {name}");
        }
        let _ = writeln!(text, "meta {} {:08x}", self.meta.len(), crc32c::crc32c(&self.meta));
        let mut out = text.into_bytes();
        out.extend_from_slice(&self.meta);
        out.push(b'\n');
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(format!("end {crc:08x}\n").as_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        const END: usize = "end 00000000\n".len();
        let (body, end) = bytes.split_at_checked(bytes.len().checked_sub(END)?)?;
        if end != format!("end {:08x}\n", crc32c::crc32c(body)).as_bytes() {
            return None;
        }
        let mut rest = body.strip_prefix(HEAD.as_bytes())?;
        let mut files = Vec::new();
        loop {
            let line_end = rest.iter().position(|&b| b == b'\n')?;
            let line = std::str::from_utf8(rest.get(..line_end)?).ok()?;
            rest = rest.get(line_end + 1..)?;
            let mut words = line.splitn(4, ' ');
            let (kind, len, crc) = (words.next()?, words.next()?, words.next()?);
            let (len, crc) = (len.parse::<u64>().ok()?, u32::from_str_radix(crc, 16).ok()?);
            if kind == "meta" {
                let meta = rest.get(..usize::try_from(len).ok()?)?;
                return Some(Self { files, meta: meta.to_vec() });
            }
            // Later versions may say more of a block.
            if kind == "file" {
                files.push(FileSum { name: words.next()?.to_owned(), len, crc });
            }
        }
    }
}

/// Compares a block with its integrity file where that is cheap: the lengths of index and chunk
/// files, all of `meta.json` and tombstones. A damaged `meta.json` is restored from its copy, and so
/// are tombstones that were empty. What Prometheus (or a deletion of ours) has rewritten since counts
/// as it is. Returns what was put right or is to be known.
///
/// # Errors
/// The block is damaged.
pub(crate) fn check(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>, TsdbError> {
    let described = match Integrity::read(fs, dir) {
        Ok(Some(described)) => described,
        Ok(None) => return Ok(Vec::new()),
        Err(TsdbError::Corrupt { path, what, .. }) => {
            return Ok(vec![format!("{}: {what}; the block is taken as it is", path.display())]);
        }
        Err(other) => return Err(other),
    };
    let mut notes = Vec::new();
    for file in described.files.iter().filter(|f| f.name != TOMBSTONES_FILE) {
        let path = dir.join(&file.name);
        let len = match fs.metadata(&path) {
            Ok(found) => found.len,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(TsdbError::corrupt(&path, 0, "the file is missing"));
            }
            Err(e) => return Err(TsdbError::io("stat", &path)(e)),
        };
        if len != file.len {
            let what = format!("{len} bytes, when it was written it had {}", file.len);
            return Err(TsdbError::corrupt(&path, len.min(file.len), what));
        }
    }
    notes.extend(check_meta(fs, dir, &described)?);
    notes.extend(check_tombstones(fs, dir, &described)?);
    Ok(notes)
}

fn read_small(fs: &dyn Fs, path: &Path) -> Result<Option<Vec<u8>>, TsdbError> {
    match fs.read_all(path) {
        Ok(bytes) => Ok(Some(bytes.to_vec())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(TsdbError::io("read", path)(e)),
    }
}

fn check_meta(fs: &dyn Fs, dir: &Path, d: &Integrity) -> Result<Option<String>, TsdbError> {
    let path = dir.join(META_FILE);
    let found = read_small(fs, &path)?;
    if found.as_ref() == Some(&d.meta) {
        return Ok(None);
    }
    let Ok(copy) = BlockMeta::from_json(&d.meta) else { return Ok(None) };
    let parsed = found.and_then(|bytes| BlockMeta::from_json(&bytes).ok());
    if parsed.is_some_and(|meta| meta.same_block(&copy)) {
        return Ok(None);
    }
    replace_file(fs, &path, &d.meta)?;
    Ok(Some(format!("{}: damaged, restored from the integrity file", path.display())))
}

fn check_tombstones(fs: &dyn Fs, dir: &Path, d: &Integrity) -> Result<Option<String>, TsdbError> {
    let path = dir.join(TOMBSTONES_FILE);
    let Some(file) = d.file(TOMBSTONES_FILE) else { return Ok(None) };
    let empty = Tombstones::default().encode();
    let was_empty = (file.len, file.crc) == (empty.len() as u64, crc32c::crc32c(&empty));
    match read_small(fs, &path)? {
        Some(bytes) => {
            let Err((at, what)) = Tombstones::decode(&bytes) else { return Ok(None) };
            // Of another length they were written again since: something is deleted.
            if !was_empty || bytes.len() as u64 != file.len {
                return Err(TsdbError::corrupt(&path, at as u64, what));
            }
            replace_file(fs, &path, &empty)?;
            Ok(Some(format!("{}: damaged, restored: nothing was deleted", path.display())))
        }
        None if was_empty => Ok(None),
        None => Err(TsdbError::corrupt(&path, 0, "the file is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Integrity {
        let file = |name: &str, len, crc| FileSum { name: name.to_owned(), len, crc };
        let files = vec![file("index", 77, 0xdead_beef), file("chunks/000001", 1 << 40, 3)];
        Integrity { files, meta: b"{\n\"a\": 1}".to_vec() }
    }

    #[test]
    fn round_trip_and_damage_is_noticed() {
        let bytes = some().encode();
        assert_eq!(Integrity::decode(&bytes), Some(some()));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(Integrity::decode(&bad), None, "byte {at}");
            }
            assert_eq!(Integrity::decode(&bytes[..at]), None);
        }
    }
}
