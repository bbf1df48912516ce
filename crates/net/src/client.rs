//! The client.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use firesteel_config::HttpClientConfig;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, LOCATION},
};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    Body, Limits, NetError, NetErrorKind,
    auth::{Extra, basic_value},
    connect::{ConnectError, Connector, is_unix_domain, unix_uri},
    error::innermost,
    proxy::{Proxies, decoded},
    redirect,
};

/// How long an idle connection is kept, as Prometheus does.
const IDLE: Duration = Duration::from_secs(300);

/// Bytes that are read from a connection at once, and that one waiting for its next request goes on
/// holding. Left alone, buffers grow to 400 KiB: 10 MiB for fifty targets.
const READ_BUFFER: usize = 32 << 10;

/// An HTTP client made from one `http_config`. Clones share its connections; they are closed when
/// the last clone is dropped.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    client: Client<Connector, Full<Bytes>>,
    extra: Extra,
    proxies: Arc<Proxies>,
    follow_redirects: bool,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("extra", &self.0.extra).finish_non_exhaustive()
    }
}

/// A request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The URL, with scheme and host. User and password in it are sent as basic authentication.
    pub uri: Uri,
    /// Headers besides those of the configuration. `Accept-Encoding: gzip` has to be asked for;
    /// the answer is decompressed either way.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// A unix socket that is connected to in place of the URL's host.
    pub unix_socket: Option<PathBuf>,
    /// How much of the answer is accepted.
    pub limits: Limits,
    /// How long everything may take: connecting, redirects, and reading the answer's body.
    pub timeout: Duration,
}

impl Request {
    /// A GET with 10 seconds of time.
    #[must_use]
    pub fn get(uri: Uri) -> Self {
        Self {
            method: Method::GET,
            uri,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            unix_socket: None,
            limits: Limits::default(),
            timeout: Duration::from_secs(10),
        }
    }

    /// A POST with 10 seconds of time.
    #[must_use]
    pub fn post(uri: Uri, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, body: body.into(), ..Self::get(uri) }
    }
}

/// An answer: its head has come, its body is still to be read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
    /// Where the answer came from, after redirects.
    pub uri: Uri,
}

impl HttpClient {
    /// Makes a client. Nothing is connected or read yet.
    ///
    /// # Errors
    /// The configuration asks for what is not served ([`NetErrorKind::NotServed`]), or a header of
    /// it cannot be sent.
    pub fn new(config: &HttpClientConfig) -> Result<Self, NetError> {
        let extra = Extra::new(config)?;
        let proxies = Arc::new(Proxies::new(&config.proxy)?);
        let connector = Connector::new(
            proxies.clone(),
            #[cfg(feature = "tls")]
            Arc::new(crate::tls::Tls::new(&config.tls, config.enable_http2)?),
        );
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(READ_BUFFER)
            .build(connector);
        let follow_redirects = config.follow_redirects;
        Ok(Self(Arc::new(Inner { client, extra, proxies, follow_redirects })))
    }

    /// Asks for a URL with a GET.
    ///
    /// # Errors
    /// As [`HttpClient::send`].
    pub async fn get(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        limits: Limits,
        timeout: Duration,
    ) -> Result<Response, NetError> {
        let request =
            Request { headers: headers.clone(), limits, timeout, ..Request::get(uri.clone()) };
        self.send(request).await
    }

    /// Sends a request and waits for the head of the answer. Any status is an answer. Redirects are
    /// followed if the configuration says so, ten at most; credentials, and whatever else the
    /// configuration adds, go to the first URL's host and port only.
    ///
    /// # Errors
    /// No connection, no time, no HTTP; or a credential's file that cannot be read.
    pub async fn send(&self, request: Request) -> Result<Response, NetError> {
        let deadline = Instant::now() + request.timeout;
        let (method, uri) = (request.method.clone(), request.uri.clone());
        let answer = timeout_at(deadline, self.follow(request, deadline)).await;
        answer
            .unwrap_or(Err(NetErrorKind::Timeout))
            .map_err(|kind| NetError::of(&method, &uri, kind))
    }

    async fn follow(&self, request: Request, deadline: Instant) -> Result<Response, NetErrorKind> {
        let Request { mut method, uri: first, mut headers, mut body, unix_socket, limits, .. } =
            request;
        let mut uri = first.clone();
        for hop in 0..=redirect::MOST {
            let ours = hop == 0 || redirect::same_host(&first, &uri);
            if !ours {
                headers.remove(AUTHORIZATION);
                headers.remove(COOKIE);
            }
            let socket = unix_socket.as_deref().filter(|_| ours);
            let answer = self.once(&method, &uri, &headers, body.clone(), socket, ours).await?;
            let (head, incoming) = answer.into_parts();
            let next = match redirect::method(head.status, &method) {
                Some(next) if self.0.follow_redirects => Some(next),
                _ => None,
            };
            let location = head.headers.get(LOCATION).and_then(|l| l.to_str().ok());
            let (Some(next), Some(location)) = (next, location) else {
                let body = Body::new(incoming, &head.headers, limits, deadline)?;
                return Ok(Response { status: head.status, headers: head.headers, body, uri });
            };
            uri = redirect::resolve(&uri, location)
                .ok_or(NetErrorKind::Url("redirected to what is not an http or https URL"))?;
            if next != method {
                body = Bytes::new();
                headers.remove(CONTENT_TYPE);
                headers.remove(CONTENT_LENGTH);
            }
            method = next;
        }
        Err(NetErrorKind::Redirects)
    }

    async fn once(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Bytes,
        unix_socket: Option<&std::path::Path>,
        ours: bool,
    ) -> Result<http::Response<Incoming>, NetErrorKind> {
        let mut headers = headers.clone();
        let mut target = without_user(uri, &mut headers)?;
        if ours {
            self.0.extra.apply(&mut headers).await?;
        }
        if let Some(path) = unix_socket {
            if let Some(host) =
                target.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok())
            {
                headers.entry(HOST).or_insert(host);
            }
            target = unix_uri(&target, path)?;
        } else if target.scheme_str() == Some("http")
            && let Some((name, value)) = self.0.proxies.of(&target).and_then(|p| p.header())
        {
            headers.insert(name, value);
        }
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        self.0.client.request(request).await.map_err(failure)
    }
}

/// Takes user and password out of a URL and into a header.
fn without_user(uri: &Uri, headers: &mut HeaderMap) -> Result<Uri, NetErrorKind> {
    let authority = uri.authority().ok_or(NetErrorKind::Url("it has no host"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(NetErrorKind::Url("its scheme is not http or https"));
    }
    if is_unix_domain(uri) {
        return Err(NetErrorKind::Url("its host is reserved"));
    }
    let Some((user, host)) = authority.as_str().rsplit_once('@') else { return Ok(uri.clone()) };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    if !headers.contains_key(AUTHORIZATION) {
        headers.insert(AUTHORIZATION, basic_value(&decoded(user), &decoded(password))?);
    }
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(host.parse().map_err(|_| NetErrorKind::Url("its host is not one"))?);
    Uri::from_parts(parts).map_err(|_| NetErrorKind::Url("its host is not one"))
}

/// What is behind hyper's error.
fn failure(error: hyper_util::client::legacy::Error) -> NetErrorKind {
    let connecting = error.is_connect();
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(reason) = source {
        if let Some(ConnectError(kind)) = reason.downcast_ref() {
            return match kind {
                NetErrorKind::Timeout => NetErrorKind::Timeout,
                NetErrorKind::NotServed { key, what } => NetErrorKind::NotServed { key, what },
                kind => NetErrorKind::Connect(kind.to_string()),
            };
        }
        source = reason.source();
    }
    let text = innermost(&error);
    if connecting { NetErrorKind::Connect(text) } else { NetErrorKind::Http(text) }
}
