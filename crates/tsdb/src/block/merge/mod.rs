//! Merging blocks into one.
//!
//! The inputs are read side by side in order of their series, each from front to end. Symbols are
//! merged first, which gives every input a table from its numbers to the new ones; from then on
//! label sets are compared as numbers. A chunk is copied as it is unless another input's overlaps
//! it or something in it is deleted; then samples are decoded, merged and encoded anew.

mod samples;
mod series;
mod symbols;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

use firesteel_model::budget::{Budget, Reservation};

use self::{samples::Mender, series::Input};
use super::{Block, BlockMeta, BlockWriter};
use crate::{TsdbError, fs::Fs};

/// What the end of an index takes besides what was counted: a batch of postings, the list of all
/// series, buffers.
const FINISH_BYTES: u64 = 24 << 20;
/// How many series are merged between two looks at the budget and at whether to stop.
const CHECK_EVERY: usize = 256;

/// Where a merged block goes, and what it may take.
pub(crate) struct Target<'a> {
    pub(crate) fs: &'a Arc<dyn Fs>,
    /// The directory that will hold the block.
    pub(crate) parent: &'a Path,
    pub(crate) budget: &'a Budget,
    /// Whether to give up.
    pub(crate) stop: &'a dyn Fn() -> bool,
}

/// Writes the block that `meta` describes with everything of `blocks` that is in their ranges and not
/// deleted. Where two have a sample of a series for the same time the one that comes first in
/// `blocks` wins. `None`, and no block, where nothing is left.
///
/// # Errors
/// [`TsdbError::Canceled`]; [`TsdbError::Limit`] where the budget does not suffice; damage of an
/// input; the file system's. There is no block then.
pub(crate) fn merge(
    blocks: &[Arc<Block>],
    meta: BlockMeta,
    target: &Target<'_>,
) -> Result<Option<BlockMeta>, TsdbError> {
    let mut memory = Memory::new(target)?;
    let files: Vec<_> = blocks.iter().map(|b| b.files()).collect::<Result<_, _>>()?;
    let indexes: Vec<_> = files.iter().map(|f| &f.index).collect();
    let (table, renumbered) = symbols::merge(&indexes, &mut memory)?;
    let mut inputs = Vec::with_capacity(blocks.len());
    for ((block, files), symbols) in blocks.iter().zip(&files).zip(renumbered) {
        inputs.push(Input::open(block, files, symbols, &mut memory)?);
    }
    let fixed = memory.used();
    let mut writer = BlockWriter::create(Arc::clone(target.fs), target.parent, meta, table)?;
    let mut mender = Mender::default();
    let mut labels = Vec::new();
    let mut done = 0_usize;
    while let Some(first) = smallest(&inputs) {
        labels.clear();
        labels.extend_from_slice(first);
        mender.begin();
        for (number, input) in inputs.iter_mut().enumerate() {
            if input.labels() == Some(&labels[..]) {
                mender.take(number, input);
                input.advance()?;
            }
        }
        mender.mend(&mut inputs)?;
        writer.add_series(&labels, &mender.chunks())?;
        done += 1;
        if done.is_multiple_of(CHECK_EVERY) {
            memory.set(fixed + writer.memory())?;
        }
    }
    drop(inputs);
    memory.set(fixed + writer.memory())?;
    writer.finish()
}

/// The smallest label set that an input is at.
fn smallest<'a>(inputs: &'a [Input<'_>]) -> Option<&'a [(u32, u32)]> {
    inputs.iter().filter_map(Input::labels).min()
}

/// What a merge has taken of its budget; also asks whether to stop.
struct Memory<'a> {
    reservation: Reservation,
    stop: &'a dyn Fn() -> bool,
    used: u64,
}

impl<'a> Memory<'a> {
    fn new(target: &Target<'a>) -> Result<Self, TsdbError> {
        let reservation =
            target.budget.reserve(FINISH_BYTES).map_err(|e| TsdbError::Limit(e.to_string()))?;
        Ok(Self { reservation, stop: target.stop, used: 0 })
    }

    const fn used(&self) -> u64 {
        self.used
    }

    fn add(&mut self, bytes: u64) -> Result<(), TsdbError> {
        self.set(self.used + bytes)
    }

    fn set(&mut self, bytes: u64) -> Result<(), TsdbError> {
        if (self.stop)() {
            return Err(TsdbError::Canceled);
        }
        self.used = bytes;
        let wanted = bytes + FINISH_BYTES;
        let held = self.reservation.bytes();
        if wanted > held {
            let grown = self.reservation.grow(wanted - held);
            grown.map_err(|e| TsdbError::Limit(e.to_string()))?;
        }
        Ok(())
    }
}
