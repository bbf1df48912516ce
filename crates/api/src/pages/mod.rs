//! Plain server-rendered pages: the face without JavaScript. No script runs on them and nothing
//! foreign loads, which their content security policy states.

mod html;
mod query;
mod rules;
mod status;
mod targets;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Redirect},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};

use crate::{
    params::Params,
    service::{Inner, Response, Routes},
};

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'self'";

type Render = fn(&Inner, &Params) -> String;

/// A page of the menu: its path, its name and what renders it.
const PAGES: [(&str, &str, Render); 7] = [
    ("/query", "Query", query::render),
    ("/alerts", "Alerts", rules::alerts),
    ("/rules", "Rules", rules::rules),
    ("/targets", "Targets", targets::render),
    ("/status", "Status", status::status),
    ("/config", "Configuration", status::config),
    ("/flags", "Flags", status::flags),
];

pub(crate) fn routes(mut router: Routes) -> Routes {
    for (path, _, render) in PAGES {
        router = router.route(
            path,
            get(move |State(inner): State<Arc<Inner>>, request: Request| {
                page(inner, request, render)
            }),
        );
    }
    router
        .route("/", get(|State(inner): State<Arc<Inner>>| async move { to_query(&inner, "") }))
        .route("/graph", get(graph))
        .route("/assets/style.css", get(style))
        .route("/version", get(version))
}

/// Only ever to a path of our own.
fn to_query(inner: &Inner, query: &str) -> Redirect {
    let question = if query.is_empty() { "" } else { "?" };
    Redirect::temporary(&format!("{}/query{question}{query}", inner.prefix))
}

async fn graph(State(inner): State<Arc<Inner>>, request: Request) -> Redirect {
    to_query(&inner, request.uri().query().unwrap_or_default())
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"))], STYLE)
        .into_response()
}

async fn version(State(inner): State<Arc<Inner>>) -> Response {
    match &inner.status {
        Some(status) => axum::Json(status.build_info()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn page(inner: Arc<Inner>, request: Request, render: Render) -> Response {
    let params = Params::new(b"", request.uri().query().unwrap_or_default(), None);
    let rendered = tokio::task::spawn_blocking(move || render(&inner, &params)).await;
    let Ok(text) = rendered else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "rendering the page failed").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (headers, text).into_response()
}
