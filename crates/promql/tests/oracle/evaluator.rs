//! The evaluator: what each construct means, at one time, written down as plainly as it goes.

use std::{collections::BTreeMap, fmt};

use firesteel_model::{Labels, Timestamp, is_stale_nan};

/// A series of the world.
pub(crate) type Series = (Labels, Vec<(Timestamp, f64)>);
/// What a query gives at one time.
type Vector = BTreeMap<Labels, f64>;

pub(crate) const FUNCTIONS: [&str; 13] = [
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "changes",
    "resets",
    "rate",
    "increase",
    "delta",
    "idelta",
];
pub(crate) const AGGREGATIONS: [&str; 6] = ["sum", "avg", "min", "max", "count", "group"];
pub(crate) const OPERATORS: [&str; 9] = ["+", "-", "*", "/", "> bool", "<=", "and", "or", "unless"];

const LOOKBACK: i64 = 300_000;

/// A query.
#[derive(Clone, Debug)]
pub(crate) enum Query {
    Selector { name: &'static str, offset: i64 },
    Window { function: &'static str, name: &'static str, range: i64, offset: i64 },
    Aggregate { op: &'static str, by: Vec<&'static str>, of: Box<Self> },
    Binary { op: &'static str, left: Box<Self>, right: Box<Self> },
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shift = |f: &mut fmt::Formatter<'_>, offset: i64| match offset {
            0 => Ok(()),
            ms if ms < 0 => write!(f, " offset -{}ms", -ms),
            ms => write!(f, " offset {ms}ms"),
        };
        match self {
            Self::Selector { name, offset } => {
                write!(f, "{name}")?;
                shift(f, *offset)
            }
            Self::Window { function, name, range, offset } => {
                write!(f, "{function}({name}[{range}ms]")?;
                shift(f, *offset)?;
                write!(f, ")")
            }
            Self::Aggregate { op, by, of } => write!(f, "{op} by ({}) ({of})", by.join(", ")),
            Self::Binary { op, left, right } => write!(f, "({left}) {op} ({right})"),
        }
    }
}

fn without_name(labels: &Labels) -> Labels {
    labels.to_builder().del("__name__").build()
}

/// Adds a series to a vector; there may be none with the same labels.
fn add(vector: &mut Vector, labels: Labels, v: f64) -> Result<(), String> {
    match vector.insert(labels, v) {
        None => Ok(()),
        Some(_) => Err("vector cannot contain metrics with the same labelset".to_owned()),
    }
}

impl Query {
    /// The result at a time, or a part of the error.
    pub(crate) fn at(&self, world: &[Series], t: Timestamp) -> Result<Vector, String> {
        match self {
            Self::Selector { name, offset } => {
                let t = t - offset;
                let mut vector = Vector::new();
                for (labels, samples) in world.iter().filter(|s| s.0.get("__name__") == Some(name))
                {
                    let newest = samples.iter().rfind(|s| s.0 <= t && s.0 > t - LOOKBACK);
                    if let Some((_, v)) = newest.filter(|s| !is_stale_nan(s.1)) {
                        add(&mut vector, labels.clone(), *v)?;
                    }
                }
                Ok(vector)
            }
            Self::Window { function, name, range, offset } => {
                let (end, start) = (t - offset, t - offset - range);
                let mut vector = Vector::new();
                for (labels, samples) in world.iter().filter(|s| s.0.get("__name__") == Some(name))
                {
                    let inside = samples.iter().filter(|s| s.0 > start && s.0 <= end);
                    let inside: Vec<_> = inside.copied().filter(|s| !is_stale_nan(s.1)).collect();
                    if let Some(v) = window(function, &inside, start, end) {
                        let keeps = *function == "last_over_time";
                        let labels = if keeps { labels.clone() } else { without_name(labels) };
                        add(&mut vector, labels, v)?;
                    }
                }
                Ok(vector)
            }
            Self::Aggregate { op, by, of } => {
                let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
                for (labels, v) in of.at(world, t)? {
                    let pairs = by.iter().filter_map(|name| Some((*name, labels.get(name)?)));
                    let key = Labels::from_pairs(pairs.collect::<Vec<_>>());
                    groups.entry(key).or_default().push(v);
                }
                Ok(groups.into_iter().map(|(key, vs)| (key, aggregate(op, &vs))).collect())
            }
            Self::Binary { op, left, right } => binary(op, left.at(world, t)?, right.at(world, t)?),
        }
    }
}

/// A function of the samples of a window that is open on the left.
fn window(function: &str, samples: &[(Timestamp, f64)], start: i64, end: i64) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let n = samples.len() as f64;
    let values = || samples.iter().map(|s| s.1);
    let pairs = || samples.windows(2).map(|w| (w[0].1, w[1].1));
    Some(match function {
        "sum_over_time" => values().sum(),
        "avg_over_time" => values().sum::<f64>() / n,
        "min_over_time" => values().fold(f64::INFINITY, f64::min),
        "max_over_time" => values().fold(f64::NEG_INFINITY, f64::max),
        "count_over_time" => n,
        "last_over_time" => last.1,
        "present_over_time" => 1.0,
        "changes" => pairs().filter(|(a, b)| a != b).count() as f64,
        "resets" => pairs().filter(|(a, b)| b < a).count() as f64,
        _ if samples.len() < 2 => return None,
        "idelta" => last.1 - samples[samples.len() - 2].1,
        _ => {
            let counter = function != "delta";
            let mut change = last.1 - first.1;
            if counter {
                change += pairs().filter(|(a, b)| b < a).map(|(a, _)| a).sum::<f64>();
            }
            let seconds = |ms: i64| ms as f64 / 1000.0;
            let sampled = seconds(last.0 - first.0);
            let between = sampled / (n - 1.0);
            // To an edge that is near the window is taken to be full, else half a gap is added.
            let reach = |edge: f64| if edge >= between * 1.1 { between / 2.0 } else { edge };
            let mut before = reach(seconds(first.0 - start));
            if counter && change > 0.0 && first.1 >= 0.0 {
                let to_zero = sampled * (first.1 / change);
                // As before, but never to where the counter would have been below zero.
                before = before.min(if seconds(first.0 - start) >= between * 1.1 {
                    to_zero
                } else {
                    to_zero.min(seconds(first.0 - start))
                });
            }
            let after = reach(seconds(end - last.0));
            let factor = (sampled + before + after) / sampled;
            let whole = change * factor;
            if function == "rate" { whole / seconds(end - start) } else { whole }
        }
    })
}

fn aggregate(op: &str, values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let greater = |a: f64, b: f64| if a.is_nan() || b > a { b } else { a };
    match op {
        "sum" => sum,
        "avg" => sum / values.len() as f64,
        "min" => -values.iter().map(|v| -v).fold(f64::NAN, greater),
        "max" => values.iter().copied().fold(f64::NAN, greater),
        "count" => values.len() as f64,
        _ => 1.0,
    }
}

/// An operation on what has the same labels, the name not counted.
fn binary(op: &str, left: Vector, right: Vector) -> Result<Vector, String> {
    let matches = |labels: &Labels, other: &Vector| {
        other.keys().any(|o| without_name(o) == without_name(labels))
    };
    match op {
        "and" => return Ok(left.into_iter().filter(|(l, _)| matches(l, &right)).collect()),
        "unless" => return Ok(left.into_iter().filter(|(l, _)| !matches(l, &right)).collect()),
        "or" => {
            let more: Vector = right.into_iter().filter(|(l, _)| !matches(l, &left)).collect();
            return Ok(left.into_iter().chain(more).collect());
        }
        _ => {}
    }
    if left.is_empty() || right.is_empty() {
        return Ok(Vector::new());
    }
    let mut others: BTreeMap<Labels, f64> = BTreeMap::new();
    for (labels, v) in right {
        if others.insert(without_name(&labels), v).is_some() {
            return Err("found duplicate series for the match group".to_owned());
        }
    }
    let mut result = Vector::new();
    for (labels, a) in left {
        let key = without_name(&labels);
        let Some(b) = others.get(&key) else { continue };
        let (v, labels) = match op {
            "+" => (a + b, key),
            "-" => (a - b, key),
            "*" => (a * b, key),
            "/" => (a / b, key),
            "> bool" => (f64::from(u8::from(a > *b)), key),
            _ if a <= *b => (a, labels),
            _ => continue,
        };
        if result.insert(labels, v).is_some() {
            return Err("multiple matches for labels".to_owned());
        }
    }
    Ok(result)
}
