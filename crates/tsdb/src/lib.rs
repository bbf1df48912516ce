#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod block;
mod db;
mod decode;
mod decoded;
mod error;
pub mod fs;
mod head;
mod index;
#[cfg(test)]
mod models;
mod sync;
#[cfg(test)]
mod testing;
pub mod wal;

pub use db::{
    DamageReport, Db, DbBuilder, Event, Finding, HeadLoader, HeadStats, MaintenanceThread,
    OpenPhase, OpenProgress, OpenReport, ReplayStats, SeriesExemplars, Severity, SnapshotReport,
    TickStats, VerifyProgress, VerifyReport, verify_directory,
};
pub use error::TsdbError;
pub use wal::{Compression, WalPosition, writer::Durability};
