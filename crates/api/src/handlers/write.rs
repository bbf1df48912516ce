//! `/write`: the remote write 1.0 receiver.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::IntoResponse,
};
use firesteel_remote::{WriteLimits, WriteMessage, write as write_request};
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
    match tokio::task::spawn_blocking(move || receive(&inner, &body)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "the remote write receiver failed; this is a bug");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn receive(inner: &Inner, body: &[u8]) -> Response {
    let Some(storage) = &inner.write else { return StatusCode::NOT_FOUND.into_response() };
    match write_request(body, storage.as_ref(), inner.clock.now(), &WriteLimits::default()) {
        Ok(outcome) => {
            if let Some(example) = &outcome.invalid_example {
                let count = outcome.invalid_series;
                tracing::warn!(count, example, "remote write: series with invalid labels left out");
            }
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => {
            tracing::warn!("remote write: {error}");
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
            (status, format!("{error}\n")).into_response()
        }
    }
}

/// What Prometheus' receiver checks of the headers: an unnamed or the 1.0 message, in snappy.
fn check_headers(headers: &HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let content_type = text(header::CONTENT_TYPE);
    match WriteMessage::from_content_type(content_type) {
        Ok(WriteMessage::V1) => {}
        Ok(other) => {
            return Err(format!(
                "{} is not accepted by this version yet, only {}",
                other.as_str(),
                WriteMessage::V1.as_str()
            ));
        }
        Err(error) => return Err(error.to_string()),
    }
    match text(header::CONTENT_ENCODING) {
        "" | "snappy" => Ok(()),
        other => Err(format!(
            "{other} encoding (compression) is not accepted by this server; only snappy is acceptable"
        )),
    }
}
