//! Tombstones: deleted intervals of series.
//!
//! ```text
//! 3 | repeat: ref u64BE | varint mint | varint maxt
//! ```
//! The interval from the smallest to the largest `i64` says that the series itself was evicted.

use firesteel_chunk::varint;

use super::{Cursor, RecordError};

const TYPE: u8 = 3;

/// A deleted interval, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stone {
    /// The series.
    pub series: u64,
    /// First deleted millisecond.
    pub mint: i64,
    /// Last deleted millisecond.
    pub maxt: i64,
}

impl Stone {
    /// Whether it says that the series was evicted.
    #[must_use]
    pub const fn is_eviction(&self) -> bool {
        self.mint == i64::MIN && self.maxt == i64::MAX
    }
}

/// Appends a record.
pub fn encode(out: &mut Vec<u8>, stones: &[Stone]) {
    out.push(TYPE);
    for stone in stones {
        out.extend_from_slice(&stone.series.to_be_bytes());
        varint::put_varint(out, stone.mint);
        varint::put_varint(out, stone.maxt);
    }
}

/// Appends the tombstones of a record to `out`.
///
/// # Errors
/// The record is damaged; `out` holds what came before the damage.
pub fn decode(record: &[u8], out: &mut Vec<Stone>) -> Result<(), RecordError> {
    let (_, mut cursor) = Cursor::record(record, &[TYPE])?;
    while !cursor.is_empty() {
        let series = cursor.u64("series reference")?;
        let mint = cursor.varint("first timestamp")?;
        out.push(Stone { series, mint, maxt: cursor.varint("last timestamp")? });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::tests::golden;

    #[test]
    fn golden_vector() {
        let bytes = golden("03000000000000000502d00f");
        let stones = [Stone { series: 5, mint: 1, maxt: 1000 }];
        let (mut out, mut back) = (Vec::new(), Vec::new());
        encode(&mut out, &stones);
        assert_eq!(out, bytes);
        decode(&bytes, &mut back).unwrap();
        assert_eq!(back, stones);
    }
}
