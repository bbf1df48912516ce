//! The work: scrape for a while, then ask.

use std::{
    io::{Error, Result},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    exporter::Exporter,
    http::{escape, get},
    peer::{Peer, Running},
    process::{cpu_seconds, folder_bytes, status_bytes},
};

pub(crate) struct Plan {
    pub(crate) targets: usize,
    pub(crate) series: usize,
    pub(crate) interval_ms: u64,
    pub(crate) seconds: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { targets: 5, series: 10_000, interval_ms: 1000, seconds: 60 }
    }
}

pub(crate) struct Report {
    pub(crate) name: &'static str,
    /// What, and its figure.
    pub(crate) rows: Vec<(String, f64)>,
}

/// Instant queries and, where a range is given, range queries over what was scraped.
const QUERIES: [(&str, bool); 8] = [
    ("up", false),
    ("sum(rate(bench_family_0002_total[30s]))", false),
    ("count({__name__=~\"bench_family_.*\"})", false),
    ("topk(5, sum by (pod) (rate(bench_family_0006_total[30s])))", false),
    ("bench_family_0003", true),
    ("sum by (namespace) (rate(bench_family_0010_total[30s]))", true),
    ("max_over_time(bench_family_0003[30s])", true),
    ("bench_family_0001_total / on (instance, pod, status, method) bench_family_0002_total", true),
];
const REPEATS: usize = 11;

pub(crate) fn run(peer: &Peer, plan: &Plan) -> Result<Report> {
    let exporter = Exporter::start(plan.targets, plan.series)?;
    let folder = std::env::temp_dir().join(format!(
        "firesteel-compare-{}-{}",
        peer.kind.name(),
        std::process::id()
    ));
    std::fs::create_dir_all(&folder)?;
    let running = peer.start(&folder, &exporter.addresses, plan.interval_ms)?;
    let result = measure(peer, plan, &exporter, &running);
    drop(running);
    if result.is_err() {
        eprintln!("its log: {}", folder.join("log").display());
    } else {
        std::fs::remove_dir_all(&folder)?;
    }
    result
}

fn measure(peer: &Peer, plan: &Plan, exporter: &Exporter, running: &Running) -> Result<Report> {
    let pid = running.child.id();
    wait_for(Duration::from_secs(60), || exporter.scrapes() >= 5 * plan.targets as u64)?;
    let (cpu, scrapes) = (cpu_seconds(pid), exporter.scrapes());
    thread::sleep(Duration::from_secs(plan.seconds));
    let cpu = cpu_seconds(pid) - cpu;
    let samples = (exporter.scrapes() - scrapes) as f64 * plan.series as f64;
    let all_samples = exporter.scrapes() as f64 * plan.series as f64;
    let series = (plan.targets * plan.series) as f64;
    let anonymous = status_bytes(pid, "RssAnon");
    let mut rows = vec![
        ("CPU seconds per million samples".to_owned(), cpu / samples * 1e6),
        ("samples per second".to_owned(), samples / plan.seconds as f64),
        ("anonymous memory, MiB".to_owned(), anonymous / 1048576.0),
        ("anonymous bytes per series".to_owned(), anonymous / series),
        ("resident memory, MiB".to_owned(), status_bytes(pid, "VmRSS") / 1048576.0),
        (
            "bytes on disk per sample (log and all)".to_owned(),
            folder_bytes(&running.data) / all_samples,
        ),
    ];
    for (query, range) in QUERIES {
        let shown: String = query.chars().take(38).collect();
        rows.push((format!("ms: {shown}"), query_ms(running, query, range)?));
    }
    Ok(Report { name: peer.kind.name(), rows })
}

fn wait_for(limit: Duration, mut done: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > limit {
            return Err(Error::other("the server does not scrape"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Median of the times of a query, in milliseconds.
fn query_ms(running: &Running, query: &str, range: bool) -> Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let path = if range {
        format!("/api/v1/query_range?query={}&start={}&end={now}&step=1", escape(query), now - 60)
    } else {
        format!("/api/v1/query?query={}&time={now}", escape(query))
    };
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let began = Instant::now();
        let (status, body) = get(running.address, &path)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        if status != 200 {
            return Err(Error::other(format!(
                "{query}: {status} {}",
                String::from_utf8_lossy(&body)
            )));
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[REPEATS / 2])
}
