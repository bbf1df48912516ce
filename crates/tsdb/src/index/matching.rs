//! From matchers to series: which postings to take, and how to combine them.
//!
//! It goes in two steps, so that the head can let go of its lock in between: a [`Plan`] names the
//! lists, its run reads and combines them.

use firesteel_model::{
    MatchOp, Matcher,
    storage::{QueryContext, StorageError},
};

use super::{
    Memory,
    postings::{self, ReadLists},
};

/// Values are tried between two looks at the query's deadline.
const CHECK_VALUES: usize = 1024;
/// Trying one value of a label costs about this part of reading one series.
const VALUES_PER_SERIES: u64 = 4;
/// Reading one series costs as much as reading this many postings.
const POSTINGS_PER_SERIES: u64 = 64;

/// Something that has postings by label: a block's index, the head.
pub(crate) trait PostingsSource {
    /// How a list is named.
    type List;

    /// The list of all series, if there are any.
    fn all(&self) -> Result<Option<Self::List>, StorageError>;

    /// The list of a label pair, `None` where no series has it.
    fn exact(&self, name: &str, value: &str) -> Result<Option<Self::List>, StorageError>;

    /// Number of values of a label.
    fn num_values(&self, name: &str) -> usize;

    /// Whether it is known that all series have the label.
    fn is_on_all(&self, name: &str) -> bool;

    /// Adds the lists of those values of a label that begin with one of `prefixes` and that `keep`
    /// wants. Prefixes are sorted, and none begins with another.
    fn matching(
        &self,
        name: &str,
        prefixes: &[String],
        keep: &mut dyn FnMut(&str) -> Result<bool, StorageError>,
        out: &mut Vec<Self::List>,
    ) -> Result<(), StorageError>;

    /// Numbers in these lists, about.
    fn weight(&self, lists: &[Self::List]) -> Result<u64, StorageError>;
}

/// Reads the lists of a source, and the labels of its series.
pub(crate) trait PostingsReader: ReadLists {
    /// Keeps the series that satisfy a matcher.
    fn filter(
        &mut self,
        ids: &mut Vec<u32>,
        matcher: &Matcher,
        memory: &mut Memory<'_>,
    ) -> Result<(), StorageError>;
}

/// Which values of a label a list is wanted of.
enum Values<'m> {
    /// All.
    Every,
    /// One.
    One(&'m str),
    /// These, some of which may be empty.
    These(&'m [String]),
    /// Those that the matcher accepts, or does not.
    Tried { prefixes: &'m [String], accepted: bool },
}

/// Of a matcher that an empty value does not satisfy (`accepted`), the values that satisfy it; else
/// those that do not.
fn values(matcher: &Matcher, accepted: bool) -> Values<'_> {
    // Whether the comparison itself, without `!`, must hold.
    let positive = accepted != matcher.op().is_negative();
    match matcher.regex() {
        None if positive => Values::One(matcher.value()),
        None if matcher.value().is_empty() => Values::Every,
        None => Values::Tried { prefixes: &[], accepted },
        Some(regex) => match (regex.literals(), regex.matches_all_from()) {
            (Some(literals), _) if positive => Values::These(literals),
            (_, Some(0 | 1)) if positive => Values::Every,
            _ if positive => Values::Tried { prefixes: regex.prefixes(), accepted },
            _ => Values::Tried { prefixes: &[], accepted },
        },
    }
}

/// Whether every series satisfies a matcher.
fn is_always_true(matcher: &Matcher) -> bool {
    matcher.op() == MatchOp::Regex
        && matcher.regex().is_some_and(|r| r.matches_all_from() == Some(0))
}

/// What to read for some matchers.
#[derive(Debug)]
pub(crate) struct Plan<L> {
    /// A series is in at least one list of each; the shortest first.
    required: Vec<Vec<L>>,
    /// A series is in none of these.
    excluded: Vec<Vec<L>>,
    /// Looked at series by series at the end, which are few.
    filters: Vec<Matcher>,
}

/// The lists that matchers ask for; `None` if no series can satisfy them all. A regular expression
/// is tried once per distinct value, or not at all where it is a list of literals or matches
/// everything; where other matchers leave few series, only on these.
pub(crate) fn plan<S: PostingsSource>(
    source: &S,
    matchers: &[Matcher],
    ctx: &QueryContext,
) -> Result<Option<Plan<S::List>>, StorageError> {
    ctx.check()?;
    // A matcher that holds for a missing label takes away the series that have a wrong value; the
    // others pick the series that have a right one.
    let (picking, taking): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| !m.matches_empty());
    let mut required: Vec<(u64, Vec<S::List>)> = Vec::new();
    let mut dear = Vec::new();
    // Cheap picks first: if one finds nothing, the rest is spared.
    for &matcher in &picking {
        let mut lists = Vec::new();
        match values(matcher, true) {
            Values::One(value) => lists.extend(source.exact(matcher.name(), value)?),
            Values::These(values) => exact(source, matcher.name(), values, &mut lists)?,
            Values::Every if source.is_on_all(matcher.name()) => continue,
            Values::Every | Values::Tried { .. } => {
                dear.push((matcher, true));
                continue;
            }
        }
        if lists.is_empty() {
            return Ok(None);
        }
        required.push((source.weight(&lists)?, lists));
    }
    let mut filters = Vec::new();
    let mut excluded = Vec::new();
    dear.extend(taking.into_iter().filter(|m| !is_always_true(m)).map(|m| (m, false)));
    for (matcher, accepted) in dear {
        let candidates = required.iter().map(|r| r.0).min();
        let mut lists = Vec::new();
        let name = matcher.name();
        match values(matcher, accepted) {
            Values::One(value) => lists.extend(source.exact(name, value)?),
            Values::These(values) => exact(source, name, values, &mut lists)?,
            Values::Every | Values::Tried { .. }
                if candidates.is_some_and(|n| {
                    n.saturating_mul(VALUES_PER_SERIES) < source.num_values(name) as u64
                }) =>
            {
                filters.push(matcher.clone());
                continue;
            }
            Values::Every => source.matching(name, &[], &mut |_| Ok(true), &mut lists)?,
            Values::Tried { prefixes, accepted } => {
                let mut tried = 0_usize;
                let mut keep = |value: &str| {
                    tried += 1;
                    if tried.is_multiple_of(CHECK_VALUES) {
                        ctx.check()?;
                    }
                    Ok(matcher.matches(value) == accepted)
                };
                source.matching(name, prefixes, &mut keep, &mut lists)?;
            }
        }
        match (accepted, lists.is_empty()) {
            (true, true) => return Ok(None),
            (false, true) => {}
            (true, false) => {
                let weight = source.weight(&lists)?;
                match candidates.is_some_and(|n| is_fewer(n, weight)) {
                    true => filters.push(matcher.clone()),
                    false => required.push((weight, lists)),
                }
            }
            (false, false) => {
                let weight = source.weight(&lists)?;
                match candidates.is_some_and(|n| is_fewer(n, weight)) {
                    true => filters.push(matcher.clone()),
                    false => excluded.push(lists),
                }
            }
        }
    }
    if required.is_empty() {
        let Some(all) = source.all()? else { return Ok(None) };
        required.push((0, vec![all]));
    }
    required.sort_by_key(|r| r.0);
    let required = required.into_iter().map(|r| r.1).collect();
    Ok(Some(Plan { required, excluded, filters }))
}

/// Whether that many series are read faster than that many postings.
const fn is_fewer(series: u64, postings: u64) -> bool {
    series.saturating_mul(POSTINGS_PER_SERIES) < postings
}

fn exact<S: PostingsSource>(
    source: &S,
    name: &str,
    values: &[String],
    out: &mut Vec<S::List>,
) -> Result<(), StorageError> {
    let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
    // In a block neighbours are read together.
    values.sort_unstable();
    for value in values {
        out.extend(source.exact(name, value)?);
    }
    Ok(())
}

impl<L> Plan<L> {
    /// The series that satisfy the matchers, ascending.
    pub(crate) fn run<R: PostingsReader<List = L>>(
        &self,
        reader: &mut R,
        memory: &mut Memory<'_>,
    ) -> Result<Vec<u32>, StorageError> {
        let Some((first, required)) = self.required.split_first() else { return Ok(Vec::new()) };
        let mut ids = postings::union(first, reader, memory)?;
        for lists in required {
            postings::keep(&mut ids, true, lists, reader, memory)?;
        }
        for lists in &self.excluded {
            postings::keep(&mut ids, false, lists, reader, memory)?;
        }
        for matcher in &self.filters {
            reader.filter(&mut ids, matcher, memory)?;
        }
        Ok(ids)
    }
}
