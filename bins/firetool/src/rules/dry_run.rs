//! `rules dry-run`: when alerts would have been pending and firing, over a data directory or the
//! data of a server.

use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

use firesteel_config::{OsFiles, RuleKind};
use firesteel_model::{Labels, Sample, Timestamp, storage::CancelToken};
use firesteel_promql::{Engine, EngineOptions, ParserOptions, RangeSeries, SampleValue};
use firesteel_rules::{
    AlertSpan, DryRun, GroupSpec, LoadOptions, RuleSpec, RulesError, dry_run, load_files, replay,
};
use firesteel_tsdb::{Db, fs::OsFs};
use serde_json::{Value, json};

use super::describe;
use crate::{Failure, Outcome, query::Server};

const DAY: Timestamp = 86_400_000;

pub(super) struct Options {
    pub(super) rules: PathBuf,
    pub(super) data: PathBuf,
    /// Where to ask instead of the data directory.
    pub(super) url: Option<String>,
    /// Names of alerts; all where there is none.
    pub(super) alerts: Vec<String>,
    pub(super) start: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
    pub(super) json: bool,
    pub(super) parser: ParserOptions,
}

/// Where the data comes from.
enum Source {
    Directory(Box<Engine>, Db),
    Server(Server),
}

pub(super) fn run(options: &Options, out: &mut dyn Write) -> Outcome {
    let load = LoadOptions { parser: options.parser, ..LoadOptions::default() };
    let groups = load_files(std::slice::from_ref(&options.rules), &OsFiles, &load);
    let groups = groups.map_err(|error| match error {
        RulesError::Invalid(found) => {
            Failure::Message(found.iter().map(describe).collect::<Vec<_>>().join("\n"))
        }
        other => Failure::new(other),
    })?;
    let source = open(options)?;
    let end = match (options.end, &source) {
        (Some(end), _) => end,
        (None, Source::Directory(_, db)) => match db.time_range() {
            Some((_, newest)) => newest,
            None => return Err(Failure::new("there are no samples")),
        },
        (None, Source::Server(_)) => jiff::Timestamp::now().as_millisecond(),
    };
    let start = options.start.unwrap_or(end.saturating_sub(DAY));
    if start > end {
        return Err(Failure::new("start time is not before end time"));
    }
    let mut found = Vec::new();
    for group in &groups {
        let step = i64::try_from(group.interval.as_millis()).unwrap_or(i64::MAX).max(1);
        // Evaluations at multiples of the interval, as queries of dashboards are.
        let start = start.saturating_add(step - 1).div_euclid(step).saturating_mul(step);
        for rule in group.rules.iter().filter(|rule| wanted(rule, &options.alerts)) {
            let run = source.run((group, rule), (start, end))?;
            if options.json {
                found.push(to_json(group, rule, &run));
            } else {
                print(group, rule, &run, end, out)?;
            }
        }
    }
    if options.json {
        let text = serde_json::to_string_pretty(&found).map_err(Failure::new)?;
        writeln!(out, "{text}")?;
    }
    Ok(())
}

fn wanted(rule: &RuleSpec, names: &[String]) -> bool {
    rule.kind == RuleKind::Alerting && (names.is_empty() || names.contains(&rule.name))
}

fn open(options: &Options) -> Result<Source, Failure> {
    if let Some(url) = &options.url {
        let (url, headers) = (url.clone(), Vec::new());
        return Ok(Source::Server(Server { url, config: None, headers, json: false }));
    }
    let db = Db::builder(&options.data)
        .fs(Arc::new(OsFs::mapped()))
        .open_read_only()
        .map_err(|error| Failure::of("opening the data directory", &error))?;
    let engine = Engine::new(EngineOptions { parser: options.parser, ..EngineOptions::default() });
    Ok(Source::Directory(Box::new(engine), db))
}

impl Source {
    fn run(
        &self,
        rule: (&GroupSpec, &RuleSpec),
        (start, end): (Timestamp, Timestamp),
    ) -> Result<DryRun, Failure> {
        let cancel = CancelToken::new();
        match self {
            Self::Directory(engine, db) => {
                dry_run(engine, db, rule, (start, end), &cancel).map_err(Failure::Message)
            }
            Self::Server(server) => {
                let client = server.client()?;
                let offset = i64::try_from(rule.0.query_offset.as_millis()).unwrap_or(0);
                let seconds = |t: Timestamp| (t as f64 / 1000.0).to_string();
                let data = client.call(
                    "query_range",
                    &[
                        ("query", rule.1.query.to_string()),
                        ("start", seconds(start - offset)),
                        ("end", seconds(end - offset)),
                        ("step", rule.0.interval.as_secs_f64().to_string()),
                    ],
                )?;
                let series: Vec<RangeSeries> =
                    items(&data["result"]).iter().map(range_series).collect();
                let ask = |text: &str, at: Timestamp| {
                    let pairs = [("query", text.to_owned()), ("time", seconds(at))];
                    let data = client.call("query", &pairs).map_err(|error| match error {
                        Failure::Message(text) => text,
                        _ => "the query failed".to_owned(),
                    })?;
                    Ok(items(&data["result"]).iter().map(instant_sample).collect())
                };
                replay(rule, (start, end), &series, &ask, &cancel).map_err(Failure::Message)
            }
        }
    }
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn labels(metric: &Value) -> Labels {
    let pairs = metric.as_object().into_iter().flatten();
    Labels::from_pairs(pairs.map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default())))
}

/// `[seconds, "value"]`
fn sample(pair: &Value) -> Sample {
    let t = (pair[0].as_f64().unwrap_or(0.0) * 1000.0).round() as Timestamp;
    let v = pair[1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    Sample { t, v }
}

/// A series of a matrix; its floats alone, which conditions of alerts have.
pub(super) fn range_series(series: &Value) -> RangeSeries {
    RangeSeries {
        labels: labels(&series["metric"]),
        floats: items(&series["values"]).iter().map(sample).collect(),
        histograms: Vec::new(),
    }
}

fn instant_sample(one: &Value) -> (Labels, SampleValue) {
    (labels(&one["metric"]), SampleValue::Float(sample(&one["value"]).v))
}

fn time(t: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(t).map_or_else(|_| t.to_string(), |time| time.to_string())
}

fn to_json(group: &GroupSpec, rule: &RuleSpec, run: &DryRun) -> Value {
    let span = |span: &AlertSpan| {
        json!({
            "state": span.state.as_str(),
            "from": time(span.from),
            "until": span.until.map(time),
        })
    };
    let alert = |alert: &firesteel_rules::AlertHistory| {
        let labels: serde_json::Map<String, Value> =
            alert.labels.iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        json!({"labels": labels, "spans": alert.spans.iter().map(span).collect::<Vec<_>>()})
    };
    json!({
        "file": group.file,
        "group": group.name,
        "alert": rule.name,
        "evaluations": run.evaluations,
        "alerts": run.alerts.iter().map(alert).collect::<Vec<_>>(),
    })
}

fn print(
    group: &GroupSpec,
    rule: &RuleSpec,
    run: &DryRun,
    end: Timestamp,
    out: &mut dyn Write,
) -> Outcome {
    let every = firesteel_model::duration::format(group.interval);
    let (count, evaluations) = (run.alerts.len(), run.evaluations);
    writeln!(
        out,
        "{} ({}): {count} alerts in {evaluations} evaluations every {every}",
        rule.name, group.name
    )?;
    for alert in &run.alerts {
        writeln!(out, "  {}", alert.labels)?;
        for span in &alert.spans {
            let length = span.until.unwrap_or(end).saturating_sub(span.from);
            let length = Duration::from_millis(u64::try_from(length).unwrap_or(0));
            let length = firesteel_model::duration::format(length);
            let still = if span.until.is_none() { ", to the end" } else { "" };
            let (state, from) = (span.state.as_str(), time(span.from));
            writeln!(out, "    {state:<8} {from} for {length}{still}")?;
        }
    }
    Ok(())
}
