//! Closed chunks in memory.

use std::sync::Arc;

/// The closed chunks of a stripe that are not in files, by number.
#[derive(Default)]
pub(super) struct Memory {
    chunks: Vec<Option<Chunk>>,
    free: Vec<u32>,
    /// Bytes of their data.
    data_bytes: usize,
}

struct Chunk {
    series: u32,
    data: Arc<[u8]>,
}

/// Bytes of a chunk's data with reference counts and the allocator's rounding.
fn len(data: &[u8]) -> usize {
    (data.len() + 16 + 8).next_multiple_of(16)
}

impl Memory {
    /// Takes a chunk in, and returns its number. `None` where numbers run out.
    pub(super) fn insert(&mut self, series: u32, data: &Arc<[u8]>) -> Option<u32> {
        let chunk = Chunk { series, data: Arc::clone(data) };
        self.data_bytes += data.len();
        if let Some(number) = self.free.pop()
            && let Some(place) = self.chunks.get_mut(number as usize)
        {
            *place = Some(chunk);
            return Some(number);
        }
        let number = u32::try_from(self.chunks.len()).ok()?;
        super::symbols::grow(&mut self.chunks);
        self.chunks.push(Some(chunk));
        Some(number)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Arc<[u8]>> {
        Some(&self.chunks.get(number as usize)?.as_ref()?.data)
    }

    pub(super) fn remove(&mut self, number: u32) {
        let Some(chunk) = self.chunks.get_mut(number as usize).and_then(Option::take) else {
            return;
        };
        self.data_bytes = self.data_bytes.saturating_sub(chunk.data.len());
        self.free.push(number);
        if self.free.len() == self.chunks.len() {
            // There are bursts of them: after one everything is written.
            (self.chunks, self.free) = (Vec::new(), Vec::new());
        }
    }

    /// All chunks: number, series, data.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32, &Arc<[u8]>)> {
        let chunks = self.chunks.iter().enumerate();
        chunks.filter_map(|(i, c)| c.as_ref().map(|c| (i as u32, c.series, &c.data)))
    }

    /// Bytes of the chunks alone.
    pub(super) const fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().flatten().map(|c| len(&c.data)).sum();
        chunks + self.chunks.capacity() * size_of::<Option<Chunk>>() + self.free.capacity() * 4
    }
}
