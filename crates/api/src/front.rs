//! What stands between a listener and the service: TLS, and who may ask.

use std::{future::Future, io};

use http::{HeaderMap, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::service::Body;

/// Makes connections of what was accepted, and turns requests away. Clones share everything.
pub trait Front: Clone + Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Makes a connection, by a handshake for example. It is given up after
    /// [`crate::ServeOptions::header_timeout`].
    ///
    /// # Errors
    /// There is none; this is logged at the level `debug`.
    fn accept(&self, stream: TcpStream) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Looks at a request's headers before the service does: the headers to add to its answer, or
    /// the answer in its place.
    ///
    /// # Errors
    /// The service must not see the request.
    fn admit(
        &self,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<HeaderMap, Box<Response<Body>>>> + Send;
}

/// Plain TCP, and everybody may ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Front for Open {
    type Stream = TcpStream;

    async fn accept(&self, stream: TcpStream) -> io::Result<TcpStream> {
        Ok(stream)
    }

    async fn admit(&self, _: &HeaderMap) -> Result<HeaderMap, Box<Response<Body>>> {
        Ok(HeaderMap::new())
    }
}
