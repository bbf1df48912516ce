#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bits;
mod encoding;
mod error;
pub mod varint;
pub mod xor;

pub use encoding::Encoding;
pub use error::ChunkError;
pub use xor::{XorEncoder, XorState};
