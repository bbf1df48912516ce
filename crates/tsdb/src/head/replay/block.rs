//! What a replay has decoded, dealt to the stripes that it belongs to.

use std::{
    ops::{ControlFlow, Range},
    sync::atomic::Ordering,
};

use firesteel_model::{FloatHistogram, Histogram, Timestamp, is_stale_nan};

use super::{EPOCH, ReplayStats};
use crate::{
    head::{
        Formats, Head,
        chunk_files::{ChunkReader, Sealed},
        from_chunk::{self, Decoded},
        histograms::is_float_histogram,
        stripe::{
            ActiveReaders, FloatSample, HistogramSample, NEVER, RUN, STRIPES, Stripe, stripe_of,
        },
    },
    wal::record::histograms::AnyHistogram,
};

/// Floats of a full block: 24 bytes each.
const FLOATS: usize = 64 << 10;
/// Histograms of a full block, chunks included: they are large.
const OTHERS: usize = 4 << 10;

/// A float of a series whose number is known.
#[derive(Clone, Copy)]
struct Sample {
    t: Timestamp,
    v: f64,
    id: u32,
}

/// What happens to a stripe, in the order of the log.
enum Step {
    /// These floats are added.
    Floats(Range<u32>),
    /// This histogram is added.
    Histogram(u32),
    /// These closed chunks are added.
    Chunks(u32),
    /// The series loses what it has: it went into a block.
    Evict(u32),
}

/// A part of the log.
#[derive(Default)]
pub(super) struct Block {
    floats: Vec<Sample>,
    /// Their start timestamps; empty where none of them has one.
    starts: Vec<Timestamp>,
    histograms: Vec<(u32, HistogramSample)>,
    chunks: Vec<(u32, Vec<Sealed>, bool)>,
    steps: [Vec<Step>; STRIPES],
}

impl Block {
    #[inline]
    pub(super) fn float(&mut self, id: u32, (t, start): (Timestamp, Timestamp), v: f64) {
        let at = self.floats.len() as u32;
        if start != 0 || !self.starts.is_empty() {
            self.starts.resize(self.floats.len(), 0);
            self.starts.push(start);
        }
        self.floats.push(Sample { t, v, id });
        let steps = &mut self.steps[stripe_of(id)];
        match steps.last_mut() {
            Some(Step::Floats(range)) if range.end == at => range.end += 1,
            _ => steps.push(Step::Floats(at..at + 1)),
        }
    }

    pub(super) fn histogram(&mut self, id: u32, sample: HistogramSample) {
        self.steps[stripe_of(id)].push(Step::Histogram(self.histograms.len() as u32));
        self.histograms.push((id, sample));
    }

    /// `known` says that the series came with an image.
    pub(super) fn chunks(&mut self, id: u32, chunks: Vec<Sealed>, known: bool) {
        self.steps[stripe_of(id)].push(Step::Chunks(self.chunks.len() as u32));
        self.chunks.push((id, chunks, known));
    }

    pub(super) fn evict(&mut self, id: u32) {
        self.steps[stripe_of(id)].push(Step::Evict(id));
    }

    pub(super) fn is_full(&self) -> bool {
        self.floats.len() >= FLOATS || self.histograms.len() + self.chunks.len() >= OTHERS
    }

    /// Whether a stripe has nothing to do.
    pub(super) fn skips(&self, stripe: usize) -> bool {
        self.steps.get(stripe).is_none_or(Vec::is_empty)
    }

    /// Empties it and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.floats.clear();
        self.starts.clear();
        self.histograms.clear();
        self.chunks.clear();
        for steps in &mut self.steps {
            steps.clear();
        }
    }

    /// Does what there is to do for a stripe, after the same of all earlier blocks.
    pub(super) fn apply(&self, head: &Head, number: usize) -> Applied {
        let mut applied = Applied::new(head);
        let (Some(stripe), Some(steps)) = (head.stripes.get(number), self.steps.get(number)) else {
            return applied;
        };
        let mut stripe = stripe.lock();
        let waiting = stripe.waiting_bytes();
        for step in steps {
            match step {
                Step::Floats(range) => {
                    let range = range.start as usize..range.end as usize;
                    let mut starts = self.starts.get(range.clone()).unwrap_or_default().chunks(RUN);
                    for run in self.floats.get(range).unwrap_or_default().chunks(RUN) {
                        let starts = starts.next().unwrap_or_default();
                        applied.floats(head, &mut stripe, run, starts);
                    }
                }
                Step::Histogram(i) => {
                    if let Some((id, sample)) = self.histograms.get(*i as usize) {
                        applied.histogram(head, &mut stripe, *id, sample.clone());
                    }
                }
                Step::Chunks(i) => {
                    if let Some((id, chunks, known)) = self.chunks.get(*i as usize) {
                        applied.chunks(head, &mut stripe, *id, (chunks, *known));
                    }
                }
                Step::Evict(id) => {
                    stripe.truncate(*id, Timestamp::MAX);
                    head.set_newest(*id, NEVER);
                }
            }
        }
        let more = stripe.waiting_bytes().saturating_sub(waiting);
        drop(stripe);
        if more > 0 {
            head.waiting.fetch_add(more, Ordering::AcqRel);
        }
        head.extend_time(applied.oldest, applied.newest);
        applied
    }
}

/// What has become of a part of a block.
pub(super) struct Applied {
    pub(super) stats: ReplayStats,
    oldest: Timestamp,
    newest: Timestamp,
    min_valid: Timestamp,
    readers: ActiveReaders,
    formats: Formats,
    chunk_reader: Option<ChunkReader>,
}

impl Applied {
    fn new(head: &Head) -> Self {
        Self {
            stats: ReplayStats::default(),
            oldest: Timestamp::MAX,
            newest: NEVER,
            min_valid: head.min_valid.load(Ordering::Acquire),
            readers: ActiveReaders::default(),
            formats: head.formats(),
            chunk_reader: None,
        }
    }

    fn took(&mut self, oldest: Timestamp, newest: Timestamp) {
        self.oldest = self.oldest.min(oldest);
        self.newest = self.newest.max(newest);
    }

    fn floats(&mut self, head: &Head, stripe: &mut Stripe, run: &[Sample], starts: &[Timestamp]) {
        stripe.warm(run.iter().map(|s| s.id));
        for (i, s) in run.iter().enumerate() {
            let before = head.newest(s.id);
            if s.t <= before {
                self.stats.not_newer += 1;
                continue;
            }
            head.set_newest(s.id, s.t);
            self.took(s.t, s.t);
            if is_stale_nan(s.v) && self.stale(head, stripe, s.id, s.t, before) {
                continue;
            }
            let start = starts.get(i).copied().unwrap_or(0);
            if self.float(head, stripe, s.id, FloatSample { t: s.t, start, v: s.v }, before) {
                self.stats.floats += 1;
            }
        }
    }

    #[inline]
    fn float(
        &self,
        head: &Head,
        stripe: &mut Stripe,
        id: u32,
        sample: FloatSample,
        before: Timestamp,
    ) -> bool {
        let (range, readers) = (head.chunk_range, &self.readers);
        if self.formats.xor2 {
            return stripe.append_xor2(id, sample, before, EPOCH, range, readers);
        }
        stripe.append_float(id, (sample.t, sample.v), before, EPOCH, range, readers)
    }

    /// Takes a staleness marker for one of a histogram, where the series' last sample is one.
    #[cold]
    fn stale(
        &mut self,
        head: &Head,
        stripe: &mut Stripe,
        id: u32,
        t: Timestamp,
        before: Timestamp,
    ) -> bool {
        let last = stripe.last_encoding(id).filter(|l| l.0 == before && !l.1.is_float());
        let Some((_, encoding)) = last else { return false };
        let sample = stale_histogram(is_float_histogram(encoding), t);
        let range = (head.chunk_range, self.formats);
        stripe.append_histogram(id, sample, before, EPOCH, range, &self.readers);
        self.stats.histograms += 1;
        true
    }

    fn histogram(&mut self, head: &Head, stripe: &mut Stripe, id: u32, sample: HistogramSample) {
        let (t, before) = (sample.t, head.newest(id));
        if t <= before {
            self.stats.not_newer += 1;
            return;
        }
        let range = (head.chunk_range, self.formats);
        if !stripe.append_histogram(id, sample, before, EPOCH, range, &self.readers) {
            self.stats.bad_records += 1;
            return;
        }
        head.set_newest(id, t);
        self.took(t, t);
        self.stats.histograms += 1;
    }

    /// Takes the chunks of a reference of a series, in order, up to one that cannot be taken: the log
    /// has its samples and all later ones. `known` says that the series came with an image, which
    /// may have them already, or what they begin with.
    fn chunks(
        &mut self,
        head: &Head,
        stripe: &mut Stripe,
        id: u32,
        (chunks, known): (&[Sealed], bool),
    ) {
        if !known && chunks.first().is_some_and(|c| c.mint <= head.newest(id)) {
            // A series that went and came back has its chunks of then under another reference, and
            // those since the last start under the first one again.
            let mut all: Vec<_> = chunks.iter().map(|c| (c.clone(), true)).collect();
            all.extend(stripe.take_all(id).into_iter().map(|c| (c, false)));
            all.sort_by_key(|(c, _)| (c.mint, c.maxt));
            head.set_newest(id, NEVER);
            let _ = all.iter().try_for_each(|(c, new)| self.chunk(head, stripe, id, c, *new));
            return;
        }
        for chunk in chunks {
            if known && let Some(newest) = stripe.adopt(id, chunk) {
                head.set_newest(id, head.newest(id).max(newest));
                self.took(chunk.mint.max(self.min_valid), chunk.maxt);
                self.stats.chunks += 1;
            } else if self.chunk(head, stripe, id, chunk, true).is_break() {
                return;
            }
        }
    }

    /// Takes a chunk; `new` says whether it is counted. Breaks where it cannot be taken.
    fn chunk(
        &mut self,
        head: &Head,
        stripe: &mut Stripe,
        id: u32,
        chunk: &Sealed,
        new: bool,
    ) -> ControlFlow<()> {
        if chunk.maxt < self.min_valid {
            self.stats.old += u64::from(new);
            return ControlFlow::Continue(());
        }
        let newest = head.newest(id);
        if chunk.mint <= newest || chunk.maxt < chunk.mint {
            self.stats.not_newer += u64::from(new);
            return if chunk.maxt > newest {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        }
        if !stripe.push_sealed(id, chunk) && !self.decoded(head, stripe, id, chunk) {
            self.stats.bad_records += 1;
            return ControlFlow::Break(());
        }
        head.set_newest(id, chunk.maxt);
        self.took(chunk.mint.max(self.min_valid), chunk.maxt);
        self.stats.chunks += u64::from(new);
        ControlFlow::Continue(())
    }

    /// Adds the samples of a chunk that the head does not keep as it is. False where they cannot be
    /// read.
    fn decoded(&mut self, head: &Head, stripe: &mut Stripe, id: u32, chunk: &Sealed) -> bool {
        let mut newest = head.newest(id);
        let chunks = self.chunk_reader.get_or_insert_with(|| head.chunk_reader());
        let Ok(data) = chunks.get(chunk) else { return false };
        match from_chunk::decode(chunk.encoding, data) {
            Err(_) => return false,
            Ok(Decoded::Floats(samples)) => {
                for sample in samples.into_iter().filter(|s| s.t >= self.min_valid) {
                    if sample.t > newest {
                        self.float(head, stripe, id, sample, newest);
                        newest = sample.t;
                    }
                }
            }
            Ok(Decoded::Histograms(samples)) => {
                for sample in samples.into_iter().filter(|s| s.t >= self.min_valid) {
                    if sample.t > newest {
                        let (t, range) = (sample.t, (head.chunk_range, self.formats));
                        stripe.append_histogram(id, sample, newest, EPOCH, range, &self.readers);
                        newest = t;
                    }
                }
            }
        }
        true
    }
}

fn stale_histogram(float: bool, t: Timestamp) -> HistogramSample {
    let sum = firesteel_model::stale_nan();
    let value = if float {
        AnyHistogram::Float(FloatHistogram { sum, ..FloatHistogram::default() })
    } else {
        AnyHistogram::Int(Histogram { sum, ..Histogram::default() })
    };
    HistogramSample { t, start: 0, value: value.into() }
}
