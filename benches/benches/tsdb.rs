//! Storage on a disk: appending with the WAL, replaying it, head to block. Goals: 60 to 80 ns per
//! sample by reference with 1000 a commit, 15 million samples per second of replay, 3 us per series
//! from head to block.

use std::{hint::black_box, path::Path, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use firesteel_benches::{Pattern, labels};
use firesteel_model::{
    Labels, Value,
    storage::{AppendOptions, Appendable, SeriesKey, SeriesRef},
};
use firesteel_tsdb::{Db, Durability};

const START: i64 = 1_699_999_200_000;
const SERIES: usize = 10_000;
const PER_COMMIT: usize = 1000;

fn open(folder: &Path) -> Db {
    open_with_range(folder, Duration::from_secs(7200))
}

fn open_with_range(folder: &Path, range: Duration) -> Db {
    let builder = Db::builder(folder).durability(Durability::Os).retention(None).block_range(range);
    builder.open().expect("a fresh folder")
}

fn label_sets() -> Vec<Labels> {
    (0..SERIES).map(|i| Labels::from_pairs(labels(i))).collect()
}

/// A sample of every series, 1000 a commit.
fn scrape(db: &Db, sets: &[Labels], refs: &mut [Option<SeriesRef>], n: u64) {
    for (block, sets) in sets.chunks(PER_COMMIT).enumerate() {
        let mut appender = db.appender();
        for (k, labels) in sets.iter().enumerate() {
            let i = block * PER_COMMIT + k;
            let key = refs[i].map_or(SeriesKey::Labels(labels), SeriesKey::Ref);
            let value = Value::Float(Pattern::of(i).value(i, n));
            let t = START + n as i64 * 15_000;
            refs[i] =
                Some(appender.append(key, t, value, &AppendOptions::default()).expect("in order"));
        }
        appender.commit().expect("a writable disk");
    }
}

fn append(c: &mut Criterion) {
    let sets = label_sets();
    let mut group = c.benchmark_group("tsdb_append");
    group.sample_size(20).throughput(Throughput::Elements(SERIES as u64));
    group.bench_function("by_reference", |b| {
        let folder = tempfile::tempdir().expect("a folder");
        let db = open(folder.path());
        let (mut refs, mut n) = (vec![None; SERIES], 0);
        b.iter(|| {
            scrape(&db, &sets, &mut refs, n);
            n += 1;
        });
    });
    group.bench_function("new_series", |b| {
        b.iter_batched(
            || {
                let folder = tempfile::tempdir().expect("a folder");
                let db = open(folder.path());
                (folder, db, vec![None; SERIES])
            },
            |(folder, db, mut refs)| {
                scrape(&db, &sets, &mut refs, 0);
                (folder, db)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn replay(c: &mut Criterion) {
    const SCRAPES: u64 = 120;
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path());
    let (sets, mut refs) = (label_sets(), vec![None; SERIES]);
    for n in 0..SCRAPES {
        scrape(&db, &sets, &mut refs, n);
    }
    // Dropped, not closed: as after a crash.
    drop(db);
    let mut group = c.benchmark_group("tsdb_replay");
    group.sample_size(10).throughput(Throughput::Elements(SERIES as u64 * SCRAPES));
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("wal", |b| b.iter(|| black_box(open(folder.path()))));
    group.finish();
}

fn head_to_block(c: &mut Criterion) {
    let (sets, mut group) = (label_sets(), c.benchmark_group("tsdb_head_to_block"));
    group.sample_size(10).throughput(Throughput::Elements(SERIES as u64));
    group.bench_function("series", |b| {
        b.iter_batched(
            || {
                let folder = tempfile::tempdir().expect("a folder");
                // An hour of samples, and one after it: a range of an hour is full.
                let db = open_with_range(folder.path(), Duration::from_secs(3600));
                let mut refs = vec![None; SERIES];
                for n in 0..242 {
                    scrape(&db, &sets, &mut refs, n);
                }
                (folder, db)
            },
            |(folder, db)| {
                db.flush_full_ranges(START + 242 * 15_000).expect("a writable disk");
                (folder, db)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(all, append, replay, head_to_block);
criterion_main!(all);
