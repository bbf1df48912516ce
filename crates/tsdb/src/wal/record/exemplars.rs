//! Exemplars.
//!
//! ```text
//! 4 | ref0 u64BE | t0 i64BE | repeat: varint ref-ref0 | varint t-t0 | f64BE | labels
//! ```

use firesteel_chunk::varint;
use firesteel_model::Labels;

use super::{Cursor, RecordError, cursor::put_labels};

const TYPE: u8 = 4;

/// An exemplar of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct RefExemplar {
    /// The series.
    pub series: u64,
    /// When it was observed, milliseconds.
    pub t: i64,
    /// The observed value.
    pub v: f64,
    /// Its labels.
    pub labels: Labels,
}

/// Appends a record; nothing where there is no exemplar.
pub fn encode<'a>(out: &mut Vec<u8>, exemplars: impl IntoIterator<Item = &'a RefExemplar>) {
    let mut base = None;
    for e in exemplars {
        let (series, t) = *base.get_or_insert_with(|| {
            out.push(TYPE);
            out.extend_from_slice(&e.series.to_be_bytes());
            out.extend_from_slice(&e.t.to_be_bytes());
            (e.series, e.t)
        });
        varint::put_varint(out, e.series.wrapping_sub(series) as i64);
        varint::put_varint(out, e.t.wrapping_sub(t));
        out.extend_from_slice(&e.v.to_bits().to_be_bytes());
        put_labels(out, e.labels.iter());
    }
}

/// Appends the exemplars of a record to `out`.
///
/// # Errors
/// The record is damaged; `out` holds what came before the damage.
pub fn decode(record: &[u8], out: &mut Vec<RefExemplar>) -> Result<(), RecordError> {
    let (_, mut cursor) = Cursor::record(record, &[TYPE])?;
    if cursor.is_empty() {
        return Ok(());
    }
    let base = cursor.u64("first series reference")?;
    let base_t = cursor.u64("first timestamp")? as i64;
    let mut pairs = Vec::new();
    while !cursor.is_empty() {
        let series = base.wrapping_add(cursor.varint("series reference")? as u64);
        let t = base_t.wrapping_add(cursor.varint("timestamp")?);
        let v = cursor.f64("value")?;
        pairs.clear();
        cursor.labels(&mut pairs)?;
        let labels = Labels::from_pairs(pairs.iter().copied());
        out.push(RefExemplar { series, t, v, labels });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::tests::golden;

    #[test]
    fn golden_vector() {
        let bytes = golden(
            "0400000000000000050000018bcfe5680000003fe0000000000000010874726163655f6964026162",
        );
        let labels = Labels::from_pairs([("trace_id", "ab")]);
        let exemplars = [RefExemplar { series: 5, t: 1_700_000_000_000, v: 0.5, labels }];
        let (mut out, mut back) = (Vec::new(), Vec::new());
        encode(&mut out, &exemplars);
        assert_eq!(out, bytes);
        decode(&bytes, &mut back).unwrap();
        assert_eq!(back, exemplars);
    }
}
