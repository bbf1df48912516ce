//! Series of native histograms.

use std::collections::BTreeMap;

use firesteel_model::{
    CounterResetHint, FloatHistogram, Histogram, HistogramLayout, Labels, Span,
    histogram::CUSTOM_BUCKETS_SCHEMA, stale_nan,
};

use super::{Family, Series, Shape, Value, family, labels, scrapes};

/// Counts by index of the bucket.
type Counts = BTreeMap<i32, i64>;

/// A histogram that is being observed.
#[derive(Clone, Default)]
struct Observed {
    schema: i32,
    zero_threshold: f64,
    zero: i64,
    positive: Counts,
    negative: Counts,
    sum: f64,
}

impl Observed {
    fn observe(&mut self, v: f64) {
        self.sum += v;
        let magnitude = v.abs();
        if magnitude <= self.zero_threshold {
            self.zero += 1;
            return;
        }
        let index = (magnitude.log2() * 2_f64.powi(self.schema)).ceil() as i32;
        let counts = if v < 0.0 { &mut self.negative } else { &mut self.positive };
        *counts.entry(index).or_default() += 1;
    }

    /// Halves the resolution.
    fn coarser(&mut self) {
        self.schema -= 1;
        for counts in [&mut self.positive, &mut self.negative] {
            let mut merged = Counts::new();
            for (index, count) in std::mem::take(counts) {
                *merged.entry((index - 1).div_euclid(2) + 1).or_default() += count;
            }
            *counts = merged;
        }
    }

    fn integers(&self) -> Histogram {
        let (positive_spans, positive_deltas) = spans(&self.positive);
        let (negative_spans, negative_deltas) = spans(&self.negative);
        let total: i64 =
            self.zero + self.positive.values().sum::<i64>() + self.negative.values().sum::<i64>();
        Histogram {
            counter_reset_hint: CounterResetHint::Unknown,
            layout: HistogramLayout {
                schema: self.schema,
                zero_threshold: self.zero_threshold,
                positive_spans,
                negative_spans,
                custom_values: Vec::new(),
            },
            zero_count: self.zero.unsigned_abs(),
            count: total.unsigned_abs(),
            sum: self.sum,
            positive_deltas,
            negative_deltas,
        }
    }
}

/// Spans and deltas; gaps of up to two buckets are filled with empty ones.
fn spans(counts: &Counts) -> (Vec<Span>, Vec<i64>) {
    let (mut spans, mut deltas) = (Vec::<Span>::new(), Vec::new());
    let (mut next, mut previous) = (0, 0);
    for (&index, &count) in counts {
        let gap = index - next;
        match spans.last_mut() {
            Some(span) if gap <= 2 => {
                for _ in 0..gap {
                    deltas.push(-previous);
                    previous = 0;
                }
                span.length += gap as u32 + 1;
            }
            _ => spans.push(Span { offset: gap, length: 1 }),
        }
        deltas.push(count - previous);
        (previous, next) = (count, index + 1);
    }
    (spans, deltas)
}

fn lognormal(rng: &mut fastrand::Rng) -> f64 {
    let sum: f64 = (0..6).map(|_| rng.f64() - 0.5).sum();
    (sum * 1.5).exp()
}

/// A counter with integer counts: it is reset at times, becomes coarser, its zero bucket wider.
fn counter(rng: &mut fastrand::Rng, labels: Labels, changes: bool) -> Series {
    let schema = rng.i32(0..4);
    let fresh = Observed { schema, zero_threshold: 0.001, ..Observed::default() };
    let negative = rng.bool();
    let mut observed = fresh.clone();
    let times = scrapes(rng, 0.02);
    let samples = times.into_iter().map(|t| {
        if rng.f64() < 0.012 {
            observed = fresh.clone();
        }
        if changes && rng.f64() < 0.008 && observed.schema > -2 {
            observed.coarser();
        }
        for _ in 0..rng.u8(0..8) {
            let v = lognormal(rng);
            let v = if rng.f64() < 0.05 { v / 1e5 } else { v };
            observed.observe(if negative && rng.f64() < 0.3 { -v } else { v });
        }
        (t, Value::Integers(observed.integers()))
    });
    Series { labels, samples: samples.collect() }
}

/// Gauges and counters with float counts.
fn float(rng: &mut fastrand::Rng, labels: Labels, gauge: bool) -> Series {
    let mut series = counter(rng, labels, false);
    let scale = 0.37;
    for (_, value) in &mut series.samples {
        let Value::Integers(h) = value else { continue };
        let mut h: FloatHistogram = h.to_float();
        let scale = if gauge { scale * f64::from(rng.u8(1..4)) } else { scale };
        h.count *= scale;
        h.zero_count *= scale;
        h.sum *= scale;
        for count in h.positive_buckets.iter_mut().chain(&mut h.negative_buckets) {
            *count *= scale;
        }
        // Bounds of what storage accepts: the counts add up to the count.
        let counts = h.positive_buckets.iter().chain(&h.negative_buckets);
        h.count = h.zero_count + counts.sum::<f64>();
        if gauge {
            h.counter_reset_hint = CounterResetHint::Gauge;
        }
        *value = Value::Floats(h);
    }
    series
}

/// Custom buckets; with `moving` the bounds change halfway.
fn custom(rng: &mut fastrand::Rng, labels: Labels, moving: bool) -> Series {
    let bounds = [vec![0.1, 0.5, 1.0, 5.0], vec![0.1, 0.25, 1.0]];
    let mut counts = Counts::new();
    let mut sum = 0.0;
    let mut which = 0;
    let times = scrapes(rng, 0.01);
    let half = times.len() / 2;
    let samples = times.into_iter().enumerate().map(|(i, t)| {
        if moving && i == half {
            which = 1;
            counts.clear();
        }
        if rng.f64() < 0.01 {
            counts.clear();
            sum = 0.0;
        }
        for _ in 0..rng.u8(0..8) {
            let v = lognormal(rng);
            sum += v;
            let bucket = bounds[which].partition_point(|b| *b < v);
            *counts.entry(bucket as i32).or_default() += 1;
        }
        let (positive_spans, positive_deltas) = spans(&counts);
        let h = Histogram {
            counter_reset_hint: CounterResetHint::Unknown,
            layout: HistogramLayout {
                schema: CUSTOM_BUCKETS_SCHEMA,
                zero_threshold: 0.0,
                positive_spans,
                negative_spans: Vec::new(),
                custom_values: bounds[which].clone(),
            },
            zero_count: 0,
            count: counts.values().sum::<i64>().unsigned_abs(),
            sum,
            positive_deltas,
            negative_deltas: Vec::new(),
        };
        (t, Value::Integers(h))
    });
    Series { labels, samples: samples.collect() }
}

/// Now histograms, now floats, now staleness markers of either.
fn mixed(rng: &mut fastrand::Rng, labels: Labels) -> Series {
    let mut series = counter(rng, labels, false);
    let (mut floats, mut v) = (false, 0.0);
    for (_, value) in &mut series.samples {
        if rng.f64() < 0.04 {
            floats = !floats;
        }
        v += rng.f64();
        let stale = rng.f64() < 0.01;
        match value {
            _ if floats => *value = Value::Float(if stale { stale_nan() } else { v }),
            Value::Integers(h) if stale => {
                *h = Histogram { sum: stale_nan(), ..Histogram::default() };
            }
            _ => {}
        }
    }
    series
}

/// All families of native histograms.
pub(super) fn families(rng: &mut fastrand::Rng) -> Vec<Family> {
    let mut make =
        |name: &'static str,
         weight,
         series: &mut dyn FnMut(&mut fastrand::Rng, Labels) -> Series| {
            let all = labels(name, 3, &[("path", &["/", "/x"])]);
            let shape = if name == "mixed" { Shape::Mixed } else { Shape::Native };
            family(name, shape, weight, all.into_iter().map(|l| series(rng, l)).collect())
        };
    vec![
        make("request_seconds", 9, &mut |rng, l| counter(rng, l, false)),
        make("coarsening_seconds", 5, &mut |rng, l| counter(rng, l, true)),
        make("float_seconds", 5, &mut |rng, l| float(rng, l, false)),
        make("queue_seconds", 5, &mut |rng, l| float(rng, l, true)),
        make("custom_seconds", 5, &mut |rng, l| custom(rng, l, false)),
        make("moving_seconds", 2, &mut |rng, l| custom(rng, l, true)),
        make("mixed", 4, &mut mixed),
    ]
}
