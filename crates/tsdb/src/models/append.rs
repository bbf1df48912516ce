//! Commits and readers: a reader sees whole commits, those of a writer without gaps, all that were
//! acknowledged before it came, and the same for as long as it stays.

use std::sync::{Arc, atomic::Ordering};

use firesteel_model::Labels;

use super::{Acknowledged, commit, head, read, series, whole_commits};
use crate::{
    head::Head,
    sync::model::{Task, explore},
};

struct State {
    head: Arc<Head>,
    /// The series of each writer, in stripes of both.
    groups: [Vec<Labels>; 2],
    acknowledged: Acknowledged,
}

/// Series numbers go to stripes in runs of 64: the series of a group have numbers far apart.
fn setup() -> State {
    let head = head(1000);
    let groups = [0, 1].map(|g| vec![series(g, 0), series(g, 1), series(g, 70)]);
    for round in 0..71 {
        for g in 0..2 {
            commit(head.appender(), std::iter::empty(), 0).unwrap();
            let mut appender = head.appender();
            // Makes the series, and drops the transaction.
            let key = firesteel_model::storage::SeriesKey::Labels(&series(g, round));
            let value = firesteel_model::Value::Float(0.0);
            appender.append(key, 1, value, &Default::default()).unwrap();
        }
    }
    State { head, groups, acknowledged: Default::default() }
}

fn writer(g: usize, commits: i64) -> Task<State> {
    Box::new(move |state: &State| {
        for t in 1..=commits {
            let all = state.groups[g].iter().cloned();
            let stats = commit(state.head.appender(), all, t).unwrap();
            assert_eq!((stats.samples, stats.rejected), (3, 0));
            state.acknowledged[g].store(t, Ordering::Release);
        }
    })
}

fn reader(views: usize) -> Task<State> {
    Box::new(move |state: &State| {
        let mut before = [0, 0];
        for _ in 0..views {
            let known = [0, 1].map(|g: usize| state.acknowledged[g].load(Ordering::Acquire));
            let querier = state.head.querier(i64::MIN, i64::MAX, i64::MIN);
            let all = read(&querier, &[]);
            for g in 0..2 {
                let seen = whole_commits(&all, &state.groups[g], 1);
                assert!(seen >= known[g].max(before[g]), "{seen} of {known:?}");
                before[g] = seen;
            }
            let again = read(&querier, &[]);
            assert_eq!(again, all, "a view has changed");
        }
    })
}

fn after(commits: [i64; 2]) -> impl Fn(&State) {
    move |state| {
        let all = read(&state.head.querier(i64::MIN, i64::MAX, i64::MIN), &[]);
        for (g, n) in commits.into_iter().enumerate() {
            assert_eq!(whole_commits(&all, &state.groups[g], 1), n);
        }
    }
}

#[test]
fn a_reader_sees_whole_commits() {
    let tasks = vec![writer(0, 3), writer(1, 3), reader(2), reader(1)];
    explore(300, setup, tasks, after([3, 3]));
}

#[test]
fn a_reader_that_stays_sees_what_it_saw() {
    // More commits than a series remembers by itself while one view is read twice.
    explore(300, setup, vec![writer(0, 6), reader(1), reader(3)], after([6, 0]));
}

#[test]
fn a_model_finds_what_is_wrong() {
    // Two tasks that each read and then write: some order loses an update.
    let lost = std::panic::catch_unwind(|| {
        let add: fn() -> Task<crate::sync::AtomicI64> = || {
            Box::new(|n| {
                let seen = n.load(Ordering::Acquire);
                n.store(seen + 1, Ordering::Release);
            })
        };
        let new = || crate::sync::AtomicI64::new(0);
        explore(100, new, vec![add(), add()], |n| assert_eq!(n.load(Ordering::Acquire), 2));
    });
    assert!(lost.is_err());
}
