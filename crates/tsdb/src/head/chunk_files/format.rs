//! The bytes of a `chunks_head` file.
//!
//! ```text
//! 0x0130BC91 | 1 | 0 0 0
//! | repeat: ref u64BE | mint i64BE | maxt i64BE | encoding u8 | uvarint length | data | CRC u32BE
//! ```
//! Bit 7 of the encoding marks out-of-order chunks. Zeros end a file. Source: Prometheus
//! `tsdb/chunks/head_chunks.go`.

use firesteel_chunk::{Encoding, varint};
use firesteel_model::Timestamp;

pub(super) const HEADER: [u8; 8] = [0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];
/// Set in the encoding of out-of-order chunks.
pub(super) const OUT_OF_ORDER: u8 = 0x80;
/// An encoding that does not exist, of entries that are to be skipped. Prometheus skips them, too.
pub(super) const SKIPPED: u8 = 0;
/// Where the encoding of an entry stands.
pub(super) const ENCODING_AT: usize = 24;
/// Bytes of an entry before the length of its data.
pub(super) const FIXED: usize = ENCODING_AT + 1;
/// Bytes of the checksum after the data.
pub(super) const CRC_LEN: usize = 4;

/// An entry of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) series: u64,
    pub(super) mint: Timestamp,
    pub(super) maxt: Timestamp,
    /// With [`OUT_OF_ORDER`].
    pub(super) encoding: u8,
    pub(super) data: &'a [u8],
    /// Bytes of the whole entry.
    pub(super) len: usize,
}

/// Bytes of an entry with so much data.
pub(super) const fn entry_len(data: usize) -> usize {
    FIXED + varint::uvarint_len(data as u64) + data + CRC_LEN
}

/// Bytes of the entry that begins here, as far as its length is there to be read.
pub(super) fn entry_len_at(bytes: &[u8]) -> Option<usize> {
    let (len, n) = varint::uvarint(bytes.get(FIXED..)?)?;
    usize::try_from(len).ok()?.checked_add(FIXED + n + CRC_LEN)
}

/// Appends an entry.
pub(super) fn put(
    out: &mut Vec<u8>,
    series: u64,
    (mint, maxt): (Timestamp, Timestamp),
    encoding: Encoding,
    data: &[u8],
) {
    let start = out.len();
    out.extend_from_slice(&series.to_be_bytes());
    out.extend_from_slice(&mint.to_be_bytes());
    out.extend_from_slice(&maxt.to_be_bytes());
    out.push(encoding.id());
    varint::put_uvarint(out, data.len() as u64);
    out.extend_from_slice(data);
    let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_be_bytes());
}

/// The entry that `bytes` begin with, checked; `None` at the end of a file.
pub(super) fn entry(bytes: &[u8]) -> Result<Option<Entry<'_>>, &'static str> {
    let Some(head) = bytes.first_chunk::<ENCODING_AT>() else {
        return if bytes.iter().all(|&b| b == 0) { Ok(None) } else { Err("a chunk is cut off") };
    };
    if head.iter().all(|&b| b == 0) {
        return Ok(None);
    }
    let number = |at: usize| {
        head.get(at..at + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_be_bytes(*b))
    };
    let (series, mint, maxt) = (number(0), number(8) as i64, number(16) as i64);
    let rest = bytes.get(ENCODING_AT..).unwrap_or_default();
    let Some((&encoding, rest)) = rest.split_first() else { return Err("a chunk is cut off") };
    let Some((len, n)) = varint::uvarint(rest) else { return Err("bad length of a chunk") };
    let start = FIXED + n;
    let end = usize::try_from(len).ok().and_then(|len| start.checked_add(len));
    let end = end.filter(|&e| e <= bytes.len()).ok_or("a chunk is cut off")?;
    let (covered, rest) = bytes.split_at(end);
    let Some(crc) = rest.first_chunk::<CRC_LEN>() else { return Err("a chunk is cut off") };
    if crc32c::crc32c(covered) != u32::from_be_bytes(*crc) {
        return Err("the checksum of a chunk is wrong");
    }
    let data = covered.get(start..).unwrap_or_default();
    Ok(Some(Entry { series, mint, maxt, encoding, data, len: end + CRC_LEN }))
}

/// A file whose out-of-order chunks are to be skipped from now on, those of unknown encodings
/// excepted; `None` where it has none. All other bytes stay where they are. What cannot be read
/// stays, too.
pub(super) fn without_out_of_order(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    let mut at = HEADER.len();
    if !bytes.starts_with(&HEADER) {
        return None;
    }
    while let Ok(Some(entry)) = entry(bytes.get(at..).unwrap_or_default()) {
        let end = at + entry.len;
        let known = Encoding::from_id(entry.encoding & !OUT_OF_ORDER).is_ok();
        if entry.encoding & OUT_OF_ORDER != 0 && known {
            let out = out.get_or_insert_with(|| bytes.to_vec());
            if let Some(changed) = out.get_mut(at..end) {
                changed[ENCODING_AT] = SKIPPED;
                let (covered, crc) = changed.split_at_mut(entry.len - CRC_LEN);
                crc.copy_from_slice(&crc32c::crc32c(covered).to_be_bytes());
            }
        }
        at = end;
    }
    out
}
