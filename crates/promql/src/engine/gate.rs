//! The concurrency gate: how many queries run at a time; the others wait in the order they came.
//!
//! Waiting is a future that needs no runtime, so a server can have thousands wait without a thread
//! for each; the engine's blocking calls park their thread.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::Duration,
};

use firesteel_model::storage::{QueryContext, StorageError};

use super::error::QueryError;

/// How often a parked thread looks whether its query was cancelled or is late.
const LOOK: Duration = Duration::from_millis(20);

/// A gate with a number of places. Clones share them.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Places that nobody has.
    free: Vec<usize>,
    waiting: VecDeque<Arc<Mutex<Waiter>>>,
}

/// A query in the queue. Changed only while the gate's state is locked.
#[derive(Debug)]
enum Waiter {
    Queued(Waker),
    Given(usize),
    Gone,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// A gate with this many places, at least one.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let places = places.max(1);
        // The last one is given first: numbers stay low where few queries run.
        let free = (0..places).rev().collect();
        let state = Mutex::new(State { free, waiting: VecDeque::new() });
        Self(Arc::new(Shared { places, state }))
    }

    /// How many places there are.
    #[must_use]
    pub fn places(&self) -> usize {
        self.0.places
    }

    /// How many queries wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.0.state).waiting.len()
    }

    /// A place, if one is free and nobody waits.
    #[must_use]
    pub fn try_enter(&self) -> Option<Place> {
        let mut state = lock(&self.0.state);
        if !state.waiting.is_empty() {
            return None;
        }
        let slot = state.free.pop()?;
        drop(state);
        Some(Place { gate: Arc::clone(&self.0), slot, waited: Duration::ZERO })
    }

    /// Waits for a place. Dropping the future gives up the turn.
    #[must_use]
    pub fn enter(&self) -> Enter {
        Enter { gate: Arc::clone(&self.0), waiter: None }
    }

    /// Waits for a place on this thread, as long as the query may go on.
    pub(crate) fn enter_blocking(&self, ctx: &QueryContext) -> Result<Place, QueryError> {
        if let Some(place) = self.try_enter() {
            return Ok(place);
        }
        let began = ctx.clock.monotonic();
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut enter = std::pin::pin!(self.enter());
        loop {
            if let Poll::Ready(place) = enter.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Ok(place.waited(ctx.clock.monotonic().saturating_sub(began)));
            }
            ctx.check().map_err(|error| match error {
                StorageError::Canceled => QueryError::CanceledInQueue,
                _ => QueryError::TimedOutInQueue,
            })?;
            std::thread::park_timeout(LOOK);
        }
    }
}

impl Shared {
    /// Gives a place on, or back.
    fn release(&self, slot: usize) {
        let mut state = lock(&self.state);
        let Some(next) = state.waiting.pop_front() else {
            state.free.push(slot);
            return;
        };
        let before = std::mem::replace(&mut *lock(&next), Waiter::Given(slot));
        drop(state);
        if let Waiter::Queued(waker) = before {
            waker.wake();
        }
    }
}

/// A place among the running queries; dropping it gives it on.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Shared>,
    slot: usize,
    waited: Duration,
}

impl Place {
    /// Its number, below [`Gate::places`]. No two queries have the same at a time.
    #[must_use]
    pub const fn slot(&self) -> usize {
        self.slot
    }

    /// Notes how long the query waited for it, for its statistics.
    #[must_use]
    pub fn waited(mut self, waited: Duration) -> Self {
        self.waited = waited;
        self
    }

    pub(crate) const fn wait(&self) -> Duration {
        self.waited
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.release(self.slot);
    }
}

/// See [`Gate::enter`].
#[derive(Debug)]
pub struct Enter {
    gate: Arc<Shared>,
    waiter: Option<Arc<Mutex<Waiter>>>,
}

impl Future for Enter {
    type Output = Place;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Place> {
        let gate = Arc::clone(&self.gate);
        let mut state = lock(&gate.state);
        let given = match &self.waiter {
            None if state.waiting.is_empty() => state.free.pop(),
            None => None,
            Some(waiter) => match &mut *lock(waiter) {
                Waiter::Queued(waker) => {
                    waker.clone_from(cx.waker());
                    None
                }
                given => match std::mem::replace(given, Waiter::Gone) {
                    Waiter::Given(slot) => Some(slot),
                    _ => None,
                },
            },
        };
        if let Some(slot) = given {
            drop(state);
            self.waiter = None;
            return Poll::Ready(Place { gate, slot, waited: Duration::ZERO });
        }
        if self.waiter.is_none() {
            let waiter = Arc::new(Mutex::new(Waiter::Queued(cx.waker().clone())));
            state.waiting.push_back(Arc::clone(&waiter));
            self.waiter = Some(waiter);
        }
        Poll::Pending
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        let mut state = lock(&self.gate.state);
        let left = std::mem::replace(&mut *lock(&waiter), Waiter::Gone);
        match left {
            Waiter::Given(slot) => {
                drop(state);
                self.gate.release(slot);
            }
            _ => state.waiting.retain(|other| !Arc::ptr_eq(other, &waiter)),
        }
    }
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(enter: &mut Enter) -> Option<Place> {
        match Pin::new(enter).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn places_are_given_on_in_order_and_given_up_turns_are_passed_over() {
        let gate = Gate::new(2);
        let (first, second) = (gate.try_enter().unwrap(), gate.try_enter().unwrap());
        assert_eq!((first.slot(), second.slot()), (0, 1));
        let (mut a, mut b, mut c) = (gate.enter(), gate.enter(), gate.enter());
        assert!([&mut a, &mut b, &mut c].into_iter().all(|e| poll(e).is_none()));
        assert!(gate.try_enter().is_none());
        drop(a);
        assert_eq!(gate.waiting(), 2);
        drop(second);
        // Nobody overtakes the one that was given the place and has not taken it yet.
        assert!(gate.try_enter().is_none() && poll(&mut c).is_none());
        let second = poll(&mut b).unwrap();
        assert_eq!(second.slot(), 1);
        drop(first);
        // It was given the place, and goes away without taking it.
        drop(c);
        assert_eq!(gate.try_enter().unwrap().slot(), 0);
    }

    #[test]
    fn threads_wait_until_they_are_cancelled_late_or_let_in() {
        let gate = Gate::new(1);
        let held = gate.try_enter().unwrap();
        let ctx = QueryContext::background();
        ctx.cancel.cancel();
        let canceled = gate.enter_blocking(&ctx).unwrap_err();
        assert_eq!(canceled.to_string(), "context canceled");
        let ctx = QueryContext::background().with_timeout(Duration::ZERO);
        let late = gate.enter_blocking(&ctx).unwrap_err();
        assert_eq!(late.to_string(), "context deadline exceeded");
        assert_eq!(gate.waiting(), 0);
        std::thread::scope(|scope| {
            let waiter =
                scope.spawn(|| gate.enter_blocking(&QueryContext::background()).unwrap().slot());
            while gate.waiting() == 0 {
                std::thread::yield_now();
            }
            drop(held);
            assert_eq!(waiter.join().unwrap(), 0);
        });
        assert!(gate.try_enter().is_some());
    }
}
