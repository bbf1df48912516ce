//! Limits, cancellation, determinism and the options of the engine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use firesteel_model::{
    Labels,
    budget::Budget,
    clock::ManualClock,
    storage::{CancelToken, memory::MemoryStorage},
};
use firesteel_promql::{
    Engine, EngineOptions, Executor, ParserOptions, QueryError, QueryOptions, QueryValue,
    SampleValue, ScopedThreads,
};

/// `n` counters of two names, one sample each 10 s for 10 minutes.
fn storage(n: usize) -> MemoryStorage {
    let storage = MemoryStorage::new();
    for i in 0..n {
        let name = if i % 2 == 0 { "even_total" } else { "odd_total" };
        let labels = Labels::from_pairs([
            ("__name__", name.to_owned()),
            ("i", (i / 2).to_string()),
            ("group", (i % 7).to_string()),
        ]);
        let samples = (0..60_i64).map(|t| (t * 10_000, (t as f64).sin() + i as f64 * 0.1));
        storage.add_floats(&labels, samples).expect("samples are in order");
    }
    storage
}

fn range(engine: &Engine, storage: &MemoryStorage, query: &str) -> Result<QueryValue, QueryError> {
    let step = Duration::from_secs(10);
    let result = engine.range(storage, query, 0, 600_000, step, &QueryOptions::default());
    result.map(|r| r.value)
}

fn instant(engine: &Engine, storage: &MemoryStorage, query: &str) -> Result<String, String> {
    let result = engine.instant(storage, query, 590_000, &QueryOptions::default());
    result.map(|r| r.value.to_string()).map_err(|e| e.to_string())
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let storage = storage(1500);
    let inline = Engine::default();
    let options =
        EngineOptions { executor: Arc::new(ScopedThreads(3)), ..EngineOptions::default() };
    let threads = Engine::new(options);
    for query in [
        "even_total",
        "sum(rate(even_total[1m]))",
        "avg by (group) ({__name__=~\".+\"})",
        "stddev by (i) (even_total)",
        "sum without (group) (rate(odd_total[1m]))",
        "topk(3, even_total)",
        "even_total + on (i) odd_total",
        "max(max_over_time(even_total[5m]))",
    ] {
        let (a, b) = (range(&inline, &storage, query), range(&threads, &storage, query));
        assert_eq!(a.unwrap(), b.unwrap(), "{query}");
    }
}

#[test]
fn sample_limits_are_those_of_prometheus() {
    let storage = storage(10);
    let engine = |max_samples| Engine::new(EngineOptions { max_samples, ..Default::default() });
    let text = "query processing would load too many samples into memory in query execution";
    // Ten series at one time, and the sum of them later.
    assert_eq!(instant(&engine(9), &storage, "sum({__name__=~\".+\"})").unwrap_err(), text);
    assert!(instant(&engine(10), &storage, "sum({__name__=~\".+\"})").is_ok());
    assert_eq!(range(&engine(60), &storage, "1").unwrap_err().to_string(), text);
    assert!(range(&engine(61), &storage, "1").is_ok());
    let peak = |query: &str| {
        let options = QueryOptions::default();
        engine(10_000).instant(&storage, query, 590_000, &options).unwrap().stats.peak_samples
    };
    assert_eq!(peak("abs(even_total)"), 15);
}

#[test]
fn memory_is_limited_and_returned() {
    let storage = storage(200);
    let budget = Budget::root("queries", 50_000);
    let options = EngineOptions { budget: budget.clone(), ..EngineOptions::default() };
    let engine = Engine::new(options);
    assert!(instant(&engine, &storage, "sum(even_total)").is_ok());
    let error = range(&engine, &storage, "even_total").unwrap_err();
    assert!(matches!(error, QueryError::Budget(_)), "{error}");
    assert!(error.to_string().contains("queries"), "{error}");
    assert_eq!(budget.used(), 0);
    assert!(budget.peak() > 0);
}

#[test]
fn queries_can_be_cancelled_and_time_out() {
    let storage = storage(10);
    let engine = Engine::default();
    let cancel = CancelToken::new();
    cancel.cancel();
    let options = QueryOptions { cancel, ..QueryOptions::default() };
    let error = engine.instant(&storage, "even_total", 0, &options).unwrap_err();
    assert_eq!(error.to_string(), "query was canceled in query execution");

    // A clock that moves on by a minute whenever it is read.
    #[derive(Debug)]
    struct Fast(ManualClock);
    impl firesteel_model::clock::Clock for Fast {
        fn now(&self) -> i64 {
            0
        }
        fn monotonic(&self) -> Duration {
            self.0.advance(Duration::from_secs(60));
            firesteel_model::clock::Clock::monotonic(&self.0)
        }
    }
    let clock = Arc::new(Fast(ManualClock::new(0)));
    let engine = Engine::new(EngineOptions { clock, ..EngineOptions::default() });
    let error = instant(&engine, &storage, "sum(even_total)").unwrap_err();
    assert!(error.starts_with("query timed out in "), "{error}");
}

#[test]
fn names_are_dropped_at_once_or_at_the_end() {
    let storage = storage(4);
    let now = Engine::default();
    let later =
        Engine::new(EngineOptions { delayed_name_removal: true, ..EngineOptions::default() });
    let same = "vector cannot contain metrics with the same labelset";
    let both = "{__name__=~\"even_total|odd_total\"}";
    let same_group = format!("label_replace({both}, \"group\", \"\", \"\", \"\")");
    for (query, engine, fails) in [
        (format!("abs({same_group})"), &now, true),
        (format!("abs({same_group})"), &later, true),
        (format!("sum(abs({same_group}))"), &now, true),
        (format!("sum(abs({same_group}))"), &later, false),
        (format!("-{same_group}"), &now, true),
        (format!("{same_group} > 0"), &now, false),
        (format!("sum(rate({both}[1m]))"), &now, false),
    ] {
        match instant(engine, &storage, &query) {
            Ok(_) => assert!(!fails, "{query}"),
            Err(error) => assert!(fails && error == same, "{query}: {error}"),
        }
    }
}

#[test]
fn aggregations_cannot_group_by_a_name_that_was_dropped() {
    let storage = storage(2);
    for query in ["sum by (__name__) (rate(even_total[1m]))", "sum by (__name__) (abs(odd_total))"]
    {
        let value = instant(&Engine::default(), &storage, query).unwrap();
        assert!(value.starts_with("{} => "), "{value}");
    }
    let value = instant(&Engine::default(), &storage, "sum by (__name__) (odd_total)").unwrap();
    assert!(value.contains("odd_total"), "{value}");
}

#[test]
fn deep_and_long_queries_need_no_deep_stack() {
    let storage = storage(2);
    let work = move || {
        let engine = Engine::default();
        let chain = vec!["even_total"; ParserOptions::default().max_chain - 1].join(" + ");
        assert_eq!(instant(&engine, &storage, &chain).map(drop), Ok(()));
        let limit = ParserOptions::default().max_nesting;
        let nested = format!("{}1{}", "(".repeat(limit - 2), ")".repeat(limit - 2));
        assert_eq!(instant(&engine, &storage, &nested).map(drop), Ok(()));
        let calls = format!("{}even_total{}", "abs(".repeat(limit - 2), ")".repeat(limit - 2));
        assert_eq!(instant(&engine, &storage, &calls).map(drop), Ok(()));
        let sums = format!("{}even_total{}", "sum(".repeat(limit - 2), ")".repeat(limit - 2));
        assert_eq!(instant(&engine, &storage, &sums).map(drop), Ok(()));
        let powers = vec!["even_total"; limit / 2].join(" ^ ");
        assert_eq!(instant(&engine, &storage, &powers).map(drop), Ok(()));
    };
    // What threads get by default.
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn options_switch_modifiers_off() {
    let storage = storage(2);
    let engine = Engine::new(EngineOptions {
        at_modifier: false,
        negative_offset: false,
        max_steps: Some(10),
        ..EngineOptions::default()
    });
    for (query, error) in [
        ("even_total @ 1", "@ modifier is disabled"),
        ("rate(even_total[1m] @ end())", "@ modifier is disabled"),
        ("sum(even_total offset -1m)", "negative offset is disabled"),
    ] {
        assert_eq!(instant(&engine, &storage, query).unwrap_err(), error);
    }
    let error = range(&engine, &storage, "even_total").unwrap_err().to_string();
    assert!(error.starts_with("exceeded maximum resolution of 10 points"), "{error}");
    let error = range(&Engine::default(), &storage, "even_total[1m]").unwrap_err().to_string();
    assert_eq!(
        error,
        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
    );
}

/// Counts what it is given.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Executor for Counting {
    fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        self.0.fetch_add(count, Ordering::Relaxed);
        (0..count).for_each(task);
    }

    fn parallelism(&self) -> usize {
        4
    }
}

#[test]
fn work_in_the_background_stays_on_its_thread() {
    let (storage, counting) = (storage(1500), Arc::new(Counting::default()));
    let executor = Arc::clone(&counting) as Arc<dyn Executor>;
    let engine = Engine::new(EngineOptions { executor, ..EngineOptions::default() });
    let mut answers = Vec::new();
    for one_thread in [true, false] {
        let options = QueryOptions { one_thread, ..QueryOptions::default() };
        let query = "sum by (group) (rate({__name__=~\".+\"}[1m])) + sum by (group) (even_total)";
        let answer = engine.instant(&storage, query, 590_000, &options).unwrap();
        answers.push(answer.value.to_string());
        assert_eq!(counting.0.load(Ordering::Relaxed) == 0, one_thread);
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn lookback_can_be_shortened_per_query() {
    let storage = storage(2);
    let engine = Engine::default();
    let at = |lookback| {
        let options = QueryOptions {
            lookback_delta: Some(Duration::from_secs(lookback)),
            ..QueryOptions::default()
        };
        match engine.instant(&storage, "even_total", 600_000, &options).unwrap().value {
            QueryValue::Vector(v) => v,
            other => panic!("{other:?}"),
        }
    };
    // The last sample is 10 s old, and the interval is open at its begin.
    assert!(at(10).is_empty());
    let [sample] = &at(11)[..] else { panic!("one series") };
    assert!(matches!(sample.value, SampleValue::Float(_)));
}

#[test]
fn parsed_queries_and_metrics() {
    use firesteel_model::metrics::{Collect, Families, Point};
    let storage = storage(4);
    let engine = Engine::default();
    let expr = firesteel_promql::parse("sum(even_total)", &ParserOptions::default()).unwrap();
    let options = QueryOptions::default();
    let parsed = engine.instant_expr(&storage, &expr, 590_000, &options).unwrap();
    let text = engine.instant(&storage, "sum(even_total)", 590_000, &options).unwrap();
    assert_eq!(parsed.value, text.value);
    let mut families = Families::new();
    engine.collect(&mut families);
    let families = families.into_sorted();
    let value =
        |name: &str| families.iter().find(|f| f.name == name).map(|f| f.points[0].1.clone());
    assert_eq!(value("prometheus_engine_queries"), Some(Point::Value(0.0)));
    assert_eq!(value("prometheus_engine_query_samples_total"), Some(Point::Value(4.0)));
    let durations = value("prometheus_engine_query_duration_seconds");
    assert!(matches!(durations, Some(Point::Summary { count: 2, .. })), "{durations:?}");
}

#[test]
fn extreme_times_are_survived() {
    let storage = storage(2);
    storage
        .add_floats(
            &Labels::from_pairs([("__name__", "extreme")]),
            [(i64::MIN, 1.0), (i64::MIN + 5, 2.0), (0, 3.0), (i64::MAX - 1, 4.0), (i64::MAX, 5.0)],
        )
        .expect("samples are in order");
    let parser = ParserOptions::experimental();
    let engine = Engine::new(EngineOptions { parser, ..EngineOptions::default() });
    let selectors = ["extreme", "even_total"];
    let ranges = ["[1m]", "[290y]", "[290y:100y]", "[1ms]"];
    let modifiers = [
        "",
        " offset 290y",
        " offset -290y",
        " @ 9223372036854775",
        " @ -9223372036854775 offset 290y",
        " @ end() offset -290y",
    ];
    let functions = [
        "rate",
        "delta",
        "irate",
        "deriv",
        "max_over_time",
        "last_over_time",
        "ts_of_max_over_time",
        "absent_over_time",
        "changes",
    ];
    let mut queries = vec![
        "hour(extreme)".to_owned(),
        "year(vector(time()))".to_owned(),
        "year()".to_owned(),
        "timestamp(extreme)".to_owned(),
        "predict_linear(extreme[290y], 1e300)".to_owned(),
        "rate(extreme[290y] smoothed)".to_owned(),
        "increase(extreme[290y] anchored)".to_owned(),
        "extreme smoothed".to_owned(),
        "extreme[290y] smoothed".to_owned(),
    ];
    for selector in selectors {
        for modifier in modifiers {
            queries.push(format!("{selector}{modifier}"));
            for range in ranges {
                let plain = format!("{selector}{range}{modifier}");
                queries.extend(functions.iter().map(|f| format!("{f}({plain})")));
                queries.push(plain);
            }
        }
    }
    let options = QueryOptions {
        lookback_delta: Some(Duration::from_secs(3600 * 24 * 365 * 290)),
        ..QueryOptions::default()
    };
    for query in &queries {
        for t in [i64::MIN, i64::MIN / 2, -1, 0, 590_000, i64::MAX / 2, i64::MAX] {
            let _ = engine.instant(&storage, query, t, &options);
            let (end, step) = (t.saturating_add(36_000_000), Duration::from_secs(3600));
            let _ = engine.range(&storage, query, t, end, step, &options);
        }
    }
}
