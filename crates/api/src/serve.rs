//! Serves the API on a listener: connections with limits, HTTP/1 and HTTP/2, graceful stop.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{
    front::{Front, Open},
    service::{ApiService, Body},
};

/// How connections are served.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// Connections at a time; more wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take for its handshake, and to send a request's headers.
    pub header_timeout: Duration,
    /// How long running requests may go on after the stop.
    pub drain: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_connections: 512,
            header_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

/// Serves everybody until `stop` is done, then lets running requests finish.
pub async fn serve(
    listener: TcpListener,
    service: ApiService,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
) {
    serve_behind(listener, service, Open, options, stop).await;
}

/// The same, behind a [`Front`].
pub async fn serve_behind(
    listener: TcpListener,
    service: ApiService,
    front: impl Front,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(options.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(options.header_timeout);
    builder.http2().timer(TokioTimer::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = &mut stop => break,
            accepted = accept => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: waiting is all that helps.
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = Admitted { front: front.clone(), service: service.of_client(peer.ip()) };
        let (front, builder, watcher) = (front.clone(), builder.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _place = place;
            let handshake = tokio::time::timeout(options.header_timeout, front.accept(stream));
            let stream = match handshake.await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "handshake failed");
                    return;
                }
                Err(_) => {
                    tracing::debug!(%peer, "handshake took too long");
                    return;
                }
            };
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "a connection ended with an error");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(options.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests still running after {:?} were cut off", options.drain);
    }
}

/// The service of one connection behind its front.
struct Admitted<F> {
    front: F,
    service: ApiService,
}

impl<F: Front> Service<http::Request<Incoming>> for Admitted<F> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let (front, mut service) = (self.front.clone(), self.service.clone());
        Box::pin(async move {
            let headers = match front.admit(request.headers()).await {
                Ok(headers) => headers,
                Err(answer) => return Ok(*answer),
            };
            let mut response = tower_service::Service::call(&mut service, request).await?;
            response.headers_mut().extend(headers);
            Ok(response)
        })
    }
}
