#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod block;
mod decode;
mod error;
pub mod fs;
mod index;
#[cfg(test)]
mod testing;

pub use error::TsdbError;
