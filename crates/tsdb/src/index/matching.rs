//! From matchers to series: which postings to take, and how to combine them.

use firesteel_model::{MatchOp, Matcher, storage::StorageError};

use super::postings::{Lists, intersect, subtract};

/// Something that has postings by label: a block's index, the head.
pub(crate) trait PostingsSource {
    /// What can go wrong.
    type Error: Into<StorageError>;

    /// Adds the list of all series.
    fn all(&self, out: &mut Lists) -> Result<(), Self::Error>;

    /// Adds the lists of some values of a name; values that no series has are left out.
    fn exact(&self, name: &str, values: &[&str], out: &mut Lists) -> Result<(), Self::Error>;

    /// Adds the lists of those values of a name that begin with `prefix` and that `keep` wants.
    fn matching(
        &self,
        name: &str,
        prefix: &str,
        keep: &mut dyn FnMut(&str) -> bool,
        out: &mut Lists,
    ) -> Result<(), Self::Error>;
}

/// The series that satisfy all matchers, ascending. A regular expression is tried once per
/// distinct value, or not at all where it is a list of literals or matches everything.
///
/// `check` is called now and then and may end the search, as when the query is cancelled.
pub(crate) fn select_postings<S: PostingsSource>(
    source: &S,
    matchers: &[Matcher],
    check: &dyn Fn() -> Result<(), StorageError>,
) -> Result<Vec<u32>, StorageError> {
    // A matcher that holds for a missing label takes away the series that have a wrong value; the
    // others pick the series that have a right one. Cheap picks come first: if one finds nothing,
    // the rest is spared.
    let (mut picking, taking): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| !m.matches_empty());
    picking.sort_by_key(|m| cost(m));
    let mut picked: Vec<Vec<u32>> = Vec::with_capacity(picking.len());
    for matcher in picking {
        check()?;
        let list = values_where(source, matcher, true, check)?;
        if list.is_empty() {
            return Ok(list);
        }
        picked.push(list);
    }
    picked.sort_by_key(Vec::len);
    let mut picked = picked.into_iter();
    let mut result = match picked.next() {
        Some(list) => list,
        None => {
            let mut all = Lists::default();
            source.all(&mut all).map_err(Into::into)?;
            all.union()
        }
    };
    for list in picked {
        intersect(&mut result, &list);
    }
    for matcher in taking {
        if result.is_empty() {
            break;
        }
        check()?;
        if !matches_anything(matcher) {
            subtract(&mut result, &values_where(source, matcher, false, check)?);
        }
    }
    Ok(result)
}

/// How dear it is to find a matcher's postings: a value, a list of values, a prefix, all values.
fn cost(matcher: &Matcher) -> u8 {
    match (matcher.op(), matcher.regex()) {
        (MatchOp::Equal, _) => 0,
        (MatchOp::Regex, Some(regex)) if regex.literals().is_some() => 1,
        (MatchOp::Regex, Some(regex)) if !regex.prefix().is_empty() => 2,
        _ => 3,
    }
}

fn matches_anything(matcher: &Matcher) -> bool {
    matcher.op() == MatchOp::Regex && matcher.value() == ".*"
}

/// The series whose value of the matcher's label satisfies it (`wanted`) or does not.
fn values_where<S: PostingsSource>(
    source: &S,
    matcher: &Matcher,
    wanted: bool,
    check: &dyn Fn() -> Result<(), StorageError>,
) -> Result<Vec<u32>, StorageError> {
    let mut lists = Lists::default();
    let name = matcher.name();
    // Whether the comparison itself, without `!`, must hold.
    let positive = wanted != matcher.op().is_negative();
    let regex = matcher.regex();
    match (regex, regex.and_then(|r| r.literals())) {
        (None, _) if positive => {
            source.exact(name, &[matcher.value()], &mut lists).map_err(Into::into)?;
        }
        (Some(_), Some(literals)) if positive => {
            let literals: Vec<&str> = literals.iter().map(String::as_str).collect();
            source.exact(name, &literals, &mut lists).map_err(Into::into)?;
        }
        _ => {
            let prefix = regex.filter(|_| positive).map_or("", |r| r.prefix());
            let everything = regex.is_some_and(|r| r.pattern() == ".+") && positive;
            let mut tried = 0_u32;
            let mut stop = Ok(());
            let mut keep = |value: &str| {
                tried = tried.wrapping_add(1);
                if tried.is_multiple_of(1024) && stop.is_ok() {
                    stop = check();
                }
                stop.is_ok() && (everything || matcher.matches(value) == wanted)
            };
            source.matching(name, prefix, &mut keep, &mut lists).map_err(Into::into)?;
            stop?;
        }
    }
    Ok(lists.union())
}
