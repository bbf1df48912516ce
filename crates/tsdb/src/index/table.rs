//! The postings offset table: for each label pair, where its postings are.

use std::ops::Range;

use crate::{
    TsdbError,
    decode::Decoder,
    fs::{Source, Window},
};

/// Every how many values of a name the reader remembers one.
const STRIDE: usize = 32;
const BAD_ENTRY: &str = "entry of the postings offset table is cut or malformed";

/// A piece of [`PostingsTable::text`].
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: u32,
    end: u32,
}

#[derive(Debug)]
struct Sample {
    value: Piece,
    /// Offset of the entry from the beginning of the table's entries.
    at: u32,
}

#[derive(Debug)]
struct Name {
    text: Piece,
    /// Where its samples begin and end.
    first: usize,
    end: usize,
    /// Number of values.
    values: usize,
}

/// The table in memory: all names, and every 32nd value of each. An index of version 1 need not
/// be sorted: of it all values are kept.
#[derive(Debug)]
pub(crate) struct PostingsTable {
    text: Vec<u8>,
    names: Vec<Name>,
    samples: Vec<Sample>,
    stride: usize,
    /// Offset of the first entry, and of the end of the last.
    start: u64,
    end: u64,
    /// Offset of the postings of all series.
    all: Option<u64>,
}

struct Entry<'a> {
    name: &'a [u8],
    value: &'a [u8],
    postings: u64,
    len: usize,
}

impl PostingsTable {
    /// Scans the table at `offset` and checks its checksum.
    pub(crate) fn open(source: &Source, offset: u64, version: u8) -> Result<Self, TsdbError> {
        let mut window = Window::default();
        let mut head = Decoder::new(window.get(source, offset, 8)?);
        let (len, count) = (head.u32().unwrap_or_default(), head.u32().unwrap_or_default());
        source.check(offset, u64::from(len) + 8)?;
        let (start, end) = (offset + 8, offset + 4 + u64::from(len));
        let stride = if version == 1 { 1 } else { STRIDE };
        let mut table = Self {
            text: Vec::new(),
            names: Vec::new(),
            samples: Vec::new(),
            stride,
            start,
            end,
            all: None,
        };
        let mut unsorted = Vec::new();
        let mut crc = crc32c::crc32c(&count.to_be_bytes());
        let mut at = start;
        let mut last_value = Vec::new();
        for _ in 0..count {
            let (bytes, entry) = entry_at(source, &mut window, at, end)?;
            crc = crc32c::crc32c_append(crc, bytes);
            let from_start = (at - start) as u32;
            at += entry.len as u64;
            if entry.name.is_empty() {
                table.all = Some(entry.postings);
            } else if version == 1 {
                unsorted.push((entry.name.to_vec(), entry.value.to_vec(), from_start));
            } else if !table.add(entry.name, entry.value, &mut last_value, from_start) {
                return Err(source.corrupt(at, "postings offset table is not sorted"));
            }
        }
        if at != end {
            return Err(source.corrupt(at, format!("postings offset table should end at {end}")));
        }
        if Decoder::new(window.get(source, end, 4)?).u32() != Some(crc) {
            let what = "checksum of the postings offset table does not match";
            return Err(source.corrupt(end, what));
        }
        unsorted.sort_unstable();
        for (name, value, from_start) in unsorted {
            if !table.add(&name, &value, &mut last_value, from_start) {
                return Err(source.corrupt(start, "postings offset table has duplicates"));
            }
        }
        Ok(table)
    }

    /// Adds an entry; false if it does not follow the one before.
    fn add(&mut self, name: &[u8], value: &[u8], last: &mut Vec<u8>, at: u32) -> bool {
        let order = self.names.last().map(|n| self.piece(n.text).cmp(name));
        match order {
            Some(std::cmp::Ordering::Greater) => return false,
            Some(std::cmp::Ordering::Equal) if value <= &last[..] => return false,
            Some(std::cmp::Ordering::Equal) => {}
            Some(std::cmp::Ordering::Less) | None => {
                let text = self.keep(name);
                let first = self.samples.len();
                self.names.push(Name { text, first, end: first, values: 0 });
            }
        }
        last.clear();
        last.extend_from_slice(value);
        let number = self.names.last().map_or(0, |n| n.values);
        if number.is_multiple_of(self.stride) {
            let value = self.keep(value);
            self.samples.push(Sample { value, at });
        }
        if let Some(name) = self.names.last_mut() {
            name.values += 1;
            name.end = self.samples.len();
        }
        true
    }

    fn keep(&mut self, bytes: &[u8]) -> Piece {
        // The table itself is less than 4 GiB long.
        let start = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        Piece { start, end: self.text.len() as u32 }
    }

    fn piece(&self, piece: Piece) -> &[u8] {
        self.text.get(piece.start as usize..piece.end as usize).unwrap_or_default()
    }

    /// Offset of the postings of all series.
    pub(crate) const fn all(&self) -> Option<u64> {
        self.all
    }

    /// The names, sorted, and how many values each has.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.names.iter().map(|n| (self.piece(n.text), n.values))
    }

    /// Number of values of a name.
    pub(crate) fn num_values(&self, name: &str) -> usize {
        self.name(name).map_or(0, |n| n.values)
    }

    fn name(&self, name: &str) -> Option<&Name> {
        let found = self.names.binary_search_by(|n| self.piece(n.text).cmp(name.as_bytes()));
        found.ok().and_then(|i| self.names.get(i))
    }

    /// Offset of the postings of a label pair, `None` where no series has it.
    pub(crate) fn find(
        &self,
        source: &Source,
        window: &mut Window,
        name: &str,
        value: &str,
    ) -> Result<Option<u64>, TsdbError> {
        let mut found = None;
        self.scan(source, window, name, value, &mut |v, postings| {
            if v == value.as_bytes() {
                found = Some(postings);
            }
            Ok(v < value.as_bytes())
        })?;
        Ok(found)
    }

    /// Calls `f` with the values of a name and the offsets of their postings, in order, beginning
    /// at or up to 31 values before `from`, until it returns false.
    pub(crate) fn scan(
        &self,
        source: &Source,
        window: &mut Window,
        name: &str,
        from: &str,
        f: &mut dyn FnMut(&[u8], u64) -> Result<bool, TsdbError>,
    ) -> Result<(), TsdbError> {
        let Some(name) = self.name(name) else { return Ok(()) };
        let samples = self.samples.get(name.first..name.end).unwrap_or_default();
        let after = samples.partition_point(|s| self.piece(s.value) <= from.as_bytes());
        let first = after.saturating_sub(1);
        let mut left = name.values.saturating_sub(first * self.stride);
        for sample in samples.iter().skip(first) {
            let mut at = self.start + u64::from(sample.at);
            for _ in 0..left.min(self.stride) {
                let (_, entry) = entry_at(source, window, at, self.end)?;
                at += entry.len as u64;
                if !f(entry.value, entry.postings)? {
                    return Ok(());
                }
            }
            left = left.saturating_sub(self.stride);
        }
        Ok(())
    }
}

fn entry_at<'a>(
    source: &'a Source,
    window: &'a mut Window,
    at: u64,
    end: u64,
) -> Result<(&'a [u8], Entry<'a>), TsdbError> {
    let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
    let mut want = left.min(256);
    // Twice the length until the entry is whole.
    let shape = loop {
        let bytes = window.upto(source, at, want)?;
        let bytes = bytes.get(..left).unwrap_or(bytes);
        match Shape::parse(bytes) {
            Some(shape) => break shape,
            None if bytes.len() >= left => return Err(source.corrupt(at, BAD_ENTRY)),
            None => want = left.min(bytes.len().max(want) * 2),
        }
    };
    let bytes = window.get(source, at, shape.len)?;
    let bytes = bytes.get(..shape.len).unwrap_or_default();
    let piece = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
    let (name, value) = (piece(&shape.name), piece(&shape.value));
    Ok((bytes, Entry { name, value, postings: shape.postings, len: shape.len }))
}

/// Where the parts of an entry are.
struct Shape {
    name: Range<usize>,
    value: Range<usize>,
    postings: u64,
    len: usize,
}

impl Shape {
    #[inline]
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut entry = Decoder::new(bytes);
        if entry.uvarint()? != 2 {
            return None;
        }
        let name = entry.uvarint_bytes()?.len();
        let name = entry.taken() - name..entry.taken();
        let value = entry.uvarint_bytes()?.len();
        let value = entry.taken() - value..entry.taken();
        let postings = entry.uvarint()?;
        Some(Self { name, value, postings, len: entry.taken() })
    }
}
