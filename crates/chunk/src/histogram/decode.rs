//! Reading histogram chunks.

use crate::{ChunkError, Encoding, reader::BitReader, start::StartDecoder, window::Window};

use super::{CounterReset, Counts, HEADER_LEN, Histograms, Layout, STALE_NAN};

/// The most bucket values that a chunk is decoded to: 256 MiB of them. Stale samples take next to
/// no bits but as many values as the others, so the chunk's length is no limit.
const MAX_VALUES: usize = 32 << 20;

/// Reads the samples of a chunk of one of the four histogram encodings.
///
/// # Errors
/// The chunk is damaged, or the encoding is one for floats.
pub fn decode(encoding: Encoding, chunk: &[u8]) -> Result<Histograms, ChunkError> {
    let (float, with_starts) = match encoding {
        Encoding::Histogram => (false, false),
        Encoding::FloatHistogram => (true, false),
        Encoding::HistogramSt => (false, true),
        Encoding::FloatHistogramSt => (true, true),
        Encoding::Xor | Encoding::Xor2 => {
            return Err(ChunkError::WrongEncoding { id: encoding.id() });
        }
    };
    let short = |samples| ChunkError::Short { len: chunk.len(), samples };
    let [first, _, third] = *chunk.first_chunk::<HEADER_LEN>().ok_or_else(|| short(0))?;
    let num = encoding.num_samples(chunk).unwrap_or_default();
    let (reset, start_header) = if with_starts { (first >> 6, third) } else { (third >> 6, 0) };
    let counter_reset = CounterReset::from_bits(reset);
    if num == 0 {
        return Ok(Histograms { counter_reset, ..Histograms::default() });
    }
    // Every sample takes four bits at least: time, count, zero count, sum.
    if (chunk.len() - HEADER_LEN) * 8 < num * 4 {
        return Err(short(num));
    }
    let mut reader = BitReader::new(chunk, HEADER_LEN);
    let bit = reader.pos();
    let layout = Layout::read(&mut reader)?;
    reader.check(bit, 0)?;
    if layout.num_buckets().saturating_mul(num) > MAX_VALUES {
        return Err(ChunkError::BadLayout { bit, what: "more than 32 Mi bucket values" });
    }
    let buckets = layout.num_buckets();
    let mut common = Common {
        times: Vec::with_capacity(num),
        starts: Vec::new(),
        sums: Vec::with_capacity(num),
        start: StartDecoder::new(start_header),
        delta: 0,
        window: Window::NONE,
    };
    let counts = if float {
        let mut columns = FloatColumns::new(num, buckets);
        common.read_all(&mut reader, num, &mut columns)?;
        columns.out
    } else {
        let mut columns = IntegerColumns::new(num, buckets);
        common.read_all(&mut reader, num, &mut columns)?;
        columns.out
    };
    let Common { times, starts, sums, .. } = common;
    Ok(Histograms { counter_reset, layout, times, starts, sums, counts })
}

/// What the two kinds of counts have in common.
struct Common {
    times: Vec<i64>,
    starts: Vec<i64>,
    sums: Vec<f64>,
    start: StartDecoder,
    delta: i64,
    /// Of the sum.
    window: Window,
}

/// Counts of one kind, being read.
trait Columns {
    /// Reads count and zero count.
    fn counts(&mut self, reader: &mut BitReader<'_>, first: bool) -> Result<(), ChunkError>;
    /// Reads the buckets.
    fn buckets(&mut self, reader: &mut BitReader<'_>, first: bool) -> Result<(), ChunkError>;
    /// Adds the buckets of a stale sample.
    fn no_buckets(&mut self);
}

impl Common {
    fn read_all(
        &mut self,
        reader: &mut BitReader<'_>,
        num: usize,
        columns: &mut impl Columns,
    ) -> Result<(), ChunkError> {
        let (mut t, mut sum) = (0_i64, 0_u64);
        for index in 0..num {
            let at = reader.pos();
            let (first, previous) = (index == 0, t);
            if first {
                t = reader.varbit_int();
            } else {
                self.delta = self.delta.wrapping_add(reader.varbit_int());
                t = t.wrapping_add(self.delta);
            }
            columns.counts(reader, first)?;
            sum = if first { reader.bits(64) } else { sum ^ reader.xor(&mut self.window)? };
            // The first sample has buckets whatever its sum is: if it is stale the layout is empty.
            if first || sum != STALE_NAN {
                columns.buckets(reader, first)?;
            } else {
                columns.no_buckets();
            }
            if self.start.any() {
                self.starts.push(self.start.next(reader, index, t, previous)?);
            }
            reader.check(at, index)?;
            self.times.push(t);
            self.sums.push(f64::from_bits(sum));
        }
        Ok(())
    }
}

/// An integer and what it changed by last.
#[derive(Clone, Copy, Default)]
struct Moving {
    value: i64,
    delta: i64,
}

impl Moving {
    #[inline]
    fn step(&mut self, reader: &mut BitReader<'_>) -> i64 {
        self.delta = self.delta.wrapping_add(reader.varbit_int());
        self.value = self.value.wrapping_add(self.delta);
        self.value
    }
}

struct IntegerColumns {
    out: Counts,
    count: Moving,
    zero_count: Moving,
    buckets: Vec<Moving>,
}

impl IntegerColumns {
    fn new(num: usize, buckets: usize) -> Self {
        let out = Counts::Integer {
            counts: Vec::with_capacity(num),
            zero_counts: Vec::with_capacity(num),
            deltas: Vec::new(),
        };
        let (count, zero_count) = Default::default();
        Self { out, count, zero_count, buckets: vec![Moving::default(); buckets] }
    }
}

impl Columns for IntegerColumns {
    fn counts(&mut self, reader: &mut BitReader<'_>, first: bool) -> Result<(), ChunkError> {
        if first {
            self.count.value = reader.varbit_uint() as i64;
            self.zero_count.value = reader.varbit_uint() as i64;
        } else {
            self.count.step(reader);
            self.zero_count.step(reader);
        }
        if let Counts::Integer { counts, zero_counts, .. } = &mut self.out {
            counts.push(self.count.value as u64);
            zero_counts.push(self.zero_count.value as u64);
        }
        Ok(())
    }

    fn buckets(&mut self, reader: &mut BitReader<'_>, first: bool) -> Result<(), ChunkError> {
        if let Counts::Integer { deltas, .. } = &mut self.out {
            for bucket in &mut self.buckets {
                if first {
                    bucket.value = reader.varbit_int();
                } else {
                    bucket.step(reader);
                }
                deltas.push(bucket.value);
            }
        }
        Ok(())
    }

    fn no_buckets(&mut self) {
        if let Counts::Integer { deltas, .. } = &mut self.out {
            deltas.resize(deltas.len() + self.buckets.len(), 0);
        }
    }
}

/// A float's bits and its window.
#[derive(Clone, Copy)]
struct Xored {
    bits: u64,
    window: Window,
}

impl Xored {
    const ZERO: Self = Self { bits: 0, window: Window::NONE };

    #[inline]
    fn step(&mut self, reader: &mut BitReader<'_>, first: bool) -> Result<f64, ChunkError> {
        self.bits =
            if first { reader.bits(64) } else { self.bits ^ reader.xor(&mut self.window)? };
        Ok(f64::from_bits(self.bits))
    }
}

struct FloatColumns {
    out: Counts,
    count: Xored,
    zero_count: Xored,
    buckets: Vec<Xored>,
}

impl FloatColumns {
    fn new(num: usize, buckets: usize) -> Self {
        let out = Counts::Float {
            counts: Vec::with_capacity(num),
            zero_counts: Vec::with_capacity(num),
            buckets: Vec::new(),
        };
        Self {
            out,
            count: Xored::ZERO,
            zero_count: Xored::ZERO,
            buckets: vec![Xored::ZERO; buckets],
        }
    }
}

impl Columns for FloatColumns {
    fn counts(&mut self, reader: &mut BitReader<'_>, first: bool) -> Result<(), ChunkError> {
        let count = self.count.step(reader, first)?;
        let zero_count = self.zero_count.step(reader, first)?;
        if let Counts::Float { counts, zero_counts, .. } = &mut self.out {
            counts.push(count);
            zero_counts.push(zero_count);
        }
        Ok(())
    }

    fn buckets(&mut self, reader: &mut BitReader<'_>, first: bool) -> Result<(), ChunkError> {
        if let Counts::Float { buckets, .. } = &mut self.out {
            for bucket in &mut self.buckets {
                buckets.push(bucket.step(reader, first)?);
            }
        }
        Ok(())
    }

    fn no_buckets(&mut self) {
        if let Counts::Float { buckets, .. } = &mut self.out {
            buckets.resize(buckets.len() + self.buckets.len(), 0.0);
        }
    }
}
