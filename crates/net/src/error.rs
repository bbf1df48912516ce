//! Why a request failed.

use std::{fmt, io, path::PathBuf};

use http::{Method, Uri};

/// A failed request: `Get "http://pi:9100/metrics": connection refused`. Shows no secret.
#[derive(Debug)]
pub struct NetError {
    /// What was asked; empty for errors of the client itself.
    request: String,
    kind: NetErrorKind,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetErrorKind {
    /// The configuration asks for something that this version or this build does not do.
    #[error("{key} is not served yet: {what}")]
    NotServed {
        /// The key of the HTTP client's section.
        key: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// A URL that the client cannot use.
    #[error("invalid URL: {0}")]
    Url(&'static str),
    /// A header's name or value that cannot be sent.
    #[error("invalid header {name:?}")]
    Header {
        /// The name.
        name: String,
    },
    /// A file with a credential, a certificate or a key.
    #[error("unable to read {what} file {}: {source}", path.display())]
    File {
        /// What the file holds.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Certificates or keys that cannot be used.
    #[error("tls_config: {0}")]
    TlsConfig(String),
    /// No token from the server of `oauth2`.
    #[error("oauth2: cannot fetch token: {0}")]
    Token(String),
    /// The time was over; Go's words.
    #[error("context deadline exceeded")]
    Timeout,
    /// No connection.
    #[error("{0}")]
    Connect(String),
    /// The connection broke, or the peer does not speak HTTP.
    #[error("{0}")]
    Http(String),
    /// The body is not what its `Content-Encoding` says.
    #[error("{encoding}: {reason}")]
    Decompress {
        /// The encoding.
        encoding: String,
        /// What is wrong.
        reason: String,
    },
    /// The body has reached the limit; Prometheus' words.
    #[error("body size limit exceeded")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body is compressed more than is believed.
    #[error(
        "compression ratio limit exceeded ({read} bytes became more than {limit} times as many)"
    )]
    RatioTooHigh {
        /// Compressed bytes read so far.
        read: u64,
        /// The limit.
        limit: u32,
    },
    /// Redirected too often; Go's words.
    #[error("stopped after 10 redirects")]
    Redirects,
}

impl NetError {
    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> &NetErrorKind {
        &self.kind
    }

    /// Whether the time was over.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self.kind, NetErrorKind::Timeout)
    }

    pub(crate) fn of(method: &Method, uri: &Uri, kind: NetErrorKind) -> Self {
        let method = method.as_str();
        let (first, rest) = method.split_at(method.len().min(1));
        let request = format!("{first}{} {:?}", rest.to_ascii_lowercase(), redacted(uri));
        Self { request, kind }
    }
}

impl From<NetErrorKind> for NetError {
    fn from(kind: NetErrorKind) -> Self {
        Self { request: String::new(), kind }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.request.is_empty() {
            write!(f, "{}: ", self.request)?;
        }
        fmt::Display::fmt(&self.kind, f)
    }
}

impl std::error::Error for NetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.kind)
    }
}

/// A URL without the password that it may hold.
pub(crate) fn redacted(uri: &Uri) -> String {
    match firesteel_config::Url::parse(&uri.to_string()) {
        Ok(url) => url.redacted(),
        Err(_) => uri.path().to_owned(),
    }
}

/// The innermost reason of an error, which is what a reader needs: `Connection refused`.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}
