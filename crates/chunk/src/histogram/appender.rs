//! Which histograms go into a chunk together.
//!
//! Source: `AppendHistogram`, `appendable`, `appendableGauge` and `recode` in Prometheus'
//! `tsdb/chunkenc/{histogram,float_histogram}*.go`; chunks come out the same, byte by byte.

use std::borrow::Cow;

use crate::{ChunkError, Encoding};

use super::{
    CUSTOM_BUCKETS_SCHEMA, CounterReset, Counts, Histograms, Layout, STALE_NAN, Span, decode,
    encode::HistogramEncoder,
    merge::{Count, Merge, Widen},
};

/// A histogram to append.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Time, milliseconds.
    pub t: i64,
    /// Start timestamp, 0 for unknown; encodings without start timestamps ignore it.
    pub start: i64,
    /// What its source says about a reset since the sample before. [`CounterReset::NotReset`] is
    /// taken for unknown.
    pub hint: CounterReset,
    /// Where its buckets are.
    pub layout: &'a Layout,
    /// Sum of the observations; with Prometheus' staleness marker layout and counts are ignored.
    pub sum: f64,
    /// The counts.
    pub counts: SampleCounts<'a>,
}

/// The counts of a [`Sample`].
#[derive(Clone, Copy, Debug)]
pub enum SampleCounts<'a> {
    /// Integers.
    Integer {
        /// All observations.
        count: u64,
        /// Those in the zero bucket.
        zero_count: u64,
        /// Positive buckets, each as the difference to the one before.
        positive: &'a [i64],
        /// Negative buckets, likewise.
        negative: &'a [i64],
    },
    /// Floats.
    Float {
        /// All observations.
        count: f64,
        /// Those in the zero bucket.
        zero_count: f64,
        /// Positive buckets, absolute.
        positive: &'a [f64],
        /// Negative buckets, absolute.
        negative: &'a [f64],
    },
}

/// The counts of a sample of one kind.
#[derive(Clone, Copy)]
pub(super) struct Values<'a, T, C> {
    count: C,
    zero_count: C,
    positive: &'a [T],
    negative: &'a [T],
}

/// What [`HistogramAppender::append`] did.
#[derive(Debug)]
pub enum Appended {
    /// The sample is in the chunk.
    Added,
    /// The sample is in the chunk, all of which was written anew because the sample has buckets
    /// that the chunk had not.
    Recoded,
    /// The sample does not go with the chunk, which is as it was; it begins the chunk given here.
    Began(Box<HistogramAppender>),
}

/// A chunk of native histograms being written, which knows what goes with it: histograms of the
/// same kind, schema, zero threshold and custom bounds whose counters have not been reset, or which
/// are all gauges. A chunk that lacks a sample's buckets is written anew with them; a sample that
/// lacks some of the chunk gets them, empty.
///
/// When a chunk is full is up to the caller, who then begins another one after it.
#[derive(Clone, Debug)]
pub struct HistogramAppender {
    encoding: Encoding,
    encoder: HistogramEncoder,
    gauge: bool,
    first_time: i64,
    last_time: i64,
}

/// How a sample and a chunk come together.
enum Fit {
    /// As they are.
    Plain,
    /// After one or both got more buckets.
    Merge { positive: Merge, negative: Merge },
    /// Not: a chunk with this header begins.
    Cut(CounterReset),
}

impl HistogramAppender {
    /// Begins a chunk of one of the four histogram encodings with `sample`. `previous` is the chunk
    /// before it in the series, if that is known: it decides what the new one says about a reset.
    ///
    /// # Errors
    /// [`ChunkError::WrongEncoding`] if the encoding is not one for the sample's counts,
    /// [`ChunkError::BadLayout`] if there are more than 4 Mi buckets or the spans have another
    /// number of them than the counts.
    pub fn begin(
        encoding: Encoding,
        previous: Option<&Self>,
        sample: &Sample<'_>,
    ) -> Result<Self, ChunkError> {
        check(encoding, sample)?;
        let header = match (sample.hint, previous) {
            (CounterReset::Gauge | CounterReset::Reset, _) => sample.hint,
            (_, Some(previous)) if previous.is_float() == is_float(encoding) => {
                previous.header_after(sample)
            }
            _ => CounterReset::Unknown,
        };
        Self::with_header(encoding, header, sample)
    }

    fn with_header(
        encoding: Encoding,
        header: CounterReset,
        sample: &Sample<'_>,
    ) -> Result<Self, ChunkError> {
        let layout = if is_stale(sample) { Layout::default() } else { sample.layout.clone() };
        let encoder = HistogramEncoder::new(encoding, header, layout)?;
        let gauge = header == CounterReset::Gauge;
        let mut begun =
            Self { encoding, encoder, gauge, first_time: sample.t, last_time: sample.t };
        begun.put(sample, None)?;
        Ok(begun)
    }

    /// Goes on with a chunk that was written before.
    ///
    /// # Errors
    /// It is damaged or empty, or the encoding is one for floats.
    pub fn resume(encoding: Encoding, chunk: &[u8]) -> Result<Self, ChunkError> {
        let found = decode(encoding, chunk)?;
        let (Some(&first_time), Some(&last_time)) = (found.times.first(), found.times.last())
        else {
            return Err(ChunkError::Short { len: chunk.len(), samples: 0 });
        };
        let mut encoder =
            HistogramEncoder::new(encoding, found.counter_reset, found.layout.clone())?;
        rewrite(&mut encoder, &found, None)?;
        let gauge = found.counter_reset == CounterReset::Gauge;
        Ok(Self { encoding, encoder, gauge, first_time, last_time })
    }

    /// Appends a sample, or begins another chunk with it if it does not go with this one.
    ///
    /// # Errors
    /// As [`HistogramAppender::begin`], and [`ChunkError::TooManySamples`]; nothing has changed
    /// then.
    pub fn append(&mut self, sample: &Sample<'_>) -> Result<Appended, ChunkError> {
        check(self.encoding, sample)?;
        match self.fit(sample) {
            Fit::Cut(header) => {
                Self::with_header(self.encoding, header, sample).map(|c| Appended::Began(c.into()))
            }
            Fit::Plain => self.put(sample, None).map(|()| Appended::Added),
            Fit::Merge { positive, negative } => self.merge(sample, positive, negative),
        }
    }

    /// Its encoding.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Number of samples, at least 1.
    #[must_use]
    pub const fn num_samples(&self) -> usize {
        self.encoder.num_samples()
    }

    /// Times of the first and the last sample.
    #[must_use]
    pub const fn time_range(&self) -> (i64, i64) {
        (self.first_time, self.last_time)
    }

    /// The chunk as it stands.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.encoder.bytes()
    }

    const fn is_float(&self) -> bool {
        is_float(self.encoding)
    }

    /// Writes a sample, its buckets widened by `merges`.
    fn put(
        &mut self,
        sample: &Sample<'_>,
        merges: Option<(&Merge, &Merge)>,
    ) -> Result<(), ChunkError> {
        let (t, start, sum) = (sample.t, sample.start, sample.sum);
        match sample.counts {
            SampleCounts::Integer { count, zero_count, positive, negative } => {
                let values = joined((positive, negative), merges, Widen::Sample);
                self.encoder.append_integer(t, start, (count, zero_count, sum), &values)?;
            }
            SampleCounts::Float { count, zero_count, positive, negative } => {
                let values = joined((positive, negative), merges, Widen::Sample);
                self.encoder.append_float(t, start, (count, zero_count, sum), &values)?;
            }
        }
        self.last_time = t;
        Ok(())
    }

    /// Appends a sample after it or the chunk or both got the buckets that they lack.
    fn merge(
        &mut self,
        sample: &Sample<'_>,
        positive: Merge,
        negative: Merge,
    ) -> Result<Appended, ChunkError> {
        if !positive.chunk_lacks && !negative.chunk_lacks {
            self.put(sample, Some((&positive, &negative)))?;
            return Ok(Appended::Added);
        }
        // Prometheus takes the sample's spans as they are where it lacks nothing, and else makes
        // new ones: for a counter on the side that changed, for a gauge on both.
        let both = self.gauge && (positive.sample_lacks || negative.sample_lacks);
        let spans = |merge: &Merge, own: &[Span]| {
            if both || merge.sample_lacks { merge.spans(own) } else { own.to_vec() }
        };
        let layout = Layout {
            positive_spans: spans(&positive, &sample.layout.positive_spans),
            negative_spans: spans(&negative, &sample.layout.negative_spans),
            ..self.encoder.layout().clone()
        };
        let found = decode(self.encoding, self.bytes())?;
        let mut encoder = HistogramEncoder::new(self.encoding, found.counter_reset, layout)?;
        let merges = Some((&positive, &negative));
        rewrite(&mut encoder, &found, merges)?;
        let before = std::mem::replace(&mut self.encoder, encoder);
        if let Err(error) = self.put(sample, merges) {
            self.encoder = before;
            return Err(error);
        }
        Ok(Appended::Recoded)
    }

    fn fit(&self, sample: &Sample<'_>) -> Fit {
        if sample.hint == CounterReset::Gauge {
            return self.fit_gauge(sample);
        }
        match sample.counts {
            SampleCounts::Integer { count, zero_count, positive, negative } => {
                let values = Values { count, zero_count, positive, negative };
                self.fit_counter(sample, values, self.encoder.integer_counts())
            }
            SampleCounts::Float { count, zero_count, positive, negative } => {
                let values = Values { count, zero_count, positive, negative };
                self.fit_counter(sample, values, self.encoder.float_counts())
            }
        }
    }

    fn fit_gauge(&self, sample: &Sample<'_>) -> Fit {
        if !self.gauge {
            return Fit::Cut(CounterReset::Gauge);
        }
        if is_stale(sample) {
            return Fit::Plain;
        }
        let layout = self.encoder.layout();
        if self.encoder.is_stale() || !comparable(layout, sample.layout) {
            return Fit::Cut(CounterReset::Gauge);
        }
        merged(
            Merge::of(&layout.positive_spans, &sample.layout.positive_spans),
            Merge::of(&layout.negative_spans, &sample.layout.negative_spans),
        )
    }

    /// How a counter goes with the chunk. Where it does not, integer and float chunks say different
    /// things about a reset, a quirk of Prometheus that no reader minds.
    fn fit_counter<T: Count, C: PartialOrd>(
        &self,
        sample: &Sample<'_>,
        now: Values<'_, T, C>,
        (count, zero_count, mut buckets): (C, C, impl Iterator<Item = T>),
    ) -> Fit {
        let unknown = Fit::Cut(CounterReset::Unknown);
        if self.gauge {
            return if self.is_float() { unknown } else { Fit::Cut(CounterReset::NotReset) };
        }
        let reset = Fit::Cut(CounterReset::Reset);
        if sample.hint == CounterReset::Reset {
            return reset;
        }
        if is_stale(sample) {
            return Fit::Plain;
        }
        if self.encoder.is_stale() {
            return unknown;
        }
        if now.count < count {
            return reset;
        }
        let (before, after) = (self.encoder.layout(), sample.layout);
        if !same_scale(before, after) {
            return unknown;
        }
        if !same_bounds(before, after) || now.zero_count < zero_count {
            return reset;
        }
        let positive = Merge::of_counters(
            (&before.positive_spans, buckets.by_ref().take(before.num_positive())),
            (&after.positive_spans, now.positive.iter().copied()),
        );
        let Some(positive) = positive else { return reset };
        let negative = Merge::of_counters(
            (&before.negative_spans, buckets),
            (&after.negative_spans, now.negative.iter().copied()),
        );
        let Some(negative) = negative else { return reset };
        merged(positive, negative)
    }

    /// What a chunk that begins with `sample`, a counter, says if it follows this one.
    fn header_after(&self, sample: &Sample<'_>) -> CounterReset {
        match self.fit(sample) {
            Fit::Cut(header) if !self.is_float() => header,
            Fit::Cut(CounterReset::Reset) => CounterReset::Reset,
            _ => CounterReset::NotReset,
        }
    }
}

fn merged(positive: Merge, negative: Merge) -> Fit {
    let lacks = |m: &Merge| m.chunk_lacks || m.sample_lacks;
    if lacks(&positive) || lacks(&negative) {
        Fit::Merge { positive, negative }
    } else {
        Fit::Plain
    }
}

/// Positive and negative buckets in one list, widened.
fn joined<'a, T: Count>(
    (positive, negative): (&'a [T], &'a [T]),
    merges: Option<(&Merge, &Merge)>,
    whose: Widen,
) -> Cow<'a, [T]> {
    if merges.is_none() && negative.is_empty() {
        return positive.into();
    }
    let mut out = Vec::with_capacity(positive.len() + negative.len());
    match merges {
        Some(merges) => {
            merges.0.widen(whose, positive, &mut out);
            merges.1.widen(whose, negative, &mut out);
        }
        None => {
            out.extend_from_slice(positive);
            out.extend_from_slice(negative);
        }
    }
    out.into()
}

/// Writes the samples of a chunk into another one, widened.
fn rewrite(
    encoder: &mut HistogramEncoder,
    found: &Histograms,
    merges: Option<(&Merge, &Merge)>,
) -> Result<(), ChunkError> {
    let (sides, n) = (found.layout.num_positive(), found.layout.num_buckets());
    for (i, &t) in found.times.iter().enumerate() {
        let (start, sum) = (found.starts.get(i).copied().unwrap_or(0), found.sums[i]);
        let row = i * n..(i + 1) * n;
        match &found.counts {
            Counts::Integer { counts, zero_counts, deltas } => {
                let row = deltas.get(row).unwrap_or_default().split_at(sides);
                let values = joined(row, merges, Widen::Chunk);
                encoder.append_integer(t, start, (counts[i], zero_counts[i], sum), &values)?;
            }
            Counts::Float { counts, zero_counts, buckets } => {
                let row = buckets.get(row).unwrap_or_default().split_at(sides);
                let values = joined(row, merges, Widen::Chunk);
                encoder.append_float(t, start, (counts[i], zero_counts[i], sum), &values)?;
            }
        }
    }
    Ok(())
}

/// Whether a sample can stand in a chunk of this encoding.
fn check(encoding: Encoding, sample: &Sample<'_>) -> Result<(), ChunkError> {
    let (float, positive, negative) = match sample.counts {
        SampleCounts::Integer { positive, negative, .. } => (false, positive.len(), negative.len()),
        SampleCounts::Float { positive, negative, .. } => (true, positive.len(), negative.len()),
    };
    if encoding.is_float() || is_float(encoding) != float {
        return Err(ChunkError::WrongEncoding { id: encoding.id() });
    }
    let layout = sample.layout;
    if !is_stale(sample) && (layout.num_positive(), layout.num_negative()) != (positive, negative) {
        return Err(ChunkError::BadLayout { bit: 24, what: "another number of buckets" });
    }
    Ok(())
}

/// Whether an encoding is one for histograms with float counts.
const fn is_float(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::FloatHistogram | Encoding::FloatHistogramSt)
}

const fn is_stale(sample: &Sample<'_>) -> bool {
    sample.sum.to_bits() == STALE_NAN
}

fn same_scale(a: &Layout, b: &Layout) -> bool {
    a.schema == b.schema && a.zero_threshold == b.zero_threshold
}

fn same_bounds(a: &Layout, b: &Layout) -> bool {
    b.schema != CUSTOM_BUCKETS_SCHEMA || a.custom_values == b.custom_values
}

fn comparable(a: &Layout, b: &Layout) -> bool {
    same_scale(a, b) && same_bounds(a, b)
}
