//! What the log's records say. One module per kind of record, each with an encoder and a decoder
//! over byte buffers.
//!
//! The kinds, their numbers and their layouts are Prometheus' (`tsdb/record/record.go`), except
//! [`batch`], which is ours and which Prometheus skips as unknown.

pub mod batch;
mod cursor;
pub mod exemplars;
pub mod histograms;
pub mod markers;
pub mod metadata;
pub mod samples;
pub mod series;
pub mod tombstones;

pub(crate) use cursor::Cursor;
pub use cursor::RecordError;

/// The kind of a record, its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RecordType {
    /// New series: their references and labels.
    Series,
    /// Float samples.
    Samples,
    /// Deleted intervals of series.
    Tombstones,
    /// Exemplars.
    Exemplars,
    /// Markers of the out-of-order log.
    MmapMarkers,
    /// Metadata of series.
    Metadata,
    /// Integer histograms.
    Histograms,
    /// Float histograms.
    FloatHistograms,
    /// Integer histograms with custom buckets.
    CustomHistograms,
    /// Float histograms with custom buckets.
    CustomFloatHistograms,
    /// Float samples with start timestamps.
    SamplesV2,
    /// Integer histograms with start timestamps.
    HistogramsV2,
    /// Float histograms with start timestamps.
    FloatHistogramsV2,
    /// A record of ours, see [`batch`].
    Ours,
    /// Something newer than this program, or an empty record. Readers skip it.
    Unknown,
}

impl RecordType {
    /// The kind of a record.
    #[must_use]
    pub fn of(record: &[u8]) -> Self {
        match record.first() {
            Some(1) => Self::Series,
            Some(2) => Self::Samples,
            Some(3) => Self::Tombstones,
            Some(4) => Self::Exemplars,
            Some(5) => Self::MmapMarkers,
            Some(6) => Self::Metadata,
            Some(7) => Self::Histograms,
            Some(8) => Self::FloatHistograms,
            Some(9) => Self::CustomHistograms,
            Some(10) => Self::CustomFloatHistograms,
            Some(11) => Self::SamplesV2,
            Some(12) => Self::HistogramsV2,
            Some(13) => Self::FloatHistogramsV2,
            Some(&batch::TYPE) if batch::is_ours(record) => Self::Ours,
            _ => Self::Unknown,
        }
    }
}

/// How version 2 records store a start timestamp. Source: `record.go`, `readSTMarker`.
mod start {
    use firesteel_chunk::varint;

    use super::{Cursor, RecordError};

    const NONE: u8 = 0;
    const SAME: u8 = 1;
    const EXPLICIT: u8 = 2;

    pub(super) fn put(out: &mut Vec<u8>, start: i64, previous: i64, first: i64) {
        if start == 0 {
            out.push(NONE);
        } else if start == previous {
            out.push(SAME);
        } else {
            out.push(EXPLICIT);
            varint::put_varint(out, start.wrapping_sub(first));
        }
    }

    pub(super) fn read(
        cursor: &mut Cursor<'_>,
        previous: i64,
        first: i64,
    ) -> Result<i64, RecordError> {
        Ok(match cursor.u8("start timestamp marker")? {
            NONE => 0,
            SAME => previous,
            _ => first.wrapping_add(cursor.varint("start timestamp")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every decoder survives every input.
        #[test]
        fn decoders_never_panic(kind in 0_u8..16, body: Vec<u8>) {
            let mut record = vec![kind];
            record.extend_from_slice(&body);
            let _ = RecordType::of(&record);
            let _ = series::decode(&record, |_, _| Ok(()));
            let _ = samples::decode(&record, &mut Vec::new());
            let _ = tombstones::decode(&record, &mut Vec::new());
            let _ = exemplars::decode(&record, &mut Vec::new());
            let _ = metadata::decode(&record, &mut Vec::new());
            let _ = histograms::decode(&record, &mut Vec::new());
            let _ = markers::decode(&record, &mut Vec::new());
            let _ = batch::decode(&record);
        }
    }

    /// The vectors of the conformance data that concern records, by name.
    pub(super) fn golden(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2)
            .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }
}
