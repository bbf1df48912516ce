//! Where the buckets of a chunk's histograms are.

use crate::{
    ChunkError,
    bits::BitWriter,
    reader::BitReader,
    writer::{put_varbit_int, put_varbit_uint},
};

/// Schema of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Gap to the previous span in buckets; for the first span the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// Where the buckets are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// -9 to 52, or [`CUSTOM_BUCKETS_SCHEMA`]; Prometheus writes -4 to 8 of the former.
    pub schema: i32,
    /// Observations with an absolute value up to this fall into the zero bucket.
    pub zero_threshold: f64,
    /// Spans of the positive buckets.
    pub positive_spans: Vec<Span>,
    /// Spans of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// Upper bounds of custom buckets, without +Inf; empty for other schemas.
    pub custom_values: Vec<f64>,
}

impl Layout {
    /// Number of positive buckets.
    #[must_use]
    pub fn num_positive(&self) -> usize {
        count(&self.positive_spans)
    }

    /// Number of negative buckets.
    #[must_use]
    pub fn num_negative(&self) -> usize {
        count(&self.negative_spans)
    }

    /// Number of buckets, the zero bucket not counted.
    #[must_use]
    pub fn num_buckets(&self) -> usize {
        self.num_positive().saturating_add(self.num_negative())
    }

    pub(super) fn read(reader: &mut BitReader<'_>) -> Result<Self, ChunkError> {
        let bit = reader.pos();
        let zero_threshold = match reader.bits(8) {
            0 => 0.0,
            255 => f64::from_bits(reader.bits(64)),
            // 2^(n - 244), all of which are normal numbers.
            n => f64::from_bits((n + 1023 - 244) << 52),
        };
        let schema = i32::try_from(reader.varbit_int()).unwrap_or(i32::MIN);
        if schema != CUSTOM_BUCKETS_SCHEMA && !(-9..=52).contains(&schema) {
            return Err(ChunkError::BadLayout { bit, what: "unknown schema" });
        }
        let positive_spans = spans(reader, bit)?;
        let negative_spans = spans(reader, bit)?;
        let custom_values =
            if schema == CUSTOM_BUCKETS_SCHEMA { bounds(reader, bit)? } else { Vec::new() };
        let layout = Self { schema, zero_threshold, positive_spans, negative_spans, custom_values };
        // Every bucket of the first sample takes a bit at least. That sample may be stale, but then
        // its layout is empty.
        if layout.num_buckets() > reader.left() {
            return Err(ChunkError::BadLayout {
                bit,
                what: "more buckets than the chunk can hold",
            });
        }
        Ok(layout)
    }
}

fn count(spans: &[Span]) -> usize {
    spans.iter().fold(0, |sum: usize, s| sum.saturating_add(s.length as usize))
}

/// The length of a list of which each entry takes `least` bits.
fn list_len(reader: &mut BitReader<'_>, bit: usize, least: u64) -> Result<u64, ChunkError> {
    let n = reader.varbit_uint();
    if n.saturating_mul(least) > reader.left() as u64 {
        return Err(ChunkError::BadLayout { bit, what: "a list is longer than the chunk" });
    }
    Ok(n)
}

fn spans(reader: &mut BitReader<'_>, bit: usize) -> Result<Vec<Span>, ChunkError> {
    let n = list_len(reader, bit, 2)?;
    let mut spans = Vec::with_capacity(n as usize);
    for _ in 0..n {
        let length = u32::try_from(reader.varbit_uint());
        let offset = i32::try_from(reader.varbit_int());
        let (Ok(length), Ok(offset)) = (length, offset) else {
            return Err(ChunkError::BadLayout { bit, what: "a span does not fit 32 bits" });
        };
        spans.push(Span { offset, length });
    }
    Ok(spans)
}

fn bounds(reader: &mut BitReader<'_>, bit: usize) -> Result<Vec<f64>, ChunkError> {
    let n = list_len(reader, bit, 1)?;
    let mut bounds = Vec::with_capacity(n as usize);
    for _ in 0..n {
        // Whole thousandths plus one, or 0 and the bits of the number.
        bounds.push(match reader.varbit_uint() {
            0 => f64::from_bits(reader.bits(64)),
            n => (n - 1) as f64 / 1000.0,
        });
    }
    Ok(bounds)
}

impl Layout {
    /// The most bytes that [`Layout::put`] takes.
    pub(super) fn max_len(&self) -> usize {
        let spans = self.positive_spans.len() + self.negative_spans.len();
        10 * (6 + 2 * spans + self.custom_values.len())
    }

    pub(super) fn put(&self, out: &mut BitWriter<'_>) {
        put_zero_threshold(out, self.zero_threshold);
        put_varbit_int(out, self.schema.into());
        for spans in [&self.positive_spans, &self.negative_spans] {
            put_varbit_uint(out, spans.len() as u64);
            for span in spans {
                put_varbit_uint(out, span.length.into());
                put_varbit_int(out, span.offset.into());
            }
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            put_varbit_uint(out, self.custom_values.len() as u64);
            for &bound in &self.custom_values {
                put_bound(out, bound);
            }
        }
    }
}

fn put_zero_threshold(out: &mut BitWriter<'_>, threshold: f64) {
    let bits = threshold.to_bits();
    // A power of two has an empty fraction; 2^(e - 1023) is written as e - 779.
    let power = (bits << 12 == 0).then_some(bits >> 52).and_then(|e| e.checked_sub(779));
    match power {
        _ if threshold == 0.0 => out.put(0, 8),
        Some(n @ 1..=254) => out.put(n, 8),
        _ => {
            out.put(255, 8);
            out.put(bits, 64);
        }
    }
}

fn put_bound(out: &mut BitWriter<'_>, bound: f64) {
    let thousandths = (bound * 1000.0).round();
    // The largest that takes four bytes; others take nine, as the bits do.
    let short = (0.0..=33_554_430.0).contains(&(bound * 1000.0));
    if short && thousandths / 1000.0 == bound {
        put_varbit_uint(out, thousandths as u64 + 1);
    } else {
        out.put(0, 1);
        out.put(bound.to_bits(), 64);
    }
}
