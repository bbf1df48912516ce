//! `/-/healthy`, `/-/ready`, `/-/reload`, `/-/quit` and `/metrics`.

use std::sync::Arc;

use axum::{
    extract::State,
    response::IntoResponse,
    routing::{MethodFilter, get, on},
};
use firesteel_model::metrics::{Collect, Families};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::service::{Inner, Response, Routes, accepts_gzip, gzip, unavailable};

pub(crate) fn routes(router: Routes) -> Routes {
    let write = MethodFilter::POST.or(MethodFilter::PUT);
    router
        .route("/-/healthy", get(|| async { "Prometheus Server is Healthy.\n" }))
        .route("/-/ready", get(ready))
        .route("/-/reload", on(write, reload).fallback(only_post))
        .route("/-/quit", on(write, quit).fallback(only_post))
        .route("/metrics", get(metrics))
}

async fn only_post() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed").into_response()
}

async fn ready(State(inner): State<Arc<Inner>>) -> Response {
    if inner.is_ready() {
        return "Prometheus Server is Ready.\n".into_response();
    }
    let mut response = unavailable();
    let text = inner.status.as_ref().map_or_else(String::new, |s| s.wal_replay().text);
    if !text.is_empty() {
        *response.body_mut() = format!("Service Unavailable\n{text}\n").into();
    }
    response
}

fn disabled() -> Response {
    (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response()
}

async fn reload(State(inner): State<Arc<Inner>>) -> Response {
    let Some(lifecycle) = inner.lifecycle.clone().filter(|l| l.is_enabled()) else {
        return disabled();
    };
    match tokio::task::spawn_blocking(move || lifecycle.reload()).await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(why)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {why}\n"))
                .into_response()
        }
        Err(error) => {
            tracing::error!(%error, "reloading failed; this is a bug");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn quit(State(inner): State<Arc<Inner>>) -> Response {
    let Some(lifecycle) = inner.lifecycle.clone().filter(|l| l.is_enabled()) else {
        return disabled();
    };
    lifecycle.quit();
    "Requesting termination... Goodbye!".into_response()
}

async fn metrics(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    // Prometheus names protobuf first where it scrapes native histograms.
    let protobuf = accept.trim_start().starts_with("application/vnd.google.protobuf");
    let open_metrics = !protobuf && accept.contains("application/openmetrics-text");
    let compress = accepts_gzip(&headers);
    let rendered = tokio::task::spawn_blocking(move || {
        let mut families = Families::new();
        inner.http.collect(&mut families);
        for source in &inner.metrics {
            source.collect(&mut families);
        }
        let families = families.into_sorted();
        let mut page = Vec::with_capacity(64 << 10);
        if protobuf {
            firesteel_exposition::encode_protobuf(&families, &mut page);
        } else if open_metrics {
            firesteel_exposition::encode_openmetrics(&families, &mut page);
        } else {
            firesteel_exposition::encode_text(&families, &mut page);
        }
        if compress { gzip(&page) } else { Ok(page) }
    });
    let Ok(Ok(page)) = rendered.await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let kind = if protobuf {
        firesteel_exposition::PROTOBUF_CONTENT_TYPE
    } else if open_metrics {
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
    } else {
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    };
    let mut response =
        ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], page).into_response();
    if compress {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    response
}
