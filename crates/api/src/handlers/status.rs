//! `/status/*`.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    envelope::{ApiError, ErrorKind, Reply},
    params::Params,
    service::Inner,
    sources::StatusSource,
};

/// The most rows that `/status/tsdb` gives.
const MAX_TSDB_LIMIT: usize = 10_000;

fn source(inner: &Inner) -> Result<&dyn StatusSource, ApiError> {
    inner
        .status
        .as_deref()
        .ok_or_else(|| ApiError::new(ErrorKind::NotFound, "this program gives no status of itself"))
}

pub(crate) fn config(inner: &Inner, _: &Params) -> Result<Reply, ApiError> {
    Reply::json(&json!({ "yaml": source(inner)?.config_yaml() }))
}

pub(crate) fn runtime_info(inner: &Inner, _: &Params) -> Result<Reply, ApiError> {
    Reply::json(&source(inner)?.runtime_info())
}

pub(crate) fn build_info(inner: &Inner, _: &Params) -> Result<Reply, ApiError> {
    Reply::json(&source(inner)?.build_info())
}

pub(crate) fn flags(inner: &Inner, _: &Params) -> Result<Reply, ApiError> {
    Reply::json(&source(inner)?.flags().into_iter().collect::<BTreeMap<_, _>>())
}

pub(crate) fn wal_replay(inner: &Inner, _: &Params) -> Result<Reply, ApiError> {
    let replay = source(inner)?.wal_replay();
    Reply::json(&json!({ "min": replay.min, "max": replay.max, "current": replay.current }))
}

pub(crate) fn tsdb(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let limit = match params.first("limit") {
        "" => 10,
        text => text
            .parse::<usize>()
            .ok()
            .filter(|n| *n >= 1)
            .ok_or_else(|| ApiError::bad_data("limit must be a positive number"))?,
    };
    if limit > MAX_TSDB_LIMIT {
        return Err(ApiError::bad_data(format!("limit must not exceed {MAX_TSDB_LIMIT}")));
    }
    let status = source(inner)?
        .tsdb_status(limit)
        .ok_or_else(|| ApiError::new(ErrorKind::NotFound, "this program has no storage"))?;
    Reply::json(&json!({
        "headStats": {
            "numSeries": status.num_series,
            "numLabelPairs": status.num_label_pairs,
            "chunkCount": status.chunk_count,
            "minTime": status.min_time,
            "maxTime": status.max_time,
        },
        "seriesCountByMetricName": status.series_count_by_metric_name,
        "labelValueCountByLabelName": status.label_value_count_by_label_name,
        "memoryInBytesByLabelName": status.memory_in_bytes_by_label_name,
        "seriesCountByLabelValuePair": status.series_count_by_label_value_pair,
    }))
}
