#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bits;
mod encoding;
mod error;
pub mod histogram;
mod reader;
mod start;
pub mod varint;
mod window;
mod writer;
pub mod xor;
pub mod xor2;

pub use encoding::Encoding;
pub use error::ChunkError;
pub use histogram::{HistogramAppender, HistogramEncoder};
pub use xor::{XorEncoder, XorState};
pub use xor2::Xor2Encoder;
