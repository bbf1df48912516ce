//! `/format_query` and `/parse_query`.

use firesteel_promql::{Expr, parse};

use super::ast::write_expr;
use crate::{
    envelope::{ApiError, Reply},
    params::Params,
    service::Inner,
};

fn expr(inner: &Inner, params: &Params) -> Result<Expr, ApiError> {
    parse(params.first("query"), &inner.engine.options().parser)
        .map_err(|e| ApiError::parameter("query", e))
}

pub(crate) fn format_query(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    Reply::json(&expr(inner, params)?.pretty())
}

pub(crate) fn parse_query(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let mut data = Vec::new();
    write_expr(&mut data, &expr(inner, params)?);
    Ok(Reply { data, ..Reply::default() })
}
