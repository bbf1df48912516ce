//! Where Prometheus 3.14, which we follow, and 3.5.3, which is asked, are known to differ; and where
//! both contradict their own documentation and we do not.
//!
//! An exception takes out of both answers what may differ, or says how much values may; what is
//! left must still be the same.

mod annotations;
mod errors;
mod histograms;
mod names;
mod query;
mod shape;
mod times;

use query::Query;

use crate::{
    answer::Answer,
    compare::{self, Order, Precision},
    generate::Question,
};

/// A known difference.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Its name in the report.
    pub name: &'static str,
    /// What 3.14 does otherwise.
    pub reason: &'static str,
    /// Where 3.14 does it.
    pub source: &'static str,
    /// What it does to two answers.
    effect: Effect,
}

#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Parts of texts of annotations, from the first to the second text, are not looked at.
    Cut(&'static str, &'static str, &'static str),
    /// The positions of annotations with this text are not looked at.
    Position(&'static str),
    /// Annotations of ours with this text are not looked at.
    New(&'static str),
    /// Errors of theirs say the second text instead of the first.
    Reworded(&'static str, &'static str),
    /// The two series that an error with this text names may come in any order.
    Pair(&'static str),
    /// In queries of which this is true names of metrics are not looked at.
    Names(fn(&Query<'_>) -> bool),
    /// In queries of which this is true values may differ by this part of them.
    Rounding(fn(&Query<'_>) -> bool, f64),
    /// In queries of which this is true annotations with this text are not looked at.
    Without(fn(&Query<'_>) -> bool, &'static str),
    /// Queries of which this is true may differ altogether.
    All(fn(&Query<'_>, &Answer, &Answer) -> bool),
}

/// All known differences. What takes something out of the answers comes before what looks at all
/// of them.
pub fn all() -> impl Iterator<Item = &'static Exception> {
    [annotations::ALL, errors::ALL, names::ALL, histograms::ALL, times::ALL].into_iter().flatten()
}

/// Compares under the exceptions. If nothing differs then, the name of the last that was needed.
#[must_use]
pub fn excepted(
    question: &Question,
    theirs: &Answer,
    ours: &Answer,
    order: Order,
    mut precision: Precision,
) -> Option<&'static str> {
    let query = Query::new(question);
    let (mut theirs, mut ours) = (theirs.clone(), ours.clone());
    for exception in all() {
        let applied = match exception.effect {
            Effect::Reworded(from, to) => reword(&mut theirs, from, to),
            Effect::Cut(what, from, to) => {
                cut_annotations(&mut theirs, &mut ours, what, [from, to])
            }
            Effect::Position(what) => {
                query.has(&["parentheses"]) && {
                    each_annotation(&mut theirs, what, cut_position);
                    each_annotation(&mut ours, what, cut_position);
                    true
                }
            }
            Effect::New(what) => !shape::told(&theirs, what) && remove(&mut ours, what),
            Effect::Without(applies, what) => {
                applies(&query) && (remove(&mut theirs, what) | remove(&mut ours, what))
            }
            Effect::Pair(what) => sort_pair(&mut theirs, what) && sort_pair(&mut ours, what),
            Effect::Names(applies) => {
                applies(&query) && {
                    theirs.remove_names();
                    ours.remove_names();
                    true
                }
            }
            Effect::Rounding(applies, relative) => {
                applies(&query) && {
                    precision = Precision::Relative(relative);
                    true
                }
            }
            Effect::All(applies) => {
                if applies(&query, &theirs, &ours) {
                    return Some(exception.name);
                }
                false
            }
        };
        if applied && compare::difference(&theirs, &ours, precision, order).is_none() {
            return Some(exception.name);
        }
    }
    None
}

fn reword(answer: &mut Answer, from: &str, to: &str) -> bool {
    let Some((_, text)) = answer.error.as_mut().filter(|e| e.1.contains(from)) else {
        return false;
    };
    *text = text.replace(from, to);
    true
}

/// Changes the annotations with a text in them.
fn each_annotation(answer: &mut Answer, what: &str, mut change: impl FnMut(&mut String)) {
    for list in [&mut answer.warnings, &mut answer.infos] {
        list.iter_mut().filter(|text| text.contains(what)).for_each(&mut change);
        list.sort();
        list.dedup();
    }
}

fn cut_position(text: &mut String) {
    let position = text.rfind(" (").unwrap_or(text.len());
    text.truncate(position);
}

fn cut_annotations(
    theirs: &mut Answer,
    ours: &mut Answer,
    what: &str,
    [from, to]: [&str; 2],
) -> bool {
    // Where theirs are several by name, ours is one, at the last position.
    let count = |a: &Answer| a.warnings.iter().chain(&a.infos).filter(|t| t.contains(what)).count();
    let merged = count(theirs) != count(ours) || what.contains("monotonicity");
    let mut changed = false;
    for answer in [theirs, ours] {
        each_annotation(answer, what, |text| {
            changed |= cut(text, from, to);
            if merged {
                cut_position(text);
            }
        });
    }
    changed
}

/// Cuts out what stands from `from` to the last `to`.
fn cut(text: &mut String, from: &str, to: &str) -> bool {
    let Some(start) = text.find(from) else { return false };
    let Some(end) = text.rfind(to).filter(|end| *end >= start) else { return false };
    text.replace_range(start..end, "");
    true
}

/// Orders the two series in `[a, b]` of an error.
fn sort_pair(answer: &mut Answer, what: &str) -> bool {
    let Some((_, text)) = answer.error.as_mut().filter(|e| e.1.contains(what)) else {
        return false;
    };
    let (Some(start), Some(end)) = (text.find(": [{"), text.rfind("}];")) else { return false };
    let (start, end) = (start + 3, end + 1);
    let pair = text[start..end].to_owned();
    let Some((a, b)) = pair.split_once("}, {") else { return false };
    let (a, b) = (format!("{a}}}"), format!("{{{b}"));
    text.replace_range(start..end, &format!("{}, {}", (&a).min(&b), (&a).max(&b)));
    true
}

fn remove(answer: &mut Answer, what: &str) -> bool {
    let before = answer.warnings.len() + answer.infos.len();
    answer.warnings.retain(|text| !text.contains(what));
    answer.infos.retain(|text| !text.contains(what));
    answer.warnings.len() + answer.infos.len() < before
}
