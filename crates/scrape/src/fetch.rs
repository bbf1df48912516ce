//! How pages are fetched: a trait, so that tests and other transports can stand in for HTTP.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use firesteel_config::HttpClientConfig;

use crate::ScrapeError;

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is asked of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchRequest {
    /// What to get.
    pub url: String,
    /// The unix socket to connect to in place of the URL's host.
    pub unix_socket: Option<String>,
    /// The `Accept` header.
    pub accept: String,
    /// Whether a compressed reply is asked for.
    pub compression: bool,
    /// How long everything may take; the fetcher sends it along, the loop enforces it.
    pub timeout: Duration,
    /// Bytes of the decompressed body that are too many; 0 means the fetcher's own limit.
    pub body_size_limit: u64,
}

impl FetchRequest {
    /// For this URL, with Prometheus' defaults.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        let protocols = firesteel_exposition::Protocol::DEFAULT;
        Self {
            url: url.into(),
            unix_socket: None,
            accept: firesteel_exposition::accept_header(&protocols, "allow-utf-8"),
            compression: true,
            timeout: Duration::from_secs(10),
            body_size_limit: 0,
        }
    }
}

/// A reply with status 200.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The body, decompressed.
    pub body: Bytes,
    /// The `Content-Type`, empty where there was none.
    pub content_type: String,
}

/// Gets pages. One is shared by all targets of a job.
pub trait Fetch: Send + Sync + fmt::Debug {
    /// Gets a page. `size_hint` is the size of the last one. Dropping the future ends the request.
    fn fetch<'a>(
        &'a self,
        request: &'a FetchRequest,
        size_hint: usize,
    ) -> BoxFuture<'a, Result<Fetched, ScrapeError>>;
}

/// Makes fetchers from the HTTP section of a job.
pub trait MakeFetch: Send + Sync + fmt::Debug {
    /// Makes one.
    ///
    /// # Errors
    /// The configuration cannot be served.
    fn make(&self, config: &HttpClientConfig) -> Result<Arc<dyn Fetch>, ScrapeError>;
}
