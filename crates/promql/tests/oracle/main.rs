//! The engine against a slow and obvious evaluator: step by step, sample by sample, nothing shared.

mod evaluator;

use std::{collections::BTreeMap, time::Duration};

use evaluator::{Query, Series};
use firesteel_model::{Labels, Timestamp, stale_nan, storage::memory::MemoryStorage};
use firesteel_promql::{Engine, QueryOptions, QueryValue};
use proptest::prelude::*;

/// Samples each quarter of a minute, with gaps, resets and staleness markers. Sums of quarters are
/// exact, in whatever order.
fn samples() -> impl Strategy<Value = Vec<(Timestamp, f64)>> {
    let gap = prop_oneof![8 => Just(15_000_i64), 2 => 1_i64..40_000, 1 => 100_000_i64..600_000];
    let value = prop_oneof![
        12 => (0_u8..40).prop_map(|v| f64::from(v) / 4.0),
        1 => Just(stale_nan()),
    ];
    prop::collection::vec((gap, value), 0..80).prop_map(|pairs| {
        let mut t = -300_000;
        let at = |(gap, v)| {
            t += gap;
            (t, v)
        };
        pairs.into_iter().map(at).collect()
    })
}

fn world() -> impl Strategy<Value = Vec<Series>> {
    let name = prop_oneof![Just("a"), Just("b")];
    let series = (name, 0_u8..3, 0_u8..3, samples());
    prop::collection::vec(series, 1..7).prop_map(|all| {
        let series = all.into_iter().map(|(name, x, y, samples)| {
            let (x, y) = (x.to_string(), y.to_string());
            (Labels::from_pairs([("__name__", name), ("x", &*x), ("y", &*y)]), samples)
        });
        series.collect::<BTreeMap<_, _>>().into_iter().collect()
    })
}

fn query() -> impl Strategy<Value = Query> {
    let name = prop::sample::select(vec!["a", "b"]);
    let offset = prop_oneof![4 => Just(0_i64), 1 => Just(30_000), 1 => Just(-45_000)];
    let selector =
        (name.clone(), offset.clone()).prop_map(|(name, offset)| Query::Selector { name, offset });
    let function = prop::sample::select(evaluator::FUNCTIONS.to_vec());
    let range = prop::sample::select(vec![15_000_i64, 60_000, 130_000, 600_000]);
    let window = (function, name, range, offset).prop_map(|(function, name, range, offset)| {
        Query::Window { function, name, range, offset }
    });
    prop_oneof![1 => selector, 2 => window].prop_recursive(2, 6, 2, |inner| {
        let op = prop::sample::select(evaluator::AGGREGATIONS.to_vec());
        let by = prop::sample::subsequence(vec!["x", "y"], 0..=2);
        let aggregate = (op, by, inner.clone()).prop_map(|(op, by, of)| Query::Aggregate {
            op,
            by,
            of: Box::new(of),
        });
        let op = prop::sample::select(evaluator::OPERATORS.to_vec());
        let binary = (op, inner.clone(), inner).prop_map(|(op, left, right)| Query::Binary {
            op,
            left: Box::new(left),
            right: Box::new(right),
        });
        prop_oneof![aggregate, binary]
    })
}

/// The engine's answer, by labels and time.
fn answer(
    storage: &MemoryStorage,
    text: &str,
    grid: (i64, i64, i64),
) -> Result<BTreeMap<(String, i64), f64>, String> {
    let (start, end, step) = grid;
    let step = Duration::from_millis(step.unsigned_abs());
    let options = QueryOptions::default();
    let result = Engine::default().range(storage, text, start, end, step, &options);
    let QueryValue::Matrix(series) = result.map_err(|e| e.to_string())?.value else {
        return Err("no matrix".to_owned());
    };
    let mut points = BTreeMap::new();
    for one in series {
        for sample in one.floats {
            points.insert((one.labels.to_string(), sample.t), sample.v);
        }
    }
    Ok(points)
}

fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_engine_agrees_with_the_evaluator(
        world in world(),
        query in query(),
        start in 0_i64..200_000,
        steps in 0_i64..12,
        step in prop::sample::select(vec![1_000_i64, 15_000, 47_000]),
    ) {
        let storage = MemoryStorage::new();
        for (labels, samples) in &world {
            storage.add_floats(labels, samples.iter().copied()).expect("samples are in order");
        }
        let (text, end) = (query.to_string(), start + steps * step);
        let ours = answer(&storage, &text, (start, end, step));
        let mut expected = Ok(BTreeMap::new());
        for t in (start..=end).step_by(step as usize) {
            match (&mut expected, query.at(&world, t)) {
                (Ok(all), Ok(vector)) => {
                    all.extend(vector.into_iter().map(|(labels, v)| ((labels.to_string(), t), v)));
                }
                (expected, Err(error)) => *expected = Err(error),
                (Err(_), _) => {}
            }
        }
        match (ours, expected) {
            (Ok(ours), Ok(expected)) => {
                let keys = |m: &BTreeMap<(String, i64), f64>| m.keys().cloned().collect::<Vec<_>>();
                prop_assert_eq!(keys(&ours), keys(&expected), "{}", text);
                for (key, v) in &ours {
                    prop_assert!(same(*v, expected[key]), "{text} {key:?}: {v} {}", expected[key]);
                }
            }
            (Err(ours), Err(expected)) => prop_assert!(ours.contains(&expected), "{text}: {ours}"),
            (ours, expected) => prop_assert!(false, "{text}: {ours:?} and {expected:?}"),
        }
    }
}
