//! The metrics of the demo service that the compliance list asks about
//! (github.com/juliusv/prometheus_demo_service), and native histograms.

use firesteel_model::{Labels, METRIC_NAME};

use crate::data::{Dataset, END, START, Series, Value};

const INSTANCES: [&str; 3] =
    ["demo.promlabs.com:10000", "demo.promlabs.com:10001", "demo.promlabs.com:10002"];
const STEP: usize = 15_000;
const BOUNDS: [&str; 12] = [
    "0.0001",
    "0.00015",
    "0.000225",
    "0.0003375",
    "0.00050625",
    "0.000759375",
    "0.0011390625",
    "0.00170859375",
    "0.002562890625",
    "0.0038443359375",
    "0.005766503906250001",
    "+Inf",
];

/// How a metric goes on.
#[derive(Clone, Copy)]
enum Course {
    Counter,
    Gauge(f64),
    Constant(f64),
    /// Unix time of the last full minute.
    Minutes,
    /// There and gone.
    Intermittent,
}

type Dimension = (&'static str, &'static [&'static str]);

const METRICS: [(&str, &[Dimension], Course); 12] = [
    ("demo_cpu_usage_seconds_total", &[("mode", &["idle", "system", "user"])], Course::Counter),
    (
        "demo_memory_usage_bytes",
        &[("type", &["buffers", "cached", "free", "used"])],
        Course::Gauge(4e9),
    ),
    ("demo_num_cpus", &[], Course::Constant(4.0)),
    ("demo_disk_usage_bytes", &[], Course::Gauge(2e11)),
    ("demo_disk_total_bytes", &[], Course::Constant(268_435_456_000.0)),
    ("demo_batch_last_run_timestamp_seconds", &[], Course::Minutes),
    ("demo_batch_last_success_timestamp_seconds", &[], Course::Minutes),
    ("demo_batch_last_run_processed_bytes", &[], Course::Gauge(1e5)),
    ("demo_items_shipped_total", &[], Course::Counter),
    ("demo_intermittent_metric", &[], Course::Intermittent),
    ("demo_is_holiday", &[], Course::Constant(0.0)),
    ("up", &[], Course::Constant(1.0)),
];

/// Series of the demo service.
#[must_use]
pub fn series() -> Vec<Series> {
    let rng = &mut fastrand::Rng::with_seed(10);
    let mut all = Vec::new();
    for instance in INSTANCES {
        for (name, dimensions, course) in METRICS {
            let base = target(name, instance);
            for labels in with(&base, dimensions) {
                all.push(Series { labels, samples: course.samples(rng) });
            }
        }
        let version = [("version", &["1.0"][..])];
        for labels in with(&target("target_info", instance), &version) {
            all.push(Series { labels, samples: Course::Constant(1.0).samples(rng) });
        }
        requests(rng, instance, &mut all);
    }
    all
}

/// Native histograms under the names that lists use, and those of our families that they are.
const NATIVE: [(&str, &str); 6] = [
    ("nh_basic", "request_seconds"),
    ("nhcb_basic", "custom_seconds"),
    ("nh_neg", "queue_seconds"),
    ("nh_reset", "request_seconds"),
    ("nh_schema", "coarsening_seconds"),
    ("nh_float", "float_seconds"),
];

/// Series of native histograms.
#[must_use]
pub fn native() -> Vec<Series> {
    let data = Dataset::new(1);
    let mut all = Vec::new();
    for (name, from) in NATIVE {
        let family = data.families.iter().filter(|f| f.name == from);
        for series in family.flat_map(|f| &f.series) {
            let labels = series.labels.to_builder().set(METRIC_NAME, name).build();
            all.push(Series { labels, samples: series.samples.clone() });
        }
    }
    all
}

fn target(name: &str, instance: &str) -> Labels {
    Labels::from_pairs([(METRIC_NAME, name), ("instance", instance), ("job", "demo")])
}

fn with(base: &Labels, dimensions: &[Dimension]) -> Vec<Labels> {
    let mut all = vec![base.clone()];
    for (label, values) in dimensions {
        let extended = all.iter().flat_map(|labels| {
            values.iter().map(|value| labels.to_builder().set(label, value).build())
        });
        all = extended.collect();
    }
    all
}

impl Course {
    fn samples(self, rng: &mut fastrand::Rng) -> Vec<(i64, Value)> {
        let times = (START..END).step_by(STEP);
        let mut v = match self {
            Self::Gauge(scale) => scale * rng.f64(),
            Self::Constant(v) => v,
            _ => 100.0 * rng.f64(),
        };
        let (lag, mut gone) = (rng.i64(0..40) * 60, 0_u32);
        let mut samples = Vec::new();
        for t in times {
            match self {
                Self::Counter => v = if rng.u16(0..300) == 0 { 0.0 } else { v + rng.f64() },
                Self::Gauge(scale) => v = (v + scale * 0.02 * (rng.f64() - 0.5)).abs(),
                Self::Minutes => v = ((t / 60_000) * 60 - lag) as f64,
                Self::Constant(_) => {}
                Self::Intermittent => {
                    if gone == 0 && rng.u8(0..10) == 0 {
                        gone = rng.u32(1..12);
                        samples.push((t, Value::Float(firesteel_model::stale_nan())));
                    }
                    gone = gone.saturating_sub(1);
                    if gone > 0 {
                        continue;
                    }
                    v = 1.0;
                    if samples.last().is_some_and(|(last, _)| *last == t) {
                        continue;
                    }
                }
            }
            samples.push((t, Value::Float(v)));
        }
        samples
    }
}

/// A classic histogram of requests, with its sum and count.
fn requests(rng: &mut fastrand::Rng, instance: &str, all: &mut Vec<Series>) {
    const NAME: &str = "demo_api_request_duration_seconds";
    let dimensions: [Dimension; 3] = [
        ("method", &["GET", "POST"]),
        ("path", &["/api/bar", "/api/foo", "/api/nonexistent"]),
        ("status", &["200", "500"]),
    ];
    for labels in with(&target("x", instance), &dimensions) {
        let mut counts = [0.0; BOUNDS.len()];
        let (mut sum, mut rows) = (0.0, vec![Vec::new(); BOUNDS.len() + 2]);
        for t in (START..END).step_by(STEP) {
            for _ in 0..rng.u8(0..9) {
                let bucket = rng.usize(0..BOUNDS.len());
                sum += 1e-4 * 1.5_f64.powi(bucket as i32) * rng.f64();
                counts[bucket..].iter_mut().for_each(|count| *count += 1.0);
            }
            let values = counts.into_iter().chain([sum, counts[BOUNDS.len() - 1]]);
            for (row, v) in rows.iter_mut().zip(values) {
                row.push((t, Value::Float(v)));
            }
        }
        let names = BOUNDS.iter().map(|le| ("_bucket", *le)).chain([("_sum", ""), ("_count", "")]);
        for (samples, (suffix, le)) in rows.into_iter().zip(names) {
            let name = format!("{NAME}{suffix}");
            let labels = labels.to_builder().set(METRIC_NAME, &name).set("le", le).build();
            all.push(Series { labels, samples });
        }
    }
}
