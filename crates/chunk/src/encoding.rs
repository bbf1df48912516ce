//! The ids of the chunk encodings.

use std::fmt;

use crate::ChunkError;

/// How a chunk is encoded. The ids stand in chunk files; source: Prometheus
/// `tsdb/chunkenc/chunk.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Floats, as the Gorilla paper describes, see [`crate::xor`].
    Xor = 1,
    /// Native histograms with integer counts.
    Histogram = 2,
    /// Native histograms with float counts.
    FloatHistogram = 3,
    /// Floats with start timestamps and a joint code for time and value.
    Xor2 = 4,
    /// Native histograms with integer counts and start timestamps.
    HistogramSt = 5,
    /// Native histograms with float counts and start timestamps.
    FloatHistogramSt = 6,
}

impl Encoding {
    /// The encoding with this id.
    ///
    /// # Errors
    /// There is none.
    pub const fn from_id(id: u8) -> Result<Self, ChunkError> {
        Ok(match id {
            1 => Self::Xor,
            2 => Self::Histogram,
            3 => Self::FloatHistogram,
            4 => Self::Xor2,
            5 => Self::HistogramSt,
            6 => Self::FloatHistogramSt,
            _ => return Err(ChunkError::UnknownEncoding { id }),
        })
    }

    /// Its id.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Whether its samples are floats rather than histograms.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Xor | Self::Xor2)
    }

    /// The number of samples in the header of a chunk; `None` where it is too short.
    #[must_use]
    pub fn num_samples(self, chunk: &[u8]) -> Option<usize> {
        let n = u16::from_be_bytes(*chunk.first_chunk::<2>()?);
        Some(match self {
            // The two highest bits hold the counter-reset header.
            Self::HistogramSt | Self::FloatHistogramSt => usize::from(n & 0x3fff),
            _ => usize::from(n),
        })
    }
}

/// The name that Prometheus prints.
impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xor => "XOR",
            Self::Histogram => "histogram",
            Self::FloatHistogram => "floathistogram",
            Self::Xor2 => "XOR2",
            Self::HistogramSt => "histogramST",
            Self::FloatHistogramSt => "floathistogramST",
        })
    }
}
