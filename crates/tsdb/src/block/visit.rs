//! Walking through a whole block: series by series, list by list, as tools do.

use std::ops::ControlFlow;

use firesteel_chunk::Encoding;
use firesteel_model::Labels;
use hashbrown::HashMap;

use super::{Block, chunks::ChunkWindow, reader::Files};
use crate::{TsdbError, fs::Window, index::ChunkMeta};

/// A chunk as the index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Time of its first sample, milliseconds.
    pub mint: i64,
    /// Time of its last sample.
    pub maxt: i64,
    reference: u64,
}

impl From<ChunkMeta> for ChunkInfo {
    fn from(meta: ChunkMeta) -> Self {
        Self { mint: meta.mint, maxt: meta.maxt, reference: meta.reference }
    }
}

impl Block {
    /// Calls `f` with each series, in order of the index, and its chunks, until it breaks off.
    /// Deleted intervals are not looked at.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn visit(
        &self,
        f: &mut dyn FnMut(&Labels, &[ChunkInfo]) -> ControlFlow<()>,
    ) -> Result<(), TsdbError> {
        let files = self.files()?;
        let mut walk = Walk::default();
        for id in all(&files)? {
            walk.read(&files, id)?;
            if f(&walk.labels(&files)?, &walk.chunks).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Calls `f` with encoding and bytes of each of these chunks.
    ///
    /// # Errors
    /// One cannot be read, or its checksum does not match.
    pub fn visit_chunks(
        &self,
        chunks: &[ChunkInfo],
        f: &mut dyn FnMut(Encoding, &[u8]),
    ) -> Result<(), TsdbError> {
        let files = self.files()?;
        let mut window = ChunkWindow::default();
        for chunk in chunks {
            let (encoding, data) = files.chunks.read(&mut window, chunk.reference)?;
            f(encoding, data);
        }
        Ok(())
    }
}

fn all(files: &Files) -> Result<Vec<u32>, TsdbError> {
    let mut ids = Vec::new();
    if let Some(at) = files.index.table().all() {
        files.index.postings(&mut Window::default(), at, &mut ids)?;
    }
    Ok(ids)
}

/// The series under way.
#[derive(Default)]
struct Walk {
    window: Window,
    pairs: Vec<(u32, u32)>,
    chunks: Vec<ChunkInfo>,
    /// Symbols that were met.
    symbols: HashMap<u32, String>,
}

impl Walk {
    fn read(&mut self, files: &Files, id: u32) -> Result<(), TsdbError> {
        let entry = files.index.series(&mut self.window, id)?;
        self.pairs.clear();
        self.chunks.clear();
        entry.labels(&mut self.pairs)?;
        for chunk in entry.chunks()? {
            self.chunks.push(chunk?.into());
        }
        Ok(())
    }

    fn labels(&mut self, files: &Files) -> Result<Labels, TsdbError> {
        let (symbols, index) = (&mut self.symbols, &files.index);
        for id in self.pairs.iter().flat_map(|p| [p.0, p.1]) {
            if !symbols.contains_key(&id) {
                index.symbols().resolve(index.source(), &[id], &mut |_, text| {
                    symbols.insert(id, text.to_owned());
                })?;
            }
        }
        let text = |id: &u32| symbols.get(id).map_or("", String::as_str);
        Ok(Labels::from_pairs(self.pairs.iter().map(|p| (text(&p.0), text(&p.1)))))
    }
}
