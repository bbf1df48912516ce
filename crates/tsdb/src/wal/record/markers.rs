//! Markers of the out-of-order log: the samples of a series so far lie in a head chunk.
//!
//! ```text
//! 5 | repeat: ref u64BE | head chunk reference u64BE (0: nothing was written yet)
//! ```

use super::{Cursor, RecordError};

const TYPE: u8 = 5;

/// A marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The series.
    pub series: u64,
    /// File number in the upper half, offset in the lower.
    pub chunk: u64,
}

/// Appends a record.
pub fn encode(out: &mut Vec<u8>, markers: &[Marker]) {
    out.push(TYPE);
    for m in markers {
        out.extend_from_slice(&m.series.to_be_bytes());
        out.extend_from_slice(&m.chunk.to_be_bytes());
    }
}

/// Appends the markers of a record to `out`.
///
/// # Errors
/// The record is damaged; `out` holds what came before the damage.
pub fn decode(record: &[u8], out: &mut Vec<Marker>) -> Result<(), RecordError> {
    let (_, mut cursor) = Cursor::record(record, &[TYPE])?;
    while !cursor.is_empty() {
        let series = cursor.u64("series reference")?;
        out.push(Marker { series, chunk: cursor.u64("chunk reference")? });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::tests::golden;

    #[test]
    fn golden_vector() {
        let bytes = golden("0500000000000000050000000100000008");
        let markers = [Marker { series: 5, chunk: 1 << 32 | 8 }];
        let (mut out, mut back) = (Vec::new(), Vec::new());
        encode(&mut out, &markers);
        assert_eq!(out, bytes);
        decode(&bytes, &mut back).unwrap();
        assert_eq!(back, markers);
    }
}
