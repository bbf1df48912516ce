//! Making checksums right again after a mutation, as far as the structure is still there.

use crc32c::crc32c;
use firesteel_chunk::varint::uvarint;

/// Puts the checksum of a range right behind it; false where it does not lie in the bytes.
fn put(bytes: &mut [u8], start: usize, end: usize) -> bool {
    let Some(body) = bytes.get(start..end) else { return false };
    let crc = crc32c(body).to_be_bytes();
    let Some(place) = end.checked_add(4).and_then(|crc_end| bytes.get_mut(end..crc_end)) else {
        return false;
    };
    place.copy_from_slice(&crc);
    true
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*word)).ok()
}

fn uvarint_at(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let (value, n) = uvarint(bytes.get(at..)?)?;
    Some((usize::try_from(value).ok().filter(|v| *v < 1 << 30)?, n))
}

/// The fragments of a segment.
pub(crate) fn wal(bytes: &mut [u8]) {
    const PAGE: usize = 32 << 10;
    let mut at = 0;
    while at + 7 <= bytes.len() {
        if bytes[at] & 7 == 0 {
            at = (at / PAGE + 1) * PAGE;
            continue;
        }
        let len = usize::from(u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]));
        let Some(data) = bytes.get(at + 7..at + 7 + len) else { return };
        let crc = crc32c(data).to_be_bytes();
        bytes[at + 3..at + 7].copy_from_slice(&crc);
        at += 7 + len;
    }
}

/// The sections of an index.
pub(crate) fn index(bytes: &mut [u8]) {
    let Some(toc) = bytes.len().checked_sub(52) else { return };
    put(bytes, toc, toc + 48);
    let offset = |bytes: &[u8], i: usize| {
        let word = bytes.get(toc + 8 * i..)?.first_chunk::<8>()?;
        usize::try_from(u64::from_be_bytes(*word)).ok()
    };
    let offsets: Vec<usize> = (0..6).map(|i| offset(bytes, i).unwrap_or(usize::MAX)).collect();
    for at in [offsets[0], offsets[5]] {
        if let Some(len) = at.checked_add(8).and_then(|_| u32_at(bytes, at)) {
            put(bytes, at + 4, at + 4 + len);
        }
    }
    let mut at = offsets[1];
    for _ in 0..1000 {
        let Some((len, n)) = uvarint_at(bytes, at) else { break };
        if !put(bytes, at + n, at + n + len) {
            break;
        }
        at = (at + n + len + 4).next_multiple_of(16);
    }
    let mut at = offsets[4];
    for _ in 0..1000 {
        let Some(len) = at.checked_add(8).and_then(|_| u32_at(bytes, at)) else { break };
        if !put(bytes, at + 4, at + 4 + len) {
            break;
        }
        at = (at + 8 + len).next_multiple_of(4);
    }
}

/// The chunks of a file.
pub(crate) fn chunks(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some((len, n)) = uvarint_at(bytes, at) {
        if !put(bytes, at + n, at + n + len + 1) {
            return;
        }
        at += n + len + 5;
    }
}

pub(crate) fn tombstones(bytes: &mut [u8]) {
    if let Some(end) = bytes.len().checked_sub(4).filter(|e| *e >= 5) {
        put(bytes, 5, end);
    }
}

pub(crate) fn head_chunks(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some((len, n)) = uvarint_at(bytes, at + 25) {
        if !put(bytes, at, at + 25 + n + len) {
            return;
        }
        at += 25 + n + len + 4;
    }
}

pub(crate) fn integrity(bytes: &mut [u8]) {
    let Some(end) = bytes.len().checked_sub(13) else { return };
    let line = format!("end {:08x}\n", crc32c(&bytes[..end]));
    bytes[end..].copy_from_slice(line.as_bytes());
}
