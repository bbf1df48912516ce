//! Bytes of a file.

use std::{fmt, ops::Deref, ops::Range, sync::Arc};

use memmap2::Mmap;

#[derive(Clone)]
enum Bytes {
    Owned(Arc<Vec<u8>>),
    Mapped(Arc<Mmap>),
}

/// Bytes of a file, in memory of our own or mapped. Cheap to clone and to cut.
#[derive(Clone)]
pub struct Slice {
    bytes: Bytes,
    range: Range<usize>,
}

impl Slice {
    pub(super) fn mapped(map: Mmap, range: Range<usize>) -> Self {
        let range = range.start.min(map.len())..range.end.min(map.len());
        Self { bytes: Bytes::Mapped(Arc::new(map)), range }
    }

    /// The part `range` of it; `None` where it is not within.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.range.len() {
            return None;
        }
        let start = self.range.start;
        Some(Self { bytes: self.bytes.clone(), range: start + range.start..start + range.end })
    }

    /// Whether the bytes are mapped, so that they do not count as memory of the process.
    #[must_use]
    pub const fn is_mapped(&self) -> bool {
        matches!(self.bytes, Bytes::Mapped(_))
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { bytes: Bytes::Owned(Arc::new(bytes)), range }
    }
}

impl Deref for Slice {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        let all: &[u8] = match &self.bytes {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map) => map,
        };
        &all[self.range.clone()]
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_mapped() { "mapped" } else { "owned" };
        write!(f, "Slice({} bytes, {kind})", self.range.len())
    }
}
