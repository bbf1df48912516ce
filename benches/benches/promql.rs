//! Eight queries over data in the head: 1000 series x 1 h at 15 s for most, 30 000 series for the
//! count. Goals, one thread: `sum_rate` 5 ms, `count_30k` 40 ms, `group_left` 12 ms.
//!
//! And the engine's kernels over plain arrays, so without decoding: 1000 series x 1 h at 15 s, 241
//! steps; an element is a series at a step.

use std::{ops::Range, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firesteel_benches::Pattern;
use firesteel_model::{
    Labels, Value,
    storage::{AppendOptions, Appendable, SeriesKey, memory::MemoryStorage},
};
use firesteel_promql::{Engine, EngineOptions, QueryOptions};
use firesteel_tsdb::Db;

const START: i64 = 1_699_999_200_000;
const STEP: i64 = 15_000;

/// A metric with `series` series of these samples; `pod` tells them apart.
fn fill(db: &Db, name: &str, series: usize, samples: Range<usize>, pattern: Pattern) {
    let labels: Vec<Labels> = (0..series)
        .map(|i| {
            let (pod, namespace) = (format!("pod-{i:05}"), format!("ns-{}", i % 20));
            let pairs =
                [("__name__", name), ("pod", &pod), ("namespace", &namespace), ("job", "bench")];
            Labels::from_pairs(pairs)
        })
        .collect();
    let mut refs = vec![None; series];
    for n in samples {
        let mut appender = db.appender();
        for (i, labels) in labels.iter().enumerate() {
            let key = refs[i].map_or(SeriesKey::Labels(labels), SeriesKey::Ref);
            let value = Value::Float(pattern.value(i, n as u64));
            let t = START + n as i64 * STEP;
            let series =
                appender.append(key, t, value, &AppendOptions::default()).expect("in order");
            refs[i] = Some(series);
        }
        appender.commit().expect("memory");
    }
}

fn benches(c: &mut Criterion) {
    let db = Db::in_memory();
    fill(&db, "requests_total", 1000, 0..241, Pattern::Counter);
    fill(&db, "errors_total", 1000, 0..241, Pattern::SlowCounter);
    fill(&db, "info", 1000, 0..241, Pattern::Constant);
    fill(&db, "wide", 30_000, 200..241, Pattern::Constant);
    let engine = Engine::new(EngineOptions::default());
    let end = START + 240 * STEP;
    let mut group = c.benchmark_group("promql");
    group.sample_size(20);
    for (name, query, seconds) in [
        ("selector", "requests_total", 3600),
        ("sum", "sum(requests_total)", 3600),
        ("rate", "rate(requests_total[5m])", 3600),
        ("sum_rate", "sum(rate(requests_total[5m]))", 3600),
        ("sum_by_rate", "sum by (namespace) (rate(requests_total[5m]))", 3600),
        ("max_over_time", "max_over_time(requests_total[30m])", 3600),
        ("group_left", "requests_total / on (pod) group_left () info", 3600),
        ("count_30k", "count(wide)", 300),
    ] {
        // 461 steps, as the figures that this is compared with.
        let step = Duration::from_millis((seconds * 1000 / 460) as u64);
        group.bench_function(name, |b| {
            b.iter(|| {
                let options = QueryOptions::default();
                engine
                    .range(&db, query, end - seconds * 1000, end, step, &options)
                    .expect("a good query")
            });
        });
    }
    group.finish();
}

fn kernels(c: &mut Criterion) {
    const SERIES: usize = 1000;
    const SAMPLES: usize = 241;
    let storage = MemoryStorage::new();
    for i in 0..SERIES {
        let (pod, namespace) = (format!("pod-{i:05}"), format!("ns-{}", i % 20));
        for (name, pattern) in
            [("counter", Pattern::Counter), ("gauge", Pattern::Gauge), ("info", Pattern::Constant)]
        {
            let labels =
                Labels::from_pairs([("__name__", name), ("pod", &pod), ("namespace", &namespace)]);
            let samples =
                (0..SAMPLES).map(|n| (START + n as i64 * STEP, pattern.value(i, n as u64)));
            storage.add_floats(&labels, samples).expect("in order");
        }
    }
    let engine = Engine::new(EngineOptions::default());
    let end = START + (SAMPLES as i64 - 1) * STEP;
    let mut group = c.benchmark_group("kernels");
    group.sample_size(20).throughput(Throughput::Elements((SERIES * SAMPLES) as u64));
    // `count` folds whatever is in it into one row, at next to no cost.
    for (name, query) in [
        ("selector", "count(gauge)"),
        ("rate", "count(rate(counter[5m]))"),
        ("sum_over_time_5m", "count(sum_over_time(gauge[5m]))"),
        ("max_over_time_5m", "count(max_over_time(gauge[5m]))"),
        ("max_over_time_1h", "count(max_over_time(gauge[1h]))"),
        ("quantile_over_time_5m", "count(quantile_over_time(0.95, gauge[5m]))"),
        ("quantile_over_time_30m", "count(quantile_over_time(0.95, gauge[30m]))"),
        ("sum_by", "sum by (namespace) (gauge)"),
        ("avg_by", "avg by (namespace) (gauge)"),
        ("max_by", "max by (namespace) (gauge)"),
        ("quantile_by", "quantile by (namespace) (0.9, gauge)"),
        ("topk", "topk(5, gauge)"),
        ("join", "count(gauge * on (pod) group_left () info)"),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let step = Duration::from_millis(STEP as u64);
                engine
                    .range(&storage, query, START, end, step, &QueryOptions::default())
                    .expect("a good query")
            });
        });
    }
    group.finish();
}

criterion_group!(all, benches, kernels);
criterion_main!(all);
