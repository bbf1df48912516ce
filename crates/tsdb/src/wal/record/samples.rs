//! Float samples.
//!
//! ```text
//! version 1:  2 | ref0 u64BE | t0 i64BE | repeat: varint ref-ref0 | varint t-t0 | f64BE
//! version 2: 11 | varint ref0 | varint t0 | varint st0 | f64BE
//!               | repeat: varint ref-previous ref | varint t-t0 | start | f64BE
//! ```
//! Version 1 is read by every Prometheus; version 2, for samples with start timestamps, from 3.10 on.
//! We read both.

use firesteel_chunk::varint;

use super::{Cursor, RecordError, start};

const V1: u8 = 2;
const V2: u8 = 11;

/// A sample of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RefSample {
    /// The series.
    pub series: u64,
    /// When, milliseconds.
    pub t: i64,
    /// Start timestamp, 0 where unknown.
    pub start: i64,
    /// The value.
    pub v: f64,
}

/// Writes a version 1 record sample by sample.
#[derive(Debug)]
pub struct Encoder {
    base: (u64, i64),
}

impl Encoder {
    /// Begins a record that starts with this sample's series and time (as base; the sample itself
    /// is still to be pushed).
    pub fn begin(out: &mut Vec<u8>, series: u64, t: i64) -> Self {
        out.push(V1);
        out.extend_from_slice(&series.to_be_bytes());
        out.extend_from_slice(&t.to_be_bytes());
        Self { base: (series, t) }
    }

    /// Adds a sample.
    #[inline]
    pub fn push(&self, out: &mut Vec<u8>, series: u64, t: i64, v: f64) {
        let dref = varint::zigzag(series.wrapping_sub(self.base.0) as i64);
        let dt = varint::zigzag(t.wrapping_sub(self.base.1));
        // Nearly all samples of a scrape: a reference close to the first one, the same time.
        if dref < 0x4000 && dt < 0x80 {
            // Written as a whole and then cut: a copy of known length is a store or two.
            let mut bytes = [0_u8; 16];
            let at = if dref < 0x80 {
                bytes[0] = dref as u8;
                1
            } else {
                bytes[0] = dref as u8 | 0x80;
                bytes[1] = (dref >> 7) as u8;
                2
            };
            bytes[at] = dt as u8;
            bytes[at + 1..at + 9].copy_from_slice(&v.to_bits().to_be_bytes());
            let end = out.len() + at + 9;
            out.extend_from_slice(&bytes);
            out.truncate(end);
            return;
        }
        varint::put_uvarint(out, dref);
        varint::put_uvarint(out, dt);
        out.extend_from_slice(&v.to_bits().to_be_bytes());
    }
}

/// Appends a version 2 record with these samples; nothing where there is none.
pub fn encode_v2(out: &mut Vec<u8>, samples: impl IntoIterator<Item = RefSample>) {
    let mut samples = samples.into_iter();
    let Some(first) = samples.next() else { return };
    out.push(V2);
    varint::put_varint(out, first.series as i64);
    varint::put_varint(out, first.t);
    varint::put_varint(out, first.start);
    out.extend_from_slice(&first.v.to_bits().to_be_bytes());
    let mut previous = first;
    for sample in samples {
        varint::put_varint(out, sample.series.wrapping_sub(previous.series) as i64);
        varint::put_varint(out, sample.t.wrapping_sub(first.t));
        start::put(out, sample.start, previous.start, first.start);
        out.extend_from_slice(&sample.v.to_bits().to_be_bytes());
        previous = sample;
    }
}

/// Appends the samples of a record, of either version, to `out`.
///
/// # Errors
/// The record is damaged; `out` holds what came before the damage.
pub fn decode(record: &[u8], out: &mut Vec<RefSample>) -> Result<(), RecordError> {
    let (kind, mut cursor) = Cursor::record(record, &[V1, V2])?;
    if cursor.is_empty() {
        return Ok(());
    }
    out.reserve(cursor.len() / 10);
    if kind == V1 { decode_v1(&mut cursor, out) } else { decode_v2(&mut cursor, out) }
}

fn decode_v1(cursor: &mut Cursor<'_>, out: &mut Vec<RefSample>) -> Result<(), RecordError> {
    let base = cursor.u64("first series reference")?;
    let base_t = cursor.u64("first timestamp")? as i64;
    while !cursor.is_empty() {
        let series = base.wrapping_add(cursor.varint("series reference")? as u64);
        let t = base_t.wrapping_add(cursor.varint("timestamp")?);
        out.push(RefSample { series, t, start: 0, v: cursor.f64("value")? });
    }
    Ok(())
}

fn decode_v2(cursor: &mut Cursor<'_>, out: &mut Vec<RefSample>) -> Result<(), RecordError> {
    let mut series = cursor.varint("first series reference")?;
    let first_t = cursor.varint("first timestamp")?;
    let first_start = cursor.varint("first start timestamp")?;
    let (mut t, mut start) = (first_t, first_start);
    loop {
        let v = cursor.f64("value")?;
        out.push(RefSample { series: series as u64, t, start, v });
        if cursor.is_empty() {
            return Ok(());
        }
        series = series.wrapping_add(cursor.varint("series reference")?);
        t = first_t.wrapping_add(cursor.varint("timestamp")?);
        start = start::read(cursor, start, first_start)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::tests::golden;
    use proptest::prelude::*;

    fn sample(series: u64, t: i64, start: i64, v: f64) -> RefSample {
        RefSample { series, t, start, v }
    }

    fn encode(samples: &[RefSample]) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(first) = samples.first() else { return vec![V1] };
        let encoder = Encoder::begin(&mut out, first.series, first.t);
        for s in samples {
            encoder.push(&mut out, s.series, s.t, s.v);
        }
        out
    }

    #[test]
    fn golden_vectors() {
        const T: i64 = 1_700_000_000_000;
        let bytes = golden(
            "0200000000000000050000018bcfe5680000003ff00000000000000114400000000000000008134008000000000000",
        );
        let mut expected =
            [sample(5, T, 0, 1.0), sample(4, T + 10, 0, 2.0), sample(9, T - 10, 0, 3.0)];
        assert_eq!(encode(&expected), bytes);
        let mut out = Vec::new();
        decode(&bytes, &mut out).unwrap();
        assert_eq!(out, expected);

        let bytes = golden(
            "0b0a80a0abfef962003ff0000000000000011402b090abfef96240000000000000000a13014008000000000000",
        );
        expected[1].start = 1_699_999_999_000;
        expected[2].start = 1_699_999_999_000;
        out.clear();
        decode(&bytes, &mut out).unwrap();
        assert_eq!(out, expected);
        let mut again = Vec::new();
        encode_v2(&mut again, expected);
        assert_eq!(again, bytes);
    }

    proptest! {
        #[test]
        fn round_trip_v2(
            samples in prop::collection::vec((any::<u64>(), any::<i64>(), -2_i64..3, -9_i64..9), 0..50),
        ) {
            let samples: Vec<_> =
                samples.into_iter().map(|(r, t, st, v)| sample(r, t, st << 60, v as f64)).collect();
            let (mut bytes, mut out) = (Vec::new(), Vec::new());
            encode_v2(&mut bytes, samples.iter().copied());
            if !samples.is_empty() {
                decode(&bytes, &mut out).unwrap();
            }
            prop_assert_eq!(out, samples);
        }

        #[test]
        fn round_trip(samples in prop::collection::vec((0_u64..1 << 40, -1000_i64..1000, any::<u64>()), 1..50)) {
            let samples: Vec<_> =
                samples.into_iter().map(|(r, t, v)| sample(r, t, 0, f64::from_bits(v))).collect();
            let mut out = Vec::new();
            decode(&encode(&samples), &mut out).unwrap();
            let bits = |s: &[RefSample]| s.iter().map(|s| (s.series, s.t, s.v.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(bits(&out), bits(&samples));
        }
    }
}
