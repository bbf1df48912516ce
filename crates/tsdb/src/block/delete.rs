//! Deleting samples of a block.

use firesteel_model::{Matcher, storage::QueryContext};

use super::{Block, Interval};
use crate::{
    TsdbError,
    fs::Window,
    index::{ChunkMeta, Memory, Search},
};

impl Block {
    /// Hides the samples between two times, both inclusive, of the series that satisfy all
    /// matchers, on disk and then for queriers to come. The samples themselves go when the block is
    /// written anew. Returns the number of series that had any.
    ///
    /// # Errors
    /// The block is damaged, or the file system's.
    pub fn delete(&self, matchers: &[Matcher], mint: i64, maxt: i64) -> Result<usize, TsdbError> {
        let files = self.files()?;
        let ctx = QueryContext::background();
        let selected = Memory::new(&ctx)
            .and_then(|mut memory| Search::new(&files.index).select(matchers, &ctx, &mut memory));
        let ids = selected.map_err(|e| {
            TsdbError::corrupt(self.dir(), 0, format!("series cannot be selected: {e}"))
        })?;
        let mut stones = (*self.tombstones()).clone();
        let mut window = Window::default();
        let mut found = 0;
        for id in ids {
            let mut ends: Option<(ChunkMeta, ChunkMeta)> = None;
            let mut overlaps = false;
            for chunk in files.index.series(&mut window, id)?.chunks()? {
                let chunk = chunk?;
                overlaps |= chunk.mint <= maxt && mint <= chunk.maxt;
                ends = Some((ends.map_or(chunk, |e| e.0), chunk));
            }
            if let Some((first, last)) = ends.filter(|_| overlaps) {
                let (mint, maxt) = (mint.max(first.mint), maxt.min(last.maxt));
                stones.add(id.into(), Interval { mint, maxt });
                found += 1;
            }
        }
        if found > 0 {
            self.set_tombstones(stones)?;
        }
        Ok(found)
    }
}
