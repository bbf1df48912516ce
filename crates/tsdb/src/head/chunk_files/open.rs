//! Finding out which chunks the files have.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use firesteel_chunk::Encoding;
use firesteel_model::Timestamp;

use super::{
    ChunkFile, ChunkFiles, DIR, Data, Place, Sealed, Stored,
    format::{self, HEADER, OUT_OF_ORDER, SKIPPED},
    write::Writer,
};
use crate::{
    TsdbError,
    fs::{Fs, Open},
    sync::{AtomicI64, AtomicU64, Mutex, RwLock},
};

/// What was found when files were opened.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Chunks by the reference of their series, in the order in which they were written.
    pub(crate) chunks: Vec<(u64, Sealed)>,
    /// Out-of-order chunks, likewise; in memory.
    pub(crate) out_of_order: Vec<(u64, Sealed)>,
    /// Chunks of encodings that do not exist yet.
    pub(crate) unknown: usize,
    /// What was wrong, by file and offset, and what was done about it. The log has the samples.
    pub(crate) damage: Vec<(PathBuf, u64, String)>,
}

/// The files of a directory by number, oldest first.
pub(super) fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<(u32, PathBuf)>, TsdbError> {
    if !fs.exists(dir).map_err(TsdbError::io("look for", dir))? {
        return Ok(Vec::new());
    }
    let entries = fs.read_dir(dir).map_err(TsdbError::io("list", dir))?;
    let number = |name: &str| {
        let digits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| name.parse().ok()).flatten().filter(|&n| n < Stored::MAX_FILE)
    };
    let files = entries.into_iter().filter(|e| !e.is_dir);
    let mut files: Vec<_> =
        files.filter_map(|e| Some((number(&e.name)?, dir.join(e.name)))).collect();
    files.sort_unstable();
    files.dedup_by_key(|f| f.0);
    Ok(files)
}

impl ChunkFiles {
    /// Opens the files of a data directory, reads all chunks and checks them.
    ///
    /// Chunks of a series have to be in order and without a gap, or the log would not fill what is
    /// missing. So where a file is damaged, as the last one may be after a power failure, what
    /// comes after the damage is taken away, in it and in all later files, as Prometheus does it.
    pub(crate) fn open(fs: Arc<dyn Fs>, data: &Path) -> Result<(Self, Found), TsdbError> {
        let dir = data.join(DIR);
        let mut found = Found::default();
        let mut files = BTreeMap::new();
        let listed = list(&*fs, &dir)?;
        let mut damaged = false;
        let last = listed.last().map_or(0, |f| f.0);
        for (i, (number, path)) in listed.iter().enumerate() {
            let bytes = fs.read_all(path).map_err(TsdbError::io("read", path))?;
            let empty = bytes.len() < HEADER.len() || bytes.iter().all(|&b| b == 0);
            if empty && i + 1 == listed.len() {
                // Made, and not written before the end came.
                fs.remove_file(path).map_err(TsdbError::io("remove", path))?;
                continue;
            }
            if damaged {
                // Late samples do not depend on one another.
                let mut rest = Found::default();
                let _ = scan(*number, &bytes, &mut rest);
                found.out_of_order.append(&mut rest.out_of_order);
                remove(&*fs, path, &mut found, 0, "comes after a damaged file");
                continue;
            }
            let (newest, end) = match scan(*number, &bytes, &mut found) {
                Ok((newest, end)) => (newest, end),
                Err((_, 0, what)) => {
                    damaged = true;
                    remove(&*fs, path, &mut found, 0, what);
                    continue;
                }
                Err((newest, offset, what)) => {
                    damaged = true;
                    let file = fs.open(path, Open::Write).map_err(TsdbError::io("open", path))?;
                    file.set_len(offset).map_err(TsdbError::io("cut", path))?;
                    file.sync().map_err(TsdbError::io("sync", path))?;
                    let what = format!("{what}: cut off, the log has it");
                    found.damage.push((path.clone(), offset, what));
                    (newest, offset)
                }
            };
            let file = fs.open(path, Open::Read).map_err(TsdbError::io("open", path))?;
            let file = ChunkFile {
                number: *number,
                path: path.clone(),
                file,
                len: AtomicU64::new(end),
                newest: AtomicI64::new(newest),
            };
            files.insert(*number, Arc::new(file));
        }
        // Numbers go on, so that a place never means another chunk; but without a gap.
        let next = files.keys().next_back().map_or(last, |&n| n) + 1;
        // Nobody knows whether who wrote these brought them to disk.
        let writer = Mutex::new(Writer::new(next, files.values().cloned().collect()));
        Ok((Self { fs, dir, files: RwLock::new(files), writer }, found))
    }
}

/// Checks the bytes of a file: where they are damaged, and how.
pub(crate) fn check(bytes: &[u8]) -> Result<(), (u64, &'static str)> {
    let empty = bytes.iter().all(|&b| b == 0);
    let scanned = if empty { Ok((0, 0)) } else { scan(0, bytes, &mut Found::default()) };
    scanned.map(|_| ()).map_err(|(_, at, what)| (at, what))
}

fn remove(fs: &dyn Fs, path: &Path, found: &mut Found, at: u64, what: &str) {
    let removed = fs.remove_file(path).is_ok();
    let done = if removed { "removed, the log has it" } else { "left out, the log has it" };
    found.damage.push((path.to_owned(), at, format!("{what}: {done}")));
}

/// Takes the chunks of a file. Returns its newest time and where its chunks end, or the time, where
/// it is damaged and how.
fn scan(
    number: u32,
    bytes: &[u8],
    out: &mut Found,
) -> Result<(Timestamp, u64), (Timestamp, u64, &'static str)> {
    let mut newest = Timestamp::MIN;
    if !bytes.starts_with(&HEADER) {
        return Err((newest, 0, "not a file of head chunks"));
    }
    let mut at = HEADER.len();
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let entry = format::entry(rest).map_err(|what| (newest, at as u64, what))?;
        let Some(entry) = entry else { return Ok((newest, at as u64)) };
        let id = entry.encoding & !OUT_OF_ORDER;
        let (mint, maxt, len) = (entry.mint, entry.maxt, entry.data.len());
        match Encoding::from_id(id) {
            Ok(encoding) if entry.encoding & OUT_OF_ORDER != 0 => {
                let data = Data::Memory(entry.data.into());
                out.out_of_order.push((entry.series, Sealed { mint, maxt, encoding, data }));
            }
            Ok(encoding) => {
                let offset = u32::try_from(at).map_err(|_| (newest, at as u64, "too long"))?;
                let len = u16::try_from(len).unwrap_or(Place::LONG);
                let data = Data::File(Place { file: number, offset, len });
                out.chunks.push((entry.series, Sealed { mint, maxt, encoding, data }));
            }
            Err(_) => out.unknown += usize::from(id != SKIPPED),
        }
        newest = newest.max(maxt);
        at += entry.len;
    }
}
