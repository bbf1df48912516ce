//! What a transaction has gathered.

use firesteel_model::{Metadata, Timestamp};

use super::{Head, index::Index, stripe::NEVER};
use crate::wal::{
    record::{self, exemplars::RefExemplar, histograms::AnyHistogram, series},
    writer::Batch,
};

/// A float of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Float {
    pub(super) reference: u64,
    pub(super) t: Timestamp,
    pub(super) v: f64,
    /// Newest sample of the series before this one, once the commit has checked it.
    pub(super) before: Timestamp,
    pub(super) id: u32,
    /// Whether it goes in; cleared by the commit's check.
    pub(super) valid: bool,
}

/// A histogram of a transaction.
#[derive(Clone, Debug)]
pub(super) struct HistogramEntry {
    pub(super) reference: u64,
    pub(super) t: Timestamp,
    pub(super) start: Timestamp,
    pub(super) value: std::sync::Arc<AnyHistogram>,
    pub(super) before: Timestamp,
    pub(super) id: u32,
    pub(super) valid: bool,
}

/// The samples of a transaction and, once they are encoded, its records.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) floats: Vec<Float>,
    pub(super) histograms: Vec<HistogramEntry>,
    pub(super) exemplars: Vec<(u32, RefExemplar)>,
    pub(super) metadata: Vec<(u32, u64, Metadata)>,
    /// Series that the log does not know yet; may name one several times.
    pub(super) unlogged: Vec<u32>,
    /// Series that this transaction has made.
    pub(super) created: u64,
    pub(super) batch: Batch,
}

impl Pending {
    pub(super) fn new(compress: bool) -> Self {
        Self {
            floats: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
            unlogged: Vec::new(),
            created: 0,
            batch: Batch::new(compress),
        }
    }

    pub(super) fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.unlogged.clear();
        self.created = 0;
        self.batch.clear();
    }

    /// Whether there is nothing to log.
    pub(super) const fn is_empty(&self) -> bool {
        self.floats.is_empty()
            && self.histograms.is_empty()
            && self.exemplars.is_empty()
            && self.metadata.is_empty()
            && self.unlogged.is_empty()
    }

    /// Whether it is small enough to be kept for the next transaction.
    pub(super) const fn is_worth_keeping(&self) -> bool {
        self.floats.capacity() <= 1 << 16 && self.histograms.capacity() <= 1 << 12
    }

    /// Encodes the records, in the order in which Prometheus replays them.
    pub(super) fn encode(&mut self, head: &Head) {
        self.batch.clear();
        self.unlogged.sort_unstable();
        self.unlogged.dedup();
        if !self.unlogged.is_empty() {
            let index = head.index.read();
            let unlogged = &self.unlogged;
            self.batch.record(|out| put_series(out, &index, unlogged));
        }
        self.batch.record(|out| {
            for (i, (_, reference, metadata)) in self.metadata.iter().enumerate() {
                if i == 0 {
                    record::metadata::begin(out);
                }
                record::metadata::push(out, *reference, metadata);
            }
        });
        let mut newest = NEVER;
        self.batch.record(|out| {
            let mut floats = self.floats.iter().filter(|f| f.valid).peekable();
            let Some(first) = floats.peek() else { return };
            out.reserve(17 + self.floats.len() * 11);
            let encoder = record::samples::Encoder::begin(out, first.reference, first.t);
            for f in floats {
                encoder.push(out, f.reference, f.t, f.v);
                newest = newest.max(f.t);
            }
        });
        if !self.histograms.is_empty() {
            for kind in [7, 9, 8, 10] {
                self.batch.record(|out| {
                    let valid = self.histograms.iter().filter(|h| h.valid);
                    let entries = valid.map(|h| (h.reference, h.t, &*h.value));
                    record::histograms::encode(out, kind, entries);
                });
            }
            newest = self.histograms.iter().map(|h| h.t).fold(newest, i64::max);
        }
        self.batch.record(|out| {
            record::exemplars::encode(out, self.exemplars.iter().map(|(_, e)| e));
        });
        self.batch.max_time = newest;
    }
}

/// Writes a series record.
pub(super) fn put_series(out: &mut Vec<u8>, index: &Index, ids: &[u32]) {
    series::begin(out);
    for &id in ids {
        let reference = index.reference(id);
        if reference != 0 {
            series::push(out, reference, index.text_pairs(id));
        }
    }
}
