//! The body of an answer: pieces of memory that are given back as they are sent.

use std::{
    collections::VecDeque,
    io::Write as _,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Bytes;
use firesteel_model::budget::Reservation;
use http_body::{Frame, SizeHint};

/// A body in pieces, and the reservation of their memory.
#[derive(Debug, Default)]
pub(crate) struct Payload {
    pub(crate) pieces: VecDeque<Bytes>,
    pub(crate) reserved: Option<Reservation>,
}

impl Payload {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes of all pieces.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Compresses piece by piece; what is compressed is given back at once.
    pub(crate) fn gzip(mut self) -> std::io::Result<Self> {
        let (mut pieces, piece) = (VecDeque::new(), 1 << 16);
        let mut encoder =
            flate2::write::GzEncoder::new(Vec::with_capacity(piece), flate2::Compression::fast());
        while let Some(next) = self.take() {
            encoder.write_all(&next)?;
            if encoder.get_ref().len() >= piece {
                pieces.push_back(std::mem::take(encoder.get_mut()).into());
            }
        }
        pieces.push_back(encoder.finish()?.into());
        Ok(Self { pieces, reserved: self.reserved })
    }

    fn take(&mut self) -> Option<Bytes> {
        let next = self.pieces.pop_front()?;
        if let Some(reserved) = &mut self.reserved {
            reserved.shrink(next.len() as u64);
        }
        Some(next)
    }
}

impl http_body::Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.take().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}
