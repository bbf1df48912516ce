#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod block;
mod decode;
mod error;
pub mod fs;
mod head;
mod index;
#[cfg(test)]
mod testing;
pub mod wal;

pub use error::TsdbError;
