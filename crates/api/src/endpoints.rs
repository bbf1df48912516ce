//! The table of endpoints: what is routed, and what `docs/compatibility.md` says of it.

use crate::{
    envelope::{ApiError, Reply},
    handlers::{
        admin, exemplars, features, format, labels, metadata, query, rules, series, status, targets,
    },
    params::Params,
    service::Inner,
};

/// How an endpoint is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// As Prometheus does.
    Works,
    /// It answers, and says that the feature is not there yet.
    NotYet,
}

pub(crate) type Handler = fn(&Inner, &Params) -> Result<Reply, ApiError>;

#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// Answers with an envelope; runs on a blocking thread.
    Call {
        handler: Handler,
        /// Whether it runs a query, for which it waits for a place among those.
        runs_query: bool,
        /// Whether it needs storage to be open.
        needs_storage: bool,
    },
    /// Takes a remote write request.
    Write,
    /// Not there yet.
    NotYet,
}

/// An endpoint of `/api/v1`.
#[derive(Clone, Copy)]
pub struct Endpoint {
    /// Its path below `/api/v1`, `{name}` for a variable part.
    pub path: &'static str,
    /// The methods that Prometheus routes. Reads are answered by GET and POST alike.
    pub methods: &'static str,
    pub(crate) action: Action,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({:?})", self.methods, self.path, self.support())
    }
}

impl Endpoint {
    /// How it is served.
    #[must_use]
    pub const fn support(&self) -> Support {
        match self.action {
            Action::NotYet => Support::NotYet,
            Action::Call { .. } | Action::Write => Support::Works,
        }
    }
}

const fn query(path: &'static str, methods: &'static str, handler: Handler) -> Endpoint {
    let action = Action::Call { handler, runs_query: true, needs_storage: true };
    Endpoint { path, methods, action }
}

const fn data(path: &'static str, methods: &'static str, handler: Handler) -> Endpoint {
    let action = Action::Call { handler, runs_query: false, needs_storage: true };
    Endpoint { path, methods, action }
}

const fn call(path: &'static str, methods: &'static str, handler: Handler) -> Endpoint {
    let action = Action::Call { handler, runs_query: false, needs_storage: false };
    Endpoint { path, methods, action }
}

const fn not_yet(path: &'static str, methods: &'static str) -> Endpoint {
    Endpoint { path, methods, action: Action::NotYet }
}

/// Endpoints that Prometheus does not have.
pub static OWN_ENDPOINTS: &[Endpoint] = &[query("/explain", "GET, POST", query::explain)];

/// All endpoints of Prometheus 3.14's `/api/v1`, in the order of its documentation.
pub static ENDPOINTS: &[Endpoint] = &[
    query("/query", "GET, POST", query::instant),
    query("/query_range", "GET, POST", query::range),
    data("/query_exemplars", "GET, POST", exemplars::query_exemplars),
    call("/format_query", "GET, POST", format::format_query),
    call("/parse_query", "GET, POST", format::parse_query),
    data("/labels", "GET, POST", labels::names),
    data("/label/{name}/values", "GET", labels::values),
    data("/series", "GET, POST", series::series),
    call("/scrape_pools", "GET", targets::scrape_pools),
    not_yet("/scrape_pools/config", "GET"),
    call("/targets", "GET", targets::targets),
    call("/targets/metadata", "GET", metadata::of_targets),
    not_yet("/targets/relabel_steps", "GET"),
    call("/alertmanagers", "GET", rules::alertmanagers),
    call("/metadata", "GET", metadata::metadata),
    call("/status/config", "GET", status::config),
    call("/status/runtimeinfo", "GET", status::runtime_info),
    call("/status/buildinfo", "GET", status::build_info),
    call("/status/flags", "GET", status::flags),
    data("/status/tsdb", "GET", status::tsdb),
    not_yet("/status/tsdb/blocks", "GET"),
    not_yet("/status/self_metrics", "GET"),
    call("/status/walreplay", "GET", status::wal_replay),
    call("/features", "GET", features::features),
    not_yet("/notifications", "GET"),
    not_yet("/notifications/live", "GET"),
    not_yet("/read", "POST"),
    Endpoint { path: "/write", methods: "POST", action: Action::Write },
    not_yet("/otlp/v1/metrics", "POST"),
    not_yet("/search/metric_names", "GET, POST"),
    not_yet("/search/label_names", "GET, POST"),
    not_yet("/search/label_values", "GET, POST"),
    call("/alerts", "GET", rules::alerts),
    call("/rules", "GET", rules::rules),
    call("/admin/tsdb/delete_series", "POST, PUT", admin::delete_series),
    call("/admin/tsdb/clean_tombstones", "POST, PUT", admin::clean_tombstones),
    call("/admin/tsdb/snapshot", "POST, PUT", admin::snapshot),
    not_yet("/openapi.yaml", "GET"),
];
