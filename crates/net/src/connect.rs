//! Connections: TCP or a unix socket, through a proxy or not, with TLS or without.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tower_service::Service;

use crate::{
    NetErrorKind,
    proxy::{Proxies, Proxy, ProxyKind},
};

/// Hosts of this domain, which never exists, stand for unix sockets; the path is before it, in
/// hexadecimal. So sockets have connections of their own in the pool.
const UNIX_DOMAIN: &str = ".unix-socket.invalid";

/// The longest answer to `CONNECT`.
const MAX_TUNNEL_ANSWER: usize = 16 << 10;

/// How long a connection may take where the request's own time is longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes connections. Clones share everything.
#[derive(Clone)]
pub(crate) struct Connector {
    http: HttpConnector,
    proxies: Arc<Proxies>,
    #[cfg(feature = "tls")]
    tls: Arc<crate::tls::Tls>,
}

/// Why there is no connection; [`NetErrorKind`] as an error that hyper carries for us.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct ConnectError(pub(crate) NetErrorKind);

impl From<NetErrorKind> for ConnectError {
    fn from(kind: NetErrorKind) -> Self {
        Self(kind)
    }
}

impl Connector {
    pub(crate) fn new(
        proxies: Arc<Proxies>,
        #[cfg(feature = "tls")] tls: Arc<crate::tls::Tls>,
    ) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_keepalive(Some(Duration::from_secs(15)));
        Self {
            http,
            proxies,
            #[cfg(feature = "tls")]
            tls,
        }
    }

    async fn connect(mut self, uri: Uri) -> Result<TokioIo<Stream>, ConnectError> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let proxy = self.proxies.of(&uri).cloned();
        let transport = match (unix_path(&uri), &proxy) {
            (Some(path), _) => unix(&path).await?,
            (None, None) => Transport::Tcp(self.tcp(uri.clone()).await?),
            (None, Some(proxy)) => self.by_proxy(&uri, proxy).await?,
        };
        if !https {
            let http = |p: &Proxy| !matches!(p.kind, ProxyKind::Socks(_));
            let proxied = proxy.as_ref().is_some_and(http) && unix_path(&uri).is_none();
            return Ok(TokioIo::new(Stream { transport, proxied, h2: false }));
        }
        self.secure(&uri, transport).await
    }

    /// A connection to a proxy, by which requests for `uri` can be sent.
    async fn by_proxy(&mut self, uri: &Uri, proxy: &Proxy) -> Result<Transport, ConnectError> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let mut stream = Transport::Tcp(self.tcp(proxy_uri(proxy)?).await?);
        if let ProxyKind::Socks(user) = &proxy.kind {
            let host = uri.host().unwrap_or_default();
            let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
            crate::socks::connect(&mut stream, host, port, user.as_ref()).await?;
            return Ok(stream);
        }
        if matches!(proxy.kind, ProxyKind::Https) {
            stream = self.secure_proxy(&proxy.host, stream).await?;
        }
        if https {
            stream = tunnel(stream, uri, proxy, &self.proxies).await?;
        }
        Ok(stream)
    }

    #[cfg(feature = "tls")]
    async fn secure_proxy(&self, host: &str, stream: Transport) -> Result<Transport, ConnectError> {
        let stream = self.tls.handshake_proxy(host, stream).await?;
        Ok(Transport::Tls(Box::new(stream)))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "the same signature with and without TLS")]
    async fn secure_proxy(&self, _: &str, _: Transport) -> Result<Transport, ConnectError> {
        let what = "this build has no TLS (feature `tls`)";
        Err(NetErrorKind::NotServed { key: "proxy_url", what }.into())
    }

    async fn tcp(&mut self, uri: Uri) -> Result<TcpStream, ConnectError> {
        let connected = self.http.call(uri.clone()).await;
        let stream = connected.map_err(|e| NetErrorKind::Connect(dial_error(&uri, &e)))?;
        Ok(stream.into_inner())
    }

    #[cfg(feature = "tls")]
    async fn secure(
        &self,
        uri: &Uri,
        transport: Transport,
    ) -> Result<TokioIo<Stream>, ConnectError> {
        let host = match unix_path(uri) {
            Some(_) => "localhost",
            None => uri.host().unwrap_or_default(),
        };
        let stream = self.tls.handshake(host, transport).await?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let transport = Transport::Tls(Box::new(stream));
        Ok(TokioIo::new(Stream { transport, proxied: false, h2 }))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "the same signature with and without TLS")]
    async fn secure(&self, _: &Uri, _: Transport) -> Result<TokioIo<Stream>, ConnectError> {
        let what = "this build has no TLS (feature `tls`)";
        Err(NetErrorKind::NotServed { key: "scheme: https", what }.into())
    }
}

/// Why there is no TCP connection, in Go's words where they are known: people search for them.
fn dial_error(uri: &Uri, error: &(dyn std::error::Error + 'static)) -> String {
    let host = uri.host().unwrap_or_default();
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default);
    let mut kind = None;
    let mut source = Some(error);
    while let Some(reason) = source {
        if let Some(io) = reason.downcast_ref::<io::Error>() {
            kind = Some(io.kind());
        }
        source = reason.source();
    }
    let reason = crate::error::innermost(error);
    let reason = match kind {
        Some(io::ErrorKind::ConnectionRefused) => "connect: connection refused",
        Some(io::ErrorKind::HostUnreachable) => "connect: no route to host",
        Some(io::ErrorKind::NetworkUnreachable) => "connect: network is unreachable",
        Some(io::ErrorKind::ConnectionReset) => "connect: connection reset by peer",
        Some(io::ErrorKind::TimedOut) => "i/o timeout",
        _ if reason.contains("lookup address") => {
            return format!("dial tcp: lookup {host}: no such host");
        }
        _ => &reason,
    };
    format!("dial tcp {host}:{port}: {reason}")
}

fn proxy_uri(proxy: &Proxy) -> Result<Uri, NetErrorKind> {
    format!("http://{}:{}/", proxy.host, proxy.port)
        .parse()
        .map_err(|_| NetErrorKind::Url("the proxy's host is not one"))
}

/// Asks a proxy for a tunnel.
async fn tunnel(
    mut stream: Transport,
    uri: &Uri,
    proxy: &Proxy,
    proxies: &Proxies,
) -> Result<Transport, NetErrorKind> {
    let broken = |e: io::Error| NetErrorKind::Connect(format!("proxyconnect: {e}"));
    let host = uri.host().unwrap_or_default();
    let target = format!("{host}:{}", uri.port_u16().unwrap_or(443));
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    let own = proxies.connect_headers().iter().map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in proxy.header().into_iter().chain(own) {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(broken)?;
    let mut answer = Vec::with_capacity(256);
    while !answer.ends_with(b"\r\n\r\n") {
        // Byte by byte: what follows the answer belongs to the tunnel.
        let byte = stream.read_u8().await.map_err(broken)?;
        answer.push(byte);
        if answer.len() > MAX_TUNNEL_ANSWER {
            return Err(NetErrorKind::Connect("proxyconnect: the answer is too long".to_owned()));
        }
    }
    let status = answer.get(9..12).unwrap_or_default();
    if answer.starts_with(b"HTTP/1.") && status.first() == Some(&b'2') {
        return Ok(stream);
    }
    let line = answer.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    Err(NetErrorKind::Connect(format!("proxyconnect: {line}")))
}

/// A URL whose connections go to a unix socket.
pub(crate) fn unix_uri(uri: &Uri, path: &std::path::Path) -> Result<Uri, NetErrorKind> {
    let hex: String = path.to_string_lossy().bytes().map(|b| format!("{b:02x}")).collect();
    // Labels of a domain name have 63 characters at most; hyper does not mind, readers may.
    let host = format!("{hex}{UNIX_DOMAIN}");
    let mut parts = uri.clone().into_parts();
    let authority = host.parse().map_err(|_| NetErrorKind::Url("the socket's path is too long"))?;
    parts.authority = Some(authority);
    Uri::from_parts(parts).map_err(|_| NetErrorKind::Url("the socket's path is not one"))
}

/// Whether a URL names the domain that stands for unix sockets. Only we may write such URLs: a
/// redirect to one would let a target reach any socket of this machine.
pub(crate) fn is_unix_domain(uri: &Uri) -> bool {
    uri.host().is_some_and(|host| {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        host.ends_with(UNIX_DOMAIN) || format!(".{host}") == UNIX_DOMAIN
    })
}

/// The path of the unix socket that a URL stands for.
pub(crate) fn unix_path(uri: &Uri) -> Option<String> {
    let hex = uri.host()?.strip_suffix(UNIX_DOMAIN)?;
    let bytes = (0..hex.len() / 2)
        .map(|i| hex.get(2 * i..2 * i + 2).and_then(|h| u8::from_str_radix(h, 16).ok()))
        .collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok()
}

#[cfg(unix)]
async fn unix(path: &str) -> Result<Transport, NetErrorKind> {
    let stream = tokio::net::UnixStream::connect(path).await;
    stream.map(Transport::Unix).map_err(|e| NetErrorKind::Connect(format!("unix {path}: {e}")))
}

#[cfg(not(unix))]
#[expect(clippy::unused_async, reason = "the same signature on every system")]
async fn unix(_: &str) -> Result<Transport, NetErrorKind> {
    Err(NetErrorKind::NotServed { key: "__unix_socket__", what: "this system has none" })
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(uri))
                .await
                .unwrap_or(Err(ConnectError(NetErrorKind::Timeout)))
        })
    }
}

/// A connection.
pub(crate) struct Stream {
    transport: Transport,
    /// Whether requests name their whole URL, for a proxy.
    proxied: bool,
    h2: bool,
}

pub(crate) enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<Self>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().proxy(self.proxied);
        if self.h2 { connected.negotiated_h2() } else { connected }
    }
}

/// Hands a method to whatever the transport is.
macro_rules! each {
    ($transport:expr, $inner:ident => $call:expr) => {
        match $transport {
            Transport::Tcp($inner) => $call,
            #[cfg(unix)]
            Transport::Unix($inner) => $call,
            #[cfg(feature = "tls")]
            Transport::Tls($inner) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, data))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}
