//! Writing an index, version 2.

use std::path::Path;

use firesteel_chunk::varint::{put_uvarint, put_varint, uvarint_len};
use hashbrown::HashMap;

use super::{ChunkMeta, HEADER_LEN, MAGIC, SERIES_UNIT, SymbolTable, TOC_LEN};
use crate::{
    TsdbError,
    fs::{AppendWriter, Fs},
};

/// How many series numbers are sorted into postings at a time: 16 MiB of them.
const BATCH: u64 = 4 << 20;

/// Writes an index from front to end. Series come in order of their label sets.
///
/// Besides the symbols it keeps 4 bytes per label of each series, from which the postings are made
/// at the end by counting.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    out: AppendWriter,
    symbols: SymbolTable,
    series_at: u64,
    /// Number of each label pair, by name and value.
    pairs: HashMap<(u32, u32), u32>,
    /// The label pairs of all series, by number, and where each series ends in it.
    labels: Vec<u32>,
    series: Vec<Series>,
    last: Vec<(u32, u32)>,
    last_reference: u64,
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    id: u32,
    labels_end: u64,
}

/// A label pair, how many series have it, and where its postings are.
struct Pair {
    name: u32,
    value: u32,
    number: u32,
    count: u32,
    at: u64,
}

impl IndexWriter {
    /// Begins the file, which must not exist, with the symbols.
    pub(crate) fn create(
        fs: &dyn Fs,
        path: &Path,
        symbols: SymbolTable,
    ) -> Result<Self, TsdbError> {
        let mut out = AppendWriter::create(fs, path)?;
        out.write(&MAGIC.to_be_bytes())?;
        out.write(&[2])?;
        write_symbols(&mut out, &symbols)?;
        Ok(Self {
            series_at: out.position(),
            out,
            symbols,
            pairs: HashMap::new(),
            labels: Vec::new(),
            series: Vec::new(),
            last: Vec::new(),
            last_reference: 0,
            body: Vec::new(),
        })
    }

    /// The symbols that were given.
    pub(crate) const fn symbols(&self) -> &SymbolTable {
        &self.symbols
    }

    /// Bytes that it holds for the postings.
    pub(crate) fn memory(&self) -> u64 {
        let labels = self.labels.capacity() * 4 + self.series.capacity() * 16;
        // Pairs take 13 bytes each in the map, and 24 once they are sorted.
        (labels + self.pairs.capacity() * 13 + self.pairs.len() * 24) as u64
    }

    /// Adds a series: its label pairs as numbers of symbols, in order of the names, and its chunks
    /// in order of time. Nothing is written on an error.
    ///
    /// # Errors
    /// [`TsdbError::Invalid`] where the order of series, labels or chunks is broken.
    pub(crate) fn add_series(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &[ChunkMeta],
    ) -> Result<(), TsdbError> {
        self.check(labels, chunks)?;
        self.out.align(SERIES_UNIT)?;
        let id = u32::try_from(self.out.position() / SERIES_UNIT)
            .map_err(|_| TsdbError::Limit("series of an index take more than 64 GiB".to_owned()))?;
        self.put_entry(labels, chunks)?;
        for &pair in labels {
            let next = self.pairs.len() as u32;
            self.labels.push(*self.pairs.entry(pair).or_insert(next));
        }
        self.series.push(Series { id, labels_end: self.labels.len() as u64 });
        self.last.clear();
        self.last.extend_from_slice(labels);
        if let Some(last) = chunks.last() {
            self.last_reference = last.reference;
        }
        Ok(())
    }

    pub(crate) fn check(
        &self,
        labels: &[(u32, u32)],
        chunks: &[ChunkMeta],
    ) -> Result<(), TsdbError> {
        let bound = self.symbols.len();
        let named = labels.iter().all(|l| l.0 < bound && l.1 < bound);
        if !named || !labels.is_sorted_by(|a, b| a.0 < b.0) {
            let what = "labels of a series are not sorted, or not among the symbols";
            return Err(TsdbError::Invalid(what.to_owned()));
        }
        // Symbols are sorted, so that their numbers compare as they do.
        if !self.series.is_empty() && labels <= &self.last[..] {
            let (this, last) = (self.print(labels), self.print(&self.last));
            return Err(TsdbError::Invalid(format!("series {this} comes after {last}")));
        }
        let mut reference = self.last_reference;
        let mut maxt = None;
        for chunk in chunks {
            let in_order = maxt.is_none_or(|t| chunk.mint > t) && chunk.mint <= chunk.maxt;
            if !in_order || chunk.reference < reference {
                let series = self.print(labels);
                let what = format!("chunks of series {series} overlap or are not in order");
                return Err(TsdbError::Invalid(what));
            }
            (reference, maxt) = (chunk.reference, Some(chunk.maxt));
        }
        Ok(())
    }

    fn print(&self, labels: &[(u32, u32)]) -> String {
        let text = |id| self.symbols.get(id).unwrap_or_default();
        let pairs: Vec<_> =
            labels.iter().map(|l| format!("{}={:?}", text(l.0), text(l.1))).collect();
        format!("{{{}}}", pairs.join(", "))
    }

    fn put_entry(&mut self, labels: &[(u32, u32)], chunks: &[ChunkMeta]) -> Result<(), TsdbError> {
        let body = &mut self.body;
        body.clear();
        put_uvarint(body, labels.len() as u64);
        for &(name, value) in labels {
            put_uvarint(body, name.into());
            put_uvarint(body, value.into());
        }
        put_uvarint(body, chunks.len() as u64);
        let mut last: Option<ChunkMeta> = None;
        for &chunk in chunks {
            match last {
                None => put_varint(body, chunk.mint),
                Some(last) => put_uvarint(body, chunk.mint.wrapping_sub(last.maxt) as u64),
            }
            put_uvarint(body, chunk.maxt.wrapping_sub(chunk.mint) as u64);
            match last {
                None => put_uvarint(body, chunk.reference),
                Some(last) => put_varint(body, chunk.reference.wrapping_sub(last.reference) as i64),
            }
            last = Some(chunk);
        }
        let body = &self.body;
        self.out.with(|buffer| {
            put_uvarint(buffer, body.len() as u64);
            buffer.extend_from_slice(body);
            buffer.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
        })
    }

    /// Writes postings and tables, syncs the file and returns its length.
    pub(crate) fn finish(mut self) -> Result<u64, TsdbError> {
        let series_end = self.out.position();
        let mut pairs = self.sorted_pairs();
        self.out.align(4)?;
        let postings_at = self.out.position();
        let all: Vec<u32> = self.series.iter().map(|s| s.id).collect();
        write_postings(&mut self.out, &all)?;
        let mut at = 0;
        while at < pairs.len() {
            let mut size = 0;
            let rest = pairs.get(at..).unwrap_or_default();
            let fitting = rest.iter().take_while(|p| {
                size += u64::from(p.count);
                size <= BATCH
            });
            let end = at + fitting.count().max(1);
            self.write_batch(pairs.get_mut(at..end).unwrap_or_default())?;
            at = end;
        }
        let table_at = self.out.position();
        self.write_table(&pairs, postings_at)?;
        // Prometheus writes no label indexes any more; readers find the end of the series by them.
        let toc = [HEADER_LEN, self.series_at, series_end, table_at, postings_at, table_at];
        let mut bytes = Vec::with_capacity(TOC_LEN as usize);
        for offset in toc {
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        self.out.write(&bytes)?;
        self.out.finish()
    }

    /// The label pairs in order of their text.
    fn sorted_pairs(&self) -> Vec<Pair> {
        let mut counts = vec![0_u32; self.pairs.len()];
        for &pair in &self.labels {
            if let Some(count) = counts.get_mut(pair as usize) {
                *count += 1;
            }
        }
        let count = |number: u32| counts.get(number as usize).copied().unwrap_or_default();
        let pair = |(&(name, value), &number): (&(u32, u32), &u32)| Pair {
            name,
            value,
            number,
            count: count(number),
            at: 0,
        };
        let mut pairs: Vec<Pair> = self.pairs.iter().map(pair).collect();
        pairs.sort_unstable_by_key(|p| (p.name, p.value));
        pairs
    }

    /// Writes the postings of some pairs: one pass over the labels of all series puts their ids
    /// where the counts say.
    fn write_batch(&mut self, pairs: &mut [Pair]) -> Result<(), TsdbError> {
        const NONE: u32 = u32::MAX;
        let mut next = vec![NONE; self.pairs.len()];
        let mut total = 0_u32;
        for pair in pairs.iter() {
            if let Some(slot) = next.get_mut(pair.number as usize) {
                *slot = total;
            }
            total += pair.count;
        }
        let mut ids = vec![0_u32; total as usize];
        let mut label = 0;
        for series in &self.series {
            let end = series.labels_end as usize;
            for &pair in self.labels.get(label..end).unwrap_or_default() {
                if let Some(slot) = next.get_mut(pair as usize).filter(|s| **s != NONE)
                    && let Some(place) = ids.get_mut(*slot as usize)
                {
                    *place = series.id;
                    *slot += 1;
                }
            }
            label = end;
        }
        let mut rest = &ids[..];
        for pair in pairs {
            let (list, more) = rest.split_at(pair.count as usize);
            rest = more;
            pair.at = self.out.position();
            write_postings(&mut self.out, list)?;
        }
        Ok(())
    }

    fn write_table(&mut self, pairs: &[Pair], all_at: u64) -> Result<(), TsdbError> {
        let mut entry = Vec::new();
        let mut len = 4_u64;
        let put = |entry: &mut Vec<u8>, name: &str, value: &str, at: u64| {
            entry.clear();
            put_uvarint(entry, 2);
            put_uvarint(entry, name.len() as u64);
            entry.extend_from_slice(name.as_bytes());
            put_uvarint(entry, value.len() as u64);
            entry.extend_from_slice(value.as_bytes());
            put_uvarint(entry, at);
        };
        let text = |id: u32| self.symbols.get(id).unwrap_or_default();
        let string = |s: &str| uvarint_len(s.len() as u64) + s.len();
        len += (1 + 2 + uvarint_len(all_at)) as u64;
        for p in pairs {
            len += (1 + string(text(p.name)) + string(text(p.value)) + uvarint_len(p.at)) as u64;
        }
        let too_long =
            |_| TsdbError::Limit("postings offset table is longer than 4 GiB".to_owned());
        let len = u32::try_from(len).map_err(too_long)?;
        let count = (pairs.len() as u32 + 1).to_be_bytes();
        self.out.write(&len.to_be_bytes())?;
        self.out.write(&count)?;
        let mut crc = crc32c::crc32c(&count);
        put(&mut entry, "", "", all_at);
        crc = crc32c::crc32c_append(crc, &entry);
        self.out.write(&entry)?;
        for pair in pairs {
            put(&mut entry, text(pair.name), text(pair.value), pair.at);
            crc = crc32c::crc32c_append(crc, &entry);
            self.out.write(&entry)?;
        }
        self.out.write(&crc.to_be_bytes())
    }
}

fn write_symbols(out: &mut AppendWriter, symbols: &SymbolTable) -> Result<(), TsdbError> {
    let string = |s: &str| (uvarint_len(s.len() as u64) + s.len()) as u64;
    let len = 4 + symbols.iter().map(string).sum::<u64>();
    let too_long = |_| TsdbError::Limit("symbols of a block take more than 4 GiB".to_owned());
    let len = u32::try_from(len).map_err(too_long)?;
    let count = symbols.len().to_be_bytes();
    out.write(&len.to_be_bytes())?;
    out.write(&count)?;
    let mut crc = crc32c::crc32c(&count);
    let mut entry = Vec::new();
    for symbol in symbols.iter() {
        entry.clear();
        put_uvarint(&mut entry, symbol.len() as u64);
        entry.extend_from_slice(symbol.as_bytes());
        crc = crc32c::crc32c_append(crc, &entry);
        out.write(&entry)?;
    }
    out.write(&crc.to_be_bytes())
}

fn write_postings(out: &mut AppendWriter, ids: &[u32]) -> Result<(), TsdbError> {
    let too_long = |_| TsdbError::Limit("a label pair has more than a billion series".to_owned());
    let len = u32::try_from(4 + 4 * ids.len() as u64).map_err(too_long)?;
    let count = (ids.len() as u32).to_be_bytes();
    let mut bytes = Vec::with_capacity(ids.len() * 4 + 12);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(&count);
    bytes.extend(ids.iter().flat_map(|id| id.to_be_bytes()));
    let crc = crc32c::crc32c(bytes.get(4..).unwrap_or_default());
    bytes.extend_from_slice(&crc.to_be_bytes());
    out.write(&bytes)
}
