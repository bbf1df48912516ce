#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod error;
pub mod fs;
mod head;
pub mod wal;

pub use error::TsdbError;
