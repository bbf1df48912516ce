//! Samples as columns.

use std::sync::Arc;

use crate::{CounterResetHint, FloatHistogram, HistogramLayout, Timestamp};

/// A run of samples of one series, ordered by time, timestamps unique. Readers fill it over and
/// over, so its buffers are kept.
#[derive(Clone, Debug, Default)]
pub struct SampleBatch {
    /// When, milliseconds.
    pub timestamps: Vec<Timestamp>,
    /// Start timestamps, 0 for unknown; empty where the source has none, else as many as
    /// `timestamps`.
    pub start_timestamps: Vec<Timestamp>,
    /// The values, as many as `timestamps`.
    pub values: BatchValues,
}

/// The values of a batch, all of one kind.
#[derive(Clone, Debug)]
pub enum BatchValues {
    /// Floats.
    Floats(Vec<f64>),
    /// Native histograms of one layout.
    Histograms(HistogramBatch),
}

impl Default for BatchValues {
    fn default() -> Self {
        Self::Floats(Vec::new())
    }
}

/// Native histograms that share a layout, as columns. Buckets are absolute counts; row `i` of
/// `positive` is `positive[i * n..][..n]` with `n` positive buckets in the layout.
#[derive(Clone, Debug, Default)]
pub struct HistogramBatch {
    /// The shared layout.
    pub layout: Arc<HistogramLayout>,
    /// Whether the counts were stored as integers.
    pub integer: bool,
    /// Reset hints.
    pub hints: Vec<CounterResetHint>,
    /// All observations.
    pub counts: Vec<f64>,
    /// Observations in the zero bucket.
    pub zero_counts: Vec<f64>,
    /// Sums; the stale NaN marks a stale sample.
    pub sums: Vec<f64>,
    /// Positive buckets, row after row.
    pub positive: Vec<f64>,
    /// Negative buckets, row after row.
    pub negative: Vec<f64>,
}

impl HistogramBatch {
    /// An empty batch of this layout.
    #[must_use]
    pub fn new(layout: Arc<HistogramLayout>) -> Self {
        Self { layout, ..Self::default() }
    }

    fn widths(&self) -> (usize, usize) {
        let width = |spans: &[crate::Span]| spans.iter().map(|s| s.length as usize).sum();
        (width(&self.layout.positive_spans), width(&self.layout.negative_spans))
    }

    /// Adds a histogram. Its layout must be the batch's; missing buckets count as 0 (a stale
    /// histogram has none).
    pub fn push(&mut self, h: &FloatHistogram) {
        let (np, nn) = self.widths();
        self.hints.push(h.counter_reset_hint);
        self.counts.push(h.count);
        self.zero_counts.push(h.zero_count);
        self.sums.push(h.sum);
        let padded = |v: &[f64], n: usize, out: &mut Vec<f64>| {
            out.extend(v.iter().copied().chain(std::iter::repeat(0.0)).take(n));
        };
        padded(&h.positive_buckets, np, &mut self.positive);
        padded(&h.negative_buckets, nn, &mut self.negative);
    }

    /// Row `index` as a histogram of its own; `None` past the end.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<FloatHistogram> {
        let (np, nn) = self.widths();
        Some(FloatHistogram {
            counter_reset_hint: *self.hints.get(index)?,
            layout: (*self.layout).clone(),
            zero_count: *self.zero_counts.get(index)?,
            count: *self.counts.get(index)?,
            sum: *self.sums.get(index)?,
            positive_buckets: self.positive.get(index * np..(index + 1) * np)?.to_vec(),
            negative_buckets: self.negative.get(index * nn..(index + 1) * nn)?.to_vec(),
        })
    }
}

impl SampleBatch {
    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether the batch has no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Empties it for floats and returns its columns: timestamps and values.
    pub fn clear_floats(&mut self) -> (&mut Vec<Timestamp>, &mut Vec<f64>) {
        self.timestamps.clear();
        self.start_timestamps.clear();
        if let BatchValues::Floats(values) = &mut self.values {
            values.clear();
        } else {
            self.values = BatchValues::default();
        }
        match &mut self.values {
            BatchValues::Floats(values) => (&mut self.timestamps, values),
            BatchValues::Histograms(_) => unreachable!("just set to floats"),
        }
    }
}
