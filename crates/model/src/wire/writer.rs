//! Fields, appended.

use super::{WireType, to_zigzag};

/// Appends fields to a vector. Writes what it is given, zeros too: leaving out defaults is for the
/// caller.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Writer<'o> {
    /// A writer that appends to `out`.
    pub const fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out }
    }

    fn tag(&mut self, number: u32, kind: WireType) {
        debug_assert!((1..1 << 29).contains(&number), "field numbers are 1 to 2^29 - 1");
        put_varint(self.out, u64::from(number) << 3 | kind as u64);
    }

    /// A `uint64`, `uint32`, `bool` or enum; `int64` as its bits.
    pub fn varint(&mut self, number: u32, value: u64) {
        self.tag(number, WireType::Varint);
        put_varint(self.out, value);
    }

    /// An `int64` or `int32`.
    pub fn int64(&mut self, number: u32, value: i64) {
        self.varint(number, value.cast_unsigned());
    }

    /// A `sint64` or `sint32`.
    pub fn sint64(&mut self, number: u32, value: i64) {
        self.varint(number, to_zigzag(value));
    }

    /// A `double`.
    pub fn double(&mut self, number: u32, value: f64) {
        self.fixed64(number, value.to_bits());
    }

    /// A `fixed64`.
    pub fn fixed64(&mut self, number: u32, value: u64) {
        self.tag(number, WireType::Fixed64);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A `fixed32`.
    pub fn fixed32(&mut self, number: u32, value: u32) {
        self.tag(number, WireType::Fixed32);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A `bytes` or `string` field.
    pub fn bytes(&mut self, number: u32, value: &[u8]) {
        self.tag(number, WireType::Bytes);
        put_varint(self.out, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// A message within the message, or packed values: what `write` appends. Moves the content by
    /// a few bytes if it is 128 bytes or longer.
    pub fn message(&mut self, number: u32, write: impl FnOnce(&mut Writer<'_>)) {
        self.tag(number, WireType::Bytes);
        let start = self.out.len();
        self.out.push(0);
        write(&mut Writer { out: &mut *self.out });
        let len = (self.out.len() - start - 1) as u64;
        if let (Ok(short @ ..0x80), Some(place)) = (u8::try_from(len), self.out.get_mut(start)) {
            *place = short;
            return;
        }
        let mut prefix = Vec::with_capacity(10);
        put_varint(&mut prefix, len);
        self.out.splice(start..=start, prefix);
    }

    /// Packed varints; nothing for no values.
    pub fn packed_varints(&mut self, number: u32, values: impl IntoIterator<Item = u64>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.message(number, |w| values.for_each(|value| put_varint(w.out, value)));
        }
    }

    /// Packed doubles; nothing for no values.
    pub fn packed_doubles(&mut self, number: u32, values: &[f64]) {
        if !values.is_empty() {
            self.tag(number, WireType::Bytes);
            put_varint(self.out, values.len() as u64 * 8);
            self.out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
    }
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
