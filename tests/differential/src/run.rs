//! Asks both, and compares.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    Result,
    answer::Answer,
    compare::{self, Order, Precision},
    data::Dataset,
    exceptions,
    generate::{Generator, Question},
    report::{Difference, Report, Verdict},
    shrink,
    subject::{Subject, When},
    tree::Node,
};

/// How often Prometheus is asked again before a difference is believed: some of its answers depend
/// on the order of a Go map.
pub(crate) const REPEATS: usize = 12;
/// How much sums across series may differ: this part of the sum of magnitudes.
const ACROSS: f64 = 1e-12;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Makes the queries.
    pub seed: u64,
    /// How many.
    pub queries: u64,
    /// After how many kinds of differences to stop.
    pub differences: usize,
}

/// A pair that is compared.
pub type Pair<'a> = (&'a mut (dyn Subject + 'static), &'a mut (dyn Subject + 'static));

/// Makes a Prometheus that was asked nothing yet.
pub type Fresh<'a> = &'a (dyn Fn() -> Result<Box<dyn Subject>> + Sync);

/// Asks all questions of a plan, each pair on a thread of its own. What differs is asked once more
/// of a fresh Prometheus: 3.5 spoils native histograms that it has in memory, and the longer it is
/// asked the more of its answers are wrong.
///
/// # Errors
/// Somebody does not answer.
pub fn run(data: &Dataset, plan: Plan, pairs: Vec<Pair<'_>>, fresh: Fresh<'_>) -> Result<Report> {
    let next = AtomicU64::new(0);
    let shared = Mutex::new((Report::default(), BTreeSet::new()));
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> = pairs
            .into_iter()
            .map(|pair| scope.spawn(|| work(data, plan, pair, &next, &shared, fresh)))
            .collect();
        workers.into_iter().map(|w| w.join()).collect::<Vec<_>>()
    });
    for result in results {
        result.map_err(|_| "a worker panicked")??;
    }
    let (report, _) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(report)
}

/// The report, and what kinds of differences are known.
type Shared = Mutex<(Report, BTreeSet<String>)>;

fn work(
    data: &Dataset,
    plan: Plan,
    mut pair: Pair<'_>,
    next: &AtomicU64,
    shared: &Shared,
    fresh: Fresh<'_>,
) -> Result<()> {
    let mut counts = Report::default();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= plan.queries {
            break;
        }
        let question = question(data, plan.seed, index);
        let (mut verdict, theirs) = judge(&mut pair, &question, 1)?;
        counts.count(&question, &theirs);
        if !matches!(verdict, Verdict::Same | Verdict::Close) {
            verdict = judge(&mut pair, &question, REPEATS)?.0;
            if verdict == Verdict::Same {
                verdict = Verdict::Unstable;
            }
        }
        match verdict {
            Verdict::Same => {}
            Verdict::Close => counts.close += 1,
            Verdict::Unstable => counts.unstable += 1,
            Verdict::Arbitrary => counts.arbitrary += 1,
            Verdict::Excepted(name) => *counts.excepted.entry(name).or_default() += 1,
            Verdict::Different(_) => {
                let mut alone = fresh()?;
                let mut alone: Pair<'_> = (&mut *alone, &mut *pair.1);
                if !matches!(judge(&mut alone, &question, 1)?.0, Verdict::Different(_)) {
                    counts.spoiled += 1;
                    continue;
                }
                match shrink::shrink(&mut alone, index, question)? {
                    // It came and went.
                    None => counts.unstable += 1,
                    Some(difference) => {
                        if note(shared, plan, difference) {
                            break;
                        }
                    }
                }
            }
        }
    }
    shared.lock().unwrap_or_else(PoisonError::into_inner).0.add(counts);
    Ok(())
}

/// The question of a number: the same whatever was asked before.
#[must_use]
pub fn question(data: &Dataset, seed: u64, index: u64) -> Question {
    let mixed = (seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(23);
    Generator::new(data, mixed).question()
}

/// Keeps a difference if it is of a new kind; says whether that is enough.
fn note(shared: &Shared, plan: Plan, difference: Difference) -> bool {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let (report, kinds) = &mut *shared;
    report.different += 1;
    // The names in the smallest query, and what kind of thing differs.
    let kind = difference.what.split(':').next().unwrap_or_default();
    let words: String = difference.query.chars().filter(|c| !c.is_ascii_digit()).collect();
    if kinds.insert(format!("{kind} {words}")) {
        report.differences.push(difference);
    }
    report.differences.len() >= plan.differences
}

/// What the order of the answer means: it depends on the outermost function.
fn order(node: &Node, when: When) -> Order {
    const ORDERED: [&str; 6] =
        ["sort", "sort_desc", "sort_by_label", "sort_by_label_desc", "topk", "bottomk"];
    if matches!(when, When::Range { .. }) || ORDERED.contains(&&*node.outermost()) {
        return Order::Series;
    }
    Order::Any
}

/// Whether a query picks by the order of its operand, which is that of a Go map: some series of
/// many, equal ones in some order, the first error of many, or a sum that is not compensated.
fn arbitrary(node: &Node, answer: &Answer) -> bool {
    const PICKS: [&str; 7] = ["topk", "bottomk", "limitk", "stddev", "stdvar", "sort", "sort_desc"];
    let duplicate = |text: &str| text.contains("duplicate series for the match");
    PICKS.iter().any(|name| node.has(name))
        || answer.error.as_ref().is_some_and(|e| duplicate(&e.1))
}

/// Asks both, Prometheus up to `repeats` times until the answers agree. Also gives its last answer.
pub(crate) fn judge(
    pair: &mut Pair<'_>,
    question: &Question,
    repeats: usize,
) -> Result<(Verdict, Answer)> {
    let query = question.node.to_string();
    let ours = pair.1.ask(&query, question.when)?;
    let our_answer = Answer::parse(&ours)?;
    let mut first: Option<Answer> = None;
    let (mut verdict, mut stable) = (Verdict::Same, true);
    for repeat in 0..repeats {
        let theirs = pair.0.ask(&query, question.when)?;
        let answer = Answer::parse(&theirs)?;
        let found = if theirs == ours {
            Verdict::Same
        } else {
            verdict_of(&mut *pair.0, question, &answer, &our_answer)?
        };
        stable &= first.as_ref().is_none_or(|first| *first == answer);
        let good = matches!(found, Verdict::Same | Verdict::Close | Verdict::Excepted(_));
        verdict = found;
        if !stable && good {
            return Ok((Verdict::Unstable, answer));
        }
        if good || repeat + 1 == repeats {
            let arbitrary = !stable && arbitrary(&question.node, &answer);
            return Ok((if arbitrary { Verdict::Arbitrary } else { verdict }, answer));
        }
        first.get_or_insert(answer);
    }
    Ok((verdict, first.unwrap_or_default()))
}

fn verdict_of(
    peer: &mut dyn Subject,
    question: &Question,
    theirs: &Answer,
    ours: &Answer,
) -> Result<Verdict> {
    let (node, order) = (&question.node, order(&question.node, question.when));
    let differ = |precision| compare::difference(theirs, ours, precision, order);
    let Some(what) = differ(Precision::Exact) else {
        return Ok(Verdict::Same);
    };
    let across = ["sum", "avg", "stddev", "stdvar"].iter().any(|name| node.has(name));
    let precision = if across { Precision::Relative(ACROSS) } else { Precision::Exact };
    if differ(precision).is_none() {
        return Ok(Verdict::Close);
    }
    if let Some(name) = exceptions::excepted(question, theirs, ours, order, precision) {
        return Ok(Verdict::Excepted(name));
    }
    // A sum may be far smaller than what was added and subtracted: Prometheus says how much that is.
    if across && let Some(magnitudes) = node.magnitudes() {
        let magnitudes = Answer::parse(&peer.ask(&magnitudes.to_string(), question.when)?)?;
        if differ(Precision::Absolute(ACROSS * magnitudes.least())).is_none() {
            return Ok(Verdict::Close);
        }
    }
    Ok(Verdict::Different(what))
}
