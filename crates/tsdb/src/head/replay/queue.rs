//! Blocks of a replay on their way into the stripes, by as many threads as there are.
//!
//! One thread decodes the log in order and deals its samples to the stripes ([`Block`]). A stripe
//! takes the blocks one after the other, whoever does it, so that what comes out does not depend on
//! the number of threads. The decoding thread helps when the queue is full.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::{Condvar, Mutex};

use super::{ReplayStats, block::Block};
use crate::head::{Head, stripe::STRIPES};

/// Decoded blocks that may wait: 24 bytes of each sample, 64 Ki samples each.
const WAITING: usize = 8;

/// The queue.
pub(super) struct Queue<'a> {
    head: &'a Head,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    blocks: VecDeque<Waiting>,
    /// Number of the first of them.
    first: u64,
    /// Number of the block that each stripe takes next.
    next: [u64; STRIPES],
    /// A bit for each stripe that someone works on.
    busy: u32,
    /// Whether there will be no more blocks.
    closed: bool,
    /// A thread has died.
    broken: bool,
    spare: Vec<Block>,
    stats: ReplayStats,
}

struct Waiting {
    block: Arc<Block>,
    /// Stripes that have not taken it yet.
    left: usize,
}

const _: () = assert!(STRIPES <= 32);

impl State {
    /// The stripe that is farthest behind and has something to do, and the block.
    fn take(&mut self) -> Option<(usize, Arc<Block>)> {
        let mut best: Option<(u64, usize)> = None;
        for stripe in 0..STRIPES {
            if self.busy & 1 << stripe != 0 {
                continue;
            }
            let next = self.skip(stripe);
            if next < self.first + self.blocks.len() as u64 && best.is_none_or(|b| next < b.0) {
                best = Some((next, stripe));
            }
        }
        let (next, stripe) = best?;
        let block = Arc::clone(&self.blocks.get((next - self.first) as usize)?.block);
        self.busy |= 1 << stripe;
        Some((stripe, block))
    }

    /// Passes over the blocks that have nothing for a stripe.
    fn skip(&mut self, stripe: usize) -> u64 {
        loop {
            let next = self.next[stripe];
            let waiting = self.blocks.get((next - self.first) as usize);
            if !waiting.is_some_and(|w| w.block.skips(stripe)) {
                return next;
            }
            self.taken(stripe);
        }
    }

    /// Notes that a stripe has taken its next block.
    fn taken(&mut self, stripe: usize) {
        let at = (self.next[stripe] - self.first) as usize;
        self.next[stripe] += 1;
        if let Some(waiting) = self.blocks.get_mut(at) {
            waiting.left -= 1;
        }
        while self.blocks.front().is_some_and(|w| w.left == 0)
            && let Some(done) = self.blocks.pop_front()
        {
            self.first += 1;
            if let Ok(mut block) = Arc::try_unwrap(done.block) {
                block.clear();
                self.spare.push(block);
            }
        }
    }
}

impl<'a> Queue<'a> {
    pub(super) fn new(head: &'a Head) -> Self {
        Self { head, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds a block and returns an empty one. Works while too many wait.
    pub(super) fn push(&self, block: Block) -> Block {
        let mut state = self.state.lock();
        state.blocks.push_back(Waiting { block: Arc::new(block), left: STRIPES });
        self.changed.notify_all();
        drop(state);
        self.help(WAITING);
        self.state.lock().spare.pop().unwrap_or_default()
    }

    /// Works until at most `waiting` blocks are left.
    pub(super) fn help(&self, waiting: usize) {
        loop {
            let mut state = self.state.lock();
            if state.blocks.len() <= waiting || state.broken {
                return;
            }
            match state.take() {
                Some((stripe, block)) => {
                    drop(state);
                    self.apply(stripe, block);
                }
                // Skipping may have emptied the queue.
                None if state.blocks.len() <= waiting => return,
                None => self.changed.wait(&mut state),
            }
        }
    }

    fn apply(&self, stripe: usize, block: Arc<Block>) {
        let mut guard = Guard { queue: self, done: false };
        let applied = block.apply(self.head, stripe);
        guard.done = true;
        drop(block);
        let mut state = self.state.lock();
        state.stats.add(&applied.stats);
        state.busy &= !(1 << stripe);
        state.taken(stripe);
        drop(state);
        self.changed.notify_all();
    }

    /// Works until the queue is closed and empty.
    pub(super) fn work(&self) {
        loop {
            let mut state = self.state.lock();
            match state.take() {
                Some((stripe, block)) => {
                    drop(state);
                    self.apply(stripe, block);
                }
                None if state.broken || state.closed && state.blocks.is_empty() => return,
                None => self.changed.wait(&mut state),
            }
        }
    }

    /// Lets the threads go once everything is done.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// What was done so far.
    pub(super) fn stats(&self) -> ReplayStats {
        self.state.lock().stats.clone()
    }
}

/// Wakes the others when a thread dies of a bug, so that the bug is seen and not waited for.
struct Guard<'a, 'b> {
    queue: &'b Queue<'a>,
    done: bool,
}

impl Drop for Guard<'_, '_> {
    fn drop(&mut self) {
        if !self.done {
            self.queue.state.lock().broken = true;
            self.queue.changed.notify_all();
        }
    }
}
