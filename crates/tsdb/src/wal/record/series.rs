//! Series records: which reference stands for which labels.
//!
//! ```text
//! 1 | repeat: ref u64BE | uvarint pairs | pairs x (uvarint-string name, uvarint-string value)
//! ```

use super::{Cursor, RecordError, cursor::put_labels};

const TYPE: u8 = 1;

/// Begins a series record.
pub fn begin(out: &mut Vec<u8>) {
    out.push(TYPE);
}

/// Adds a series to a record that [`begin`] began; labels sorted by name.
pub fn push<'s>(
    out: &mut Vec<u8>,
    reference: u64,
    labels: impl Iterator<Item = (&'s str, &'s str)> + Clone,
) {
    out.extend_from_slice(&reference.to_be_bytes());
    put_labels(out, labels);
}

/// Calls `f` with each series of a record, in order: its reference and its label pairs.
///
/// # Errors
/// The record is damaged (what came before the damage was passed on), or `f` failed.
pub fn decode<'a>(
    record: &'a [u8],
    mut f: impl FnMut(u64, &[(&'a str, &'a str)]) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let (_, mut cursor) = Cursor::record(record, &[TYPE])?;
    let mut labels = Vec::with_capacity(16);
    while !cursor.is_empty() {
        let reference = cursor.u64("series reference")?;
        labels.clear();
        cursor.labels(&mut labels)?;
        f(reference, &labels)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::tests::golden;

    #[test]
    fn golden_vector() {
        let bytes = golden("01000000000000000502085f5f6e616d655f5f027570036a6f620161");
        let pairs = [("__name__", "up"), ("job", "a")];
        let mut out = Vec::new();
        begin(&mut out);
        push(&mut out, 5, pairs.iter().copied());
        assert_eq!(out, bytes);
        let mut seen = Vec::new();
        decode(&bytes, |r, l| {
            seen.push((r, l.to_vec()));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(5, pairs.to_vec())]);
    }
}
