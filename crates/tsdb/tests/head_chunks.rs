//! Closed chunks of the head: in memory, in files, after restarts, crashes and damage.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code outside of test functions")]

mod common;

use std::{io::ErrorKind, path::PathBuf, sync::Arc, time::Duration};

use common::{DIR, Samples, append, assert_same, digest, labels, read_all, sim_builder};
use firesteel_model::{
    Histogram, HistogramLayout, Labels, Span, Value,
    clock::ManualClock,
    stale_nan,
    storage::{AppendOptions, Appendable, Appender, SeriesKey},
};
use firesteel_tsdb::{
    Db, DbBuilder, Durability,
    fs::{Crash, Fault, Fs, OpKind, Open, SimFs},
};
use proptest::prelude::*;

const START: i64 = 1_700_006_400_000;
const STEP: i64 = 15_000;

fn builder(fs: &SimFs, clock: &Arc<ManualClock>) -> DbBuilder {
    sim_builder(fs, clock).block_range(Duration::from_secs(7200)).retention(None)
}

/// Maintenance a good while later, so that it writes all closed chunks.
fn tick(db: &Db, clock: &ManualClock) {
    clock.advance(Duration::from_secs(61));
    db.tick(START).unwrap();
}

fn chunk_files(fs: &SimFs) -> Vec<PathBuf> {
    let dir = PathBuf::from(DIR).join("chunks_head");
    let entries = fs.read_dir(&dir).unwrap_or_default();
    entries.into_iter().map(|e| dir.join(e.name)).collect()
}

fn file_bytes(fs: &SimFs) -> u64 {
    chunk_files(fs).iter().map(|f| fs.metadata(f).unwrap().len).sum()
}

fn histogram(n: i64) -> Histogram {
    let wide = n / 50 % 2;
    let count = n as u64 % 300;
    Histogram {
        layout: HistogramLayout {
            positive_spans: vec![Span { offset: 0, length: 1 + wide as u32 }],
            ..HistogramLayout::default()
        },
        count: count * (1 + wide as u64),
        sum: n as f64,
        positive_deltas: if wide == 0 { vec![count as i64] } else { vec![count as i64, 0] },
        ..Histogram::default()
    }
}

/// Appends sample `n` of a series; its number decides the kind.
fn put(a: &mut dyn Appender, all: &mut Samples, series: usize, n: i64) {
    let (labels, t) = (labels(series), START + n * STEP);
    let float = (n * series as i64) as f64 / 8.0;
    let kind = match series % 4 {
        2 => n / 70 % 3,
        3 => 1,
        _ => 0,
    };
    let mut put = |value: Value<'_>| {
        a.append(SeriesKey::Labels(&labels), t, value, &AppendOptions::default()).unwrap();
    };
    let h = histogram(n);
    let buckets = |h: &firesteel_model::FloatHistogram| {
        digest(h.count, h.sum, h.positive_buckets.iter().copied().chain([h.zero_count]))
    };
    let expected = match kind {
        _ if n % 97 == 96 => {
            put(Value::Float(stale_nan()));
            stale_nan().to_bits()
        }
        0 => {
            put(Value::Float(float));
            float.to_bits()
        }
        1 => {
            put(Value::Histogram(&h));
            buckets(&h.to_float())
        }
        _ => {
            let mut f = h.to_float();
            f.zero_count = 0.5;
            put(Value::FloatHistogram(&f));
            buckets(&f)
        }
    };
    all.entry(labels).or_default().insert(t, expected);
}

#[derive(Clone, Debug)]
enum Step {
    Scrapes(i64),
    Tick,
    Restart(bool),
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_i64..160).prop_map(Step::Scrapes),
        3 => Just(Step::Tick),
        2 => any::<bool>().prop_map(Step::Restart),
        1 => Just(Step::Flush),
    ];
    prop::collection::vec(step, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: common::cases(24), max_shrink_iters: 100, ..ProptestConfig::default() })]
    /// Floats, histograms and series of both read the same wherever their chunks are.
    #[test]
    fn chunks_are_where_they_are(steps in steps(), series in 1_usize..9) {
        let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
        let mut db = builder(&fs, &clock).open().unwrap();
        let (mut all, mut n) = (Samples::new(), 0);
        // What is on its way to somebody stays readable, whatever becomes of the files.
        let mut held = None;
        for step in &steps {
            match step {
                Step::Scrapes(scrapes) => for _ in 0..*scrapes {
                    let mut a = db.appender();
                    for i in 0..series {
                        put(&mut *a, &mut all, i, n);
                    }
                    a.commit().unwrap();
                    n += 1;
                },
                Step::Tick => tick(&db, &clock),
                Step::Flush => {
                    held.get_or_insert_with(|| (Held::new(&db), all.clone()));
                    db.flush_full_ranges(0).unwrap();
                }
                Step::Restart(clean) => {
                    if let Some((held, expected)) = held.take() {
                        assert_same(&read_all(&held), &expected);
                    }
                    if *clean {
                        db.close().unwrap();
                    }
                    drop(db);
                    fs.crash(Crash::KeepAll);
                    db = builder(&fs, &clock).open().unwrap();
                    prop_assert!(db.open_report().is_clean(), "{}", db.open_report());
                }
            }
        }
        assert_same(&read_all(&db), &all);
        if let Some((held, expected)) = held.take() {
            assert_same(&read_all(&held), &expected);
        }
    }

    /// After a power failure no commit is there in part, and with `sync` none is gone.
    #[test]
    fn power_failures_leave_whole_commits(
        n in 100_i64..400, every in 1_i64..60, seed in any::<u64>(), sync in any::<bool>(), again in any::<bool>(),
    ) {
        let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
        let durability = if sync { Durability::Sync } else { Durability::Os };
        let open = || builder(&fs, &clock).durability(durability).open().unwrap();
        let mut db = open();
        for i in 0..n {
            let mut a = db.appender();
            for series in 0..5 {
                append(&mut *a, &labels(series), START + i * STEP, (i * 3 + series as i64) as f64).unwrap();
            }
            a.commit().unwrap();
            if i % every == 0 {
                tick(&db, &clock);
            }
            if again && i == n / 2 {
                // Killed, and started again: the log may still not be on disk.
                drop(db);
                fs.crash(Crash::KeepAll);
                db = open();
            }
        }
        tick(&db, &clock);
        drop(db);
        fs.crash(Crash::Random { seed });
        let db = open();
        let found = read_all(&db);
        let mut lengths: Vec<_> = (0..5).map(|i| found.get(&labels(i)).map_or(0, |s| s.len())).collect();
        for (labels, samples) in &found {
            for (i, (t, v)) in samples.iter().enumerate() {
                prop_assert_eq!(*t, START + i as i64 * STEP, "a gap in {}", labels);
                let own = (0..5).position(|s| common::labels(s) == *labels).unwrap();
                prop_assert_eq!(*v, ((i as i64 * 3 + own as i64) as f64).to_bits());
            }
        }
        lengths.dedup();
        prop_assert_eq!(lengths.len(), 1, "a commit in part: {:?}", lengths);
        if sync {
            prop_assert_eq!(lengths[0], n as usize);
        }
    }
}

/// A view that was opened before something happened.
struct Held(Arc<dyn firesteel_model::storage::Querier>);

impl Held {
    fn new(db: &Db) -> Self {
        use firesteel_model::storage::Queryable;
        Self(db.querier(i64::MIN, i64::MAX).unwrap())
    }
}

impl firesteel_model::storage::Queryable for Held {
    fn querier(
        &self,
        _: i64,
        _: i64,
    ) -> Result<Arc<dyn firesteel_model::storage::Querier>, firesteel_model::storage::StorageError>
    {
        Ok(Arc::clone(&self.0))
    }
}

fn filled(fs: &SimFs, clock: &Arc<ManualClock>, scrapes: i64) -> (Db, Samples) {
    let db = builder(fs, clock).open().unwrap();
    let mut all = Samples::new();
    for n in 0..scrapes {
        let mut a = db.appender();
        for i in 0..8 {
            put(&mut *a, &mut all, i, n);
        }
        a.commit().unwrap();
    }
    (db, all)
}

#[test]
fn a_full_disk_leaves_chunks_in_memory() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let (db, all) = filled(&fs, &clock, 300);
    for kind in [OpKind::Name, OpKind::Write] {
        fs.fail(Fault {
            kind: Some(kind),
            after: 0,
            times: u64::MAX,
            error: ErrorKind::StorageFull,
        });
        clock.advance(Duration::from_secs(61));
        assert!(db.tick(START).unwrap_err().is_out_of_space());
        assert_same(&read_all(&db), &all);
        fs.heal();
    }
    tick(&db, &clock);
    assert!(file_bytes(&fs) > 1000);
    assert_same(&read_all(&db), &all);
    drop(db);
    fs.crash(Crash::KeepAll);
    let db = builder(&fs, &clock).open().unwrap();
    assert!(db.open_report().is_clean() && db.open_report().replay.chunks > 10);
    assert_same(&read_all(&db), &all);
}

/// Whatever happens to the last file, the log has it.
#[test]
fn a_torn_file_loses_nothing() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let (db, all) = filled(&fs, &clock, 300);
    tick(&db, &clock);
    drop(db);
    let path = chunk_files(&fs).pop().unwrap();
    let whole = fs.read_all(&path).unwrap().to_vec();
    for cut in [0, 3, 8, 20, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        for flip in [false, true] {
            fs.crash(Crash::KeepAll);
            let mut bytes = whole.clone();
            if flip && cut > 0 {
                bytes[cut] ^= 0x40;
            } else {
                bytes.truncate(cut);
            }
            fs.open(&path, Open::Truncate).unwrap().append(&bytes).unwrap();
            let db = builder(&fs, &clock).open().unwrap();
            assert_same(&read_all(&db), &all);
            // What was closed anew goes on where the rest ends.
            tick(&db, &clock);
            db.close().unwrap();
            drop(db);
            let db = builder(&fs, &clock).open().unwrap();
            assert!(db.open_report().is_clean(), "{}", db.open_report());
            assert_same(&read_all(&db), &all);
            drop(db);
            for other in chunk_files(&fs).into_iter().filter(|f| *f != path) {
                fs.remove_file(&other).unwrap();
            }
        }
    }
}

/// Its chunks are then under two references, and those of the first are the newer ones in the end.
#[test]
fn a_series_that_went_and_came_back_keeps_its_chunks() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let open = || builder(&fs, &clock).wal_segment_size(1 << 20).open().unwrap();
    let (mut db, mut all) = (open(), Samples::new());
    let scrape = |db: &Db, all: &mut Samples, n: i64, both: bool| {
        let mut a = db.appender();
        put(&mut *a, all, 1, n);
        if both {
            put(&mut *a, all, 0, n);
        }
        a.commit().unwrap();
    };
    for n in 0..730 {
        scrape(&db, &mut all, n, n < 10);
    }
    tick(&db, &clock);
    assert_eq!((db.blocks().len(), db.stats(0).num_series), (1, 1), "series 0 has gone");
    for life in 0..4 {
        let from = 730 + life * 150;
        for n in from..from + 150 {
            scrape(&db, &mut all, n, true);
        }
        tick(&db, &clock);
        assert_same(&read_all(&db), &all);
        drop(db);
        fs.crash(Crash::KeepAll);
        db = open();
        assert_same(&read_all(&db), &all);
        assert!(db.open_report().replay.chunks > 0);
    }
}

#[test]
fn files_go_when_blocks_have_their_chunks() {
    let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(0)));
    let (db, mut all) = filled(&fs, &clock, 470);
    tick(&db, &clock);
    let first = chunk_files(&fs);
    assert_eq!(first.len(), 1);
    for n in 470..1300 {
        let mut a = db.appender();
        for i in 0..8 {
            put(&mut *a, &mut all, i, n);
        }
        a.commit().unwrap();
        if n % 50 == 0 {
            tick(&db, &clock);
        }
    }
    assert!(!db.blocks().is_empty());
    let files = chunk_files(&fs);
    assert!(!files.is_empty() && !files.contains(&first[0]), "{files:?}");
    assert_same(&read_all(&db), &all);
    let number = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap();
    let numbers: Vec<_> = files.iter().map(number).collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{numbers:?}");
    let _: Labels = labels(0);
}
