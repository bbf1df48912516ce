//! What can be wrong with a chunk.

use std::fmt;

/// A chunk that cannot be read, or a sample that does not fit into one. Offsets are in bits from
/// the beginning of the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkError {
    /// The chunk ends in the middle of a sample.
    Truncated {
        /// Where the sample that is cut begins.
        bit: usize,
        /// Its number, from 0.
        sample: usize,
    },
    /// The chunk is shorter than its header says it must at least be.
    Short {
        /// Its length in bytes.
        len: usize,
        /// The number of samples in its header.
        samples: usize,
    },
    /// A variable-length integer that does not fit 64 bits.
    BadVarint {
        /// Where it begins.
        bit: usize,
    },
    /// A value window whose leading zeros and significant bits are more than 64 together.
    BadWindow {
        /// Where the sample begins.
        bit: usize,
        /// Leading zeros.
        leading: u32,
        /// Significant bits.
        significant: u32,
    },
    /// A histogram layout that cannot be: an unknown schema, or more buckets than the chunk can
    /// hold.
    BadLayout {
        /// Where it begins.
        bit: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Not the id of an encoding.
    UnknownEncoding {
        /// The id.
        id: u8,
    },
    /// An encoding that the called function does not handle.
    WrongEncoding {
        /// The id.
        id: u8,
    },
    /// A sample that is not stale cannot follow a stale one in a chunk of histograms; begin another.
    AfterStale,
    /// The chunk holds as many samples as its header can count.
    TooManySamples,
    /// The buffer has too little room for another sample.
    NoRoom,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { bit, sample } => {
                write!(f, "chunk ends within sample {sample}, which begins at bit {bit}")
            }
            Self::Short { len, samples } => {
                write!(f, "chunk of {len} bytes cannot hold the {samples} samples of its header")
            }
            Self::BadVarint { bit } => {
                write!(f, "variable-length integer at bit {bit} does not fit 64 bits")
            }
            Self::BadWindow { bit, leading, significant } => write!(
                f,
                "sample at bit {bit}: {leading} leading zeros and {significant} significant bits \
                 are more than 64"
            ),
            Self::BadLayout { bit, what } => write!(f, "histogram layout at bit {bit}: {what}"),
            Self::UnknownEncoding { id } => write!(f, "unknown chunk encoding {id}"),
            Self::WrongEncoding { id } => write!(f, "chunk encoding {id} does not hold this kind"),
            Self::AfterStale => f.write_str("no histogram can follow a stale one in its chunk"),
            Self::TooManySamples => f.write_str("chunk holds as many samples as it can count"),
            Self::NoRoom => f.write_str("chunk buffer has no room for another sample"),
        }
    }
}

impl std::error::Error for ChunkError {}
