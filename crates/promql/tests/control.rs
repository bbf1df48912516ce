//! What keeps queries in check, and what is told of them.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use firesteel_model::{budget::Budget, storage::memory::MemoryStorage};
use firesteel_promql::{
    Engine, EngineOptions, ObservedQuery, QueryError, QueryObserver, QueryOptions, QueryOutcome,
    StepStats,
};

fn storage() -> MemoryStorage {
    let series = ["a", "b", "c"].map(|job| {
        let samples = (0..100).map(|i| (i * 15_000, i as f64)).collect();
        (vec![("__name__", "m"), ("job", job)], samples)
    });
    MemoryStorage::from_floats(series).unwrap()
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl QueryObserver for Notes {
    fn started(&self, query: &ObservedQuery<'_>) {
        self.0.lock().unwrap().push(format!("{} in {:?}", query.text, query.slot));
    }

    fn finished(&self, query: &ObservedQuery<'_>, outcome: &QueryOutcome<'_>) {
        let error = outcome.error.map(ToString::to_string);
        let note = format!("{} {:?} {error:?}", query.text, query.slot);
        self.0.lock().unwrap().push(note);
    }
}

#[test]
fn observers_hear_of_queries_that_wait_fail_and_end_but_not_of_what_is_none() {
    let notes = Arc::new(Notes::default());
    let options = EngineOptions {
        max_concurrency: Some(1),
        observers: vec![Arc::clone(&notes) as _],
        ..EngineOptions::default()
    };
    let engine = Engine::new(options);
    let (storage, options) = (storage(), QueryOptions::default());
    engine.instant(&storage, "m", 60_000, &options).unwrap();
    engine.instant(&storage, "m{", 60_000, &options).unwrap_err();
    engine.instant(&storage, "m + on() m", 60_000, &options).unwrap_err();
    let place = engine.gate().unwrap().try_enter().unwrap();
    let late = QueryOptions { timeout: Some(Duration::ZERO), ..QueryOptions::default() };
    let error = engine.instant(&storage, "m", 60_000, &late).unwrap_err();
    assert!(matches!(error, QueryError::TimedOutInQueue));
    assert!(error.hint(engine.options()).unwrap().contains("--query.max-concurrency"));
    let taken = QueryOptions { place: Some(Arc::new(place)), ..QueryOptions::default() };
    engine.instant(&storage, "1", 60_000, &taken).unwrap();
    let notes = notes.0.lock().unwrap();
    assert_eq!(notes[..2], ["m in Some(0)", "m Some(0) None"]);
    assert_eq!(notes[2], "m + on() m in Some(0)");
    assert!(notes[3].contains("many-to-many matching not allowed"));
    assert_eq!(
        notes[4..],
        ["m None Some(\"context deadline exceeded\")", "1 in Some(0)", "1 Some(0) None"]
    );
}

#[test]
fn samples_are_counted_by_step() {
    let options = QueryOptions { per_step_stats: true, ..QueryOptions::default() };
    let (engine, step) = (Engine::default(), Duration::from_secs(15));
    let query = "sum(sum_over_time(m[1m])) + count(m)";
    let result = engine.range(&storage(), query, 300_000, 345_000, step, &options).unwrap();
    let steps = result.stats.per_step.unwrap();
    // Four samples of each of three series, of which the step before had three, and one more each.
    let at = |t, samples_read| StepStats { t, total_samples: 15, samples_read };
    assert_eq!(steps, [at(300_000, 15), at(315_000, 6), at(330_000, 6), at(345_000, 6)]);
    assert_eq!(result.stats.total_samples, 60);
    assert_eq!(result.stats.samples_read, 33);
}

#[test]
fn a_profile_tells_where_the_work_is() {
    let options = QueryOptions { profile: true, ..QueryOptions::default() };
    let engine = Engine::default();
    let query = "max(m) / on() group_left() count(rate(m[1m]) > 0)";
    let result = engine.instant(&storage(), query, 300_000, &options).unwrap();
    let profile = result.profile.unwrap();
    let root = &profile.nodes[0];
    assert_eq!((root.operation.as_str(), root.text.as_str()), ("/", query));
    assert_eq!(root.figures.samples_read, result.stats.samples_read);
    let rate = profile.nodes.iter().find(|n| n.operation == "rate").unwrap();
    assert_eq!((rate.fused, rate.figures.series, rate.figures.evaluations), (false, 3, 1));
    assert_eq!(rate.text, "rate(m[1m])");
    let plain = engine.instant(&storage(), query, 300_000, &QueryOptions::default()).unwrap();
    assert_eq!((plain.value, plain.profile), (result.value, None));
}

#[test]
fn results_hold_their_memory_until_they_are_dropped() {
    let budget = Budget::root("queries", 1 << 20);
    let options = EngineOptions { budget: budget.clone(), ..EngineOptions::default() };
    let engine = Engine::new(options);
    let (storage, options) = (storage(), QueryOptions::default());
    let step = Duration::from_secs(1);
    let result = engine.range(&storage, "m", 0, 1_000_000, step, &options).unwrap();
    assert!(budget.used() >= 3 * 1000 * 16 && budget.used() < 3 * 1000 * 24, "{}", budget.used());
    drop(result);
    assert_eq!(budget.used(), 0);
    for query in
        ["m[1d:1ms]", "sum_over_time(vector(time())[10h:1ms])", "count_values(\"v\", m * time())"]
    {
        let error = engine.range(&storage, &format!("sum({query})"), 0, 1_400_000, step, &options);
        assert!(error.is_err(), "{query}");
        assert_eq!(budget.used(), 0, "{query}");
    }
    let error =
        engine.instant(&storage, "sum_over_time(vector(1)[10h:1ms])", 0, &options).unwrap_err();
    assert!(error.hint(engine.options()).unwrap().contains("select fewer series"), "{error}");
}
