//! Running tasks in an order that a seed decides.
//!
//! All tasks of a model share one thread of the system. A task goes on until it comes to a lock or
//! an atomic of this module; there the scheduler chooses who is next. Weak memory is not modelled:
//! all tasks see all writes at once. Outside of a model everything is as in a build.

use std::{cell::Cell, sync::Arc, time::Duration};

use parking_lot::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
use shuttle::{
    Config, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Has another task go on, perhaps.
fn point() {
    if RUNNING.get() {
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// Tries until it succeeds; the other tasks go on meanwhile.
fn wait<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    point();
    loop {
        match attempt() {
            Some(value) => return value,
            None => shuttle::thread::yield_now(),
        }
    }
}

/// A task of a model.
pub(crate) type Task<S> = Box<dyn Fn(&S) + Send + Sync>;

struct Running;

impl Running {
    fn start() -> Self {
        RUNNING.set(true);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(false);
    }
}

/// Runs the tasks side by side on a new state each time, in many orders: half of them wholly random,
/// half with few changes from one task to another, at random places. Then calls `after`. A panic
/// anywhere fails the test, and so do tasks that wait for each other.
pub(crate) fn explore<S: Send + Sync + 'static>(
    runs: usize,
    setup: impl Fn() -> S + Send + Sync + 'static,
    tasks: Vec<Task<S>>,
    after: impl Fn(&S) + Send + Sync + 'static,
) {
    let runs =
        std::env::var("FIRESTEEL_MODEL_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(runs);
    let all = Arc::new((setup, tasks, after));
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        config.max_steps = MaxSteps::FailAfter(200_000);
        let all = Arc::clone(&all);
        Runner::new(scheduler, config).run(move || {
            let state = Arc::new(all.0());
            let running = Running::start();
            let threads: Vec<_> = (0..all.1.len())
                .map(|i| {
                    let (all, state) = (Arc::clone(&all), Arc::clone(&state));
                    shuttle::thread::spawn(move || all.1[i](&state))
                })
                .collect();
            for thread in threads {
                thread.join().expect("a task of the model");
            }
            drop(running);
            all.2(&state);
        })
    };
    run(Box::new(RandomScheduler::new_from_seed(1, runs.div_ceil(2))));
    run(Box::new(PctScheduler::new_from_seed(2, 4, runs.div_ceil(2))));
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        if RUNNING.get() { wait(|| self.0.try_lock()) } else { self.0.lock() }
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        point();
        self.0.try_lock()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(parking_lot::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        if RUNNING.get() { wait(|| self.0.try_read()) } else { self.0.read() }
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        if RUNNING.get() { wait(|| self.0.try_write()) } else { self.0.write() }
    }
}

macro_rules! atomics {
    ($($name:ident: $value:ty),*) => {$(
        /// See the module.
        #[derive(Debug, Default)]
        pub(crate) struct $name(std::sync::atomic::$name);

        #[allow(dead_code, reason = "not every type is used in every way")]
        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(std::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: std::sync::atomic::Ordering) -> $value {
                point();
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: std::sync::atomic::Ordering) {
                point();
                self.0.store(value, order);
            }

            pub(crate) fn swap(&self, value: $value, order: std::sync::atomic::Ordering) -> $value {
                point();
                self.0.swap(value, order)
            }
        }
    )*};
}

macro_rules! numbers {
    ($($name:ident: $value:ty, [$($op:ident),*];)*) => {$(
        atomics!($name: $value);

        #[allow(dead_code, reason = "not every type is used in every way")]
        impl $name {
            $(
                pub(crate) fn $op(
                    &self,
                    value: $value,
                    order: std::sync::atomic::Ordering,
                ) -> $value {
                    point();
                    self.0.$op(value, order)
                }
            )*
        }
    )*};
}

atomics!(AtomicBool: bool);
numbers! {
    AtomicI64: i64, [fetch_add, fetch_sub, fetch_max, fetch_min];
    AtomicU8: u8, [fetch_or, fetch_and];
    AtomicU32: u32, [fetch_add, fetch_sub, fetch_max, fetch_min];
    AtomicU64: u64, [fetch_add, fetch_sub, fetch_max, fetch_min];
    AtomicUsize: usize, [fetch_add, fetch_sub, fetch_max, fetch_min];
}
