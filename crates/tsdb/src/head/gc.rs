//! Giving up what lies in blocks.
//!
//! A truncation has two steps. First nobody new comes to need the old samples: readers that open
//! from now on take them from the block. Then, when the last reader that came before is gone, the
//! memory is taken back. Nobody waits for anybody: [`Head::reclaim`] does the second step when it
//! can, and else is called again later.

use std::sync::atomic::Ordering;

use firesteel_model::Timestamp;

use super::{
    Head, LOGGED,
    pending::{put_aliases, put_series},
    stale::Ended,
    stripe::{NEVER, STRIPES, stripe_of},
};
use crate::sync::Mutex;

/// Truncations that are not finished yet.
#[derive(Debug, Default)]
pub(super) struct Limbo {
    /// Samples before this can go, once all readers know of this generation.
    truncation: Option<(u64, Timestamp)>,
    /// Late samples up to this generation can go, once all readers know of the other one.
    pub(super) late: Option<(u64, u32)>,
    /// Series that have no late samples any more.
    pub(super) without_late: Vec<u32>,
    /// Series that are out of the index, once all readers and appenders know of this generation.
    unlinked: Vec<(u64, Vec<u32>)>,
    /// Series that lie in blocks whole, to be taken out once all readers know of this generation.
    pub(super) ended: Vec<(u64, Vec<Ended>)>,
}

impl Head {
    /// Refuses samples before `mint` from now on.
    pub(crate) fn raise_min_valid(&self, mint: Timestamp) {
        // Under the commit lock, so that no commit that was checked before is still to come.
        let _committer = self.committer.lock();
        self.min_valid.fetch_max(mint, Ordering::AcqRel);
    }

    /// Plans to give up the samples before `mint`. Readers that open from now on must not ask for them.
    pub(crate) fn truncate(&self, mint: Timestamp) {
        let generation = self.readers.next_generation();
        let mut limbo = self.limbo.lock();
        limbo.truncation = Some((generation, mint));
        drop(limbo);
        self.min_time.fetch_max(mint, Ordering::AcqRel);
        if self.max_time.load(Ordering::Acquire) < mint {
            self.max_time.store(NEVER, Ordering::Release);
            self.min_time.store(Timestamp::MAX, Ordering::Release);
        }
        self.reclaim();
    }

    /// Takes back what nobody can need any more. Returns the number of series removed.
    pub(crate) fn reclaim(&self) -> usize {
        let mut limbo = self.limbo.lock();
        let mut idle = Vec::new();
        if let Some((generation, mint)) = limbo.truncation
            && self.readers.all_know(generation)
        {
            limbo.truncation = None;
            idle = self.drop_samples(mint);
            if let Some(files) = self.chunk_files()
                && let Err(error) = files.remove_before(mint)
            {
                // The next truncation tries again.
                tracing::warn!(%error, "old files of head chunks stay");
            }
        }
        if let Some((generation, late)) = limbo.late
            && self.readers.all_know(generation)
        {
            limbo.late = None;
            let committer = self.committer.lock();
            limbo.without_late.extend(self.late.release(late));
            drop(committer);
        }
        for (_, ended) in limbo.ended.extract_if(.., |e| self.readers.all_know(e.0)) {
            match self.drop_ended(ended) {
                Ok(ids) => idle.extend(ids),
                // They stay until their time is over.
                Err(error) => tracing::warn!(%error, "stale series stay in the head"),
            }
        }
        idle.append(&mut limbo.without_late);
        if !idle.is_empty() {
            idle.sort_unstable();
            idle.dedup();
            let gone = self.unlink(idle);
            limbo.unlinked.push((self.readers.next_generation(), gone));
        }
        let mut removed = 0;
        limbo.unlinked.retain(|(generation, ids)| {
            if !self.readers.all_know(*generation) {
                return true;
            }
            self.release(ids);
            removed += ids.len();
            false
        });
        removed
    }

    /// Drops samples, and returns the series that have none left, in order.
    fn drop_samples(&self, mint: Timestamp) -> Vec<u32> {
        let ids = self.index.read().all();
        let mut empty = Vec::new();
        let mut by_stripe: Vec<Vec<u32>> = vec![Vec::new(); STRIPES];
        for id in ids {
            by_stripe[stripe_of(id)].push(id);
        }
        for (stripe, ids) in self.stripes.iter().zip(by_stripe) {
            // In parts, so that commits and queries get their turn.
            for part in ids.chunks(1024) {
                let mut stripe = stripe.lock();
                for &id in part {
                    if !stripe.truncate(id, mint) {
                        empty.push(id);
                    }
                }
            }
            stripe.lock().shrink();
        }
        empty.sort_unstable();
        empty
    }

    /// Takes series, in order, out of the index, those that have got samples meanwhile excepted.
    fn unlink(&self, mut ids: Vec<u32>) -> Vec<u32> {
        let mut committer = self.committer.lock();
        let mut index = self.index.write();
        let idle = self.readers.idle();
        ids.retain(|&id| {
            let stripe = self.stripes[stripe_of(id)].lock();
            let logged = self.flags.get(u64::from(id)).map_or(0, |f| f.load(Ordering::Acquire));
            // A series that was never logged is of a transaction that was dropped, or of one that
            // has yet to commit. It goes only when there is no transaction at all.
            let unused = logged & LOGGED != 0 || idle;
            if stripe.is_empty(id) && unused && !self.late.contains(id) {
                if logged & LOGGED == 0 {
                    self.unlogged.fetch_sub(1, Ordering::AcqRel);
                }
                return true;
            }
            false
        });
        if let Some(wal) = &mut committer.wal
            && !ids.is_empty()
        {
            wal.remember(|out| {
                put_series(out, &index, &ids);
                // The log may name a series by any of its references.
                put_aliases(out, &index, &self.aliases.lock(), &ids);
            });
        }
        let mut aliases = self.aliases.lock();
        for &id in &ids {
            self.bind(index.reference(id), None);
            for alias in aliases.remove(&id).unwrap_or_default() {
                self.bind(alias, None);
            }
        }
        drop(aliases);
        let mut tombstones = self.tombstones.write();
        for id in &ids {
            tombstones.remove(id);
        }
        drop(tombstones);
        index.unlink(&ids);
        // After the references have gone: a transaction that reads this number cannot find them.
        self.unlinks.fetch_add(1, Ordering::AcqRel);
        self.metadata.write().remove(&ids);
        self.counts.series_removed.add(ids.len() as u64);
        ids
    }

    /// Makes the numbers of unlinked series free.
    fn release(&self, ids: &[u32]) {
        for &id in ids {
            self.stripes[stripe_of(id)].lock().reset(id);
            self.set_newest(id, NEVER);
        }
        self.index.write().release(ids);
    }
}

pub(super) type LimboCell = Mutex<Limbo>;
