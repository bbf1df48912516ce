//! What mechanisms that ask an HTTP API share.

#![cfg_attr(not(feature = "all"), allow(dead_code, reason = "not all mechanisms need all"))]

use std::time::Duration;

use bytes::Bytes;
use firesteel_config::HttpClientConfig;
use firesteel_net::{HttpClient, Limits, Request, Response};
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT},
};
use serde::de::DeserializeOwned;

use crate::DiscoveryError;

/// The largest answer.
pub(crate) const MAX_BYTES: u64 = 256 << 20;

/// A client of an API that answers in JSON.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    client: HttpClient,
    /// Where the API is, without a slash at the end.
    base: String,
    /// A unix socket in place of the URL's host.
    unix_socket: Option<std::path::PathBuf>,
    /// Headers of every request.
    pub(crate) headers: HeaderMap,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
}

impl Api {
    pub(crate) fn new(
        base: &str,
        http: &HttpClientConfig,
        user_agent: &str,
        timeout: Duration,
    ) -> Result<Self, DiscoveryError> {
        let base = base.trim_end_matches('/').to_owned();
        let client = HttpClient::new(http).map_err(|e| DiscoveryError::Http(e.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if let Ok(value) = HeaderValue::from_str(user_agent) {
            headers.insert(USER_AGENT, value);
        }
        Ok(Self { client, base, unix_socket: None, headers, timeout })
    }

    /// An API behind a unix socket or TCP, by Docker's kinds of URLs.
    #[cfg(feature = "docker")]
    pub(crate) fn of_daemon(
        host: &firesteel_config::Url,
        http: &HttpClientConfig,
        user_agent: &str,
        timeout: Duration,
    ) -> Result<Self, DiscoveryError> {
        // As with Prometheus only http and https heed the client's settings.
        let plain = HttpClientConfig::default();
        let (base, socket, http) = match host.scheme() {
            "unix" => ("http://localhost".to_owned(), Some(host.path_and_more().into()), &plain),
            "tcp" => (format!("http://{}", host.host_port()), None, &plain),
            "http" | "https" => (host.as_str().to_owned(), None, http),
            other => {
                let what = format!("{other}://: a daemon is reached by unix, tcp, http or https");
                return Err(DiscoveryError::Http(what));
            }
        };
        Ok(Self { unix_socket: socket, ..Self::new(&base, http, user_agent, timeout)? })
    }

    /// Asks for what is at a path; the answer's head has come.
    pub(crate) async fn send(
        &self,
        path: &str,
        limits: Limits,
        timeout: Duration,
    ) -> Result<Response, DiscoveryError> {
        let uri = uri(&format!("{}{path}", self.base))?;
        let mut request = Request::get(uri);
        request.headers = self.headers.clone();
        request.limits = limits;
        request.timeout = timeout;
        request.unix_socket = self.unix_socket.clone();
        self.client.send(request).await.map_err(|e| DiscoveryError::Http(e.to_string()))
    }

    /// Asks for what is at a path and reads it whole.
    pub(crate) async fn bytes(&self, path: &str) -> Result<(Response, Bytes), DiscoveryError> {
        let mut response = self.send(path, Limits::body(MAX_BYTES), self.timeout).await?;
        let body = response.body.whole(0).await;
        let body = body.map_err(|e| DiscoveryError::Http(e.to_string()))?;
        Ok((response, body))
    }

    /// Asks for what is at a path, which must answer with 200 and JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, DiscoveryError> {
        let (response, body) = self.bytes(path).await?;
        if response.status != StatusCode::OK {
            let status = response.status;
            let reason = String::from_utf8_lossy(body.get(..body.len().min(300)).unwrap_or(&body));
            let reason = reason.trim();
            let what =
                format!("{}{path}: server returned HTTP status {status}: {reason}", self.base);
            return Err(DiscoveryError::Http(what));
        }
        decode(path, &body)
    }
}

pub(crate) fn uri(text: &str) -> Result<Uri, DiscoveryError> {
    text.parse().map_err(|_| DiscoveryError::Http(format!("{text}: not a URL")))
}

pub(crate) fn decode<T: DeserializeOwned>(from: &str, body: &[u8]) -> Result<T, DiscoveryError> {
    serde_json::from_slice(body)
        .map_err(|e| DiscoveryError::Groups { from: from.to_owned(), reason: e.to_string() })
}

/// Pairs of a query, escaped as Go's `url.Values` does.
#[derive(Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        escape(name, &mut self.0);
        self.0.push('=');
        escape(value, &mut self.0);
    }

    pub(crate) fn on(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// Escapes what is neither a letter, a digit nor one of `-_.~`.
pub(crate) fn escape(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        net::{SocketAddr, TcpListener},
        sync::{Arc, Mutex},
        thread,
    };

    /// Status, headers and body; `None` lets the client wait for ever.
    pub(crate) type Answer = Option<(u16, Vec<(String, String)>, String)>;

    /// A server that answers as a test tells it to.
    pub(crate) struct Answers {
        pub(crate) address: SocketAddr,
        requests: Arc<Mutex<Vec<String>>>,
    }

    impl Answers {
        pub(crate) fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let requests = Arc::new(Mutex::new(Vec::new()));
            let (answer, seen) = (Arc::new(answer), requests.clone());
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let (Ok(stream), answer, seen) = (stream, answer.clone(), seen.clone()) else {
                        return;
                    };
                    thread::spawn(move || serve(stream, &*answer, &seen));
                }
            });
            Self { address, requests }
        }

        /// Answers with 200 and what belongs to the path without its query.
        pub(crate) fn of(pages: &[(&str, serde_json::Value)]) -> Self {
            let pages: Vec<_> =
                pages.iter().map(|(path, body)| ((*path).to_owned(), body.to_string())).collect();
            Self::start(move |path| {
                let bare = path.split('?').next().unwrap();
                let of = |at: &str| pages.iter().find(|(page, _)| page == at);
                let found = of(path).or_else(|| of(bare));
                Some(match found {
                    Some((_, body)) => (200, Vec::new(), body.clone()),
                    None => (404, Vec::new(), "{}".to_owned()),
                })
            })
        }

        /// The heads of the requests so far, then their bodies.
        pub(crate) fn requests(&self) -> Vec<String> {
            self.requests.lock().unwrap().clone()
        }
    }

    fn serve(
        stream: impl std::io::Read + std::io::Write + TryClone,
        answer: &dyn Fn(&str) -> Answer,
        seen: &Mutex<Vec<String>>,
    ) {
        let mut reader = BufReader::new(stream.another());
        let mut stream = stream;
        loop {
            let mut head = String::new();
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                head.push_str(&line);
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            std::io::Read::read_exact(&mut reader, &mut body).unwrap();
            head.push_str(&String::from_utf8(body).unwrap());
            let path = head.split(' ').nth(1).unwrap().to_owned();
            seen.lock().unwrap().push(head);
            let Some((status, headers, body)) = answer(&path) else {
                thread::park();
                return;
            };
            let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            if stream.write_all(format!("{text}\r\n{body}").as_bytes()).is_err() {
                return;
            }
        }
    }

    /// Streams that can be read and written side by side.
    trait TryClone: Sized {
        fn another(&self) -> Self;
    }

    impl TryClone for std::net::TcpStream {
        fn another(&self) -> Self {
            self.try_clone().unwrap()
        }
    }
}
