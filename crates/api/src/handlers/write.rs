//! `/write`: the remote write 1.0 receiver.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::IntoResponse,
};
use http::{HeaderMap, StatusCode, header};

use crate::service::{Inner, Response, read_write_body, respond_error, unavailable};

/// Prometheus' text where the receiver is off.
const DISABLED: &str =
    "remote write receiver needs to be enabled with --web.enable-remote-write-receiver";

pub(crate) async fn write(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    if !inner.is_ready() {
        return unavailable();
    }
    if inner.write.is_none() {
        return (StatusCode::NOT_FOUND, format!("{DISABLED}\n")).into_response();
    }
    let (parts, body) = request.into_parts();
    if let Err(text) = check_headers(&parts.headers) {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{text}\n")).into_response();
    }
    let body = match read_write_body(body).await {
        Ok(body) => body,
        Err(error) => return respond_error(&error),
    };
    // Decoding and appending is work for a processor, not for the network's threads.
    let done = tokio::task::spawn_blocking(move || {
        let Some(appendable) = &inner.write else { return (StatusCode::NOT_FOUND, String::new()) };
        firesteel_remote::receive(&body, appendable.as_ref(), inner.clock.now())
    });
    match done.await {
        Ok((status, text)) if text.is_empty() => status.into_response(),
        Ok((status, text)) => (status, format!("{text}\n")).into_response(),
        Err(error) => {
            tracing::error!(%error, "the remote write receiver failed; this is a bug");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What Prometheus' receiver checks of the headers: an unnamed or the 1.0 message, in snappy.
fn check_headers(headers: &HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let content_type = text(header::CONTENT_TYPE);
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    if !matches!(media, "" | "application/x-protobuf") {
        return Err(format!(
            "expected application/x-protobuf as the first (media) part, got {content_type} content-type"
        ));
    }
    for part in parts {
        if let Some(("proto", message)) = part.split_once('=')
            && message != "prometheus.WriteRequest"
        {
            return Err(format!(
                "remote write message {message} is not accepted by this server, expected \
                 prometheus.WriteRequest"
            ));
        }
    }
    match text(header::CONTENT_ENCODING) {
        "" | "snappy" => Ok(()),
        other => Err(format!(
            "{other} encoding (compression) is not accepted by this server; only snappy is acceptable"
        )),
    }
}
