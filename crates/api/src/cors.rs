//! Which pages of other origins may read answers. Source: `util/httputil/cors.go`.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::IntoResponse as _,
};
use http::{HeaderValue, StatusCode, header};

use crate::service::{Inner, Response};

/// What every origin is told, whether it may read the answer or not.
const FIXED: [(http::HeaderName, HeaderValue); 3] = [
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Accept, Authorization, Content-Type, Origin"),
    ),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS")),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date")),
];

/// Adds the headers to the answers of the API.
pub(crate) async fn headers(
    State(inner): State<Arc<Inner>>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|origin| !origin.is_empty()) {
        for (name, value) in FIXED {
            headers.insert(name, value);
        }
        let may = |text: &str| inner.cors_origin.as_ref().is_none_or(|regex| regex.is_match(text));
        if origin.to_str().is_ok_and(may) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
    response
}

/// What a browser asks before it sends anything else.
pub(crate) async fn preflight() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
