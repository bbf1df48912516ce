#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cache;
mod error;
mod ingest;
mod metadata;
mod report;
mod series;
mod settings;
mod target;
mod url;

pub use error::ScrapeError;
pub use ingest::{Ingested, Ingester, Page, Scrape};
pub use metadata::FamilyMetadata;
pub use settings::IngestSettings;
pub use target::{Discovered, Health, LastScrape, Target, offset_seed};
pub use url::ExternalAddress;
