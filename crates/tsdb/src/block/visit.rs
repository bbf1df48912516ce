//! Walking through a whole block: series by series, list by list, as tools do.

use std::ops::ControlFlow;

use firesteel_chunk::{Encoding, histogram, xor, xor2};
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

/// Damages are listed up to this many per block.
const MAX_FOUND: usize = 100;

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

    /// Reads everything and checks every checksum: tables, series, postings, chunks, and that
    /// chunks decode to samples between the times that the index has for them. Calls `progress`
    /// with how many series of how many are done. Returns what is damaged, the first hundred.
    ///
    /// Nothing is written.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Vec<TsdbError> {
        let mut found = Vec::new();
        if let Err(error) = self.verify_into(&mut found, progress) {
            found.push(error);
        }
        found
    }

    fn verify_into(
        &self,
        found: &mut Vec<TsdbError>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), TsdbError> {
        let files = self.files()?;
        let mut walk = Walk::default();
        let mut window = ChunkWindow::default();
        let ids = all(&files)?;
        let mut samples = 0;
        for (i, &id) in ids.iter().enumerate() {
            if let Err(error) = walk.read(&files, id).and_then(|()| walk.labels(&files).map(drop)) {
                found.push(error);
                continue;
            }
            for &chunk in &walk.chunks {
                match verify_chunk(&files, &mut window, chunk) {
                    Ok(n) => samples += n as u64,
                    Err(error) => found.push(error),
                }
            }
            if found.len() >= MAX_FOUND {
                return Ok(());
            }
            progress(i as u64 + 1, ids.len() as u64);
        }
        verify_postings(&files, found)?;
        let stats = &self.meta().stats;
        let read = (ids.len() as u64, samples);
        if found.is_empty() && (stats.num_series, stats.num_samples) != read {
            found.push(TsdbError::corrupt(
                self.dir().join(super::META_FILE),
                0,
                format!(
                    "{} series and {} samples are named, {} and {} are there",
                    stats.num_series, stats.num_samples, read.0, read.1
                ),
            ));
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

/// Reads a chunk and returns how many samples it has.
fn verify_chunk(
    files: &Files,
    window: &mut ChunkWindow,
    chunk: ChunkInfo,
) -> Result<usize, TsdbError> {
    let (encoding, data) = files.chunks.read(window, chunk.reference)?;
    let (mut times, mut starts, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let decoded = match encoding {
        Encoding::Xor => xor::decode(data, &mut times, &mut values).map(drop),
        Encoding::Xor2 => xor2::decode(data, &mut times, &mut starts, &mut values).map(drop),
        _ => histogram::decode(encoding, data).map(|found| times = found.times),
    };
    let corrupt = |what: String| files.chunks.corrupt(chunk.reference, what);
    decoded.map_err(|e| corrupt(e.to_string()))?;
    let range = (times.first().copied(), times.last().copied());
    if range != (Some(chunk.mint), Some(chunk.maxt)) {
        return Err(corrupt(format!(
            "the index says {} to {}, the chunk has {range:?}",
            chunk.mint, chunk.maxt
        )));
    }
    Ok(times.len())
}

fn verify_postings(files: &Files, found: &mut Vec<TsdbError>) -> Result<(), TsdbError> {
    let index = &files.index;
    let (mut table, mut lists, mut ids) = (Window::default(), Window::default(), Vec::new());
    let names: Vec<String> =
        index.table().names().map(|n| String::from_utf8_lossy(n.0).into_owned()).collect();
    for name in names {
        index.table().scan(index.source(), &mut table, &name, "", &mut |_, at| {
            ids.clear();
            found.extend(index.postings(&mut lists, at, &mut ids).err());
            Ok(found.len() < MAX_FOUND)
        })?;
    }
    Ok(())
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
