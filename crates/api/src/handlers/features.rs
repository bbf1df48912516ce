//! `/features`: what is switched on.

use std::collections::BTreeMap;

use firesteel_promql::{
    ast::{AggregateOp, BinaryOp},
    functions::FUNCTIONS,
};

use crate::{
    envelope::{ApiError, Reply},
    params::Params,
    service::Inner,
};

/// Features by category and name, as Prometheus names them.
pub type Features = BTreeMap<&'static str, BTreeMap<String, bool>>;

pub(crate) fn features(inner: &Inner, _: &Params) -> Result<Reply, ApiError> {
    let mut all = inner.status.as_ref().map(|s| s.features()).unwrap_or_default();
    let mut set = |category: &'static str, features: &[(&str, bool)]| {
        let names = features.iter().map(|(name, on)| ((*name).to_owned(), *on));
        all.entry(category).or_default().extend(names);
    };
    set(
        "api",
        &[
            ("admin", inner.admin.is_some()),
            ("exclude_alerts", false),
            ("label_values_match", true),
            ("lifecycle", inner.lifecycle.as_ref().is_some_and(|l| l.is_enabled())),
            ("openapi_3.1", false),
            ("openapi_3.2", false),
            ("otlp_write_receiver", false),
            ("query_stats", true),
            ("query_warnings", true),
            ("remote_write_receiver", inner.write.is_some()),
            ("search", false),
            ("time_range_labels", true),
            ("time_range_series", true),
        ],
    );
    let options = inner.engine.options();
    let parser = &options.parser;
    let (extended, fill) = (parser.extended_range_selectors, parser.fill_modifiers);
    set(
        "promql",
        &[
            ("anchored", extended),
            ("at_modifier", options.at_modifier),
            ("bool", true),
            ("by", true),
            ("delayed_name_removal", options.delayed_name_removal),
            ("duration_expr", parser.duration_expressions),
            ("fill", fill),
            ("fill_left", fill),
            ("fill_right", fill),
            ("group_left", true),
            ("group_right", true),
            ("ignoring", true),
            ("negative_offset", options.negative_offset),
            ("offset", true),
            ("on", true),
            ("per_query_lookback_delta", true),
            ("per_step_stats", inner.per_step_stats),
            ("smoothed", extended),
            ("subqueries", true),
            ("type_and_unit_labels", options.type_and_unit_labels),
            ("without", true),
        ],
    );
    let experimental = parser.experimental_functions;
    let functions: Vec<_> =
        FUNCTIONS.iter().map(|f| (f.name, experimental || !f.experimental)).collect();
    set("promql_functions", &functions);
    // Prometheus shows experimental aggregations as off whatever the flag says.
    let aggregations: Vec<_> =
        AggregateOp::ALL.iter().map(|op| (op.as_str(), !op.is_experimental())).collect();
    set("promql_operators", &aggregations);
    let operators: Vec<_> = BinaryOp::ALL.iter().map(|op| (op.as_str(), true)).collect();
    set("promql_operators", &operators);
    set("promql_operators", &[("=~", true), ("!~", true), ("@", true)]);
    Reply::json(&all)
}
