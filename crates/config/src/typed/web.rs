//! The file of `--web.config.file`: how the server itself speaks HTTP.

use std::{collections::BTreeMap, time::Duration};

use super::{
    convert::{self, credential},
    http::{Credential, TlsVersion},
};
use crate::{Secret, Section, schema::web};

/// The file of `--web.config.file`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WebConfig {
    /// How TLS is spoken; `None` for plain HTTP.
    pub tls: Option<WebTls>,
    /// Whether HTTP/2 is offered on TLS connections.
    pub http2: bool,
    /// Headers of every answer, sorted by name.
    pub headers: Vec<(String, String)>,
    /// Who may ask, with bcrypt's hash of the password; everybody where it is empty.
    pub users: BTreeMap<String, Secret>,
    /// How many requests are answered; any number where there is none.
    pub rate_limit: Option<RateLimit>,
}

/// How many requests are answered.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RateLimit {
    /// One request is answered in this time, on average.
    pub interval: Duration,
    /// This many at once.
    pub burst: u64,
}

/// What is asked of clients' certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    None,
    /// One may be sent and is not checked.
    Request,
    /// One must be sent and is not checked.
    RequireAny,
    /// One may be sent and is checked.
    VerifyIfGiven,
    /// One must be sent and is checked.
    RequireAndVerify,
}

/// `tls_server_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebTls {
    /// The server's certificate chain (PEM).
    pub cert: Credential,
    /// Its private key (PEM).
    pub key: Credential,
    /// Certificates (PEM) that those of clients are checked against; the system's where none is given.
    pub client_ca: Credential,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Alternative names of which a client's certificate must have one; any where it is `None`.
    pub client_allowed_sans: Option<Vec<String>>,
    /// Names of cipher suites, as Go has them; the usual ones where there are none.
    pub cipher_suites: Vec<String>,
    /// Names of curves, as Go has them, most wanted first; the usual ones where there are none.
    pub curves: Vec<String>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The newest.
    pub max_version: TlsVersion,
    /// Whether the server's order of suites counts.
    pub prefer_server_cipher_suites: bool,
}

impl WebConfig {
    pub(crate) fn of(section: &Section) -> Self {
        let http = section.section("http_server_config");
        let text = |(name, item): (&str, &crate::Item)| {
            (name.to_owned(), item.value.as_text().unwrap_or_default().to_owned())
        };
        let secret = |(name, item): (&str, &crate::Item)| match &item.value {
            crate::Value::Secret(secret) => Some((name.to_owned(), secret.clone())),
            _ => None,
        };
        let tls = section.section("tls_server_config").filter(|tls| web::is_enabled(tls));
        Self {
            tls: tls.map(WebTls::of),
            http2: http.is_some_and(|http| http.flag("http2")),
            headers: http.map_or_else(Vec::new, |http| http.pairs("headers").map(text).collect()),
            users: section.pairs("basic_auth_users").filter_map(secret).collect(),
            rate_limit: section.section("rate_limit").and_then(RateLimit::of),
        }
    }
}

impl RateLimit {
    /// One request each `interval`, `burst` at once.
    #[must_use]
    pub const fn new(interval: Duration, burst: u64) -> Self {
        Self { interval, burst }
    }

    fn of(section: &Section) -> Option<Self> {
        let seconds = web::go_duration(section.text("interval")).filter(|s| *s > 0.0)?;
        let interval = Duration::try_from_secs_f64(seconds).ok()?;
        Some(Self { interval, burst: section.uint("burst") })
    }
}

impl WebTls {
    fn of(tls: &Section) -> Self {
        let texts = |key| tls.texts(key).map(str::to_owned).collect::<Vec<_>>();
        Self {
            cert: credential(tls, "cert", "cert_file"),
            key: credential(tls, "key", "key_file"),
            client_ca: credential(tls, "client_ca", "client_ca_file"),
            client_auth: match tls.text("client_auth_type") {
                "RequestClientCert" => ClientAuth::Request,
                "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAny,
                "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
                "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
                _ => ClientAuth::None,
            },
            client_allowed_sans: tls
                .get("client_allowed_sans")
                .map(|_| texts("client_allowed_sans")),
            cipher_suites: texts("cipher_suites"),
            curves: texts("curve_preferences"),
            min_version: convert::tls_version(tls, "min_version").unwrap_or(TlsVersion::Tls12),
            max_version: convert::tls_version(tls, "max_version").unwrap_or(TlsVersion::Tls13),
            prefer_server_cipher_suites: tls.flag("prefer_server_cipher_suites"),
        }
    }
}
