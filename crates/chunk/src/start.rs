//! Start timestamps, as the newer encodings append them to each sample.

use crate::{ChunkError, reader::BitReader};

/// Reads the start timestamps of a chunk. Its header byte says whether the first sample has one
/// (bit 7), and at which sample they begin to change (bits 6 to 0; 0 for never). Until then the
/// first one holds, after it each sample has the difference of the *previous* sample's time and its
/// start, as differences.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartDecoder {
    first_known: bool,
    change_on: usize,
    start: i64,
    diff: i64,
}

impl StartDecoder {
    pub(crate) const fn new(header: u8) -> Self {
        Self {
            first_known: header & 0x80 != 0,
            change_on: (header & 0x7f) as usize,
            start: 0,
            diff: 0,
        }
    }

    /// Whether the chunk has any.
    pub(crate) const fn any(&self) -> bool {
        self.first_known || self.change_on > 0
    }

    /// Reads what sample `index` has at the end of its bits and returns its start, 0 for unknown.
    #[inline(always)]
    pub(crate) fn next(
        &mut self,
        reader: &mut BitReader<'_>,
        index: usize,
        time: i64,
        previous: i64,
    ) -> Result<i64, ChunkError> {
        if index == 0 {
            if self.first_known {
                self.start = time.wrapping_sub(reader.varint()?);
            }
        } else if self.change_on > 0 && index >= self.change_on {
            let x = reader.varbit_int();
            self.diff = if index == self.change_on { x } else { self.diff.wrapping_add(x) };
            self.start = previous.wrapping_sub(self.diff);
        }
        Ok(self.start)
    }
}
