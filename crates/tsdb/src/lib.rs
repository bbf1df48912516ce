#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod block;
mod db;
mod decode;
mod error;
pub mod fs;
mod head;
mod index;
#[cfg(test)]
mod testing;
pub mod verify;
pub mod wal;

pub use db::{
    DamageReport, Db, DbBuilder, HeadStats, MaintenanceThread, OpenReport, ReplayStats,
    SeriesExemplars, TickStats,
};
pub use error::TsdbError;
pub use wal::{Compression, writer::Durability};
