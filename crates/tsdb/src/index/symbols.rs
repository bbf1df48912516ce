//! The symbol table: every string of an index, sorted, each with a number.

use parking_lot::Mutex;

use crate::{
    TsdbError,
    decode::Decoder,
    fs::{Source, Window},
};

/// Every how many symbols the reader remembers an offset. Prometheus' figure: a look-up skips 16
/// strings on average.
const STRIDE: u32 = 32;
/// The longest symbol, in bytes; what the label encoding allows.
const MAX_SYMBOL: usize = 1 << 24;
const TOO_LONG: &str = "symbol does not fit the symbol table, or is longer than 16 MiB";

/// Reads the symbol table of an index.
#[derive(Debug)]
pub(crate) struct Symbols {
    /// In version 1 a symbol's number is its offset in the file.
    by_offset: bool,
    count: u32,
    /// Offset of the first symbol, and of the end of the last.
    start: u64,
    end: u64,
    /// Offset of every [`STRIDE`]th symbol.
    samples: Vec<u32>,
    /// For callers that have none of their own.
    window: Mutex<Window>,
}

impl Symbols {
    /// Scans the table at `offset` and checks its checksum.
    pub(crate) fn open(source: &Source, offset: u64, version: u8) -> Result<Self, TsdbError> {
        let mut window = Window::default();
        let mut head = Decoder::new(window.get(source, offset, 8)?);
        let (len, count) = (head.u32().unwrap_or_default(), head.u32().unwrap_or_default());
        let end = offset + 4 + u64::from(len);
        source.check(offset, u64::from(len) + 8)?;
        // Even an empty symbol takes a byte.
        if u64::from(count) + 4 > u64::from(len) {
            return Err(source.corrupt(offset, format!("{count} symbols in {len} bytes")));
        }
        let by_offset = version == 1;
        let start = offset + 8;
        let mut samples = Vec::new();
        let mut crc = crc32c::crc32c(&count.to_be_bytes());
        let mut at = start;
        for i in 0..count {
            if !by_offset && i % STRIDE == 0 {
                let from_start = u32::try_from(at - start).unwrap_or(u32::MAX);
                samples.push(from_start);
            }
            let taken = {
                let bytes = symbol_at(source, &mut window, at, end)?;
                crc = crc32c::crc32c_append(crc, bytes);
                bytes.len()
            };
            at += taken as u64;
        }
        if at != end {
            return Err(source.corrupt(at, format!("symbol table should end at {end}")));
        }
        let stored = Decoder::new(window.get(source, end, 4)?).u32();
        if stored != Some(crc) {
            return Err(source.corrupt(end, "checksum of the symbol table does not match"));
        }
        Ok(Self { by_offset, count, start, end, samples, window: Mutex::default() })
    }

    /// All numbers of symbols are below this.
    pub(crate) fn bound(&self) -> u32 {
        if self.by_offset { u32::try_from(self.end).unwrap_or(u32::MAX) } else { self.count }
    }

    /// Goes over all symbols in the order of the file.
    pub(crate) fn scan<'a>(&'a self, source: &'a Source) -> SymbolScan<'a> {
        SymbolScan {
            symbols: self,
            source,
            window: Window::default(),
            at: self.start,
            next: 0,
            id: 0,
            text: String::new(),
        }
    }

    /// Number of symbols.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Calls `f` with the text of each symbol, in the order of `ids`.
    pub(crate) fn resolve(
        &self,
        source: &Source,
        ids: &[u32],
        f: &mut dyn FnMut(usize, &str),
    ) -> Result<(), TsdbError> {
        let mut own = Window::default();
        let mut shared = self.window.try_lock();
        let window = shared.as_deref_mut().unwrap_or(&mut own);
        for (i, &id) in ids.iter().enumerate() {
            let at = self.find(source, window, id)?;
            let bytes = symbol_at(source, window, at, self.end)?;
            let text = Decoder::new(bytes).uvarint_bytes().unwrap_or_default();
            let text =
                std::str::from_utf8(text).map_err(|_| source.corrupt(at, "symbol is not UTF-8"))?;
            f(i, text);
        }
        Ok(())
    }

    /// Offset of a symbol.
    fn find(&self, source: &Source, window: &mut Window, id: u32) -> Result<u64, TsdbError> {
        if self.by_offset {
            let at = u64::from(id);
            if at < self.start || at >= self.end {
                return Err(source.corrupt(self.start, format!("no symbol at offset {id}")));
            }
            return Ok(at);
        }
        let sample = self.samples.get((id / STRIDE) as usize).filter(|_| id < self.count);
        let Some(&sample) = sample else {
            let count = self.count;
            return Err(source.corrupt(self.start, format!("no symbol {id}, there are {count}")));
        };
        let mut at = self.start + u64::from(sample);
        for _ in 0..id % STRIDE {
            at += symbol_at(source, window, at, self.end)?.len() as u64;
        }
        Ok(at)
    }
}

/// A pass over all symbols of an index, which holds one of them at a time.
#[derive(Debug)]
pub(crate) struct SymbolScan<'a> {
    symbols: &'a Symbols,
    source: &'a Source,
    window: Window,
    at: u64,
    next: u32,
    id: u32,
    text: String,
}

impl SymbolScan<'_> {
    /// Goes to the next symbol. False at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, TsdbError> {
        if self.next == self.symbols.count {
            return Ok(false);
        }
        let (source, at) = (self.source, self.at);
        let bytes = symbol_at(source, &mut self.window, at, self.symbols.end)?;
        let text = Decoder::new(bytes).uvarint_bytes().unwrap_or_default();
        let text =
            std::str::from_utf8(text).map_err(|_| source.corrupt(at, "symbol is not UTF-8"))?;
        self.text.clear();
        self.text.push_str(text);
        self.id = if self.symbols.by_offset {
            u32::try_from(at).map_err(|_| source.corrupt(at, "symbol beyond 4 GiB"))?
        } else {
            self.next
        };
        self.at += bytes.len() as u64;
        self.next += 1;
        Ok(true)
    }

    /// Number of the current symbol.
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    /// Text of the current symbol.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// The bytes of the symbol at `at`, its length in front included.
fn symbol_at<'a>(
    source: &'a Source,
    window: &'a mut Window,
    at: u64,
    end: u64,
) -> Result<&'a [u8], TsdbError> {
    let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
    let mut head = Decoder::new(window.upto(source, at, left.min(10))?);
    let len = head.uvarint().and_then(|n| usize::try_from(n).ok()).filter(|n| *n < MAX_SYMBOL);
    let total = len.map(|n| n + head.taken()).filter(|n| *n <= left);
    let total = total.ok_or_else(|| source.corrupt(at, TOO_LONG))?;
    let bytes = window.get(source, at, total)?;
    Ok(bytes.get(..total).unwrap_or_default())
}

/// The symbols of an index to be written: sorted strings in one piece of memory. A symbol's number
/// is its place in the order.
#[derive(Debug, Default)]
pub struct SymbolTable {
    text: String,
    /// `ends[id]` is where its text ends.
    ends: Vec<u32>,
}

impl SymbolTable {
    /// Collects strings that must come sorted bytewise, without duplicates.
    ///
    /// # Errors
    /// They do not, or they take more than 4 GiB, or one more than 16 MiB.
    pub fn new<'a>(strings: impl IntoIterator<Item = &'a str>) -> Result<Self, TsdbError> {
        let mut table = Self::default();
        for string in strings {
            table.push(string)?;
        }
        Ok(table)
    }

    /// Adds a string that comes after all others bytewise.
    ///
    /// # Errors
    /// As [`SymbolTable::new`].
    pub(crate) fn push(&mut self, string: &str) -> Result<(), TsdbError> {
        if let Some(last) = self.len().checked_sub(1)
            && self.get(last).is_some_and(|last| last >= string)
        {
            return Err(TsdbError::Invalid(format!("symbol {string:?} is out of order")));
        }
        if string.len() >= MAX_SYMBOL {
            return Err(TsdbError::Limit("a symbol is longer than 16 MiB".to_owned()));
        }
        let too_many = |_| TsdbError::Limit("symbols of a block take more than 4 GiB".to_owned());
        let end = u32::try_from(self.text.len() + string.len()).map_err(too_many)?;
        self.text.push_str(string);
        self.ends.push(end);
        Ok(())
    }

    /// Number of symbols.
    #[must_use]
    pub fn len(&self) -> u32 {
        // Each but one takes a byte of text, of which there are less than 4 GiB.
        self.ends.len() as u32
    }

    /// The text of a symbol.
    #[inline]
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&str> {
        let end = *self.ends.get(id as usize)? as usize;
        let start = match id.checked_sub(1) {
            Some(before) => *self.ends.get(before as usize)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// The number of a string; O(log symbols).
    #[must_use]
    pub fn find(&self, text: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)?.cmp(text) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.text.capacity() + 4 * self.ends.capacity()) as u64
    }

    /// All symbols in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|id| self.get(id))
    }
}
