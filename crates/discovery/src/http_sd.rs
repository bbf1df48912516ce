//! `http_sd_configs`: lists of targets from a server. Source: `discovery/http/http.go`.

use std::sync::Arc;

use firesteel_config::HttpSdConfig;
use http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};

use crate::{
    DiscoveryError, DiscoveryMetrics, Mechanisms, TargetGroup,
    http_api::Api,
    json,
    refresh::{Polled, Refresh},
};

/// The label that holds the URL.
const META_URL: &str = "__meta_url";
/// From one entry of `http_sd_configs`.
///
/// # Errors
/// The HTTP client cannot be made.
pub(crate) fn discoverer(
    config: &HttpSdConfig,
    mechanisms: &Mechanisms,
) -> Result<Polled<HttpSd>, DiscoveryError> {
    let url = config.url.as_str().to_owned();
    let interval = config.refresh_interval;
    let mut api = Api::new("", &config.http, &mechanisms.user_agent, interval)?;
    let seconds = firesteel_model::float::format_f(interval.as_secs_f64());
    if let Ok(seconds) = HeaderValue::from_str(&seconds) {
        let name = HeaderName::from_static("x-prometheus-refresh-interval-seconds");
        api.headers.insert(name, seconds);
    }
    let metrics = mechanisms.metrics.clone();
    let source = HttpSd { api, url, metrics: metrics.clone(), last: 0 };
    Ok(Polled { mechanism: "http", interval, metrics, source })
}

/// The targets that a server lists.
#[derive(Debug)]
pub(crate) struct HttpSd {
    api: Api,
    url: String,
    metrics: Arc<DiscoveryMetrics>,
    /// How many groups the last answer had.
    last: usize,
}

impl HttpSd {
    async fn groups(&self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let (response, body) =
            self.api.bytes(self.url.split('#').next().unwrap_or_default()).await?;
        let fail = DiscoveryError::Http;
        if response.status != StatusCode::OK {
            return Err(fail(format!("server returned HTTP status {}", response.status)));
        }
        let content_type = response.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let content_type = String::from_utf8_lossy(content_type.unwrap_or_default());
        if !is_json(content_type.trim()) {
            return Err(fail(format!("unsupported content type {content_type:?}")));
        }
        json::groups(&self.url, META_URL, &body)
    }
}

impl Refresh for HttpSd {
    async fn refresh(&mut self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let groups = self.groups().await.inspect_err(|_| self.metrics.http_failures.inc());
        let mut groups = groups?;
        let found = groups.len();
        groups.extend((found..self.last).map(|i| TargetGroup::gone(format!("{}:{i}", self.url))));
        self.last = found;
        Ok(groups)
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
        let mut sd = discoverer(&config, &Mechanisms::new("Prometheus/test")).unwrap().source;
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
