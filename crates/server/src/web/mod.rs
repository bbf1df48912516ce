//! How the server itself speaks HTTP, as the file of `--web.config.file` says: TLS, users, headers,
//! and how many requests are answered. The file, certificates and keys are read again as they change.
//! Source: exporter-toolkit's `web/tls_config.go` and `web/handler.go`.

mod limiter;
mod users;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use firesteel_api::{Body, Front};
use firesteel_config::{OsFiles, WebConfig, load_web};
use firesteel_model::clock::Clock;
use firesteel_net::ServerTls;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use self::{
    limiter::Limiter,
    users::{Answer, Users},
};

/// Bytes of a request in the clear to a TLS port that are read and thrown away.
const MOST_DRAINED: u64 = 64 << 10;

/// A connection, with or without TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What stands between the listeners and the API.
#[derive(Clone)]
pub(crate) struct Web(Option<Arc<Inner>>);

struct Inner {
    file: PathBuf,
    /// Settled at the start, as connections cannot be both.
    speaks_tls: bool,
    tls: ServerTls,
    users: Users,
    /// As at the start.
    limiter: Option<Limiter>,
    /// What was read, and the file's stamp by which it is known.
    current: Mutex<(Option<Stamp>, Arc<WebConfig>)>,
}

/// By which a file is known to be the same.
type Stamp = (Option<SystemTime>, u64, u64);

impl Web {
    /// Reads the file, if there is one, and all that it names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(file: Option<&Path>, clock: &Arc<dyn Clock>) -> Result<Self, String> {
        let Some(file) = file else { return Ok(Self(None)) };
        // Before the file: what changes in between is read again.
        let stamp = stamp(file);
        let config = load_web(file, &OsFiles).map_err(|error| error.to_string())?;
        let tls = ServerTls::default();
        if let Some(wanted) = &config.tls {
            tls.prepare(wanted, config.http2).map_err(|error| error.to_string())?;
        }
        let limiter = config.rate_limit.map(|limit| Limiter::new(limit, Arc::clone(clock)));
        tracing::info!(
            tls = config.tls.is_some(),
            http2 = config.tls.is_some() && config.http2,
            users = config.users.len(),
            rate_limit = limiter.is_some(),
            "web configuration is in force"
        );
        Ok(Self(Some(Arc::new(Inner {
            file: file.to_owned(),
            speaks_tls: config.tls.is_some(),
            tls,
            users: Users::default(),
            limiter,
            current: Mutex::new((stamp, Arc::new(config))),
        }))))
    }

    /// Whether clients must speak TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.speaks_tls)
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.modified().ok(), metadata.len(), inode))
}

impl Inner {
    /// What the file says now. Blocks.
    fn config(&self) -> Result<Arc<WebConfig>, String> {
        let now = stamp(&self.file);
        let mut current = self.current.lock();
        // What was changed this very moment may change again without another stamp.
        let settled = |stamp: &Stamp| {
            stamp.0.and_then(|t| t.elapsed().ok()).is_some_and(|age| age > Duration::from_secs(2))
        };
        if current.0.is_some() && current.0 == now && now.as_ref().is_some_and(settled) {
            return Ok(Arc::clone(&current.1));
        }
        let config = load_web(&self.file, &OsFiles).map_err(|error| error.to_string())?;
        *current = (now, Arc::new(config));
        Ok(Arc::clone(&current.1))
    }
}

/// Runs on a thread where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

impl Front for Web {
    type Stream = Box<dyn Stream>;

    async fn accept(&self, mut stream: TcpStream) -> io::Result<Box<dyn Stream>> {
        let Some(inner) = self.0.as_ref().filter(|inner| inner.speaks_tls) else {
            return Ok(Box::new(stream));
        };
        if speaks_plain_http(&stream).await? {
            let answer = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS \
                          server.\n";
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            // What is left unread when a socket is closed may cost the client the answer.
            let (mut rest, mut nowhere) = (stream.take(MOST_DRAINED), tokio::io::sink());
            let drained = tokio::io::copy(&mut rest, &mut nowhere);
            let _ = tokio::time::timeout(Duration::from_secs(1), drained).await;
            return Err(io::Error::other("the client does not speak TLS"));
        }
        let shared = Arc::clone(inner);
        let prepared = blocking(move || {
            let config = shared.config()?;
            let tls = config.tls.as_ref().ok_or("TLS config is not present")?;
            shared.tls.prepare(tls, config.http2).map_err(|error| error.to_string())
        });
        let prepared = prepared.await.map_err(|error| {
            tracing::error!("web configuration {}: {error}", inner.file.display());
            io::Error::other(error)
        })?;
        Ok(Box::new(prepared.accept(stream).await?))
    }

    async fn admit(&self, headers: &HeaderMap) -> Result<HeaderMap, Box<Response<Body>>> {
        let Some(inner) = &self.0 else { return Ok(HeaderMap::new()) };
        let credentials = users::credentials(headers);
        let shared = Arc::clone(inner);
        let looked = blocking(move || {
            let config = shared.config()?;
            let answer = shared.users.look_up(&config.users, credentials);
            Ok((config, answer))
        });
        let (config, answer) = looked.await.map_err(|error| {
            tracing::error!("unable to parse web configuration: {error}");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n")
        })?;
        if inner.limiter.as_ref().is_some_and(|limiter| !limiter.allow()) {
            return Err(refusal(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests\n"));
        }
        let own = own_headers(&config);
        let admitted = match answer {
            Answer::Known(admitted) => admitted,
            Answer::Ask(question) => inner.users.ask(question).await,
        };
        if admitted {
            return Ok(own);
        }
        let mut response = refusal(StatusCode::UNAUTHORIZED, "Unauthorized\n");
        response.headers_mut().extend(own);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        Err(response)
    }
}

/// Whether a client's first byte is that of a request without TLS; TLS begins with a number below 32.
async fn speaks_plain_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let read = stream.peek(&mut first).await?;
    Ok(read == 1 && first[0].is_ascii_uppercase())
}

fn own_headers(config: &WebConfig) -> HeaderMap {
    let pair = |(name, value): &(String, String)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    };
    config.headers.iter().filter_map(pair).collect()
}

/// An answer as Go's `http.Error` writes it.
fn refusal(status: StatusCode, text: &'static str) -> Box<Response<Body>> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Box::new(response)
}
