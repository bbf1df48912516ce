//! Metadata of series.
//!
//! ```text
//! 6 | repeat: uvarint ref | type u8 | uvarint fields | fields x (uvarint-string, uvarint-string)
//! ```
//! Fields are `UNIT` and `HELP`; readers ignore others.

use firesteel_chunk::varint;
use firesteel_model::{Metadata, MetricType};

use super::{Cursor, RecordError, cursor::put_str};

const TYPE: u8 = 6;

/// Metadata of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefMetadata {
    /// The series.
    pub series: u64,
    /// Its metadata.
    pub metadata: Metadata,
}

/// Begins a metadata record.
pub fn begin(out: &mut Vec<u8>) {
    out.push(TYPE);
}

/// Adds to a record that [`begin`] began.
pub fn push(out: &mut Vec<u8>, series: u64, metadata: &Metadata) {
    varint::put_uvarint(out, series);
    out.push(metadata.kind as u8);
    varint::put_uvarint(out, 2);
    put_str(out, "UNIT");
    put_str(out, &metadata.unit);
    put_str(out, "HELP");
    put_str(out, &metadata.help);
}

/// Appends the metadata of a record to `out`.
///
/// # Errors
/// The record is damaged; `out` holds what came before the damage.
pub fn decode(record: &[u8], out: &mut Vec<RefMetadata>) -> Result<(), RecordError> {
    let (_, mut cursor) = Cursor::record(record, &[TYPE])?;
    while !cursor.is_empty() {
        let series = cursor.uvarint("series reference")?;
        let kind = MetricType::from_u8(cursor.u8("metric type")?);
        let mut metadata = Metadata { kind, ..Metadata::default() };
        for _ in 0..cursor.count(2, "number of fields")? {
            let (name, value) = (cursor.str("field name")?, cursor.str("field value")?);
            match name {
                "UNIT" => value.clone_into(&mut metadata.unit),
                "HELP" => value.clone_into(&mut metadata.help),
                _ => {}
            }
        }
        out.push(RefMetadata { series, metadata });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::tests::golden;

    #[test]
    fn golden_vector() {
        let bytes = golden("06ac02010204554e495401730448454c500168");
        let metadata =
            Metadata { kind: MetricType::Counter, unit: "s".to_owned(), help: "h".to_owned() };
        let (mut out, mut back) = (Vec::new(), Vec::new());
        begin(&mut out);
        push(&mut out, 300, &metadata);
        assert_eq!(out, bytes);
        decode(&bytes, &mut back).unwrap();
        assert_eq!(back, [RefMetadata { series: 300, metadata }]);
    }
}
