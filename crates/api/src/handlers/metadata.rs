//! `/metadata` and `/targets/metadata`.

use std::collections::BTreeMap;

use firesteel_model::{Matcher, Metadata};
use serde_json::{Value, json};

use super::targets::labels_json;
use crate::{
    envelope::{ApiError, Reply},
    params::Params,
    service::Inner,
};

fn number(params: &Params, name: &str) -> Result<Option<usize>, ApiError> {
    match params.first(name) {
        "" => Ok(None),
        text => match text.parse::<i64>() {
            Ok(n) => Ok(usize::try_from(n).ok()),
            Err(_) => Err(ApiError::bad_data(format!("{name} must be a number"))),
        },
    }
}

fn metadata_json(metadata: &Metadata) -> Value {
    json!({ "type": metadata.kind.as_str(), "help": metadata.help, "unit": metadata.unit })
}

pub(crate) fn metadata(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let limit = number(params, "limit")?;
    let per_metric = number(params, "limit_per_metric")?.filter(|n| *n > 0).unwrap_or(usize::MAX);
    let wanted = params.first("metric");
    let mut metrics: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
    for family in inner.targets.iter().flat_map(|s| s.metadata()) {
        if wanted.is_empty() || wanted == family.family {
            let known = metrics.entry(family.family).or_default();
            if known.len() < per_metric && !known.contains(&family.metadata) {
                known.push(family.metadata);
            }
        }
    }
    let shown: BTreeMap<_, Vec<_>> = metrics
        .iter()
        .take(limit.unwrap_or(usize::MAX))
        .map(|(name, all)| (name, all.iter().map(metadata_json).collect()))
        .collect();
    Reply::json(&shown)
}

pub(crate) fn of_targets(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let limit = number(params, "limit")?.unwrap_or(usize::MAX);
    let wanted = params.first("metric");
    let matchers = match params.first("match_target") {
        "" => Vec::new(),
        text => firesteel_promql::parse_metric_selector(text)
            .map_err(|e| ApiError::parameter("match_target", e))?,
    };
    let satisfies = |m: &Matcher, labels: &firesteel_model::Labels| {
        m.matches(labels.get(m.name()).unwrap_or_default())
    };
    let mut rows = Vec::new();
    for family in inner.targets.iter().flat_map(|s| s.metadata()) {
        if rows.len() >= limit {
            break;
        }
        let fits = wanted.is_empty() || wanted == family.family;
        if !fits || !matchers.iter().all(|m| satisfies(m, &family.target)) {
            continue;
        }
        let mut row = metadata_json(&family.metadata);
        row["target"] = labels_json(&family.target);
        if wanted.is_empty() {
            row["metric"] = json!(family.family);
        }
        rows.push(row);
    }
    Reply::json(&rows)
}
