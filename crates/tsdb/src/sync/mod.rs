//! Locks and atomics of what several threads work on at once.
//!
//! In a build these are `parking_lot`'s and the standard library's. In this crate's own tests each
//! use of one is a place where a model (`sync::model`) may have another task go on, so that the
//! protocols of the head are tried in many thousands of orders, the same ones in every run.

#[cfg(not(test))]
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize,
};

#[cfg(not(test))]
pub(crate) use parking_lot::{Mutex, RwLock};

#[cfg(test)]
pub(crate) mod model;

#[cfg(test)]
pub(crate) use self::model::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Mutex, RwLock,
};
