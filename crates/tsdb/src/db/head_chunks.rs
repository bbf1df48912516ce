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

use crate::{TsdbError, fs::Fs, head::Sealed};

pub(super) const DIR: &str = "chunks_head";
const HEADER: [u8; 8] = [0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];
const OUT_OF_ORDER: u8 = 0x80;

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct HeadChunks {
    /// Chunks by the reference of their series.
    pub(super) chunks: Vec<(u64, Sealed)>,
    /// Out-of-order chunks, which are not read.
    pub(super) out_of_order: usize,
    /// Chunks of encodings that are not read; the log has their samples, too.
    pub(super) other_encodings: usize,
    /// What was wrong, by file and offset. What follows in the file is not read; the log has it.
    pub(super) damage: Vec<(PathBuf, u64, String)>,
    /// The files, with the newest time in each.
    pub(super) files: Vec<(PathBuf, i64)>,
}

/// Reads all files of a data directory.
pub(super) fn read(fs: &dyn Fs, data: &Path) -> Result<HeadChunks, TsdbError> {
    let dir = data.join(DIR);
    let mut out = HeadChunks::default();
    if !fs.exists(&dir).map_err(TsdbError::io("look for", &dir))? {
        return Ok(out);
    }
    for entry in fs.read_dir(&dir).map_err(TsdbError::io("list", &dir))? {
        let number = !entry.name.is_empty() && entry.name.bytes().all(|b| b.is_ascii_digit());
        if entry.is_dir || !number {
            continue;
        }
        let path = dir.join(&entry.name);
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

fn read_file(bytes: &[u8], newest: &mut i64, out: &mut HeadChunks) -> Result<(), (u64, String)> {
    if bytes.iter().all(|&b| b == 0) {
        return Ok(());
    }
    if !bytes.starts_with(&HEADER) {
        return Err((0, "not a head chunk file".to_owned()));
    }
    let mut at = HEADER.len();
    while let Some(entry) = bytes.get(at..at + 24) {
        if entry.iter().all(|&b| b == 0) {
            return Ok(());
        }
        let bad = |what: &str| (at as u64, what.to_owned());
        let u64_at = |i: usize| {
            entry.get(i..i + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_be_bytes(*b))
        };
        let (series, mint, maxt) = (u64_at(0), u64_at(8) as i64, u64_at(16) as i64);
        let rest = bytes.get(at + 24..).unwrap_or_default();
        let Some((&encoding, rest)) = rest.split_first() else { return Err(bad("cut off")) };
        let Some((len, n)) = varint::uvarint(rest) else { return Err(bad("bad length")) };
        let start = at + 25 + n;
        let Some(end) = usize::try_from(len).ok().and_then(|len| start.checked_add(len)) else {
            return Err(bad("bad length"));
        };
        let (Some(data), Some(crc)) =
            (bytes.get(start..end), bytes.get(end..end + 4).and_then(|b| b.first_chunk()))
        else {
            return Err(bad("a chunk is cut off"));
        };
        if crc32c::crc32c(bytes.get(at..end).unwrap_or_default()) != u32::from_be_bytes(*crc) {
            return Err(bad("the checksum of a chunk is wrong"));
        }
        *newest = (*newest).max(maxt);
        if encoding & OUT_OF_ORDER != 0 {
            out.out_of_order += 1;
        } else if encoding == Encoding::Xor.id() {
            let sealed = Sealed { mint, maxt, encoding: Encoding::Xor, data: data.into() };
            out.chunks.push((series, sealed));
        } else {
            out.other_encodings += 1;
        }
        at = end + 4;
    }
    Ok(())
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
            (out.chunks.len(), out.out_of_order, result.map_err(|e| e.0))
        };
        assert_eq!(read(&file), (2, 1, Ok(())));
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
