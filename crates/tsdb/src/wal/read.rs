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
        self.damage.iter().any(|d| !d.torn)
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
    let ours = begins_damaged(data) && has_commit(data);
    read_part(data, 0, ours, |records, _| apply(records))
}

/// Whether the first record of a segment says that we wrote it.
pub(crate) fn is_ours(beginning: &[u8]) -> bool {
    match Reader::new(beginning).read_next() {
        Some(Found::Record { bytes, .. }) => batch::decode(bytes) == Ok(batch::Batch::Marker),
        _ => false,
    }
}

/// Reads the part of a segment from `start` on, which is a multiple of the page length or where a
/// batch ended; `data` begins at the segment's beginning, or at that of a page. `ours` says whether
/// the segment is known to be of ours. Calls `apply` with each batch and where it ends.
pub(crate) fn read_part(
    data: &[u8],
    start: usize,
    ours: bool,
    mut apply: impl FnMut(Records<'_>, usize),
) -> Summary {
    let mut summary = Summary { len: data.len(), end: start, ours, ..Summary::default() };
    let mut reader = Reader::starting_at(data, start);
    let mut pending = Pending::default();
    let mut first = start == 0;
    while let Some(found) = reader.read_next() {
        match found {
            Found::Damage(damage) => {
                pending.damaged = true;
                summary.damage.push(damage);
            }
            Found::Record { bytes, start, end } => {
                let ours = RecordType::of(bytes) == RecordType::Ours;
                match ours.then(|| batch::decode(bytes)) {
                    Some(Ok(batch::Batch::Marker)) => {
                        summary.ours |= first;
                        summary.end = end;
                    }
                    Some(Ok(batch::Batch::Commit { records, checksums })) => {
                        let wrong = pending.check(records, &checksums);
                        if let Some((from, to)) = wrong {
                            let what = "a record is not what its batch was closed with".to_owned();
                            let damage = Damage { start: from, end: to, what, torn: false };
                            summary.damage.push(damage);
                        }
                        summary.records += pending.commit(records, &mut |r| apply(r, end));
                        summary.unclosed += pending.clear();
                        summary.end = end;
                    }
                    // Others of ours are a part of their batch.
                    _ => {
                        pending.push(bytes, start..end);
                        if !summary.ours {
                            summary.records += pending.commit(1, &mut |r| apply(r, end));
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

/// Whether the first thing in a segment is damage, so that a marker may be lost.
fn begins_damaged(data: &[u8]) -> bool {
    matches!(Reader::new(data).read_next(), Some(Found::Damage(_)))
}

/// Whether there is a commit of ours anywhere in a segment.
fn has_commit(data: &[u8]) -> bool {
    let mut reader = Reader::new(data);
    while let Some(found) = reader.read_next() {
        if let Found::Record { bytes, .. } = found
            && RecordType::of(bytes) == RecordType::Ours
        {
            return true;
        }
    }
    false
}

/// Records whose commit has not been seen yet.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
    /// Where each lies in the segment.
    places: Vec<Range<usize>>,
    /// Whether there was damage since the last commit.
    damaged: bool,
}

impl Pending {
    fn push(&mut self, record: &[u8], place: Range<usize>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.ranges.push(start..self.bytes.len());
        self.places.push(place);
    }

    /// Removes the records that are not what a commit says, and tells where the first and the last
    /// of them lie, unless that is known as damage.
    fn check(&mut self, records: u64, checksums: &[u32]) -> Option<(usize, usize)> {
        if checksums.is_empty() {
            return None;
        }
        let skip = self.ranges.len().saturating_sub(checksums.len());
        let exact = self.ranges.len() as u64 >= records
            && self.ranges[skip..].iter().map(|r| self.sum(r)).eq(checksums.iter().copied());
        if exact {
            // What comes before them is of a batch that has lost its commit.
            return None;
        }
        let mut expected = checksums;
        let mut kept = Vec::with_capacity(self.ranges.len());
        let mut wrong: Option<(usize, usize)> = None;
        for (range, place) in self.ranges.iter().zip(&self.places) {
            let sum = self.sum(range);
            if let Some(at) = expected.iter().position(|c| *c == sum) {
                expected = expected.get(at + 1..).unwrap_or_default();
                kept.push((range.clone(), place.clone()));
            } else {
                wrong = Some((wrong.map_or(place.start, |w| w.0), place.end));
            }
        }
        // Damage was reported where it lies; a record that is the rest of one is part of it.
        let unknown = !self.damaged;
        let here = self.places.last().map_or((0, 0), |p| (p.start, p.end));
        self.damaged = true;
        (self.ranges, self.places) = kept.into_iter().unzip();
        unknown.then(|| wrong.unwrap_or(here))
    }

    fn sum(&self, range: &Range<usize>) -> u32 {
        crc32c::crc32c(self.bytes.get(range.clone()).unwrap_or_default())
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
        self.places.clear();
        self.damaged = false;
        left
    }
}
