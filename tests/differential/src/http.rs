//! Just enough of an HTTP/1.1 client to ask a server on loopback thousands of times a second.

use std::{
    io::{BufRead as _, BufReader, Error, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A connection that is kept open; opened again after a failure.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

/// Status and body.
pub type Response = (u16, Vec<u8>);

impl Client {
    /// A client of this server; connects with the first request.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Sends a request. `headers` are whole lines without their ends.
    ///
    /// # Errors
    /// There is no answer, or it is not HTTP.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> std::io::Result<Response> {
        let kept = self.stream.is_some();
        let first = self.attempt(method, path, headers, body);
        // A kept connection may have been closed meanwhile.
        if first.is_err() && kept { self.attempt(method, path, headers, body) } else { first }
    }

    /// Sends a form.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> std::io::Result<Response> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = ["Content-Type: application/x-www-form-urlencoded"];
        self.send("POST", path, &kind, body.as_bytes())
    }

    fn attempt(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> std::io::Result<Response> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(2))?;
                stream.set_read_timeout(Some(Duration::from_secs(120)))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        stream.get_mut().write_all(&bytes)?;
        let response = read_response(&mut stream)?;
        self.stream = Some(stream);
        Ok(response)
    }
}

fn read_response(stream: &mut BufReader<TcpStream>) -> std::io::Result<Response> {
    let status = line(stream)?;
    let status = status.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status: u16 = status.ok_or_else(|| Error::other("an answer without a status"))?;
    let (mut length, mut chunked) = (0, false);
    loop {
        let header = line(stream)?;
        let Some((name, value)) = header.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(Error::other)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    let mut body = Vec::new();
    if !chunked {
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
        return Ok((status, body));
    }
    loop {
        let size = line(stream)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(Error::other)?;
        let from = body.len();
        body.resize(from + size, 0);
        stream.read_exact(&mut body[from..])?;
        line(stream)?;
        if size == 0 {
            return Ok((status, body));
        }
    }
}

fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut text = String::new();
    if stream.read_line(&mut text)? == 0 {
        return Err(Error::other("the connection was closed"));
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}
