//! Queries of dashboards and alerts over a day of samples, asked of all servers at the same time.

use std::{
    io::{Error, Result},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use firesteel_benches::mix;
use serde_json::Value;

use crate::{
    dataset::Dataset,
    http::{escape, get},
    peer::{Kind, Peer, Running},
    process::{cpu_ms, status_bytes},
};

pub(crate) struct Plan {
    pub(crate) targets: usize,
    pub(crate) hours: usize,
    /// Seconds of the mix.
    pub(crate) seconds: u64,
    /// Measured calls of each query.
    pub(crate) repeats: usize,
    /// Series of the run that only looks at memory; 0 for no such run.
    pub(crate) memory_series: usize,
    /// Where the data was left, or is to be left for another run.
    pub(crate) data: Option<PathBuf>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { targets: 20, hours: 24, seconds: 20, repeats: 15, memory_series: 0, data: None }
    }
}

/// What a query asks for.
#[derive(Clone, Copy)]
enum Shape {
    Instant(&'static str),
    /// Hours up to the end, and the step in seconds.
    Range(&'static str, u64, u64),
    /// Any other path; times are added.
    Path(&'static str),
}

use Shape::{Instant as I, Path as P, Range as R};

/// Six instant queries, eleven range queries, label values, series.
const SHAPES: [(&str, Shape); 19] = [
    ("rate by instance", I("sum by (instance) (rate(http_requests_total[5m]))")),
    ("gauges of an instance", I("queue_depth{instance=\"10.0.0.0:9100\"}")),
    ("topk of rates", I("topk(10, sum by (handler, code) (rate(http_requests_total[5m])))")),
    (
        "increase of a day",
        I(
            "sum by (code) (increase(http_requests_total{handler=\"/api/v1/resource3\",method=\"GET\"}[24h]))",
        ),
    ),
    ("count of all", I("count({__name__=~\".+\"})")),
    (
        "quantile now",
        I("histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m])))"),
    ),
    (
        "heavy: rate by instance, 24 h",
        R("sum by (instance) (rate(http_requests_total{code=\"200\"}[5m]))", 24, 120),
    ),
    (
        "heavy: quantile, 6 h",
        R(
            "histogram_quantile(0.99, sum by (le, handler) (rate(request_duration_seconds_bucket[5m])))",
            6,
            60,
        ),
    ),
    (
        "heavy: join, 6 h",
        R(
            "sum by (version) (rate(http_requests_total{code=\"500\",method=\"GET\"}[5m]) * on (instance) group_left (version) build_info)",
            6,
            60,
        ),
    ),
    (
        "heavy: quantile_over_time, 24 h",
        R("quantile_over_time(0.95, queue_depth{shard=\"007\"}[30m])", 24, 300),
    ),
    (
        "heavy: subquery, 6 h",
        R(
            "max_over_time(sum by (instance) (rate(http_requests_total{method=\"GET\",code=\"200\"}[5m]))[30m:1m])",
            6,
            60,
        ),
    ),
    (
        "heavy: increase, 24 h",
        R(
            "sum by (code) (increase(http_requests_total{method=\"GET\",handler=~\".*[0-3]\"}[1h]))",
            24,
            300,
        ),
    ),
    ("gauges, 1 h", R("queue_depth{instance=~\"10.0.0.[0-4]:9100\"}", 1, 15)),
    ("average, 24 h", R("avg by (instance) (queue_depth{shard=~\"00.\"})", 24, 120)),
    (
        "max_over_time, 6 h",
        R("max by (instance) (max_over_time(queue_depth{shard=~\"0..\"}[10m]))", 6, 60),
    ),
    (
        "errors, 6 h",
        R(
            "sum by (handler) (rate(http_requests_total{method=\"GET\",code=~\"5..\"}[5m])) / sum by (handler) (rate(http_requests_total{method=\"GET\"}[5m]))",
            6,
            60,
        ),
    ),
    ("rates, 1 h", R("rate(http_requests_total{instance=\"10.0.0.1:9100\"}[5m])", 1, 15)),
    ("label values", P("/api/v1/label/handler/values?match[]=http_requests_total")),
    ("series", P("/api/v1/series?match[]=request_duration_seconds_count")),
];

impl Shape {
    fn path(self, end_ms: i64) -> String {
        let end = end_ms / 1000;
        match self {
            I(query) => format!("/api/v1/query?query={}&time={end}", escape(query)),
            R(query, hours, step) => format!(
                "/api/v1/query_range?query={}&start={}&end={end}&step={step}",
                escape(query),
                end - hours as i64 * 3600
            ),
            P(path) => format!("{path}&start={}&end={end}", end - 3600),
        }
    }

    const fn is_instant(self) -> bool {
        matches!(self, I(_))
    }
}

pub(crate) fn run(peers: &[Peer], plan: &Plan) -> Result<()> {
    let root = std::env::temp_dir().join(format!("firesteel-queries-{}", std::process::id()));
    std::fs::create_dir_all(&root)?;
    let done =
        if plan.memory_series > 0 { memory(peers, plan, &root) } else { times(peers, plan, &root) };
    std::fs::remove_dir_all(&root)?;
    done
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// The directory with the data, and the data; written if it is not there yet.
fn written(plan: &Plan, root: &Path, make: impl Fn(i64) -> Dataset) -> Result<(PathBuf, Dataset)> {
    let dir = plan.data.clone().unwrap_or_else(|| root.join("written"));
    let stamp = dir.join("firesteel-compare-now");
    if let Ok(now) = std::fs::read_to_string(&stamp) {
        return Ok((dir, make(now.trim().parse().map_err(Error::other)?)));
    }
    let now = now_ms();
    let dataset = make(now);
    let began = Instant::now();
    dataset.write(&dir).map_err(Error::other)?;
    std::fs::write(&stamp, now.to_string())?;
    eprintln!(
        "{} series x {} samples written in {:.0} s",
        dataset.len(),
        dataset.samples,
        began.elapsed().as_secs_f64()
    );
    Ok((dir, dataset))
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// A server that has the data.
fn start(peer: &Peer, root: &Path, written: &Path, dataset: &Dataset) -> Result<Running> {
    let folder = root.join(peer.kind.name());
    std::fs::create_dir_all(&folder)?;
    if peer.kind != Kind::VictoriaMetrics {
        copy_dir(written, &folder.join("data"))?;
    }
    let running = peer.start(&folder, &[], 15_000)?;
    let all = format!("/api/v1/query?query=vector(1)&time={}", dataset.end() / 1000);
    until(|| matches!(get(running.address, &all), Ok((200, _))))?;
    if peer.kind == Kind::VictoriaMetrics {
        let began = Instant::now();
        dataset.send(running.address, "/api/v1/write")?;
        get(running.address, "/internal/force_flush")?;
        get(running.address, "/internal/force_merge")?;
        eprintln!("sent to {} in {:.0} s", peer.kind.name(), began.elapsed().as_secs_f64());
    }
    let count = I("count({__name__=~\".+\"})").path(dataset.end());
    let expected = dataset.len() as f64;
    until(|| {
        let answer = get(running.address, &count).and_then(|(_, body)| Answer::of(&body));
        answer.is_ok_and(|a| a.values.first() == Some(&expected))
    })?;
    Ok(running)
}

fn until(done: impl Fn() -> bool) -> Result<()> {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > Duration::from_secs(120) {
            return Err(Error::other("the server does not have the data"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// How many series an answer has, and its numbers.
struct Answer {
    series: usize,
    values: Vec<f64>,
}

impl Answer {
    fn of(body: &[u8]) -> Result<Self> {
        let json: Value = serde_json::from_slice(body).map_err(Error::other)?;
        if json["status"] != "success" {
            let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
            return Err(Error::other(text));
        }
        let data = json["data"].get("result").unwrap_or(&json["data"]);
        let list = data.as_array().map_or(&[][..], Vec::as_slice);
        let mut values = Vec::new();
        for series in list {
            let one = series.get("value").into_iter();
            let many = series.get("values").and_then(Value::as_array).into_iter().flatten();
            let numbers = one.chain(many).filter_map(|p| p.get(1)?.as_str()?.parse::<f64>().ok());
            values.extend(numbers);
        }
        Ok(Self { series: list.len(), values })
    }

    /// What differs from another answer by more than a share of the values.
    fn difference(&self, other: &Self, share: f64) -> Option<String> {
        if self.series != other.series {
            return Some(format!("{} series, not {}", self.series, other.series));
        }
        let sum = |values: &[f64]| values.iter().filter(|v| v.is_finite()).sum::<f64>();
        let (a, b) = (sum(&self.values), sum(&other.values));
        let mean = |sum: f64, a: &Self| sum / a.values.len().max(1) as f64;
        let (a, b) = (mean(a, self), mean(b, other));
        ((a - b).abs() > share * b.abs().max(1e-9)).then(|| format!("on average {a}, not {b}"))
    }
}

/// Warns where answers differ. Prometheus' are the measure; VictoriaMetrics has other rules at the
/// edges of windows and other buckets of time.
fn compare_answers(peers: &[Peer], servers: &[Running], end: i64) -> Result<()> {
    let Some(measure) = peers.iter().position(|p| p.kind == Kind::Prometheus) else {
        return Ok(());
    };
    for (name, shape) in SHAPES {
        let path = shape.path(end);
        let ask = |server: &Running| Answer::of(&get(server.address, &path)?.1);
        let right = ask(&servers[measure])?;
        if right.series == 0 {
            return Err(Error::other(format!("{name}: no series")));
        }
        for (peer, server) in peers.iter().zip(servers) {
            let share = if peer.kind == Kind::VictoriaMetrics { 0.05 } else { 1e-9 };
            if let Some(what) = ask(server)?.difference(&right, share) {
                let text = format!("{name}: {}: {what}", peer.kind.name());
                if peer.kind == Kind::Firesteel {
                    return Err(Error::other(text));
                }
                println!("{text}");
            }
        }
    }
    Ok(())
}

fn times(peers: &[Peer], plan: &Plan, root: &Path) -> Result<()> {
    let (dir, dataset) =
        written(plan, root, |now| Dataset::of_targets(plan.targets, plan.hours, now))?;
    let servers =
        peers.iter().map(|p| start(p, root, &dir, &dataset)).collect::<Result<Vec<_>>>()?;
    let end = dataset.end();
    compare_answers(peers, &servers, end)?;
    println!(
        "\n{} series x {} samples; median milliseconds of {} calls, servers in turn; then CPU \
         milliseconds a call",
        dataset.len(),
        dataset.samples,
        plan.repeats
    );
    print!("{:34}", "");
    peers.iter().for_each(|p| print!("{:>16}", p.kind.name()));
    print!("  |");
    peers.iter().for_each(|p| print!("{:>16}", p.kind.name()));
    println!();
    let mut ratios = vec![Vec::new(); 2 * peers.len()];
    for (name, shape) in SHAPES {
        let medians = medians(&servers, &shape.path(end), plan.repeats)?;
        print!("{:34}", if shape.is_instant() { format!("now: {name}") } else { name.to_owned() });
        for (i, ms) in medians.iter().enumerate() {
            let first = i - i % peers.len();
            let ratio = ms / medians[first];
            ratios[i].push(ratio);
            let times = if i > first { format!("{ratio:.1}x") } else { String::new() };
            let bar = if i == peers.len() { "  |" } else { "" };
            print!("{bar}{ms:>9.2}{times:>7}");
        }
        println!();
    }
    print!("{:34}", "geometric mean");
    for (i, ratio) in ratios.iter().enumerate() {
        if i == peers.len() {
            print!("  |");
        }
        let mean = ratio.iter().map(|r| r.ln()).sum::<f64>() / ratio.len() as f64;
        print!("{:>15.2}x", mean.exp());
    }
    print!("\n{:34}", "queries/s, four connections");
    for server in &servers {
        print!("{:>16.1}", mixed(server, end, plan.seconds));
    }
    print!("\n{:34}", "anonymous memory then, MiB");
    for server in &servers {
        print!("{:>16.0}", status_bytes(server.child.id(), "RssAnon") / 1048576.0);
    }
    println!();
    Ok(())
}

/// Median milliseconds per server, then the CPU milliseconds of a call per server. They are asked in turn, so that whatever else the machine does
/// is the same for all.
fn medians(servers: &[Running], path: &str, repeats: usize) -> Result<Vec<f64>> {
    let mut times = vec![Vec::new(); servers.len()];
    let mut cpu = vec![0.0; servers.len()];
    for n in 0..=repeats {
        for ((server, times), cpu) in servers.iter().zip(&mut times).zip(&mut cpu) {
            let cpu_before = cpu_ms(server.child.id());
            let began = Instant::now();
            let (status, body) = get(server.address, path)?;
            let ms = began.elapsed().as_secs_f64() * 1e3;
            if status != 200 {
                return Err(Error::other(String::from_utf8_lossy(&body).into_owned()));
            }
            if n > 0 {
                times.push(ms);
                *cpu += (cpu_ms(server.child.id()) - cpu_before) / repeats as f64;
            }
        }
    }
    Ok(times
        .into_iter()
        .map(|mut t| {
            t.sort_by(f64::total_cmp);
            t[t.len() / 2]
        })
        .chain(cpu)
        .collect())
}

/// Queries per second that four connections get answered, each drawing from all shapes.
fn mixed(server: &Running, end: i64, seconds: u64) -> f64 {
    let paths: Vec<String> = SHAPES.iter().map(|(_, shape)| shape.path(end)).collect();
    let (began, limit) = (Instant::now(), Duration::from_secs(seconds));
    let answered: u64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..4_u64)
            .map(|client| {
                let paths = &paths;
                scope.spawn(move || {
                    let mut answered = 0;
                    while began.elapsed() < limit {
                        let drawn = mix(client, answered) as usize % paths.len();
                        if get(server.address, &paths[drawn]).is_ok_and(|a| a.0 == 200) {
                            answered += 1;
                        }
                    }
                    answered
                })
            })
            .collect();
        clients.into_iter().filter_map(|c| c.join().ok()).sum()
    });
    answered as f64 / began.elapsed().as_secs_f64()
}

/// How much anonymous memory a query over many series and a whole day takes.
fn memory(peers: &[Peer], plan: &Plan, root: &Path) -> Result<()> {
    let (dir, dataset) =
        written(plan, root, |now| Dataset::of_pods(plan.memory_series, plan.hours, now))?;
    let (end, query) = (dataset.end(), "sum by (pod) (rate(requests_total[5m]))");
    let step = plan.hours as f64 * 3600.0 / 999.0;
    println!("{query}: {} series x {} samples, 1000 steps", dataset.len(), dataset.samples);
    for peer in peers.iter().filter(|p| p.kind != Kind::VictoriaMetrics) {
        let running = start(peer, root, &dir, &dataset)?;
        let pid = running.child.id();
        let before = status_bytes(pid, "RssAnon");
        let path = format!(
            "/api/v1/query_range?query={}&start={}&end={}&step={step:.3}",
            escape(query),
            end / 1000 - plan.hours as i64 * 3600,
            end / 1000
        );
        let began = Instant::now();
        let (answer, peak) = thread::scope(|scope| {
            let asked = scope.spawn(|| get(running.address, &path));
            let mut peak = before;
            while !asked.is_finished() {
                peak = status_bytes(pid, "RssAnon").max(peak);
                thread::sleep(Duration::from_millis(1));
            }
            (asked.join(), peak)
        });
        let answer = answer.map_err(|_| Error::other("a client panicked"))??;
        println!(
            "{:16} {} series in {:.2} s; anonymous memory {:.1} MiB, {:.1} MiB more at most",
            peer.kind.name(),
            Answer::of(&answer.1)?.series,
            began.elapsed().as_secs_f64(),
            before / 1048576.0,
            (peak - before) / 1048576.0
        );
    }
    Ok(())
}
