//! What random queries found to differ from Prometheus 3.5.3; its answers.

use std::time::Duration;

use firesteel_model::{
    CounterResetHint, FloatHistogram, HistogramLayout, Labels, Span, Value,
    storage::{AppendOptions, Appendable as _, SeriesKey, memory::MemoryStorage},
};
use firesteel_promql::{Engine, EngineOptions, ParserOptions, QueryError, QueryOptions};

/// A gauge each 15 s for an hour.
fn storage() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let labels = Labels::from_pairs([("__name__", "gauge"), ("a", "1")]);
    let samples = (0..240_i64).map(|i| (i * 15_000, i as f64));
    storage.add_floats(&labels, samples).expect("samples are in order");
    storage
}

/// Two gauges, a histogram each; the second bucket falls while the count rises.
fn gauges() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let labels = Labels::from_pairs([("__name__", "h")]);
    let layout = HistogramLayout {
        positive_spans: vec![Span { offset: 0, length: 2 }],
        ..HistogramLayout::default()
    };
    let mut appender = storage.appender();
    for (t, buckets) in [(0, [1.0, 5.0]), (15_000, [10.0, 3.0])] {
        let count = buckets.iter().sum();
        let h = FloatHistogram {
            counter_reset_hint: CounterResetHint::Gauge,
            layout: layout.clone(),
            positive_buckets: buckets.to_vec(),
            count,
            sum: count,
            ..FloatHistogram::default()
        };
        let (key, options) = (SeriesKey::Labels(&labels), AppendOptions::default());
        appender.append(key, t, Value::FloatHistogram(&h), &options).expect("in order");
    }
    appender.commit().expect("in memory");
    storage
}

/// Histograms that rise, each 15 s for two minutes, under several names.
fn histograms(names: &[&str]) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let mut appender = storage.appender();
    for name in names {
        let labels = Labels::from_pairs([("__name__", *name)]);
        for i in 0..10_u32 {
            let count = f64::from(i);
            let h = FloatHistogram { count, zero_count: count, ..FloatHistogram::default() };
            let (key, options) = (SeriesKey::Labels(&labels), AppendOptions::default());
            let value = Value::FloatHistogram(&h);
            appender.append(key, i64::from(i) * 15_000, value, &options).expect("in order");
        }
    }
    appender.commit().expect("in memory");
    storage
}

/// The answer at 2000 s, or the error.
fn answer(query: &str) -> String {
    let parser = ParserOptions { experimental_functions: true, ..ParserOptions::default() };
    let engine = Engine::new(EngineOptions { parser, ..EngineOptions::default() });
    let result = engine.instant(&storage(), query, 2_000_000, &QueryOptions::default());
    result.map_or_else(|e| e.to_string(), |r| r.value.to_string())
}

#[test]
fn timestamp_of_a_pinned_selector_looks_at_the_pinned_time_and_storage_at_the_offset() {
    assert_eq!(answer("timestamp(gauge @ 1000)"), "{a=\"1\"} => 990 @[2000000]");
    // Samples up to 940 s are selected.
    assert_eq!(answer("timestamp(gauge @ 1000 offset 1m)"), "{a=\"1\"} => 930 @[2000000]");
    // Samples from 760 s on are, but what is seen at 1000 s is one from then.
    assert_eq!(answer("timestamp(gauge @ 1000 offset -1m)"), "{a=\"1\"} => 990 @[2000000]");
    assert_eq!(answer("timestamp(gauge @ 1000 offset 10m)"), "");
    assert_eq!(answer("timestamp(gauge @ 1000 offset -10m)"), "");
}

#[test]
fn labels_that_something_excludes_are_not_those_of_what_is_absent() {
    for query in [
        "absent_over_time(x{a!=\"2\", a=\"1\"}[1m])",
        "absent_over_time(x{a=\"1\", a!=\"2\"}[1m])",
        "absent(x{a!~\"2.*\", a=\"1\"})",
    ] {
        assert_eq!(answer(query), "{} => 1 @[2000000]", "{query}");
    }
    assert_eq!(answer("absent(x{a!=\"\", a=\"1\"})"), "{a=\"1\"} => 1 @[2000000]");
}

#[test]
fn logarithms_of_subnormal_numbers_are_as_wrong_as_those_of_go() {
    assert_eq!(answer("ln(vector(5e-324))"), "{} => -709.0895657128241 @[2000000]");
    assert_eq!(answer("log10(vector(5e-324))"), "{} => -307.9536855642528 @[2000000]");
    assert_eq!(answer("log2(vector(5e-324))"), "{} => -1074 @[2000000]");
}

#[test]
fn labels_are_expected_behind_group_left_where_nothing_else_can_be() {
    let rest = " in grouping opts, expected \"(\"";
    let query = "gauge / on () group_left ";
    assert!(
        answer(query).ends_with(&format!("unexpected end of input{rest}")),
        "{}",
        answer(query)
    );
    let query = "gauge / on () group_right * 2";
    assert!(answer(query).ends_with(&format!("unexpected <op:*>{rest}")), "{}", answer(query));
    assert!(answer("gauge / on () group_left or").is_empty());
    let query = "gauge / on () group_left group_right () gauge";
    assert!(answer(query).ends_with(&format!("unexpected <group_right>{rest}")), "{query}");
}

#[test]
fn pinned_subqueries_go_on_for_as_long_as_the_query() {
    let engine = Engine::default();
    let query = "predict_linear((gauge and on () (quantile(time(), gauge)))[1m:15s] @ 100, 1)";
    let step = Duration::from_secs(15);
    let ask = |end| {
        let options = QueryOptions::default();
        engine.range(&storage(), query, 1_000_000, end, step, &options).expect("a result")
    };
    let texts = |end| format!("{:?}", ask(end).annotations);
    assert!(texts(1_000_000).contains("got 90"), "{}", texts(1_000_000));
    assert!(texts(1_060_000).contains("got 150"), "{}", texts(1_060_000));
}

#[test]
fn durations_without_a_usable_value_make_the_query_invalid() {
    let parser = ParserOptions { duration_expressions: true, ..ParserOptions::default() };
    let engine = Engine::new(EngineOptions { parser, ..EngineOptions::default() });
    let ask = |query: &str| {
        let result = engine.instant(&storage(), query, 2_000_000, &QueryOptions::default());
        result.err().map(|e| (matches!(e, QueryError::Invalid(_)), e.to_string()))
    };
    let text = "11:17: duration must be greater than 0".to_owned();
    assert_eq!(ask("rate(gauge[1-7m3s:2m])"), Some((true, text)));
    let text = "14:25: division by zero".to_owned();
    assert_eq!(ask("gauge offset (1m / step())"), Some((true, text)));
}

#[test]
fn annotations_of_functions_that_are_folded_name_the_metric_where_names_are_removed_late() {
    let storage = histograms(&["h"]);
    for delayed_name_removal in [false, true] {
        let engine = Engine::new(EngineOptions { delayed_name_removal, ..Default::default() });
        let query = "sum(delta(h[1m:15s]))";
        let result = engine.instant(&storage, query, 120_000, &QueryOptions::default());
        let annotations = format!("{:?}", result.expect("a result").annotations);
        assert!(annotations.contains("not a gauge: \\\"h\\\""), "{annotations}");
    }
}

#[test]
fn histograms_that_lose_their_names_may_not_become_the_same_before_they_are_folded() {
    let storage = histograms(&["h", "i"]);
    let query = "sum(rate({__name__=~\"h|i\"}[1m]))";
    let result = Engine::default().instant(&storage, query, 120_000, &QueryOptions::default());
    let error = result.expect_err("the same labels").to_string();
    assert_eq!(error, "vector cannot contain metrics with the same labelset");
}

#[test]
fn resets_of_gauges_are_looked_for_by_count_where_only_statistics_are_asked_for() {
    let ask = |query: &str| {
        let options = QueryOptions::default();
        let result = Engine::default().instant(&gauges(), query, 15_000, &options);
        result.expect("a result").value.to_string()
    };
    // A bucket fell, so that all 13 are new; without buckets 7 were added.
    assert!(ask("irate(h[1m])").contains("count:0.8666666666666667"), "{}", ask("irate(h[1m])"));
    assert_eq!(ask("histogram_count(irate(h[1m])) * 15"), "{} => 7 @[15000]");
}

#[test]
fn what_has_no_sample_takes_no_part_in_a_sort() {
    // Of 60 label values of which half compare to nothing 30 are left.
    let storage = MemoryStorage::new();
    for i in 0..60_u32 {
        let rank = if i % 9 == 0 { String::new() } else { format!("r{}x", i * 7 % 60) };
        let id = format!("{i:02}");
        let pairs = [("__name__", "crowd"), ("id", &*id), ("rank", &*rank)];
        let labels = Labels::from_pairs(pairs);
        storage.add_floats(&labels, [(0, f64::from(i % 2))]).expect("in order");
    }
    let parser = ParserOptions { experimental_functions: true, ..ParserOptions::default() };
    let engine = Engine::new(EngineOptions { parser, ..EngineOptions::default() });
    let ask = |query: &str| {
        let result = engine.instant(&storage, query, 0, &QueryOptions::default());
        result.expect("a result").value.to_string()
    };
    let matcher = "id=~\".[13579]\"";
    let selected = ask(&format!("sort_by_label_desc(crowd{{{matcher}}}, \"rank\")"));
    assert_eq!(ask("sort_by_label_desc(crowd > 0, \"rank\")"), selected);
}
