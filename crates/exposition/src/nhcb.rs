//! Classic histograms made native ones with custom buckets (NHCB).
//!
//! Source: `util/convertnhcb/convertnhcb.go`, `model/textparse/nhcbparse.go`. Differences that are
//! meant: a converted histogram has the timestamp of its own last line, where Prometheus takes that
//! of the line after it; one that fails validation is forgotten, where Prometheus mixes it into the
//! next.

use firesteel_model::{
    Exemplar, FloatHistogram, Histogram, HistogramLayout, MetricType, Span, Timestamp,
    float::write_g, histogram::CUSTOM_BUCKETS_SCHEMA,
};

use crate::{
    NativeHistogram,
    entry::{Line, Part, RawLabel, normalised, unescape},
    key, number,
    parser::Tail,
};

/// What a classic histogram's series said.
#[derive(Debug, Default)]
pub(crate) struct ClassicHistogram {
    /// Upper bound and cumulative count, as they came.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    problem: Option<String>,
}

/// Counts up to this are whole numbers in 64 bits.
const WHOLE: f64 = 9_223_372_036_854_775_808.0;

fn is_whole(v: f64) -> bool {
    v.abs() < WHOLE && v.round() == v
}

fn g(v: f64) -> String {
    let mut text = String::new();
    write_g(&mut text, v);
    text
}

impl ClassicHistogram {
    fn clear(&mut self) {
        self.buckets.clear();
        (self.count, self.sum, self.problem) = (None, 0.0, None);
    }

    fn fail(&mut self, what: String) {
        self.problem.get_or_insert(what);
    }

    pub(crate) fn set_bucket(&mut self, bound: f64, count: f64) {
        if bound.is_nan() {
            self.fail("bucket boundary must not be NaN".to_owned());
        } else if count < 0.0 {
            let (le, count) = (g(bound), g(count));
            self.fail(format!("bucket count must be non-negative: le={le}, count={count}"));
        } else {
            self.buckets.push((bound, count));
        }
    }

    pub(crate) fn set_count(&mut self, count: f64) {
        if count < 0.0 {
            self.fail(format!("count must be non-negative: count={}", g(count)));
        } else {
            self.count = Some(count);
        }
    }

    pub(crate) const fn set_sum(&mut self, sum: f64) {
        self.sum = sum;
    }

    /// Puts the buckets in order, the first of equal ones stays; their counts must not go down.
    fn order(&mut self) -> Result<(), String> {
        let ascending = |w: &[(f64, f64)]| matches!(w, [a, b] if a.0 < b.0);
        if !self.buckets.windows(2).all(ascending) {
            self.buckets.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
            self.buckets.dedup_by(|later, first| later.0 == first.0);
        }
        let down = self.buckets.windows(2).find(|w| matches!(w, [a, b] if b.1 < a.1));
        match down {
            Some([a, b]) => Err(format!("count is not cumulative: {} < {}", g(b.1), g(a.1))),
            _ => Ok(()),
        }
    }

    /// The native histogram: with integer counts if all counts are whole.
    pub(crate) fn convert(&mut self) -> Result<NativeHistogram, String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        self.order()?;
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).unwrap_or(0.0);
        if last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let (bound, total) = self.buckets.last().copied().unwrap_or_default();
        if count != total {
            let (count, bound, total) = (g(count), g(bound), g(total));
            return Err(format!("count mismatch: count={count} != le={bound} count={total}"));
        }
        let bounds = self.buckets.iter().map(|b| b.0).filter(|b| *b != f64::INFINITY);
        let layout = HistogramLayout {
            schema: CUSTOM_BUCKETS_SCHEMA,
            positive_spans: vec![Span { offset: 0, length: self.buckets.len() as u32 }],
            custom_values: bounds.collect(),
            ..HistogramLayout::default()
        };
        let sum = self.sum;
        if is_whole(count) && self.buckets.iter().all(|b| is_whole(b.1)) {
            let (mut before, mut delta_before) = (0_i64, 0_i64);
            let deltas = self.buckets.iter().map(|(_, cumulative)| {
                let cumulative = *cumulative as i64;
                let bucket = cumulative.wrapping_sub(before);
                before = cumulative;
                bucket.wrapping_sub(std::mem::replace(&mut delta_before, bucket))
            });
            let positive_deltas = deltas.collect();
            let count = count as u64;
            let mut h = Histogram { layout, count, sum, positive_deltas, ..Histogram::default() };
            h.compact(2);
            return Ok(NativeHistogram::Integer(h));
        }
        let mut before = 0.0;
        let counts = self.buckets.iter().map(|(_, c)| c - std::mem::replace(&mut before, *c));
        let positive_buckets = counts.collect();
        let mut h =
            FloatHistogram { layout, count, sum, positive_buckets, ..FloatHistogram::default() };
        h.compact(0);
        Ok(NativeHistogram::Float(h))
    }
}

/// Gathers the series of classic histograms on a text page.
#[derive(Debug, Default)]
pub(crate) struct Collector<'a> {
    /// Whether the classic series are shown as well.
    pub(crate) keep: bool,
    /// Whether there is something to convert.
    pub(crate) collecting: bool,
    /// What the last `# TYPE` line said.
    kind: MetricType,
    family: String,
    /// The histogram's name and labels, from the first of its lines.
    pub(crate) line: Line<'a>,
    pub(crate) timestamp: Option<Timestamp>,
    histogram: ClassicHistogram,
    exemplars: Vec<Exemplar>,
    /// Identifies the series of the histogram that was converted last.
    pub(crate) key: Vec<u8>,
}

/// The role of a classic series.
enum Role {
    Bucket(f64),
    Sum,
    Count,
}

/// A name without the suffix that a classic histogram's series have.
fn base(name: &str) -> Option<(&str, &str)> {
    ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|suffix| name.strip_suffix(suffix).map(|base| (base, suffix)))
}

impl<'a> Collector<'a> {
    pub(crate) fn new(keep: bool) -> Self {
        Self { keep, ..Self::default() }
    }

    pub(crate) fn set_type(&mut self, kind: MetricType, family: &str) {
        self.kind = kind;
        self.family.clear();
        self.family.push_str(family);
    }

    /// Whether a series belongs to another histogram than the one that is being collected.
    pub(crate) fn differs(&self, line: &Line<'_>) -> bool {
        let Some((name, _)) = base(line.name) else { return true };
        if self.kind != MetricType::Histogram || name != self.line.name {
            return true;
        }
        let is_bound = |l: &&RawLabel<'_>| l.name == "le";
        let same = |a: &RawLabel<'_>, b: &RawLabel<'_>| (a.name, a.value) == (b.name, b.value);
        let theirs = line.labels.iter().filter(|l| !is_bound(l));
        if theirs.clone().count() != self.line.labels.len() {
            return true;
        }
        // Fast path: the labels come in the same order.
        if theirs.clone().zip(&self.line.labels).all(|(a, b)| same(a, b)) {
            return false;
        }
        let mut mine: Vec<_> = self.line.labels.iter().map(|l| (l.name, l.value)).collect();
        let mut theirs: Vec<_> = theirs.map(|l| (l.name, l.value)).collect();
        mine.sort_unstable();
        theirs.sort_unstable();
        mine != theirs
    }

    fn role(&self, line: &Line<'_>) -> Option<Role> {
        if self.kind != MetricType::Histogram {
            return None;
        }
        let (name, suffix) = base(line.name)?;
        if unescape(name, line.name_escaped) != *self.family {
            return None;
        }
        match suffix {
            "_sum" => Some(Role::Sum),
            "_count" => Some(Role::Count),
            _ => {
                let label = line.labels.iter().find(|l| l.name == "le")?;
                let text = normalised(unescape(label.value, label.value_escaped));
                let bound = number::float(text.as_bytes()).ok()?;
                (!bound.is_nan()).then_some(Role::Bucket(bound))
            }
        }
    }

    /// Takes in a series if it is part of a classic histogram.
    pub(crate) fn collect(&mut self, line: &Line<'a>, tail: Tail) -> bool {
        let Some(role) = self.role(line) else { return false };
        if !self.collecting {
            self.collecting = true;
            self.line.name = base(line.name).map_or(line.name, |(name, _)| name);
            self.line.name_escaped = line.name_escaped;
            self.line.kind = MetricType::Histogram;
            self.line.labels.clear();
            self.line.labels.extend(line.labels.iter().filter(|l| l.name != "le"));
            self.line.start = line.start;
        }
        self.timestamp = tail.timestamp;
        self.exemplars.extend(line.exemplar().map(|e| e.to_exemplar()));
        match role {
            Role::Bucket(bound) => self.histogram.set_bucket(bound, tail.value),
            Role::Sum => self.histogram.set_sum(tail.value),
            Role::Count => self.histogram.set_count(tail.value),
        }
        true
    }

    /// Ends the histogram that is being collected; `None` if there is none or it is no good.
    pub(crate) fn finish(&mut self) -> Option<(NativeHistogram, Vec<Exemplar>)> {
        if !self.collecting {
            return None;
        }
        self.collecting = false;
        let converted = self.histogram.convert();
        self.histogram.clear();
        let exemplars = std::mem::take(&mut self.exemplars);
        let histogram = converted.ok().filter(NativeHistogram::is_valid)?;
        let name = unescape(self.line.name, self.line.name_escaped);
        key::series(&mut self.key, &name, &Part::default(), &self.line.labels);
        Some((histogram, exemplars))
    }
}
