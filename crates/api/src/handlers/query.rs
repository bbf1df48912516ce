//! `/query` and `/query_range`.

use std::time::Duration;

use firesteel_promql::{QueryError, QueryOptions, QueryResult, QueryValue};
use serde_json::json;

use crate::{
    envelope::{ApiError, ErrorKind, Reply, TRUNCATED},
    json::write_query_value,
    params::{Params, SignedDuration},
    service::Inner,
};

/// The most steps that a range query may have.
const MAX_STEPS: i64 = 11_000;

fn options(params: &Params) -> Result<QueryOptions, ApiError> {
    Ok(QueryOptions {
        cancel: params.cancel.clone(),
        timeout: params.duration("timeout")?.map(SignedDuration::clamp),
        lookback_delta: params.duration("lookback_delta")?.map(SignedDuration::clamp),
    })
}

pub(crate) fn instant(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let limit = params.limit()?;
    let time = params.time_or("time", inner.clock.now())?;
    let options = options(params)?;
    let query = params.first("query");
    let result = inner.engine.instant(inner.queryable.as_ref(), query, time, &options);
    answer(result.map_err(query_error)?, limit, params)
}

pub(crate) fn range(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let limit = params.limit()?;
    let (start, end) = (params.time("start")?, params.time("end")?);
    if end < start {
        let text = "end timestamp must not be before start time";
        return Err(ApiError::parameter("end", text));
    }
    let step = params
        .duration("step")?
        .ok_or_else(|| ApiError::parameter("step", "cannot parse \"\" to a valid duration"))?;
    // Evaluation happens at milliseconds.
    let step_ms = step.0 / 1_000_000;
    if step_ms <= 0 {
        return Err(ApiError::parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if end.saturating_sub(start) / step_ms > MAX_STEPS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. \
             Try decreasing the query resolution (?step=XX)",
        ));
    }
    let options = options(params)?;
    let step = Duration::from_millis(step_ms.unsigned_abs());
    let query = params.first("query");
    let result = inner.engine.range(inner.queryable.as_ref(), query, start, end, step, &options);
    answer(result.map_err(query_error)?, limit, params)
}

fn query_error(error: QueryError) -> ApiError {
    let kind = match &error {
        QueryError::Parse(_) | QueryError::Invalid(_) => {
            return ApiError::parameter("query", error);
        }
        QueryError::Canceled(_) => ErrorKind::Canceled,
        QueryError::TimedOut(_) => ErrorKind::Timeout,
        QueryError::Storage(_) => ErrorKind::Internal,
        _ => ErrorKind::Execution,
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = cause.source();
    }
    ApiError::new(kind, message)
}

fn answer(mut result: QueryResult, limit: usize, params: &Params) -> Result<Reply, ApiError> {
    let query = params.first("query");
    let mut warnings = result.annotations.warnings(query, 10);
    let infos = result.annotations.infos(query, 10);
    if limit > 0 {
        let cut = match &mut result.value {
            QueryValue::Vector(v) if v.len() > limit => {
                v.truncate(limit);
                true
            }
            QueryValue::Matrix(m) if m.len() > limit => {
                m.truncate(limit);
                true
            }
            _ => false,
        };
        if cut {
            warnings.push(TRUNCATED.to_owned());
        }
    }
    let mut data = vec![b'{'];
    write_query_value(&mut data, &result.value);
    if !params.first("stats").is_empty() {
        let stats = Reply::json(&stats_json(&result))?.data;
        data.extend_from_slice(b",\"stats\":");
        data.extend_from_slice(&stats);
    }
    data.push(b'}');
    Ok(Reply { data, warnings, infos })
}

fn stats_json(result: &QueryResult) -> serde_json::Value {
    let stats = &result.stats;
    json!({
        "timings": {
            "evalTotalTime": stats.total_time.as_secs_f64(),
            "resultSortTime": stats.result_time.as_secs_f64(),
            "queryPreparationTime": stats.preparation_time.as_secs_f64(),
            "innerEvalTime": stats.evaluation_time.as_secs_f64(),
            "execQueueTime": 0.0,
            "execTotalTime": stats.total_time.as_secs_f64(),
        },
        "samples": {
            "totalQueryableSamples": stats.total_samples,
            "peakSamples": stats.peak_samples,
            "samplesRead": stats.samples_read,
        },
    })
}
