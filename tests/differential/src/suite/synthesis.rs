//! Series made for queries: each selector finds some, and the labels that the queries group, match
//! and join by are there, with the same values in all metrics.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_model::{Labels, METRIC_NAME, MatchOp, Matcher};
use firesteel_promql::{Expr, ParserOptions, ast::Cardinality, parse};

use crate::data::{END, START, Series, Value};

/// Between two samples, milliseconds.
const STEP: usize = 30_000;
/// Series of one selector.
const VARIANTS: usize = 3;
/// Series of one metric.
const MOST: usize = 36;
const BOUNDS: [&str; 6] = ["0.01", "0.1", "0.5", "1", "5", "+Inf"];

/// What queries say about a metric.
#[derive(Default)]
struct Known {
    /// Labels that they name.
    labels: BTreeSet<String>,
    /// What selectors ask for.
    selectors: Vec<Vec<Matcher>>,
    /// Whether a rate is taken.
    counter: bool,
    /// Labels by which it is joined as the side that must have one series each.
    unique: Option<BTreeSet<String>>,
}

/// Series for those metrics that `queries` select by name and `there` does not have.
#[must_use]
pub fn synthesize<'a>(
    queries: impl IntoIterator<Item = &'a str>,
    there: &BTreeSet<String>,
) -> Vec<Series> {
    let options = ParserOptions::experimental();
    let exprs: Vec<Expr> = queries.into_iter().filter_map(|q| parse(q, &options).ok()).collect();
    let mut known = BTreeMap::<String, Known>::new();
    for expr in &exprs {
        learn(expr, &mut known);
    }
    let values = values(&known);
    let mut all = Vec::new();
    // Some lists ask for what is not there, and say so.
    let wanted = |name: &String| !there.contains(name) && !name.starts_with("nonexistent");
    for (name, known) in known.iter().filter(|(name, _)| wanted(name)) {
        series_of(name, known, &values, &mut all);
    }
    all
}

fn learn(expr: &Expr, known: &mut BTreeMap<String, Known>) {
    let mut labels = BTreeSet::new();
    let mut counters = BTreeSet::new();
    let mut joins = Vec::new();
    expr.walk(&mut |e| match e {
        Expr::Aggregate(a) => labels.extend(a.grouping.iter().cloned()),
        Expr::Binary(b) => {
            if let Some(matching) = &b.matching {
                labels.extend(matching.labels.iter().cloned());
                labels.extend(matching.include.iter().cloned());
                joins.push((b, matching));
            }
        }
        Expr::Call(call) if matches!(call.func.name, "rate" | "increase" | "irate") => {
            for selector in call.args.iter().flat_map(Expr::selectors) {
                counters.extend(names(&selector.matchers));
            }
        }
        _ => {}
    });
    labels.remove("le");
    for selector in expr.selectors() {
        for name in names(&selector.matchers) {
            let metric = known.entry(name.clone()).or_default();
            metric.counter |= counters.contains(&name);
            metric.labels.extend(labels.iter().cloned());
            let own = selector.matchers.iter().filter(|m| m.name() != METRIC_NAME);
            let own: Vec<_> = own.cloned().collect();
            metric.labels.extend(own.iter().map(|m| m.name().to_owned()));
            metric.selectors.push(own);
        }
    }
    for (binary, matching) in joins.iter().filter(|(_, matching)| matching.on) {
        let one = match matching.card {
            Cardinality::ManyToOne => vec![&binary.rhs],
            Cardinality::OneToMany => vec![&binary.lhs],
            Cardinality::OneToOne => vec![&binary.lhs, &binary.rhs],
            Cardinality::ManyToMany => Vec::new(),
        };
        let selectors = one.into_iter().flat_map(Expr::selectors);
        for name in selectors.flat_map(|s| names(&s.matchers)) {
            let metric = known.entry(name).or_default();
            let labels: BTreeSet<String> = matching.labels.iter().cloned().collect();
            metric.unique = Some(match metric.unique.take() {
                Some(unique) => unique.intersection(&labels).cloned().collect(),
                None => labels,
            });
        }
    }
}

/// The names that a selector asks for, as far as they can be told.
fn names(matchers: &[Matcher]) -> Vec<String> {
    let Some(matcher) = matchers.iter().find(|m| m.name() == METRIC_NAME) else {
        return Vec::new();
    };
    match matcher.op() {
        MatchOp::Equal => vec![matcher.value().to_owned()],
        MatchOp::Regex => alternatives(matcher.value()),
        _ => Vec::new(),
    }
}

/// The words of `a|b|c`, with what is open filled in.
fn alternatives(regex: &str) -> Vec<String> {
    let words = regex.trim_matches(['(', ')', '^', '$']).split('|');
    let words = words.map(|w| w.replace(".*", "x").replace(".+", "x").replace("\\.", "."));
    let plain = |w: &String| w.chars().all(|c| c.is_ascii_alphanumeric() || "_-./: ".contains(c));
    words.filter(plain).filter(|w| !w.is_empty()).take(6).collect()
}

/// Values of each label, the same for all metrics.
fn values(known: &BTreeMap<String, Known>) -> BTreeMap<String, Vec<String>> {
    let mut values = BTreeMap::<String, BTreeSet<String>>::new();
    for metric in known.values() {
        for label in &metric.labels {
            values.entry(label.clone()).or_default();
        }
        for matcher in metric.selectors.iter().flatten() {
            let of = values.entry(matcher.name().to_owned()).or_default();
            match matcher.op() {
                MatchOp::Equal if !matcher.value().is_empty() => {
                    of.insert(matcher.value().to_owned());
                }
                MatchOp::Regex | MatchOp::NotRegex => of.extend(alternatives(matcher.value())),
                _ => {}
            }
        }
    }
    let with_usual = |(label, of): (String, BTreeSet<String>)| {
        // Usual ones first, so that they are in most metrics.
        let usual = (0..VARIANTS).map(|i| format!("{label}-{i}"));
        let all = usual.chain(of).collect();
        (label, all)
    };
    values.into_iter().map(with_usual).collect()
}

fn series_of(
    name: &str,
    known: &Known,
    values: &BTreeMap<String, Vec<String>>,
    out: &mut Vec<Series>,
) {
    let (mut sets, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for selector in &known.selectors {
        for variant in 0..VARIANTS {
            if sets.len() >= MOST {
                break;
            }
            let pairs = known.labels.iter().filter(|l| *l != "le" && *l != "quantile");
            let pairs = pairs.filter_map(|label| {
                let value = choose(label, selector, values.get(label)?, variant)?;
                Some((label.as_str(), value))
            });
            let labels = Labels::from_pairs(pairs.chain([(METRIC_NAME, name)]));
            let key: Option<Vec<_>> = known.unique.as_ref().map(|unique| {
                unique.iter().map(|label| labels.get(label).map(str::to_owned)).collect()
            });
            if key.is_none_or(|key| keys.insert(key)) {
                sets.insert(labels);
            }
        }
    }
    let seed = name.bytes().fold(7_u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
    let rng = &mut fastrand::Rng::with_seed(seed);
    for labels in sets {
        if name.ends_with("_bucket") {
            out.extend(buckets(rng, &labels));
        } else {
            out.push(one(rng, labels, name, known.counter));
        }
    }
}

/// A value of a label that a selector accepts.
fn choose<'a>(
    label: &str,
    selector: &[Matcher],
    values: &'a [String],
    variant: usize,
) -> Option<&'a str> {
    let accepted = |value: &str| {
        selector.iter().filter(|m| m.name() == label).all(|matcher| matcher.matches(value))
    };
    let mut fitting = values.iter().map(String::as_str).filter(|v| accepted(v)).cycle();
    fitting.nth(variant)
}

fn times() -> impl Iterator<Item = i64> {
    (START..END).step_by(STEP)
}

fn one(rng: &mut fastrand::Rng, labels: Labels, name: &str, counter: bool) -> Series {
    let counter = counter || ["_total", "_count", "_sum"].iter().any(|end| name.ends_with(end));
    let constant = name.ends_with("_info") || name.ends_with("_labels");
    let flag = name.contains("status") || name.ends_with("up") || rng.u8(0..6) == 0;
    let scale = [0.1, 10.0, 1e6][rng.usize(0..3)];
    let mut v = scale * rng.f64();
    let samples = times().map(|t| {
        if constant {
            v = 1.0;
        } else if counter {
            v = if rng.u8(0..200) == 0 { 0.0 } else { v + scale * rng.f64() };
        } else if flag {
            v = f64::from(u8::from(rng.f64() < 0.7));
        } else {
            v = (v + scale * 0.2 * (rng.f64() - 0.5)).abs();
        }
        (t, Value::Float(v))
    });
    Series { samples: samples.collect(), labels }
}

fn buckets(rng: &mut fastrand::Rng, labels: &Labels) -> Vec<Series> {
    let mut rows = vec![Vec::new(); BOUNDS.len()];
    let mut counts = [0.0; BOUNDS.len()];
    for t in times() {
        for _ in 0..rng.u8(0..6) {
            let bucket = rng.usize(0..BOUNDS.len());
            counts[bucket..].iter_mut().for_each(|count| *count += 1.0);
        }
        for (row, count) in rows.iter_mut().zip(counts) {
            row.push((t, Value::Float(count)));
        }
    }
    let with_bound = |(samples, le): (Vec<_>, &str)| {
        let labels = labels.to_builder().set("le", le).build();
        Series { labels, samples }
    };
    rows.into_iter().zip(BOUNDS).map(with_bound).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_selector_finds_series() {
        let queries = [
            r#"sum by (pod) (rate(requests_total{code=~"4..|500",job!="x"}[5m]))"#,
            r#"histogram_quantile(0.9, sum by (le) (rate(latency_bucket{job="api"}[5m])))"#,
        ];
        let series = synthesize(queries, &BTreeSet::new());
        let of = |name: &str| -> Vec<_> {
            series.iter().filter(|s| s.labels.get(METRIC_NAME) == Some(name)).collect()
        };
        assert_eq!(of("requests_total").len(), VARIANTS);
        assert!(of("requests_total").iter().all(|s| s.labels.get("pod").is_some()));
        assert!(of("requests_total").iter().any(|s| s.labels.get("code") == Some("500")));
        assert_eq!(of("latency_bucket").len(), BOUNDS.len());
        assert_eq!(of("latency_bucket")[0].labels.get("job"), Some("api"));
    }
}
