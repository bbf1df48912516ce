//! Bare protobuf bytes: a reader over a slice and a writer to a vector.
//!
//! No schema and no generated code: a message is read field by field, its strings and submessages
//! borrowed from the input. Every length is checked against what is there, groups (which
//! Prometheus' messages do not have) are refused, and nothing recurses.
//!
//! ```
//! use firesteel_model::wire::{Reader, Writer};
//!
//! let mut out = Vec::new();
//! let mut writer = Writer::new(&mut out);
//! writer.bytes(1, b"up");
//! writer.double(2, 1.5);
//!
//! let mut reader = Reader::new(&out);
//! while let Some(field) = reader.field()? {
//!     match field.number {
//!         1 => assert_eq!(field.string()?, "up"),
//!         2 => assert_eq!(field.double()?, 1.5),
//!         _ => {} // unknown fields are skipped by not being looked at
//!     }
//! }
//! # Ok::<(), firesteel_model::wire::WireError>(())
//! ```

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;

pub use reader::{Field, Packed, Reader, get_varint};
pub use writer::{Writer, put_varint};

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireProblem {
    /// The message ends within a field.
    Truncated,
    /// A varint has more than 64 bits.
    VarintOverflow,
    /// A field number is 0 or more than 2^29 - 1.
    FieldNumber,
    /// A wire type that is not known, or a group.
    WireType(u8),
    /// A field has another wire type than its number says.
    UnexpectedType(WireType),
    /// A string is not UTF-8.
    Utf8,
}

/// A damaged message: what, and where in the outermost message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireError {
    /// What is wrong.
    pub problem: WireProblem,
    /// Byte offset of the field (or tag) in the slice that the outermost [`Reader`] was given.
    pub offset: usize,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            WireProblem::Truncated => f.write_str("unexpected end of message")?,
            WireProblem::VarintOverflow => f.write_str("varint is longer than 64 bits")?,
            WireProblem::FieldNumber => f.write_str("invalid field number")?,
            WireProblem::WireType(3 | 4) => f.write_str("groups are not supported")?,
            WireProblem::WireType(kind) => write!(f, "unknown wire type {kind}")?,
            WireProblem::UnexpectedType(found) => write!(f, "unexpected wire type {found:?}")?,
            WireProblem::Utf8 => f.write_str("string is not valid UTF-8")?,
        }
        write!(f, " at byte {}", self.offset)
    }
}

impl std::error::Error for WireError {}

/// How a field is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WireType {
    /// Integers and booleans of 7 bits per byte.
    Varint = 0,
    /// Eight bytes, little-endian.
    Fixed64 = 1,
    /// A length and as many bytes.
    Bytes = 2,
    /// Four bytes, little-endian.
    Fixed32 = 5,
}

/// Undoes zigzag coding: 0, 1, 2, 3 mean 0, -1, 1, -2.
#[inline]
#[must_use]
pub const fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Zigzag coding, for small negative numbers.
#[inline]
#[must_use]
pub const fn to_zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}
