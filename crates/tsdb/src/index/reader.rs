//! Reading an index.

use std::{ops::Range, path::Path};

use super::{ChunkMeta, HEADER_LEN, MAGIC, SERIES_UNIT, Symbols, TOC_LEN, table::PostingsTable};
use crate::{
    TsdbError,
    decode::Decoder,
    fs::{Fs, Source, Window},
};

/// The longest entry of a series that is read: some six million chunks.
const MAX_ENTRY: u64 = 64 << 20;

/// An open index. In memory it keeps one symbol of 32, the label names and one value of 32; the
/// rest is read where it is needed.
#[derive(Debug)]
pub(crate) struct IndexReader {
    source: Source,
    version: u8,
    symbols: Symbols,
    table: PostingsTable,
    /// Where the series begin and what follows them.
    series: (u64, u64),
}

impl IndexReader {
    /// Opens an index; checks symbols and postings offset table. Series and postings are checked
    /// when they are read.
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> Result<Self, TsdbError> {
        let source = Source::open(fs, path)?;
        let (version, toc) = Self::read_ends(&source)?;
        let symbols = Symbols::open(&source, toc.symbols, version)?;
        let table = PostingsTable::open(&source, toc.postings_table, version)?;
        let sections = [toc.label_indices, toc.postings, toc.postings_table];
        let end = sections.into_iter().filter(|at| *at >= toc.series && *at != 0).min();
        let series = (toc.series, end.unwrap_or(source.len()));
        Ok(Self { source, version, symbols, table, series })
    }

    /// Checks magic number, version and table of contents.
    pub(crate) fn probe(fs: &dyn Fs, path: &Path) -> Result<(), TsdbError> {
        Self::read_ends(&Source::open(fs, path)?).map(|_| ())
    }

    fn read_ends(source: &Source) -> Result<(u8, Toc), TsdbError> {
        let mut window = Window::default();
        let mut head = Decoder::new(window.get(source, 0, HEADER_LEN as usize)?);
        if head.u32() != Some(MAGIC) {
            return Err(source.corrupt(0, "not an index: wrong magic number"));
        }
        let version = head.bytes(1).and_then(|b| b.first().copied()).unwrap_or_default();
        if !(1..=3).contains(&version) {
            return Err(source.corrupt(4, format!("unknown index version {version}")));
        }
        Ok((version, Toc::read(source, &mut window)?))
    }

    /// The file.
    pub(crate) const fn source(&self) -> &Source {
        &self.source
    }

    /// Its symbols.
    pub(crate) const fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Whether `test` holds for the text of a symbol.
    pub(crate) fn symbol_is(
        &self,
        symbol: u32,
        test: &dyn Fn(&str) -> bool,
    ) -> Result<bool, TsdbError> {
        let mut holds = false;
        self.symbols.resolve(&self.source, &[symbol], &mut |_, text| holds = test(text))?;
        Ok(holds)
    }

    /// Its postings offset table.
    pub(crate) const fn table(&self) -> &PostingsTable {
        &self.table
    }

    /// Reads the entry of a series.
    ///
    /// A posting that names no series is damage: a block never changes.
    pub(crate) fn series<'a>(
        &'a self,
        window: &'a mut Window,
        id: u32,
    ) -> Result<SeriesEntry<'a>, TsdbError> {
        let at = u64::from(id) * self.unit();
        let (start, end) = self.series;
        if at < start || at >= end {
            return Err(self.source.corrupt(at, format!("no series here, they end at {end}")));
        }
        let source = &self.source;
        let too_long = || source.corrupt(at, "series entry is too long for the series section");
        let mut head = Decoder::new(window.upto(source, at, 10)?);
        let len = head.uvarint().filter(|n| *n < (end - at).min(MAX_ENTRY)).ok_or_else(too_long)?;
        let (head, len) = (head.taken(), len as usize);
        let bytes = window.get(source, at, head + len + 4)?;
        let mut entry = Decoder::new(bytes.get(head..).unwrap_or_default());
        let body = entry.bytes(len).unwrap_or_default();
        if entry.u32() != Some(crc32c::crc32c(body)) {
            return Err(source.corrupt(at, "checksum of the series entry does not match"));
        }
        Ok(SeriesEntry { source, at, body })
    }

    /// In this range are the numbers of all series.
    pub(crate) fn series_bounds(&self) -> Range<u32> {
        let number = |at: u64| u32::try_from(at / self.unit()).unwrap_or(u32::MAX);
        number(self.series.0)..number(self.series.1).saturating_add(1)
    }

    const fn unit(&self) -> u64 {
        if self.version == 1 { 1 } else { SERIES_UNIT }
    }

    /// How many postings there are at an offset.
    pub(crate) fn postings_len(&self, window: &mut Window, at: u64) -> Result<u32, TsdbError> {
        let source = &self.source;
        let mut head = Decoder::new(window.get(source, at, 8)?);
        let (len, count) = (head.u32().unwrap_or_default(), head.u32().unwrap_or_default());
        if u64::from(len) != 4 + 4 * u64::from(count) {
            return Err(source.corrupt(at, format!("{count} postings in {len} bytes")));
        }
        source.check(at, u64::from(len) + 8)?;
        Ok(count)
    }

    /// Replaces `out` with the postings at an offset.
    pub(crate) fn postings(
        &self,
        window: &mut Window,
        at: u64,
        out: &mut Vec<u32>,
    ) -> Result<(), TsdbError> {
        out.clear();
        let source = &self.source;
        let len = 4 + 4 * self.postings_len(window, at)? as usize;
        let mut list = Decoder::new(window.get(source, at.saturating_add(4), len + 4)?);
        let body = list.bytes(len).unwrap_or_default();
        if list.u32() != Some(crc32c::crc32c(body)) {
            return Err(source.corrupt(at, "checksum of the postings does not match"));
        }
        let (ids, _) = body.get(4..).unwrap_or_default().as_chunks::<4>();
        out.extend(ids.iter().map(|b| u32::from_be_bytes(*b)));
        if !out.is_sorted_by(|a, b| a < b) {
            out.clear();
            return Err(source.corrupt(at, "postings are not ascending"));
        }
        Ok(())
    }
}

/// A series as the index has it.
#[derive(Clone, Debug)]
pub(crate) struct SeriesEntry<'a> {
    source: &'a Source,
    at: u64,
    body: &'a [u8],
}

impl<'a> SeriesEntry<'a> {
    fn cut(&self) -> TsdbError {
        self.source.corrupt(self.at, "series entry is cut or malformed")
    }

    /// Appends its label pairs as numbers of symbols, in order of the names; what follows are its
    /// chunks.
    pub(crate) fn labels(&self, out: &mut Vec<(u32, u32)>) -> Result<Chunks<'a>, TsdbError> {
        let mut body = Decoder::new(self.body);
        let count = body.uvarint().ok_or_else(|| self.cut())?;
        for _ in 0..count {
            let pair = body.uvarint32().zip(body.uvarint32());
            out.push(pair.ok_or_else(|| self.cut())?);
        }
        self.chunks_of(body)
    }

    /// Its chunks, in order of time.
    pub(crate) fn chunks(&self) -> Result<Chunks<'a>, TsdbError> {
        let mut body = Decoder::new(self.body);
        let count = body.uvarint().ok_or_else(|| self.cut())?;
        body.skip_uvarints(count.saturating_mul(2)).ok_or_else(|| self.cut())?;
        self.chunks_of(body)
    }

    fn chunks_of(&self, mut body: Decoder<'a>) -> Result<Chunks<'a>, TsdbError> {
        let left = body.uvarint().ok_or_else(|| self.cut())?;
        Ok(Chunks { source: self.source, at: self.at, body, left, last: None })
    }
}

/// The chunks of a series.
#[derive(Debug)]
pub(crate) struct Chunks<'a> {
    source: &'a Source,
    at: u64,
    body: Decoder<'a>,
    left: u64,
    last: Option<ChunkMeta>,
}

impl Chunks<'_> {
    fn take(&mut self) -> Option<ChunkMeta> {
        let body = &mut self.body;
        // Sums wrap as they do in Prometheus, whatever the bytes are.
        let (mint, before) = match self.last {
            None => (body.varint()?, None),
            Some(last) => (last.maxt.wrapping_add(body.uvarint()? as i64), Some(last.reference)),
        };
        let maxt = mint.wrapping_add(body.uvarint()? as i64);
        let reference = match before {
            None => body.uvarint()?,
            Some(before) => before.wrapping_add_signed(body.varint()?),
        };
        Some(ChunkMeta { mint, maxt, reference })
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<ChunkMeta, TsdbError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.last = self.take();
        if self.last.is_none() {
            self.left = 0;
            return Some(Err(self.source.corrupt(self.at, "chunks of the series entry are cut")));
        }
        self.last.map(Ok)
    }
}

/// The table of contents: offsets of the sections, 0 for those that are not there.
struct Toc {
    symbols: u64,
    series: u64,
    label_indices: u64,
    postings: u64,
    postings_table: u64,
}

impl Toc {
    fn read(source: &Source, window: &mut Window) -> Result<Self, TsdbError> {
        let at = source.len().saturating_sub(TOC_LEN);
        let mut toc = Decoder::new(window.get(source, at, TOC_LEN as usize)?);
        let body = toc.bytes(TOC_LEN as usize - 4).unwrap_or_default();
        if toc.u32() != Some(crc32c::crc32c(body)) {
            return Err(source.corrupt(at, "checksum of the table of contents does not match"));
        }
        let mut body = Decoder::new(body);
        let mut offset = || body.u64().unwrap_or_default();
        let (symbols, series, label_indices) = (offset(), offset(), offset());
        let (_label_table, postings, postings_table) = (offset(), offset(), offset());
        Ok(Self { symbols, series, label_indices, postings, postings_table })
    }
}
