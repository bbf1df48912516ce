//! Reading the `chunks_head` files of Prometheus: closed chunks of its head.
//!
//! ```text
//! 0x0130BC91 | 1 | 0 0 0
//! | repeat: ref u64BE | mint i64BE | maxt i64BE | encoding u8 | uvarint length | data | CRC u32BE
//! ```
//! Bit 7 of the encoding marks out-of-order chunks. Zeros end a file. Source: Prometheus
//! `tsdb/chunks/head_chunks.go`.

use std::path::{Path, PathBuf};

use firesteel_chunk::{Encoding, varint};

use crate::{
    TsdbError,
    fs::{Fs, replace_file},
    head::Sealed,
};

pub(super) const DIR: &str = "chunks_head";
const HEADER: [u8; 8] = [0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];
const OUT_OF_ORDER: u8 = 0x80;

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct HeadChunks {
    /// Chunks by the reference of their series.
    pub(super) chunks: Vec<(u64, Sealed)>,
    /// Out-of-order chunks, likewise.
    pub(super) out_of_order: Vec<(u64, Sealed)>,
    /// Chunks of encodings that do not exist yet.
    pub(super) unknown: usize,
    /// What was wrong, by file and offset. What follows in the file is not read; the log has it.
    pub(super) damage: Vec<(PathBuf, u64, String)>,
    /// The files, with the newest time in each.
    pub(super) files: Vec<(PathBuf, i64)>,
}

/// Reads all files of a data directory.
pub(super) fn read(fs: &dyn Fs, data: &Path) -> Result<HeadChunks, TsdbError> {
    let mut out = HeadChunks::default();
    for path in files(fs, data)? {
        let bytes = fs.read_all(&path).map_err(TsdbError::io("read", &path))?;
        let mut newest = i64::MIN;
        if let Err((offset, what)) = read_file(&bytes, &mut newest, &mut out) {
            out.damage.push((path.clone(), offset, what));
            // What has not been read may be of any time.
            newest = i64::MAX;
        }
        out.files.push((path, newest));
    }
    Ok(out)
}

/// Takes the out-of-order chunks out of all files.
pub(super) fn remove_out_of_order(fs: &dyn Fs, data: &Path) -> Result<(), TsdbError> {
    for path in files(fs, data)? {
        let bytes = fs.read_all(&path).map_err(TsdbError::io("read", &path))?;
        if let Some(rest) = without_out_of_order(&bytes) {
            replace_file(fs, &path, &rest)?;
        }
    }
    Ok(())
}

pub(super) fn files(fs: &dyn Fs, data: &Path) -> Result<Vec<PathBuf>, TsdbError> {
    let dir = data.join(DIR);
    if !fs.exists(&dir).map_err(TsdbError::io("look for", &dir))? {
        return Ok(Vec::new());
    }
    let is_number = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    let entries = fs.read_dir(&dir).map_err(TsdbError::io("list", &dir))?;
    let files = entries.into_iter().filter(|e| !e.is_dir && is_number(&e.name));
    Ok(files.map(|e| dir.join(e.name)).collect())
}

/// An entry of a file.
struct Entry<'a> {
    series: u64,
    mint: i64,
    maxt: i64,
    /// With [`OUT_OF_ORDER`].
    encoding: u8,
    data: &'a [u8],
    /// Where the next one begins.
    end: usize,
}

/// Where something is wrong, and what.
type Bad = (u64, String);

/// The entry at an offset; `None` at the end.
fn entry(bytes: &[u8], at: usize) -> Result<Option<Entry<'_>>, Bad> {
    let Some(head) = bytes.get(at..at + 24).filter(|h| h.iter().any(|&b| b != 0)) else {
        return Ok(None);
    };
    let bad = |what: &str| (at as u64, what.to_owned());
    let u64_at = |i: usize| {
        head.get(i..i + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_be_bytes(*b))
    };
    let (series, mint, maxt) = (u64_at(0), u64_at(8) as i64, u64_at(16) as i64);
    let rest = bytes.get(at + 24..).unwrap_or_default();
    let Some((&encoding, rest)) = rest.split_first() else { return Err(bad("cut off")) };
    let Some((len, n)) = varint::uvarint(rest) else { return Err(bad("bad length")) };
    let start = at + 25 + n;
    let Some(end) = usize::try_from(len).ok().and_then(|len| start.checked_add(len)) else {
        return Err(bad("bad length"));
    };
    let crc = end.checked_add(4).and_then(|crc_end| bytes.get(end..crc_end));
    let (Some(data), Some(crc)) = (bytes.get(start..end), crc.and_then(|b| b.first_chunk())) else {
        return Err(bad("a chunk is cut off"));
    };
    if crc32c::crc32c(bytes.get(at..end).unwrap_or_default()) != u32::from_be_bytes(*crc) {
        return Err(bad("the checksum of a chunk is wrong"));
    }
    Ok(Some(Entry { series, mint, maxt, encoding, data, end: end + 4 }))
}

/// Checks the checksums of a file.
pub(super) fn check(bytes: &[u8]) -> Result<(), (u64, String)> {
    read_file(bytes, &mut { i64::MIN }, &mut HeadChunks::default())
}

fn read_file(bytes: &[u8], newest: &mut i64, out: &mut HeadChunks) -> Result<(), Bad> {
    if bytes.iter().all(|&b| b == 0) {
        return Ok(());
    }
    if !bytes.starts_with(&HEADER) {
        return Err((0, "not a head chunk file".to_owned()));
    }
    let mut at = HEADER.len();
    while let Some(entry) = entry(bytes, at)? {
        *newest = (*newest).max(entry.maxt);
        let late = entry.encoding & OUT_OF_ORDER != 0;
        match Encoding::from_id(entry.encoding & !OUT_OF_ORDER) {
            Ok(encoding) => {
                let (mint, maxt) = (entry.mint, entry.maxt);
                let sealed = Sealed { mint, maxt, encoding, data: entry.data.into() };
                let list = if late { &mut out.out_of_order } else { &mut out.chunks };
                list.push((entry.series, sealed));
            }
            Err(_) => out.unknown += 1,
        }
        at = entry.end;
    }
    Ok(())
}

/// A file without its out-of-order chunks, those of unknown encodings excepted; `None` where it has
/// none. What cannot be read stays.
fn without_out_of_order(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes.get(..HEADER.len()).filter(|h| **h == HEADER)?.to_vec();
    let (mut at, mut any) = (HEADER.len(), false);
    while let Ok(Some(entry)) = entry(bytes, at) {
        let late = entry.encoding & OUT_OF_ORDER != 0
            && Encoding::from_id(entry.encoding & !OUT_OF_ORDER).is_ok();
        if !late {
            rest.extend_from_slice(bytes.get(at..entry.end).unwrap_or_default());
        }
        any |= late;
        at = entry.end;
    }
    rest.extend_from_slice(bytes.get(at..).unwrap_or_default());
    any.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_ends_a_file() {
        let mut file = HEADER.to_vec();
        for i in 0..3_u64 {
            let start = file.len();
            for x in [i + 1, 10, 20] {
                file.extend_from_slice(&x.to_be_bytes());
            }
            file.extend_from_slice(&[if i == 1 { 0x81 } else { 1 }, 3, 7, 8, 9]);
            let crc = crc32c::crc32c(&file[start..]);
            file.extend_from_slice(&crc.to_be_bytes());
        }
        let read = |bytes: &[u8]| {
            let (mut out, mut newest) = (HeadChunks::default(), i64::MIN);
            let result = read_file(bytes, &mut newest, &mut out);
            (out.chunks.len(), out.out_of_order.len(), result.map_err(|e| e.0))
        };
        assert_eq!(read(&file), (2, 1, Ok(())));
        assert_eq!(read(&without_out_of_order(&file).unwrap()), (2, 0, Ok(())));
        let mut zeros = file.clone();
        zeros.resize(file.len() + 500, 0);
        assert_eq!(read(&zeros), (2, 1, Ok(())));
        assert_eq!(read(&[0; 100]), (0, 0, Ok(())));
        let last = file.len() - 2;
        file[last] ^= 1;
        let entry = (file.len() - 8) / 3;
        assert_eq!(read(&file), (1, 1, Err((8 + 2 * entry) as u64)));
        for cut in 0..file.len() {
            let _ = read(&file[..cut]);
        }
    }
}
