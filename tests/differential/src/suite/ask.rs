//! Asks both the queries of a list.

use std::collections::BTreeMap;

use crate::{
    Result,
    generate::Question,
    report::Verdict,
    run::{Pair, REPEATS, judge},
    subject::When,
    tree::Node,
};

/// How a list went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Questions: each query is asked several times.
    pub asked: usize,
    /// Those with a result on Prometheus.
    pub found: usize,
    /// Those with an error on Prometheus.
    pub failed: usize,
    /// Those the same but for the rounding of sums across series.
    pub rounded: usize,
    /// Those with several answers on Prometheus.
    pub unstable: usize,
    /// Known differences, by name.
    pub excepted: BTreeMap<&'static str, usize>,
    /// What differs: query, when, what.
    pub differences: Vec<(String, When, String)>,
}

/// Asks each query of a list at each time.
///
/// # Errors
/// Somebody does not answer.
pub fn ask(list: &[String], times: &[When], mut pair: Pair<'_>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for query in list {
        for &when in times {
            outcome.one(query, when, &mut pair)?;
        }
    }
    Ok(outcome)
}

impl Outcome {
    fn one(&mut self, query: &str, when: When, pair: &mut Pair<'_>) -> Result<()> {
        let question = Question { node: Node::listed(query), when };
        let (mut verdict, answer) = judge(pair, &question, 1)?;
        if !matches!(verdict, Verdict::Same | Verdict::Close) {
            verdict = judge(pair, &question, REPEATS)?.0;
        }
        self.asked += 1;
        self.found += usize::from(!answer.series.is_empty());
        self.failed += usize::from(answer.error.is_some());
        match verdict {
            Verdict::Same => {}
            Verdict::Close => self.rounded += 1,
            Verdict::Unstable | Verdict::Arbitrary => self.unstable += 1,
            Verdict::Excepted(name) => *self.excepted.entry(name).or_default() += 1,
            Verdict::Different(what) => self.differences.push((query.to_owned(), when, what)),
        }
        Ok(())
    }
}
