//! Deleted intervals of the head's series.

use std::sync::atomic::Ordering;

use firesteel_model::{Matcher, Timestamp, storage::QueryContext};

use super::{
    Head, search,
    stripe::{NEVER, stripe_of},
};
use crate::{
    TsdbError,
    index::Memory,
    wal::{
        record::tombstones::{self, Stone},
        writer::Batch,
    },
};

/// Tombstones per record of the log.
const STONES: usize = 1000;

impl Head {
    /// Hides the samples between two times, both inclusive, that the series which satisfy all
    /// matchers have now: in the log first, then here. Returns the number of series.
    ///
    /// # Errors
    /// The log cannot be written; nothing is hidden then.
    pub(crate) fn delete(
        &self,
        matchers: &[Matcher],
        mint: Timestamp,
        maxt: Timestamp,
    ) -> Result<usize, TsdbError> {
        // No sample comes in between, so that none is hidden that comes later.
        let mut committer = self.committer.lock();
        if committer.closed {
            return Err(TsdbError::NotReady("the database is closed".to_owned()));
        }
        let ctx = QueryContext::background();
        let selected = Memory::new(&ctx)
            .and_then(|mut memory| search::select(&self.index, matchers, &ctx, &mut memory));
        let ids = selected.map_err(|e| TsdbError::Limit(e.to_string()))?;
        let index = self.index.read();
        let mut stones = Vec::new();
        for &id in &ids {
            let oldest = self.stripes[stripe_of(id)].lock().oldest(id);
            let newest = self.newest(id);
            let Some(oldest) = oldest.filter(|_| newest != NEVER) else { continue };
            let (mint, maxt) = (mint.max(oldest), maxt.min(newest));
            if mint <= maxt {
                stones.push((id, Stone { series: index.reference(id), mint, maxt }));
            }
        }
        drop(index);
        let records: Vec<Stone> = stones.iter().map(|s| s.1).collect();
        if let Some(wal) = &mut committer.wal {
            let mut batch = Batch::new(self.compression);
            for part in records.chunks(STONES) {
                batch.record(|out| tombstones::encode(out, part));
            }
            if !batch.is_empty() {
                wal.write(&mut [&mut batch])?;
            }
        }
        for (id, stone) in &stones {
            self.add_tombstone(*id, stone.mint, stone.maxt);
        }
        Ok(stones.len())
    }

    /// Hides an interval of a series.
    pub(super) fn add_tombstone(&self, id: u32, mint: Timestamp, maxt: Timestamp) {
        if mint > maxt {
            return;
        }
        let mut all = self.tombstones.write();
        let hidden = all.entry(id).or_default();
        hidden.push((mint, maxt));
        hidden.sort_unstable();
        let mut merged: Vec<(Timestamp, Timestamp)> = Vec::with_capacity(hidden.len());
        for &(mint, maxt) in &*hidden {
            match merged.last_mut() {
                Some(last) if mint <= last.1.saturating_add(1) => last.1 = last.1.max(maxt),
                _ => merged.push((mint, maxt)),
            }
        }
        *hidden = merged;
        drop(all);
        self.has_tombstones.store(true, Ordering::Release);
    }

    /// The hidden intervals of a series, sorted.
    pub(crate) fn tombstones_of(&self, id: u32) -> Vec<(Timestamp, Timestamp)> {
        if !self.has_tombstones.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.tombstones.read().get(&id).cloned().unwrap_or_default()
    }

    /// Forgets the intervals that end before `mint`, of which neither the head nor the log has
    /// samples any more.
    pub(crate) fn forget_tombstones(&self, mint: Timestamp) {
        let mut all = self.tombstones.write();
        all.retain(|_, hidden| {
            hidden.retain(|h| h.1 >= mint);
            !hidden.is_empty()
        });
        self.has_tombstones.store(!all.is_empty(), Ordering::Release);
    }
}
