//! `match[]` parameters, and the context of a metadata query.

use std::sync::Arc;

use firesteel_model::{
    Matcher,
    storage::{Querier, QueryContext, StorageError},
};

use crate::{
    envelope::{ApiError, ErrorKind},
    params::{MAX_TIME, MIN_TIME, Params},
    service::Inner,
};

/// The selectors of all `match[]`, each with at least one matcher that needs a value.
pub(crate) fn match_params(params: &Params) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let mut sets = Vec::new();
    for text in params.all("match[]") {
        let matchers = firesteel_promql::parse_metric_selector(text)
            .map_err(|e| ApiError::parameter("match[]", e))?;
        if matchers.iter().all(Matcher::matches_empty) {
            return Err(ApiError::parameter(
                "match[]",
                "match[] must contain at least one non-empty matcher",
            ));
        }
        sets.push(matchers);
    }
    Ok(sets)
}

/// A querier for `start` to `end`, and the context to ask it in.
pub(crate) fn open(
    inner: &Inner,
    params: &Params,
) -> Result<(Arc<dyn Querier>, QueryContext, (i64, i64)), ApiError> {
    let start = params.time_or("start", MIN_TIME)?;
    let end = params.time_or("end", MAX_TIME)?;
    let querier = inner.queryable.querier(start, end).map_err(storage_error)?;
    let options = inner.engine.options();
    let budget = options.budget.child("metadata query", options.query_bytes);
    let mut ctx =
        QueryContext::new(Arc::clone(&options.clock), budget).with_timeout(options.timeout);
    ctx.cancel = params.cancel.clone();
    Ok((querier, ctx, (start, end)))
}

/// How storage errors answer, as Prometheus' `returnAPIError` does.
pub(crate) fn storage_error(error: StorageError) -> ApiError {
    let kind = match error {
        StorageError::Canceled => ErrorKind::Canceled,
        StorageError::TimedOut { .. } => ErrorKind::Timeout,
        StorageError::NotReady(_) => ErrorKind::Internal,
        _ => ErrorKind::Execution,
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    ApiError::new(kind, message)
}
