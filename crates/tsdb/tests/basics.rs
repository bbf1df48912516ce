//! The database as a program sees it.

mod common;

use std::{sync::Arc, time::Duration};

use common::{DIR, append, assert_same, commit_all, digest, labels, read, read_all, sim_builder};
use firesteel_model::{
    Exemplar, FloatHistogram, Histogram, HistogramLayout, Labels, Matcher, Metadata, MetricType,
    Span, Value,
    budget::Budget,
    clock::ManualClock,
    metrics::{Collect, Families},
    stale_nan,
    storage::{AppendError, AppendOptions, Appendable, SeriesKey, SeriesRef},
};
use firesteel_tsdb::{
    Db, TsdbError,
    fs::{Crash, Fault, OpKind, SimFs},
};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_700_000_000_000))
}

#[test]
fn what_is_committed_is_there_after_a_restart() {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).open().unwrap();
    for t in 0..50 {
        commit_all(&db, 20, t * 10, t as f64);
    }
    let mut dropped = db.appender();
    append(&mut *dropped, &labels(99), 1000, 1.0).unwrap();
    drop(dropped);
    let before = read_all(&db);
    assert_eq!((before.len(), before[&labels(3)].len()), (20, 50));
    drop(db);
    fs.crash(Crash::KeepAll);
    let db = sim_builder(&fs, &clock).open().unwrap();
    assert!(db.open_report().is_clean(), "{}", db.open_report());
    assert_eq!(read_all(&db), before);
    commit_all(&db, 20, 600, 0.0);
    assert_eq!(read_all(&db)[&labels(3)].len(), 51);
    let odd =
        read(&db, 0, 1000, &[Matcher::equal("odd", "odd"), Matcher::not_equal("job", "job-0")]);
    assert_eq!(odd.len(), 7);
}

#[test]
fn samples_are_refused_as_prometheus_does() {
    let db = Db::in_memory();
    let range = 7_200_000;
    let mut a = db.appender();
    let first = append(&mut *a, &labels(0), 10 * range, 1.0).unwrap();
    assert!(matches!(append(&mut *a, &labels(1), 9 * range, 1.0), Err(AppendError::OutOfBounds)));
    let empty = append(&mut *a, &Labels::empty(), 10 * range, 1.0);
    assert!(matches!(empty, Err(AppendError::InvalidLabels(_))));
    assert_eq!(a.commit().unwrap().samples, 1);
    let mut a = db.appender();
    let options = AppendOptions::default();
    let mut by_ref = |t, v| a.append(SeriesKey::Ref(first), t, Value::Float(v), &options);
    assert!(matches!(by_ref(10 * range - 1, 1.0), Err(AppendError::OutOfOrder)));
    assert!(matches!(by_ref(10 * range, 2.0), Err(AppendError::DuplicateTimestamp)));
    assert_eq!(by_ref(10 * range, 1.0).unwrap(), first);
    assert!(matches!(by_ref(range, 1.0), Err(AppendError::OutOfBounds)));
    by_ref(10 * range + 1, 1.0).unwrap();
    by_ref(10 * range + 1, 2.0).unwrap();
    let unknown = a.append(SeriesKey::Ref(SeriesRef(999)), 10 * range, Value::Float(0.0), &options);
    assert!(matches!(unknown, Err(AppendError::UnknownSeries)));
    let stats = a.commit().unwrap();
    assert_eq!((stats.samples, stats.rejected), (1, 1));
    let mut families = Families::new();
    db.collect(&mut families);
    let sorted = families.into_sorted();
    assert!(sorted.iter().any(|f| f.name == "prometheus_tsdb_head_series"));
    for f in &sorted {
        let ours = f.name.starts_with("firesteel_tsdb_");
        assert!(ours || f.name.starts_with("prometheus_tsdb_"), "{}", f.name);
    }
}

/// Floats and histograms of one series in one transaction, in any order, are there after a replay,
/// and in blocks.
#[test]
fn kinds_of_samples_mix_in_a_transaction() {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).open().unwrap();
    let none = AppendOptions::default();
    let h = Histogram { zero_count: 3, count: 3, sum: 4.5, ..Histogram::default() };
    let float = h.to_float();
    let (one, two) = (labels(0), labels(1));
    let kinds = [0, 1, 0, 2, 1, 0, 1, 2, 0, 0, 2];
    let mut a = db.appender();
    for (i, kind) in (1_i64..).zip(kinds) {
        let value = match kind {
            0 => Value::Float(i as f64),
            1 => Value::Histogram(&h),
            _ => Value::FloatHistogram(&float),
        };
        a.append(SeriesKey::Labels(&one), i * 10, value, &none).unwrap();
        append(&mut *a, &two, i * 10, i as f64).unwrap();
    }
    // Between others, and put into its place.
    append(&mut *a, &one, 75, 0.0).unwrap();
    let stats = a.commit().unwrap();
    assert_eq!((stats.samples, stats.rejected), (23, 0));
    let all = read_all(&db);
    assert_eq!((all[&one].len(), all[&two].len()), (12, 11));
    drop(db);
    let db = sim_builder(&fs, &clock).open().unwrap();
    assert_same(&read_all(&db), &all);
    let mut a = db.appender();
    append(&mut *a, &two, 400, 0.0).unwrap();
    a.commit().unwrap();
    let mut a = db.appender();
    append(&mut *a, &two, 800, 0.0).unwrap();
    a.commit().unwrap();
    let mut a = db.appender();
    append(&mut *a, &two, 1200, 0.0).unwrap();
    a.commit().unwrap();
    let expected = read_all(&db);
    assert_eq!(db.flush_full_ranges(0).unwrap().blocks_made.len(), 1);
    assert_same(&read_all(&db), &expected);
    drop(db);
    let db = sim_builder(&fs, &clock).open().unwrap();
    assert_same(&read_all(&db), &expected);
}

#[test]
fn histograms_exemplars_and_metadata_survive() {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).open().unwrap();
    let h = Histogram {
        layout: HistogramLayout {
            schema: 1,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            ..HistogramLayout::default()
        },
        count: 3,
        sum: 4.5,
        positive_deltas: vec![1, 1],
        ..Histogram::default()
    };
    let metadata =
        Metadata { kind: MetricType::Histogram, unit: "s".to_owned(), help: "why".to_owned() };
    let exemplars =
        [Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 1.0, timestamp: None }];
    let options = AppendOptions {
        exemplars: &exemplars,
        metadata: Some(&metadata),
        ..AppendOptions::default()
    };
    let mut a = db.appender();
    let series = labels(0);
    a.append(SeriesKey::Labels(&series), 10, Value::Histogram(&h), &options).unwrap();
    let float: FloatHistogram = h.to_float();
    let none = AppendOptions::default();
    a.append(SeriesKey::Labels(&series), 20, Value::FloatHistogram(&float), &none).unwrap();
    a.append(SeriesKey::Labels(&series), 30, Value::Float(stale_nan()), &none).unwrap();
    let bad = Histogram { count: 4, ..h.clone() };
    let refused = a.append(SeriesKey::Labels(&series), 40, Value::Histogram(&bad), &none);
    assert!(matches!(refused, Err(AppendError::InvalidHistogram(_))));
    a.commit().unwrap();
    let mut a = db.appender();
    append(&mut *a, &series, 50, 7.0).unwrap();
    a.append(SeriesKey::Labels(&series), 60, Value::Histogram(&h), &none).unwrap();
    a.commit().unwrap();
    let check = |db: &Db| {
        let all = read_all(db);
        let bits: Vec<_> = all[&series].iter().map(|(&t, &v)| (t, v)).collect();
        let stale = stale_nan().to_bits();
        let sum = digest(3.0, 4.5, [1.0, 2.0].into_iter());
        let seven = 7.0_f64.to_bits();
        assert_eq!(bits, [(10, sum), (20, sum), (30, stale), (50, seven), (60, sum)]);
        let found = db.exemplars(0, 100, &[vec![Matcher::equal("__name__", "m")]]);
        assert_eq!((found.len(), found[0].exemplars[0].timestamp), (1, Some(10)));
        assert_eq!(db.metadata(), [("m".to_owned(), metadata.clone())]);
    };
    check(&db);
    drop(db);
    let db = sim_builder(&fs, &clock).open().unwrap();
    check(&db);
    // Histograms stay in the head when floats go into blocks, and in the checkpoint when the log
    // is shortened.
    for t in 7..40 {
        commit_all(&db, 3, t * 100, 0.0);
        db.tick(0).unwrap();
    }
    let stats = db.blocks().len();
    assert!(stats >= 2, "{stats} blocks");
    let all = read_all(&db);
    assert_eq!(all[&series].len(), 5 + 33);
    drop(db);
    let db = sim_builder(&fs, &clock).open().unwrap();
    assert!(db.open_report().checkpoint.is_some());
    assert_eq!(read_all(&db), all);
}

#[test]
fn a_second_process_is_refused_and_close_lets_it_in() {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).open().unwrap();
    let second = sim_builder(&fs, &clock).open();
    assert!(matches!(second, Err(TsdbError::Locked { .. })));
    commit_all(&db, 1, 1, 1.0);
    db.close().unwrap();
    let mut a = db.appender();
    append(&mut *a, &labels(0), 2, 1.0).unwrap();
    assert!(matches!(a.commit(), Err(AppendError::NotReady(_))));
    assert_eq!(read_all(&db).len(), 1);
    fs.crash(Crash::DropUnsynced);
    let again = sim_builder(&fs, &clock).open().unwrap();
    assert_eq!(read_all(&again)[&labels(0)].len(), 1);
}

#[test]
fn a_full_disk_stops_appends_and_lets_them_go_on_later() {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).open().unwrap();
    commit_all(&db, 5, 1, 1.0);
    fs.fail(Fault {
        kind: Some(OpKind::Write),
        after: 0,
        times: 3,
        error: std::io::ErrorKind::StorageFull,
    });
    for t in 2..4 {
        let mut a = db.appender();
        append(&mut *a, &labels(0), t, 1.0).unwrap();
        append(&mut *a, &labels(50), t, 1.0).unwrap();
        assert!(matches!(a.commit(), Err(AppendError::OutOfSpace(_))));
        assert_eq!(read_all(&db)[&labels(0)].len(), 1);
    }
    fs.heal();
    commit_all(&db, 5, 2, 1.0);
    commit_all(&db, 51, 3, 1.0);
    let all = read_all(&db);
    assert_eq!((all.len(), all[&labels(0)].len()), (51, 3));
    drop(db);
    fs.crash(Crash::KeepAll);
    let db = sim_builder(&fs, &clock).open().unwrap();
    assert_eq!(read_all(&db), all, "{}", db.open_report());
}

#[test]
fn a_budget_refuses_new_series_only() {
    let (fs, clock) = (SimFs::new(), clock());
    let budget = Budget::root("head", 3 << 20);
    let db = sim_builder(&fs, &clock).budget(budget).open().unwrap();
    let mut refused = 0;
    for i in 0..12_000 {
        let mut a = db.appender();
        match append(&mut *a, &labels(i), 1, 1.0) {
            Ok(_) => drop(a.commit().unwrap()),
            Err(AppendError::Limit(text)) => {
                assert!(text.contains("head"), "{text}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    commit_all(&db, 5, 2, 1.0);
}

#[test]
fn the_log_is_synced_by_tick_and_survives_power_loss_then() {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).open().unwrap();
    commit_all(&db, 5, 1, 1.0);
    clock.advance(Duration::from_secs(2));
    assert!(db.tick(0).unwrap().synced);
    commit_all(&db, 5, 2, 1.0);
    drop(db);
    fs.crash(Crash::DropUnsynced);
    let db = sim_builder(&fs, &clock).open().unwrap();
    assert_eq!(read_all(&db)[&labels(0)].len(), 1);
    assert_eq!(DIR, "/data");
}

#[test]
fn a_gap_of_years_is_no_work() {
    let (fs, clock) = (SimFs::new(), clock());
    let db = sim_builder(&fs, &clock).retention(None).open().unwrap();
    let later = 300_000_000_000;
    commit_all(&db, 3, 10, 1.0);
    commit_all(&db, 3, 200_000_000_500, 1.0);
    commit_all(&db, 3, later, 1.0);
    assert_eq!(db.tick(0).unwrap().blocks_made.len(), 2);
    assert_eq!(read_all(&db)[&labels(1)].len(), 3);
}

#[test]
fn in_memory_forgets_what_the_retention_does_not_allow() {
    let db = Db::in_memory();
    let hour = 3_600_000;
    for t in 0..500 {
        commit_all(&db, 3, t * hour, 1.0);
        db.tick(0).unwrap();
    }
    let left = read_all(&db)[&labels(1)].len();
    assert!((15 * 24..15 * 24 + 3).contains(&left), "{left}");
    assert_eq!(db.stats(3).series_count_by_metric_name, [("m".to_owned(), 3)]);
}
