//! XOR2 chunks: floats with start timestamps, a joint code for time and value, and a short code for
//! staleness markers. Written by Prometheus 3.14 where that is switched on
//! (`tsdb/chunkenc/xor2.go`). `docs/format/chunk.md` has a drawing.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::Xor2Encoder;

/// Bytes before the bit stream: the number of samples and a byte about start timestamps.
pub const HEADER_LEN: usize = 3;

/// Samples of a chunk that [`Xor2Encoder`] writes, at most. From there on every sample, with a start
/// timestamp or without, takes bits for one, an oddity of the format; Prometheus' chunks may be
/// longer and are read.
pub const MAX_SAMPLES: usize = 127;

/// Prometheus' staleness marker.
const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
