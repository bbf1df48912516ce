//! Asks both, compares, shrinks, counts.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    subject::{Subject, When},
    tree::Node,
};

/// How often Prometheus is asked again before a difference is believed: some of its answers depend
/// on the order of a Go map.
const REPEATS: usize = 12;
/// How many smaller queries are tried for a difference.
const SHRINKS: usize = 400;

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

/// What came out of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same, digit by digit.
    Same,
    /// The same but for rounding of sums across series.
    Close,
    /// Prometheus gives several answers, ours among them.
    Unstable,
    /// Prometheus gives several answers, ours not among those seen, for it picks by the order of a Go
    /// map.
    Arbitrary,
    /// A known difference.
    Excepted(&'static str),
    /// What differs.
    Different(String),
}

/// A difference.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The number of the query that showed it.
    pub index: u64,
    /// The query as it was made.
    pub original: String,
    /// The smallest query that shows it.
    pub query: String,
    /// When it is evaluated.
    pub when: When,
    /// What differs.
    pub what: String,
    /// Their answer.
    pub theirs: String,
    /// Our answer.
    pub ours: String,
}

/// What came out of all questions.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many.
    pub asked: u64,
    /// Further ones, without a result on Prometheus, that were compared too.
    pub empty: u64,
    /// Range queries among them.
    pub ranges: u64,
    /// Those with a result on Prometheus.
    pub found: u64,
    /// Those with an error on Prometheus.
    pub errors: u64,
    /// Those with warnings or remarks on Prometheus.
    pub annotated: u64,
    /// Those the same but for rounding.
    pub close: u64,
    /// Those with several answers on Prometheus.
    pub unstable: u64,
    /// Those with several answers on Prometheus of which none was ours.
    pub arbitrary: u64,
    /// Those that a fresh Prometheus answers otherwise, like us.
    pub spoiled: u64,
    /// Known differences, by name.
    pub excepted: BTreeMap<&'static str, u64>,
    /// How often functions, operators and forms were asked.
    pub names: BTreeMap<&'static str, u64>,
    /// The differences, one of each kind.
    pub differences: Vec<Difference>,
    /// All differences.
    pub different: u64,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.empty += other.empty;
        self.ranges += other.ranges;
        self.found += other.found;
        self.errors += other.errors;
        self.annotated += other.annotated;
        self.close += other.close;
        self.unstable += other.unstable;
        self.arbitrary += other.arbitrary;
        self.spoiled += other.spoiled;
        for (name, n) in other.excepted {
            *self.excepted.entry(name).or_default() += n;
        }
        for (name, n) in other.names {
            *self.names.entry(name).or_default() += n;
        }
    }
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
    let (next, counted) = (AtomicU64::new(0), AtomicU64::new(0));
    let shared = Mutex::new((Report::default(), BTreeSet::new()));
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> = pairs
            .into_iter()
            .map(|pair| scope.spawn(|| work(data, plan, pair, (&next, &counted), &shared, fresh)))
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
    (next, counted): (&AtomicU64, &AtomicU64),
    shared: &Shared,
    fresh: Fresh<'_>,
) -> Result<()> {
    let mut counts = Report::default();
    while counted.load(Ordering::Relaxed) < plan.queries {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let question = question(data, plan.seed, index);
        let (verdict, theirs) = judge(&mut pair, &question, 1)?;
        // Most of the empty answers are compared but not counted, nor are they in the distribution.
        if !theirs.is_empty() || index % 4 == 0 {
            counted.fetch_add(1, Ordering::Relaxed);
            counts.count(&question, &theirs);
        } else {
            counts.empty += 1;
        }
        match verdict {
            Verdict::Same => {}
            Verdict::Close => counts.close += 1,
            _ => {
                let (verdict, _) = judge(&mut pair, &question, REPEATS)?;
                match verdict {
                    Verdict::Same => counts.unstable += 1,
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
                        let difference = shrink(&mut alone, index, question)?;
                        if difference.what.is_empty() {
                            counts.unstable += 1;
                        } else if note(shared, plan, difference) {
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

impl Report {
    fn count(&mut self, question: &Question, theirs: &Answer) {
        self.asked += 1;
        self.ranges += u64::from(matches!(question.when, When::Range { .. }));
        self.found += u64::from(!theirs.series.is_empty());
        self.errors += u64::from(theirs.error.is_some());
        self.annotated += u64::from(!theirs.warnings.is_empty() || !theirs.infos.is_empty());
        let mut names = BTreeSet::new();
        question.node.names(&mut |name| {
            names.insert(name);
        });
        for name in names {
            *self.names.entry(name).or_default() += 1;
        }
    }
}

/// What the order of the answer means: it depends on the outermost function.
fn order(node: &Node, when: When) -> Order {
    if matches!(when, When::Range { .. }) {
        return Order::Series;
    }
    let text = node.to_string();
    // What was damaged has no names but in its text.
    let name = if node.name == "damaged" { text.split(['(', ' ']).next() } else { Some(node.name) };
    match name.unwrap_or_default() {
        "sort" | "sort_desc" => Order::Values,
        "sort_by_label" | "sort_by_label_desc" => Order::Series,
        _ => Order::Any,
    }
}

/// Whether a query picks by the order of its operand, which is that of a Go map: some series of
/// many, the first error of many, or a sum that is not compensated.
fn arbitrary(node: &Node, answer: &Answer) -> bool {
    let picks = ["topk", "bottomk", "limitk", "stddev", "stdvar"].iter().any(|name| node.has(name));
    picks || answer.error.as_ref().is_some_and(|e| e.1.contains("duplicate series for the match"))
}

/// Asks both, Prometheus up to `repeats` times until the answers agree. Also gives its last answer.
fn judge(pair: &mut Pair<'_>, question: &Question, repeats: usize) -> Result<(Verdict, Answer)> {
    let query = question.node.to_string();
    let ours = pair.1.ask(&query, question.when)?;
    let our_answer = Answer::parse(&ours)?;
    let order = order(&question.node, question.when);
    let mut first: Option<Answer> = None;
    let (mut verdict, mut stable) = (Verdict::Same, true);
    for repeat in 0..repeats {
        let theirs = pair.0.ask(&query, question.when)?;
        let answer = Answer::parse(&theirs)?;
        let found = if theirs == ours {
            Verdict::Same
        } else {
            verdict_of(question, &answer, &our_answer, order)
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

fn verdict_of(question: &Question, theirs: &Answer, ours: &Answer, order: Order) -> Verdict {
    let Some(what) = compare::difference(theirs, ours, Precision::Exact, order) else {
        return Verdict::Same;
    };
    let node = &question.node;
    let across = ["sum", "avg", "stddev", "stdvar"].iter().any(|name| node.has(name));
    let precision = if across { Precision::Relative(1e-12) } else { Precision::Exact };
    if compare::difference(theirs, ours, precision, order).is_none() {
        return Verdict::Close;
    }
    match exceptions::excepted(question, theirs, ours, order, precision) {
        Some(name) => Verdict::Excepted(name),
        None => Verdict::Different(what),
    }
}

/// Makes a query smaller as long as the answers differ.
fn shrink(pair: &mut Pair<'_>, index: u64, question: Question) -> Result<Difference> {
    let original = question.node.to_string();
    let mut best = question;
    let mut tries = 0;
    let differs = |pair: &mut Pair<'_>, question: &Question| -> Result<bool> {
        Ok(matches!(judge(pair, question, 1)?.0, Verdict::Different(_))
            && matches!(judge(pair, question, REPEATS)?.0, Verdict::Different(_)))
    };
    'again: loop {
        let times = smaller_times(best.when).into_iter();
        let times = times.map(|when| Question { node: best.node.clone(), when });
        let nodes = best.node.smaller().into_iter();
        let nodes = nodes.map(|node| Question { node, when: best.when });
        for candidate in nodes.chain(times).collect::<Vec<_>>() {
            tries += 1;
            if tries > SHRINKS {
                break 'again;
            }
            if differs(pair, &candidate)? {
                best = candidate;
                continue 'again;
            }
        }
        break;
    }
    let query = best.node.to_string();
    let theirs = pair.0.ask(&query, best.when)?;
    let ours = pair.1.ask(&query, best.when)?;
    let what = match judge(pair, &best, REPEATS)?.0 {
        Verdict::Different(what) => what,
        // It came and went.
        _ => String::new(),
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (theirs, ours) = (text(theirs), text(ours));
    Ok(Difference { index, original, query, when: best.when, what, theirs, ours })
}

/// Fewer steps: the first, the last, either half.
fn smaller_times(when: When) -> Vec<When> {
    let When::Range { start, end, step } = when else { return Vec::new() };
    let steps = (end - start) / step;
    let last = start + steps * step;
    let mut all = vec![When::Instant(start), When::Instant(last)];
    if steps > 0 {
        all.push(When::Range { start, end: start + steps / 2 * step, step });
        all.push(When::Range { start: start + (steps / 2 + 1) * step, end, step });
        all.push(When::Range { start: start + step, end, step });
        all.push(When::Range { start, end: last - step, step });
    }
    all
}
