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
pub mod xor;
pub mod xor2;

pub use encoding::Encoding;
pub use error::ChunkError;
pub use xor::{XorEncoder, XorState};
