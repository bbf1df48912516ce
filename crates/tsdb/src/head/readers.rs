//! Who reads (and who is about to append), so that nothing is taken away under them.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use super::stripe::ActiveReaders;
use crate::sync::{AtomicU64, Mutex};

/// What readers can see, and who looks.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// The last commit that is visible.
    published: AtomicU64,
    /// Counts the truncations.
    generation: AtomicU64,
    active: Mutex<Active>,
}

#[derive(Debug, Default)]
struct Active {
    /// Readers by the commit they see.
    epochs: BTreeMap<u64, usize>,
    /// Readers and appenders by the truncation they know of.
    generations: BTreeMap<u64, usize>,
}

/// A registered reader or appender.
#[derive(Debug)]
pub(super) struct Guard {
    readers: Arc<Readers>,
    /// The last commit that it sees; `None` for an appender.
    epoch: Option<u64>,
    generation: u64,
}

impl Guard {
    /// The last commit that the reader sees.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.unwrap_or(u64::MAX)
    }
}

fn leave(map: &mut BTreeMap<u64, usize>, key: u64) {
    if let Some(n) = map.get_mut(&key) {
        *n -= 1;
        if *n == 0 {
            map.remove(&key);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut active = self.readers.active.lock();
        if let Some(epoch) = self.epoch {
            leave(&mut active.epochs, epoch);
        }
        leave(&mut active.generations, self.generation);
    }
}

impl Readers {
    /// Registers a reader of everything that is visible now.
    pub(super) fn read(self: &Arc<Self>) -> Guard {
        let mut active = self.active.lock();
        let epoch = self.published.load(Ordering::Acquire);
        let generation = self.generation.load(Ordering::Acquire);
        *active.epochs.entry(epoch).or_default() += 1;
        *active.generations.entry(generation).or_default() += 1;
        Guard { readers: Arc::clone(self), epoch: Some(epoch), generation }
    }

    /// Registers an appender, which holds series numbers.
    pub(super) fn append(self: &Arc<Self>) -> Guard {
        let mut active = self.active.lock();
        let generation = self.generation.load(Ordering::Acquire);
        *active.generations.entry(generation).or_default() += 1;
        Guard { readers: Arc::clone(self), epoch: None, generation }
    }

    /// The readers at the beginning of a commit. Those that come later see everything before it.
    pub(super) fn active(&self) -> ActiveReaders {
        ActiveReaders { epochs: self.active.lock().epochs.keys().copied().collect() }
    }

    /// The last visible commit.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Makes a commit visible.
    pub(super) fn publish(&self, epoch: u64) {
        self.published.store(epoch, Ordering::Release);
    }

    /// Whether there is no reader and no appender.
    pub(super) fn idle(&self) -> bool {
        self.active.lock().generations.is_empty()
    }

    /// Begins a truncation: who comes from now on knows of it. Returns its number.
    pub(super) fn next_generation(&self) -> u64 {
        let _active = self.active.lock();
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether all who came before truncation `generation` are gone.
    pub(super) fn all_know(&self, generation: u64) -> bool {
        self.active.lock().generations.keys().next().is_none_or(|&oldest| oldest >= generation)
    }
}
