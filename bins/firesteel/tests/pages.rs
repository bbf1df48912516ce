//! The same pages, in every format and with every choice of histograms, scraped by us and by the
//! real Prometheus: the same series, values, histograms, metadata, exemplars and counts.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::{fs, io::Write as _, net::SocketAddr};

use firesteel_model::wire::{Writer, put_varint};
use serde_json::Value;
use support::{
    Process, Server, api_data, conformance, escape, found, free_address, get, metadata, now_ms,
    peer, target, wait_for,
};

const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4";

/// How histograms are scraped: the keys that both servers know.
const CHOICES: [(&str, &str); 4] = [
    ("plain", ""),
    ("both", "always_scrape_classic_histograms: true"),
    ("converted", "convert_classic_histograms_to_nhcb: true"),
    ("all", "convert_classic_histograms_to_nhcb: true, always_scrape_classic_histograms: true"),
];

fn label(w: &mut Writer<'_>, name: &str, value: &str) {
    w.message(1, |w| {
        w.bytes(1, name.as_bytes());
        w.bytes(2, value.as_bytes());
    });
}

fn time(w: &mut Writer<'_>, field: u32, ms: u64) {
    w.message(field, |w| {
        w.varint(1, ms / 1000);
        w.varint(2, ms % 1000 * 1_000_000);
    });
}

fn exemplar(w: &mut Writer<'_>, field: u32, id: &str, value: f64, ms: Option<u64>) {
    w.message(field, |w| {
        label(w, "trace_id", id);
        w.double(2, value);
        if let Some(ms) = ms {
            time(w, 3, ms);
        }
    });
}

fn family(page: &mut Vec<u8>, name: &str, kind: u64, metrics: &[&dyn Fn(&mut Writer<'_>)]) {
    let mut message = Vec::new();
    let mut w = Writer::new(&mut message);
    w.bytes(1, name.as_bytes());
    w.bytes(2, format!("The help of {name}.").as_bytes());
    w.varint(3, kind);
    for metric in metrics {
        w.message(4, |w| metric(w));
    }
    put_varint(page, message.len() as u64);
    page.extend_from_slice(&message);
}

fn classic(w: &mut Writer<'_>, now: u64, infinity: bool) {
    w.varint(1, 9);
    w.double(2, 23.5);
    let bounds = [(1, 0.25), (4, 1.0), (4, 2.5), (4, 5.0), (4, 7.5), (8, 1e6)];
    for (count, bound) in bounds {
        w.message(3, |w| {
            w.varint(1, count);
            w.double(2, bound);
            if bound == 1.0 {
                exemplar(w, 3, "classic", 0.7, Some(now - 1000));
            }
        });
    }
    if infinity {
        w.message(3, |w| {
            w.varint(1, 9);
            w.double(2, f64::INFINITY);
        });
    }
    time(w, 15, now - 60_000);
}

fn native(w: &mut Writer<'_>, now: u64) {
    w.sint64(5, 2);
    w.double(6, 1e-9);
    w.varint(7, 1);
    for (offset, length) in [(-3, 2), (4, 4)] {
        w.message(12, |w| {
            w.sint64(1, offset);
            w.varint(2, length);
        });
    }
    // 2, 1, 0, 3, 0, 1: empty buckets at the start and in the middle of a span.
    let deltas = [2_i64, -1, -1, 3, -3, 1];
    w.packed_varints(13, deltas.map(firesteel_model::wire::to_zigzag));
    w.message(9, |w| w.varint(2, 1));
    w.packed_varints(10, [firesteel_model::wire::to_zigzag(1)]);
    exemplar(w, 16, "native", 0.6, Some(now - 500));
    exemplar(w, 16, "timeless", 0.6, None);
}

/// A page with everything that protobuf has.
fn protobuf(now: u64) -> Vec<u8> {
    let mut page = Vec::new();
    family(
        &mut page,
        "requests_total",
        0,
        &[
            &|w| {
                label(w, "code", "200");
                w.message(3, |w| {
                    w.double(1, 17.0);
                    exemplar(w, 2, "counter", 1.0, Some(now - 700));
                    time(w, 3, now - 60_000);
                });
            },
            &|w| {
                label(w, "zone", "");
                label(w, "code", "500");
                w.message(3, |w| w.double(1, 2.0));
            },
        ],
    );
    family(
        &mut page,
        "temperature",
        1,
        &[&|w| {
            label(w, "instance", "of its own");
            w.message(2, |w| w.double(1, -3.25));
        }],
    );
    family(&mut page, "something", 3, &[&|w| w.message(5, |w| w.double(1, f64::INFINITY))]);
    family(
        &mut page,
        "latency",
        2,
        &[&|w| {
            w.message(4, |w| {
                w.varint(1, 3);
                w.double(2, 0.5);
                for (quantile, v) in [(0.5, 0.1), (0.99, 0.3), (1.0, 0.4)] {
                    w.message(3, |w| {
                        w.double(1, quantile);
                        w.double(2, v);
                    });
                }
            });
        }],
    );
    family(
        &mut page,
        "sizes",
        4,
        &[&|w| w.message(7, |w| classic(w, now, true)), &|w| {
            label(w, "without", "infinity");
            w.message(7, |w| classic(w, now, false));
        }],
    );
    family(
        &mut page,
        "durations",
        4,
        &[&|w| {
            w.message(7, |w| {
                classic(w, now, true);
                native(w, now);
            });
        }],
    );
    // A family of its own: of the exemplars of several native histograms in one, Prometheus takes
    // those of the first.
    family(
        &mut page,
        "waits",
        4,
        &[&|w| {
            label(w, "kind", "native only");
            w.message(7, |w| {
                w.varint(1, 9);
                w.double(2, 3.5);
                native(w, now);
            });
        }],
    );
    family(
        &mut page,
        "queue",
        5,
        &[&|w| {
            w.message(7, |w| {
                w.double(4, 5.5);
                w.double(2, 1.0);
                w.message(12, |w| w.varint(2, 3));
                w.packed_doubles(14, &[0.0, 2.5, 3.0]);
            });
        }],
    );
    family(&mut page, "idle", 4, &[&|w| w.message(7, |w| w.message(12, |_| {}))]);
    page
}

/// The pages: name, `Content-Type` and bytes.
fn pages() -> Vec<(String, &'static str, Vec<u8>)> {
    let now = now_ms();
    let mut all = vec![("protobuf".to_owned(), PROTOBUF, protobuf(now))];
    let folder = format!("{}/../../crates/exposition/testdata", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = ["node_exporter.prom", "everything.om"]
        .map(|name| format!("{folder}/{name}").into())
        .to_vec();
    if let Some(folder) = conformance("exposition") {
        files.extend(fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()));
    }
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut page = fs::read(&path).unwrap();
        let openmetrics = name.contains(".om");
        if openmetrics && !page.ends_with(b"# EOF\n") {
            page.extend_from_slice(b"# EOF\n");
        }
        all.push((name, if openmetrics { OPENMETRICS } else { TEXT }, page));
    }
    all
}

fn serve(content_type: &'static str, page: Vec<u8>) -> SocketAddr {
    target(move |_, stream| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            page.len()
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&page));
    })
}

fn exemplars(server: SocketAddr, job: &str) -> Vec<String> {
    let (to, query) = (now_ms() / 1000 + 60, escape(&format!("{{job=\"{job}\"}}")));
    let path = format!("query_exemplars?query={query}&start={}&end={to}", to - 3600);
    let mut all: Vec<_> = Vec::new();
    for series in api_data(server, &path).as_array().unwrap() {
        for exemplar in series["exemplars"].as_array().unwrap() {
            // One without a time has that of the scrape, which the two servers do not share.
            let at = exemplar["labels"]["trace_id"].is_string();
            let at = at.then(|| exemplar["timestamp"].to_string());
            let (labels, value) = (&exemplar["labels"], &exemplar["value"]);
            all.push(format!("{} {labels} {value} {at:?}", series["seriesLabels"]));
        }
    }
    all.sort();
    all.dedup();
    all
}

#[test]
fn every_page_is_what_prometheus_makes_of_it() {
    let Some(program) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let pages = pages();
    let (mut jobs, mut names) = (String::new(), Vec::new());
    for (page, content_type, bytes) in pages {
        let address = serve(content_type, bytes);
        for (choice, keys) in CHOICES {
            let job = format!("{page}/{choice}");
            jobs.push_str(&format!(
                "- {{job_name: '{job}', honor_timestamps: false, SCRAPE, {keys}{} static_configs: [{{targets: ['{address}']}}]}}\n",
                if keys.is_empty() { "" } else { "," }
            ));
            names.push(job);
        }
    }
    // What a flag of 3.5 did is a key of 3.8 and later.
    let write = |name: &str, native: &str| {
        let path = folder.path().join(name);
        let jobs = jobs.replace("SCRAPE,", native);
        let text = format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n{jobs}");
        fs::write(&path, text).unwrap();
        path
    };
    let theirs = free_address();
    let arguments = [
        format!("--config.file={}", write("theirs.yml", "").display()),
        format!("--storage.tsdb.path={}", folder.path().join("theirs").display()),
        format!("--web.listen-address={theirs}"),
        "--enable-feature=native-histograms,exemplar-storage".to_owned(),
    ];
    let _peer = Process::start(&program, &arguments, folder.path());
    wait_for("the real Prometheus", || (get(theirs, "/-/ready").ok()?.0 == 200).then_some(()));
    let config = write("ours.yml", "scrape_native_histograms: true,");
    let config = format!("--config.file={}", config.display());
    let server = Server::start(folder.path(), &[&config, "--enable-feature=exemplar-storage"]);

    let up = |server| found(server, "count(scrape_series_added)").into_values().next();
    for (server, what) in [(theirs, "Prometheus"), (server.address, "us")] {
        let all = Some(Value::String(names.len().to_string()));
        wait_for(&format!("every page scraped by {what}"), || (up(server) == all).then_some(()));
    }
    let (mut series, mut histograms, mut failures) = (0, 0, Vec::new());
    for job in &names {
        // Where 3.5 converts histograms it loses `_created` lines, and the exemplars of buckets that
        // it keeps; 3.14 loses neither.
        let converts = !job.ends_with("/plain") && !job.ends_with("/both");
        let lost = if converts { "|.+_created|scrape_samples_.+" } else { "" };
        let names = format!("scrape_series_added|scrape_duration_seconds{lost}");
        let selector = format!("{{job=\"{job}\",__name__!~\"{names}\"}}");
        let (expected, mine) = (found(theirs, &selector), found(server.address, &selector));
        for (labels, value) in &expected {
            histograms += usize::from(value.is_object());
            series += 1;
            if mine.get(labels) != Some(value) {
                let mine = mine.get(labels);
                failures.push(format!("{job}: {labels}: {mine:?} instead of {value}"));
            }
        }
        let more = mine.keys().filter(|labels| !expected.contains_key(*labels));
        failures.extend(more.map(|labels| format!("{job}: {labels} is too much")));
        for (what, ask) in [
            ("metadata", metadata as fn(SocketAddr, &str) -> Vec<String>),
            ("exemplars", exemplars),
        ] {
            let (expected, mut mine) = (ask(theirs, job), ask(server.address, job));
            if converts && what == "exemplars" {
                mine.retain(|e| expected.contains(e) || !e.contains("_bucket"));
            }
            if expected != mine {
                failures.push(format!("{job}: {what}: {mine:#?}\ninstead of {expected:#?}"));
            }
        }
    }
    println!("{} jobs, {series} series, {histograms} of them native histograms", names.len());
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.iter().take(12).cloned().collect::<Vec<_>>().join("\n")
    );
    assert!(histograms > 20);
}
