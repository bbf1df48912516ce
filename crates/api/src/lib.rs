#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cors;
mod endpoints;
mod envelope;
mod front;
mod handlers;
mod http_metrics;
mod json;
mod management;
mod pages;
mod params;
mod payload;
mod serve;
mod service;
mod sources;

pub use endpoints::{ENDPOINTS, Endpoint, OWN_ENDPOINTS, Support};
pub use envelope::{ApiError, ErrorKind};
pub use front::{Front, Open};
pub use handlers::{features::Features, query::stats_json};
pub use json::write_query_value;
pub use serve::{ServeOptions, serve, serve_behind};
pub use service::{Api, ApiBuilder, ApiService, Body};
pub use sources::{
    ActiveAlert, AlertingRuleView, AlertmanagersView, BuildInfo, CardinalityEntry, DroppedTarget,
    ExemplarSource, FamilyMetadata, Lifecycle, RuleGroupView, RuleSource, RuleView, RuntimeInfo,
    StatusSource, StorageAdmin, TargetSource, TargetView, TsdbStatus, WalReplay,
};
