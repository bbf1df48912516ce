//! Which forms new data is written in, where there is a choice.

use std::sync::atomic::Ordering;

use crate::sync::AtomicU8;

/// The choices; by default everything is written as Prometheus 3.5 reads it. Everything is read,
/// whatever they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Formats {
    /// New chunks of floats are XOR2, which has start timestamps.
    pub(crate) xor2: bool,
    /// The logs have start timestamps.
    pub(crate) logged_starts: bool,
    /// New chunks of histograms have start timestamps.
    pub(crate) histogram_starts: bool,
    /// A start timestamp becomes a sample of 0 at that time.
    pub(crate) zeros_at_starts: bool,
}

/// Choices that can change at any time.
#[derive(Debug, Default)]
pub(super) struct Chosen(AtomicU8);

impl Chosen {
    pub(super) const fn new(formats: Formats) -> Self {
        Self(AtomicU8::new(Self::bits(formats)))
    }

    const fn bits(f: Formats) -> u8 {
        f.xor2 as u8
            | (f.logged_starts as u8) << 1
            | (f.histogram_starts as u8) << 2
            | (f.zeros_at_starts as u8) << 3
    }

    #[inline]
    pub(super) fn get(&self) -> Formats {
        let bits = self.0.load(Ordering::Relaxed);
        Formats {
            xor2: bits & 1 != 0,
            logged_starts: bits & 2 != 0,
            histogram_starts: bits & 4 != 0,
            zeros_at_starts: bits & 8 != 0,
        }
    }

    pub(super) fn set(&self, formats: Formats) {
        self.0.store(Self::bits(formats), Ordering::Relaxed);
    }
}
