//! A day of samples for queries: counters, gauges, classic histograms and info series of some
//! targets, as functions of numbers, so that every server has the same.

use std::{io::Result, net::SocketAddr, path::Path, time::Duration};

use firesteel_benches::mix;
use firesteel_model::{
    Labels, Value,
    storage::{AppendOptions, Appendable, SeriesKey},
};
use firesteel_tsdb::Db;

use crate::write::{STEP, send};

/// Milliseconds of a block.
const BLOCK: i64 = 2 * 3600 * 1000;
/// How much of the newest is still in the head.
const IN_HEAD: i64 = 90 * 60 * 1000;
/// Upper bounds of the buckets.
const BOUNDS: [&str; 11] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf"];
const HANDLERS: usize = 12;

/// How the values of a series move.
#[derive(Clone, Copy)]
enum Kind {
    /// So many a step on average; begins anew after so many steps.
    Counter(u64, usize),
    Gauge,
    Constant,
}

struct Series {
    labels: Labels,
    kind: Kind,
}

/// Series and their times.
pub(crate) struct Dataset {
    series: Vec<Series>,
    pub(crate) samples: usize,
    /// Time of the first sample, milliseconds.
    start: i64,
}

impl Dataset {
    /// `targets` with 500 series each, over so many hours that end not long before `now`.
    pub(crate) fn of_targets(targets: usize, hours: usize, now: i64) -> Self {
        let series = (0..targets).flat_map(target).collect();
        Self::new(series, hours, now)
    }

    /// One metric, `requests_total`, with 100 series for each of 300 pods.
    pub(crate) fn of_pods(series: usize, hours: usize, now: i64) -> Self {
        let one = |i: usize| {
            let labels = Labels::from_pairs([
                ("__name__", "requests_total"),
                ("job", "api"),
                ("path", &format!("/v1/resource/{}", i / 300)),
                ("pod", &format!("api-5d4f8c7b9-{:05}", i % 300)),
            ]);
            Series { labels, kind: Kind::Counter(25, 4001 + i % 977) }
        };
        Self::new((0..series).map(one).collect(), hours, now)
    }

    fn new(series: Vec<Series>, hours: usize, now: i64) -> Self {
        let end = (now - IN_HEAD).div_euclid(BLOCK) * BLOCK + IN_HEAD;
        let samples = hours * 3_600_000 / STEP as usize;
        Self { series, samples, start: end - (samples as i64 - 1) * STEP }
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Time of the last sample, milliseconds.
    pub(crate) const fn end(&self) -> i64 {
        self.start + (self.samples as i64 - 1) * STEP
    }

    fn value(&self, i: usize, n: usize) -> f64 {
        let noise = mix(i as u64, n as u64);
        match self.series[i].kind {
            Kind::Counter(rate, resets) => {
                let since = ((n + 131 * i) % resets) as u64;
                (since * rate + noise % rate.max(1)) as f64
            }
            Kind::Gauge => (noise % 100_000) as f64 / 100.0,
            Kind::Constant => 1.0,
        }
    }

    /// Writes everything with our own storage: blocks, compacted as they would be by now, and a
    /// head with its log. Prometheus opens the directory too.
    pub(crate) fn write(&self, dir: &Path) -> std::result::Result<(), String> {
        let look = Duration::from_secs(1);
        let db = Db::builder(dir).block_reload_interval(look).open().map_err(|e| e.to_string())?;
        let mut refs = vec![None; self.series.len()];
        for n in 0..self.samples {
            let t = self.start + n as i64 * STEP;
            let mut appender = db.appender();
            for (i, series) in self.series.iter().enumerate() {
                let key = refs[i].map_or(SeriesKey::Labels(&series.labels), SeriesKey::Ref);
                let value = Value::Float(self.value(i, n));
                let taken = appender.append(key, t, value, &AppendOptions::default());
                refs[i] = Some(taken.map_err(|e| e.to_string())?);
            }
            appender.commit().map_err(|e| e.to_string())?;
            if n % 60 == 0 {
                db.tick(t).map_err(|e| e.to_string())?;
            }
        }
        // As compacted as these blocks can be, so that no server is busy with that later.
        loop {
            std::thread::sleep(look);
            let done = db.tick(self.end()).map_err(|e| e.to_string())?;
            if done.blocks_made.is_empty() && done.blocks_deleted.is_empty() {
                break;
            }
        }
        db.close().map_err(|e| e.to_string())
    }

    /// Sends everything by remote write.
    pub(crate) fn send(&self, receiver: SocketAddr, path: &str) -> Result<()> {
        send(self.series.len(), self.samples, receiver, path, |out, i, samples| {
            for label in self.series[i].labels.iter() {
                out.message(1, |out| {
                    out.bytes(1, label.0.as_bytes());
                    out.bytes(2, label.1.as_bytes());
                });
            }
            for n in samples {
                out.message(2, |sample| {
                    sample.double(1, self.value(i, n));
                    sample.int64(2, self.start + n as i64 * STEP);
                });
            }
        })
    }
}

/// The 500 series of a target.
fn target(target: usize) -> Vec<Series> {
    let instance = format!("10.0.0.{target}:9100");
    let mut all = Vec::with_capacity(500);
    let mut add = |name: &str, labels: &[(&str, &str)], kind: Kind| {
        let own = [("__name__", name), ("instance", &*instance), ("job", "api")];
        let labels = Labels::from_pairs(own.into_iter().chain(labels.iter().copied()));
        all.push(Series { labels, kind });
    };
    for handler in 0..HANDLERS {
        let path = format!("/api/v1/resource{handler}");
        for (m, method) in ["GET", "PUT", "POST", "DELETE"].into_iter().enumerate() {
            for (c, code) in ["200", "301", "404", "500", "503"].into_iter().enumerate() {
                let labels = [("handler", &*path), ("method", method), ("code", code)];
                let rate = 1 + (40 >> (2 * c)) * (4 - m as u64);
                add("http_requests_total", &labels, Kind::Counter(rate, 4001 + 97 * handler));
            }
        }
        for (b, le) in BOUNDS.into_iter().enumerate() {
            let kind = Kind::Counter(2 + 3 * b as u64, 5003);
            add("request_duration_seconds_bucket", &[("handler", &path), ("le", le)], kind);
        }
        add("request_duration_seconds_count", &[("handler", &path)], Kind::Counter(32, 5003));
        add("request_duration_seconds_sum", &[("handler", &path)], Kind::Counter(9, 5003));
    }
    for shard in 0..100 {
        add("queue_depth", &[("shard", &format!("{shard:03}"))], Kind::Gauge);
    }
    let version = format!("3.{}.1", target % 3);
    add("build_info", &[("version", &version), ("revision", "d3cb00b")], Kind::Constant);
    for module in ["cpu", "disk", "net"] {
        add("collector_success", &[("collector", module)], Kind::Constant);
    }
    all
}
