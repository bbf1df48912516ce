//! Finding series: a million of them, in the head and in a block. Goals: the pods of an
//! application among all series in 50 ms, the values of a label with 100 000 in 30 ms.
//!
//! With `CPU_TIME=1` it measures the thread's time on a processor, for machines that others use, too.

use std::{
    hint::black_box,
    path::Path,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use criterion::{
    Criterion, criterion_group, criterion_main,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use firesteel_model::{
    Labels, MatchOp, Matcher, Value,
    storage::{
        AppendOptions, Appendable, LabelHints, QueryContext, Queryable, SampleBatch, SelectHints,
        SeriesKey,
    },
};
use firesteel_tsdb::{
    Db, Durability,
    block::Block,
    fs::{Fs, OsFs},
};

const START: i64 = 1_699_999_200_000;
const SERIES: usize = 1_000_000;
const METRICS: usize = 200;
const PATHS: usize = 100_000;

/// Labels of series `i`: 200 metrics of 5000 pods of five applications; 100 000 paths.
fn labels(i: usize) -> Labels {
    let pod = i / METRICS;
    let app = ["web", "api", "db", "cache", "job"][pod % 5];
    Labels::from_pairs([
        ("__name__", format!("bench_metric_{:03}", i % METRICS).as_str()),
        ("app", app),
        ("cluster", "eu-west-1"),
        ("namespace", format!("team-{}", pod % 10).as_str()),
        ("path", format!("/some/path/{:05}", i % PATHS).as_str()),
        ("pod", format!("{app}-5d4f8c7b9-{pod:05}").as_str()),
    ])
}

/// A head with `series` series of `samples` samples.
fn fill(folder: &Path, series: usize, samples: i64) -> Db {
    let builder = Db::builder(folder).durability(Durability::Os).retention(None);
    let db = builder.block_range(Duration::from_secs(3600)).open().expect("a fresh folder");
    let mut refs = vec![None; series];
    for n in 0..samples {
        for (block, refs) in refs.chunks_mut(10_000).enumerate() {
            let mut appender = db.appender();
            for (k, known) in refs.iter_mut().enumerate() {
                let i = block * 10_000 + k;
                let own;
                let key = match *known {
                    Some(reference) => SeriesKey::Ref(reference),
                    None => {
                        own = labels(i);
                        SeriesKey::Labels(&own)
                    }
                };
                let value = Value::Float((n * 25 + i as i64 % 25) as f64);
                let t = START + n * 15_000;
                let options = AppendOptions::default();
                *known = Some(appender.append(key, t, value, &options).expect("in order"));
            }
            appender.commit().expect("a writable disk");
        }
    }
    db
}

/// The block that the database makes of what it has.
fn block(db: &Db, folder: &Path, map: bool) -> Block {
    if db.blocks().is_empty() {
        let mut appender = db.appender();
        let last = START + 2 * 3_600_000;
        let key = Labels::from_pairs([("__name__", "last")]);
        let options = AppendOptions::default();
        appender
            .append(SeriesKey::Labels(&key), last, Value::Float(0.0), &options)
            .expect("in order");
        appender.commit().expect("a writable disk");
        db.flush_full_ranges(last).expect("a writable disk");
    }
    let name = db.blocks()[0].ulid.to_string();
    let fs: Arc<dyn Fs> = Arc::new(if map { OsFs::mapped() } else { OsFs::new() });
    Block::open(fs, &folder.join(name)).expect("a block")
}

fn matcher(op: MatchOp, name: &str, value: &str) -> Matcher {
    Matcher::new(op, name, value).expect("a matcher")
}

/// Time that the thread was on a processor, as Linux counts it; the clock's where it does not.
struct CpuTime(bool);

impl CpuTime {
    fn now(&self) -> Duration {
        let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
        let nanos = counted.filter(|_| self.0).and_then(|s| s.split(' ').next()?.parse().ok());
        nanos.map_or_else(|| START_TIME.elapsed(), Duration::from_nanos)
    }
}

static START_TIME: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        self.now()
    }

    fn end(&self, start: Duration) -> Duration {
        self.now().saturating_sub(start)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos().max(1) as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        // Nanoseconds, as the clock's.
        static WALL: WallTime = WallTime;
        WALL.formatter()
    }
}

type Bencher = Criterion<CpuTime>;

fn settings() -> Bencher {
    Criterion::default().with_measurement(CpuTime(std::env::var_os("CPU_TIME").is_some()))
}

fn bench(c: &mut Bencher, place: &str, source: &dyn Queryable) {
    let ctx = QueryContext::background();
    let querier = source.querier(i64::MIN, i64::MAX).expect("a querier");
    let mut group = c.benchmark_group(format!("postings_{place}"));
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    let web = matcher(MatchOp::Regex, "pod", "web-.*");
    let any = matcher(MatchOp::Regex, "__name__", ".+");
    let selects = [
        ("any_name_web_pods", vec![any.clone(), web.clone()]),
        ("one_metric_web_pods", vec![Matcher::equal("__name__", "bench_metric_007"), web.clone()]),
        (
            "one_metric_not_web",
            vec![
                Matcher::equal("__name__", "bench_metric_007"),
                matcher(MatchOp::NotRegex, "pod", "web-.*"),
            ],
        ),
        ("regex_on_paths", vec![matcher(MatchOp::Regex, "path", ".*[37]7")]),
        (
            "one_pod_regex_path",
            vec![
                Matcher::equal("pod", "web-5d4f8c7b9-00005"),
                matcher(MatchOp::Regex, "path", ".*[37]7"),
            ],
        ),
    ];
    let hints = SelectHints::range(i64::MIN, i64::MAX);
    for (name, matchers) in &selects {
        group.bench_function(format!("select/{name}"), |b| {
            b.iter(|| black_box(querier.select(&ctx, matchers, &hints).expect("an answer")));
        });
    }
    let values = [
        ("all", vec![]),
        ("own_regex", vec![matcher(MatchOp::Regex, "path", ".*[37]7")]),
        ("one_metric", vec![Matcher::equal("__name__", "bench_metric_007")]),
        ("one_app", vec![Matcher::equal("app", "web")]),
        ("any_name_web_pods", vec![any, web]),
    ];
    for (name, matchers) in &values {
        let hints = LabelHints::default();
        group.bench_function(format!("label_values/{name}"), |b| {
            b.iter(|| black_box(querier.label_values(&ctx, "path", matchers, &hints)));
        });
    }
    let hints = LabelHints::default();
    let app = [Matcher::equal("app", "web")];
    group.bench_function("label_names/one_app", |b| {
        b.iter(|| black_box(querier.label_names(&ctx, &app, &hints)));
    });
    group.finish();
}

fn postings(c: &mut Bencher) {
    let folder = tempfile::tempdir().expect("a folder");
    let db = fill(folder.path(), SERIES, 1);
    bench(c, "head", &db);
    for (place, map) in [("block", false), ("block_mapped", true)] {
        let block = block(&db, folder.path(), map);
        block.load().expect("a block");
        bench(c, place, &block);
    }
    let mut group = c.benchmark_group("postings_open");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    group.bench_function("block", |b| b.iter(|| black_box(block(&db, folder.path(), false))));
    group.bench_function("load", |b| {
        b.iter(|| block(&db, folder.path(), false).load().expect("a block"));
    });
    group.finish();
}

/// Reads all samples, as `sum(rate())` does.
fn read(c: &mut Bencher) {
    let folder = tempfile::tempdir().expect("a folder");
    let db = fill(folder.path(), 10_000, 240);
    let ctx = QueryContext::background();
    let mut group = c.benchmark_group("postings_read");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    group.throughput(criterion::Throughput::Elements(10_000 * 240));
    let mut run = |place: &str, source: &dyn Queryable, mint: i64| {
        let querier = source.querier(i64::MIN, i64::MAX).expect("a querier");
        let hints = SelectHints::range(mint, i64::MAX);
        let name = [matcher(MatchOp::Regex, "__name__", "bench_.*")];
        group.bench_function(place, |b| {
            b.iter(|| {
                let mut n = 0;
                for set in querier.select(&ctx, &name, &hints).expect("an answer").sets {
                    let (mut reader, mut batch) = (set.reader(&ctx), SampleBatch::default());
                    for i in 0..set.len() {
                        reader.open(i).expect("a series");
                        while reader.next(&mut batch).expect("samples") {
                            n += batch.len();
                        }
                    }
                }
                black_box(n)
            });
        });
    };
    run("head", &db, i64::MIN);
    for (place, map) in [("block", false), ("block_mapped", true)] {
        run(place, &block(&db, folder.path(), map), i64::MIN);
    }
    run("block_last_minutes", &block(&db, folder.path(), false), START + 3_300_000);
}

criterion_group!(name = all; config = settings(); targets = postings, read);
criterion_main!(all);
