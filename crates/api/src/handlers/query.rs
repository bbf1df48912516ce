//! `/query`, `/query_range` and `/explain`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use firesteel_promql::{
    EngineStats, ProfileNode, QueryError, QueryOptions, QueryResult, QueryValue, StepStats,
};
use serde_json::json;

use crate::{
    envelope::{ApiError, ErrorKind, Reply, TRUNCATED},
    json::write_large_query_value,
    params::{Params, SignedDuration},
    service::Inner,
};

/// The most steps that a range query may have.
const MAX_STEPS: i64 = 11_000;

/// How much is written between two looks at whether to go on, in bytes.
const LOOK: usize = 1 << 16;
/// The size at which a piece of an answer is closed.
const PIECE: usize = 1 << 20;

fn options(inner: &Inner, params: &Params) -> Result<QueryOptions, ApiError> {
    let turn = &params.turn;
    let timeout = params.duration("timeout")?.map(SignedDuration::clamp);
    Ok(QueryOptions {
        cancel: params.cancel.clone(),
        timeout: if turn.late { Some(Duration::ZERO) } else { timeout },
        lookback_delta: params.duration("lookback_delta")?.map(SignedDuration::clamp),
        place: turn.place.clone(),
        origin: params.origin.clone(),
        per_step_stats: inner.per_step_stats && params.first("stats") == "all",
        ..QueryOptions::default()
    })
}

pub(crate) fn instant(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    params.limit()?;
    answer(inner, run_instant(inner, params, &options(inner, params)?)?, params)
}

fn run_instant(
    inner: &Inner,
    params: &Params,
    options: &QueryOptions,
) -> Result<QueryResult, ApiError> {
    let time = params.time_or("time", inner.clock.now())?;
    let query = params.first("query");
    let result = inner.engine.instant(inner.queryable.as_ref(), query, time, options);
    result.map_err(|e| query_error(inner, &e))
}

pub(crate) fn range(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    params.limit()?;
    answer(inner, run_range(inner, params, &options(inner, params)?)?, params)
}

fn run_range(
    inner: &Inner,
    params: &Params,
    options: &QueryOptions,
) -> Result<QueryResult, ApiError> {
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
    let step = Duration::from_millis(step_ms.unsigned_abs());
    let query = params.first("query");
    let result = inner.engine.range(inner.queryable.as_ref(), query, start, end, step, options);
    result.map_err(|e| query_error(inner, &e))
}

/// How failed queries answer.
fn query_error(inner: &Inner, error: &QueryError) -> ApiError {
    let kind = match error {
        QueryError::Parse(_) | QueryError::Invalid(_) => {
            return ApiError::parameter("query", error);
        }
        QueryError::Canceled(_) | QueryError::CanceledInQueue => ErrorKind::Canceled,
        QueryError::TimedOut(_) => ErrorKind::Timeout,
        QueryError::Storage(_) => ErrorKind::Internal,
        _ => ErrorKind::Execution,
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = cause.source();
    }
    let hint = error.hint(inner.engine.options());
    ApiError { hint, ..ApiError::new(kind, message) }
}

fn answer(inner: &Inner, mut result: QueryResult, params: &Params) -> Result<Reply, ApiError> {
    let query = params.first("query");
    let mut warnings = result.annotations.warnings(query, 10);
    let infos = result.annotations.infos(query, 10);
    let limit = params.limit()?;
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
    let failed = |error: QueryError| query_error(inner, &error);
    let mut reply = Reply { data: vec![b'{'], warnings, infos, ..Reply::default() };
    let budget = result.context().budget.clone();
    let mut reserved = budget.reserve(0).map_err(|e| failed(e.into()))?;
    let value = std::mem::replace(&mut result.value, QueryValue::Matrix(Vec::new()));
    let context = result.context();
    let pieces = &mut reply.pieces;
    let (mut last, mut written) = (0, 0_usize);
    let executor = &*inner.engine.options().executor;
    write_large_query_value(&mut reply.data, value, executor, |out| {
        written += out.len().saturating_sub(last);
        last = out.len();
        if written < LOOK {
            return Ok(());
        }
        context.check()?;
        reserved.grow(written as u64)?;
        written = 0;
        if out.len() >= PIECE {
            last = 0;
            pieces.push(std::mem::take(out).into());
        }
        Ok(())
    })
    .map_err(failed)?;
    reply.reserved = Some(reserved);
    let stats = params.first("stats");
    if !stats.is_empty() {
        reply.data.extend_from_slice(b",\"stats\":");
        reply.data.extend_from_slice(&Reply::json(&stats_json(&result.stats))?.data);
    }
    if !matches!(stats, "" | "true" | "all") {
        let given = firesteel_model::float::go_quote(stats);
        reply.warnings.push(format!(
            "value {given} for parameter \"stats\" is deprecated and will be rejected in the next \
             major release, use \"true\" or \"all\""
        ));
    }
    reply.data.push(b'}');
    Ok(reply)
}

/// A query's statistics in the form of Prometheus' `stats=all`.
#[must_use]
pub fn stats_json(stats: &EngineStats) -> serde_json::Value {
    let mut samples = serde_json::Map::new();
    let per_step = |count: fn(&StepStats) -> u64| {
        let seconds = |t: i64| match t % 1000 {
            0 => serde_json::Value::from(t / 1000),
            _ => (t as f64 / 1000.0).into(),
        };
        let steps = stats.per_step.as_ref()?;
        Some(steps.iter().map(|s| json!([seconds(s.t), count(s)])).collect::<Vec<_>>())
    };
    let mut set = |key: &str, value: serde_json::Value| samples.insert(key.to_owned(), value);
    if let Some(steps) = per_step(|s| s.total_samples) {
        set("totalQueryableSamplesPerStep", steps.into());
    }
    set("totalQueryableSamples", stats.total_samples.into());
    if let Some(steps) = per_step(|s| s.samples_read) {
        set("samplesReadPerStep", steps.into());
    }
    set("samplesRead", stats.samples_read.into());
    set("peakSamples", stats.peak_samples.into());
    json!({
        "timings": {
            "evalTotalTime": stats.run_time.as_secs_f64(),
            "resultSortTime": stats.result_time.as_secs_f64(),
            "queryPreparationTime": stats.preparation_time.as_secs_f64(),
            "innerEvalTime": stats.evaluation_time.as_secs_f64(),
            "execQueueTime": stats.queue_time.as_secs_f64(),
            "execTotalTime": stats.total_time.as_secs_f64(),
        },
        "samples": samples,
    })
}

/// `/explain`, which is our own: runs a query as `/query` or, with `start`, `end` and `step`, as
/// `/query_range` does, and answers with its plan and what each part of it took.
pub(crate) fn explain(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let mut options = options(inner, params)?;
    options.profile = true;
    let result = if params.first("step").is_empty() {
        run_instant(inner, params, &options)?
    } else {
        run_range(inner, params, &options)?
    };
    let query = params.first("query");
    let nodes: Vec<_> =
        result.profile.iter().flat_map(|p| &p.nodes).map(|n| node_json(query, n)).collect();
    let (kind, series) = match &result.value {
        QueryValue::Vector(v) => ("vector", v.len()),
        QueryValue::Matrix(m) => ("matrix", m.len()),
        other => (other.value_type().as_str(), 1),
    };
    let stats = &result.stats;
    let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
    let data = json!({
        "query": query,
        "plan": nodes,
        "resultType": kind,
        "resultSeries": series,
        "stats": stats_json(&result.stats),
        "parseTime": stats.parse_time.as_secs_f64(),
        "peakBytes": stats.peak_bytes,
        "storage": {
            "series": get(&stats.storage.series),
            "chunks": get(&stats.storage.chunks),
            "chunkBytes": get(&stats.storage.chunk_bytes),
            "samples": get(&stats.storage.samples),
        },
    });
    let mut reply = Reply::json(&data)?;
    reply.warnings = result.annotations.warnings(query, 10);
    reply.infos = result.annotations.infos(query, 10);
    Ok(reply)
}

fn node_json(query: &str, node: &ProfileNode) -> serde_json::Value {
    let f = &node.figures;
    let mut json = json!({
        "depth": node.depth,
        "operation": node.operation,
        "text": node.text,
        "start": node.span.start,
        "end": (node.span.end as usize).min(query.len()),
    });
    let serde_json::Value::Object(map) = &mut json else { return json };
    if let Some(selected) = node.selected {
        map.insert("selectedSeries".to_owned(), selected.into());
    }
    if node.fused {
        map.insert("fused".to_owned(), true.into());
    } else if node.shared {
        map.insert("shared".to_owned(), true.into());
    } else {
        let figures = json!({
            "evaluations": f.evaluations,
            "series": f.series,
            "returnedSamples": f.returned,
            "queryableSamples": f.samples,
            "samplesRead": f.samples_read,
            "chunks": f.chunks,
            "chunkBytes": f.bytes,
            "time": f.time.as_secs_f64(),
        });
        map.insert("figures".to_owned(), figures);
    }
    json
}
