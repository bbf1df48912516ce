//! `http_sd_configs`: lists of targets from a server. Source: `discovery/http/http.go`.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use firesteel_config::HttpSdConfig;
use firesteel_net::{HttpClient, Limits, Request};
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use tokio_util::sync::CancellationToken;

use crate::{Discoverer, DiscoveryError, DiscoveryMetrics, TargetGroup, Updates, json};

/// The label that holds the URL.
const META_URL: &str = "__meta_url";
/// The largest answer.
const MAX_BYTES: u64 = 256 << 20;

/// Finds the targets that a server lists.
#[derive(Debug)]
pub struct HttpDiscoverer {
    client: HttpClient,
    url: String,
    uri: Uri,
    headers: HeaderMap,
    refresh: Duration,
    metrics: Arc<DiscoveryMetrics>,
    /// How many groups the last answer had.
    last: usize,
}

impl HttpDiscoverer {
    /// From one entry of `http_sd_configs`.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(
        config: &HttpSdConfig,
        user_agent: &str,
        metrics: Arc<DiscoveryMetrics>,
    ) -> Result<Self, DiscoveryError> {
        let fail = |reason: String| DiscoveryError::Http(format!("{}: {reason}", config.url));
        let client = HttpClient::new(&config.http).map_err(|e| fail(e.to_string()))?;
        let url = config.url.as_str().split('#').next().unwrap_or_default();
        let uri: Uri = url.parse().map_err(|_| fail("not a URL".to_owned()))?;
        let refresh = config.refresh_interval.max(Duration::from_secs(1));
        let seconds = firesteel_model::float::format_f(refresh.as_secs_f64());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        for (name, value) in [
            (USER_AGENT, user_agent),
            (
                http::HeaderName::from_static("x-prometheus-refresh-interval-seconds"),
                seconds.as_str(),
            ),
        ] {
            let value = HeaderValue::from_str(value).map_err(|e| fail(e.to_string()))?;
            headers.insert(name, value);
        }
        let url = config.url.as_str().to_owned();
        Ok(Self { client, url, uri, headers, refresh, metrics, last: 0 })
    }

    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let mut request = Request::get(self.uri.clone());
        request.headers = self.headers.clone();
        request.limits = Limits::body(MAX_BYTES);
        request.timeout = self.refresh;
        let fail = |e: String| DiscoveryError::Http(e);
        let mut response = self.client.send(request).await.map_err(|e| fail(e.to_string()))?;
        if response.status != StatusCode::OK {
            return Err(fail(format!("server returned HTTP status {}", response.status)));
        }
        let content_type = response.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let content_type = String::from_utf8_lossy(content_type.unwrap_or_default());
        if !is_json(&content_type) {
            return Err(fail(format!("unsupported content type {content_type:?}")));
        }
        let mut body = Vec::new();
        response.body.read_to_end(&mut body).await.map_err(|e| fail(e.to_string()))?;
        let mut groups = json::groups(&self.url, META_URL, &body)?;
        let found = groups.len();
        groups.extend((found..self.last).map(|i| TargetGroup::gone(format!("{}:{i}", self.url))));
        self.last = found;
        Ok(groups)
    }

    async fn poll(mut self, updates: Updates) {
        let mut ticks = tokio::time::interval(self.refresh);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.refresh().await {
                Ok(groups) => {
                    if !updates.send(groups).await {
                        return;
                    }
                }
                Err(error) => {
                    self.metrics.http_failures.inc();
                    tracing::error!(%error, "unable to refresh target groups; those found earlier stay");
                }
            }
        }
    }
}

/// `application/json`, also with `charset=utf-8`.
fn is_json(content_type: &str) -> bool {
    let lower = content_type.to_ascii_lowercase();
    match lower.split_once(';') {
        None => lower == "application/json",
        Some((kind, parameter)) => {
            kind == "application/json"
                && matches!(parameter.trim_start(), "charset=utf-8" | "charset=\"utf-8\"")
        }
    }
}

impl Discoverer for HttpDiscoverer {
    fn run(
        self: Box<Self>,
        updates: Updates,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            tokio::select! {
                () = self.poll(updates) => {}
                () = shutdown.cancelled() => {}
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use firesteel_config::Url;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A server that gives one answer per connection, then waits.
    async fn serve(answers: Vec<(&'static str, &'static str, &'static str)>) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for (status, kind, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.contains("x-prometheus-refresh-interval-seconds: 60\r\n"), "{head}");
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Url::parse(&format!("http://{address}/sd")).unwrap()
    }

    #[tokio::test]
    async fn keeps_targets_when_a_refresh_fails() {
        let two = r#"[{"targets":["a:1"]},{"targets":["a:2"],"labels":{"x":"1"}}]"#;
        let url = serve(vec![
            ("200 OK", "application/json; charset=utf-8", two),
            ("500 Internal Server Error", "text/plain", ""),
            ("200 OK", "text/html", "[]"),
            ("200 OK", "application/json", r#"[{"targets":["a:3"]}]"#),
        ])
        .await;
        let config = HttpSdConfig::new(url.clone());
        let mut sd = HttpDiscoverer::new(&config, "Prometheus/test", Arc::default()).unwrap();
        let groups = sd.refresh().await.unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[1].labels.get(META_URL), Some(url.as_str()));
        assert_eq!(
            sd.refresh().await.unwrap_err().to_string(),
            "server returned HTTP status 500 Internal Server Error"
        );
        assert!(sd.refresh().await.unwrap_err().to_string().contains("unsupported content type"));
        let groups = sd.refresh().await.unwrap();
        assert_eq!(groups[0].targets.len(), 1);
        assert_eq!((&*groups[1].source, groups[1].targets.len()), (&*format!("{url}:1"), 0));
    }
}
