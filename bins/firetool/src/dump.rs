//! `dump` and `dump-openmetrics`: what a database says.

use std::{collections::BTreeMap, io::Write, path::Path};

use firesteel_model::{
    FloatHistogram, Histogram, Labels,
    float::{go_quote, write_g},
    is_stale_nan,
    storage::{
        BatchValues, Interner, QueryContext, Queryable, SampleBatch, SelectHints,
        merge::MergedSeries,
    },
};
use firesteel_promql::parse_metric_selector;
use firesteel_tsdb::{Db, fs::OsFs};

use crate::{Failure, Outcome, list};

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line per sample: labels, value, time.
    Samples,
    /// A line per series: its labels as JSON.
    SeriesJson,
    /// OpenMetrics text; floats alone.
    OpenMetrics,
}

/// Prints the samples between two times, both inclusive, of the series that a selector selects.
pub(crate) fn run(
    path: &Path,
    (mint, maxt): (i64, i64),
    selectors: &[String],
    format: Format,
    out: &mut dyn Write,
) -> Outcome {
    // For its message, where there is no directory.
    list::names(path)?;
    let db = Db::builder(path)
        .fs(std::sync::Arc::new(OsFs::new()))
        .retention(None)
        .open_read_only()
        .map_err(|e| Failure::of("opening the database", &e))?;
    let failed = |e: &dyn std::error::Error| Failure::of("reading the database", e);
    let ctx = QueryContext::background();
    let querier = db.querier(mint, maxt).map_err(|e| failed(&e))?;
    let mut sets = Vec::new();
    let mut interner = Interner::new();
    for selector in selectors {
        let matchers = parse_metric_selector(selector).map_err(Failure::new)?;
        let selection = querier
            .select(&ctx, &matchers, &SelectHints::range(mint, maxt))
            .map_err(|e| failed(&e))?;
        let merged = MergedSeries::new(&ctx, selection, &mut interner).map_err(|e| failed(&e))?;
        sets.push(merged);
    }
    // A series that two selectors select is the same in both.
    let mut order = BTreeMap::new();
    for (set, merged) in sets.iter().enumerate() {
        for series in 0..merged.len() {
            order.entry(interner.labels(merged.pairs(series))).or_insert((set, series));
        }
    }
    let mut readers: Vec<_> = sets.iter().map(|set| set.reader(&ctx)).collect();
    let mut batch = SampleBatch::default();
    let mut line = String::new();
    for (labels, (set, series)) in order {
        let Some(reader) = readers.get_mut(set) else { continue };
        reader.open(series).map_err(|e| failed(&e))?;
        let names = Names::new(&labels, format);
        let mut any = false;
        while reader.next(&mut batch).map_err(|e| failed(&e))? {
            line.clear();
            for i in 0..batch.timestamps.len() {
                let t = batch.timestamps.get(i).copied().unwrap_or_default();
                if (mint..=maxt).contains(&t) {
                    any = true;
                    names.sample(&batch.values, i, t, &mut line);
                }
            }
            out.write_all(line.as_bytes())?;
        }
        if any && format == Format::SeriesJson {
            writeln!(out, "{}", json(&labels))?;
        }
    }
    if format == Format::OpenMetrics {
        writeln!(out, "# EOF")?;
    }
    Ok(())
}

/// A series' name in front of its samples.
struct Names {
    text: String,
    format: Format,
}

impl Names {
    fn new(labels: &Labels, format: Format) -> Self {
        let text = match format {
            Format::Samples => labels.to_string(),
            Format::SeriesJson => String::new(),
            Format::OpenMetrics => {
                let rest = labels.without_name();
                let pairs: Vec<_> =
                    rest.iter().map(|(n, v)| format!("{n}={}", go_quote(v))).collect();
                format!("{}{{{}}}", labels.metric_name().unwrap_or_default(), pairs.join(","))
            }
        };
        Self { text, format }
    }

    /// Appends the line of sample `i`.
    fn sample(&self, values: &BatchValues, i: usize, t: i64, out: &mut String) {
        match (values, self.format) {
            (_, Format::SeriesJson) | (BatchValues::Histograms(_), Format::OpenMetrics) => {}
            (BatchValues::Floats(values), format) => {
                out.push_str(&self.text);
                out.push(' ');
                write_g(out, values.get(i).copied().unwrap_or_default());
                out.push(' ');
                match format {
                    Format::OpenMetrics => out.push_str(&format!("{:.3}", t as f64 / 1000.0)),
                    _ => out.push_str(&t.to_string()),
                }
                out.push('\n');
            }
            (BatchValues::Histograms(histograms), _) => {
                let Some(row) = histograms.row(i) else { return };
                let value = if is_stale_nan(row.sum) {
                    "{count:0, sum:NaN}".to_owned()
                } else if histograms.integer {
                    integer(&row).to_string()
                } else {
                    row.to_string()
                };
                out.push_str(&format!("{} {value} {t}\n", self.text));
            }
        }
    }
}

/// A histogram whose counts were integers.
fn integer(row: &FloatHistogram) -> Histogram {
    let deltas = |counts: &[f64]| {
        let mut before = 0;
        let delta = |c: &f64| *c as i64 - std::mem::replace(&mut before, *c as i64);
        counts.iter().map(delta).collect()
    };
    Histogram {
        counter_reset_hint: row.counter_reset_hint,
        layout: row.layout.clone(),
        zero_count: row.zero_count as u64,
        count: row.count as u64,
        sum: row.sum,
        positive_deltas: deltas(&row.positive_buckets),
        negative_deltas: deltas(&row.negative_buckets),
    }
}

/// Labels as a JSON object, as Go writes it.
fn json(labels: &Labels) -> String {
    let text = |s: &str| {
        let mut out = String::from("\"");
        for c in s.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.push_str(&format!("\\u{:04x}", c as u32));
                }
                c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
                c => out.push(c),
            }
        }
        out.push('"');
        out
    };
    let pairs: Vec<_> = labels.iter().map(|(n, v)| format!("{}:{}", text(n), text(v))).collect();
    format!("{{{}}}", pairs.join(","))
}
