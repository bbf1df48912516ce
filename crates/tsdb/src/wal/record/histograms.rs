//! Native histograms, integer and float.
//!
//! ```text
//! version 1: 7, 8, 9 or 10 | ref0 u64BE | t0 i64BE | repeat: varint ref-ref0 | varint t-t0 | H
//! version 2: 12 or 13 | varint ref0 | varint t0 | varint st0 | H
//!                     | repeat: varint ref-previous ref | varint t-t0 | start | H
//! H: hint u8 | varint schema | f64BE zero threshold
//!    | integer: uvarint zero count, uvarint count; float: f64BE zero count, f64BE count
//!    | f64BE sum | spans positive | spans negative | buckets positive | buckets negative
//!    | where the schema is -53: uvarint n, n x f64BE bounds
//! spans: uvarint n, n x (varint offset, uvarint length)
//! buckets: uvarint n, n x (varint delta, or f64BE count)
//! ```
//! 7 and 12 hold integer histograms, 8 and 13 float histograms, 9 and 10 those with custom buckets
//! (in version 2 there is no difference). Version 1 is read by every Prometheus, version 2 from 3.10
//! on. We read both.

use firesteel_chunk::varint;
use firesteel_model::{
    CounterResetHint, FloatHistogram, Histogram, HistogramLayout, Span,
    histogram::CUSTOM_BUCKETS_SCHEMA,
};

use super::{Cursor, RecordError, start};

/// A histogram with integer or float counts.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyHistogram {
    /// Integer counts.
    Int(Histogram),
    /// Float counts.
    Float(FloatHistogram),
}

impl AnyHistogram {
    /// Where its buckets are.
    #[must_use]
    pub const fn layout(&self) -> &HistogramLayout {
        match self {
            Self::Int(h) => &h.layout,
            Self::Float(h) => &h.layout,
        }
    }

    /// The sum of its observations.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        match self {
            Self::Int(h) => h.sum,
            Self::Float(h) => h.sum,
        }
    }

    /// The type byte of the (version 1) record it goes into.
    #[must_use]
    pub fn record_type(&self) -> u8 {
        let custom = self.layout().schema == CUSTOM_BUCKETS_SCHEMA;
        match (self, custom) {
            (Self::Int(_), false) => 7,
            (Self::Float(_), false) => 8,
            (Self::Int(_), true) => 9,
            (Self::Float(_), true) => 10,
        }
    }
}

/// A histogram of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct RefHistogram {
    /// The series.
    pub series: u64,
    /// When, milliseconds.
    pub t: i64,
    /// Start timestamp, 0 where unknown.
    pub start: i64,
    /// The histogram.
    pub value: AnyHistogram,
}

/// Appends a version 1 record of type `kind` with those of `histograms` that belong there (see
/// [`AnyHistogram::record_type`]); nothing where there is none.
pub fn encode<'a>(
    out: &mut Vec<u8>,
    kind: u8,
    histograms: impl IntoIterator<Item = (u64, i64, &'a AnyHistogram)>,
) {
    let mut base = None;
    for (series, t, value) in histograms {
        if value.record_type() != kind {
            continue;
        }
        let (series0, t0) = *base.get_or_insert_with(|| {
            out.push(kind);
            out.extend_from_slice(&series.to_be_bytes());
            out.extend_from_slice(&t.to_be_bytes());
            (series, t)
        });
        varint::put_varint(out, series.wrapping_sub(series0) as i64);
        varint::put_varint(out, t.wrapping_sub(t0));
        put_histogram(out, value);
    }
}

/// Appends a version 2 record with those of `histograms`, given with their start timestamps, whose
/// counts are floats or are not; nothing where there is none.
pub fn encode_v2<'a>(
    out: &mut Vec<u8>,
    float: bool,
    histograms: impl IntoIterator<Item = (u64, i64, i64, &'a AnyHistogram)>,
) {
    let mut before: Option<(u64, i64, i64)> = None;
    let (mut first_t, mut first_start) = (0, 0);
    for (series, t, start, value) in histograms {
        if matches!(value, AnyHistogram::Float(_)) != float {
            continue;
        }
        if let Some(previous) = before {
            varint::put_varint(out, series.wrapping_sub(previous.0) as i64);
            varint::put_varint(out, t.wrapping_sub(first_t));
            start::put(out, start, previous.2, first_start);
        } else {
            out.push(if float { 13 } else { 12 });
            varint::put_varint(out, series as i64);
            varint::put_varint(out, t);
            varint::put_varint(out, start);
            (first_t, first_start) = (t, start);
        }
        put_histogram(out, value);
        before = Some((series, t, start));
    }
}

fn put_histogram(out: &mut Vec<u8>, value: &AnyHistogram) {
    let put_f64 = |out: &mut Vec<u8>, v: f64| out.extend_from_slice(&v.to_bits().to_be_bytes());
    let layout = value.layout();
    let hint = match value {
        AnyHistogram::Int(h) => h.counter_reset_hint,
        AnyHistogram::Float(h) => h.counter_reset_hint,
    };
    out.push(hint as u8);
    varint::put_varint(out, i64::from(layout.schema));
    put_f64(out, layout.zero_threshold);
    match value {
        AnyHistogram::Int(h) => {
            varint::put_uvarint(out, h.zero_count);
            varint::put_uvarint(out, h.count);
        }
        AnyHistogram::Float(h) => {
            put_f64(out, h.zero_count);
            put_f64(out, h.count);
        }
    }
    put_f64(out, value.sum());
    for spans in [&layout.positive_spans, &layout.negative_spans] {
        varint::put_uvarint(out, spans.len() as u64);
        for span in spans {
            varint::put_varint(out, i64::from(span.offset));
            varint::put_uvarint(out, u64::from(span.length));
        }
    }
    match value {
        AnyHistogram::Int(h) => {
            for buckets in [&h.positive_deltas, &h.negative_deltas] {
                varint::put_uvarint(out, buckets.len() as u64);
                for &delta in buckets {
                    varint::put_varint(out, delta);
                }
            }
        }
        AnyHistogram::Float(h) => {
            for buckets in [&h.positive_buckets, &h.negative_buckets] {
                varint::put_uvarint(out, buckets.len() as u64);
                for &count in buckets {
                    put_f64(out, count);
                }
            }
        }
    }
    if layout.schema == CUSTOM_BUCKETS_SCHEMA {
        varint::put_uvarint(out, layout.custom_values.len() as u64);
        for &bound in &layout.custom_values {
            put_f64(out, bound);
        }
    }
}

/// Appends the histograms of a record, of any of the six types, to `out`. Histograms of a schema
/// that does not exist are left out, as Prometheus does.
///
/// # Errors
/// The record is damaged; `out` holds what came before the damage.
pub fn decode(record: &[u8], out: &mut Vec<RefHistogram>) -> Result<(), RecordError> {
    let (kind, mut cursor) = Cursor::record(record, &[7, 8, 9, 10, 12, 13])?;
    if cursor.is_empty() {
        return Ok(());
    }
    let float = matches!(kind, 8 | 10 | 13);
    if kind < 12 { decode_v1(&mut cursor, float, out) } else { decode_v2(&mut cursor, float, out) }
}

fn decode_v1(
    cursor: &mut Cursor<'_>,
    float: bool,
    out: &mut Vec<RefHistogram>,
) -> Result<(), RecordError> {
    let base = cursor.u64("first series reference")?;
    let base_t = cursor.u64("first timestamp")? as i64;
    while !cursor.is_empty() {
        let series = base.wrapping_add(cursor.varint("series reference")? as u64);
        let t = base_t.wrapping_add(cursor.varint("timestamp")?);
        if let Some(value) = histogram(cursor, float)? {
            out.push(RefHistogram { series, t, start: 0, value });
        }
    }
    Ok(())
}

fn decode_v2(
    cursor: &mut Cursor<'_>,
    float: bool,
    out: &mut Vec<RefHistogram>,
) -> Result<(), RecordError> {
    let mut series = cursor.varint("first series reference")?;
    let first_t = cursor.varint("first timestamp")?;
    let first_start = cursor.varint("first start timestamp")?;
    let (mut t, mut start) = (first_t, first_start);
    loop {
        if let Some(value) = histogram(cursor, float)? {
            out.push(RefHistogram { series: series as u64, t, start, value });
        }
        if cursor.is_empty() {
            return Ok(());
        }
        series = series.wrapping_add(cursor.varint("series reference")?);
        t = first_t.wrapping_add(cursor.varint("timestamp")?);
        start = start::read(cursor, start, first_start)?;
    }
}

/// Schemas whose buckets we can read; 9 to 52 exist but need reducing, below -4 they are reserved.
const fn known_schema(schema: i32) -> bool {
    matches!(schema, -4..=8 | CUSTOM_BUCKETS_SCHEMA)
}

fn histogram(cursor: &mut Cursor<'_>, float: bool) -> Result<Option<AnyHistogram>, RecordError> {
    let counter_reset_hint = match cursor.u8("counter reset hint")? {
        1 => CounterResetHint::Reset,
        2 => CounterResetHint::NotReset,
        3 => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    };
    let schema = cursor.varint("schema")? as i32;
    let mut layout = HistogramLayout {
        schema,
        zero_threshold: cursor.f64("zero threshold")?,
        ..HistogramLayout::default()
    };
    let mut value = if float {
        AnyHistogram::Float(FloatHistogram {
            counter_reset_hint,
            zero_count: cursor.f64("zero count")?,
            count: cursor.f64("count")?,
            sum: cursor.f64("sum")?,
            ..FloatHistogram::default()
        })
    } else {
        AnyHistogram::Int(Histogram {
            counter_reset_hint,
            zero_count: cursor.uvarint("zero count")?,
            count: cursor.uvarint("count")?,
            sum: cursor.f64("sum")?,
            ..Histogram::default()
        })
    };
    layout.positive_spans = spans(cursor)?;
    layout.negative_spans = spans(cursor)?;
    match &mut value {
        AnyHistogram::Int(h) => {
            for buckets in [&mut h.positive_deltas, &mut h.negative_deltas] {
                let n = cursor.count(1, "number of buckets")?;
                buckets.reserve_exact(n);
                for _ in 0..n {
                    buckets.push(cursor.varint("bucket")?);
                }
            }
        }
        AnyHistogram::Float(h) => {
            h.positive_buckets = floats(cursor, "number of buckets")?;
            h.negative_buckets = floats(cursor, "number of buckets")?;
        }
    }
    if schema == CUSTOM_BUCKETS_SCHEMA {
        layout.custom_values = floats(cursor, "number of bounds")?;
    }
    match &mut value {
        AnyHistogram::Int(h) => h.layout = layout,
        AnyHistogram::Float(h) => h.layout = layout,
    }
    Ok(known_schema(schema).then_some(value))
}

fn spans(cursor: &mut Cursor<'_>) -> Result<Vec<Span>, RecordError> {
    let n = cursor.count(2, "number of spans")?;
    let mut spans = Vec::with_capacity(n);
    for _ in 0..n {
        let offset = cursor.varint("span offset")? as i32;
        let length = cursor.uvarint("span length")?;
        let length = u32::try_from(length)
            .map_err(|_| cursor.error(format!("span length {length} does not fit 32 bits")))?;
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

fn floats(cursor: &mut Cursor<'_>, what: &str) -> Result<Vec<f64>, RecordError> {
    let n = cursor.count(8, what)?;
    (0..n).map(|_| cursor.f64("float")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::tests::golden;

    const T: i64 = 1_700_000_000_000;

    fn h0() -> Histogram {
        Histogram {
            counter_reset_hint: CounterResetHint::Unknown,
            layout: HistogramLayout {
                schema: 1,
                zero_threshold: 2_f64.powi(-128),
                positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 2 }],
                negative_spans: vec![Span { offset: 0, length: 1 }],
                custom_values: Vec::new(),
            },
            zero_count: 2,
            count: 13,
            sum: 18.4,
            positive_deltas: vec![1, 1, -1, 0],
            negative_deltas: vec![6],
        }
    }

    fn check(hex: &str, start: i64, value: AnyHistogram) {
        let bytes = golden(hex);
        let mut back = Vec::new();
        decode(&bytes, &mut back).unwrap();
        assert_eq!(back, [RefHistogram { series: 5, t: T, start, value: value.clone() }]);
        if start == 0 {
            let mut out = Vec::new();
            encode(&mut out, value.record_type(), [(5, T, &value)]);
            assert_eq!(out, bytes);
            out.clear();
            encode(&mut out, 99, [(5, T, &value)]);
            assert!(out.is_empty());
        } else {
            let mut out = Vec::new();
            encode_v2(&mut out, false, [(5, T, start, &value)]);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn version_2_keeps_start_timestamps() {
        let value = |i: u64| {
            let h = Histogram { count: i, ..h0() };
            if i.is_multiple_of(3) {
                AnyHistogram::Float(h.to_float())
            } else {
                AnyHistogram::Int(h)
            }
        };
        let all: Vec<_> = (0..20_u64)
            .map(|i| RefHistogram {
                series: (i * 7919) % 100,
                t: T + i as i64 % 5,
                start: [0, 5, 5, T - 1][i as usize / 2 % 4],
                value: value(i),
            })
            .collect();
        for float in [false, true] {
            let (mut bytes, mut out) = (Vec::new(), Vec::new());
            encode_v2(&mut bytes, float, all.iter().map(|h| (h.series, h.t, h.start, &h.value)));
            decode(&bytes, &mut out).unwrap();
            let is = |h: &&RefHistogram| matches!(h.value, AnyHistogram::Float(_)) == float;
            assert_eq!(out, all.iter().filter(is).cloned().collect::<Vec<_>>());
        }
    }

    #[test]
    fn golden_vectors() {
        let int = AnyHistogram::Int(h0());
        check(
            "0700000000000000050000018bcfe568000000000237f0000000000000020d403266666666666602000202020100010402020100010c",
            0,
            int.clone(),
        );
        check(
            "0c0a80a0abfef962b090abfef962000237f0000000000000020d403266666666666602000202020100010402020100010c",
            1_699_999_999_000,
            int,
        );
        check(
            "0800000000000000050000018bcfe568000000000237f00000000000004000000000000000402a00000000000040326666666666660200020202010001043ff000000000000040000000000000003ff00000000000003ff0000000000000014018000000000000",
            0,
            AnyHistogram::Float(h0().to_float()),
        );
        let custom = Histogram {
            layout: HistogramLayout {
                schema: CUSTOM_BUCKETS_SCHEMA,
                positive_spans: vec![Span { offset: 0, length: 3 }],
                custom_values: vec![0.005, 2.5],
                ..HistogramLayout::default()
            },
            count: 6,
            sum: 7.5,
            positive_deltas: vec![1, 1, 1],
            ..Histogram::default()
        };
        check(
            "0900000000000000050000018bcfe568000000006900000000000000000006401e000000000000010003000302020200023f747ae147ae147b4004000000000000",
            0,
            AnyHistogram::Int(custom),
        );
    }
}
