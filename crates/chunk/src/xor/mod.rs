//! XOR chunks: floats as the Gorilla paper describes, byte for byte as Prometheus writes them
//! (`tsdb/chunkenc/xor.go`).
//!
//! Two bytes hold the number of samples, then comes a bit stream: the first time and value in
//! full, then the difference of times, then differences of differences in classes of 0, 14, 17, 20
//! and 64 bits. A value is XORed with the one before; what differs is stored in the window of the
//! value before where it fits there, else with a window of its own. `docs/format/chunk.md` has a
//! drawing.

mod decode;
mod encode;
#[cfg(test)]
pub(crate) mod tests;

pub use decode::{decode, decode_range, resume};
pub use encode::{MAX_SAMPLE_LEN, STATE_LEN, XorEncoder, XorState};

/// Bytes before the bit stream.
pub const HEADER_LEN: usize = 2;
