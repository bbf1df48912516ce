//! The late samples of one series.

use std::{mem::size_of, sync::Arc};

use firesteel_chunk::Encoding;
use firesteel_model::Timestamp;

use super::read::LateCopy;
use crate::{
    head::{
        Formats, Made, encode_floats, encode_histograms,
        stripe::{FloatSample, HistogramSample},
    },
    wal::record::histograms::AnyHistogram,
};

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum LateValue {
    /// A float and its start timestamp.
    Float(f64, Timestamp),
    /// A histogram and its start timestamp.
    Histogram(Arc<AnyHistogram>, Timestamp),
}

/// A late sample.
#[derive(Clone, Debug)]
pub(crate) struct LateSample {
    pub(crate) t: Timestamp,
    /// The commit that it came with.
    pub(crate) epoch: u64,
    pub(crate) value: LateValue,
}

/// The commits that the samples of a chunk came with, by time.
type Epochs = Arc<[(Timestamp, u64)]>;

/// The chunk itself.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    mint: Timestamp,
    maxt: Timestamp,
    pub(super) encoding: Encoding,
    pub(super) data: Arc<[u8]>,
}

/// A chunk of late samples, with what readers need to know.
#[derive(Clone, Debug)]
pub(super) struct Closed {
    pub(super) chunk: Chunk,
    generation: u32,
    /// The last commit in it.
    epoch: u64,
    /// `None` once all readers see all of it.
    epochs: Option<Epochs>,
}

impl Closed {
    fn is_between(&self, mint: Timestamp, maxt: Timestamp) -> bool {
        self.chunk.mint <= maxt && self.chunk.maxt >= mint
    }

    /// Whether a reader of commit `epoch` sees its sample of time `t`.
    pub(super) fn is_visible(&self, t: Timestamp, epoch: u64) -> bool {
        if self.epoch <= epoch {
            return true;
        }
        let Some(epochs) = &self.epochs else { return true };
        let found = epochs.binary_search_by_key(&t, |e| e.0).ok().and_then(|i| epochs.get(i));
        found.is_none_or(|e| e.1 <= epoch)
    }

    fn sees_any(&self, epoch: u64) -> bool {
        self.epoch <= epoch
            || self.epochs.as_ref().is_none_or(|all| all.iter().any(|e| e.1 <= epoch))
    }
}

/// The late samples of a series.
#[derive(Default)]
pub(super) struct LateSeries {
    /// In order of time, without two at the same.
    open: Vec<LateSample>,
    /// Of the buffer.
    generation: u32,
    /// In order of arrival.
    closed: Vec<Closed>,
}

impl LateSeries {
    pub(super) fn insert(
        &mut self,
        sample: LateSample,
        (generation, formats): (u32, Formats),
        cap: usize,
        oldest_reader: u64,
    ) -> bool {
        if self.open.len() >= cap || self.generation != generation && !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            self.close(&open, (self.generation, formats));
            self.forget_epochs(oldest_reader);
        }
        self.generation = generation;
        let at = self.open.partition_point(|s| s.t < sample.t);
        if self.open.get(at).is_some_and(|s| s.t == sample.t) {
            return false;
        }
        if self.open.len() == self.open.capacity() {
            self.open.reserve_exact(self.open.len().clamp(1, 8));
        }
        self.open.insert(at, sample);
        true
    }

    /// Makes chunks of samples in order of time.
    pub(super) fn close(&mut self, samples: &[LateSample], (generation, formats): (u32, Formats)) {
        let epoch = samples.iter().map(|s| s.epoch).max().unwrap_or(0);
        let epochs: Epochs = samples.iter().map(|s| (s.t, s.epoch)).collect();
        let chunks = encode(samples, formats);
        self.closed.reserve_exact(chunks.len().max(self.closed.len() / 4));
        self.closed.extend(chunks.into_iter().map(|chunk| {
            let epochs = Some(Arc::clone(&epochs));
            Closed { chunk, generation, epoch, epochs }
        }));
    }

    /// See `Late::forget_epochs`.
    pub(super) fn forget_epochs(&mut self, oldest_reader: u64) {
        // Older chunks have forgotten already, as a rule.
        for closed in self.closed.iter_mut().rev() {
            if closed.epochs.is_some() && closed.epoch <= oldest_reader {
                closed.epochs = None;
            } else if closed.epochs.is_none() {
                break;
            }
        }
    }

    /// Whether it has a sample between two times, both inclusive, that a reader of commit `epoch`
    /// sees, up to a generation. For chunks only their ends are looked at.
    pub(super) fn has_between(
        &self,
        mint: Timestamp,
        maxt: Timestamp,
        epoch: u64,
        generation: u32,
    ) -> bool {
        let open = || {
            let from = self.open.partition_point(|s| s.t < mint);
            let rest = self.open.get(from..).unwrap_or_default();
            rest.iter().take_while(|s| s.t <= maxt).any(|s| s.epoch <= epoch)
        };
        let closed = |c: &Closed| {
            c.generation <= generation && c.is_between(mint, maxt) && c.sees_any(epoch)
        };
        self.closed.iter().any(closed) || self.generation <= generation && open()
    }

    pub(super) fn copy(
        &self,
        mint: Timestamp,
        maxt: Timestamp,
        epoch: u64,
        generation: u32,
        out: &mut LateCopy,
    ) {
        let closed = self.closed.iter();
        let closed = closed.filter(|c| c.generation <= generation && c.is_between(mint, maxt));
        out.closed.extend(closed.cloned());
        if self.generation <= generation {
            let open = self.open.iter().filter(|s| (mint..=maxt).contains(&s.t));
            out.open.extend(open.filter(|s| s.epoch <= epoch).cloned());
        }
    }

    /// Drops what is of this generation or older. False where nothing is left.
    pub(super) fn release(&mut self, generation: u32) -> bool {
        if self.generation <= generation {
            self.open = Vec::new();
        }
        self.closed.retain(|c| c.generation > generation);
        self.closed.shrink_to_fit();
        !self.open.is_empty() || !self.closed.is_empty()
    }

    /// Drops what is before `mint`, chunks as a whole. False where nothing is left.
    pub(super) fn truncate(&mut self, mint: Timestamp) -> bool {
        self.open.drain(..self.open.partition_point(|s| s.t < mint));
        self.closed.retain(|c| c.chunk.maxt >= mint);
        !self.open.is_empty() || !self.closed.is_empty()
    }

    /// See `Late::oldest_from`.
    pub(super) fn oldest_from(&self, from: Timestamp, generation: u32) -> Option<Timestamp> {
        let closed = self.closed.iter().filter(|c| c.generation <= generation);
        let closed = closed.filter(|c| c.chunk.maxt >= from).map(|c| c.chunk.mint.max(from)).min();
        let open = self.open.get(self.open.partition_point(|s| s.t < from)).map(|s| s.t);
        closed.into_iter().chain(open.filter(|_| self.generation <= generation)).min()
    }

    /// The oldest and the newest sample.
    pub(super) fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        let open = self.open.first().zip(self.open.last()).map(|(a, b)| (a.t, b.t));
        let closed = self.closed.iter().map(|c| (c.chunk.mint, c.chunk.maxt));
        closed.chain(open).reduce(super::union)
    }

    pub(super) const fn num_chunks(&self) -> usize {
        self.closed.len() + if self.open.is_empty() { 0 } else { 1 }
    }

    pub(super) fn bytes(&self) -> usize {
        let closed = |c: &Closed| {
            let epochs = c.epochs.as_ref().map_or(0, |e| e.len() * 16 + 16);
            size_of::<Closed>() + c.chunk.data.len() + 24 + epochs
        };
        // A histogram in the buffer is charged for when it is in a chunk; buffers are small.
        self.open.capacity() * size_of::<LateSample>()
            + self.closed.iter().map(closed).sum::<usize>()
    }
}

/// Chunks of samples in order of time. Another begins where the kind of the value changes.
fn encode(samples: &[LateSample], formats: Formats) -> Vec<Chunk> {
    let mut made = Vec::new();
    let is_float = |s: &LateSample| matches!(s.value, LateValue::Float(..));
    for run in samples.chunk_by(|a, b| is_float(a) == is_float(b)) {
        if run.first().is_some_and(is_float) {
            let floats: Vec<_> = run.iter().filter_map(float).collect();
            // It only refuses more samples than it puts into a chunk.
            let _ = encode_floats(&floats, formats.xor2, &mut made);
        } else {
            let histograms: Vec<_> = run.iter().filter_map(histogram).collect();
            let bad = encode_histograms(&histograms, formats.histogram_starts, &mut made);
            if bad > 0 {
                tracing::error!(samples = bad, "late histograms fit into no chunk: left out");
            }
        }
    }
    let chunk = |Made { mint, maxt, encoding, data }| {
        let data: Vec<u8> = data;
        Chunk { mint, maxt, encoding, data: data.into() }
    };
    made.into_iter().map(chunk).collect()
}

fn float(sample: &LateSample) -> Option<FloatSample> {
    match sample.value {
        LateValue::Float(v, start) => Some(FloatSample { t: sample.t, start, v }),
        LateValue::Histogram(..) => None,
    }
}

fn histogram(sample: &LateSample) -> Option<HistogramSample> {
    match &sample.value {
        LateValue::Float(..) => None,
        LateValue::Histogram(value, start) => {
            Some(HistogramSample { t: sample.t, start: *start, value: Arc::clone(value) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(t: Timestamp, epoch: u64) -> LateSample {
        LateSample { t, epoch, value: LateValue::Float(t as f64, 0) }
    }

    fn times(series: &LateSeries, epoch: u64, generation: u32) -> Vec<Timestamp> {
        let mut copy = LateCopy::default();
        series.copy(Timestamp::MIN, Timestamp::MAX, epoch, generation, &mut copy);
        let mut times: Vec<_> = copy.open.iter().map(|s| s.t).collect();
        for closed in &copy.closed {
            let (mut all, mut values) = (Vec::new(), Vec::new());
            firesteel_chunk::xor::decode(&closed.chunk.data, &mut all, &mut values).unwrap();
            times.extend(all.into_iter().filter(|&t| closed.is_visible(t, epoch)));
        }
        times.sort_unstable();
        times
    }

    #[test]
    fn full_buffers_become_chunks_that_remember_commits() {
        let mut series = LateSeries::default();
        for (i, t) in [50, 10, 30, 20, 40].into_iter().enumerate() {
            assert!(series.insert(sample(t, 1 + i as u64), (0, Formats::default()), 4, 0));
        }
        assert!(
            !series.insert(sample(40, 9), (0, Formats::default()), 4, 0),
            "twice in the buffer"
        );
        assert_eq!((series.closed.len(), series.open.len()), (1, 1));
        for (epoch, expected) in [
            (0, vec![]),
            (2, vec![10, 50]),
            (4, vec![10, 20, 30, 50]),
            (5, vec![10, 20, 30, 40, 50]),
        ] {
            assert_eq!(times(&series, epoch, 0), expected, "commit {epoch}");
            assert_eq!(
                series.has_between(Timestamp::MIN, Timestamp::MAX, epoch, 0),
                !expected.is_empty()
            );
        }
        // Nothing is forgotten as long as a reader of commit 3 is there.
        series.forget_epochs(3);
        assert_eq!(times(&series, 3, 0), [10, 30, 50]);
        series.forget_epochs(4);
        assert_eq!(times(&series, 4, 0), [10, 20, 30, 50]);
        assert!(series.closed[0].epochs.is_none());
        assert!(!series.has_between(51, 99, 9, 0) && series.has_between(40, 40, 9, 0));
    }

    #[test]
    fn generations_go_one_after_the_other() {
        let mut series = LateSeries::default();
        series.insert(sample(5, 1), (0, Formats::default()), 4, 0);
        series.insert(sample(3, 2), (1, Formats::default()), 4, 2);
        series.insert(sample(9, 2), (1, Formats::default()), 4, 2);
        assert_eq!(times(&series, 9, 0), [5]);
        assert_eq!(times(&series, 9, 1), [3, 5, 9]);
        assert_eq!(series.time_range(), Some((3, 9)));
        assert_eq!(series.oldest_from(4, 0), Some(5));
        assert!(series.release(0));
        assert_eq!(times(&series, 9, 1), [3, 9]);
        assert_eq!(series.oldest_from(4, 1), Some(9));
        assert!(!series.release(1));
        assert_eq!(series.time_range(), None);
    }
}
