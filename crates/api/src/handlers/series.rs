//! `/series`.

use firesteel_model::storage::{Interner, SampleNeed, SelectHints, Selection, merge::MergedSeries};

use super::selectors::{match_params, open, storage_error};
use crate::{
    envelope::{ApiError, Reply, TRUNCATED},
    json::write_labels,
    params::Params,
    service::Inner,
};

pub(crate) fn series(inner: &Inner, params: &Params) -> Result<Reply, ApiError> {
    let sets = match_params(params)?;
    if sets.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = params.limit()?;
    let (querier, ctx, (start, end)) = open(inner, params)?;
    let hints = SelectHints {
        function: "series".to_owned(),
        limit: if limit == 0 { 0 } else { limit.saturating_add(1) },
        need: SampleNeed::Labels,
        ..SelectHints::range(start, end)
    };
    let mut all = Selection::default();
    for matchers in &sets {
        let mut one = querier.select(&ctx, matchers, &hints).map_err(storage_error)?;
        all.sets.append(&mut one.sets);
        all.warnings.append(&mut one.warnings);
    }
    let mut warnings = std::mem::take(&mut all.warnings);
    let mut interner = Interner::new();
    let merged = MergedSeries::new(&ctx, all, &mut interner).map_err(storage_error)?;
    let mut labels: Vec<_> = (0..merged.len()).map(|i| interner.labels(merged.pairs(i))).collect();
    labels.sort_unstable();
    if limit > 0 && labels.len() > limit {
        labels.truncate(limit);
        warnings.push(TRUNCATED.to_owned());
    }
    let mut data = vec![b'['];
    for (i, one) in labels.iter().enumerate() {
        if i > 0 {
            data.push(b',');
        }
        write_labels(&mut data, one);
    }
    data.push(b']');
    Ok(Reply { data, ..Reply::default() }.with_warnings(warnings))
}
