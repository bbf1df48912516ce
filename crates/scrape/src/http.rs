//! Pages over HTTP.

use std::{path::PathBuf, sync::Arc};

use firesteel_config::HttpClientConfig;
use firesteel_exposition::{Entry, Format, Parser};
use firesteel_model::{Labels, Timestamp, float::format_f};
use firesteel_net::{HttpClient, Limits, NetErrorKind, Request};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT},
};

use crate::{BoxFuture, Fetch, FetchRequest, Fetched, MakeFetch, ScrapeError};

/// What targets are told who asks; Prometheus' own, which some of them look for.
pub(crate) const DEFAULT_USER_AGENT: &str = "Prometheus/3.14.0";

const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// Makes HTTP clients for jobs.
#[derive(Clone, Debug)]
pub struct HttpFetch {
    user_agent: HeaderValue,
}

impl Default for HttpFetch {
    fn default() -> Self {
        Self { user_agent: HeaderValue::from_static(DEFAULT_USER_AGENT) }
    }
}

impl HttpFetch {
    /// With a `User-Agent` of its own; one that is not a valid header is ignored.
    #[must_use]
    pub fn with_user_agent(user_agent: &str) -> Self {
        HeaderValue::from_str(user_agent).map(|user_agent| Self { user_agent }).unwrap_or_default()
    }
}

impl MakeFetch for HttpFetch {
    fn make(&self, config: &HttpClientConfig) -> Result<Arc<dyn Fetch>, ScrapeError> {
        let client = HttpClient::new(config).map_err(|e| ScrapeError::Fetch(e.to_string()))?;
        Ok(Arc::new(Client { client, user_agent: self.user_agent.clone() }))
    }
}

#[derive(Debug)]
struct Client {
    client: HttpClient,
    user_agent: HeaderValue,
}

impl Fetch for Client {
    fn fetch<'a>(
        &'a self,
        request: &'a FetchRequest,
        size_hint: usize,
    ) -> BoxFuture<'a, Result<Fetched, ScrapeError>> {
        Box::pin(self.get(request, size_hint))
    }
}

/// A page is not expected to grow by more than this from one scrape to the next.
const MAX_HINT: usize = 64 << 20;

impl Client {
    async fn get(&self, request: &FetchRequest, size_hint: usize) -> Result<Fetched, ScrapeError> {
        let uri = request
            .url
            .parse()
            .map_err(|e| ScrapeError::Fetch(format!("parse {:?}: {e}", request.url)))?;
        let mut get = Request::get(uri);
        get.headers = self.headers(request);
        get.unix_socket = request.unix_socket.as_ref().map(PathBuf::from);
        get.limits = Limits::body(request.body_size_limit);
        get.timeout = request.timeout;
        let response = self.client.send(get).await;
        let mut response = response.map_err(|e| ScrapeError::Fetch(e.to_string()))?;
        if response.status != StatusCode::OK {
            let reason = response.status.canonical_reason().unwrap_or_default();
            let text = format!("{} {reason}", response.status.as_u16());
            return Err(ScrapeError::Status(text.trim_end().to_owned()));
        }
        let content_type = response.headers.get(CONTENT_TYPE);
        let content_type = content_type.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        // Pages differ by some digits from one scrape to the next.
        let expected = (size_hint + size_hint / 16).min(MAX_HINT);
        let body = response.body.whole(expected).await.map_err(|e| match e {
            NetErrorKind::BodyTooLarge { .. } => ScrapeError::BodySize,
            NetErrorKind::Timeout => ScrapeError::Timeout { url: request.url.clone() },
            e => ScrapeError::Fetch(e.to_string()),
        })?;
        Ok(Fetched { body, content_type: content_type.unwrap_or_default() })
    }

    fn headers(&self, request: &FetchRequest) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(accept) = HeaderValue::from_str(&request.accept) {
            headers.insert(ACCEPT, accept);
        }
        let encoding = if request.compression { "gzip" } else { "identity" };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        headers.insert(USER_AGENT, self.user_agent.clone());
        if let Ok(timeout) = HeaderValue::from_str(&format_f(request.timeout.as_secs_f64())) {
            headers.insert(TIMEOUT_HEADER, timeout);
        }
        headers
    }
}

/// A sample of [`once`].
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapedSample {
    /// The series as the page names it.
    pub labels: Labels,
    /// The value.
    pub value: f64,
    /// The timestamp where the page gives one.
    pub timestamp: Option<Timestamp>,
}

/// Scrapes a URL once, with Prometheus' defaults, and returns what the page says.
///
/// # Errors
/// The request fails, takes more than ten seconds, or the page is wrong.
pub async fn once(url: &str) -> Result<Vec<ScrapedSample>, ScrapeError> {
    let fetch = HttpFetch::default().make(&HttpClientConfig::default())?;
    let page = fetch.fetch(&FetchRequest::new(url), 0).await?;
    let read = tokio::task::spawn_blocking(move || samples(&page)).await;
    read.unwrap_or_else(|e| Err(ScrapeError::Fetch(e.to_string())))
}

fn samples(page: &Fetched) -> Result<Vec<ScrapedSample>, ScrapeError> {
    let format = Format::from_content_type(&page.content_type, None)?.format;
    let mut parser = Parser::new(format, &page.body);
    let mut samples = Vec::new();
    while let Some(entry) = parser.next_entry()? {
        if let Entry::Series(series) = entry {
            let labels = series.to_labels()?;
            let (value, timestamp) = (series.value, series.timestamp);
            samples.push(ScrapedSample { labels, value, timestamp });
        }
    }
    Ok(samples)
}
