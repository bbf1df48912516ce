//! The same work on `firesteel-tsdb` and on the `tsink` crate, each in a process of its own:
//! append, memory, reopening, reading a range. Both acknowledge a write when the system has it and
//! bring it to disk each second.
//!
//! `cargo run --release --manifest-path benches/tsink/Cargo.toml [-- SERIES SAMPLES]`
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::{path::Path, process::Command, time::Instant};

mod firesteel;
mod tsink;

pub type Failure = Box<dyn std::error::Error>;

/// Samples per call or transaction.
pub const BATCH: usize = 1000;
/// Time of the first sample and of each further one, in milliseconds.
pub const START: i64 = 1_700_006_400_000;
pub const STEP: i64 = 15_000;

/// What a run measured.
pub struct Figures {
    /// Nanoseconds per sample.
    pub append: f64,
    /// Bytes per series.
    pub memory: f64,
    /// Milliseconds until the first answer after opening again.
    pub reopen: f64,
    /// Nanoseconds per sample.
    pub read: f64,
}

/// Series of nine labels, the metric's name first.
pub fn labels(i: usize) -> [(&'static str, String); 9] {
    [
        ("__name__", format!("http_requests_total_{}", i % 50)),
        ("cluster", "eu-west-1".to_owned()),
        ("code", ["200", "404", "500"][i % 3].to_owned()),
        ("container", "server".to_owned()),
        ("job", "kubernetes-pods".to_owned()),
        ("namespace", format!("team-{}", i % 20)),
        ("node", format!("node-{}", i % 40)),
        ("path", format!("/api/v1/path/{}", i % 50)),
        ("pod", format!("pod-{}", i / 50)),
    ]
}

pub fn value(i: usize, n: i64) -> f64 {
    match i % 4 {
        0 => 1.0,
        1 | 2 => (n * 50 + (i as i64 * n) % 37) as f64,
        _ => (((i as i64 * 7 + n * 13) % 10_007) as f64) / 1000.0,
    }
}

/// Anonymous memory of this process.
pub fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0
}

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let (first, second) = (args.next(), args.next());
    let series = first.as_deref().unwrap_or("10000").parse()?;
    let samples = second.as_deref().unwrap_or("240").parse()?;
    if let Some(engine) = args.next() {
        let dir =
            std::env::temp_dir().join(format!("firesteel-bench-{engine}-{}", std::process::id()));
        let figures = run(&engine, &dir, series, samples);
        std::fs::remove_dir_all(&dir)?;
        let f = figures?;
        println!(
            "{engine:10} append {:7.0} ns/sample   memory {:6.0} bytes/series   reopen {:7.0} ms   \
             read {:6.1} ns/sample",
            f.append, f.memory, f.reopen, f.read
        );
        return Ok(());
    }
    println!("{series} series of nine labels x {samples} samples");
    for engine in ["firesteel", "tsink"] {
        let program = std::env::current_exe()?;
        Command::new(program)
            .args([series.to_string(), samples.to_string(), engine.to_owned()])
            .status()?;
    }
    Ok(())
}

fn run(engine: &str, dir: &Path, series: usize, samples: i64) -> Result<Figures, Failure> {
    match engine {
        "firesteel" => firesteel::run(dir, series, samples),
        "tsink" => tsink::run(dir, series, samples),
        _ => Err(format!("no engine {engine}").into()),
    }
}

/// Nanoseconds since a moment, each.
pub fn each(since: Instant, n: usize) -> f64 {
    since.elapsed().as_nanos() as f64 / n as f64
}
