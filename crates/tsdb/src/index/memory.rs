//! What a search in an index takes of its query: memory, time.

use firesteel_model::{
    budget::Reservation,
    storage::{QueryContext, StorageError},
};

/// Memory is reserved in steps of this many bytes.
const STEP: u64 = 16 << 10;

/// The memory of a search, reserved in the query's budget before it is taken.
#[derive(Debug)]
pub(crate) struct Memory<'c> {
    ctx: &'c QueryContext,
    reservation: Reservation,
    used: u64,
}

impl<'c> Memory<'c> {
    pub(crate) fn new(ctx: &'c QueryContext) -> Result<Self, StorageError> {
        Ok(Self { ctx, reservation: ctx.budget.reserve(0)?, used: 0 })
    }

    /// Reserves `bytes` more.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), StorageError> {
        self.used += bytes;
        let held = self.reservation.bytes();
        if self.used > held {
            self.reservation.grow((self.used - held).max(STEP))?;
        }
        Ok(())
    }

    /// Returns `bytes`.
    pub(crate) fn give(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        let held = self.reservation.bytes();
        if held - self.used > 2 * STEP {
            self.reservation.shrink(held - self.used - STEP);
        }
    }

    /// Looks at the query's deadline if `i` is a multiple of `n`.
    #[inline]
    pub(crate) fn check_every(&self, i: usize, n: usize) -> Result<(), StorageError> {
        if i.is_multiple_of(n) { self.ctx.check() } else { Ok(()) }
    }

    /// What stays reserved for a result of `bytes`.
    pub(crate) fn keep(mut self, bytes: u64) -> Reservation {
        self.reservation.shrink(self.reservation.bytes().saturating_sub(bytes));
        self.reservation
    }
}
