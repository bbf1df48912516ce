//! `/query_exemplars`.

use firesteel_promql::parse;

use crate::{
    envelope::{ApiError, Reply},
    json::write_exemplars,
    params::{MAX_TIME, MIN_TIME, Params},
    service::Inner,
};

pub(crate) fn query_exemplars(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let start = params.time_or("start", MIN_TIME)?;
    let end = params.time_or("end", MAX_TIME)?;
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let expr = parse(params.first("query"), &inner.engine.options().parser)
        .map_err(|e| ApiError::bad_data(e.to_string()))?;
    let selectors: Vec<_> = expr.selectors().iter().map(|s| s.matchers.clone()).collect();
    if selectors.is_empty() {
        return Ok(Reply { data: b"null".to_vec(), ..Reply::default() });
    }
    let found = inner.exemplars.as_ref().map(|s| s.exemplars(start, end, &selectors));
    let mut data = Vec::new();
    write_exemplars(&mut data, &found.unwrap_or_default());
    Ok(Reply { data, ..Reply::default() })
}
