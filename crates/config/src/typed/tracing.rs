//! The section `tracing`: where the server's own traces go.

use std::time::Duration;

use super::{convert, http::TlsConfig};
use crate::Section;

/// How traces are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TracingClient {
    /// OTLP over gRPC.
    #[default]
    Grpc,
    /// OTLP over HTTP.
    Http,
}

/// The section `tracing`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TracingConfig {
    /// How traces are sent.
    pub client: TracingClient,
    /// Host and port, or a URL; never empty.
    pub endpoint: String,
    /// The share of queries that is traced, 0 to 1.
    pub sampling_fraction: f64,
    /// Whether TLS is not spoken.
    pub insecure: bool,
    /// How TLS is spoken.
    pub tls: TlsConfig,
    /// Headers added to every request, sorted by name.
    pub headers: Vec<(String, String)>,
    /// Whether requests are compressed with gzip.
    pub gzip: bool,
    /// How long a request may take; zero for the exporter's own limit.
    pub timeout: Duration,
}

impl TracingConfig {
    pub(crate) fn of(section: &Section) -> Self {
        let text = |(name, item): (&str, &crate::Item)| {
            (name.to_owned(), item.value.as_text().unwrap_or_default().to_owned())
        };
        Self {
            client: match section.text("client_type") {
                "http" => TracingClient::Http,
                _ => TracingClient::Grpc,
            },
            endpoint: section.text("endpoint").to_owned(),
            sampling_fraction: section.float("sampling_fraction"),
            insecure: section.flag("insecure"),
            tls: convert::tls(section.section("tls_config")),
            headers: section.pairs("headers").map(text).collect(),
            gzip: section.text("compression") == "gzip",
            timeout: section.duration("timeout"),
        }
    }
}
