//! A range query gives at each step what an instant query gives at that time. The two take
//! different ways through the engine: windows that slide over batches against windows filled anew.

use std::{collections::BTreeMap, time::Duration};

use firesteel_model::{Labels, Timestamp, stale_nan, storage::memory::MemoryStorage};
use firesteel_promql::{
    Engine, EngineOptions, ParserOptions, QueryError, QueryOptions, QueryValue, SampleValue,
};
use proptest::prelude::*;

const STEPS: i64 = 70;

/// Samples with gaps of some seconds; sometimes long ones, resets, NaN and staleness markers.
fn samples() -> impl Strategy<Value = Vec<(Timestamp, f64)>> {
    let gap = prop_oneof![8 => Just(15_000_i64), 2 => 1_i64..40_000, 1 => 100_000_i64..600_000];
    let value = prop_oneof![
        12 => (0_u8..40).prop_map(|v| f64::from(v) / 4.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(stale_nan()),
    ];
    prop::collection::vec((gap, value), 0..150).prop_map(|pairs| {
        let mut t = -400_000;
        let at = |(gap, v)| {
            t += gap;
            (t, v)
        };
        pairs.into_iter().map(at).collect()
    })
}

fn storage() -> impl Strategy<Value = MemoryStorage> {
    let label =
        |name: &'static str| (0_u8..3).prop_map(move |v| (name, ["", "1", "2"][v as usize]));
    let name = prop_oneof![Just("a"), Just("b")];
    let series = (name, label("x"), label("y"), samples());
    prop::collection::vec(series, 1..8).prop_map(|all| {
        let storage = MemoryStorage::new();
        let mut known = BTreeMap::new();
        for (name, x, y, samples) in all {
            known.insert(Labels::from_pairs([("__name__", name), x, y]), samples);
        }
        for (labels, samples) in known {
            storage.add_floats(&labels, samples).expect("samples are in order");
        }
        storage
    })
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(texts).prop_map(str::to_owned)
}

/// Selectors and functions of range vectors.
fn leaf() -> impl Strategy<Value = String> {
    let selector =
        one_of(&["a", "b", "a{x=\"1\"}", "{__name__=~\"a|b\"}", "a offset 1m", "b @ 300"]);
    let range =
        one_of(&["a[1m]", "b[5m]", "a{y=\"2\"}[2m] offset 30s", "b[1m] @ 300", "a[10m:40s]"]);
    let function = one_of(&[
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "resets",
        "changes",
        "deriv",
        "sum_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "last_over_time",
        "first_over_time",
        "stddev_over_time",
        "present_over_time",
        "absent_over_time",
        "mad_over_time",
        "ts_of_max_over_time",
        "ts_of_last_over_time",
    ]);
    let ranged = prop_oneof![
        6 => (function, range.clone()).prop_map(|(f, r)| format!("{f}({r})")),
        1 => range.clone().prop_map(|r| format!("quantile_over_time(0.3, {r})")),
        1 => range.prop_map(|r| format!("predict_linear({r}, 60)")),
    ];
    prop_oneof![3 => selector, 4 => ranged, 1 => Just("vector(time())".to_owned())]
}

/// Instant vectors.
fn query() -> impl Strategy<Value = String> {
    leaf().prop_recursive(3, 12, 2, |inner| {
        let aggregation = one_of(&[
            "sum",
            "avg",
            "min",
            "max",
            "count",
            "group",
            "stddev",
            "quantile(0.4, ",
            "topk(1, ",
            "bottomk(2, ",
            "count_values(\"v\", ",
        ]);
        let grouping = one_of(&["", "by (x) ", "without (y) ", "by (__name__) "]);
        let function = one_of(&["abs(", "-(", "sgn(", "timestamp(", "absent(", "vector(scalar("]);
        let operator = one_of(&[
            "+",
            "- on (x)",
            "* ignoring (y)",
            "/ on (x, y) group_left ()",
            "> bool",
            "==",
            "< on (x)",
            "and",
            "or",
            "unless on (x)",
            "and on (y)",
            "+ on (y) group_right (x)",
            "% on (x)",
        ]);
        prop_oneof![
            (aggregation, grouping, inner.clone()).prop_map(|(a, g, e)| {
                match a.split_once('(') {
                    Some((op, param)) => format!("{op} {g}({param}{e})"),
                    None => format!("{a} {g}({e})"),
                }
            }),
            (function, inner.clone())
                .prop_map(|(f, e)| { format!("{f}{e}{}", ")".repeat(f.matches('(').count())) }),
            (inner.clone(), operator, inner.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            (inner.clone(), one_of(&["+ 1", "> 2", "* time()", "!= bool 3"]))
                .prop_map(|(a, b)| format!("({a}) {b}")),
            inner.prop_map(|e| format!("max_over_time(({e})[3m:45s])")),
        ]
    })
}

/// Values by series and time.
type Points = BTreeMap<(String, Timestamp), u64>;

fn bits(v: f64) -> u64 {
    if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() }
}

fn points(value: &QueryValue) -> Points {
    let float = |v: &SampleValue| match v {
        SampleValue::Float(v) => bits(*v),
        SampleValue::Histogram(h) => panic!("{h:?}"),
    };
    match value {
        QueryValue::Vector(samples) => {
            samples.iter().map(|s| ((s.labels.to_string(), s.t), float(&s.value))).collect()
        }
        QueryValue::Matrix(series) => series
            .iter()
            .flat_map(|s| s.floats.iter().map(|p| ((s.labels.to_string(), p.t), bits(p.v))))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn check(
    storage: &MemoryStorage,
    query: &str,
    step: i64,
    delayed: bool,
) -> Result<(), TestCaseError> {
    let engine = Engine::new(EngineOptions {
        delayed_name_removal: delayed,
        parser: ParserOptions::experimental(),
        ..EngineOptions::default()
    });
    let options = QueryOptions::default();
    let width = Duration::from_millis(step as u64);
    let whole = engine.range(storage, query, 0, (STEPS - 1) * step, width, &options);
    let mut parts = Points::new();
    let mut failed: Option<QueryError> = None;
    for i in 0..STEPS {
        match engine.instant(storage, query, i * step, &options) {
            Ok(result) => parts.extend(points(&result.value)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match (whole, failed) {
        (Ok(whole), None) => prop_assert_eq!(points(&whole.value), parts, "{}", query),
        (Ok(_), Some(error)) => prop_assert!(false, "{query}: only at one time: {error}"),
        // Series that never meet at a step may still have the same labels.
        (Err(error), None) => prop_assert!(
            error.to_string().ends_with("with the same labelset"),
            "{query}: only over the range: {error}"
        ),
        (Err(_), Some(_)) => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_range_query_is_instant_queries(
        storage in storage(),
        query in query(),
        step in prop_oneof![Just(15_000_i64), 1_i64..60_000],
        delayed: bool,
    ) {
        // Where `or` puts a series with a name that is to be dropped beside one that keeps it, the
        // first of them decides about the whole range, as in Prometheus.
        check(&storage, &query, step, delayed && !query.contains(" or "))?;
    }

    /// Aggregations take series in while they are read; `or` prevents that.
    #[test]
    fn folding_while_reading_makes_no_difference(
        storage in storage(),
        leaf in leaf(),
        op in one_of(&["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]),
        grouping in one_of(&["", "by (x)", "without (x)", "by (__name__)", "by (y, __name__)"]),
        delayed: bool,
    ) {
        let options = EngineOptions {
            delayed_name_removal: delayed,
            parser: ParserOptions::experimental(),
            ..EngineOptions::default()
        };
        let engine = Engine::new(options);
        let run = |query: &str| {
            let step = Duration::from_secs(20);
            engine.range(&storage, query, 0, 900_000, step, &QueryOptions::default())
        };
        let folded = run(&format!("{op} {grouping} ({leaf})"));
        let apart = run(&format!("{op} {grouping} (({leaf}) or nothing)"));
        match (folded, apart) {
            (Ok(a), Ok(b)) => prop_assert_eq!(points(&a.value), points(&b.value)),
            (Err(a), Err(b)) => prop_assert_eq!(a.to_string(), b.to_string()),
            (a, b) => prop_assert!(false, "{a:?} {b:?}"),
        }
    }
}

#[test]
fn most_of_the_queries_have_results() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let options = EngineOptions { parser: ParserOptions::experimental(), ..Default::default() };
    let engine = Engine::new(options);
    let mut results = 0;
    for _ in 0..200 {
        let storage = storage().new_tree(&mut runner).unwrap().current();
        let query = query().new_tree(&mut runner).unwrap().current();
        let step = Duration::from_secs(15);
        let result = engine.range(&storage, &query, 0, 900_000, step, &QueryOptions::default());
        match result {
            Ok(result) => results += usize::from(!points(&result.value).is_empty()),
            Err(QueryError::Parse(error)) => panic!("{query}: {error}"),
            Err(_) => {}
        }
    }
    assert!(results > 80, "{results}");
}
