//! Measures the head by hand: `cargo run --release -p firesteel-tsdb --example ingest -- DIR`.
//! `INGEST=memory` leaves the log out, `INGEST=plain` its compression; `INGEST_SERIES` is the number
//! of series.
#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::path::PathBuf;

use firesteel_model::{
    Labels, Matcher, Value,
    storage::{
        AppendOptions, Appendable, QueryContext, Queryable, SampleBatch, SelectHints, SeriesKey,
        SeriesRef,
    },
};
use firesteel_tsdb::{Compression, Db, Durability};

const PER_COMMIT: usize = 1000;
const SCRAPES: i64 = 240;

type Failure = Box<dyn std::error::Error>;

fn labels(i: usize) -> Labels {
    let (pod, node) = (format!("pod-{}-{:x}", i / 50, i / 50 * 7919), format!("node-{}", i % 40));
    let (path, code) = (format!("/api/v1/path/{}", i % 50), "200");
    let name = format!("http_requests_total_{}", i % 50);
    Labels::from_sorted([
        ("__name__", name.as_str()),
        ("cluster", "eu-west-1"),
        ("code", code),
        ("container", "server"),
        ("job", "kubernetes-pods"),
        ("namespace", "default"),
        ("node", node.as_str()),
        ("path", path.as_str()),
        ("pod", pod.as_str()),
    ])
}

/// Of eight series three stand still, three count, one is a gauge of whole numbers and one of
/// fractions. `INGEST_VALUES=hard` has more that compress badly.
fn value(i: usize, n: i64, hard: bool) -> f64 {
    let (i, whole) = (i as i64, |x: i64| x as f64);
    match (i % 8, hard) {
        (0 | 4, _) | (2, false) => 1.0,
        (3 | 7, true) | (7, false) => whole((i * 7 + n * 13) % 10_007) / 1000.0,
        (6, false) => whole(100_000 + i % 1000 + (i * n) % 61),
        _ => whole(n * 50 + (i * n) % 37),
    }
}

/// Processor time of this thread, in nanoseconds: what others do on the machine does not count.
#[derive(Clone, Copy)]
struct Instant(u64);

impl Instant {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self(text.split(' ').next().and_then(|t| t.parse().ok()).unwrap_or(0))
    }

    fn nanos(self) -> f64 {
        (Self::now().0 - self.0) as f64
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0) * 1024
}

fn main() -> Result<(), Failure> {
    let dir = std::env::args().nth(1).map_or_else(|| PathBuf::from("ingest-data"), PathBuf::from);
    let number = std::env::var("INGEST_SERIES").ok().and_then(|n| n.parse().ok());
    let series: usize = number.unwrap_or(100_000);
    let all: Vec<_> = (0..series).map(labels).collect();
    let before = resident();
    let db = match std::env::var("INGEST").as_deref() {
        Ok("memory") => Db::in_memory(),
        Ok("plain") => Db::builder(&dir)
            .durability(Durability::Os)
            .wal_compression(Compression::None)
            .open()?,
        _ => Db::builder(&dir).durability(Durability::Os).open()?,
    };
    let options = AppendOptions::default();
    let hard = std::env::var("INGEST_VALUES").is_ok_and(|v| v == "hard");
    let mut refs: Vec<SeriesRef> = Vec::with_capacity(series);
    let start = 1_700_000_000_000 / 7_200_000 * 7_200_000;
    let clock = Instant::now();
    for part in all.chunks(PER_COMMIT) {
        let mut a = db.appender();
        for l in part {
            let v = Value::Float(value(refs.len(), 0, hard));
            refs.push(a.append(SeriesKey::Labels(l), start, v, &options)?);
        }
        a.commit()?;
    }
    let each = |t: Instant, n: f64| t.nanos() / n;
    println!("new series: {:.0} ns", each(clock, series as f64));
    let used = resident().saturating_sub(before) as f64 / series as f64;
    let counted = db.memory_bytes() as f64 / series as f64;
    println!("bytes per series at 1 sample: {used:.0} anonymous, {counted:.0} counted");
    let clock = Instant::now();
    let mut spent = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    for n in 1..SCRAPES {
        for (p, part) in refs.chunks(PER_COMMIT).enumerate() {
            // As often as every second, with scrapes spread over 15.
            if p % (series / PER_COMMIT / 15).max(1) == 0 {
                db.tick(0)?;
            }
            let begin = std::time::Instant::now();
            let mut a = db.appender();
            for (j, &r) in part.iter().enumerate() {
                let v = Value::Float(value(p * PER_COMMIT + j, n, hard));
                a.append(SeriesKey::Ref(r), start + n * 15_000, v, &options)?;
            }
            let appended = std::time::Instant::now();
            a.commit()?;
            spent.0 += appended - begin;
            spent.1 += appended.elapsed();
        }
        if n == 120 || n == SCRAPES - 1 {
            let used = resident().saturating_sub(before) as f64 / series as f64;
            let counted = db.memory_bytes() as f64 / series as f64;
            println!("bytes per series at {n} samples: {used:.0} anonymous, {counted:.0} counted");
            for (part, bytes) in db.memory_parts().iter().filter(|p| p.1 > 0) {
                println!("  {part}: {:.1}", *bytes as f64 / series as f64);
            }
        }
    }
    let samples = series as f64 * (SCRAPES - 1) as f64;
    println!("append by reference: {:.1} ns", each(clock, samples));
    let wall = |d: std::time::Duration| d.as_nanos() as f64 / samples;
    println!("  of wall time: append {:.1} ns, commit {:.1} ns", wall(spent.0), wall(spent.1));
    if std::env::var("INGEST").as_deref() == Ok("memory") {
        return Ok(());
    }
    let clock = Instant::now();
    let ctx = QueryContext::background();
    let querier = db.querier(i64::MIN, i64::MAX)?;
    let matchers = [Matcher::equal("job", "kubernetes-pods")];
    let selection = querier.select(&ctx, &matchers, &SelectHints::range(i64::MIN, i64::MAX))?;
    println!("select {} series: {:.2} ms", selection.sets[0].len(), each(clock, 1e6));
    let clock = Instant::now();
    let mut reader = selection.sets[0].reader(&ctx);
    let (mut batch, mut n) = (SampleBatch::default(), 0);
    for i in 0..selection.sets[0].len() {
        reader.open(i)?;
        while reader.next(&mut batch)? {
            n += batch.len();
        }
    }
    println!("read {n} samples: {:.2} ns each", each(clock, n as f64));
    drop(reader);
    let bytes = ctx.stats.chunk_bytes.load(std::sync::atomic::Ordering::Relaxed);
    println!("chunks: {:.2} bytes per sample", bytes as f64 / n as f64);
    drop((selection, querier));
    drop(db);
    let clock = Instant::now();
    let db = Db::builder(&dir).durability(Durability::Os).open()?;
    println!("replay: {:.1} ns per sample; {}", each(clock, samples), db.open_report());
    let clock = Instant::now();
    let stats = db.flush_full_ranges(0)?;
    println!("no block expected: {} in {:.1} ms", stats.blocks_made.len(), each(clock, 1e6));
    let mut a = db.appender();
    a.append(SeriesKey::Labels(&all[0]), start + 7_200_000, Value::Float(0.0), &options)?;
    a.commit()?;
    let clock = Instant::now();
    let stats = db.flush_full_ranges(0)?;
    println!("head to block: {:.2} us per series, {stats:?}", each(clock, series as f64 * 1e3));
    db.close()?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
