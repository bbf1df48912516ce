//! `/labels` and `/label/<name>/values`.

use firesteel_model::{
    Matcher,
    storage::{LabelHints, LabelResult, Querier, QueryContext, StorageError},
};

use super::selectors::{match_params, open, storage_error};
use crate::{
    envelope::{ApiError, Reply, TRUNCATED},
    params::Params,
    service::Inner,
};

pub(crate) fn names(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    union(inner, params, |querier, ctx, matchers, hints| querier.label_names(ctx, matchers, hints))
}

pub(crate) fn values(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let raw = params.path.as_deref().unwrap_or_default();
    let name = unescape_name(raw);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {raw:?}")));
    }
    union(inner, params, |querier, ctx, matchers, hints| {
        querier.label_values(ctx, &name, matchers, hints)
    })
}

fn union(
    inner: &Inner,
    params: &Params,
    ask: impl Fn(
        &dyn Querier,
        &QueryContext,
        &[Matcher],
        &LabelHints,
    ) -> Result<LabelResult, StorageError>,
) -> Result<Reply, ApiError> {
    let limit = params.limit()?;
    let mut sets = match_params(params)?;
    if sets.is_empty() {
        sets.push(Vec::new());
    }
    let (querier, ctx, _) = open(inner, params)?;
    // One more than asked for tells whether the list was cut.
    let hints = LabelHints { limit: if limit == 0 { 0 } else { limit.saturating_add(1) } };
    let mut all = LabelResult::default();
    for matchers in &sets {
        let mut one = ask(querier.as_ref(), &ctx, matchers, &hints).map_err(storage_error)?;
        all.values.append(&mut one.values);
        all.warnings.append(&mut one.warnings);
    }
    if sets.len() > 1 {
        all.values.sort_unstable();
        all.values.dedup();
    }
    if limit > 0 && all.values.len() > limit {
        all.values.truncate(limit);
        all.warnings.push(TRUNCATED.to_owned());
    }
    Ok(Reply::json(&all.values)?.with_warnings(all.warnings))
}

/// Undoes the "values" escaping of UTF-8 names in URLs: `U__a_2e_b` is `a.b`, `__` an underscore.
/// A malformed name stays as it is. Source: `common/model/metric.go`, `UnescapeName`.
fn unescape_name(name: &str) -> String {
    unescape(name).unwrap_or_else(|| name.to_owned())
}

fn unescape(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__")?;
    let mut out = String::new();
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let (code, after) = rest.split_once('_')?;
        if code.is_empty() || code.len() > 6 {
            return None;
        }
        out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U___1F525_x", "\u{1F525}x"),
            ("U__bad_zz_", "U__bad_zz_"),
            ("U__bad_2e", "U__bad_2e"),
        ] {
            assert_eq!(unescape_name(escaped), name);
        }
    }
}
