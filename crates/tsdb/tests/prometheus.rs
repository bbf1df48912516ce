//! The real Prometheus on our directories, and we on its.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code outside of test functions")]

mod common;

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use common::{Samples, append, assert_same, conformance, copy, digest, labels, peer, read_all};
use firesteel_chunk::varint;
use firesteel_model::{
    CounterResetHint, Histogram, HistogramLayout, Labels, STALE_NAN, Span, Value,
    clock::{Clock, ManualClock},
    histogram::CUSTOM_BUCKETS_SCHEMA,
    stale_nan,
    storage::{AppendOptions, Appendable, Appender, SeriesKey},
};
use firesteel_tsdb::{Compression, Db, DbBuilder, TsdbError};

const DAY: i64 = 86_400_000;
/// Data of the tests begins here, at a multiple of two hours.
const START: i64 = 1_700_006_400_000;

struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    fn start(binary: &Path, data: &Path) -> Self {
        Self::start_with(binary, data, &[], |_| "scrape_configs: []\n".to_owned())
    }

    /// Starts it with flags and with the configuration for its port.
    fn start_with(
        binary: &Path,
        data: &Path,
        flags: &[&str],
        config: impl FnOnce(u16) -> String,
    ) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = config(port);
        let config = data.with_extension("yml");
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(data.with_extension("log")).unwrap();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--storage.tsdb.retention.time=100y")
            .arg("--web.enable-remote-write-receiver")
            .args(flags)
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

    /// Writes a float for each of `series` series.
    fn write(&self, series: usize, t: i64, v: f64) {
        let field = |out: &mut Vec<u8>, number: u8, bytes: &[u8]| {
            out.push(number << 3 | 2);
            varint::put_uvarint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        };
        let mut request = Vec::new();
        for i in 0..series {
            let mut one = Vec::new();
            for (name, value) in [("__name__", "written"), ("i", &i.to_string())] {
                let mut label = Vec::new();
                field(&mut label, 1, name.as_bytes());
                field(&mut label, 2, value.as_bytes());
                field(&mut one, 1, &label);
            }
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&v.to_bits().to_le_bytes());
            sample.push(2 << 3);
            varint::put_uvarint(&mut sample, t as u64);
            field(&mut one, 2, &sample);
            field(&mut request, 1, &one);
        }
        let body = snap::raw::Encoder::new().compress_vec(&request).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "POST /api/v1/write HTTP/1.0\r\nHost: x\r\nContent-Encoding: snappy\r\n\
             Content-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.split(' ').nth(1) == Some("204"), "{answer}");
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
                let number = |v: &serde_json::Value| v.as_str().unwrap().parse::<f64>().unwrap();
                let (count, sum) = (number(&point[1]["count"]), number(&point[1]["sum"]));
                let buckets = point[1]["buckets"].as_array().into_iter().flatten();
                let value = digest(count, sum, buckets.map(|b| number(&b[3])));
                samples.insert(time(&point[0]), value);
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

/// The files of head chunks, in order.
fn chunk_files(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join("chunks_head")).unwrap();
    let mut files: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn without_stale(mut all: Samples) -> Samples {
    for samples in all.values_mut() {
        samples.retain(|_, v| *v != STALE_NAN);
    }
    all.retain(|_, samples| !samples.is_empty());
    all
}

fn builder(dir: &Path) -> DbBuilder {
    Db::builder(dir).retention(None).wal_segment_size(64 * 1024)
}

/// Opens a database that was closed a moment ago. The lock of one stays as long as a process that
/// another test is starting has not become Prometheus yet.
fn open(builder: DbBuilder) -> Db {
    let begin = Instant::now();
    loop {
        match builder.clone().open() {
            Err(TsdbError::Locked { .. }) if begin.elapsed() < Duration::from_secs(10) => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

fn scrape(db: &Db, series: std::ops::Range<usize>, t: i64) {
    let mut a = db.appender();
    for i in series {
        let v = if t % 7 == 0 { stale_nan() } else { (t % 1000) as f64 / 8.0 + i as f64 };
        append(&mut *a, &labels(i), t, v).unwrap();
    }
    histograms(&mut *a, t);
    a.commit().unwrap();
}

/// Histograms whose layouts change, counters that are reset, gauges, custom buckets, both kinds.
fn histograms(a: &mut dyn Appender, t: i64) {
    let none = AppendOptions::default();
    let n = (t - START) / 15_000;
    let wide = u32::from(n % 70 > 30);
    let count = (n % 200 + 1) as u64;
    let mut h = Histogram {
        layout: HistogramLayout {
            schema: 0,
            positive_spans: vec![Span { offset: 0, length: 1 + wide }],
            negative_spans: vec![Span { offset: -2, length: 1 }],
            ..HistogramLayout::default()
        },
        count: count * u64::from(2 + wide),
        sum: t as f64,
        positive_deltas: vec![count as i64; 1],
        negative_deltas: vec![count as i64],
        ..Histogram::default()
    };
    h.positive_deltas.resize(1 + wide as usize, 0);
    let mut put = |name: &str, value: Value<'_>| {
        let labels = Labels::from_pairs([("__name__", name)]);
        a.append(SeriesKey::Labels(&labels), t, value, &none).unwrap();
    };
    put("histogram", Value::Histogram(&h));
    let mut float = h.to_float();
    float.zero_count = 0.5;
    put("float_histogram", Value::FloatHistogram(&float));
    // Not before the end of the first block: Prometheus 3.5 shows nothing of a series in its log that
    // has floats from before its newest block and histograms from after it.
    if n % 90 == 80 && n > 480 {
        put("mixed", Value::Float(n as f64));
    } else if n % 90 == 85 {
        put("mixed", Value::Float(stale_nan()));
    } else if n % 90 < 40 {
        put("mixed", Value::Histogram(&h));
    } else {
        put("mixed", Value::FloatHistogram(&float));
    }
    h.counter_reset_hint = CounterResetHint::Gauge;
    put("gauge", Value::Histogram(&h));
    h.layout = HistogramLayout {
        schema: CUSTOM_BUCKETS_SCHEMA,
        custom_values: vec![0.5, 7.25],
        positive_spans: vec![Span { offset: 0, length: 2 }],
        ..HistogramLayout::default()
    };
    h.counter_reset_hint = CounterResetHint::Unknown;
    h.count = count * 3;
    h.positive_deltas = vec![count as i64, count as i64];
    h.negative_deltas.clear();
    put("custom", Value::Histogram(&h));
}

#[test]
fn prometheus_reads_what_we_wrote_and_we_what_it_leaves() {
    let Some(binary) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ours");
    let clock = Arc::new(ManualClock::new(START));
    let db = open(builder(&data).clock(Arc::clone(&clock) as Arc<dyn Clock>));
    for n in 0..900_i64 {
        // Every other hour another set of series.
        let shift = (n / 240 * 10) as usize;
        scrape(&db, shift..shift + 30, START + n * 15_000);
        if n % 100 == 0 {
            clock.advance(Duration::from_secs(1500));
            db.tick(START).unwrap();
        }
    }
    db.tick(START).unwrap();
    assert!(!db.blocks().is_empty());
    // Chunks of every kind.
    let bytes: u64 = chunk_files(&data).iter().map(|f| f.metadata().unwrap().len()).sum();
    assert!(bytes > 10_000, "{bytes}");
    let all = read_all(&db);
    assert_eq!(all.len(), 65);
    // As after kill -9.
    let killed = folder.path().join("killed");
    copy(&data, &killed);
    let expected = without_stale(all.clone());
    db.close().unwrap();
    drop(db);
    // As after a power failure that tore the last chunks.
    let torn = folder.path().join("torn");
    copy(&killed, &torn);
    let last = chunk_files(&torn).pop().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&last).unwrap();
    file.set_len(file.metadata().unwrap().len() - 100).unwrap();
    for dir in [&data, &killed, &torn] {
        let copied = dir.with_extension("copy");
        copy(dir, &copied);
        let prometheus = Prometheus::start(&binary, &copied);
        assert_same(&prometheus.read_all(1), &expected);
        if dir == &data {
            prometheus.stop();
        } else {
            prometheus.kill();
        }
        let log = std::fs::read_to_string(copied.with_extension("log")).unwrap();
        for word in ["corrupt", "Unknown series references", "level=ERROR"] {
            assert!(!log.contains(word) || dir == &torn, "{word}: {log}");
        }
        if dir == &torn {
            // Prometheus has removed the file; we cut it.
            let ours = dir.with_extension("cut");
            copy(dir, &ours);
            let db = open(builder(&ours));
            assert_eq!(db.open_report().not_read.len(), 1, "{}", db.open_report());
            assert_same(&read_all(&db), &all);
            db.close().unwrap();
            let prometheus = Prometheus::start(&binary, &ours);
            assert_same(&prometheus.read_all(1), &expected);
            let log = std::fs::read_to_string(ours.with_extension("log")).unwrap();
            assert!(!log.contains("corrupt") && !log.contains("level=ERROR"), "{log}");
        }
        // Ours again, and more; then Prometheus again. It has written, so our snapshot is not used.
        let db = open(builder(&copied));
        assert!(db.open_report().is_clean(), "{}", db.open_report());
        assert_eq!(db.open_report().snapshot.is_some(), dir == &data);
        assert!(db.open_report().snapshot.iter().all(|s| s.unused.is_some()));
        assert_same(&read_all(&db), &all);
        for n in 900..1000 {
            scrape(&db, 25..50, START + n * 15_000);
        }
        db.tick(START).unwrap();
        let more = without_stale(read_all(&db));
        drop(db);
        let prometheus = Prometheus::start(&binary, &copied);
        assert_same(&prometheus.read_all(1), &more);
    }
}

/// Several kinds of damage in the log: what a start of ours leaves, Prometheus reads whole and without
/// a complaint.
#[test]
fn prometheus_reads_a_log_that_we_have_repaired() {
    let Some(binary) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("original");
    let db = open(builder(&original));
    for i in 0..300 {
        scrape(&db, 0..40, START + i * 15_000);
    }
    drop(db);
    let path = |dir: &Path, n: usize| dir.join(format!("wal/{n:08}"));
    let segments = (0..).take_while(|&n| path(&original, n).exists()).count();
    assert!(segments >= 3, "{segments} segments");
    type Damage = fn(&mut Vec<u8>);
    let kinds: [(&str, Damage); 6] = [
        ("a flipped byte", |b| b[40_000] ^= 0x10),
        ("zeros", |b| b[10_000..14_000].fill(0)),
        ("noise", |b| b[20_000..40_000].iter_mut().enumerate().for_each(|(i, x)| *x ^= i as u8)),
        ("a wrong type", |b| b[0] = 7),
        ("cut off", |b| b.truncate(45_001)),
        ("a page of another place", |b| b.copy_within(0..32_768, 32_768)),
    ];
    for (kind, damage) in kinds {
        for segment in [0, segments - 2] {
            let what = format!("{kind} in segment {segment}");
            let dir = folder.path().join(format!("{kind} {segment}").replace(' ', "-"));
            copy(&original, &dir);
            let mut bytes = std::fs::read(path(&dir, segment)).unwrap();
            bytes.resize(bytes.len().max(66_000), 0);
            damage(&mut bytes);
            std::fs::write(path(&dir, segment), bytes).unwrap();
            let db = open(builder(&dir));
            assert!(!db.open_report().is_clean(), "{what}");
            // Blocks are cut from what is left, and the log goes on.
            let report = db.open_report().to_string();
            scrape(&db, 0..40, START + 300 * 15_000);
            let ours = read_all(&db);
            drop(db);
            let prometheus = Prometheus::start(&binary, &dir);
            let theirs = prometheus.read_all(1);
            prometheus.kill();
            assert_same(&theirs, &without_stale(ours));
            let log = std::fs::read_to_string(dir.with_extension("log")).unwrap();
            assert!(!log.to_lowercase().contains("corrupt"), "{what}; {report}; {log}");
            assert!(!log.contains("unknown series"), "{what}; {report}; {log}");
        }
    }
}

/// Bytes with which a zstd frame begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How many zstd frames begin in the log.
fn zstd_records(data: &Path) -> usize {
    let segments = std::fs::read_dir(data.join("wal")).unwrap().map(|e| e.unwrap().path());
    let bytes = segments.filter(|p| p.is_file()).map(|p| std::fs::read(p).unwrap());
    bytes.map(|b| b.windows(4).filter(|w| **w == ZSTD_MAGIC).count()).sum()
}

#[test]
fn logs_compressed_with_zstd_are_read_both_ways() {
    let Some(binary) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let zstd = || builder(&data).wal_compression(Compression::Zstd);
    let db = open(zstd());
    for n in 0..200_i64 {
        scrape(&db, 0..30, START + n * 15_000);
    }
    let expected = without_stale(read_all(&db));
    drop(db);
    let ours = zstd_records(&data);
    assert!(ours > 200, "{ours}");
    let flag = "--storage.tsdb.wal-compression-type=zstd";
    let prometheus =
        Prometheus::start_with(&binary, &data, &[flag], |_| "scrape_configs: []\n".to_owned());
    assert_same(&prometheus.read_all(1), &expected);
    for n in 200..210_i64 {
        prometheus.write(100, START + n * 15_000, n as f64);
    }
    let more = prometheus.read_all(1);
    prometheus.stop();
    let theirs = zstd_records(&data);
    assert!(theirs >= ours + 10, "{theirs}");
    let log = std::fs::read_to_string(data.with_extension("log")).unwrap();
    assert!(!log.contains("level=ERROR"), "{log}");
    let db = open(zstd());
    assert!(db.open_report().is_clean(), "{}", db.open_report());
    assert_same(&without_stale(read_all(&db)), &more);
}

#[test]
fn a_head_snapshot_hides_nothing_that_prometheus_adds() {
    let Some(binary) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // It appends what it scrapes now.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    let db = open(builder(&data));
    for n in 0..100 {
        scrape(&db, 0..30, now - (101 - n) * 5000);
    }
    let all = read_all(&db);
    db.close().unwrap();
    drop(db);
    let db = open(builder(&data));
    assert!(db.open_report().snapshot.as_ref().is_some_and(|s| s.unused.is_none()));
    assert_same(&read_all(&db), &all);
    drop(db);
    let prometheus = Prometheus::start_with(&binary, &data, &[], |port| {
        format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: self\n  \
             static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
        )
    });
    let query = format!("/api/v1/query?query={}", escape("count_over_time(up[1m]) >= 3"));
    let begin = Instant::now();
    while !prometheus.get(&query).is_some_and(|(_, body)| body.contains("\"job\":\"self\"")) {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
    prometheus.stop();
    let db = open(builder(&data));
    assert!(db.open_report().is_clean(), "{}", db.open_report());
    assert!(db.open_report().snapshot.as_ref().is_some_and(|s| s.unused.is_some()));
    let found = read_all(&db);
    let up = found.iter().find(|(labels, _)| labels.get("__name__") == Some("up")).unwrap();
    assert!(up.1.len() >= 3, "{up:?}");
    let ours = found.into_iter().filter(|(labels, _)| all.contains_key(labels));
    assert_same(&ours.collect(), &all);
}

#[test]
fn what_prometheus_wrote_reads_as_it_reads_it() {
    let Some(source) = conformance("tsdb/db_xor") else { return };
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours");
    copy(&source, &ours);
    let db = open(builder(&ours));
    let report = db.open_report();
    println!("{report}");
    assert_eq!((report.blocks, report.segments), (1, 3));
    // 601 records of floats and 600 of histograms, of which a block holds 480 scrapes; the
    // out-of-order log has two records.
    assert!(
        report.damage.is_empty() && report.quarantined.is_empty() && report.unclosed_records == 0
    );
    let all = without_stale(read_all(&db));
    assert_eq!(all.len(), 20);
    assert_eq!((report.late_samples, report.is_clean()), (40, true));
    let Some(binary) = peer("prometheus") else { return };
    let theirs = folder.path().join("theirs");
    copy(&source, &theirs);
    let prometheus = Prometheus::start(&binary, &theirs);
    let expected = prometheus.read_all(1);
    assert_same(&all, &expected);
    drop(prometheus);
    // In blocks they are the same, for us and for Prometheus.
    db.flush_full_ranges(START).unwrap();
    assert_same(&without_stale(read_all(&db)), &expected);
    db.close().unwrap();
    drop(db);
    let db = open(builder(&ours));
    assert_eq!((db.open_report().late_samples, db.open_report().is_clean()), (0, true));
    assert_same(&without_stale(read_all(&db)), &expected);
    drop(db);
    let prometheus = Prometheus::start(&binary, &ours);
    assert_same(&prometheus.read_all(1), &expected);
}

/// Late samples that we took are there for Prometheus, after a kill and from blocks; and it goes on
/// with them.
#[test]
fn prometheus_reads_late_samples_of_ours() {
    let Some(binary) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ours");
    let db = open(builder(&data).out_of_order_window(Duration::from_secs(6 * 3600)));
    let step = 15_000;
    for n in 0..900_i64 {
        let mut a = db.appender();
        let none = AppendOptions::default();
        for i in 0..20 {
            append(&mut *a, &labels(i), START + n * step, (n + i as i64) as f64).unwrap();
        }
        // Between those: soon after, and hours later; floats and histograms.
        for (i, age) in [(3, 2), (4, 40), (5, 700), (60, 300)] {
            let t = START + (n - age) * step + 7;
            if n > age {
                append(&mut *a, &labels(i), t, t as f64).unwrap();
            }
        }
        if n > 400 {
            let t = START + (n - 400) * step + 9;
            let count = (n % 50) as u64;
            let h = Histogram { zero_count: count, count, sum: t as f64, ..Histogram::default() };
            let (int, float) = ([("__name__", "late_int")], [("__name__", "late_float")]);
            let (int, float) = (Labels::from_pairs(int), Labels::from_pairs(float));
            a.append(SeriesKey::Labels(&int), t, Value::Histogram(&h), &none).unwrap();
            let h = h.to_float();
            a.append(SeriesKey::Labels(&float), t, Value::FloatHistogram(&h), &none).unwrap();
        }
        assert_eq!(a.commit().unwrap().rejected, 0);
        if n % 100 == 0 {
            db.tick(START).unwrap();
        }
    }
    assert!(db.blocks().iter().any(|b| !b.compaction.hints.is_empty()));
    let all = read_all(&db);
    let late: usize = all.values().flat_map(|s| s.keys()).filter(|t| *t % 10 != 0).count();
    assert_eq!((all.len(), late), (23, 897 + 859 + 199 + 599 + 2 * 499));
    let killed = folder.path().join("killed");
    copy(&data, &killed);
    db.flush_full_ranges(START).unwrap();
    assert_same(&read_all(&db), &all);
    db.close().unwrap();
    drop(db);
    for dir in [&killed, &data] {
        let prometheus = Prometheus::start(&binary, dir);
        assert_same(&prometheus.read_all(1), &all);
        prometheus.kill();
        let log = std::fs::read_to_string(dir.with_extension("log")).unwrap();
        for word in ["corrupt", "Unknown series references", "level=ERROR"] {
            assert!(!log.contains(word), "{word}: {log}");
        }
        // What it has made of our log is ours again.
        let db = open(builder(dir));
        assert!(db.open_report().is_clean(), "{}", db.open_report());
        assert_same(&read_all(&db), &all);
        db.flush_full_ranges(START).unwrap();
        assert_same(&read_all(&db), &all);
        db.close().unwrap();
        drop(db);
        let prometheus = Prometheus::start(&binary, dir);
        assert_same(&prometheus.read_all(1), &all);
    }
}

/// The same samples in the newer encodings (XOR2, histograms with start timestamps), in blocks, head
/// chunks, log and out-of-order log.
#[test]
fn newer_encodings_read_the_same() {
    let open = |name: &str| {
        let source = conformance(name)?;
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("data");
        copy(&source, &dir);
        let db = open(builder(&dir));
        assert!(db.open_report().is_clean(), "{}", db.open_report());
        assert_eq!(db.open_report().late_samples, 40);
        let all = read_all(&db);
        db.flush_full_ranges(START).unwrap();
        assert_same(&read_all(&db), &all);
        Some((all, folder))
    };
    let (Some(old), Some(new)) = (open("tsdb/db_xor"), open("tsdb/db_xor2st")) else { return };
    assert_same(&new.0, &old.0);
}
