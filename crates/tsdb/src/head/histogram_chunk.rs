//! The histograms of a series, one after another, into chunks.

use firesteel_chunk::{
    ChunkError, Encoding,
    histogram::{Appended, CounterReset, HistogramAppender, Layout, Sample, SampleCounts, Span},
};
use firesteel_model::{CounterResetHint, HistogramLayout, Timestamp};

use crate::wal::record::histograms::AnyHistogram;

/// Samples per chunk at most.
const SAMPLES: usize = 120;
/// A chunk of this many bytes takes no more samples, if it has at least [`MIN_SAMPLES`].
const BYTES: usize = 1024;
const MIN_SAMPLES: usize = 10;

/// The open chunk of a series' histograms. What goes with it is decided as in Prometheus, see
/// [`HistogramAppender`]; full chunks are about as large as there.
#[derive(Debug, Default)]
pub(crate) struct HistogramChunk {
    open: Option<HistogramAppender>,
    /// The layout that came last, in both forms: most samples have that of the one before.
    seen: HistogramLayout,
    layout: Layout,
    /// Whether chunks keep start timestamps, which Prometheus before 3.14 cannot read.
    pub(crate) starts: bool,
}

impl HistogramChunk {
    /// Without samples; `starts` says whether it keeps start timestamps.
    pub(crate) fn new(starts: bool) -> Self {
        Self { starts, ..Self::default() }
    }

    /// Appends a sample. Returns the chunk before it, finished, if it had to begin another one, as
    /// `over` says or its content.
    ///
    /// # Errors
    /// The histogram has other buckets than its spans say, or more than a chunk may have; it has
    /// not been appended then.
    pub(crate) fn append(
        &mut self,
        t: Timestamp,
        start: Timestamp,
        value: &AnyHistogram,
        over: bool,
    ) -> Result<Option<HistogramAppender>, ChunkError> {
        if self.seen != *value.layout() {
            self.seen.clone_from(value.layout());
            self.layout = to_chunk(&self.seen);
        }
        let sample = sample(t, start, value, &self.layout);
        let encoding = self.encoding(value);
        let next = match &mut self.open {
            Some(open) if !over && open.encoding() == encoding && !is_full(open) => {
                match open.append(&sample)? {
                    Appended::Began(next) => *next,
                    Appended::Added | Appended::Recoded => return Ok(None),
                }
            }
            open => HistogramAppender::begin(encoding, open.as_ref(), &sample)?,
        };
        Ok(self.open.replace(next))
    }

    /// Goes on with a chunk that was written before.
    ///
    /// # Errors
    /// It is damaged or empty, or has floats.
    pub(crate) fn resume(encoding: Encoding, chunk: &[u8]) -> Result<Self, ChunkError> {
        let starts = matches!(encoding, Encoding::HistogramSt | Encoding::FloatHistogramSt);
        let open = Some(HistogramAppender::resume(encoding, chunk)?);
        Ok(Self { open, starts, ..Self::default() })
    }

    /// The open chunk.
    pub(crate) const fn open(&self) -> Option<&HistogramAppender> {
        self.open.as_ref()
    }

    const fn encoding(&self, value: &AnyHistogram) -> Encoding {
        match (value, self.starts) {
            (AnyHistogram::Int(_), false) => Encoding::Histogram,
            (AnyHistogram::Float(_), false) => Encoding::FloatHistogram,
            (AnyHistogram::Int(_), true) => Encoding::HistogramSt,
            (AnyHistogram::Float(_), true) => Encoding::FloatHistogramSt,
        }
    }
}

fn is_full(open: &HistogramAppender) -> bool {
    let (samples, bytes) = (open.num_samples(), open.bytes().len());
    samples >= SAMPLES || bytes >= BYTES && samples >= MIN_SAMPLES
}

fn sample<'a>(
    t: Timestamp,
    start: Timestamp,
    value: &'a AnyHistogram,
    layout: &'a Layout,
) -> Sample<'a> {
    let (hint, counts) = match value {
        AnyHistogram::Int(h) => (
            h.counter_reset_hint,
            SampleCounts::Integer {
                count: h.count,
                zero_count: h.zero_count,
                positive: &h.positive_deltas,
                negative: &h.negative_deltas,
            },
        ),
        AnyHistogram::Float(h) => (
            h.counter_reset_hint,
            SampleCounts::Float {
                count: h.count,
                zero_count: h.zero_count,
                positive: &h.positive_buckets,
                negative: &h.negative_buckets,
            },
        ),
    };
    let hint = match hint {
        CounterResetHint::Unknown => CounterReset::Unknown,
        CounterResetHint::Reset => CounterReset::Reset,
        CounterResetHint::NotReset => CounterReset::NotReset,
        CounterResetHint::Gauge => CounterReset::Gauge,
    };
    Sample { t, start, hint, layout, sum: value.sum(), counts }
}

fn to_chunk(layout: &HistogramLayout) -> Layout {
    let spans = |spans: &[firesteel_model::Span]| {
        spans.iter().map(|s| Span { offset: s.offset, length: s.length }).collect()
    };
    Layout {
        schema: layout.schema,
        zero_threshold: layout.zero_threshold,
        positive_spans: spans(&layout.positive_spans),
        negative_spans: spans(&layout.negative_spans),
        custom_values: layout.custom_values.clone(),
    }
}
