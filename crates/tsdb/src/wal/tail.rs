//! How far the log is written, for those who follow it, and how much of it they still need.

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

/// A place in the log: where a batch ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalPosition {
    /// The segment's number.
    pub segment: u64,
    /// Bytes from the segment's beginning on.
    pub offset: u64,
}

/// What is written, and who follows.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    end: WalPosition,
    pins: Vec<(u64, Pin)>,
    next_pin: u64,
}

/// What a follower still needs.
#[derive(Clone, Copy, Debug)]
struct Pin {
    position: WalPosition,
    /// Bytes of the log that it may keep from being removed.
    limit: u64,
}

impl Tail {
    /// Where the written part of the log ends.
    pub(crate) fn end(&self) -> WalPosition {
        self.state.lock().end
    }

    /// Takes note of what is written.
    pub(crate) fn moved_to(&self, end: WalPosition) {
        self.state.lock().end = end;
        self.moved.notify_all();
    }

    /// Waits until there is something after `position`; false where nothing came in time.
    pub(crate) fn wait(&self, position: WalPosition, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        while state.end <= position {
            if self.moved.wait_for(&mut state, timeout).timed_out() {
                return state.end > position;
            }
        }
        true
    }

    /// Whether somebody needs segments to stay.
    pub(crate) fn is_followed(&self) -> bool {
        !self.state.lock().pins.is_empty()
    }

    /// The oldest segment that a follower needs within its limit, where `len` tells the bytes from
    /// a segment on.
    pub(crate) fn needed(&self, len: impl Fn(u64) -> u64) -> Option<u64> {
        let state = self.state.lock();
        let pins = state.pins.iter().map(|(_, pin)| pin);
        pins.filter(|p| len(p.position.segment) <= p.limit).map(|p| p.position.segment).min()
    }
}

/// Keeps segments from being removed until it is dropped.
#[derive(Debug)]
pub(crate) struct Keep {
    tail: Arc<Tail>,
    id: u64,
}

impl Keep {
    pub(crate) fn new(tail: &Arc<Tail>, position: WalPosition, limit: u64) -> Self {
        let mut state = tail.state.lock();
        let id = state.next_pin;
        state.next_pin += 1;
        state.pins.push((id, Pin { position, limit }));
        drop(state);
        Self { tail: Arc::clone(tail), id }
    }

    pub(crate) fn set(&self, position: WalPosition) {
        let mut state = self.tail.state.lock();
        if let Some((_, pin)) = state.pins.iter_mut().find(|(id, _)| *id == self.id) {
            pin.position = position;
        }
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        self.tail.state.lock().pins.retain(|(id, _)| *id != self.id);
    }
}
