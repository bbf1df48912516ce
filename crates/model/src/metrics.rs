//! Our own metrics: atomics that a component owns, and the [`Collect`] trait by which they are
//! read. There is no global registry; `firesteel-exposition` renders a [`Families`].

use std::{
    borrow::Cow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::MetricType;

/// Something that has metrics.
pub trait Collect: Send + Sync {
    /// Adds its families, as they stand now.
    fn collect(&self, out: &mut Families);
}

/// A count that only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Starts at 0.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    /// The count.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A float that goes up and down; also serves counters of seconds.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Starts at 0.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
    /// Sets it.
    pub fn set(&self, v: f64) {
        self.0.store(v.to_bits(), Ordering::Relaxed);
    }
    /// Adds to it.
    pub fn add(&self, v: f64) {
        let add = |bits| Some((f64::from_bits(bits) + v).to_bits());
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
    /// The value.
    #[must_use]
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A classic histogram.
#[derive(Debug)]
pub struct Buckets {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    sum: Gauge,
}

impl Buckets {
    /// With these upper bounds, ascending, without +Inf.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: Gauge::new() }
    }

    /// Counts an observation.
    pub fn observe(&self, v: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < v);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.add(v);
    }

    /// As a point of a family.
    #[must_use]
    pub fn point(&self) -> Point {
        let mut total = 0;
        let mut cumulative = |c: &AtomicU64| {
            total += c.load(Ordering::Relaxed);
            total
        };
        let buckets = self
            .bounds
            .iter()
            .copied()
            .chain(std::iter::once(f64::INFINITY))
            .zip(self.counts.iter().map(&mut cumulative))
            .collect();
        Point::Histogram { buckets, count: total, sum: self.sum.value() }
    }
}

/// Quantiles of recent observations, as Go's client shows its summaries.
#[derive(Debug)]
pub struct Summary {
    quantiles: &'static [f64],
    /// The last observations, a ring.
    recent: Mutex<Vec<f64>>,
    count: Counter,
    sum: Gauge,
}

impl Summary {
    const WINDOW: usize = 512;

    /// With these quantiles over the last 512 observations.
    #[must_use]
    pub const fn new(quantiles: &'static [f64]) -> Self {
        Self { quantiles, recent: Mutex::new(Vec::new()), count: Counter::new(), sum: Gauge::new() }
    }

    /// Counts an observation.
    pub fn observe(&self, v: f64) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() < Self::WINDOW {
            recent.push(v);
        } else {
            recent[(self.count.value() as usize) % Self::WINDOW] = v;
        }
        drop(recent);
        self.count.inc();
        self.sum.add(v);
    }

    /// As a point of a family; quantiles of nothing are NaN.
    #[must_use]
    pub fn point(&self) -> Point {
        let mut sorted = self.recent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |q: f64| {
            let rank = (q * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
        };
        Point::Summary {
            quantiles: self.quantiles.iter().map(|&q| (q, at(q))).collect(),
            count: self.count.value(),
            sum: self.sum.value(),
        }
    }
}

/// The value of one metric of a family.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    /// A counter's or gauge's value.
    Value(f64),
    /// Cumulative buckets with their upper bounds, +Inf last.
    Histogram {
        /// Upper bound and cumulative count.
        buckets: Vec<(f64, u64)>,
        /// All observations.
        count: u64,
        /// Their sum.
        sum: f64,
    },
    /// Quantiles.
    Summary {
        /// Quantile and value.
        quantiles: Vec<(f64, f64)>,
        /// All observations.
        count: u64,
        /// Their sum.
        sum: f64,
    },
}

/// A label of a metric.
pub type MetricLabel = (Cow<'static, str>, String);

/// A metric family.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name, for counters with `_total`.
    pub name: Cow<'static, str>,
    /// Its help text.
    pub help: Cow<'static, str>,
    /// Its type.
    pub kind: MetricType,
    /// Its metrics: labels and value.
    pub points: Vec<(Vec<MetricLabel>, Point)>,
}

/// Collected families. Points of the same name go into one family, whoever adds them.
#[derive(Clone, Debug, Default)]
pub struct Families {
    families: Vec<Family>,
}

impl Families {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a point.
    pub fn add(
        &mut self,
        name: &'static str,
        kind: MetricType,
        help: &'static str,
        labels: &[(&'static str, &str)],
        point: Point,
    ) {
        let labels =
            labels.iter().map(|&(n, v)| (Cow::Borrowed(n), v.to_owned())).collect::<Vec<_>>();
        if let Some(family) = self.families.iter_mut().find(|f| f.name == name) {
            family.points.push((labels, point));
            return;
        }
        self.families.push(Family {
            name: Cow::Borrowed(name),
            help: Cow::Borrowed(help),
            kind,
            points: vec![(labels, point)],
        });
    }

    /// Adds a counter without labels.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.add(name, MetricType::Counter, help, &[], Point::Value(value));
    }

    /// Adds a gauge without labels.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.add(name, MetricType::Gauge, help, &[], Point::Value(value));
    }

    /// The families, sorted by name.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Family> {
        self.families.sort_by(|a, b| a.name.cmp(&b.name));
        self.families
    }
}
