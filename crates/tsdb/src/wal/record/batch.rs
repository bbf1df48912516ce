//! Our own records: what makes a batch atomic, and what tells late samples from others. Described in
//! `docs/format/wal.md`.
//!
//! ```text
//! 245 | "FST" | 1 | version u8                        marker, the first record of each segment of ours
//! 245 | "FST" | 2 | uvarint records                   commit: the batch is the `records` records before it
//!     | records x CRC32C u32BE                        of the bytes of each, decompressed
//! 245 | "FST" | 3 | uvarint records | uvarint number  late: the next `records` records have late samples
//! 245 | "FST" | 4 | uvarint number | uvarint segment  done: late batches up to `number` are in blocks
//! ```
//! The log's own checksums do not cover the type of a fragment, which says what part of a record it
//! is and whether that is compressed. The checksums here do, so that a wrong type never makes another
//! record of sound bytes. Commits without them (version 1 at first had none) are taken as they are.
//!
//! Prometheus takes 245 for the type of a record that it does not know and skips it, in replay, in
//! checkpoints and in remote write. The three letters keep a later Prometheus' type 245 apart.

use firesteel_chunk::varint;

use super::{Cursor, RecordError};

/// The type byte of our records.
pub const TYPE: u8 = 245;
const PREFIX: [u8; 4] = [TYPE, b'F', b'S', b'T'];
const VERSION: u8 = 1;

/// A record of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Batch {
    /// The segment was written by us: each batch in it is closed by a commit.
    Marker,
    /// Closes a batch of so many records, which come right before.
    Commit {
        /// How many.
        records: u64,
        /// The checksum of each; none where the writer gave none.
        checksums: Vec<u32>,
    },
    /// The samples of the next records of the batch came out of order. In the log and in the
    /// out-of-order log the same samples have the same number; numbers ascend.
    Late {
        /// How many records; 0 says only that numbers up to `number` were in the log.
        records: u64,
        /// The number of these samples.
        number: u64,
    },
    /// In the out-of-order log: what is here no more needed.
    Done {
        /// Late samples up to this number are in blocks.
        number: u64,
        /// So is everything in segments of the out-of-order log before this one.
        segment: u64,
    },
    /// Something that a later version of ours wrote.
    Later,
}

/// Whether a record is ours.
pub(super) fn is_ours(record: &[u8]) -> bool {
    record.starts_with(&PREFIX)
}

/// Appends a marker.
pub fn encode_marker(out: &mut Vec<u8>) {
    out.extend_from_slice(&PREFIX);
    out.extend_from_slice(&[1, VERSION]);
}

/// Appends a commit record for a batch of records with these checksums.
pub fn encode_commit(out: &mut Vec<u8>, checksums: impl ExactSizeIterator<Item = u32>) {
    out.extend_from_slice(&PREFIX);
    out.push(2);
    varint::put_uvarint(out, checksums.len() as u64);
    for checksum in checksums {
        out.extend_from_slice(&checksum.to_be_bytes());
    }
}

/// Appends a late record.
pub fn encode_late(out: &mut Vec<u8>, records: u64, number: u64) {
    out.extend_from_slice(&PREFIX);
    out.push(3);
    varint::put_uvarint(out, records);
    varint::put_uvarint(out, number);
}

/// Appends a done record.
pub fn encode_done(out: &mut Vec<u8>, number: u64, segment: u64) {
    out.extend_from_slice(&PREFIX);
    out.push(4);
    varint::put_uvarint(out, number);
    varint::put_uvarint(out, segment);
}

/// Reads a record of ours.
///
/// # Errors
/// It is not ours, or cut off.
pub fn decode(record: &[u8]) -> Result<Batch, RecordError> {
    let mut cursor = Cursor::new(record);
    if cursor.bytes(PREFIX.len(), "prefix")? != PREFIX {
        return Err(RecordError { offset: 0, what: "not a record of ours".to_owned() });
    }
    Ok(match cursor.u8("kind")? {
        1 => Batch::Marker,
        2 => {
            let records = cursor.uvarint("number of records")?;
            let mut checksums = Vec::new();
            if records.checked_mul(4) == Some(cursor.len() as u64) {
                let (all, _) = cursor.bytes(cursor.len(), "checksums")?.as_chunks::<4>();
                checksums.extend(all.iter().map(|c| u32::from_be_bytes(*c)));
            }
            Batch::Commit { records, checksums }
        }
        3 => Batch::Late {
            records: cursor.uvarint("number of records")?,
            number: cursor.uvarint("number of late samples")?,
        },
        4 => Batch::Done {
            number: cursor.uvarint("number of late samples")?,
            segment: cursor.uvarint("segment")?,
        },
        _ => Batch::Later,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::RecordType;

    #[test]
    fn round_trip() {
        let mut out = Vec::new();
        encode_marker(&mut out);
        assert_eq!(RecordType::of(&out), RecordType::Ours);
        assert_eq!(decode(&out), Ok(Batch::Marker));
        out.clear();
        let checksums: Vec<u32> = (0..300).map(|i| i * 7_654_321).collect();
        encode_commit(&mut out, checksums.iter().copied());
        assert_eq!(decode(&out), Ok(Batch::Commit { records: 300, checksums }));
        // As it was first.
        let old = decode(&[TYPE, b'F', b'S', b'T', 2, 3]);
        assert_eq!(old, Ok(Batch::Commit { records: 3, checksums: vec![] }));
        out.clear();
        encode_late(&mut out, 2, 700);
        assert_eq!(decode(&out), Ok(Batch::Late { records: 2, number: 700 }));
        out.clear();
        encode_done(&mut out, 700, 3);
        assert_eq!(decode(&out), Ok(Batch::Done { number: 700, segment: 3 }));
        assert_eq!(RecordType::of(&[TYPE, 1, 2, 3]), RecordType::Unknown);
    }
}
