//! `/format_query`.

use crate::{
    envelope::{ApiError, Reply},
    params::Params,
    service::Inner,
};

pub(crate) fn format_query(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let expr = inner
        .engine
        .parse(params.first("query"))
        .map_err(|e| ApiError::parameter("query", e))?;
    Reply::json(&expr.pretty())
}
