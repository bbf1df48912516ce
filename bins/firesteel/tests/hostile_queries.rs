//! Queries that ask for too much are refused or answered in time, and disturb no dashboard.
//!
//! Small by default; `FIRESTEEL_HOSTILE_SERIES=100000` makes it as large as the limit bears. Where
//! this process may make cgroups the server runs in one, else its anonymous memory alone is
//! watched.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

#[path = "support/cgroup.rs"]
mod cgroup;
mod support;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cgroup::{Group, anonymous_memory};
use firesteel_model::wire::Writer;
use support::{Server, escape, get, request};

/// What the server may use.
const LIMIT: u64 = 512 << 20;
/// How long a hostile query may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Hostile queries at a time, unless `FIRESTEEL_HOSTILE_AT_A_TIME` says otherwise.
const AT_A_TIME: usize = 4;
const STEP: i64 = 15_000;
const STEPS: usize = 60;

fn labels(out: &mut Writer<'_>, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        out.message(1, |label| {
            label.bytes(1, name.as_bytes());
            label.bytes(2, value.as_bytes());
        });
    }
}

/// Sends series `n` of `from..to`: a counter each, from `start` on.
fn send(server: &Server, name: &str, numbers: std::ops::Range<usize>, start: i64) {
    let mut body = Vec::new();
    let mut out = Writer::new(&mut body);
    for n in numbers {
        out.message(1, |series| {
            let (group, le) = ((n / 10 % 20).to_string(), ["0.1", "0.5", "1", "5", "+Inf"][n % 5]);
            labels(
                series,
                &[
                    ("__name__", name),
                    ("group", &group),
                    ("instance", &format!("10.0.{}.{}:9100", n / 250, n % 250)),
                    ("le", le),
                    ("n", &n.to_string()),
                ],
            );
            for step in 0..STEPS {
                series.message(2, |s| {
                    s.double(1, (step * (n % 7 + 1 + n % 5 * 3)) as f64);
                    s.int64(2, start + step as i64 * STEP);
                });
            }
        });
    }
    let body = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    let headers = [
        ("Content-Encoding", "snappy"),
        ("Content-Type", "application/x-protobuf"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ];
    let (status, text) = request(server.address, "POST", "/api/v1/write", &headers, &body).unwrap();
    assert_eq!(status, 204, "{}", String::from_utf8_lossy(&text));
}

/// What would bring a server down that does what it is told.
fn hostile(start: i64, end: i64) -> Vec<(&'static str, String)> {
    let instant = |query: &str| format!("query?time={}&query={}", end / 1000, escape(query));
    let range = |query: &str, from: i64, to: i64, step: &str| {
        format!(
            "query_range?start={}&end={}&step={step}&query={}",
            from / 1000,
            to / 1000,
            escape(query)
        )
    };
    // As many steps as the API allows.
    let wide = |query: &str| range(query, end - 10_999_000, end, "1");
    let dense = |query: &str| range(query, start, end, "1");
    let repeat = |n: usize, before: &str, middle: &str, after: &str| {
        format!("{}{middle}{}", before.repeat(n), after.repeat(n))
    };
    let all = "{__name__=~\".+\"}";
    vec![
        ("every series", instant(all)),
        ("every series, sorted", instant(&format!("sort_desc({all})"))),
        ("every series, most of them", instant(&format!("topk(1000000, {all})"))),
        ("every series at all steps", wide(all)),
        ("a huge selector twice", wide(&format!("{all} or on(nothing) {all}"))),
        ("raw samples", instant(&format!("{all}[10y]"))),
        ("a huge range", wide("rate(big_total[1y])")),
        ("a range of ranges", wide("quantile_over_time(0.9, big_total[1d])")),
        ("no aggregation", wide("big_total * 2")),
        ("an aggregation that keeps all", wide("sum by (n, le) (rate(big_total[5m]))")),
        ("ten years", range("sum(big_total)", 0, end, "1d")),
        (
            "all of time",
            range("sum(big_total)", -9_000_000_000_000_000, 9_000_000_000_000_000, "1e12"),
        ),
        ("subquery 1y:1ms", instant("max_over_time(big_total[1y:1ms])")),
        ("subquery of a constant", instant("sum_over_time(vector(1)[1y:1ms])")),
        ("subquery of time", instant("count_over_time(vector(time())[100y:1ms])")),
        ("subquery below the limit", instant("sum_over_time(vector(time())[40000s:1ms])")),
        ("subquery of many series", instant("max_over_time(big_total[2h:1s])")),
        (
            "subquery of a subquery",
            instant("avg_over_time(avg_over_time(vector(time())[1d:1s])[1d:1s])"),
        ),
        ("subqueries in a range", wide("max_over_time(sum(big_total)[1d:10s])")),
        (
            "subqueries, nested deep",
            instant(&repeat(12, "max_over_time(", "big_total", "[10m:10s])")),
        ),
        ("many to many", instant("big_total * on() big_total")),
        ("many to many in a range", dense("big_total * on(group) big_total")),
        ("a join that explodes", dense("big_total * on(group) group_left(le) big_total")),
        ("a join with itself", dense("big_total * on(n, le, instance, group) big_total")),
        (
            "a join of what is relabelled",
            dense(
                "label_replace(big_total, \"x\", \"$1\", \"n\", \"(.*)\") * on(n) group_left(x) big_total",
            ),
        ),
        ("set operators", dense("big_total and on(group) big_total unless on(n) big_total")),
        ("or of everything", dense(&vec!["big_total"; 100].join(" or "))),
        ("a long chain", instant(&vec!["big_total"; 1500].join(" + "))),
        ("a chain of different series", {
            let all: Vec<_> =
                (0..500).map(|i| format!("count(big_total{{n=~\".*{i}.*\"}})")).collect();
            instant(&all.join(" + "))
        }),
        ("count_values", dense("count_values(\"v\", big_total)")),
        ("count_values of what changes", dense("count_values(\"v\", big_total * time())")),
        ("count_values by all", dense("count_values by (n) (\"v\", big_total + time())")),
        (
            "label values that double",
            instant(&repeat(
                30,
                "label_replace(",
                "big_total",
                ", \"n\", \"$1$1\", \"n\", \"(.*)\")",
            )),
        ),
        (
            "label values that are joined",
            instant(&repeat(30, "label_join(", "big_total", ", \"n\", \"\", \"n\", \"n\", \"n\")")),
        ),
        (
            "a label with a long template",
            instant(&format!(
                "label_replace(big_total, \"x\", \"{}\", \"n\", \"(.*)\")",
                "$1".repeat(20_000)
            )),
        ),
        (
            "a cross product of labels",
            dense(
                "label_replace(big_total, \"le\", \"$1\", \"n\", \"(.*)\") or label_replace(big_total, \"group\", \"$1\", \"n\", \"(.*)\")",
            ),
        ),
        ("@ far ahead", instant("big_total @ 9223372036854775")),
        ("@ beyond", instant("rate(big_total[5m] @ 1e300)")),
        ("@ far behind", dense("rate(big_total[100y] @ -9223372036854775)")),
        ("offset far", instant("big_total offset 290y")),
        ("offset ahead", instant("sum_over_time(big_total[290y] offset -290y)")),
        ("offset and @", instant("sum_over_time(big_total[290y:1h] offset -290y @ 4e15)")),
        ("a long alternation", {
            let words: Vec<_> = (0..4000).map(|i| format!("w{i}")).collect();
            instant(&format!("big_total{{n=~\"{}\"}}", words.join("|")))
        }),
        (
            "a long class",
            instant(&format!("big_total{{instance=~\"{}\"}}", "[0-9.:]?".repeat(2500))),
        ),
        ("many stars", instant(&format!("big_total{{instance!~\"{}x\"}}", ".*1?".repeat(5000)))),
        ("repeats of repeats", instant("big_total{n=~\"((((a{1,100}){1,100}){1,100}){1,100})\"}")),
        ("nested stars", instant("big_total{instance=~\"((((.*)*)*)*)*x\"}")),
        (
            "a costly expression on each label",
            instant(&format!(
                "label_replace(big_total, \"x\", \"$1\", \"instance\", \"{}\")",
                "(.*)?".repeat(4000)
            )),
        ),
        ("deep parentheses", instant(&repeat(20_000, "(", "1", ")"))),
        ("deep calls", instant(&repeat(20_000, "abs(", "big_total", ")"))),
        ("many operators", instant(&vec!["1"; 100_000].join("+"))),
        ("quantiles of all", wide("quantile by (n) (0.5, big_total)")),
        ("histogram quantiles", wide("histogram_quantile(0.9, rate(big_total[1h]))")),
        ("sorted labels", instant(&format!("count by (n, instance, le, group) ({all})"))),
        ("names of all series", format!("series?match[]={}", escape(all))),
        ("values of a label", format!("label/n/values?match[]={}", escape("{n=~\".*1.*2.*\"}"))),
        (
            "explained",
            format!(
                "explain?time={}&query={}",
                end / 1000,
                escape("max_over_time(big_total[2h:1s])")
            ),
        ),
    ]
}

/// What people look at meanwhile.
fn dashboard(end: i64) -> Vec<String> {
    let range = |query: &str| {
        format!(
            "query_range?start={}&end={}&step=15&query={}",
            end / 1000 - 900,
            end / 1000,
            escape(query)
        )
    };
    vec![
        range("sum by (group) (rate(dash_total[5m]))"),
        range("histogram_quantile(0.9, sum by (le) (rate(dash_total[5m])))"),
        range("topk(5, rate(dash_total[1m]))"),
        format!("query?time={}&query={}", end / 1000, escape("count(dash_total)")),
        format!("label/group/values?match[]={}", escape("dash_total")),
    ]
}

#[test]
fn none_brings_the_server_down_or_keeps_dashboards_from_their_answers() {
    let number = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let series = number("FIRESTEEL_HOSTILE_SERIES", 3000);
    let at_a_time = number("FIRESTEEL_HOSTILE_AT_A_TIME", AT_A_TIME);
    let folder = tempfile::tempdir().unwrap();
    let limit = LIMIT.to_string();
    let group = Group::make("queries", LIMIT);
    let server = Server::start_in(
        folder.path(),
        &["--web.enable-remote-write-receiver", "--query.timeout=8s"],
        &[("GOMEMLIMIT", limit.as_str())],
    );
    let limited = group.as_ref().is_some_and(|g| g.add(server.pid()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let end = now / STEP * STEP;
    let start = end - (STEPS as i64 - 1) * STEP;
    send(&server, "dash_total", 0..200, start);
    for from in (0..series).step_by(1000) {
        send(&server, "big_total", from..(from + 1000).min(series), start);
    }
    let base = anonymous_memory(server.pid());
    let address = server.address;

    let (over, peak) = (AtomicBool::new(false), Mutex::new(base));
    let asked = AtomicUsize::new(0);
    let dashboards = Mutex::new((Duration::ZERO, Vec::new()));
    let slow = Mutex::new(Vec::new());
    let queries = hostile(start, end);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let memory = anonymous_memory(server.pid());
                let mut peak = peak.lock().unwrap();
                *peak = memory.max(*peak);
                drop(peak);
                thread::sleep(Duration::from_millis(20));
            }
        });
        scope.spawn(|| {
            // Ten a second, whether or not those before have their answers.
            let paths = dashboard(end);
            let began = Instant::now();
            thread::scope(|scope| {
                for i in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let path = format!("/api/v1/{}", paths[i % paths.len()]);
                    let (dashboards, asked) = (&dashboards, &asked);
                    scope.spawn(move || {
                        let began = Instant::now();
                        let answer = get(address, &path);
                        let took = began.elapsed();
                        asked.fetch_add(1, Ordering::Relaxed);
                        let mut dashboards = dashboards.lock().unwrap();
                        dashboards.0 = took.max(dashboards.0);
                        match answer {
                            Ok((200, body)) if !String::from_utf8_lossy(&body).contains("[]") => {}
                            Ok((status, body)) => {
                                let text = String::from_utf8_lossy(&body).into_owned();
                                let text = text.chars().take(300).collect::<String>();
                                dashboards.1.push(format!("{path}: {status} {text}"));
                            }
                            Err(error) => dashboards.1.push(format!("{path}: {error}")),
                        }
                    });
                    let due = Duration::from_millis(100 * (i as u64 + 1));
                    thread::sleep(due.saturating_sub(began.elapsed()));
                }
            });
        });
        let workers: Vec<_> = (0..at_a_time)
            .map(|_| {
                scope.spawn(|| {
                    while let Some((name, path)) = queries.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let (path, form) = path.split_once('?').unwrap();
                        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
                        let began = Instant::now();
                        let path = format!("/api/v1/{path}");
                        let answer = request(address, "POST", &path, &headers, form.as_bytes());
                        let took = began.elapsed();
                        let (text, ok) = match &answer {
                            Ok((status, body)) => {
                                let text = String::from_utf8_lossy(body).into_owned();
                                let good = matches!(status, 200 | 400 | 422 | 503);
                                let text = text.chars().take(250).collect::<String>();
                                (format!("{status} {} bytes {text}", body.len()), good)
                            }
                            Err(error) => (error.to_string(), false),
                        };
                        println!("{:6.2} s  {name}: {text}", took.as_secs_f64());
                        if took > PATIENCE || !ok {
                            slow.lock().unwrap().push(format!("{name}: {took:?}, {text}"));
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    let peak = *peak.lock().unwrap();
    let (slowest, failed) = &*dashboards.lock().unwrap();
    let asked = asked.load(Ordering::Relaxed);
    println!(
        "{} hostile queries over {series} series; {asked} dashboard queries, the slowest took \
         {slowest:?}; {} MiB of anonymous memory before, {} MiB at most; in a cgroup: {limited}",
        queries.len(),
        base >> 20,
        peak >> 20
    );
    let slow = slow.lock().unwrap();
    assert!(slow.is_empty(), "{slow:#?}");
    assert!(failed.is_empty(), "{} of {asked} failed: {:#?}", failed.len(), failed.first());
    assert!(peak < LIMIT, "{} MiB", peak >> 20);
    // The same process, and it still answers.
    assert!(get(address, "/-/ready").is_ok_and(|(status, _)| status == 200));
    assert!(server.stop().success());
}
