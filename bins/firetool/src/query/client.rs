//! Asks a server's API, and says what went wrong as promtool does.

use std::{path::Path, time::Duration};

use firesteel_config::{HttpClientConfig, OsFiles, load_http_client};
use firesteel_net::{HttpClient, Request};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde_json::Value;

use crate::Failure;

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A server's API.
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    http: HttpClient,
    base: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Client {
    /// For the server at `url`, with the settings of an HTTP client's file and more headers.
    pub(crate) fn new(
        url: &str,
        config: Option<&Path>,
        headers: &[String],
    ) -> Result<Self, Failure> {
        let config = match config {
            Some(file) => load_http_client(file, &OsFiles).map_err(|e| {
                Failure::Message(format!("failed to load HTTP config file {}: {e}", file.display()))
            })?,
            None => HttpClientConfig::default(),
        };
        let failed = |e: &dyn std::error::Error| Failure::of("error creating API client", e);
        let http = HttpClient::new(&config).map_err(|e| failed(&e))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| failed(&e))?;
        let with_scheme =
            if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let base = with_scheme.trim_end_matches('/').to_owned();
        let headers = headers.iter().map(|h| parse_header(h)).collect::<Result<_, _>>()?;
        Ok(Self { runtime, http, base, headers })
    }

    /// The data of a call that is posted; by GET where the server knows no other way.
    pub(crate) fn call(&self, path: &str, pairs: &[(&str, String)]) -> Result<Value, Failure> {
        let form: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs.iter().map(|(k, v)| (*k, v.as_str())))
            .finish();
        let (status, body) = self.send(Method::POST, path, &form)?;
        if matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
            let (status, body) = self.send(Method::GET, path, &form)?;
            return data(status, &body);
        }
        data(status, &body)
    }

    /// The data of a call by GET.
    pub(crate) fn get(&self, path: &str, pairs: &[(&str, String)]) -> Result<Value, Failure> {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs.iter().map(|(k, v)| (*k, v.as_str())))
            .finish();
        let (status, body) = self.send(Method::GET, path, &query)?;
        data(status, &body)
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        form: &str,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let failed = |e: &dyn std::error::Error| Failure::of("query error", e);
        let posts = method == Method::POST;
        let question = if posts { String::new() } else { format!("?{form}") };
        let uri: Uri =
            format!("{}/api/v1/{path}{question}", self.base).parse().map_err(|e| failed(&e))?;
        let body = if posts { form.to_owned() } else { String::new() };
        let mut request = Request::post(uri, body);
        request.method = method;
        request.timeout = TIMEOUT;
        if posts {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers.insert(header::CONTENT_TYPE, form);
        }
        let gzip = HeaderValue::from_static("gzip");
        request.headers.insert(header::ACCEPT_ENCODING, gzip);
        request.headers.extend(self.headers.iter().cloned());
        self.runtime.block_on(async {
            let mut response = self.http.send(request).await.map_err(|e| failed(&e))?;
            let body = response.body.whole(0).await.map_err(|e| failed(&e))?;
            Ok((response.status, body.into()))
        })
    }
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let wrong = || Failure::Message(format!("expected KEY=VALUE got {text:?}"));
    let at = text.find(['=', ':']).ok_or_else(wrong)?;
    let name = text[..at].trim().parse().map_err(Failure::new)?;
    Ok((name, text[at + 1..].trim().parse().map_err(Failure::new)?))
}

/// What an answer says, or its error as Prometheus' Go client words it.
fn data(status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
    let answers = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
    if !status.is_success() && !answers {
        let kind = if status.is_client_error() { "client" } else { "server" };
        let detail = String::from_utf8_lossy(body);
        return Err(Failure::Message(format!(
            "query error: {kind}_error: {kind} error: {} (detail: {})",
            status.as_u16(),
            detail.trim()
        )));
    }
    let bad = |text: String| Failure::Message(format!("query error: bad_response: {text}"));
    let mut answer: Value = serde_json::from_slice(body).map_err(|e| bad(e.to_string()))?;
    if answers {
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        if answer["status"] == "success" {
            return Err(bad("inconsistent body for response code".to_owned()));
        }
        let text = format!("query error: {}: {}", text("errorType"), text("error"));
        return Err(Failure::Message(text));
    }
    Ok(answer["data"].take())
}
