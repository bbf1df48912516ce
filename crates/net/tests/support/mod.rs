//! A small HTTP/1.1 server on the loopback interface that remembers what it was asked.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
}

/// Requests' heads, and how many connections there were.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<(Vec<String>, usize)>>);

impl Log {
    pub(crate) fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().0.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.0.lock().unwrap().1
    }

    pub(crate) fn connected(&self) {
        self.0.lock().unwrap().1 += 1;
    }
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> http::Uri {
        format!("http://{}{path}", self.address).parse().unwrap()
    }
}

/// Answers every request with what `answer` makes of its head.
pub(crate) async fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = Log::default();
    let (answer, shared) = (Arc::new(answer), log.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            shared.connected();
            tokio::spawn(talk(stream, answer.clone(), shared.clone()));
        }
    });
    Server { address, log }
}

pub(crate) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: Arc<impl Fn(&str) -> Vec<u8>>,
    log: Log,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        log.0.lock().unwrap().0.push(head.clone());
        if stream.write_all(&answer(&head)).await.is_err() {
            return;
        }
    }
}

/// An answer with a body and further headers.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len())
        .into_bytes();
    out.extend_from_slice(body);
    out
}

pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", "", body)
}

pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}
