//! Late samples as a set of series of their own, over the head's dictionary.

use std::sync::Arc;

use firesteel_model::{
    FloatHistogram, HistogramLayout, Timestamp,
    storage::{
        BatchValues, HistogramBatch, LabelDictionary, QueryContext, QueryStats, SampleBatch,
        SampleReader, SeriesSet, StorageError,
    },
};

use super::{LateReader, LateSamples};
use crate::head::{
    Head,
    query::HeadDictionary,
    stripe::{HistogramSample, stripe_of},
};
use crate::wal::record::histograms::AnyHistogram;

/// What a query sees of the late samples.
#[derive(Clone)]
pub(in crate::head) struct LateView {
    pub(in crate::head) head: Arc<Head>,
    pub(in crate::head) epoch: u64,
    pub(in crate::head) mint: Timestamp,
    pub(in crate::head) maxt: Timestamp,
}

impl LateView {
    /// Those of `ids` that have a visible sample in range.
    pub(in crate::head) fn select(&self, ids: &[u32]) -> Vec<u32> {
        let overlaps = |r: (Timestamp, Timestamp)| r.0 <= self.maxt && r.1 >= self.mint;
        if !self.head.late.time_range().is_some_and(overlaps) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for run in ids.chunk_by(|&a, &b| stripe_of(a) == stripe_of(b)) {
            let Some(&first) = run.first() else { continue };
            let shard = self.head.late.shard(first).lock();
            if shard.is_empty() {
                continue;
            }
            found.extend(run.iter().copied().filter(|id| {
                let has = |s: &super::LateSeries| {
                    s.has_between(self.mint, self.maxt, self.epoch, u32::MAX)
                };
                shard.get(id).is_some_and(has)
            }));
        }
        found
    }
}

/// Series with late samples.
pub(in crate::head) struct LateSet {
    pub(in crate::head) view: LateView,
    pub(in crate::head) ids: Vec<u32>,
    pub(in crate::head) dictionary: HeadDictionary,
    /// Keeps the samples and the series where they are.
    pub(in crate::head) _keep: Arc<dyn Send + Sync>,
    pub(in crate::head) _memory: firesteel_model::budget::Reservation,
}

impl SeriesSet for LateSet {
    fn dictionary(&self) -> &dyn LabelDictionary {
        &self.dictionary
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn labels(&self, index: usize, out: &mut Vec<(u32, u32)>) -> Result<(), StorageError> {
        let Some(&id) = self.ids.get(index) else { return Ok(()) };
        out.extend(self.view.head.index.read().pairs(id));
        Ok(())
    }

    fn reader(&self, ctx: &QueryContext) -> Box<dyn SampleReader + '_> {
        Box::new(LateSetReader {
            set: self,
            ctx: ctx.clone(),
            reader: LateReader::default(),
            samples: LateSamples::default(),
            float: 0,
            histogram: 0,
        })
    }
}

struct LateSetReader<'a> {
    set: &'a LateSet,
    ctx: QueryContext,
    reader: LateReader,
    samples: LateSamples,
    /// The next of each.
    float: usize,
    histogram: usize,
}

impl SampleReader for LateSetReader<'_> {
    fn open(&mut self, index: usize) -> Result<(), StorageError> {
        self.ctx.check()?;
        let Some(&id) = self.set.ids.get(index) else {
            return Err(StorageError::Other {
                context: format!("series {index} of {}", self.set.ids.len()),
                source: "no such series".into(),
            });
        };
        let view = &self.set.view;
        let range = (view.mint, view.maxt);
        let read = self.reader.read(&view.head, id, range, view.epoch, u32::MAX, &mut self.samples);
        read.map_err(|e| StorageError::Corrupt {
            place: "out-of-order chunk of the head".to_owned(),
            what: e.to_string(),
        })?;
        let samples = &mut self.samples;
        samples.hide(&view.head.tombstones_of(id));
        QueryStats::add(&self.ctx.stats.chunks, self.reader.chunks.0);
        QueryStats::add(&self.ctx.stats.chunk_bytes, self.reader.chunks.1);
        let n = samples.floats.len() + samples.histograms.len();
        QueryStats::add(&self.ctx.stats.samples, n as u64);
        (self.float, self.histogram) = (0, 0);
        Ok(())
    }

    fn next(&mut self, batch: &mut SampleBatch) -> Result<bool, StorageError> {
        self.ctx.check()?;
        let floats = self.samples.floats.get(self.float..).unwrap_or_default();
        let histograms = self.samples.histograms.get(self.histogram..).unwrap_or_default();
        let (f, h) = (floats.first().map(|f| f.t), histograms.first().map(|h| h.t));
        match (f, h) {
            (None, None) => {
                batch.clear_floats();
                Ok(false)
            }
            (Some(f), h) if h.is_none_or(|h| f < h) => {
                let n = h.map_or(floats.len(), |h| floats.partition_point(|f| f.t < h));
                let floats = floats.get(..n).unwrap_or_default();
                let (times, values) = batch.clear_floats();
                times.extend(floats.iter().map(|f| f.t));
                values.extend(floats.iter().map(|f| f.v));
                if floats.iter().any(|f| f.start != 0) {
                    batch.start_timestamps.extend(floats.iter().map(|f| f.start));
                }
                self.float += n;
                Ok(true)
            }
            (f, _) => {
                let until = f.map_or(Timestamp::MAX, |f| f - 1);
                self.histogram += histogram_batch(histograms, until, batch);
                Ok(true)
            }
        }
    }
}

/// Fills a batch with the histograms up to `until` that share the first one's kind and layout.
/// Returns how many these are. Staleness markers, which have no layout, go with any.
fn histogram_batch(
    histograms: &[HistogramSample],
    until: Timestamp,
    batch: &mut SampleBatch,
) -> usize {
    batch.timestamps.clear();
    batch.start_timestamps.clear();
    let stale = |h: &HistogramSample| firesteel_model::is_stale_nan(h.value.sum());
    let model = histograms.iter().find(|h| !stale(h)).or(histograms.first());
    let layout: HistogramLayout = match (histograms.first(), model) {
        (Some(first), _) if !stale(first) => first.value.layout().clone(),
        (_, Some(model)) => model.value.layout().clone(),
        _ => HistogramLayout::default(),
    };
    let integer = matches!(histograms.first().map(|h| &*h.value), Some(AnyHistogram::Int(_)));
    let mut out = HistogramBatch::new(Arc::new(layout));
    out.integer = integer;
    let mut scratch: FloatHistogram;
    let with_starts = histograms.iter().any(|h| h.start != 0);
    for h in histograms.iter().take_while(|h| h.t <= until).take(120) {
        let same_kind = matches!(&*h.value, AnyHistogram::Int(_)) == integer;
        if !same_kind || !(stale(h) || *h.value.layout() == *out.layout) {
            break;
        }
        let float = match &*h.value {
            AnyHistogram::Int(int) => {
                scratch = int.to_float();
                &scratch
            }
            AnyHistogram::Float(float) => float,
        };
        out.push(float);
        batch.timestamps.push(h.t);
        if with_starts {
            batch.start_timestamps.push(h.start);
        }
    }
    batch.values = BatchValues::Histograms(out);
    batch.timestamps.len()
}
