//! `check metrics`: a page from standard input, looked through for what readers or people may
//! stumble over.
//!
//! Source of the rules and their texts: `promlint` of Prometheus' Go client, version 1.23, as promtool
//! prints them. The text format is read as strictly as promtool reads it: a family is described once
//! and before its samples.

use std::{
    collections::{HashMap, HashSet},
    io::{Read as _, Write},
};

use firesteel_exposition::{
    Entry, Families, Format, MetricFamily, MetricValue, Parser, check_openmetrics,
};
use firesteel_model::{MetricType, float::go_quote};

use crate::{Failure, Outcome};

/// What to do with a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Print how many series each metric has.
    pub(crate) extended: bool,
    /// Look for problems.
    pub(crate) lint: bool,
    /// The page is OpenMetrics and held against the whole specification.
    pub(crate) openmetrics: bool,
}

/// Reads the page from standard input.
pub(crate) fn run(options: Options, out: &mut dyn Write) -> Outcome {
    if !options.extended && !options.lint {
        return Err(Failure::new(
            "error: at least one of --extended or linting must be enabled\n\
             Use --extended for cardinality analysis, or remove --lint=none to enable linting",
        ));
    }
    let mut page = Vec::new();
    std::io::stdin().lock().read_to_end(&mut page)?;
    let format = if options.openmetrics { Format::OpenMetrics } else { Format::PrometheusText };
    let what = if options.lint {
        "error while linting"
    } else {
        "error while parsing text to metric families"
    };
    let checked = match format {
        Format::OpenMetrics => openmetrics(&page),
        _ => described_once(&page),
    };
    let families = checked.and_then(|()| parse(format, &page));
    let families = families.map_err(|e| Failure::new(format!("{what}: {e}")))?;
    if options.extended {
        cardinality(&families, out)?;
    }
    let problems = if options.lint { lint(&families, format) } else { Vec::new() };
    if problems.is_empty() { Ok(()) } else { Err(Failure::Lint(problems.join("\n"))) }
}

fn place(line: usize, message: &str) -> String {
    format!("text format parsing error in line {line}: {message}")
}

fn parse(format: Format, page: &[u8]) -> Result<Families, String> {
    Families::parse(format, page).map_err(|e| describe(&e))
}

fn describe(e: &firesteel_exposition::Error) -> String {
    e.syntax().map_or_else(|| e.to_string(), |at| place(at.line, &at.message))
}

fn openmetrics(page: &[u8]) -> Result<(), String> {
    match check_openmetrics(page) {
        Ok(_) => Ok(()),
        Err(e) => Err(e.syntax().map_or_else(
            || e.to_string(),
            |at| format!("line {}, column {}: {}", at.line, at.column, at.message),
        )),
    }
}

/// What was said about a family so far.
#[derive(Default)]
struct Described {
    help: bool,
    /// Its type, or that it has samples and so none.
    kind: Option<MetricType>,
}

/// Refuses a family that is described twice, or after its samples.
fn described_once(page: &[u8]) -> Result<(), String> {
    let mut families: HashMap<String, Described> = HashMap::new();
    let mut parser = Parser::new(Format::PrometheusText, page);
    let mut line = 0;
    loop {
        let mut wrong = None;
        match parser.next_entry().map_err(|e| describe(&e))? {
            // Readers take such a page, but it may be the half of one.
            None if page.last().is_some_and(|b| *b != b'\n') => {
                return Err(place(line.max(1), "unexpected end of input stream"));
            }
            None => return Ok(()),
            Some(Entry::Help { family, text }) if !text.is_empty() => {
                let family = family.into_owned();
                let quoted = go_quote(&family);
                if std::mem::replace(&mut families.entry(family).or_default().help, true) {
                    wrong = Some(format!("second HELP line for metric name {quoted}"));
                }
            }
            Some(Entry::Type { family, kind }) => {
                let family = family.into_owned();
                let quoted = go_quote(&family);
                if families.entry(family).or_default().kind.replace(kind).is_some() {
                    wrong = Some(format!(
                        "second TYPE line for metric name {quoted}, or TYPE reported after samples"
                    ));
                }
            }
            Some(Entry::Series(series)) => {
                let name = series.metric_name();
                if series.to_labels().is_err() {
                    let name = go_quote(&name);
                    wrong = Some(format!("duplicate label names for metric {name}"));
                }
                let family = family_of(&families, &name).to_owned();
                families.entry(family).or_default().kind.get_or_insert(MetricType::Unknown);
            }
            Some(_) => {}
        }
        line += parser.entry_text().iter().filter(|b| **b == b'\n').count();
        if let Some(wrong) = wrong {
            return Err(place(line, &wrong));
        }
    }
}

/// The family that a series belongs to by its name and by what came before it.
fn family_of<'n>(families: &HashMap<String, Described>, name: &'n str) -> &'n str {
    if families.contains_key(name) {
        return name;
    }
    let is = |name: &str, kind| families.get(name).is_some_and(|f| f.kind == Some(kind));
    for (suffix, summary) in [("_count", true), ("_sum", true), ("_bucket", false)] {
        let Some(base) = name.strip_suffix(suffix) else { continue };
        if is(base, MetricType::Histogram) || (summary && is(base, MetricType::Summary)) {
            return base;
        }
    }
    name
}

/// Metrics with the number of their series, the greatest first.
fn cardinality(families: &Families, out: &mut dyn Write) -> Outcome {
    let mut all: Vec<_> = families
        .families
        .iter()
        .filter(|f| !f.metrics.is_empty())
        .map(|f| {
            let parts = f.metrics.first().map_or(1, |metric| match &metric.value {
                MetricValue::Histogram(h) => 2 + h.buckets.len(),
                MetricValue::Summary { quantiles, .. } => 2 + quantiles.len(),
                _ => 1,
            });
            (&*f.name, f.metrics.len() * parts)
        })
        .collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let total: usize = all.iter().map(|(_, n)| n).sum();
    let percent = |n: usize| format!("{:.2}%", n as f64 / total as f64 * 100.0);
    let head = ["Metric", "Cardinality", "Percentage"].map(str::to_owned);
    let rows = all.iter().map(|(name, n)| [(*name).to_owned(), n.to_string(), percent(*n)]);
    let last = ["Total".to_owned(), total.to_string(), "100%".to_owned()];
    let rows: Vec<[String; 3]> = [head].into_iter().chain(rows).chain([last]).collect();
    let width = |i: usize| rows.iter().map(|row| row[i].len()).max().unwrap_or(0) + 4;
    let widths = [width(0), width(1), width(2)];
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            write!(out, "{cell:width$}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Problems as `metric text`, sorted.
fn lint(families: &Families, format: Format) -> Vec<String> {
    let mut problems = Vec::new();
    for family in families.families.iter().filter(|f| !f.metrics.is_empty()) {
        let mut add = |text: &str| problems.push((family.name.clone(), text.to_owned()));
        lint_family(family, format, &mut add);
        lint_units(&family.name, &mut add);
    }
    problems.sort();
    problems.iter().map(|(metric, text)| format!("{metric} {text}")).collect()
}

fn lint_family(family: &MetricFamily, format: Format, add: &mut dyn FnMut(&str)) {
    let MetricFamily { name, kind, metrics, .. } = family;
    let ends = |suffix: &str| name.ends_with(suffix);
    let (histogram, summary) = (*kind == MetricType::Histogram, *kind == MetricType::Summary);
    let typed = *kind != MetricType::Unknown;
    if family.help.is_empty() {
        add("no help text");
    }
    if *kind == MetricType::Counter && !ends("_total") && format != Format::OpenMetrics {
        add("counter metrics should have \"_total\" suffix");
    } else if typed && *kind != MetricType::Counter && ends("_total") {
        add("non-counter metrics should not have \"_total\" suffix");
    }
    if typed {
        if !histogram && ends("_bucket") {
            add("non-histogram metrics should not have \"_bucket\" suffix");
        }
        for suffix in ["_count", "_sum"] {
            if !histogram && !summary && ends(suffix) {
                add(&format!(
                    "non-histogram and non-summary metrics should not have \"{suffix}\" suffix"
                ));
            }
        }
        let kind = kind.as_str();
        let lower = name.to_lowercase();
        if lower.contains(&format!("_{kind}_")) || lower.ends_with(&format!("_{kind}")) {
            add(&format!("metric name should not include type '{kind}'"));
        }
    }
    if name.contains(':') {
        add("metric names should not contain ':'");
    }
    if is_camel_case(name) {
        add("metric names should be written in 'snake_case' not 'camelCase'");
    }
    let mut seen = HashSet::new();
    for metric in metrics {
        for (label, _) in &metric.labels {
            if typed && !histogram && label == "le" {
                add("non-histogram metrics should not have \"le\" label");
            }
            if typed && !summary && label == "quantile" {
                add("non-summary metrics should not have \"quantile\" label");
            }
            if is_camel_case(label) {
                add("label names should be written in 'snake_case' not 'camelCase'");
            }
        }
        if !seen.insert((&metric.labels, metric.timestamp)) {
            add("metric not unique");
        }
    }
}

fn is_camel_case(name: &str) -> bool {
    name.as_bytes().windows(2).any(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase())
}

/// Units and the base units that they should be.
const UNITS: &[(&str, &str)] = &[
    ("amperes", "amperes"),
    ("bytes", "bytes"),
    ("celsius", "celsius"),
    ("grams", "grams"),
    ("joules", "joules"),
    ("kelvin", "kelvin"),
    ("meters", "meters"),
    ("metres", "metres"),
    ("moles", "moles"),
    ("seconds", "seconds"),
    ("volts", "volts"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("weeks", "seconds"),
    ("kelvins", "kelvin"),
    ("fahrenheit", "celsius"),
    ("rankine", "celsius"),
    ("inches", "meters"),
    ("yards", "meters"),
    ("miles", "meters"),
    ("bits", "bytes"),
    ("calories", "joules"),
    ("pounds", "grams"),
    ("ounces", "grams"),
];

const PREFIXES: &[&str] = &[
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega",
    "mibi", "giga", "gibi", "tera", "tebi", "peta", "pebi",
];

const ABBREVIATIONS: &[&str] =
    &["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];

/// The first unit in a name, and its base unit.
fn unit_of(name: &str) -> Option<(&str, &'static str)> {
    let base = |unit: &str| UNITS.iter().find(|(u, _)| *u == unit).map(|(_, base)| *base);
    name.split('_').find_map(|word| {
        let prefixed = || PREFIXES.iter().find_map(|p| base(word.strip_prefix(p)?));
        base(word).or_else(prefixed).map(|base| (word, base))
    })
}

fn lint_units(name: &str, add: &mut dyn FnMut(&str)) {
    if let Some((unit, base)) = unit_of(name).filter(|(unit, base)| unit != base) {
        add(&format!("use base unit {} instead of {}", go_quote(base), go_quote(unit)));
    }
    let lower = name.to_lowercase();
    let short =
        |unit: &&str| lower.contains(&format!("_{unit}_")) || lower.ends_with(&format!("_{unit}"));
    if ABBREVIATIONS.iter().any(short) {
        add("metric names should not contain abbreviated units");
    }
}
