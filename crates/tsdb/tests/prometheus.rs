//! The real Prometheus on our directories, and we on its.

mod common;

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::{Samples, append, conformance, labels, read, read_all};
use firesteel_model::{
    Histogram, HistogramLayout, Labels, Matcher, STALE_NAN, Span, Value, stale_nan,
    storage::{AppendOptions, Appendable, SeriesKey},
};
use firesteel_tsdb::{Db, DbBuilder};

const DAY: i64 = 86_400_000;
/// Data of the tests begins here, at a multiple of two hours.
const START: i64 = 1_700_006_400_000;

/// A program of Prometheus; `None`, with a line printed, where it is missing.
fn peer(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("FIRESTEEL_PEERS").map_or_else(
        || {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_default())
                .join(".cache/firesteel-peers/usr/bin")
        },
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {name} not found");
    None
}

struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    fn start(binary: &Path, data: &Path) -> Self {
        let config = data.with_extension("yml");
        std::fs::write(&config, "scrape_configs: []\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(data.with_extension("log")).unwrap();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--storage.tsdb.retention.time=100y")
            .arg("--web.enable-remote-write-receiver")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut this = Self { child, port };
        let begin = Instant::now();
        loop {
            if this.get("/-/ready").is_some_and(|(status, _)| status == 200) {
                return this;
            }
            let log = || std::fs::read_to_string(data.with_extension("log")).unwrap_or_default();
            assert!(this.child.try_wait().unwrap().is_none(), "Prometheus has ended: {}", log());
            assert!(begin.elapsed() < Duration::from_secs(60), "not ready: {}", log());
            std::thread::yield_now();
        }
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// All samples of `days` days, staleness markers excepted; histograms as their sums.
    fn read_all(&self, days: i64) -> Samples {
        let end = (START + days * DAY) / 1000;
        let query = escape(&format!("{{__name__=~\".+\"}}[{}d]", 2 * days));
        let (status, body) = self.get(&format!("/api/v1/query?time={end}&query={query}")).unwrap();
        assert_eq!(status, 200, "{body}");
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        let mut all = Samples::new();
        for series in json["data"]["result"].as_array().unwrap() {
            let pairs = series["metric"].as_object().unwrap().iter();
            let labels = Labels::from_pairs(pairs.map(|(n, v)| (n, v.as_str().unwrap())));
            let samples = all.entry(labels).or_default();
            let time = |v: &serde_json::Value| (v.as_f64().unwrap() * 1000.0).round() as i64;
            for point in series["values"].as_array().into_iter().flatten() {
                let value: f64 = point[1].as_str().unwrap().parse().unwrap();
                samples.insert(time(&point[0]), value.to_bits());
            }
            for point in series["histograms"].as_array().into_iter().flatten() {
                let sum: f64 = point[1]["sum"].as_str().unwrap().parse().unwrap();
                samples.insert(time(&point[0]), sum.to_bits());
            }
        }
        all
    }

    /// Ends it as an operator does.
    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap();
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        let _ = write!(out, "%{b:02x}");
        out
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "lock" {
            // Not `fs::copy`: the originals may be read-only.
            std::fs::write(&target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

fn without_stale(mut all: Samples) -> Samples {
    for samples in all.values_mut() {
        samples.retain(|_, v| *v != STALE_NAN);
    }
    all.retain(|_, samples| !samples.is_empty());
    all
}

/// What Prometheus can see of our directory: there are no histograms in our blocks yet, we keep
/// them in head and log, and Prometheus leaves out what is older than the newest block.
fn for_prometheus(all: &Samples, db: &Db) -> Samples {
    let head = db.blocks().iter().map(|b| b.max_time).max().unwrap_or(i64::MIN);
    let mut all = without_stale(all.clone());
    for (labels, samples) in &mut all {
        if labels.get("__name__") == Some("histogram") {
            samples.retain(|&t, _| t >= head);
        }
    }
    all
}

fn builder(dir: &Path) -> DbBuilder {
    Db::builder(dir).retention(None).wal_segment_size(64 * 1024)
}

fn scrape(db: &Db, series: std::ops::Range<usize>, t: i64) {
    let mut a = db.appender();
    for i in series {
        let v = if t % 7 == 0 { stale_nan() } else { (t % 1000) as f64 / 8.0 + i as f64 };
        append(&mut *a, &labels(i), t, v).unwrap();
    }
    let h = Histogram {
        layout: HistogramLayout {
            schema: 0,
            positive_spans: vec![Span { offset: 0, length: 1 }],
            ..HistogramLayout::default()
        },
        count: t as u64,
        sum: t as f64,
        positive_deltas: vec![t],
        ..Histogram::default()
    };
    let labels = Labels::from_pairs([("__name__", "histogram")]);
    let none = AppendOptions::default();
    a.append(SeriesKey::Labels(&labels), t, Value::Histogram(&h), &none).unwrap();
    a.commit().unwrap();
}

#[test]
fn prometheus_reads_what_we_wrote_and_we_what_it_leaves() {
    let Some(binary) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ours");
    let db = builder(&data).open().unwrap();
    for n in 0..900_i64 {
        // Every other hour another set of series.
        let shift = (n / 240 * 10) as usize;
        scrape(&db, shift..shift + 30, START + n * 15_000);
        if n % 100 == 0 {
            db.tick(START).unwrap();
        }
    }
    db.tick(START).unwrap();
    assert!(!db.blocks().is_empty());
    let all = read_all(&db);
    assert_eq!(all.len(), 61);
    // As after kill -9.
    let killed = folder.path().join("killed");
    copy(&data, &killed);
    let expected = for_prometheus(&all, &db);
    db.close().unwrap();
    drop(db);
    for dir in [&data, &killed] {
        let copied = dir.with_extension("copy");
        copy(dir, &copied);
        let prometheus = Prometheus::start(&binary, &copied);
        assert_eq!(prometheus.read_all(1), expected);
        if dir == &data {
            prometheus.stop();
        } else {
            prometheus.kill();
        }
        let log = std::fs::read_to_string(copied.with_extension("log")).unwrap();
        for word in ["corrupt", "Unknown series references", "level=ERROR"] {
            assert!(!log.contains(word), "{word}: {log}");
        }
        // Ours again, and more; then Prometheus again.
        let db = builder(&copied).open().unwrap();
        assert!(db.open_report().is_clean(), "{}", db.open_report());
        assert_eq!(read_all(&db), all);
        for n in 900..1000 {
            scrape(&db, 25..50, START + n * 15_000);
        }
        db.tick(START).unwrap();
        let more = for_prometheus(&read_all(&db), &db);
        drop(db);
        let prometheus = Prometheus::start(&binary, &copied);
        assert_eq!(prometheus.read_all(1), more);
    }
}

#[test]
fn what_prometheus_wrote_reads_as_it_reads_it() {
    let Some(source) = conformance("tsdb/db_xor") else { return };
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours");
    copy(&source, &ours);
    let db = builder(&ours).open().unwrap();
    let report = db.open_report();
    println!("{report}");
    assert_eq!((report.blocks, report.segments), (1, 3));
    // 601 records of floats and 600 of histograms, of which a block holds 480 scrapes; the
    // out-of-order log has two records.
    assert!(
        report.damage.is_empty() && report.quarantined.is_empty() && report.unclosed_records == 0
    );
    // Histogram chunks of blocks cannot be read yet.
    let floats = [Matcher::not_equal("i", "19")];
    let all = without_stale(read(&db, i64::MIN, i64::MAX, &floats));
    assert_eq!(all.len(), 19);
    drop(db);
    let Some(binary) = peer("prometheus") else { return };
    let theirs = folder.path().join("theirs");
    copy(&source, &theirs);
    // Its out-of-order samples are named in our report, and not compared. All others of
    // `chunks_head` are in the log, too.
    std::fs::remove_dir_all(theirs.join("wbl")).unwrap();
    std::fs::remove_dir_all(theirs.join("chunks_head")).unwrap();
    let prometheus = Prometheus::start(&binary, &theirs);
    let mut expected = prometheus.read_all(1);
    expected.retain(|l, _| l.get("i") != Some("19"));
    assert_eq!(all.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (labels, samples) in &all {
        assert_eq!(samples.len(), expected[labels].len(), "{labels}");
        assert_eq!(samples, &expected[labels], "{labels}");
    }
}
