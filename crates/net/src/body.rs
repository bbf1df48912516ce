//! Bodies: read piece by piece, decompressed, under limits.

use std::{io::Write, time::Duration};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::{HeaderMap, header::CONTENT_ENCODING};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::{NetErrorKind, error::innermost};

/// How much of a body is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// A body of so many bytes, once decompressed, is refused; as with Prometheus the limit itself
    /// is too many.
    pub body_bytes: u64,
    /// How many times larger than its compressed form a body may be. The first mebibyte is free.
    pub ratio: u32,
}

impl Default for Limits {
    /// 512 MiB and 200 times: honest pages come to 60, lines that repeat to 400, zeros to 1000.
    fn default() -> Self {
        Self { body_bytes: 512 << 20, ratio: 200 }
    }
}

impl Limits {
    /// A limit on the body in place of the default; 0 keeps the default.
    #[must_use]
    pub fn body(bytes: u64) -> Self {
        let default = Self::default();
        Self { body_bytes: if bytes == 0 { default.body_bytes } else { bytes }, ..default }
    }
}

/// Decompressed bytes that no ratio is asked of.
const RATIO_FREE: u64 = 1 << 20;

/// The body of a response.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    decoder: Option<MultiGzDecoder<Sink>>,
    limits: Limits,
    deadline: Instant,
    /// Bytes read from the connection.
    read: u64,
    /// Bytes handed out.
    written: u64,
    done: bool,
}

/// Where the decoder writes: it counts, and fails beyond the limits.
#[derive(Debug)]
struct Sink {
    out: Vec<u8>,
    /// How much more may be written before `out` is taken.
    room: u64,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let len = data.len() as u64;
        if len >= self.room {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.room -= len;
        self.out.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Body {
    pub(crate) fn new(
        incoming: Incoming,
        headers: &HeaderMap,
        limits: Limits,
        deadline: Instant,
    ) -> Result<Self, NetErrorKind> {
        let decoder = match headers.get(CONTENT_ENCODING).map(|v| v.as_bytes()) {
            None | Some(b"" | b"identity") => None,
            Some(encoding) if encoding.eq_ignore_ascii_case(b"gzip") => {
                Some(MultiGzDecoder::new(Sink { out: Vec::new(), room: 0 }))
            }
            Some(other) => {
                return Err(NetErrorKind::Decompress {
                    encoding: String::from_utf8_lossy(other).into_owned(),
                    reason: "this encoding was not asked for".to_owned(),
                });
            }
        };
        Ok(Self { incoming, decoder, limits, deadline, read: 0, written: 0, done: false })
    }

    /// Bytes that came over the connection so far, compressed where the body is.
    #[must_use]
    pub const fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The next piece, decompressed; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// The limits are broken, the time is over, the connection is, or the compression is not valid.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NetErrorKind> {
        let deadline = self.deadline;
        timeout_at(deadline, self.piece()).await.unwrap_or(Err(NetErrorKind::Timeout))
    }

    /// As [`Body::chunk`], without the deadline.
    async fn piece(&mut self) -> Result<Option<Bytes>, NetErrorKind> {
        while !self.done {
            let piece = match self.incoming.frame().await {
                None => self.finish()?,
                Some(frame) => {
                    let frame = frame.map_err(|e| NetErrorKind::Http(innermost(&e)))?;
                    let Ok(data) = frame.into_data() else { continue };
                    self.read += data.len() as u64;
                    self.decode(data)?
                }
            };
            if !piece.is_empty() {
                self.written += piece.len() as u64;
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    fn decode(&mut self, data: Bytes) -> Result<Bytes, NetErrorKind> {
        if self.decoder.is_none() {
            let limit = self.limits.body_bytes;
            let fits = (data.len() as u64) < limit.saturating_sub(self.written);
            return if fits { Ok(data) } else { Err(NetErrorKind::BodyTooLarge { limit }) };
        }
        self.with_decoder(|decoder| decoder.write_all(&data))
    }

    fn finish(&mut self) -> Result<Bytes, NetErrorKind> {
        self.done = true;
        // A body of no bytes at all is an empty one, whatever its headers say.
        if self.read == 0 {
            Ok(Bytes::new())
        } else {
            self.with_decoder(MultiGzDecoder::try_finish)
        }
    }

    /// Lets the decoder work within the limits; returns what came out of it.
    fn with_decoder(
        &mut self,
        work: impl FnOnce(&mut MultiGzDecoder<Sink>) -> std::io::Result<()>,
    ) -> Result<Bytes, NetErrorKind> {
        let Limits { body_bytes: limit, ratio } = self.limits;
        let (read, written) = (self.read, self.written);
        let Some(decoder) = &mut self.decoder else { return Ok(Bytes::new()) };
        let by_limit = limit.saturating_sub(written);
        let by_ratio = read
            .saturating_mul(u64::from(ratio))
            .saturating_add(RATIO_FREE)
            .saturating_sub(written);
        decoder.get_mut().room = by_limit.min(by_ratio);
        match work(decoder) {
            Ok(()) => Ok(Bytes::from(std::mem::take(&mut decoder.get_mut().out))),
            Err(e) if e.kind() != std::io::ErrorKind::StorageFull => {
                Err(NetErrorKind::Decompress { encoding: "gzip".to_owned(), reason: e.to_string() })
            }
            Err(_) if by_limit <= by_ratio => Err(NetErrorKind::BodyTooLarge { limit }),
            Err(_) => Err(NetErrorKind::RatioTooHigh { read, limit: ratio }),
        }
    }

    /// The whole rest. `expected` is how many bytes it may have, which is reserved if there is more
    /// than one piece; a single piece is not copied.
    ///
    /// # Errors
    /// As [`Body::chunk`].
    pub async fn whole(&mut self, expected: usize) -> Result<Bytes, NetErrorKind> {
        // One timer for all pieces.
        let deadline = self.deadline;
        timeout_at(deadline, self.pieces(expected)).await.unwrap_or(Err(NetErrorKind::Timeout))
    }

    async fn pieces(&mut self, expected: usize) -> Result<Bytes, NetErrorKind> {
        let Some(first) = self.piece().await? else { return Ok(Bytes::new()) };
        if self.decoder.is_none() && self.incoming.is_end_stream() {
            self.done = true;
            return Ok(first);
        }
        let mut all = Vec::with_capacity(expected.max(first.len()));
        all.extend_from_slice(&first);
        drop(first);
        while let Some(piece) = self.piece().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }

    /// How much time is left.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
