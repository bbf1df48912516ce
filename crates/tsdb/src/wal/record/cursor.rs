//! A bounded cursor over a record.

use std::fmt;

use firesteel_chunk::varint;

/// A record that does not decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Where in the record, in bytes from its type byte.
    pub offset: usize,
    /// What was expected there.
    pub what: String,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record, byte {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for RecordError {}

/// Reads a record from the front.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(record: &'a [u8]) -> Self {
        Self { rest: record, total: record.len() }
    }

    /// A cursor behind the type byte, which must be one of `kinds`.
    pub(crate) fn record(record: &'a [u8], kinds: &[u8]) -> Result<(u8, Self), RecordError> {
        let mut cursor = Self::new(record);
        let kind = cursor.u8("record type")?;
        if kinds.contains(&kind) {
            return Ok((kind, cursor));
        }
        let what = format!("record type {kind}, expected one of {kinds:?}");
        Err(RecordError { offset: 0, what })
    }

    #[cold]
    pub(crate) fn error(&self, what: impl Into<String>) -> RecordError {
        RecordError { offset: self.total - self.rest.len(), what: what.into() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn len(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(crate) fn bytes(&mut self, n: usize, what: &str) -> Result<&'a [u8], RecordError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(n) else {
            return Err(self.error(format!("{what}: {n} bytes expected, {} left", self.len())));
        };
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], RecordError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.error(format!("{what}: {N} bytes expected, {} left", self.len())));
        };
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    pub(crate) fn u8(&mut self, what: &str) -> Result<u8, RecordError> {
        Ok(self.array::<1>(what)?[0])
    }

    #[inline]
    pub(crate) fn u64(&mut self, what: &str) -> Result<u64, RecordError> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    #[inline]
    pub(crate) fn f64(&mut self, what: &str) -> Result<f64, RecordError> {
        Ok(f64::from_bits(self.u64(what)?))
    }

    #[inline]
    pub(crate) fn uvarint(&mut self, what: &str) -> Result<u64, RecordError> {
        let Some((x, n)) = varint::uvarint(self.rest) else {
            return Err(self.error(format!("{what}: bad variable-length integer")));
        };
        self.rest = &self.rest[n..];
        Ok(x)
    }

    #[inline]
    pub(crate) fn varint(&mut self, what: &str) -> Result<i64, RecordError> {
        Ok(varint::unzigzag(self.uvarint(what)?))
    }

    /// A count of things of at least `size` bytes each, checked against what is left, so that
    /// memory can be taken for them.
    pub(crate) fn count(&mut self, size: usize, what: &str) -> Result<usize, RecordError> {
        let n = self.uvarint(what)?;
        match usize::try_from(n) {
            Ok(count) if count.saturating_mul(size) <= self.len() => Ok(count),
            _ => Err(self.error(format!("{what}: {n} cannot fit in {} bytes", self.len()))),
        }
    }

    /// A string, its length before it.
    pub(crate) fn str(&mut self, what: &str) -> Result<&'a str, RecordError> {
        let n = self.count(1, what)?;
        let at = self.clone();
        let bytes = self.bytes(n, what)?;
        std::str::from_utf8(bytes).map_err(|_| at.error(format!("{what}: not UTF-8")))
    }

    /// Label pairs, their number before them, appended to `out`.
    pub(crate) fn labels(&mut self, out: &mut Vec<(&'a str, &'a str)>) -> Result<(), RecordError> {
        let n = self.count(2, "number of labels")?;
        out.reserve(n);
        for _ in 0..n {
            out.push((self.str("label name")?, self.str("label value")?));
        }
        Ok(())
    }
}

/// Appends a string, its length before it.
pub(super) fn put_str(out: &mut Vec<u8>, s: &str) {
    varint::put_uvarint(out, s.len() as u64);
    out.extend_from_slice(s.as_bytes());
}

/// Appends label pairs, their number before them.
pub(super) fn put_labels<'s>(
    out: &mut Vec<u8>,
    labels: impl Iterator<Item = (&'s str, &'s str)> + Clone,
) {
    varint::put_uvarint(out, labels.clone().count() as u64);
    for (name, value) in labels {
        put_str(out, name);
        put_str(out, value);
    }
}
