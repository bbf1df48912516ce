//! Writing histogram chunks.

use crate::{
    ChunkError, Encoding,
    bits::BitWriter,
    writer::{ChunkBuffer, PutWindow, StartEncoder, next_count, put_varbit_int, put_varbit_uint},
};

use super::{CounterReset, HEADER_LEN, Layout, STALE_NAN};

/// The most bytes that a number takes, a new window and 64 bits.
const MAX_NUMBER_LEN: usize = 10;

/// A chunk of native histograms being written. All have one layout; where it changes, or counters
/// are reset, the caller begins another chunk.
#[derive(Clone, Debug)]
pub struct HistogramEncoder {
    float: bool,
    starts: Option<StartEncoder>,
    layout: Layout,
    buffer: ChunkBuffer,
    num: usize,
    stale: bool,
    t: Moving,
    count: Number,
    zero_count: Number,
    sum: Xored,
    buckets: Vec<Number>,
}

/// An integer and what it changed by last.
#[derive(Clone, Copy, Debug, Default)]
struct Moving {
    value: i64,
    delta: i64,
}

impl Moving {
    #[inline]
    fn put(&mut self, out: &mut BitWriter<'_>, value: i64) {
        let delta = value.wrapping_sub(self.value);
        put_varbit_int(out, delta.wrapping_sub(self.delta));
        *self = Self { value, delta };
    }
}

/// A float's bits and its window.
#[derive(Clone, Copy, Debug)]
struct Xored {
    bits: u64,
    window: PutWindow,
}

impl Xored {
    const ZERO: Self = Self { bits: 0, window: PutWindow::NONE };

    #[inline]
    fn put(&mut self, out: &mut BitWriter<'_>, first: bool, value: f64) {
        let bits = value.to_bits();
        if first {
            out.put(bits, 64);
        } else {
            self.window.put_xor(out, bits ^ self.bits);
        }
        self.bits = bits;
    }
}

/// A count, as a chunk of either kind remembers it.
#[derive(Clone, Copy, Debug)]
enum Number {
    Integer(Moving),
    Float(Xored),
}

impl HistogramEncoder {
    /// An empty chunk of one of the four histogram encodings.
    ///
    /// # Errors
    /// [`ChunkError::WrongEncoding`] for one of floats, [`ChunkError::BadLayout`] for a layout of
    /// more than 4 Mi buckets.
    pub fn new(
        encoding: Encoding,
        reset: CounterReset,
        layout: Layout,
    ) -> Result<Self, ChunkError> {
        let (float, starts) = match encoding {
            Encoding::Histogram => (false, false),
            Encoding::FloatHistogram => (true, false),
            Encoding::HistogramSt => (false, true),
            Encoding::FloatHistogramSt => (true, true),
            Encoding::Xor | Encoding::Xor2 => {
                return Err(ChunkError::WrongEncoding { id: encoding.id() });
            }
        };
        let num_buckets = layout.num_buckets();
        if num_buckets > 4 << 20 {
            return Err(ChunkError::BadLayout { bit: 24, what: "more than 4 Mi buckets" });
        }
        let zero =
            if float { Number::Float(Xored::ZERO) } else { Number::Integer(Moving::default()) };
        let mut buffer = ChunkBuffer::new(HEADER_LEN);
        buffer.header(|h| h[if starts { 0 } else { 2 }] = reset.bits() << 6);
        Ok(Self {
            float,
            starts: starts.then(StartEncoder::default),
            layout,
            buffer,
            num: 0,
            stale: false,
            t: Moving::default(),
            count: zero,
            zero_count: zero,
            sum: Xored::ZERO,
            buckets: vec![zero; num_buckets],
        })
    }

    /// The layout. Empty once the first sample is a stale one.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of samples.
    #[must_use]
    pub const fn num_samples(&self) -> usize {
        self.num
    }

    /// The chunk as it stands.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// Whether the last sample is stale.
    pub(super) const fn is_stale(&self) -> bool {
        self.stale
    }

    /// Counts of the last sample: all, zero bucket, buckets as differences. Zeros in a chunk of
    /// floats.
    pub(super) fn integer_counts(&self) -> (u64, u64, impl Iterator<Item = i64> + '_) {
        let value = |n: &Number| match n {
            Number::Integer(moving) => moving.value,
            Number::Float(_) => 0,
        };
        let buckets = self.buckets.iter().map(value);
        (value(&self.count) as u64, value(&self.zero_count) as u64, buckets)
    }

    /// Counts of the last sample: all, zero bucket, buckets. Zeros in a chunk of integers.
    pub(super) fn float_counts(&self) -> (f64, f64, impl Iterator<Item = f64> + '_) {
        let value = |n: &Number| match n {
            Number::Integer(_) => 0.0,
            Number::Float(xored) => f64::from_bits(xored.bits),
        };
        (value(&self.count), value(&self.zero_count), self.buckets.iter().map(value))
    }

    /// Appends a histogram with integer counts. `deltas` are its buckets, positive ones first, each
    /// as the difference to the one before it, positive and negative ones apart; `start` is its
    /// start timestamp, 0 for unknown. With the staleness marker as its sum the rest is ignored.
    ///
    /// # Errors
    /// [`ChunkError::WrongEncoding`] in a chunk of float histograms, [`ChunkError::BadLayout`] if
    /// the layout has another number of buckets, [`ChunkError::AfterStale`],
    /// [`ChunkError::TooManySamples`]; nothing has changed then.
    pub fn append_integer(
        &mut self,
        t: i64,
        start: i64,
        (count, zero_count, sum): (u64, u64, f64),
        deltas: &[i64],
    ) -> Result<(), ChunkError> {
        if self.float {
            return Err(ChunkError::WrongEncoding { id: Encoding::FloatHistogram.id() });
        }
        self.append(t, start, (count as i64, zero_count as i64, sum), deltas, put_integer)
    }

    /// Appends a histogram with float counts, its buckets absolute; else as
    /// [`HistogramEncoder::append_integer`].
    ///
    /// # Errors
    /// As there, [`ChunkError::WrongEncoding`] in a chunk of integer histograms.
    pub fn append_float(
        &mut self,
        t: i64,
        start: i64,
        (count, zero_count, sum): (f64, f64, f64),
        buckets: &[f64],
    ) -> Result<(), ChunkError> {
        if !self.float {
            return Err(ChunkError::WrongEncoding { id: Encoding::Histogram.id() });
        }
        self.append(t, start, (count, zero_count, sum), buckets, put_float)
    }

    fn append<T: Copy + Default>(
        &mut self,
        t: i64,
        start: i64,
        (count, zero_count, sum): (T, T, f64),
        values: &[T],
        put: impl Fn(&mut Number, &mut BitWriter<'_>, Role, T),
    ) -> Result<(), ChunkError> {
        let num = next_count(self.num, if self.starts.is_some() { 14 } else { 16 })?;
        let stale = sum.to_bits() == STALE_NAN;
        if self.stale && !stale {
            return Err(ChunkError::AfterStale);
        }
        if !stale && values.len() != self.buckets.len() {
            return Err(ChunkError::BadLayout { bit: 24, what: "another number of buckets" });
        }
        let first = self.num == 0;
        if stale && first {
            self.layout = Layout::default();
            self.buckets.clear();
        }
        let (count, zero_count) =
            if stale { (T::default(), T::default()) } else { (count, zero_count) };
        let values = if stale { &[] } else { values };
        let mut most = MAX_NUMBER_LEN * (4 + values.len()) + StartEncoder::MAX_LEN;
        if first {
            most += self.layout.max_len();
        }
        let role = match (first, stale) {
            (true, _) => Role::First,
            (false, true) => Role::Stale,
            (false, false) => Role::Later,
        };
        let (index, previous) = (self.num, self.t.value);
        let mut header = 0;
        let Self { buffer, layout, starts, buckets, .. } = self;
        let (time, sums) = (&mut self.t, &mut self.sum);
        let (counts, zero_counts) = (&mut self.count, &mut self.zero_count);
        buffer.write(most, |out| {
            if first {
                layout.put(out);
                put_varbit_int(out, t);
                time.value = t;
            } else {
                time.put(out, t);
            }
            put(counts, out, role, count);
            put(zero_counts, out, role, zero_count);
            sums.put(out, first, sum);
            let bucket_role = if first { Role::FirstBucket } else { role };
            for (bucket, value) in buckets.iter_mut().zip(values) {
                put(bucket, out, bucket_role, *value);
            }
            if let Some(starts) = starts {
                header = starts.put(out, index, t, previous, start);
            }
        });
        let with_starts = self.starts.is_some();
        self.buffer.header(|bytes| {
            let [high, low] = (num as u16).to_be_bytes();
            let reset = if with_starts { bytes[0] & 0xc0 } else { 0 };
            *bytes = [high | reset, low, bytes[2] | header];
        });
        self.num = num;
        self.stale = stale;
        Ok(())
    }
}

/// Where a number stands, which decides how it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A count of the first sample.
    First,
    /// A bucket of the first sample.
    FirstBucket,
    /// Of a later sample.
    Later,
    /// A count of a later sample that is stale.
    Stale,
}

#[inline]
fn put_integer(number: &mut Number, out: &mut BitWriter<'_>, role: Role, value: i64) {
    let Number::Integer(moving) = number else { return };
    match role {
        Role::First => put_varbit_uint(out, value as u64),
        Role::FirstBucket => put_varbit_int(out, value),
        Role::Later => return moving.put(out, value),
        // Readers step on as before.
        Role::Stale => return put_varbit_int(out, 0),
    }
    moving.value = value;
}

#[inline]
fn put_float(number: &mut Number, out: &mut BitWriter<'_>, role: Role, value: f64) {
    let Number::Float(xored) = number else { return };
    xored.put(out, matches!(role, Role::First | Role::FirstBucket), value);
}
