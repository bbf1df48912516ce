//! Series that are made while others look for series.

use std::sync::{Arc, atomic::Ordering};

use firesteel_model::{
    MatchOp, Matcher,
    storage::{LabelHints, Querier, QueryContext},
};

use super::{Acknowledged, commit, head, read, series, whole_commits};
use crate::{
    head::Head,
    sync::model::{Task, explore},
};

struct State {
    head: Arc<Head>,
    acknowledged: Acknowledged,
}

fn setup() -> State {
    State { head: head(1000), acknowledged: Default::default() }
}

/// Commits two new series each time; both writers make the same ones in group 2.
fn writer(g: usize) -> Task<State> {
    Box::new(move |state: &State| {
        for n in 1..=3_usize {
            let all = [series(g, n), series(g, n + 100)];
            commit(state.head.appender(), all.into_iter(), 1).unwrap();
            state.acknowledged[g].store(n as i64, Ordering::Release);
            let shared = std::iter::once(series(2, n));
            // The second finds it there already.
            let _ = commit(state.head.appender(), shared, 1);
        }
    })
}

fn reader(g: usize) -> Task<State> {
    Box::new(move |state: &State| {
        let group = format!("g{g}");
        let matchers = [
            Matcher::new(MatchOp::Equal, "group", &group).unwrap(),
            Matcher::new(MatchOp::Regex, "i", ".+").unwrap(),
        ];
        let known = state.acknowledged[g].load(Ordering::Acquire);
        let querier = state.head.querier(i64::MIN, i64::MAX, i64::MIN);
        let names = querier.label_values(
            &QueryContext::background(),
            "i",
            &matchers,
            &LabelHints::default(),
        );
        let names = names.unwrap().values;
        let all = read(&querier, &matchers);
        for n in 1..=3_usize {
            let pair = [series(g, n), series(g, n + 100)];
            let seen = whole_commits(&all, &pair, 1);
            assert!(seen == 1 || n as i64 > known, "{n} of {known}: {all:?}");
            assert!(n as i64 > known || names.contains(&n.to_string()), "{names:?}");
        }
        assert!(all.keys().all(|l| l.get("group") == Some(&*group)), "{all:?}");
    })
}

#[test]
fn series_are_made_while_others_are_looked_for() {
    let after = |state: &State| {
        let all = read(&state.head.querier(i64::MIN, i64::MAX, i64::MIN), &[]);
        assert_eq!(all.len(), 15, "{all:?}");
        assert_eq!(state.head.num_series(), 15);
    };
    explore(300, setup, vec![writer(0), writer(1), reader(0), reader(1)], after);
}
