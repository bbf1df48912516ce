//! What a query may use: samples and bytes.

use std::sync::atomic::{AtomicU64, Ordering};

use firesteel_model::budget::{Budget, Reservation};

use super::{block::Block, error::EvalError};

/// What a place in the engine is called in errors.
const PLACE: &str = "query execution";

/// Counts samples as Prometheus does: those that it would hold in memory at a time, whether or not
/// this engine does, so that a query is refused here where it is refused there.
#[derive(Debug)]
pub(crate) struct Samples {
    max: u64,
    current: AtomicU64,
    peak: AtomicU64,
    /// Samples looked at in all windows of all steps.
    pub(crate) total: AtomicU64,
    /// Samples read from storage.
    pub(crate) read: AtomicU64,
}

impl Samples {
    pub(crate) const fn new(max: u64) -> Self {
        Self {
            max,
            current: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            total: AtomicU64::new(0),
            read: AtomicU64::new(0),
        }
    }

    pub(crate) fn current(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Adds samples, of which `passing` are held only for a moment.
    pub(crate) fn add(&self, n: u64, passing: u64) -> Result<(), EvalError> {
        let now = self.current.fetch_add(n, Ordering::Relaxed).saturating_add(n);
        let now = now.saturating_add(passing);
        self.peak.fetch_max(now, Ordering::Relaxed);
        if now > self.max {
            return Err(EvalError::TooManySamples(PLACE));
        }
        Ok(())
    }

    /// Goes back to what was held before an operation, plus what it returns.
    pub(crate) fn settle(&self, before: u64, returned: u64) {
        self.current.store(before.saturating_add(returned), Ordering::Relaxed);
    }

    /// Refuses an evaluation of more steps than samples are allowed.
    pub(crate) fn check_steps(&self, steps: usize) -> Result<(), EvalError> {
        if steps as u64 > self.max { Err(EvalError::TooManySamples(PLACE)) } else { Ok(()) }
    }
}

/// Reserves room for a text that is about to be made, where it is long: labels that are joined with
/// themselves grow by a factor each time.
pub(crate) fn room_for_text(budget: &Budget, bytes: u64) -> Result<Option<Reservation>, EvalError> {
    const LONG: u64 = 1 << 16;
    if bytes < LONG { Ok(None) } else { Ok(Some(budget.reserve(bytes)?)) }
}

/// Reserves the bytes of `rows` rows of `steps` steps before they are allocated.
pub(crate) fn reserve_rows(
    budget: &Budget,
    rows: usize,
    steps: usize,
) -> Result<Reservation, EvalError> {
    let row = (steps as u64).saturating_mul(8).saturating_add(steps as u64 / 8).saturating_add(24);
    Ok(budget.reserve(row.saturating_mul(rows as u64))?)
}

/// Steps from which on a single row is worth to be reserved for.
const LONG: usize = 1 << 14;

/// Whether a single row of so many steps is worth to be reserved for.
pub(crate) const fn is_long(steps: usize) -> bool {
    steps >= LONG
}

/// Reserves what an operation takes besides its inputs and its result: a few rows. Nothing for the
/// few steps that most queries have.
pub(crate) fn reserve_scratch(
    budget: &Budget,
    steps: usize,
) -> Result<Option<Reservation>, EvalError> {
    if !is_long(steps) { Ok(None) } else { reserve_rows(budget, 4, steps).map(Some) }
}

/// Memory of a block whose rows are added one by one: taken in advance, doubling.
pub(crate) struct Room {
    budget: Budget,
    held: Reservation,
    rows: usize,
}

impl Room {
    pub(crate) fn new(budget: &Budget) -> Result<Self, EvalError> {
        Ok(Self { budget: budget.clone(), held: budget.reserve(0)?, rows: 0 })
    }

    /// Makes room for one more row.
    pub(crate) fn row(&mut self, block: &mut Block) -> Result<(), EvalError> {
        if block.len() < self.rows {
            return Ok(());
        }
        let more = self.rows.max(if is_long(block.steps()) { 1 } else { 16 });
        // While the columns move both are there.
        let _moving = reserve_rows(&self.budget, self.rows, block.steps())?;
        let new = reserve_rows(&self.budget, more, block.steps())?.bytes();
        self.held.grow(new)?;
        block.reserve_rows(more);
        self.rows += more;
        Ok(())
    }

    /// The block accounts for its memory from here on.
    pub(crate) fn give(self, block: &mut Block) {
        block.reserved = Some(self.held);
    }
}

/// Makes a block's reservation what its columns take.
pub(crate) fn account(budget: &Budget, block: &mut Block) -> Result<(), EvalError> {
    let bytes = block.bytes() as u64;
    match &mut block.reserved {
        Some(held) if held.bytes() >= bytes => held.shrink(held.bytes() - bytes),
        Some(held) => held.grow(bytes - held.bytes())?,
        None => block.reserved = Some(budget.reserve(bytes)?),
    }
    Ok(())
}
