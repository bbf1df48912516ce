//! `/targets` and `/scrape_pools`.

use std::collections::BTreeSet;

use firesteel_model::Labels;
use serde_json::{Map, Value, json};

use crate::{
    envelope::{ApiError, Reply},
    params::Params,
    service::Inner,
    sources::TargetView,
};

/// A label set as a JSON object.
pub(crate) fn labels_json(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(n, v)| (n.to_owned(), json!(v))).collect::<Map<_, _>>())
}

/// A time as Go prints it in JSON; what never happened is Go's zero time.
pub(crate) fn rfc3339(t: Option<i64>) -> String {
    t.and_then(|t| jiff::Timestamp::from_millisecond(t).ok())
        .map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |t| t.to_string())
}

fn target_json(target: &TargetView) -> Value {
    json!({
        "discoveredLabels": labels_json(&target.discovered_labels),
        "labels": labels_json(&target.labels),
        "scrapePool": target.scrape_pool,
        "scrapeUrl": target.scrape_url,
        "globalUrl": target.global_url,
        "lastError": target.last_error,
        "lastScrape": rfc3339(target.last_scrape),
        "lastScrapeDuration": target.last_scrape_duration,
        "health": target.health,
        "scrapeInterval": target.scrape_interval,
        "scrapeTimeout": target.scrape_timeout,
    })
}

pub(crate) fn targets(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let state = params.first("state").to_lowercase();
    let shows = |what: &str| matches!(state.as_str(), "" | "any") || state == what;
    let pool = params.first("scrapePool");
    let in_pool = |name: &str| pool.is_empty() || pool == name;
    let (mut active, mut dropped, mut counts) = (Vec::new(), Vec::new(), Value::Null);
    if let Some(source) = &inner.targets {
        if shows("active") {
            let all = source.active();
            active = all.iter().filter(|t| in_pool(&t.scrape_pool)).map(target_json).collect();
        }
        if shows("dropped") {
            let all = source.dropped();
            dropped = all
                .iter()
                .filter(|t| in_pool(&t.scrape_pool))
                .map(|t| {
                    json!({
                        "discoveredLabels": labels_json(&t.discovered_labels),
                        "scrapePool": t.scrape_pool,
                    })
                })
                .collect();
            counts = source.dropped_counts().into_iter().map(|(p, n)| (p, json!(n))).collect();
        }
    }
    Reply::json(&json!({
        "activeTargets": active,
        "droppedTargets": dropped,
        "droppedTargetCounts": counts,
    }))
}

pub(crate) fn scrape_pools(inner: &Inner, _: &Params) -> Result<Reply, ApiError> {
    let mut pools = BTreeSet::new();
    if let Some(source) = &inner.targets {
        pools.extend(source.dropped_counts().into_iter().map(|(pool, _)| pool));
        pools.extend(source.active().into_iter().map(|t| t.scrape_pool));
    }
    Reply::json(&json!({ "scrapePools": pools }))
}
