//! Names and values of labels in a block, and shares of its series.

use std::collections::BTreeSet;

use firesteel_model::{
    Labels, Matcher,
    storage::{Shard, StorageError},
};
use hashbrown::HashMap;

use crate::index::{
    IndexReader, LabelOf, Memory, Search,
    postings::{Bits, span, worth_marking},
};

/// Up to this many series are simply looked at.
const FEW_SERIES: usize = 1000;
/// Looking at a series costs as much as looking at this many values of a label.
const VALUES_PER_SERIES: usize = 4;
/// Values between two looks at the query's deadline.
const CHECK_VALUES: usize = 1024;

/// The texts of symbols, sorted.
fn texts(index: &IndexReader, ids: &BTreeSet<u32>) -> Result<Vec<String>, StorageError> {
    let ids: Vec<u32> = ids.iter().copied().collect();
    let mut out = Vec::with_capacity(ids.len());
    index.symbols().resolve(index.source(), &ids, &mut |_, text| out.push(text.to_owned()))?;
    // Symbols of version 1 are not in order of their numbers.
    out.sort_unstable();
    Ok(out)
}

/// Names of the labels of some series, sorted; no more than one beyond `limit`, unless it is 0.
pub(super) fn names(
    search: &mut Search<'_>,
    ids: &[u32],
    limit: usize,
    memory: &mut Memory<'_>,
) -> Result<Vec<String>, StorageError> {
    // The first series have nearly all the names; whether others have the rest is asked of the
    // postings, if that is cheaper.
    let few = if worth_marking(&span(ids), ids.len()) { FEW_SERIES } else { ids.len() };
    let (first, rest) = ids.split_at(few.min(ids.len()));
    let mut symbols = BTreeSet::new();
    search.each_labels(first, memory, &mut |labels| {
        symbols.extend(labels.iter().map(|l| l.0));
        Ok(true)
    })?;
    let mut found = texts(search.index(), &symbols)?;
    if rest.is_empty() {
        return Ok(found);
    }
    let marks = Bits::of(rest, memory)?;
    let known = found.len();
    for (name, _) in search.index().table().names() {
        let name = String::from_utf8_lossy(name);
        if found.get(..known).is_some_and(|f| f.binary_search_by(|f| (**f).cmp(&name)).is_ok()) {
            continue;
        }
        let mut any = false;
        values(search, &name, &[], 1, memory, &mut |at| {
            any = any || search.any_marked(at, &marks)?;
            Ok(any)
        })?;
        if any {
            found.push(name.into_owned());
            if limit > 0 && found.len() > limit.max(known) {
                break;
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The values of a label that satisfy `own` and whose postings `keep` wants, sorted; no more than
/// one beyond `limit`, unless it is 0.
pub(super) fn values(
    search: &Search<'_>,
    name: &str,
    own: &[Matcher],
    limit: usize,
    memory: &mut Memory<'_>,
    keep: &mut dyn FnMut(u64) -> Result<bool, StorageError>,
) -> Result<Vec<String>, StorageError> {
    let mut out = Vec::new();
    let mut tried = 0;
    // A series without the label would match, but has no value.
    search.values(name, &mut |value, at| {
        tried += 1;
        memory.check_every(tried, CHECK_VALUES)?;
        if own.iter().all(|m| m.matches(value)) && keep(at)? {
            memory.take(value.len() as u64 + size_of::<String>() as u64)?;
            out.push(value.to_owned());
        }
        Ok(limit == 0 || out.len() <= limit)
    })?;
    Ok(out)
}

/// The values of a label that some series have, which satisfy all matchers, `own` among them.
pub(super) fn values_of(
    search: &mut Search<'_>,
    name: &str,
    own: &[Matcher],
    ids: &[u32],
    limit: usize,
    memory: &mut Memory<'_>,
) -> Result<Vec<String>, StorageError> {
    let num_values = search.index().table().num_values(name);
    if ids.is_empty() || num_values == 0 {
        return Ok(Vec::new());
    }
    let few = ids.len().saturating_mul(VALUES_PER_SERIES) <= num_values;
    if !few && worth_marking(&span(ids), ids.len()) {
        let marks = Bits::of(ids, memory)?;
        return values(search, name, own, limit, memory, &mut |at| search.any_marked(at, &marks));
    }
    let index = search.index();
    let mut label = LabelOf::new(index, name);
    let mut found = BTreeSet::new();
    search.each_labels(ids, memory, &mut |labels| {
        found.extend(label.value(labels)?);
        Ok(true)
    })?;
    texts(index, &found)
}

/// Tells which series are in a share of all.
pub(super) struct Shards<'a> {
    shard: Shard,
    index: &'a IndexReader,
    texts: HashMap<u32, Box<str>>,
}

impl<'a> Shards<'a> {
    pub(super) fn new(shard: Shard, index: &'a IndexReader) -> Self {
        Self { shard, index, texts: HashMap::new() }
    }

    /// Whether a series with these labels is in the share.
    pub(super) fn wants(&mut self, labels: &[(u32, u32)]) -> Result<bool, StorageError> {
        for &symbol in labels.iter().flat_map(|(n, v)| [n, v]) {
            if !self.texts.contains_key(&symbol) {
                let mut text = Box::default();
                let mut keep = |_: usize, t: &str| text = t.into();
                self.index.symbols().resolve(self.index.source(), &[symbol], &mut keep)?;
                self.texts.insert(symbol, text);
            }
        }
        let text = |symbol: u32| self.texts.get(&symbol).map_or("", |t| &**t);
        let labels = Labels::from_sorted(labels.iter().map(|&(n, v)| (text(n), text(v))));
        Ok(labels.prom_hash() % self.shard.count == self.shard.index)
    }
}
