//! A recorder for the macros of the `metrics` crate.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64, atomic::Ordering},
};

use firesteel_exposition::{EscapingScheme, encode_protobuf};
use firesteel_model::{
    MetricType,
    metrics::{Buckets, Family, MetricLabel, Point},
};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit};

use super::Source;
use crate::ScrapeError;

/// The buckets that Prometheus' clients take where nothing is said.
const DEFAULT_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Where the macros of the `metrics` crate count: install it with `metrics::set_global_recorder` and
/// keep a clone, which is the same recorder, to append from. Names and labels that Prometheus' old
/// syntax does not have get underscores; histograms become classic ones.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    buckets: &'static [f64],
    families: Mutex<BTreeMap<String, Recorded>>,
    help: Mutex<BTreeMap<String, String>>,
}

/// A family; the first metric of a name decides what it is.
struct Recorded {
    kind: MetricType,
    metrics: BTreeMap<Vec<MetricLabel>, Value>,
}

#[derive(Clone)]
enum Value {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Observed>),
}

struct Observed(Buckets);

impl HistogramFn for Observed {
    fn record(&self, value: f64) {
        self.0.observe(value);
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::with_buckets(DEFAULT_BUCKETS)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("buckets", &self.inner.buckets).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn escape(name: &str) -> String {
    EscapingScheme::Underscores.escape(name).into_owned()
}

impl Recorder {
    /// Histograms get buckets with these upper bounds, ascending, without +Inf.
    #[must_use]
    pub fn with_buckets(buckets: &'static [f64]) -> Self {
        let (families, help) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { buckets, families, help }) }
    }

    fn describe(&self, name: &KeyName, help: &SharedString) {
        lock(&self.inner.help).insert(escape(name.as_str()), help.to_string());
    }

    /// The metric of this key, made by `make` if it is new; `None` where the name is taken by a metric
    /// of another kind, which then counts nowhere.
    fn metric(&self, key: &Key, kind: MetricType, make: impl FnOnce() -> Value) -> Option<Value> {
        let mut labels: Vec<MetricLabel> =
            key.labels().map(|l| (escape(l.key()).into(), l.value().to_owned())).collect();
        labels.sort();
        let mut families = lock(&self.inner.families);
        let family = families
            .entry(escape(key.name()))
            .or_insert_with(|| Recorded { kind, metrics: BTreeMap::new() });
        (family.kind == kind).then(|| family.metrics.entry(labels).or_insert_with(make).clone())
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, key: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.describe(&key, &description);
    }

    fn describe_gauge(&self, key: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.describe(&key, &description);
    }

    fn describe_histogram(&self, key: KeyName, _unit: Option<Unit>, description: SharedString) {
        self.describe(&key, &description);
    }

    fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> Counter {
        match self.metric(key, MetricType::Counter, || Value::Counter(Arc::default())) {
            Some(Value::Counter(counter)) => Counter::from_arc(counter),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _metadata: &Metadata<'_>) -> Gauge {
        match self.metric(key, MetricType::Gauge, || Value::Gauge(Arc::default())) {
            Some(Value::Gauge(gauge)) => Gauge::from_arc(gauge),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _metadata: &Metadata<'_>) -> Histogram {
        let make = || Value::Histogram(Arc::new(Observed(Buckets::new(self.inner.buckets))));
        match self.metric(key, MetricType::Histogram, make) {
            Some(Value::Histogram(histogram)) => Histogram::from_arc(histogram),
            _ => Histogram::noop(),
        }
    }
}

impl Value {
    fn point(&self) -> Point {
        match self {
            Self::Counter(counter) => Point::Value(counter.load(Ordering::Relaxed) as f64),
            Self::Gauge(gauge) => Point::Value(f64::from_bits(gauge.load(Ordering::Relaxed))),
            Self::Histogram(histogram) => histogram.0.point(),
        }
    }
}

impl Source for Recorder {
    fn write_families(&self, out: &mut Vec<u8>) -> Result<(), ScrapeError> {
        let help = lock(&self.inner.help);
        let families = lock(&self.inner.families);
        let families: Vec<Family> = families
            .iter()
            .map(|(name, family)| Family {
                name: name.clone().into(),
                help: help.get(name).cloned().unwrap_or_default().into(),
                kind: family.kind,
                points: family.metrics.iter().map(|(l, v)| (l.clone(), v.point())).collect(),
            })
            .collect();
        encode_protobuf(&families, out);
        Ok(())
    }
}
