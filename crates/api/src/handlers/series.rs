//! `/series`.

use firesteel_model::storage::{Interner, SampleNeed, SelectHints, Selection, merge::MergedSeries};

use super::selectors::{match_params, open, storage_error};
use crate::{
    envelope::{ApiError, Reply, TRUNCATED},
    json::write_pairs,
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
    // Texts are only looked at where two series differ.
    let pairs = |series: &usize| merged.pairs(*series);
    let text = |(name, value): &(u32, u32)| (interner.text(*name), interner.text(*value));
    let mut all: Vec<usize> = (0..merged.len()).collect();
    all.sort_unstable_by(|a, b| {
        let (a, b) = (pairs(a), pairs(b));
        let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        a[same..].iter().map(text).cmp(b[same..].iter().map(text))
    });
    if limit > 0 && all.len() > limit {
        all.truncate(limit);
        warnings.push(TRUNCATED.to_owned());
    }
    let mut data = vec![b'['];
    for (i, one) in all.iter().enumerate() {
        if i > 0 {
            data.push(b',');
        }
        write_pairs(&mut data, pairs(one).iter().map(text));
    }
    data.push(b']');
    Ok(Reply { data, ..Reply::default() }.with_warnings(warnings))
}
