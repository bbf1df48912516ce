//! Asks both the queries of a list.

use crate::{
    Result,
    answer::Answer,
    compare::{self, Order, Precision},
    subject::{Subject, When},
};

/// How often Prometheus is asked before a difference is believed: some of its answers depend on the
/// order of a Go map.
const REPEATS: usize = 12;

/// How a list went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Questions: each query is asked several times.
    pub asked: usize,
    /// Those with a result on Prometheus.
    pub found: usize,
    /// Those with an error on both.
    pub failed: usize,
    /// Those the same but for the rounding of sums across series.
    pub rounded: usize,
    /// What differs: query, when, what.
    pub differences: Vec<(String, When, String)>,
}

/// Asks each query of a list at each time.
///
/// # Errors
/// Somebody does not answer.
pub fn ask(
    list: &[String],
    times: &[When],
    theirs: &mut dyn Subject,
    ours: &mut dyn Subject,
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for query in list {
        for &when in times {
            outcome.asked += 1;
            outcome.one(query, when, theirs, ours)?;
        }
    }
    Ok(outcome)
}

impl Outcome {
    fn one(
        &mut self,
        query: &str,
        when: When,
        theirs: &mut dyn Subject,
        ours: &mut dyn Subject,
    ) -> Result<()> {
        let our_answer = as_released(Answer::parse(&ours.ask(query, when)?)?);
        let mut what = String::new();
        for repeat in 0..REPEATS {
            let answer = as_released(Answer::parse(&theirs.ask(query, when)?)?);
            if repeat == 0 {
                self.found += usize::from(!answer.series.is_empty());
                self.failed += usize::from(answer.error.is_some() && our_answer.error.is_some());
            }
            let exact =
                compare::difference(&answer, &our_answer, Precision::Exact, order(query, when));
            let Some(difference) = exact else { return Ok(()) };
            let precision = precision(query);
            if compare::difference(&answer, &our_answer, precision, order(query, when)).is_none() {
                self.rounded += 1;
                return Ok(());
            }
            what = difference;
        }
        self.differences.push((query.to_owned(), when, what));
        Ok(())
    }
}

/// An answer without what 3.14 says more than 3.5, and without what depends on the order of a Go map.
fn as_released(mut answer: Answer) -> Answer {
    // New in 3.14: `promql/engine.go`, `NewSortInRangeQueryWarning`.
    answer.warnings.retain(|text| !text.contains("sort is ineffective for range queries"));
    // Which two of the series are shown is chance, and which of several groups.
    if let Some((_, text)) = &mut answer.error
        && text.starts_with("found duplicate series for the match group")
        && let Some(end) = text.find('{')
    {
        text.truncate(end);
    }
    answer
}

/// What sums across series may be rounded otherwise.
fn precision(query: &str) -> Precision {
    let across = ["sum", "avg", "stddev", "stdvar"].iter().any(|name| query.contains(name));
    if across { Precision::Relative(1e-12) } else { Precision::Exact }
}

fn order(query: &str, when: When) -> Order {
    match when {
        When::Range { .. } => Order::Series,
        When::Instant(_) if query.starts_with("sort_by_label") => Order::Series,
        When::Instant(_) if query.starts_with("sort") => Order::Values,
        When::Instant(_) => Order::Any,
    }
}
