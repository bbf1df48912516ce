//! `query analyze`: how many buckets of histograms are in use.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use serde_json::Value;

use super::{Server, now, parse_time, seconds, value};
use crate::{Failure, Outcome, text};

const HEAD: &str = "Bucket stats for each histogram series over time
------------------------------------------------
First the min, avg, and max number of populated buckets, followed by the total
number of buckets (only if different from the max number of populated buckets
which is typical for classic but not native histograms).";
const FOOT: &str = "Aggregated bucket stats
-----------------------
Each line shows min/avg/max over the series above.";

/// What to analyze.
pub(crate) struct Analysis {
    /// `histogram`, the only one.
    pub(crate) kind: String,
    /// Milliseconds.
    pub(crate) duration: i64,
    pub(crate) time: Option<String>,
    pub(crate) matchers: Vec<String>,
}

/// Prints the analysis.
pub(crate) fn run(server: &Server, analysis: &Analysis, out: &mut dyn Write) -> Outcome {
    if analysis.kind != "histogram" {
        let text = format!("analyze type is {}, must be 'histogram'", analysis.kind);
        return Err(Failure::Message(text));
    }
    let end = match &analysis.time {
        Some(text) => parse_time(text, &format!("error parsing time '{text}'"))?,
        None => now(),
    };
    let client = server.client()?;
    writeln!(out, "{HEAD}\n")?;
    let (mut native, mut classic) = (Totals::default(), Totals::default());
    for matcher in &analysis.matchers {
        let query = format!("{matcher}[{}]", text::duration(analysis.duration));
        let data = client.call("query", &[("query", query), ("time", seconds(end))])?;
        if data["resultType"] != "matrix" {
            let text = "query of buckets resulted in non-Matrix".to_owned();
            return Err(Failure::Message(text));
        }
        let mut groups: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for series in data["result"].as_array().into_iter().flatten() {
            if series["values"].as_array().is_none_or(Vec::is_empty) {
                if let Some(usage) = native_usage(series) {
                    let name = value::metric(&series["metric"]);
                    writeln!(out, "- {name} (native): {}", usage.text())?;
                    native.add(&usage);
                }
            } else if let Some(key) = classic_key(&series["metric"]) {
                groups.entry(key).or_default().push(series);
            }
        }
        for (key, series) in groups {
            if let Some(usage) = classic_usage(series)? {
                writeln!(out, "- {key} (classic): {}", usage.text())?;
                classic.add(&usage);
            }
        }
    }
    writeln!(out, "\n{FOOT}")?;
    for (name, totals) in [("Native", native), ("Classic", classic)] {
        if totals.least.count > 0 {
            writeln!(out, "\n{name} {}", totals.text())?;
        }
    }
    Ok(())
}

/// Buckets in use of a histogram over time, and how many there are.
struct Usage {
    least: u64,
    average: f64,
    most: u64,
    total: u64,
}

impl Usage {
    fn new(counts: &[u64], total: u64) -> Self {
        let sum: u64 = counts.iter().sum();
        Self {
            least: counts.iter().copied().min().unwrap_or(0),
            average: sum as f64 / counts.len().max(1) as f64,
            most: counts.iter().copied().max().unwrap_or(0),
            total,
        }
    }

    fn text(&self) -> String {
        let text = format!("{}/{:.3}/{}", self.least, self.average, self.most);
        if self.most == self.total { text } else { format!("{text}/{}", self.total) }
    }
}

fn native_usage(series: &Value) -> Option<Usage> {
    let histograms = series["histograms"].as_array().filter(|h| h.len() > 1)?;
    let mut bounds = BTreeSet::new();
    let mut counts = Vec::with_capacity(histograms.len());
    for point in histograms {
        let buckets = point[1]["buckets"].as_array().map_or(&[][..], Vec::as_slice);
        counts.push(buckets.len() as u64);
        bounds.extend(buckets.iter().map(|b| format!("{} {} {}", b[0], b[1], b[2])));
    }
    Some(Usage::new(&counts, bounds.len() as u64))
}

/// Name and labels of a bucket's histogram.
fn classic_key(metric: &Value) -> Option<String> {
    let labels = metric.as_object()?;
    let name = labels.get("__name__")?.as_str()?;
    if !labels.contains_key("le") || !name.ends_with("_bucket") {
        return None;
    }
    let mut rest = labels.clone();
    rest.retain(|k, _| k != "__name__" && k != "le");
    Some(format!("{name}{}", value::label_set(&Value::Object(rest))))
}

fn classic_usage(mut series: Vec<&Value>) -> Result<Option<Usage>, Failure> {
    let bound = |s: &Value| -> f64 {
        s["metric"]["le"].as_str().and_then(|le| le.parse().ok()).unwrap_or(0.0)
    };
    let values = |s: &Value| -> Vec<(f64, f64)> {
        let point = |p: &Value| {
            let v = p[1].as_str().and_then(|v| v.parse().ok()).unwrap_or(f64::NAN);
            (p[0].as_f64().unwrap_or(0.0), v)
        };
        s["values"].as_array().into_iter().flatten().map(point).collect()
    };
    let first = series.first().map_or_else(Vec::new, |s| values(s));
    if first.len() < 2 {
        return Ok(None);
    }
    series.sort_by(|a, b| bound(a).total_cmp(&bound(b)));
    let columns: Vec<_> = series.iter().map(|s| values(s)).collect();
    let mut counts = Vec::with_capacity(first.len());
    for at in 0..first.len() {
        let mut used = u64::from(columns[0].get(at).is_some_and(|p| p.1 as i64 != 0));
        for pair in columns.windows(2) {
            let (Some(before), Some(this)) = (pair[0].get(at), pair[1].get(at)) else { break };
            if before.0 != this.0 {
                return Err(Failure::Message("matrix result is not time aligned".to_owned()));
            }
            used += u64::from((this.1 - before.1) as i64 != 0);
        }
        counts.push(used);
    }
    Ok(Some(Usage::new(&counts, series.len() as u64)))
}

/// Least, average and most of a figure over all histograms.
#[derive(Default, PartialEq)]
struct Spread {
    least: u64,
    most: u64,
    count: u64,
    average: f64,
}

impl Spread {
    fn add(&mut self, n: u64) {
        self.least = if self.count == 0 { n } else { self.least.min(n) };
        self.most = self.most.max(n);
        self.count += 1;
        let count = self.count as f64;
        self.average += n as f64 / count - self.average / count;
    }

    fn text(&self) -> String {
        format!("{}/{:.3}/{}", self.least, self.average, self.most)
    }
}

#[derive(Default)]
struct Totals {
    least: Spread,
    average: Spread,
    most: Spread,
    total: Spread,
}

impl Totals {
    fn add(&mut self, usage: &Usage) {
        self.least.add(usage.least);
        self.average.add(usage.average as u64);
        self.most.add(usage.most);
        self.total.add(usage.total);
    }

    fn text(&self) -> String {
        let mut text = format!(
            "histogram series ({} in total):\n- min populated: {}\n- avg populated: {}\n- max \
             populated: {}",
            self.least.count,
            self.least.text(),
            self.average.text(),
            self.most.text()
        );
        if self.most != self.total {
            text.push_str(&format!("\n- total: {}", self.total.text()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn buckets_in_use_are_counted() {
        let series = |le: &str, values: [&str; 2]| {
            json!({"metric": {"__name__": "h_bucket", "le": le, "a": "b"},
                   "values": [[1, values[0]], [2, values[1]]]})
        };
        let all = [series("+Inf", ["3", "5"]), series("1", ["1", "5"]), series("0.5", ["0", "2"])];
        let usage = classic_usage(all.iter().collect()).unwrap().unwrap();
        assert_eq!(usage.text(), "2/2.000/2/3");
        assert_eq!(classic_key(&all[0]["metric"]).unwrap(), "h_bucket{a=\"b\"}");
        let native = json!({"histograms": [
            [1, {"buckets": [[0, "1", "2", "1"]]}],
            [2, {"buckets": [[0, "1", "2", "1"], [0, "2", "4", "1"]]}],
        ]});
        assert_eq!(native_usage(&native).unwrap().text(), "1/1.500/2");
    }
}
