//! Messages, field by field.

use crate::Span;

use super::{WireError, WireProblem, WireType, zigzag};

/// A field's content, undecoded.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// Its number, 1 to 2^29 - 1.
    pub number: u32,
    /// Where its tag is in the outermost message.
    offset: usize,
    /// Where its content ends.
    end: usize,
    payload: Payload<'a>,
}

/// Reads the fields of a message in order. Does not allocate.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Where `rest` begins in the outermost message.
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader of a message.
    #[must_use]
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: message, offset: 0 }
    }

    const fn error(&self, problem: WireProblem) -> WireError {
        WireError { problem, offset: self.offset }
    }

    /// The next field; `None` at the end of the message.
    ///
    /// # Errors
    /// The message is damaged; the reader is then of no more use.
    #[inline]
    pub fn field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number >= 1 << 29 {
            return Err(WireError { problem: WireProblem::FieldNumber, offset });
        }
        let payload = match (tag & 7) as u8 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                let len = usize::try_from(len).map_err(|_| self.error(WireProblem::Truncated))?;
                Payload::Bytes(self.take(len)?)
            }
            5 => Payload::Fixed32(u32::from_le_bytes(self.array()?)),
            kind => return Err(WireError { problem: WireProblem::WireType(kind), offset }),
        };
        Ok(Some(Field { number: number as u32, offset, end: self.offset, payload }))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        // Fast path: most tags, lengths and counts are a single byte.
        if let [first, rest @ ..] = self.rest
            && *first < 0x80
        {
            (self.rest, self.offset) = (rest, self.offset + 1);
            return Ok(u64::from(*first));
        }
        let (value, len) = read_varint(self.rest).map_err(|problem| self.error(problem))?;
        self.rest = &self.rest[len..];
        self.offset += len;
        Ok(value)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let split = self.rest.split_at_checked(len);
        let (taken, rest) = split.ok_or_else(|| self.error(WireProblem::Truncated))?;
        (self.rest, self.offset) = (rest, self.offset + len);
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let split = self.rest.split_first_chunk();
        let (taken, rest) = split.ok_or_else(|| self.error(WireProblem::Truncated))?;
        (self.rest, self.offset) = (rest, self.offset + N);
        Ok(*taken)
    }
}

/// Reads a varint: its value and its length in bytes. `None` if it has no end or more than 64 bits.
#[inline]
#[must_use]
pub fn get_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    read_varint(bytes).ok()
}

/// A varint and its length in bytes.
fn read_varint(bytes: &[u8]) -> Result<(u64, usize), WireProblem> {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        // The tenth byte holds the 64th bit alone.
        if i == 9 && *byte > 1 {
            return Err(WireProblem::VarintOverflow);
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if *byte < 0x80 {
            return Ok((value, i + 1));
        }
    }
    Err(WireProblem::Truncated)
}

/// The values of a packed repeated field; see [`Field::packed`].
#[derive(Clone, Debug)]
pub struct Packed<'a> {
    reader: Reader<'a>,
    /// A single value that was not packed.
    single: Option<u64>,
    kind: WireType,
}

impl Packed<'_> {
    /// The most values that may follow; for allocations, which it keeps below the message's size.
    #[must_use]
    pub fn max_len(&self) -> usize {
        let len = self.reader.rest.len();
        usize::from(self.single.is_some())
            + match self.kind {
                WireType::Fixed64 => len / 8,
                WireType::Fixed32 => len / 4,
                WireType::Varint | WireType::Bytes => len,
            }
    }
}

impl Iterator for Packed<'_> {
    type Item = Result<u64, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(value) = self.single.take() {
            return Some(Ok(value));
        }
        if self.reader.rest.is_empty() {
            return None;
        }
        let value = match self.kind {
            WireType::Fixed64 => self.reader.array().map(u64::from_le_bytes),
            WireType::Fixed32 => self.reader.array().map(|b| u32::from_le_bytes(b).into()),
            WireType::Varint | WireType::Bytes => self.reader.varint(),
        };
        if value.is_err() {
            self.reader.rest = &[];
        }
        Some(value)
    }
}

impl<'a> Field<'a> {
    /// How it is encoded.
    #[must_use]
    pub const fn wire_type(&self) -> WireType {
        match self.payload {
            Payload::Varint(_) => WireType::Varint,
            Payload::Fixed64(_) => WireType::Fixed64,
            Payload::Bytes(_) => WireType::Bytes,
            Payload::Fixed32(_) => WireType::Fixed32,
        }
    }

    const fn unexpected(&self) -> WireError {
        let problem = WireProblem::UnexpectedType(self.wire_type());
        WireError { problem, offset: self.offset }
    }

    /// A `uint64`, `uint32`, `bool` or enum; also `int64` as its bits.
    ///
    /// # Errors
    /// Not a varint.
    #[inline]
    pub const fn varint(&self) -> Result<u64, WireError> {
        match self.payload {
            Payload::Varint(value) => Ok(value),
            _ => Err(self.unexpected()),
        }
    }

    /// An `int64` or `int32`.
    ///
    /// # Errors
    /// Not a varint.
    #[inline]
    pub fn int64(&self) -> Result<i64, WireError> {
        self.varint().map(u64::cast_signed)
    }

    /// A `sint64` or `sint32`.
    ///
    /// # Errors
    /// Not a varint.
    #[inline]
    pub fn sint64(&self) -> Result<i64, WireError> {
        self.varint().map(zigzag)
    }

    /// A `double`.
    ///
    /// # Errors
    /// Not eight bytes.
    #[inline]
    pub const fn double(&self) -> Result<f64, WireError> {
        match self.payload {
            Payload::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(self.unexpected()),
        }
    }

    /// A `fixed64`.
    ///
    /// # Errors
    /// Not eight bytes.
    #[inline]
    pub const fn fixed64(&self) -> Result<u64, WireError> {
        match self.payload {
            Payload::Fixed64(bits) => Ok(bits),
            _ => Err(self.unexpected()),
        }
    }

    /// A `fixed32`, `sfixed32` or `float` as its bits.
    ///
    /// # Errors
    /// Not four bytes.
    #[inline]
    pub const fn fixed32(&self) -> Result<u32, WireError> {
        match self.payload {
            Payload::Fixed32(bits) => Ok(bits),
            _ => Err(self.unexpected()),
        }
    }

    /// A `bytes` field.
    ///
    /// # Errors
    /// Not a length and bytes.
    #[inline]
    pub const fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.payload {
            Payload::Bytes(bytes) => Ok(bytes),
            _ => Err(self.unexpected()),
        }
    }

    /// A `string`.
    ///
    /// # Errors
    /// Not a length and bytes, or not UTF-8.
    #[inline]
    pub fn string(&self) -> Result<&'a str, WireError> {
        let problem = WireProblem::Utf8;
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError { problem, offset: self.offset })
    }

    /// A message within the message. Its errors have offsets in the outermost one.
    ///
    /// # Errors
    /// Not a length and bytes.
    #[inline]
    pub fn message(&self) -> Result<Reader<'a>, WireError> {
        let bytes = self.bytes()?;
        Ok(Reader { rest: bytes, offset: self.end - bytes.len() })
    }

    /// Adds the values of a repeated `sint64` to `out`.
    ///
    /// # Errors
    /// Neither varints nor a length and such.
    pub fn read_sint64s(&self, out: &mut Vec<i64>) -> Result<(), WireError> {
        let packed = self.packed(WireType::Varint)?;
        out.reserve(packed.max_len());
        for value in packed {
            out.push(zigzag(value?));
        }
        Ok(())
    }

    /// Adds the values of a repeated `double` to `out`.
    ///
    /// # Errors
    /// Neither eight bytes nor a length and such.
    pub fn read_doubles(&self, out: &mut Vec<f64>) -> Result<(), WireError> {
        let packed = self.packed(WireType::Fixed64)?;
        out.reserve(packed.max_len());
        for value in packed {
            out.push(f64::from_bits(value?));
        }
        Ok(())
    }

    /// A `BucketSpan`, which is the same message in all of Prometheus' schemas.
    ///
    /// # Errors
    /// It is no message, or one of its fields is no number.
    pub fn span(&self) -> Result<Span, WireError> {
        let mut message = self.message()?;
        let mut span = Span { offset: 0, length: 0 };
        while let Some(field) = message.field()? {
            match field.number {
                1 => span.offset = field.sint64()? as i32,
                2 => span.length = field.varint()? as u32,
                _ => {}
            }
        }
        Ok(span)
    }

    /// The values of a repeated scalar field of which an element is encoded as `kind`: packed, or
    /// the one value that stands here. Doubles and `sint64`s come as bits: see [`zigzag`].
    ///
    /// # Errors
    /// Neither `kind` nor a length and bytes.
    #[inline]
    pub fn packed(&self, kind: WireType) -> Result<Packed<'a>, WireError> {
        let single = match self.payload {
            Payload::Bytes(_) => return Ok(Packed { reader: self.message()?, single: None, kind }),
            Payload::Varint(value) if kind == WireType::Varint => value,
            Payload::Fixed64(value) if kind == WireType::Fixed64 => value,
            Payload::Fixed32(value) if kind == WireType::Fixed32 => value.into(),
            _ => return Err(self.unexpected()),
        };
        Ok(Packed { reader: Reader { rest: &[], offset: self.end }, single: Some(single), kind })
    }
}
