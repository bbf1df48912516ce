#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cache;
mod error;
mod failure_log;
mod fetch;
mod http;
mod in_process;
mod ingest;
mod intake;
mod job;
mod manager;
mod metadata;
mod metrics;
mod native;
mod pool;
mod report;
mod scrape_loop;
mod series;
mod settings;
mod snapshot;
mod target;
mod url;

pub use error::ScrapeError;
pub use fetch::{BoxFuture, Fetch, FetchRequest, Fetched, MakeFetch};
pub use http::{HttpFetch, ScrapedSample, once};
#[cfg(feature = "metrics")]
pub use in_process::Recorder;
pub use in_process::{InProcess, Source};
pub use ingest::{Ingested, Ingester, Page, Scrape};
pub use manager::{ScrapeManager, ScrapeOptions};
pub use metadata::FamilyMetadata;
pub use settings::IngestSettings;
pub use snapshot::{DroppedTarget, PoolSnapshot, TargetSnapshot};
pub use target::{Discovered, Health, LastScrape, Target, offset_seed};
pub use url::ExternalAddress;
