//! Over real connections on the loopback interface.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{convert::Infallible, io::Write as _, sync::Arc, time::Duration};

use bytes::Bytes;
use firesteel_config::{DiscoveryConfig, HttpClientConfig, ScrapeConfig, StaticGroup};
use firesteel_model::{Labels, storage::memory::MemoryStorage};
use firesteel_scrape::{
    FetchRequest, Health, HttpFetch, MakeFetch as _, ScrapeManager, ScrapeOptions, once,
};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::mpsc};

type Reply = Response<BoxBody<Bytes, Infallible>>;

const PAGE: &str = "# HELP m Help.\nm{a=\"b\"} 1.5\nn 2 3000\n";

fn full(body: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(body.into()).boxed()
}

fn reply(request: &Request<Incoming>) -> Reply {
    let plain = || Response::builder().header("Content-Type", "text/plain; version=0.0.4");
    match request.uri().path() {
        "/gzip" => {
            assert_eq!(request.headers()["accept-encoding"], "gzip");
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(PAGE.as_bytes()).unwrap();
            plain().header("Content-Encoding", "gzip").body(full(gzip.finish().unwrap())).unwrap()
        }
        "/moved" => {
            Response::builder().status(302).header("Location", "/metrics").body(full("")).unwrap()
        }
        "/broken" => Response::builder().status(500).body(full("oh")).unwrap(),
        "/endless" => {
            let chunk = Bytes::from(vec![b'#'; 4096]);
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                while sender.send(Ok(Frame::data(chunk.clone()))).await.is_ok() {}
            });
            plain().body(Chunks(receiver).boxed()).unwrap()
        }
        "/headers" => {
            let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            let page = format!(
                "h{{agent=\"{}\",timeout=\"{}\",accept=\"{}\"}} 1\n",
                header("user-agent"),
                header("x-prometheus-scrape-timeout-seconds"),
                header("accept").len(),
            );
            plain().body(full(page)).unwrap()
        }
        "/untyped" => Response::new(full(PAGE)),
        _ => plain().body(full(PAGE)).unwrap(),
    }
}

/// A body from a channel.
struct Chunks(mpsc::Receiver<Result<Frame<Bytes>, Infallible>>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx)
    }
}

/// A server on a free port; tells the path of each request once it has replied.
async fn server() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let _ = sender.send(request.uri().path().to_owned());
                    std::future::ready(Ok::<_, Infallible>(reply(&request)))
                });
                let connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, receiver)
}

#[tokio::test]
async fn replies_of_every_kind() {
    let (address, _served) = server().await;
    let fetch = HttpFetch::default().make(&HttpClientConfig::default()).unwrap();
    let get = async |path: &str| {
        let mut request = FetchRequest::new(format!("http://{address}{path}"));
        request.body_size_limit = 100_000;
        fetch.fetch(&request, 0).await.map_err(|e| e.to_string())
    };
    for path in ["/metrics", "/gzip", "/moved"] {
        let page = get(path).await.unwrap();
        assert_eq!(page.body, PAGE.as_bytes(), "{path}");
        assert_eq!(page.content_type, "text/plain; version=0.0.4");
    }
    assert_eq!(get("/untyped").await.unwrap().content_type, "");
    let error = get("/broken").await.unwrap_err();
    assert_eq!(error, "server returned HTTP status 500 Internal Server Error");
    assert_eq!(get("/endless").await.unwrap_err(), "body size limit exceeded");
    let headers = String::from_utf8(get("/headers").await.unwrap().body.into()).unwrap();
    assert!(headers.contains("agent=\"Prometheus/3.14.0\",timeout=\"10\""), "{headers}");
    let refused = FetchRequest::new("http://127.0.0.1:1/metrics");
    let error = fetch.fetch(&refused, 0).await.unwrap_err().to_string();
    assert!(error.starts_with("Get \"http://127.0.0.1:1/metrics\": "), "{error}");
}

#[tokio::test]
async fn one_page_without_any_configuration() {
    let (address, _served) = server().await;
    let samples = once(&format!("http://{address}/metrics")).await.unwrap();
    let lines: Vec<_> =
        samples.iter().map(|s| format!("{} {} {:?}", s.labels, s.value, s.timestamp)).collect();
    assert_eq!(lines, ["{__name__=\"m\", a=\"b\"} 1.5 None", "{__name__=\"n\"} 2 Some(3000)"]);
    let error = once(&format!("http://{address}/untyped")).await.unwrap_err().to_string();
    assert!(error.contains("blank Content-Type"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_configuration_to_storage() {
    let (address, mut served) = server().await;
    let mut job = ScrapeConfig::new("j");
    job.scrape_interval = Duration::from_millis(100);
    job.scrape_timeout = Duration::from_millis(100);
    let group = StaticGroup::new(vec![address.clone()], Labels::from_pairs([("site", "x")]));
    job.discovery = vec![DiscoveryConfig::Static(vec![group])];
    let storage = MemoryStorage::new();
    let options = ScrapeOptions::new(Arc::new(HttpFetch::default()));
    let manager = ScrapeManager::new(Arc::new(storage.clone()), options);
    manager.apply_jobs(&[job], &Labels::empty()).unwrap();
    for _ in 0..4 {
        assert_eq!(served.recv().await.unwrap(), "/metrics");
    }
    let snapshot = manager.targets();
    manager.shutdown().await;
    let target = &snapshot[0].active[0];
    assert_eq!((target.health, &*target.last_error), (Health::Up, ""));
    assert_eq!(target.scrape_url, format!("http://{address}/metrics"));
    let m = Labels::from_pairs([
        ("__name__", "m"),
        ("a", "b"),
        ("instance", address.as_str()),
        ("job", "j"),
        ("site", "x"),
    ]);
    // One more of the same time is refused, so the series is there.
    assert!(storage.add_floats(&m, [(0, 1.0)]).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_leads_through_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let (sender, mut served) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let host = request.headers()["host"].to_str().unwrap().to_owned();
                let _ = sender.send(format!("{host} {}", request.uri().path()));
                std::future::ready(Ok::<_, Infallible>(reply(&request)))
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    let mut job = ScrapeConfig::new("j");
    job.scrape_interval = Duration::from_millis(100);
    job.scrape_timeout = Duration::from_millis(100);
    let socket = Labels::from_pairs([("__unix_socket__", path.to_str().unwrap())]);
    let group = StaticGroup::new(vec!["somewhere:80".to_owned()], socket);
    job.discovery = vec![DiscoveryConfig::Static(vec![group])];
    let storage = Arc::new(MemoryStorage::new());
    let options = ScrapeOptions::new(Arc::new(HttpFetch::default()));
    let manager = ScrapeManager::new(storage, options);
    manager.apply_jobs(&[job], &Labels::empty()).unwrap();
    for _ in 0..3 {
        assert_eq!(served.recv().await.unwrap(), "somewhere:80 /metrics");
    }
    let target = &manager.targets()[0].active[0];
    assert_eq!((target.health, &*target.last_error), (Health::Up, ""));
    assert_eq!(target.labels.get("instance"), Some("somewhere:80"));
    manager.shutdown().await;
}
