//! Measures starting: `cargo run --release -p firesteel-tsdb --example restart -- fill DIR SERIES
//! SAMPLES [close|abort]`, then `... -- open DIR`.
//!
//! `fill` appends SAMPLES samples, 15 s apart, to each of SERIES series with nine labels, a thousand
//! per commit, and then closes the database (the default) or dies as by `kill -9`. `tick` as a fifth
//! argument has maintenance run meanwhile, as a server does. `open` prints how long it took to open
//! and until the first right answers: how many series there are, and the newest sample of each.
#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::{path::Path, time::Instant};

use firesteel_model::{
    Labels, Matcher, Value,
    storage::{
        AppendOptions, Appendable, BatchValues, QueryContext, Queryable, SampleBatch, SelectHints,
        SeriesKey, SeriesRef,
    },
};
use firesteel_tsdb::{Db, DbBuilder, Durability};

const PER_COMMIT: usize = 1000;
const START: i64 = 1_700_000_000_000 / 7_200_000 * 7_200_000;
const INTERVAL: i64 = 15_000;

type Failure = Box<dyn std::error::Error>;

fn labels(i: usize) -> Labels {
    let (pod, node) = (format!("pod-{}-{:x}", i / 50, i / 50 * 7919), format!("node-{}", i % 40));
    let path = format!("/api/v1/path/{}", i % 50);
    let name = format!("http_requests_total_{}", i % 50);
    Labels::from_sorted([
        ("__name__", name.as_str()),
        ("cluster", "eu-west-1"),
        ("code", "200"),
        ("container", "server"),
        ("job", "kubernetes-pods"),
        ("namespace", "default"),
        ("node", node.as_str()),
        ("path", path.as_str()),
        ("pod", pod.as_str()),
    ])
}

fn value(i: usize, n: i64) -> f64 {
    match i % 4 {
        0 => 1.0,
        1 | 2 => (n * 50 + (i as i64 * n) % 37) as f64,
        _ => (((i as i64 * 7 + n * 13) % 10_007) as f64) / 1000.0,
    }
}

/// A line of `/proc/self/status`, in bytes.
fn status(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(what));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0) * 1024
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

fn builder(dir: &Path) -> DbBuilder {
    let builder = Db::builder(dir).durability(Durability::Os);
    match std::env::var("RESTART_THREADS").ok().and_then(|n| n.parse().ok()) {
        Some(threads) => builder.open_threads(threads),
        None => builder,
    }
}

fn main() -> Result<(), Failure> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match *args {
        ["fill", dir, series, samples, ref rest @ ..] => {
            let ticks = rest.contains(&"tick");
            let db = fill(Path::new(dir), series.parse()?, samples.parse()?, ticks)?;
            if rest.contains(&"abort") {
                // What a kill -9 leaves: nothing is closed, written or synced.
                std::process::abort();
            }
            let clock = Instant::now();
            db.close()?;
            println!("close: {:.2} s", clock.elapsed().as_secs_f64());
            Ok(())
        }
        ["open", dir] => open(Path::new(dir)),
        _ => Err("usage: restart fill DIR SERIES SAMPLES [abort] [tick] | open DIR".into()),
    }
}

fn fill(dir: &Path, series: usize, samples: i64, ticks: bool) -> Result<Db, Failure> {
    let db = builder(dir).open()?;
    let options = AppendOptions::default();
    let mut refs: Vec<SeriesRef> = Vec::with_capacity(series);
    let (clock, mut slowest) = (Instant::now(), std::time::Duration::ZERO);
    let maintenance = if ticks { Some(db.spawn_maintenance()?) } else { None };
    for n in 0..samples {
        for first in (0..series).step_by(PER_COMMIT) {
            let begin = Instant::now();
            let mut a = db.appender();
            for i in first..(first + PER_COMMIT).min(series) {
                let (t, v) = (START + n * INTERVAL, Value::Float(value(i, n)));
                if n == 0 {
                    refs.push(a.append(SeriesKey::Labels(&labels(i)), t, v, &options)?);
                } else if let Some(&r) = refs.get(i) {
                    a.append(SeriesKey::Ref(r), t, v, &options)?;
                }
            }
            a.commit()?;
            slowest = slowest.max(begin.elapsed());
        }
    }
    drop(maintenance);
    let (all, seconds) = (series as f64 * samples as f64, clock.elapsed().as_secs_f64());
    println!(
        "fill: {all} samples in {seconds:.1} s, {:.0} ns each; slowest commit {:.1} ms; {} MiB \
         anonymous, {} MiB at most resident",
        seconds * 1e9 / all,
        slowest.as_secs_f64() * 1e3,
        mib(status("RssAnon")),
        mib(status("VmHWM")),
    );
    Ok(db)
}

fn open(dir: &Path) -> Result<(), Failure> {
    let clock = Instant::now();
    let db = builder(dir).open()?;
    println!("open: {:.2} s; {}", clock.elapsed().as_secs_f64(), db.open_report());
    let ctx = QueryContext::background();
    let (_, newest) = db.time_range().ok_or("it is empty")?;
    let querier = db.querier(newest, newest)?;
    let all = [Matcher::equal("job", "kubernetes-pods")];
    let selection = querier.select(&ctx, &all, &SelectHints::range(newest, newest))?;
    let series: usize = selection.sets.iter().map(|s| s.len()).sum();
    println!("{series} series at {newest}: after {:.2} s", clock.elapsed().as_secs_f64());
    let (mut batch, mut sum, mut n) = (SampleBatch::default(), 0.0, 0_u64);
    for set in &selection.sets {
        let mut reader = set.reader(&ctx);
        for i in 0..set.len() {
            reader.open(i)?;
            while reader.next(&mut batch)? {
                if let BatchValues::Floats(values) = &batch.values {
                    for (_, v) in batch.timestamps.iter().zip(values).filter(|s| *s.0 == newest) {
                        sum += v;
                        n += 1;
                    }
                }
            }
        }
    }
    let round = (newest - START) / INTERVAL;
    let expected: f64 = (0..series).map(|i| value(i, round)).sum();
    println!("sum of {n} newest samples {sum}: after {:.2} s", clock.elapsed().as_secs_f64());
    println!(
        "{}; {} MiB anonymous, {} MiB at most resident",
        if (sum - expected).abs() <= expected.abs() * 1e-9 { "right" } else { "WRONG" },
        mib(status("RssAnon")),
        mib(status("VmHWM")),
    );
    Ok(())
}
