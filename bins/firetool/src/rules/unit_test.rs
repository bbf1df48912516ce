//! Runs a test: series go into a database in memory as the time goes on, rules are evaluated, alerts
//! and queries are compared. Source: `cmd/promtool/unittest.go`.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use firesteel_config::{AlertTest, ExprTest, OsFiles, RuleTestGroup};
use firesteel_model::{
    Labels, Sample, Timestamp,
    clock::{ManualClock, SystemClock},
    duration,
    float::go_quote,
    regex::Regex,
    storage::{Appendable, Queryable},
};
use firesteel_promql::{
    Engine, EngineOptions, ParserOptions, QueryOptions, QueryValue, SampleValue, VectorSample,
    parse_metric,
    promqltest::{Loaded, LoadedSample, Point, append, parse_series},
};
use firesteel_rules::{
    AlertState, Group, LoadOptions, ManagerOptions, Notify, Offline, RulesError, load_files,
    notifier,
};

use firesteel_tsdb::{Db, TsdbError, fs::SimFs};

use super::{
    compare::{
        FiringAlert, ResultSample, diff_alerts, indent, notation, print_alerts, print_samples,
    },
    describe,
};

/// How often rules are evaluated where a file does not say.
pub(super) const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

const NANOS_PER_MS: i64 = 1_000_000;

pub(super) struct Options {
    /// Which tests to run.
    pub(super) run: Option<Regex>,
    pub(super) debug: bool,
    pub(super) diff: bool,
    pub(super) ignore_unknown_fields: bool,
    pub(super) parser: ParserOptions,
    pub(super) delayed_name_removal: bool,
}

/// What the tests of a file share.
pub(super) struct Setup {
    pub(super) rule_files: Vec<PathBuf>,
    /// Names of groups in the order of their evaluation.
    pub(super) order: Vec<String>,
    pub(super) interval: Duration,
    pub(super) fuzzy: bool,
}

/// A database in memory, with blocks of a day as promtool's: histograms come back with the hints
/// about resets that chunks give them.
fn database() -> Result<Db, TsdbError> {
    Db::builder("/data")
        .fs(Arc::new(SimFs::new()))
        .clock(Arc::new(ManualClock::new(0)))
        .block_range(Duration::from_secs(24 * 3600))
        .retention(None)
        .head_snapshots(None)
        .reserve(0)
        .open_threads(1)
        .open()
}

/// Nobody hears of the alerts.
struct Silence;

impl Notify for Silence {
    fn send(&self, _: Vec<notifier::Alert>) {}
}

/// A test at work.
struct Test<'a> {
    group: &'a RuleTestGroup,
    setup: &'a Setup,
    options: &'a Options,
    /// Samples that are still to come, by time backwards.
    pending: Vec<Loaded>,
    storage: Db,
    engine: Arc<Engine>,
    rules: Offline,
    start: Timestamp,
    failures: Vec<String>,
}

/// Runs a test; returns what failed.
pub(super) fn run(
    name: &str,
    group: &RuleTestGroup,
    setup: &Setup,
    options: &Options,
) -> Vec<String> {
    let began = Instant::now();
    if options.debug {
        eprintln!("DEBUG: Starting test {name}");
    }
    let failures = match Test::new(group, setup, options) {
        Ok(test) => test.run(),
        Err(errors) => errors,
    };
    if options.debug {
        eprintln!("DEBUG: Test {name} finished, took {:?}", began.elapsed());
    }
    failures
}

fn millis(duration: Duration) -> Timestamp {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl<'a> Test<'a> {
    fn new(
        group: &'a RuleTestGroup,
        setup: &'a Setup,
        options: &'a Options,
    ) -> Result<Self, Vec<String>> {
        let interval = group.interval.unwrap_or(setup.interval);
        let start = match group.start_timestamp.as_str() {
            "" => 0,
            text => start_time(text).map_err(|error| vec![error])?,
        };
        let pending = pending(group, start, interval).map_err(|error| vec![error])?;
        let engine = Arc::new(Engine::new(EngineOptions {
            subquery_step: setup.interval,
            parser: options.parser,
            delayed_name_removal: options.delayed_name_removal,
            ..EngineOptions::default()
        }));
        let storage = database().map_err(|error| vec![error.to_string()])?;
        let load = LoadOptions {
            interval,
            parser: options.parser,
            ignore_unknown_fields: options.ignore_unknown_fields,
            external_labels: Labels::from_pairs(&group.external_labels),
            external_url: group.external_url.as_str().into(),
            ..LoadOptions::default()
        };
        let mut specs =
            load_files(&setup.rule_files, &OsFiles, &load).map_err(|error| match error {
                RulesError::Invalid(found) => found.iter().map(describe).collect(),
                other => vec![other.to_string()],
            })?;
        // Groups that the order does not name come with its first.
        let place = |name: &str| setup.order.iter().position(|n| n == name).unwrap_or(0);
        specs.sort_by_key(|spec| place(&spec.name));
        let manager = ManagerOptions::new(
            Arc::clone(&engine),
            Arc::new(storage.clone()) as Arc<dyn Queryable>,
            Arc::new(storage.clone()) as Arc<dyn Appendable>,
            Arc::new(Silence),
            Arc::new(SystemClock::new()),
        );
        let rules = Offline::new(manager, specs);
        let failures = Vec::new();
        Ok(Self { group, setup, options, pending, storage, engine, rules, start, failures })
    }

    fn run(mut self) -> Vec<String> {
        if let Some(test) = self.group.alert_rule_test.iter().find(|t| t.alertname.is_empty()) {
            let within = match self.group.name.as_str() {
                "" => String::new(),
                name => format!(" (in TestGroup {name})"),
            };
            let time = duration::format(test.eval_time);
            return vec![format!(
                "an item under alert_rule_test misses required attribute alertname at eval_time \
                 {time}{within}"
            )];
        }
        if !self.evaluate_rules() {
            return self.failures;
        }
        for test in &self.group.promql_expr_test {
            let failure = self.expression(test);
            self.failures.extend(failure);
        }
        if self.options.debug {
            self.dump();
        }
        self.failures
    }

    /// When the last test asks.
    fn longest(&self) -> Duration {
        let alerts = self.group.alert_rule_test.iter().map(|test| test.eval_time);
        let queries = self.group.promql_expr_test.iter().map(|test| test.eval_time);
        alerts.chain(queries).max().unwrap_or_default()
    }

    /// Goes through the time; `false` where a rule failed.
    fn evaluate_rules(&mut self) -> bool {
        let mut tests: BTreeMap<Duration, Vec<&AlertTest>> = BTreeMap::new();
        for test in &self.group.alert_rule_test {
            tests.entry(test.eval_time).or_default().push(test);
        }
        let mut tests = tests.into_iter().peekable();
        let (longest, interval) = (self.longest(), self.setup.interval);
        let mut elapsed = Duration::ZERO;
        while elapsed <= longest {
            let t = self.start.saturating_add(millis(elapsed));
            match self.load_till(t) {
                Ok(()) => {
                    let errors = self.evaluate(t);
                    if !errors.is_empty() {
                        self.failures.extend(errors);
                        return false;
                    }
                }
                Err(error) => self.failures.push(error),
            }
            let next = elapsed.saturating_add(interval);
            while let Some((_, tests)) = tests.next_if(|(time, _)| (elapsed..next).contains(time)) {
                for test in tests {
                    let failure = self.alerts(test);
                    self.failures.extend(failure);
                }
            }
            elapsed = next;
        }
        true
    }

    /// Moves the samples up to a time into the storage.
    fn load_till(&mut self, t: Timestamp) -> Result<(), String> {
        let mut now = Vec::new();
        for series in &mut self.pending {
            let mut samples = Vec::new();
            while let Some(sample) = series.samples.pop_if(|sample| sample.t <= t) {
                samples.push(sample);
            }
            if !samples.is_empty() {
                now.push(Loaded { labels: series.labels.clone(), samples });
            }
        }
        if now.is_empty() { Ok(()) } else { append(&now, &self.storage) }
    }

    /// Evaluates all groups; returns the errors of their rules.
    fn evaluate(&self, t: Timestamp) -> Vec<String> {
        let mut errors = Vec::new();
        for group in self.rules.groups() {
            self.rules.evaluate(group, t.saturating_mul(NANOS_PER_MS));
            for rule in group.snapshot(false).rules {
                if let Some(error) = rule.last_error {
                    let time = go_duration(t);
                    errors.push(format!("    rule: {}, time: {time}, err: {error}", rule.name));
                }
            }
        }
        errors
    }

    /// Compares the alerts of a name; returns how they differ.
    fn alerts(&self, test: &AlertTest) -> Option<String> {
        let mut got: Vec<FiringAlert> =
            self.rules.groups().iter().flat_map(|group| firing(group, &test.alertname)).collect();
        let expect = |alert: &firesteel_config::ExpectedAlert| {
            let mut labels = alert.labels.clone();
            labels.insert("alertname".to_owned(), test.alertname.clone());
            FiringAlert {
                labels: Labels::from_pairs(&labels),
                annotations: alert.annotations.clone(),
            }
        };
        let mut expected: Vec<FiringAlert> = test.exp_alerts.iter().map(expect).collect();
        got.sort();
        expected.sort();
        if got == expected {
            return None;
        }
        let name = match self.group.name.as_str() {
            "" => String::new(),
            name => format!("    name: {name},\n"),
        };
        let time = duration::format(test.eval_time);
        let head = format!("{name}    alertname: {}, time: {time}, \n", test.alertname);
        const INDENT: &str = "            ";
        Some(if self.options.diff {
            format!("{head}        diff: {}", indent(&diff_alerts(&expected, &got), INDENT))
        } else {
            let text = |alerts: &[FiringAlert]| indent(&print_alerts(alerts), INDENT);
            format!("{head}        exp:{}, \n        got:{}", text(&expected), text(&got))
        })
    }

    fn query(&self, query: &str, t: Timestamp) -> Result<Vec<VectorSample>, String> {
        let options = QueryOptions::default();
        let result = self.engine.instant(&self.storage, query, t, &options);
        match result.map_err(|error| error.to_string())?.value {
            QueryValue::Vector(samples) => Ok(samples),
            QueryValue::Scalar(s) => {
                let value = SampleValue::Float(s.v);
                Ok(vec![VectorSample { labels: Labels::empty(), t: s.t, value }])
            }
            _ => Err("rule result is not a vector or scalar".to_owned()),
        }
    }

    /// Compares the result of a query; returns how it differs.
    fn expression(&self, test: &ExprTest) -> Option<String> {
        let time = duration::format(test.eval_time);
        let head = format!("    expr: {}, time: {time},", go_quote(&test.expr));
        let failed = |error: String| Some(format!("{head} err: {error}"));
        let t = self.start.saturating_add(millis(test.eval_time));
        let mut got: Vec<ResultSample> = match self.query(&test.expr, t) {
            Ok(samples) => samples.into_iter().map(ResultSample::from).collect(),
            Err(error) => return failed(error),
        };
        let mut expected = Vec::new();
        for sample in &test.exp_samples {
            match expected_sample(sample) {
                Ok(sample) => expected.push(sample),
                Err(error) => {
                    return failed(format!("labels {}: {error}", go_quote(&sample.labels)));
                }
            }
        }
        got.sort_by(ResultSample::order);
        expected.sort_by(ResultSample::order);
        let same = got.len() == expected.len()
            && got.iter().zip(&expected).all(|(a, b)| a.same(b, self.setup.fuzzy));
        (!same).then(|| {
            let (expected, got) = (print_samples(&expected), print_samples(&got));
            format!("{head}\n        exp: {expected}\n        got: {got}")
        })
    }

    /// Prints all data.
    fn dump(&self) {
        let longest = self.longest();
        let seconds = longest.as_secs() + 1;
        let query = format!("{{__name__=~\".+\"}}[{seconds}s]");
        let t = self.start.saturating_add(millis(Duration::from_secs(seconds)));
        let result = self.engine.instant(&self.storage, &query, t, &QueryOptions::default());
        let span = go_duration(millis(Duration::from_secs(seconds)));
        match result.map(|result| result.value) {
            Ok(QueryValue::Matrix(series)) => {
                eprintln!("DEBUG: Dump of all data (input_series and rules) at {span}:");
                for series in series {
                    eprintln!("{} =>", series.labels);
                    for Sample { t, v } in series.floats {
                        let mut text = String::new();
                        firesteel_model::float::write_g(&mut text, v);
                        eprintln!("{text} @[{t}]");
                    }
                    for (t, histogram) in series.histograms {
                        eprintln!("{histogram} @[{t}]");
                    }
                }
            }
            Ok(_) => eprintln!("DEBUG: Got unexpected type"),
            Err(error) => {
                eprintln!("DEBUG: Failed query exec, expr: {}, err: {error}", go_quote(&query));
            }
        }
    }
}

/// The alerts of a name that fire in a group.
fn firing(group: &Group, name: &str) -> Vec<FiringAlert> {
    let rules = group.snapshot(true).rules.into_iter().filter(|rule| rule.name == name);
    let alerts = rules.filter_map(|rule| rule.alerting).flat_map(|alerting| alerting.alerts);
    alerts
        .filter(|alert| alert.state == AlertState::Firing)
        .map(|alert| FiringAlert {
            labels: alert.labels,
            annotations: alert.annotations.iter().cloned().collect(),
        })
        .collect()
}

fn expected_sample(sample: &firesteel_config::ExpectedSample) -> Result<ResultSample, String> {
    let labels = parse_metric(&sample.labels).map_err(|error| error.to_string())?;
    let histogram = match sample.histogram.as_str() {
        "" => None,
        text => {
            let points = parse_series(&format!("{{}} {text}"))?.points;
            match points.as_slice() {
                [Point::Histogram(point)] => Some(notation(point.histogram.clone())),
                [point] => return Err(format!("expected histogram, got {point:?}")),
                points => return Err(format!("expected 1 value, got {}", points.len())),
            }
        }
    };
    Ok(ResultSample { labels, value: sample.value, histogram })
}

/// The series of a test with the times of their samples, the last sample first. Of two that are the
/// same the later one counts.
fn pending(
    group: &RuleTestGroup,
    start: Timestamp,
    interval: Duration,
) -> Result<Vec<Loaded>, String> {
    let mut all: BTreeMap<Labels, Vec<LoadedSample>> = BTreeMap::new();
    for (i, input) in group.input_series.iter().enumerate() {
        let series = parse_series(&format!("{} {}", input.series, input.values));
        // The first line of the script that promtool makes of the series is the interval.
        let series = series.map_err(|error| match error.strip_prefix("1:") {
            Some(rest) => format!("{}:{rest}", i + 2),
            None => error,
        })?;
        let mut samples = Vec::with_capacity(series.points.len());
        let mut t = start;
        for point in series.points {
            let value = match point {
                Point::Omitted => None,
                Point::Float(v) => Some(SampleValue::Float(v)),
                Point::Histogram(point) => Some(SampleValue::Histogram(Box::new(point.histogram))),
            };
            samples.extend(value.map(|value| LoadedSample { t, start: None, value }));
            t = t.saturating_add(millis(interval));
        }
        samples.reverse();
        all.insert(series.labels, samples);
    }
    Ok(all.into_iter().map(|(labels, samples)| Loaded { labels, samples }).collect())
}

/// A time as RFC 3339 or in seconds.
pub(super) fn start_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1000.0).round() as Timestamp);
    }
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(time.as_millisecond()),
        Err(_) => Err(format!("cannot parse {} to a valid timestamp", go_quote(text))),
    }
}

/// Milliseconds as Go prints durations: `1h0m0s`.
fn go_duration(ms: i64) -> String {
    let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1000 {
        return format!("{sign}{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let seconds = (ms % 60_000) as f64 / 1000.0;
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}
