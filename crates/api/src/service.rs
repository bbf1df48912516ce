//! The API as a `tower::Service`.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Request, State},
    response::IntoResponse,
    routing::{MethodFilter, MethodRouter, on, options},
};
use firesteel_model::{
    clock::{Clock, SystemClock},
    metrics::Collect,
    regex::Regex,
    storage::{Appendable, CancelToken, Queryable},
};
use firesteel_promql::{Engine, QueryOrigin, parse};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};

use crate::{
    cors,
    endpoints::{Action, ENDPOINTS, Endpoint, Handler, OWN_ENDPOINTS},
    envelope::{ApiError, ErrorKind, Reply},
    handlers,
    http_metrics::HttpMetrics,
    management, pages,
    params::{Params, SignedDuration, Turn},
    payload::Payload,
    sources::{ExemplarSource, Lifecycle, RuleSource, StatusSource, StorageAdmin, TargetSource},
};

/// The largest form that is read, in bytes; Go's limit for posted forms.
const MAX_FORM: usize = 10 << 20;
/// The largest body of a remote write request, in bytes, compressed.
const MAX_WRITE: usize = 32 << 20;
/// Answers shorter than this are not worth compressing.
const MIN_COMPRESS: usize = 1400;

/// What the handlers share.
pub(crate) struct Inner {
    pub(crate) engine: Arc<Engine>,
    pub(crate) queryable: Arc<dyn Queryable>,
    pub(crate) targets: Option<Arc<dyn TargetSource>>,
    pub(crate) rules: Option<Arc<dyn RuleSource>>,
    pub(crate) status: Option<Arc<dyn StatusSource>>,
    pub(crate) lifecycle: Option<Arc<dyn Lifecycle>>,
    pub(crate) write: Option<Arc<dyn Appendable>>,
    pub(crate) admin: Option<Arc<dyn StorageAdmin>>,
    pub(crate) exemplars: Option<Arc<dyn ExemplarSource>>,
    pub(crate) metrics: Vec<Arc<dyn Collect>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) http: HttpMetrics,
    pub(crate) prefix: String,
    pub(crate) page_title: String,
    pub(crate) per_step_stats: bool,
    /// The origins whose pages may read answers; `None` for all.
    pub(crate) cors_origin: Option<Regex>,
}

impl Inner {
    pub(crate) fn is_ready(&self) -> bool {
        self.status.as_ref().is_none_or(|s| s.is_ready())
    }

    pub(crate) fn can_query(&self) -> bool {
        self.status.as_ref().is_none_or(|s| s.can_query())
    }
}

/// Puts an API together.
pub struct ApiBuilder {
    inner: Inner,
}

impl std::fmt::Debug for ApiBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiBuilder")
    }
}

/// The way in: [`Api::builder`].
#[derive(Debug)]
pub struct Api;

impl Api {
    /// An API that answers queries over `queryable` with `engine`.
    #[must_use]
    pub fn builder(engine: Arc<Engine>, queryable: Arc<dyn Queryable>) -> ApiBuilder {
        ApiBuilder {
            inner: Inner {
                engine,
                queryable,
                targets: None,
                rules: None,
                status: None,
                lifecycle: None,
                write: None,
                admin: None,
                exemplars: None,
                metrics: Vec::new(),
                clock: Arc::new(SystemClock::new()),
                http: HttpMetrics::default(),
                prefix: String::new(),
                page_title: "Firesteel".to_owned(),
                per_step_stats: false,
                cors_origin: None,
            },
        }
    }
}

impl ApiBuilder {
    /// Where `/targets` and metadata come from.
    #[must_use]
    pub fn targets(mut self, targets: Arc<dyn TargetSource>) -> Self {
        self.inner.targets = Some(targets);
        self
    }

    /// Where rules and alerts come from; without it there are none.
    #[must_use]
    pub fn rules(mut self, rules: Arc<dyn RuleSource>) -> Self {
        self.inner.rules = Some(rules);
        self
    }

    /// Where `/status/*` and readiness come from; without it the API is ready at once.
    #[must_use]
    pub fn status(mut self, status: Arc<dyn StatusSource>) -> Self {
        self.inner.status = Some(status);
        self
    }

    /// What `/-/reload` and `/-/quit` do; without it they answer 403.
    #[must_use]
    pub fn lifecycle(mut self, lifecycle: Arc<dyn Lifecycle>) -> Self {
        self.inner.lifecycle = Some(lifecycle);
        self
    }

    /// Where remote write requests go; without it `/api/v1/write` answers 404.
    #[must_use]
    pub fn write(mut self, appendable: Arc<dyn Appendable>) -> Self {
        self.inner.write = Some(appendable);
        self
    }

    /// What `/api/v1/admin/tsdb/*` does; without it these answer that they are disabled.
    #[must_use]
    pub fn admin(mut self, admin: Arc<dyn StorageAdmin>) -> Self {
        self.inner.admin = Some(admin);
        self
    }

    /// Where exemplars come from; without it there are none.
    #[must_use]
    pub fn exemplars(mut self, source: Arc<dyn ExemplarSource>) -> Self {
        self.inner.exemplars = Some(source);
        self
    }

    /// Adds a source of `/metrics`.
    #[must_use]
    pub fn metrics(mut self, source: Arc<dyn Collect>) -> Self {
        self.inner.metrics.push(source);
        self
    }

    /// Where "now" comes from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.inner.clock = clock;
        self
    }

    /// Serves everything below this path, for example `/prometheus`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.inner.prefix = prefix.trim_end_matches('/').to_owned();
        self
    }

    /// Title of the pages.
    #[must_use]
    pub fn page_title(mut self, title: &str) -> Self {
        title.clone_into(&mut self.inner.page_title);
        self
    }

    /// Whether `stats=all` counts samples by step (`promql-per-step-stats`), which is work.
    #[must_use]
    pub fn per_step_stats(mut self, on: bool) -> Self {
        self.inner.per_step_stats = on;
        self
    }

    /// The origins whose pages may read answers (CORS), all of them by default.
    #[must_use]
    pub fn cors_origin(mut self, origins: Regex) -> Self {
        self.inner.cors_origin = Some(origins);
        self
    }

    /// The service. Must be called where a tokio runtime runs it later; starts nothing itself.
    #[must_use]
    pub fn build(self) -> ApiService {
        let prefix = self.inner.prefix.clone();
        let inner = Arc::new(self.inner);
        let mut router = management::routes(pages::routes(Router::new()));
        let cors = axum::middleware::from_fn_with_state(Arc::clone(&inner), cors::headers);
        for endpoint in ENDPOINTS.iter().chain(OWN_ENDPOINTS) {
            let path = format!("/api/v1{}", endpoint.path);
            router =
                router.route(&path, route(endpoint).options(cors::preflight).layer(cors.clone()));
        }
        let unknown = options(cors::preflight).layer(cors).fallback(not_found);
        let router = router.route("/api/v1/{*rest}", unknown);
        let router = router.fallback(not_found);
        let router = if prefix.is_empty() {
            router
        } else {
            let to = format!("{prefix}/");
            Router::new().nest(&prefix, router).fallback(move || {
                let to = to.clone();
                async move { axum::response::Redirect::temporary(&to) }
            })
        };
        let observe = axum::middleware::from_fn_with_state(Arc::clone(&inner), observe);
        ApiService { router: router.layer(observe).with_state(inner), peer: None }
    }
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

pub(crate) type Response = axum::response::Response;
pub(crate) type Routes = Router<Arc<Inner>>;

/// Counts requests and their time by handler, as Prometheus names them.
async fn observe(
    State(inner): State<Arc<Inner>>,
    matched: Option<axum::extract::MatchedPath>,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    let handler = matched.map_or("unknown".to_owned(), |m| {
        m.as_str().strip_prefix(inner.prefix.as_str()).unwrap_or(m.as_str()).to_owned()
    });
    let began = inner.clock.monotonic();
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let took = inner.clock.monotonic().saturating_sub(began);
    inner.http.observe(&handler, response.status(), took);
    response
}

fn route(endpoint: &'static Endpoint) -> MethodRouter<Arc<Inner>> {
    let mut methods = MethodFilter::GET;
    if endpoint.methods.contains("POST") && !endpoint.methods.contains("GET") {
        methods = MethodFilter::POST;
    } else {
        // Newer clients post wherever Prometheus routes GET alone.
        methods = methods.or(MethodFilter::POST);
    }
    if endpoint.methods.contains("PUT") {
        methods = methods.or(MethodFilter::PUT);
    }
    match endpoint.action {
        Action::Call { handler, runs_query, needs_storage } => {
            let call = Call { handler, runs_query, needs_storage };
            on(methods, move |State(inner), name: Option<Path<String>>, request: Request| {
                call.run(inner, name.map(|Path(name)| name), request)
            })
        }
        Action::Write => on(methods, handlers::write::write),
        Action::NotYet => {
            let name = endpoint.path;
            on(methods, move || async move {
                let text = format!("/api/v1{name} is not served by this version yet");
                respond_error(&ApiError::new(ErrorKind::NotFound, text))
            })
        }
    }
}

#[derive(Clone, Copy)]
struct Call {
    handler: Handler,
    runs_query: bool,
    needs_storage: bool,
}

impl Call {
    async fn run(self, inner: Arc<Inner>, name: Option<String>, request: Request) -> Response {
        if self.needs_storage && !inner.can_query() {
            return unavailable();
        }
        let (parts, body) = request.into_parts();
        let form = if matches!(parts.method, Method::POST | Method::PUT) {
            match read_body(body, MAX_FORM).await {
                Ok(form) => form,
                Err(error) => return respond_error(&error),
            }
        } else {
            Bytes::new()
        };
        let mut params = Params::new(&form, parts.uri.query().unwrap_or_default(), name);
        drop(form);
        let compress = accepts_gzip(&parts.headers);
        // The call goes on a blocking thread; when the client goes away this future is dropped,
        // and with it the guard that cancels the query.
        let guard = CancelOnDrop(params.cancel.clone());
        if self.runs_query {
            params.origin = Some(Arc::new(origin(&inner, &parts)));
            params.turn = match turn(&inner, &params).await {
                Ok(turn) => turn,
                Err(error) => return respond_error(&error),
            };
        }
        let answer = self.answer(inner, params).await;
        std::mem::drop(guard);
        match answer {
            Ok(payload) if payload.is_empty() => StatusCode::NO_CONTENT.into_response(),
            Ok(payload) => json_response(payload, compress).await,
            Err(error) => respond_error(&error),
        }
    }

    async fn answer(self, inner: Arc<Inner>, params: Params) -> Result<Payload, ApiError> {
        let handler = self.handler;
        let reply =
            tokio::task::spawn_blocking(move || handler(&inner, &params).map(Reply::into_payload));
        reply.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request handler failed; this is a bug");
            Err(ApiError::new(ErrorKind::Internal, "the request handler failed; see the log"))
        })
    }
}

/// Who calls, for the query log.
fn origin(inner: &Inner, parts: &http::request::Parts) -> QueryOrigin {
    let peer = parts.extensions.get::<Peer>();
    let path = parts.uri.path();
    QueryOrigin::Http {
        client_ip: peer.map_or_else(String::new, |Peer(ip)| ip.to_string()),
        method: parts.method.to_string(),
        path: path.strip_prefix(inner.prefix.as_str()).unwrap_or(path).to_owned(),
    }
}

/// Waits for a turn among the running queries, without a thread. Texts that are no query are
/// refused at once.
async fn turn(inner: &Inner, params: &Params) -> Result<Turn, ApiError> {
    let Some(gate) = inner.engine.gate() else { return Ok(Turn::default()) };
    if let Some(place) = gate.try_enter() {
        return Ok(Turn { place: Some(Arc::new(place)), late: false });
    }
    let options = inner.engine.options();
    parse(params.first("query"), &options.parser).map_err(|e| ApiError::parameter("query", e))?;
    let timeout = params.duration("timeout")?.map(SignedDuration::clamp);
    let timeout = timeout.map_or(options.timeout, |t| t.min(options.timeout));
    let began = inner.clock.monotonic();
    match tokio::time::timeout(timeout, gate.enter()).await {
        Ok(place) => {
            let waited = inner.clock.monotonic().saturating_sub(began);
            Ok(Turn { place: Some(Arc::new(place.waited(waited))), late: false })
        }
        // The engine refuses it, and its observers hear of it.
        Err(_) => Ok(Turn { place: None, late: true }),
    }
}

/// The client's address, among a request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) std::net::IpAddr);

struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(crate) async fn read_body(body: axum::body::Body, limit: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(ApiError::bad_data(format!(
            "reading the request body (at most {limit} bytes): {error}"
        ))),
    }
}

/// The body of a write request.
pub(crate) async fn read_write_body(body: axum::body::Body) -> Result<Bytes, ApiError> {
    read_body(body, MAX_WRITE).await
}

pub(crate) fn unavailable() -> Response {
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response();
    response.headers_mut().insert("X-Prometheus-Stopping", HeaderValue::from_static("false"));
    response
}

pub(crate) fn respond_error(error: &ApiError) -> Response {
    let (status, body) = error.body();
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [json], body).into_response()
}

async fn json_response(payload: Payload, compress: bool) -> Response {
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let vary = (header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !compress || payload.len() < MIN_COMPRESS {
        return ([json, vary], axum::body::Body::new(payload)).into_response();
    }
    let encoding = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    match tokio::task::spawn_blocking(move || payload.gzip()).await {
        Ok(Ok(packed)) => ([json, vary, encoding], axum::body::Body::new(packed)).into_response(),
        _ => respond_error(&ApiError::new(ErrorKind::Internal, "compressing the answer failed")),
    }
}

pub(crate) fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Write as _;
    let packed = Vec::with_capacity(body.len() / 4);
    let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|v| {
            let mut parts = v.split(';').map(str::trim);
            parts.next() == Some("gzip") && !parts.any(|q| matches!(q, "q=0" | "q=0.0"))
        })
}

/// The API as a service. Clones share everything.
#[derive(Clone)]
pub struct ApiService {
    router: Router,
    peer: Option<Peer>,
}

impl ApiService {
    /// The same for the requests of one client, whose address goes into the query log.
    #[must_use]
    pub fn of_client(&self, address: std::net::IpAddr) -> Self {
        Self { router: self.router.clone(), peer: Some(Peer(address)) }
    }
}

impl std::fmt::Debug for ApiService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiService")
    }
}

/// The body of an answer.
#[derive(Debug)]
pub struct Body(axum::body::Body);

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self(axum::body::Body::from(text))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(std::io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

impl<B> tower_service::Service<http::Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let mut router = self.router.clone();
        let mut request = request.map(axum::body::Body::new);
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        Box::pin(async move {
            let response = router.call(request).await;
            response.map(|r| r.map(Body))
        })
    }
}
