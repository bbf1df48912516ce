//! Reading a segment batch by batch.

use std::ops::Range;

use super::{
    page::{Damage, Found, Reader},
    record::{RecordType, batch},
};

/// The records of a batch, in order. A segment that we did not write has a batch per record.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    ranges: &'a [Range<usize>],
}

impl<'a> Records<'a> {
    /// The records.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (bytes, ranges) = (self.bytes, self.ranges);
        ranges.iter().map(move |r| bytes.get(r.clone()).unwrap_or_default())
    }

    /// Number of records.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ranges.len()
    }
}

/// What was found in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Whether we wrote it.
    pub ours: bool,
    /// Records that were passed on.
    pub records: u64,
    /// Records of batches that were never closed; they were not passed on.
    pub unclosed: u64,
    /// Damaged places.
    pub damage: Vec<Damage>,
    /// Where the last batch that was passed on ends, in bytes.
    pub end: usize,
    /// Length of the segment in bytes.
    pub len: usize,
}

impl Summary {
    /// Whether the segment lost something else than its end, so that only rewriting it helps.
    #[must_use]
    pub fn has_holes(&self) -> bool {
        self.damage.iter().any(|d| !d.torn && !d.unsupported)
    }

    /// Whether cutting the segment at [`Summary::end`] makes it whole.
    #[must_use]
    pub fn has_bad_end(&self) -> bool {
        !self.has_holes() && (self.unclosed > 0 || self.damage.iter().any(|d| d.torn))
    }
}

/// Reads a segment and calls `apply` with each batch of it.
///
/// In a segment of ours a batch ends with its commit record, and what follows the last commit is
/// left out. Where damage took a part of a batch, the rest of it is passed on: better a part of
/// what was acknowledged than nothing.
pub fn read_segment(data: &[u8], mut apply: impl FnMut(Records<'_>)) -> Summary {
    let mut summary = Summary { len: data.len(), ..Summary::default() };
    let mut reader = Reader::new(data);
    let mut pending = Pending::default();
    let mut first = true;
    while let Some(found) = reader.read_next() {
        match found {
            Found::Damage(damage) => {
                pending.damaged = true;
                summary.damage.push(damage);
            }
            Found::Record { bytes, end, .. } => {
                let ours = RecordType::of(bytes) == RecordType::Ours;
                match ours.then(|| batch::decode(bytes)) {
                    Some(Ok(batch::Batch::Marker)) => {
                        summary.ours |= first;
                        summary.end = end;
                    }
                    Some(Ok(batch::Batch::Commit { records })) => {
                        summary.records += pending.commit(records, &mut apply);
                        summary.unclosed += pending.clear();
                        summary.end = end;
                    }
                    // Others of ours are a part of their batch.
                    _ => {
                        pending.push(bytes);
                        if !summary.ours {
                            summary.records += pending.commit(1, &mut apply);
                            pending.clear();
                            summary.end = end;
                        }
                    }
                }
            }
        }
        first = false;
    }
    summary.unclosed += pending.ranges.len() as u64;
    summary
}

/// Records whose commit has not been seen yet.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
    /// Whether there was damage since the last commit.
    damaged: bool,
}

impl Pending {
    fn push(&mut self, record: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.ranges.push(start..self.bytes.len());
    }

    /// Passes on the records that a commit of `records` closes, and returns how many. Leaves the
    /// others.
    fn commit(&mut self, records: u64, apply: &mut impl FnMut(Records<'_>)) -> u64 {
        let closes = usize::try_from(records).unwrap_or(usize::MAX);
        // More than it closes: a batch before it lost its commit. By damage, then it stands; else
        // it was given up.
        let skip = if self.damaged { 0 } else { self.ranges.len().saturating_sub(closes) };
        let ranges = self.ranges.split_off(skip);
        if !ranges.is_empty() {
            apply(Records { bytes: &self.bytes, ranges: &ranges });
        }
        ranges.len() as u64
    }

    fn clear(&mut self) -> u64 {
        let left = self.ranges.len() as u64;
        self.bytes.clear();
        self.ranges.clear();
        self.damaged = false;
        left
    }
}
