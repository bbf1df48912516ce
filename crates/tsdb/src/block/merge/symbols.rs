//! Merging symbol tables.

use super::Memory;
use crate::{
    TsdbError,
    index::{IndexReader, SymbolScan, SymbolTable},
};

/// How many symbols are merged between two looks at the budget.
const CHECK_EVERY: u32 = 4096;

/// From the numbers of an input's symbols to those of the result.
#[derive(Debug)]
pub(super) enum Renumbered {
    /// By number.
    Dense(Vec<u32>),
    /// Old and new numbers, sorted: in version 1 of the index symbols are named by their offset.
    Sparse(Vec<(u32, u32)>),
}

impl Renumbered {
    pub(super) fn get(&self, old: u32) -> Option<u32> {
        match self {
            Self::Dense(new) => new.get(old as usize).copied(),
            Self::Sparse(pairs) => {
                let at = pairs.binary_search_by_key(&old, |p| p.0).ok()?;
                pairs.get(at).map(|p| p.1)
            }
        }
    }

    fn push(&mut self, old: u32, new: u32) {
        match self {
            Self::Dense(all) => all.push(new),
            Self::Sparse(all) => all.push((old, new)),
        }
    }
}

/// All symbols of some indexes, and where each index's are among them.
pub(super) fn merge(
    indexes: &[&IndexReader],
    memory: &mut Memory<'_>,
) -> Result<(SymbolTable, Vec<Renumbered>), TsdbError> {
    let mut scans: Vec<Option<SymbolScan<'_>>> = Vec::with_capacity(indexes.len());
    let mut renumbered = Vec::with_capacity(indexes.len());
    for index in indexes {
        let symbols = index.symbols();
        let (count, dense) = (symbols.count(), symbols.bound() == symbols.count());
        memory.add(u64::from(count) * if dense { 4 } else { 8 })?;
        let capacity = count as usize;
        renumbered.push(if dense {
            Renumbered::Dense(Vec::with_capacity(capacity))
        } else {
            Renumbered::Sparse(Vec::with_capacity(capacity))
        });
        let mut scan = symbols.scan(index.source());
        scans.push(scan.advance()?.then_some(scan));
    }
    let fixed = memory.used();
    let mut table = SymbolTable::default();
    let mut text = String::new();
    while let Some(next) = scans.iter().flatten().map(SymbolScan::text).min() {
        text.clear();
        text.push_str(next);
        let new = table.len();
        // Fails where an input's symbols are not in order.
        table.push(&text)?;
        for (slot, renumbered) in scans.iter_mut().zip(&mut renumbered) {
            if let Some(scan) = slot.as_mut().filter(|s| s.text() == text) {
                renumbered.push(scan.id(), new);
                if !scan.advance()? {
                    *slot = None;
                }
            }
        }
        if new.is_multiple_of(CHECK_EVERY) {
            memory.set(fixed + table.bytes())?;
        }
    }
    memory.set(fixed + table.bytes())?;
    Ok((table, renumbered))
}
