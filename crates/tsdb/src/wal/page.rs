//! How records lie in a segment: pages of 32 KiB, fragments, checksums, compression.
//!
//! A fragment is `type u8 | length u16BE | CRC32C of the data u32BE | data` and lies within one
//! page; what is left of a page is zeros. The low three bits of the type say which part of a record
//! it is, bit 3 that the record is compressed with snappy, bit 4 with zstd. Source: Prometheus
//! `tsdb/wlog/{wlog,reader}.go`.

use super::compress::{Compression, Decompressor};

/// Bytes per page.
pub const PAGE: usize = 32 * 1024;
/// Bytes before the data of a fragment.
pub const HEADER: usize = 7;
const SNAPPY: u8 = 1 << 3;
const ZSTD: u8 = 1 << 4;

/// Part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Padding,
    Full,
    First,
    Middle,
    Last,
    Invalid,
}

impl Part {
    const fn of(kind: u8) -> Self {
        match kind & 7 {
            0 => Self::Padding,
            1 => Self::Full,
            2 => Self::First,
            3 => Self::Middle,
            4 => Self::Last,
            _ => Self::Invalid,
        }
    }
}

/// A record as it goes into fragments.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// The bytes, compressed or not.
    pub bytes: &'a [u8],
    /// How they are compressed.
    pub compression: Compression,
}

/// Appends a record's fragments to `out`, where the first byte of `out` lies at `base` in the
/// segment. Pages that have no room for more than a header are filled with zeros.
pub fn frame(out: &mut Vec<u8>, base: u64, record: Encoded<'_>) {
    let flag = match record.compression {
        Compression::None => 0,
        Compression::Snappy => SNAPPY,
        Compression::Zstd => ZSTD,
    };
    let mut rest = record.bytes;
    let mut first = true;
    loop {
        let room = room(out, base);
        let take = rest.len().min(room - HEADER);
        let (data, tail) = rest.split_at(take);
        let part = match (first, tail.is_empty()) {
            (true, true) => 1,
            (true, false) => 2,
            (false, false) => 3,
            (false, true) => 4,
        };
        out.push(part | flag);
        out.extend_from_slice(&(take as u16).to_be_bytes());
        out.extend_from_slice(&crc32c::crc32c(data).to_be_bytes());
        out.extend_from_slice(data);
        rest = tail;
        first = false;
        if rest.is_empty() {
            return;
        }
    }
}

/// What is left of the page, more than a header; begins a new page where needed.
fn room(out: &mut Vec<u8>, base: u64) -> usize {
    let left = |out: &Vec<u8>| PAGE - (base as usize % PAGE + out.len()) % PAGE;
    let here = left(out);
    if here > HEADER {
        return here;
    }
    out.resize(out.len() + here, 0);
    PAGE
}

/// Bytes that [`frame`] adds at most for a record of `len` bytes.
#[must_use]
pub const fn framed_len(len: usize) -> usize {
    len + (len / (PAGE - HEADER) + 2) * 2 * HEADER
}

/// Something found in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A record, decompressed.
    Record {
        /// Where its first fragment lies.
        start: usize,
        /// Where its last fragment ends.
        end: usize,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// Bytes that are not part of any readable record.
    Damage(Damage),
}

/// Damage in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins.
    pub start: usize,
    /// Where reading goes on.
    pub end: usize,
    /// What was wrong.
    pub what: String,
    /// Whether it is merely the segment's end that is missing, as after a crash.
    pub torn: bool,
}

/// Reads the records of a segment and gets over damage: after a bad checksum it goes on with the
/// next fragment, else with the next page.
#[derive(Debug)]
pub struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    /// The fragments of the record that is being put together.
    joined: Vec<u8>,
    /// Where it began; `None` between records.
    began: Option<usize>,
    packed: Vec<u8>,
    decompressor: Decompressor,
    /// Where skipping began, while fragments of a lost record go by.
    lost: Option<(usize, String)>,
}

/// What a fragment's header and data say.
struct Fragment {
    kind: u8,
    data: std::ops::Range<usize>,
}

impl<'a> Reader<'a> {
    /// Reads a whole segment.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self::starting_at(data, 0)
    }

    /// Reads from `at` on, where a record begins; `data` begins where a page does.
    #[must_use]
    pub fn starting_at(data: &'a [u8], at: usize) -> Self {
        Self {
            data,
            at,
            joined: Vec::new(),
            began: None,
            packed: Vec::new(),
            decompressor: Decompressor::default(),
            lost: None,
        }
    }

    /// The next record or damage; `None` at the end.
    pub fn read_next(&mut self) -> Option<Found<'_>> {
        loop {
            if self.at >= self.data.len() {
                return self.finish().map(Found::Damage);
            }
            let here = self.at;
            if Part::of(self.data[here]) == Part::Padding {
                match self.padding() {
                    Ok(()) => continue,
                    Err(what) => self.skip_page(here, what),
                }
            } else {
                match self.fragment(here) {
                    Ok(fragment) => {
                        if let Some(found) = self.take(here, fragment) {
                            return Some(self.deliver(found));
                        }
                    }
                    Err(Problem::Torn) => {
                        let start = self.began.take().unwrap_or(here);
                        self.at = self.data.len();
                        let what = "the last record is cut off".to_owned();
                        return Some(Found::Damage(self.report(start, what, true)));
                    }
                    Err(Problem::Checksum { what, next }) if self.plausible(next) => {
                        self.lose(here, what);
                        self.at = next;
                    }
                    Err(Problem::Checksum { what, .. } | Problem::Bad(what)) => {
                        self.skip_page(here, what);
                    }
                }
            }
        }
    }

    /// Passes over zeros up to the page's end.
    fn padding(&mut self) -> Result<(), String> {
        let end = self.page_end(self.at);
        if let Some(bad) = self.data[self.at..end].iter().position(|&b| b != 0) {
            return Err(format!("byte {} of a page's padding is not zero", self.at + bad));
        }
        self.at = end;
        Ok(())
    }

    const fn page_end(&self, at: usize) -> usize {
        let end = (at / PAGE + 1) * PAGE;
        if end < self.data.len() { end } else { self.data.len() }
    }

    fn fragment(&self, at: usize) -> Result<Fragment, Problem> {
        let kind = self.data[at];
        if Part::of(kind) == Part::Invalid || kind >= 32 {
            return Err(Problem::Bad(format!("fragment type {kind} does not exist")));
        }
        let limit = (at / PAGE + 1) * PAGE;
        if at + HEADER > limit {
            return Err(Problem::Bad("a fragment's header crosses the end of its page".to_owned()));
        }
        let Some(header) = self.data.get(at..at + HEADER) else { return Err(Problem::Torn) };
        let len = usize::from(u16::from_be_bytes([header[1], header[2]]));
        let crc = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
        let data = at + HEADER..at + HEADER + len;
        if data.end > limit {
            let what = format!("a fragment of {len} bytes crosses the end of its page");
            return Err(Problem::Bad(what));
        }
        let Some(bytes) = self.data.get(data.clone()) else { return Err(Problem::Torn) };
        let found = crc32c::crc32c(bytes);
        if found != crc {
            let what = format!("checksum is {found:08x}, expected {crc:08x}");
            return Err(Problem::Checksum { what, next: data.end });
        }
        Ok(Fragment { kind, data })
    }

    /// Whether reading can go on at `at`, in the middle of a page whose fragment before was bad:
    /// a sound fragment, zeros up to the page's end, or the segment's end.
    fn plausible(&self, at: usize) -> bool {
        let Some(&kind) = self.data.get(at) else { return true };
        if Part::of(kind) == Part::Padding {
            return self.data[at..self.page_end(at)].iter().all(|&b| b == 0);
        }
        self.fragment(at).is_ok()
    }

    fn lose(&mut self, here: usize, what: String) {
        let start = self.began.take().unwrap_or(here);
        self.joined.clear();
        if self.lost.is_none() {
            self.lost = Some((start, what));
        }
    }

    fn skip_page(&mut self, here: usize, what: String) {
        self.lose(here, what);
        self.at = self.page_end(here);
    }

    /// Takes a sound fragment in. Returns what is complete now.
    fn take(&mut self, here: usize, fragment: Fragment) -> Option<Complete> {
        let part = Part::of(fragment.kind);
        let begins = matches!(part, Part::Full | Part::First);
        if begins && (self.began.is_some() || self.lost.is_some()) {
            // The fragment is read again after the report.
            let what = "a record's end is missing".to_owned();
            self.lose(here, what);
            let (start, what) = self.lost.take()?;
            return Some(Complete::Damage(self.damage(start, here, what)));
        }
        self.at = fragment.data.end;
        if !begins && self.began.is_none() {
            self.lose(here, "a record's beginning is missing".to_owned());
            return None;
        }
        let start = *self.began.get_or_insert(here);
        let bytes = &self.data[fragment.data.clone()];
        if part == Part::Full {
            self.began = None;
            return Some(Complete::Whole { start, fragment });
        }
        self.joined.extend_from_slice(bytes);
        if part == Part::Last {
            self.began = None;
            return Some(Complete::Joined { start, kind: fragment.kind, end: fragment.data.end });
        }
        None
    }

    fn damage(&self, start: usize, end: usize, what: String) -> Damage {
        Damage { start, end, what, torn: false }
    }

    fn report(&mut self, start: usize, what: String, torn: bool) -> Damage {
        self.joined.clear();
        let (start, what, torn) = match self.lost.take() {
            Some((earlier, first)) => (earlier, first, false),
            None => (start, what, torn),
        };
        Damage { start, end: self.at, what, torn }
    }

    /// What is unfinished at the segment's end.
    fn finish(&mut self) -> Option<Damage> {
        let start = self.began.take();
        if start.is_none() && self.lost.is_none() {
            return None;
        }
        let what = "the last record is cut off".to_owned();
        Some(self.report(start.unwrap_or(self.at), what, true))
    }

    fn deliver(&mut self, complete: Complete) -> Found<'_> {
        let (start, end, kind) = match &complete {
            Complete::Damage(damage) => return Found::Damage(damage.clone()),
            Complete::Whole { start, fragment } => (*start, fragment.data.end, fragment.kind),
            Complete::Joined { start, kind, end } => (*start, *end, *kind),
        };
        let packed: &[u8] = if let Complete::Whole { fragment, .. } = &complete {
            &self.data[fragment.data.clone()]
        } else {
            // Swapped out so that the next record finds an empty buffer.
            std::mem::swap(&mut self.joined, &mut self.packed);
            self.joined.clear();
            &self.packed
        };
        let plain = if kind & SNAPPY != 0 {
            self.decompressor.snappy(packed)
        } else if kind & ZSTD != 0 {
            self.decompressor.zstd(packed)
        } else {
            Ok(packed)
        };
        match plain {
            Ok(bytes) => Found::Record { start, end, bytes },
            Err(what) => Found::Damage(Damage { start, end, what, torn: false }),
        }
    }
}

enum Complete {
    Damage(Damage),
    Whole { start: usize, fragment: Fragment },
    Joined { start: usize, kind: u8, end: usize },
}

enum Problem {
    /// The segment ends within the fragment.
    Torn,
    Checksum {
        what: String,
        next: usize,
    },
    Bad(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::compress::Compressor;
    use proptest::prelude::*;

    fn segment(records: &[(Vec<u8>, bool)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (i, (bytes, compress)) in records.iter().enumerate() {
            let compression = match (compress, i % 2) {
                (false, _) => Compression::None,
                (true, 0) => Compression::Snappy,
                (true, _) => Compression::Zstd,
            };
            let mut packed = Vec::new();
            let compression = Compressor::new(compression).append(&mut bytes.clone(), &mut packed);
            frame(&mut out, 0, Encoded { bytes: &packed, compression });
        }
        out
    }

    fn read(data: &[u8]) -> (Vec<Vec<u8>>, Vec<Damage>) {
        let (mut records, mut damage) = (Vec::new(), Vec::new());
        let mut reader = Reader::new(data);
        while let Some(found) = reader.read_next() {
            match found {
                Found::Record { bytes, .. } => records.push(bytes.to_vec()),
                Found::Damage(d) => damage.push(d),
            }
        }
        (records, damage)
    }

    fn some_records() -> Vec<(Vec<u8>, bool)> {
        (0..40_usize).map(|i| (vec![i as u8 + 1; i * 331 % 9000 + 1], i % 3 == 0)).collect()
    }

    #[test]
    fn damage_costs_only_what_it_hits() {
        let records = some_records();
        let data = segment(&records);
        let all: Vec<_> = records.iter().map(|r| r.0.clone()).collect();
        assert_eq!(read(&data), (all.clone(), Vec::new()));
        let (mut total, mut one_lost) = (0, 0);
        for at in (0..data.len()).step_by(17) {
            let mut bad = data.clone();
            bad[at] ^= 0x41;
            let (found, damage) = read(&bad);
            // Never something that was not written, and the order stays.
            let mut rest = all.iter();
            for record in &found {
                assert!(rest.any(|r| r == record), "byte {at}: an invented record");
            }
            assert!(!damage.is_empty(), "byte {at}: unnoticed");
            one_lost += usize::from(found.len() + 1 >= all.len());
            total += 1;
        }
        // Only damage in a header costs the rest of its page.
        assert!(one_lost * 100 >= total * 97, "{one_lost} of {total}");
    }

    #[test]
    fn a_cut_end_is_torn_and_loses_the_last_record_only() {
        let data = segment(&some_records());
        let mut ends = Vec::new();
        let mut reader = Reader::new(&data);
        while let Some(Found::Record { end, .. }) = reader.read_next() {
            ends.push(end);
        }
        for cut in (0..data.len()).step_by(13) {
            let (found, damage) = read(&data[..cut]);
            assert_eq!(found.len(), ends.iter().filter(|&&e| e <= cut).count());
            assert!(damage.len() <= 1 && damage.iter().all(|d| d.torn && d.end == cut));
        }
    }

    proptest! {
        #[test]
        fn round_trip(records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..70_000), any::<bool>()), 0..8)) {
            let data = segment(&records);
            let (found, damage) = read(&data);
            prop_assert!(damage.is_empty());
            prop_assert_eq!(found, records.into_iter().map(|r| r.0).collect::<Vec<_>>());
        }

        #[test]
        fn reader_never_panics(data in prop::collection::vec(any::<u8>(), 0..70_000)) {
            read(&data);
        }
    }
}
