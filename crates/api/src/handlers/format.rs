//! `/format_query`.

use firesteel_promql::parse;

use crate::{
    envelope::{ApiError, Reply},
    params::Params,
    service::Inner,
};

pub(crate) fn format_query(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let expr = parse(params.first("query"), &inner.engine.options().parser)
        .map_err(|e| ApiError::parameter("query", e))?;
    Reply::json(&expr.pretty())
}
