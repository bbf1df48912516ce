//! Series that have ended: their last sample is a staleness marker.

use firesteel_model::{Timestamp, is_stale_nan};

use super::{Head, stripe::stripe_of};
use crate::{
    TsdbError,
    wal::{
        record::tombstones::{self, Stone},
        writer::Batch,
    },
};

/// Tombstones per record of the log.
const STONES: usize = 1000;

/// A series that is to be taken out of the head, unless something happens to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) id: u32,
    reference: u64,
    /// Its last sample.
    newest: Timestamp,
}

impl Head {
    /// The series whose last sample is a staleness marker. Looks at all series.
    pub(crate) fn stale_series(&self) -> Vec<Ended> {
        let index = self.index.read();
        let mut ended = Vec::new();
        for id in index.all() {
            let newest = self.newest(id);
            let stripe = self.stripes[stripe_of(id)].lock();
            let float = stripe.last_float(id).filter(|f| f.0 == newest);
            let histogram = stripe.last_histogram(id).filter(|h| h.t == newest);
            let stale = float.is_some_and(|f| is_stale_nan(f.1))
                || histogram.is_some_and(|h| is_stale_nan(h.value.sum()));
            drop(stripe);
            // What came late of it is found by its reference, which the log must keep.
            if stale && !self.late.contains(id) {
                ended.push(Ended { id, reference: index.reference(id), newest });
            }
        }
        ended
    }

    /// Plans to take series out of the head, all samples of which are in blocks that new readers
    /// look at. Those that get samples meanwhile stay.
    pub(crate) fn evict(&self, ended: Vec<Ended>) -> usize {
        if !ended.is_empty() {
            let generation = self.readers.next_generation();
            self.limbo.lock().ended.push((generation, ended));
        }
        self.reclaim()
    }

    /// Writes into the log that series are gone, and drops their samples. Returns the series.
    pub(super) fn drop_ended(&self, mut ended: Vec<Ended>) -> Result<Vec<u32>, TsdbError> {
        let mut committer = self.committer.lock();
        ended.retain(|e| {
            self.lookup(e.reference) == Some(e.id)
                && self.newest(e.id) == e.newest
                && !self.late.contains(e.id)
        });
        if let Some(wal) = &mut committer.wal {
            let mut batch = Batch::new(self.compression);
            let (mint, maxt) = (Timestamp::MIN, Timestamp::MAX);
            let stone = |e: &Ended| Stone { series: e.reference, mint, maxt };
            for part in ended.chunks(STONES) {
                let stones: Vec<Stone> = part.iter().map(stone).collect();
                batch.record(|out| tombstones::encode(out, &stones));
            }
            if !batch.is_empty() {
                wal.write(&mut [&mut batch])?;
            }
        }
        let drop_samples = |e: &Ended| {
            self.stripes[stripe_of(e.id)].lock().truncate(e.id, Timestamp::MAX);
            e.id
        };
        let mut ids: Vec<u32> = ended.iter().map(drop_samples).collect();
        ids.sort_unstable();
        Ok(ids)
    }
}
