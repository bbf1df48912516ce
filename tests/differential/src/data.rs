//! The series that are asked about: counters with resets, gauges, gaps, staleness markers, NaN and
//! infinities, constants, irregular timestamps, classic and native histograms of all kinds, and
//! label sets of many shapes.

mod histograms;

use firesteel_model::{FloatHistogram, Histogram, Labels, Timestamp, stale_nan};

/// When the data begins: not aligned to anything but seconds.
pub const START: Timestamp = 1_700_000_007_000;
/// How long it lasts, milliseconds.
pub const LENGTH: i64 = 2 * 3_600_000;
/// When the data ends.
pub const END: Timestamp = START + LENGTH;

/// A sample's value.
#[derive(Clone, Debug)]
pub enum Value {
    /// A float.
    Float(f64),
    /// A native histogram with integer counts.
    Integers(Histogram),
    /// A native histogram with float counts.
    Floats(FloatHistogram),
}

/// A series and its samples, by time.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its labels, the name included.
    pub labels: Labels,
    /// Its samples.
    pub samples: Vec<(Timestamp, Value)>,
}

/// What kind of data a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Floats that rise, and fall to zero at times.
    Counter,
    /// Floats.
    Gauge,
    /// Buckets of a classic histogram.
    Buckets,
    /// Native histograms.
    Native,
    /// Floats and native histograms in the same series.
    Mixed,
    /// Information about a target, always 1.
    Info,
}

/// Series of one name.
#[derive(Clone, Debug)]
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// How often queries ask for it.
    pub weight: u32,
    /// Its series.
    pub series: Vec<Series>,
}

/// All the data.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The families.
    pub families: Vec<Family>,
}

impl Dataset {
    /// All series.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.families.iter().flat_map(|f| &f.series)
    }

    /// The data of a seed that every storage gives back as it was written. Of gauge histograms
    /// Prometheus fills up buckets as its chunks want it, and where a series changes from floats to
    /// histograms it may lose staleness markers.
    #[must_use]
    pub fn for_servers(seed: u64) -> Self {
        let mut data = Self::new(seed);
        data.families.retain(|f| f.shape != Shape::Mixed && f.name != "queue_seconds");
        data
    }

    /// The data of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let mut families = floats(rng);
        families.extend(odd_floats(rng));
        families.push(classic(rng));
        families.extend(histograms::families(rng));
        // Storages return series in the order in which they came first, or by labels: make these
        // the same, since sums, ties and some errors depend on it.
        families.sort_by_key(|f| f.name);
        for family in &mut families {
            family.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        }
        Self { families }
    }
}

const TARGETS: [(&str, &str); 4] =
    [("api", "a:80"), ("api", "b:80"), ("db", "a:90"), ("db", "c:90")];

/// Label sets: the targets times the values of further labels.
fn labels(name: &str, targets: usize, more: &[(&str, &[&str])]) -> Vec<Labels> {
    let mut all = Vec::new();
    let combinations: usize = more.iter().map(|(_, values)| values.len()).product();
    for (job, instance) in TARGETS.iter().take(targets) {
        for mut i in 0..combinations {
            let mut pairs = vec![("__name__", name), ("job", *job), ("instance", *instance)];
            for (label, values) in more {
                pairs.push((label, values[i % values.len()]));
                i /= values.len();
            }
            all.push(Labels::from_pairs(pairs));
        }
    }
    all
}

/// Times of scrapes every 15 s that are late by a few milliseconds, at times missing.
fn scrapes(rng: &mut fastrand::Rng, missing: f64) -> Vec<Timestamp> {
    let phase = rng.i64(0..15_000);
    let late = if rng.bool() { 40 } else { 1 };
    (0..LENGTH / 15_000)
        .map(|i| START + i * 15_000 + phase + if late > 1 { rng.i64(0..late) } else { 0 })
        .collect::<Vec<_>>()
        .into_iter()
        .filter(|_| rng.f64() >= missing)
        .collect()
}

fn floats_at(
    labels: Labels,
    times: Vec<Timestamp>,
    mut value: impl FnMut(Timestamp) -> f64,
) -> Series {
    Series { labels, samples: times.into_iter().map(|t| (t, Value::Float(value(t)))).collect() }
}

fn family(name: &'static str, shape: Shape, weight: u32, series: Vec<Series>) -> Family {
    Family { name, shape, weight, series }
}

fn counter(rng: &mut fastrand::Rng, labels: Labels, missing: f64) -> Series {
    let times = scrapes(rng, missing);
    let whole = rng.bool();
    let scale = [0.5, 3.0, 1e6][rng.usize(0..3)];
    let resets = [0.0, 0.004, 0.03][rng.usize(0..3)];
    let mut v = if rng.bool() { 0.0 } else { 1e4 * rng.f64() };
    floats_at(labels, times, |_| {
        let add = scale * rng.f64() * f64::from(rng.u8(0..5));
        v = if rng.f64() < resets { 0.0 } else { v + if whole { add.round() } else { add } };
        v
    })
}

fn walk(rng: &mut fastrand::Rng, labels: Labels, scale: f64) -> Series {
    let times = scrapes(rng, 0.01);
    let mut v = scale * (rng.f64() - 0.5);
    floats_at(labels, times, |_| {
        v += scale * 0.1 * (rng.f64() - 0.5);
        v
    })
}

/// What most metrics look like.
fn floats(rng: &mut fastrand::Rng) -> Vec<Family> {
    let codes: &[&str] = &["200", "404", "500"];
    let methods: &[&str] = &["get", "post"];
    let requests = labels("http_requests_total", 4, &[("code", codes), ("method", methods)]);
    let requests = requests.into_iter().map(|l| counter(rng, l, 0.01)).collect();
    let cpu = labels("cpu_seconds_total", 4, &[("mode", &["idle", "user", "system"])]);
    let cpu = cpu.into_iter().map(|l| counter(rng, l, 0.0)).collect();
    let temperature = labels("temperature_celsius", 3, &[("sensor", &["s0", "s1", "s2"])]);
    let temperature = temperature.into_iter().map(|l| walk(rng, l, 100.0)).collect();
    let memory = labels("memory_bytes", 4, &[("type", &["used", "free"])]);
    let memory = memory.into_iter().map(|l| {
        let times = scrapes(rng, 0.0);
        floats_at(l, times, |_| f64::from(rng.u32(0..4_000_000)) * 1024.0)
    });
    let memory = memory.collect();
    let cores = labels("cores", 4, &[]).into_iter().map(|l| {
        let (times, v) = (scrapes(rng, 0.0), f64::from(rng.u8(1..5)));
        floats_at(l, times, |_| v)
    });
    let cores = cores.collect();
    let up = labels("up", 4, &[]).into_iter().map(|l| {
        let times = scrapes(rng, 0.0);
        floats_at(l, times, |_| f64::from(u8::from(rng.f64() < 0.9)))
    });
    let up = up.collect();
    let success = labels("success_timestamp_seconds", 4, &[]).into_iter().map(|l| {
        let (times, shift) = (scrapes(rng, 0.0), rng.f64() * 3e7);
        floats_at(l, times, |t| (t as f64 / 1000.0 / 60.0).floor() * 60.0 - shift.round())
    });
    let success = success.collect();
    let utf8 = [("service.name", "\u{fc}nic\u{f6}de \u{1f980}"), ("service.name", "a\"b\\c\nd")];
    let utf8 = utf8.into_iter().map(|(name, value)| {
        let pairs = [("__name__", "http.server.requests"), ("job", "api"), (name, value)];
        counter(rng, Labels::from_pairs(pairs), 0.0)
    });
    let utf8 = utf8.collect();
    vec![
        family("http_requests_total", Shape::Counter, 12, requests),
        family("cpu_seconds_total", Shape::Counter, 8, cpu),
        family("temperature_celsius", Shape::Gauge, 8, temperature),
        family("memory_bytes", Shape::Gauge, 8, memory),
        family("cores", Shape::Gauge, 5, cores),
        family("up", Shape::Gauge, 5, up),
        family("success_timestamp_seconds", Shape::Gauge, 3, success),
        family("http.server.requests", Shape::Counter, 3, utf8),
        family("target_info", Shape::Info, 2, info()),
    ]
}

/// `target_info`, with a version that changes halfway.
fn info() -> Vec<Series> {
    let mut all = Vec::new();
    for (i, (job, instance)) in TARGETS.iter().enumerate() {
        let changes = START + LENGTH / 2 + i as i64 * 60_000;
        for (version, from, to) in [("1.0", START, changes), ("1.1", changes, END)] {
            let pairs = [
                ("__name__", "target_info"),
                ("job", job),
                ("instance", instance),
                ("version", version),
                ("env", if i < 2 { "prod" } else { "dev" }),
            ];
            let times = (from..to).step_by(15_000).collect();
            let mut series = floats_at(Labels::from_pairs(pairs), times, |_| 1.0);
            if version == "1.0" && i % 2 == 0 {
                series.samples.push((to, Value::Float(stale_nan())));
            }
            if version == "1.1" {
                // So that the order in which series came first is that of their labels here too.
                series.samples.insert(0, (START, Value::Float(stale_nan())));
            }
            all.push(series);
        }
    }
    all
}

/// What is legal but rare.
fn odd_floats(rng: &mut fastrand::Rng) -> Vec<Family> {
    const SPECIAL: [f64; 14] = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        f64::MAX,
        -1e308,
        f64::MIN_POSITIVE,
        5e-324,
        1.0,
        -1.0,
        0.1,
        1e16,
        -1e16,
    ];
    let weird =
        labels("weird", 2, &[("kind", &["all", "some", "nan", "inf"])]).into_iter().map(|l| {
            let kind = l.get("kind").unwrap_or_default().to_owned();
            let times = scrapes(rng, 0.05);
            floats_at(l, times, |_| match &*kind {
                "all" => SPECIAL[rng.usize(0..SPECIAL.len())],
                "some" if rng.f64() < 0.2 => SPECIAL[rng.usize(0..SPECIAL.len())],
                "some" => rng.f64() * 10.0,
                "nan" => f64::NAN,
                _ => {
                    if rng.f64() < 0.05 {
                        f64::NEG_INFINITY
                    } else {
                        f64::INFINITY
                    }
                }
            })
        });
    let weird = weird.collect();
    let gaps = labels("gaps", 4, &[("zone", &["z1", "z2"])]).into_iter().map(|l| {
        let mut series = walk(rng, l, 10.0);
        let mut hole = 0_u32;
        series.samples.retain_mut(|(_, value)| {
            if hole > 0 {
                hole -= 1;
                return false;
            }
            if rng.f64() < 0.02 {
                hole = rng.u32(2..60);
                if rng.bool() {
                    *value = Value::Float(stale_nan());
                }
            }
            true
        });
        series
    });
    let gaps = gaps.collect();
    let irregular = labels("irregular", 3, &[("a", &["", "x"])]).into_iter().map(|l| {
        let mut times = vec![START + rng.i64(0..60_000)];
        while let Some(last) = times.last().copied().filter(|t| *t < END) {
            let gap = [1, 1000, 7001, 30_000, 200_000][rng.usize(0..5)];
            times.push(last + 1 + rng.i64(0..gap));
        }
        let mut v = 0.0;
        floats_at(l, times, |_| {
            v = if rng.f64() < 0.02 { rng.f64() } else { v + rng.f64() };
            v
        })
    });
    let irregular = irregular.collect();
    let sparse = labels("sparse_total", 4, &[]).into_iter().map(|l| {
        let step = rng.i64(120_000..500_000);
        let times = (START..END).step_by(step as usize).collect();
        let mut v = 0.0;
        floats_at(l, times, |_| {
            v += f64::from(rng.u8(..));
            v
        })
    });
    let sparse = sparse.collect();
    let twin_a = labels("twin_a", 4, &[]).into_iter().map(|l| walk(rng, l, 3.0)).collect();
    let twin_b = labels("twin_b", 4, &[]).into_iter().map(|l| walk(rng, l, 3.0)).collect();
    let ties = labels("ties", 4, &[("shard", &["0", "1", "2"])]).into_iter().map(|l| {
        let times = (START..END).step_by(15_000).collect();
        floats_at(l, times, |_| f64::from(rng.u8(0..4)))
    });
    let ties = ties.collect();
    vec![
        family("crowd", Shape::Gauge, 2, crowd(rng)),
        family("weird", Shape::Gauge, 5, weird),
        family("gaps", Shape::Gauge, 6, gaps),
        family("irregular", Shape::Counter, 5, irregular),
        family("sparse_total", Shape::Counter, 4, sparse),
        family("twin_a", Shape::Gauge, 4, twin_a),
        family("twin_b", Shape::Gauge, 3, twin_b),
        family("ties", Shape::Gauge, 4, ties),
    ]
}

/// So many series with so few values, in so many patterns, that a sort of them shows each of its
/// steps.
fn crowd(rng: &mut fastrand::Rng) -> Vec<Series> {
    const MEMBERS: u16 = 130;
    let patterns: Vec<u16> = (0..LENGTH / 60_000).map(|_| rng.u16(0..7)).collect();
    let member = |i: u16| {
        // Label values of which natural and plain order differ, some of them empty.
        let rank =
            if i.is_multiple_of(9) { String::new() } else { format!("r{}x", i * 7 % MEMBERS) };
        let pairs = [("__name__", "crowd"), ("id", &*format!("{i:03}")), ("rank", &*rank)];
        let samples = patterns.iter().zip((START..END).step_by(60_000)).map(|(pattern, t)| {
            let v = match pattern {
                0 => i % 5,
                1 => i.min(MEMBERS - i) / 3,
                2 => i / 10,
                3 => (MEMBERS - i) / 10,
                4 => i * 37 % 11,
                5 if i % 40 == 3 => 2,
                5 => i,
                _ => rng.u16(0..4),
            };
            let v = if *pattern == 6 && v == 3 { f64::NAN } else { f64::from(v) };
            (t, Value::Float(if v == 0.0 && i % 2 == 1 { -0.0 } else { v }))
        });
        Series { labels: Labels::from_pairs(pairs), samples: samples.collect() }
    };
    (0..MEMBERS).map(member).collect()
}

/// Buckets of classic histograms; one lacks `+Inf`, one does not rise, one has a bad bound.
fn classic(rng: &mut fastrand::Rng) -> Family {
    const BOUNDS: [&str; 6] = ["0.1", "0.5", "1.0", "2.5", "10.0", "+Inf"];
    let mut series = Vec::new();
    for (index, base) in labels("latency_seconds_bucket", 4, &[]).into_iter().enumerate() {
        let times = scrapes(rng, 0.0);
        let mut rows = vec![Vec::new(); BOUNDS.len()];
        let mut counts = [0.0; BOUNDS.len()];
        for &t in &times {
            if rng.f64() < 0.01 {
                counts = [0.0; BOUNDS.len()];
            }
            for _ in 0..rng.u8(0..6) {
                let bucket = rng.usize(0..BOUNDS.len());
                for count in &mut counts[bucket..] {
                    *count += 1.0;
                }
            }
            for (i, row) in rows.iter_mut().enumerate() {
                let wrong = index == 1 && i == 2 && rng.f64() < 0.1;
                row.push((t, Value::Float(counts[i] - if wrong { 3.0 } else { 0.0 })));
            }
        }
        for (i, samples) in rows.into_iter().enumerate() {
            if index == 2 && BOUNDS[i] == "+Inf" {
                continue;
            }
            let le = if index == 3 && i == 0 { "x" } else { BOUNDS[i] };
            let labels = base.to_builder().set("le", le).build();
            series.push(Series { labels, samples });
        }
    }
    family("latency_seconds_bucket", Shape::Buckets, 8, series)
}
