//! Open chunks of a series that are not in its hot record.

use firesteel_chunk::Encoding;
use firesteel_model::Timestamp;

use super::{
    floats,
    histograms::{self, Made},
    image::ImageError,
    stripe::HistogramSample,
};
use crate::wal::record::Cursor;

/// The open chunk of a series. It has a sample at least.
#[derive(Debug)]
pub(super) enum Open {
    Histograms(Box<histograms::Open>),
    /// Of XOR2.
    Floats(floats::Open),
}

impl Open {
    /// The newest sample, if it is a histogram.
    pub(super) const fn last_histogram(&self) -> Option<&HistogramSample> {
        match self {
            Self::Histograms(open) => Some(open.last()),
            Self::Floats(_) => None,
        }
    }

    /// The newest sample, if it is a float.
    pub(super) const fn last_float(&self) -> Option<(Timestamp, f64)> {
        match self {
            Self::Histograms(_) => None,
            Self::Floats(open) => Some(open.last()),
        }
    }

    /// Times of the first and last sample.
    pub(super) fn range(&self) -> (Timestamp, Timestamp) {
        match self {
            Self::Histograms(open) => open.range(),
            Self::Floats(open) => open.range(),
        }
    }

    pub(super) fn encoding(&self) -> Encoding {
        match self {
            Self::Histograms(open) => open.encoding(),
            Self::Floats(_) => Encoding::Xor2,
        }
    }

    /// The chunk as it stands.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Histograms(open) => open.bytes(),
            Self::Floats(open) => open.bytes(),
        }
    }

    /// A copy of the chunk as it stands.
    pub(super) fn made(&self) -> Made {
        match self {
            Self::Histograms(open) => open.made(),
            Self::Floats(open) => open.made(),
        }
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Histograms(open) => open.memory(),
            Self::Floats(open) => open.memory(),
        }
    }

    /// Writes the chunk, so that [`Open::of_image`] can go on with it.
    pub(super) fn put_image(&self, out: &mut Vec<u8>) {
        out.push(self.encoding().id());
        match self {
            Self::Histograms(open) => open.put_image(out),
            Self::Floats(open) => open.put_image(out),
        }
    }

    /// Reads what [`Open::put_image`] has written.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn of_image(cursor: &mut Cursor<'_>) -> Result<Self, ImageError> {
        let id = cursor.u8("encoding")?;
        let encoding = Encoding::from_id(id).map_err(|e| ImageError::new(e.to_string()))?;
        Ok(match encoding {
            Encoding::Xor2 => Self::Floats(floats::Open::of_image(cursor)?),
            _ => Self::Histograms(Box::new(histograms::Open::of_image(encoding, cursor)?)),
        })
    }
}
