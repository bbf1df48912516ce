//! How a client reaches its servers. Source: `common/config/http_config.go`.

use std::path::PathBuf;

use crate::{Secret, Url};

/// A text that stands in the configuration, or in a file that is read again at each use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credential {
    /// Not configured.
    #[default]
    None,
    /// The text itself.
    Inline(Secret),
    /// The file that holds it.
    File(PathBuf),
}

impl Credential {
    /// Whether nothing is configured.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// HTTP basic authentication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BasicAuth {
    /// The user.
    pub username: Credential,
    /// The password.
    pub password: Credential,
}

impl BasicAuth {
    /// With both given in the configuration.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: Credential::Inline(Secret::new(username)),
            password: Credential::Inline(Secret::new(password)),
        }
    }
}

/// An `Authorization` header of another kind than basic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authorization {
    /// The scheme, `Bearer` by default.
    pub scheme: String,
    /// What follows it.
    pub credentials: Credential,
}

impl Authorization {
    /// A bearer token.
    #[must_use]
    pub fn bearer(credentials: Credential) -> Self {
        Self { scheme: "Bearer".to_owned(), credentials }
    }
}

/// OAuth 2.0, client credentials or JWT bearer.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct OAuth2 {
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Credential,
    /// The key that signs assertions, for the grant `jwt-bearer`.
    pub client_certificate_key: Credential,
    /// The key's id, for the header of the assertion.
    pub client_certificate_key_id: String,
    /// `client_credentials` (also when empty) or `urn:ietf:params:oauth:grant-type:jwt-bearer`.
    pub grant_type: String,
    /// `RS256` (also when empty), `RS384` or `RS512`.
    pub signature_algorithm: String,
    /// Issuer of assertions.
    pub issuer: String,
    /// Their audience.
    pub audience: String,
    /// What else they claim.
    pub claims: Vec<(String, String)>,
    /// The scopes asked for.
    pub scopes: Vec<String>,
    /// Where tokens come from.
    pub token_url: String,
    /// Further parameters of the request for a token.
    pub endpoint_params: Vec<(String, String)>,
    /// TLS towards the token's server.
    pub tls: TlsConfig,
    /// The proxy towards the token's server.
    pub proxy: ProxyConfig,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.0.
    Tls10,
    /// TLS 1.1.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// How a client speaks TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsConfig {
    /// Certificates (PEM) that servers are checked against; the system's where none is given.
    pub ca: Credential,
    /// The client's certificate chain (PEM).
    pub cert: Credential,
    /// Its private key (PEM).
    pub key: Credential,
    /// The name that the server must prove, in place of the URL's host.
    pub server_name: Option<String>,
    /// Whether the server's certificate is not checked.
    pub insecure_skip_verify: bool,
    /// The oldest version that is spoken.
    pub min_version: Option<TlsVersion>,
    /// The newest.
    pub max_version: Option<TlsVersion>,
}

/// Through which proxy a client goes.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// The proxy.
    pub url: Option<Url>,
    /// Hosts that are reached directly, separated by commas.
    pub no_proxy: String,
    /// Whether `HTTP_PROXY` and its like are heeded.
    pub from_environment: bool,
    /// Headers sent with `CONNECT`.
    pub connect_headers: Vec<(String, Vec<Secret>)>,
}

impl ProxyConfig {
    /// Whether nothing is configured.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.url.is_none() && !self.from_environment
    }
}

/// A header added to every request: values, then secrets, then the contents of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpHeader {
    /// The header's name.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
    /// Values that are not shown.
    pub secrets: Vec<Secret>,
    /// Files that hold values, read again at each use.
    pub files: Vec<PathBuf>,
}

/// How a client authenticates itself. At most one of these, as Prometheus has it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// `basic_auth`.
    Basic(BasicAuth),
    /// `authorization`, also where the file says `bearer_token` or `bearer_token_file`.
    Authorization(Authorization),
    /// `oauth2`.
    OAuth2(Box<OAuth2>),
}

/// An HTTP client's configuration; shared by scrapes, discovery, Alertmanagers and remote storage.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HttpClientConfig {
    /// Who we are.
    pub auth: Auth,
    /// How TLS is spoken.
    pub tls: TlsConfig,
    /// Whether redirects are followed. Credentials never cross to another host.
    pub follow_redirects: bool,
    /// Whether HTTP/2 is offered on TLS connections.
    pub enable_http2: bool,
    /// Through which proxy.
    pub proxy: ProxyConfig,
    /// Headers added to every request.
    pub headers: Vec<HttpHeader>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            auth: Auth::None,
            tls: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy: ProxyConfig::default(),
            headers: Vec::new(),
        }
    }
}
