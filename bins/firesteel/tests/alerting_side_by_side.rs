//! 200 rules of the world, evaluated by the real Prometheus and by us at the same moments over the
//! same samples: the same recorded series, and the same alerts at each step.
//!
//! `FIRESTEEL_SIDE_BY_SIDE` says for how many seconds, 60 where it is not set.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use firesteel_model::{Labels, MatchOp, Matcher, storage::memory::MemoryStorage, wire::Writer};
use firesteel_promql::{Engine, QueryOptions, QueryValue};
use firesteel_rules::{LoadOptions, RuleSpec, load_text};
use serde_json::{Value, json};
use support::{Server, api_data, conformance, now_ms, peer, prometheus, request};

const STEP: i64 = 5000;
/// Rules in all, those that must give something, and alerts among them.
const RULES: usize = 200;
const GIVING: usize = 180;
const ALERTS: usize = 70;

/// The value of a series at a step: a counter, a gauge or a constant, by its labels alone.
fn value(labels: &Labels, step: i64) -> f64 {
    let hash = labels.prom_hash();
    match hash % 4 {
        0 | 1 => (step * (hash % 7 + 1) as i64) as f64,
        2 => (hash % 100) as f64 + (step % 10) as f64 / 4.0,
        _ => (hash % 3) as f64,
    }
}

/// A value that satisfies all matchers of a label, if one is easily found.
fn example(matchers: &[&Matcher]) -> Option<String> {
    let mut candidates: Vec<String> =
        vec!["a".into(), "x1".into(), String::new(), "5xx".into(), "500".into()];
    for m in matchers {
        candidates.push(m.value().to_owned());
        for part in m.value().split('|') {
            candidates.push(part.chars().filter(|c| !"()^$\\?".contains(*c)).collect());
            candidates.push(
                part.replace(".*", "a")
                    .replace(".+", "a")
                    .replace("..", "05")
                    .replace(['(', ')'], ""),
            );
        }
    }
    candidates.into_iter().find(|c| matchers.iter().all(|m| m.matches(c)))
}

/// Series that a selector finds; none where that is not easy.
fn series(matchers: &[Matcher]) -> Vec<Labels> {
    let mut by_name: BTreeMap<&str, Vec<&Matcher>> = BTreeMap::new();
    matchers.iter().for_each(|m| by_name.entry(m.name()).or_default().push(m));
    let mut labels = Labels::from_pairs([("job", "j"), ("instance", "host:9100")]).to_builder();
    for (name, matchers) in &by_name {
        let Some(value) = example(matchers) else { return Vec::new() };
        labels.set(name, &value);
    }
    let one = labels.build();
    let Some(name) = one.metric_name() else { return Vec::new() };
    if !name.ends_with("_bucket") || one.has("le") {
        return vec![one];
    }
    let bucket = |le: &str| one.to_builder().set("le", le).build();
    ["0.1", "1", "+Inf"].map(bucket).to_vec()
}

/// How many series a rule gives over a storage.
fn gives(engine: &Engine, storage: &MemoryStorage, rule: &RuleSpec, t: i64) -> usize {
    match engine.instant_expr(storage, &rule.expr, t, &QueryOptions::default()) {
        Ok(result) => match result.value {
            QueryValue::Vector(samples) => samples.len(),
            QueryValue::Scalar(_) => 1,
            _ => 0,
        },
        Err(_) => 0,
    }
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, all);
        } else {
            all.push(path);
        }
    }
}

/// All rules of the world that can be read, spread over their files.
fn world(folder: &Path) -> Vec<RuleSpec> {
    let mut paths = Vec::new();
    files(folder, &mut paths);
    let mut by_file: Vec<Vec<RuleSpec>> = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let groups = load_text("r", &text, &LoadOptions::default()).unwrap_or_default();
        by_file.push(groups.into_iter().flat_map(|g| g.rules).rev().collect());
    }
    let mut all = Vec::new();
    while by_file.iter().any(|rules| !rules.is_empty()) {
        all.extend(by_file.iter_mut().filter_map(Vec::pop));
    }
    all
}

#[derive(Default)]
struct Chosen {
    rules: Vec<RuleSpec>,
    data: BTreeSet<Labels>,
    recorded: BTreeSet<String>,
    giving: usize,
    alerts: usize,
}

/// Rules that give something over data that is made for them, and a few that do not.
fn choose(all: &[RuleSpec]) -> Chosen {
    let (engine, nothing) = (Engine::default(), MemoryStorage::new());
    let mut chosen = Chosen::default();
    let mut generated: BTreeSet<String> = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let (mut silent, end) = (Vec::new(), 60 * STEP);
    for rule in all {
        let is_alert = rule.kind == firesteel_config::RuleKind::Alerting;
        // What has the same name would be written twice, what gives something of nothing would
        // have begun at different times.
        if !seen.insert((is_alert, rule.name.clone()))
            || generated.contains(&rule.name)
            || gives(&engine, &nothing, rule, end) > 0
        {
            continue;
        }
        let selectors = rule.expr.selectors();
        let name = |s: &firesteel_promql::ast::VectorSelector| {
            s.matchers
                .iter()
                .find(|m| m.name() == "__name__" && m.op() == MatchOp::Equal)
                .map(|m| m.value().to_owned())
        };
        if selectors.iter().any(|s| {
            name(s).is_none_or(|n| chosen.recorded.contains(&n) || n.starts_with("ALERTS"))
        }) {
            continue;
        }
        let data: BTreeSet<Labels> = selectors.iter().flat_map(|s| series(&s.matchers)).collect();
        let storage = MemoryStorage::new();
        for labels in &data {
            let samples = (0..=60).map(|step| (step * STEP, value(labels, step)));
            storage.add_floats(labels, samples).unwrap();
        }
        let is_quick = rule.hold <= Duration::from_secs(120);
        if gives(&engine, &storage, rule, end) == 0 || (is_alert && !is_quick) {
            silent.push((rule, data));
            continue;
        }
        if chosen.giving == GIVING || (is_alert && chosen.alerts == ALERTS) {
            continue;
        }
        chosen.giving += 1;
        chosen.alerts += usize::from(is_alert);
        if !is_alert {
            chosen.recorded.insert(rule.name.clone());
        }
        generated.extend(data.iter().filter_map(|l| l.metric_name().map(str::to_owned)));
        chosen.data.extend(data);
        chosen.rules.push(rule.clone());
    }
    for (rule, data) in silent {
        let is_recorded = chosen.recorded.contains(&rule.name) || generated.contains(&rule.name);
        if chosen.rules.len() < RULES && !is_recorded {
            if rule.kind == firesteel_config::RuleKind::Recording {
                chosen.recorded.insert(rule.name.clone());
            }
            let free = |l: &Labels| !chosen.recorded.contains(l.metric_name().unwrap_or_default());
            let data: Vec<_> = data.into_iter().filter(free).collect();
            chosen.data.extend(data);
            chosen.rules.push(rule.clone());
        }
    }
    chosen
}

/// The rules as a file, 20 to a group. JSON is YAML.
fn rule_file(rules: &[RuleSpec]) -> String {
    let map = |pairs: &[(String, String)]| {
        Value::Object(pairs.iter().map(|(k, v)| (k.clone(), json!(v))).collect())
    };
    let rule = |rule: &RuleSpec| {
        let mut json = json!({ "expr": &*rule.query, "labels": map(&rule.labels) });
        if rule.kind == firesteel_config::RuleKind::Recording {
            json["record"] = json!(rule.name);
        } else {
            json["alert"] = json!(rule.name);
            json["for"] = json!(format!("{}s", rule.hold.as_secs()));
            json["keep_firing_for"] = json!(format!("{}s", rule.keep_firing_for.as_secs()));
            json["annotations"] = map(&rule.annotations);
        }
        json
    };
    let group = |(i, rules): (usize, &[RuleSpec])| {
        let rules: Vec<_> = rules.iter().map(rule).collect();
        json!({ "name": format!("group {i}"), "interval": "5s", "rules": rules })
    };
    let groups: Vec<_> = rules.chunks(20).enumerate().map(group).collect();
    json!({ "groups": groups }).to_string()
}

/// A remote write request with one sample of each series.
fn body(data: &BTreeSet<Labels>, step: i64, t: i64) -> Vec<u8> {
    let mut body = Vec::new();
    let mut out = Writer::new(&mut body);
    for labels in data {
        out.message(1, |series| {
            for (name, value) in labels {
                series.message(1, |label| {
                    label.bytes(1, name.as_bytes());
                    label.bytes(2, value.as_bytes());
                });
            }
            series.message(2, |sample| {
                sample.double(1, value(labels, step));
                sample.int64(2, t);
            });
        });
    }
    snap::raw::Encoder::new().compress_vec(&body).unwrap()
}

/// All samples of the series of a name between two times, by series.
fn samples(
    server: SocketAddr,
    name: &str,
    from: i64,
    to: i64,
) -> BTreeMap<String, Vec<(i64, f64)>> {
    let query = support::escape(&format!("{{__name__=\"{name}\"}}[{}ms]", to - from));
    let data = api_data(server, &format!("query?query={query}&time={}", to as f64 / 1000.0));
    let series = data["result"].as_array().unwrap().iter().map(|series| {
        let labels: BTreeMap<String, Value> =
            serde_json::from_value(series["metric"].clone()).unwrap();
        let values = series["values"].as_array().into_iter().flatten().map(|point| {
            let t = (point[0].as_f64().unwrap() * 1000.0).round() as i64;
            (t, point[1].as_str().unwrap().parse().unwrap())
        });
        (format!("{labels:?}"), values.collect())
    });
    series.collect()
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[test]
fn two_hundred_rules_give_the_same_as_with_the_real_prometheus() {
    let (Some(program), Some(folder)) = (peer("prometheus"), conformance("real/rules")) else {
        return;
    };
    let seconds = std::env::var("FIRESTEEL_SIDE_BY_SIDE").ok().and_then(|s| s.parse().ok());
    let seconds: u64 = seconds.unwrap_or(60);
    let chosen = choose(&world(&folder));
    println!(
        "{} rules, of which {} give something, {} alerts; {} series",
        chosen.rules.len(),
        chosen.giving,
        chosen.alerts,
        chosen.data.len()
    );
    assert!(chosen.rules.len() == RULES && chosen.giving >= 150 && chosen.alerts >= 30);
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("rules.yml"), rule_file(&chosen.rules)).unwrap();
    let config =
        "global: {evaluation_interval: 5s, rule_query_offset: 10s}\nrule_files: [rules.yml]\n";
    fs::write(here.path().join("prometheus.yml"), config).unwrap();
    let config = Path::new("prometheus.yml");
    let receiver = ["--web.enable-remote-write-receiver"];
    let data = here.path().join("real");
    let (_real, real) = prometheus(&program, here.path(), &data, config, &receiver);
    let server = Server::start(here.path(), &["--config.file=prometheus.yml", receiver[0]]);
    let both = [real, server.address];
    // Both have looked for alerts of an earlier run before there is anything to alert of.
    thread::sleep(Duration::from_secs(17));
    let began = Instant::now();
    let first = now_ms() as i64 / STEP * STEP;
    let mut step = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        let t = first + step * STEP;
        let body = body(&chosen.data, step, t);
        for address in both {
            let headers = [
                ("Content-Encoding", "snappy"),
                ("Content-Type", "application/x-protobuf"),
                ("X-Prometheus-Remote-Write-Version", "0.1.0"),
            ];
            let answer = request(address, "POST", "/api/v1/write", &headers, &body).unwrap();
            assert!(matches!(answer.0, 200 | 204), "{}", String::from_utf8_lossy(&answer.1));
        }
        step += 1;
        let next = u64::try_from(first + step * STEP).unwrap();
        thread::sleep(Duration::from_millis(next.saturating_sub(now_ms())));
    }
    // What was evaluated by now is there on both sides.
    let end = now_ms() as i64 - 25_000;
    thread::sleep(Duration::from_secs(6));
    let mut names: Vec<String> = chosen.recorded.iter().cloned().collect();
    names.extend(["ALERTS".to_owned(), "ALERTS_FOR_STATE".to_owned()]);
    let (mut compared, mut series_of, mut differences) = (0, 0, Vec::new());
    let mut firing = BTreeSet::new();
    for name in &names {
        let [theirs, ours] = both.map(|address| samples(address, name, first, end));
        series_of += theirs.len();
        let all: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
        for key in all {
            let (a, b) = (theirs.get(key), ours.get(key));
            if key.contains("\"firing\"") {
                firing.insert(key.clone());
            }
            let equal = a.zip(b).is_some_and(|(a, b)| {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
            });
            compared += a.map_or(0, Vec::len);
            if !equal {
                let short = |s: Option<&Vec<(i64, f64)>>| {
                    s.map(|s| (s.len(), s.first().copied(), s.last().copied()))
                };
                differences.push(format!(
                    "{key}\n  theirs {:?}\n  ours   {:?}",
                    short(a),
                    short(b)
                ));
            }
        }
    }
    println!("{compared} samples of {series_of} series compared, {} firing alerts", firing.len());
    assert!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences[..differences.len().min(20)].join("\n")
    );
    assert!(
        compared > 1000 && (seconds < 250 || firing.len() >= 30),
        "{compared} {}",
        firing.len()
    );
    assert!(server.stop().success());
}
