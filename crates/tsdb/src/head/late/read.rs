//! Late samples of a series in order of time.

use firesteel_chunk::ChunkError;
use firesteel_model::Timestamp;

use super::series::{Closed, LateSample, LateValue};
use crate::head::{
    Head,
    from_chunk::{Decoded, decode},
    stripe::{FloatSample, HistogramSample},
};

/// A copy of what a series has, for reading without the lock.
#[derive(Default)]
pub(super) struct LateCopy {
    pub(super) closed: Vec<Closed>,
    pub(super) open: Vec<LateSample>,
}

impl LateCopy {
    pub(super) fn clear(&mut self) {
        self.closed.clear();
        self.open.clear();
    }
}

/// Late samples of a series in order of time, without two at the same.
#[derive(Default)]
pub(crate) struct LateSamples {
    pub(crate) floats: Vec<FloatSample>,
    pub(crate) histograms: Vec<HistogramSample>,
}

impl LateSamples {
    /// Leaves out what lies in these intervals.
    pub(crate) fn hide(&mut self, hidden: &[(Timestamp, Timestamp)]) {
        if hidden.is_empty() {
            return;
        }
        let seen = |t: Timestamp| !hidden.iter().any(|&(from, to)| from <= t && t <= to);
        self.floats.retain(|s| seen(s.t));
        self.histograms.retain(|h| seen(h.t));
    }
}

/// Reads late samples; keeps its buffers from series to series.
#[derive(Default)]
pub(crate) struct LateReader {
    copy: LateCopy,
    all: Vec<(Timestamp, LateValue)>,
    /// Chunks read, and their bytes.
    pub(crate) chunks: (u64, u64),
}

impl LateReader {
    /// Reads what a series has between two times, both inclusive, that a reader of commit `epoch`
    /// sees, up to a generation. Of two samples at the same time the one that came first counts.
    pub(crate) fn read(
        &mut self,
        head: &Head,
        id: u32,
        (mint, maxt): (Timestamp, Timestamp),
        epoch: u64,
        generation: u32,
        out: &mut LateSamples,
    ) -> Result<(), ChunkError> {
        out.floats.clear();
        out.histograms.clear();
        self.all.clear();
        self.chunks = (0, 0);
        head.late.copy(id, (mint, maxt), epoch, generation, &mut self.copy);
        for closed in &self.copy.closed {
            self.chunks.0 += 1;
            self.chunks.1 += closed.chunk.data.len() as u64;
            let inside = |t: Timestamp| mint <= t && t <= maxt && closed.is_visible(t, epoch);
            match decode(closed.chunk.encoding, &closed.chunk.data)? {
                Decoded::Floats(samples) => {
                    let samples = samples.into_iter().filter(|s| inside(s.t));
                    self.all.extend(samples.map(|s| (s.t, LateValue::Float(s.v, s.start))));
                }
                Decoded::Histograms(samples) => {
                    let samples = samples.into_iter().filter(|h| inside(h.t));
                    self.all.extend(samples.map(|h| (h.t, LateValue::Histogram(h.value, h.start))));
                }
            }
        }
        self.all.extend(self.copy.open.drain(..).map(|s| (s.t, s.value)));
        // Stable, so that the earlier of two stays first; and quick where runs are in order.
        self.all.sort_by_key(|s| s.0);
        self.all.dedup_by_key(|s| s.0);
        for (t, value) in self.all.drain(..) {
            match value {
                LateValue::Float(v, start) => out.floats.push(FloatSample { t, start, v }),
                LateValue::Histogram(value, start) => {
                    out.histograms.push(HistogramSample { t, start, value });
                }
            }
        }
        Ok(())
    }
}
