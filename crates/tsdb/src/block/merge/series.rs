//! The series of an input, one after the other.

use std::sync::Arc;

use super::{Memory, symbols::Renumbered};
use crate::{
    TsdbError,
    block::{
        Block, Interval, Tombstones,
        chunks::{ChunkFiles, ChunkWindow},
        reader::Files,
    },
    fs::Window,
    index::{ChunkMeta, IndexReader},
};

/// A block that is read series by series.
pub(super) struct Input<'a> {
    index: &'a IndexReader,
    chunk_files: &'a ChunkFiles,
    tombstones: Arc<Tombstones>,
    /// What a chunk has outside of this belongs to another block.
    range: Interval,
    symbols: Renumbered,
    ids: Vec<u32>,
    next: usize,
    window: Window,
    chunk_window: ChunkWindow,
    id: u32,
    labels: Vec<(u32, u32)>,
    chunks: Vec<ChunkMeta>,
    before: Vec<(u32, u32)>,
    done: bool,
}

impl<'a> Input<'a> {
    /// Begins with the first series of a block.
    pub(super) fn open(
        block: &Block,
        files: &'a Files,
        symbols: Renumbered,
        memory: &mut Memory<'_>,
    ) -> Result<Self, TsdbError> {
        let index = &files.index;
        let mut ids = Vec::new();
        if let Some(at) = index.table().all() {
            index.postings(&mut Window::default(), at, &mut ids)?;
        }
        memory.add(4 * ids.capacity() as u64)?;
        let meta = block.meta();
        let mut input = Self {
            index,
            chunk_files: &files.chunks,
            tombstones: block.tombstones(),
            range: Interval { mint: meta.min_time, maxt: meta.max_time.saturating_sub(1) },
            symbols,
            ids,
            next: 0,
            window: Window::default(),
            chunk_window: ChunkWindow::default(),
            id: 0,
            labels: Vec::new(),
            chunks: Vec::new(),
            before: Vec::new(),
            done: false,
        };
        input.advance()?;
        Ok(input)
    }

    /// Goes to the next series.
    pub(super) fn advance(&mut self) -> Result<(), TsdbError> {
        std::mem::swap(&mut self.labels, &mut self.before);
        self.labels.clear();
        self.chunks.clear();
        let Some(&id) = self.ids.get(self.next) else {
            self.done = true;
            return Ok(());
        };
        self.id = id;
        self.next += 1;
        let entry = self.index.series(&mut self.window, id)?;
        entry.labels(&mut self.labels)?;
        for chunk in entry.chunks()? {
            self.chunks.push(chunk?);
        }
        let source = self.index.source();
        for (name, value) in &mut self.labels {
            let found = self.symbols.get(*name).zip(self.symbols.get(*value));
            let unknown = || source.corrupt(0, format!("series {id} has an unknown symbol"));
            (*name, *value) = found.ok_or_else(unknown)?;
        }
        if self.next > 1 && self.labels <= self.before {
            return Err(source.corrupt(0, format!("series {id} is out of order")));
        }
        Ok(())
    }

    /// The label pairs of the current series in the result's numbers; `None` at the end.
    pub(super) fn labels(&self) -> Option<&[(u32, u32)]> {
        (!self.done).then_some(&self.labels[..])
    }

    /// The chunks of the current series.
    pub(super) fn chunks(&self) -> &[ChunkMeta] {
        &self.chunks
    }

    /// The deleted intervals of the current series.
    pub(super) fn deleted(&self) -> &[Interval] {
        self.tombstones.get(self.id.into())
    }

    pub(super) const fn range(&self) -> Interval {
        self.range
    }

    /// Reads a chunk.
    pub(super) fn read(
        &mut self,
        reference: u64,
    ) -> Result<(firesteel_chunk::Encoding, &[u8]), TsdbError> {
        self.chunk_files.read(&mut self.chunk_window, reference)
    }

    /// Damage in a chunk.
    pub(super) fn corrupt(&self, reference: u64, what: &dyn std::fmt::Display) -> TsdbError {
        self.chunk_files.corrupt(reference, what.to_string())
    }
}
