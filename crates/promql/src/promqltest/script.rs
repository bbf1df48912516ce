//! Reads scripts.

use std::{fmt, time::Duration};

use firesteel_model::{Labels, Timestamp, duration, regex::Regex};

use super::{
    backend::{Loaded, LoadedSample},
    nhcb,
    series::{Point, metric_end, parse_series},
};
use crate::{go, syntax, value::SampleValue};

/// A test script.
#[derive(Clone, Debug)]
pub struct Script {
    /// What to do, in this order.
    pub commands: Vec<Command>,
}

/// A command of a script.
#[derive(Clone, Debug)]
pub enum Command {
    /// Removes all samples.
    Clear,
    /// Adds samples.
    Load(Load),
    /// Evaluates a query and compares.
    Eval(Case),
}

/// Samples to add.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where it stands, from 1.
    pub line: usize,
    /// The series.
    pub series: Vec<Loaded>,
}

/// A query and what is expected of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where it stands, from 1.
    pub line: usize,
    /// The query.
    pub query: String,
    /// Instant or range query.
    pub kind: Kind,
    /// Expectations besides the values.
    pub expects: Vec<Expect>,
    /// The expected values.
    pub expected: Expected,
    /// For an instant query that returns a range vector: times of its samples.
    pub matrix_times: Option<Times>,
}

/// Instant or range query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An instant query at this time.
    Instant(Timestamp),
    /// A range query.
    Range(Times),
}

/// Evenly spaced times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The first time, milliseconds.
    pub start: Timestamp,
    /// The last time, milliseconds.
    pub end: Timestamp,
    /// The distance.
    pub step: Duration,
}

/// An expectation besides the values.
#[derive(Clone, Debug)]
pub enum Expect {
    /// The result is in the order of the script.
    Ordered,
    /// The query fails, with such an error.
    Fail(Text),
    /// There are warnings, and each is such a one of some line.
    Warn(Text),
    /// There is no warning.
    NoWarn,
    /// There are remarks, and each is such a one of some line.
    Info(Text),
    /// There is no remark.
    NoInfo,
    /// There is at least one warning (`eval_warn`).
    SomeWarning,
    /// There is at least one remark (`eval_info`).
    SomeInfo,
}

/// A text that is expected.
#[derive(Clone, Debug)]
pub enum Text {
    /// Any text.
    Any,
    /// This text.
    Exact(String),
    /// A text in which this matches.
    Matching(std::sync::Arc<Regex>),
}

impl Text {
    pub(super) fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(expected) => expected == text,
            Self::Matching(regex) => regex.is_match(text),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any text"),
            Self::Exact(text) => write!(f, "{text:?}"),
            Self::Matching(regex) => write!(f, "/{}/", regex.pattern()),
        }
    }
}

/// Expected values.
#[derive(Clone, Debug)]
pub enum Expected {
    /// A scalar.
    Scalar(f64),
    /// A text.
    String(String),
    /// Series, in the order of the script; values one per step.
    Series(Vec<(Labels, Vec<Point>)>),
}

/// Why a text is not a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ScriptError {}

type Parsed<T> = Result<T, String>;

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut lines = Lines::new(text);
        let mut commands = Vec::new();
        while let Some(line) = lines.next_command() {
            let command = command(line, &mut lines)
                .map_err(|message| ScriptError { line: lines.number, message })?;
            commands.push(command);
        }
        Ok(Self { commands })
    }
}

/// The lines without blanks around them; comments are empty lines.
struct Lines<'a> {
    lines: std::iter::Peekable<std::str::Lines<'a>>,
    /// Number of the last line taken.
    number: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { lines: text.lines().peekable(), number: 0 }
    }

    fn clean(line: &'a str) -> &'a str {
        let line = line.trim();
        if line.starts_with('#') { "" } else { line }
    }

    fn next_command(&mut self) -> Option<&'a str> {
        loop {
            self.number += 1;
            let line = Self::clean(self.lines.next()?);
            if !line.is_empty() {
                return Some(line);
            }
        }
    }

    /// The next line of a command: up to an empty line.
    fn next_detail(&mut self) -> Option<&'a str> {
        let line = self.lines.next_if(|line| !Self::clean(line).is_empty())?;
        self.number += 1;
        Some(Self::clean(line))
    }
}

fn command(line: &str, lines: &mut Lines<'_>) -> Parsed<Command> {
    let (word, rest) = split_word(line);
    match word.to_ascii_lowercase().as_str() {
        "clear" => Ok(Command::Clear),
        "load" => load(rest, false, lines),
        "load_with_nhcb" => load(rest, true, lines),
        word if word.starts_with("eval") => eval(word, rest, lines).map(Command::Eval),
        _ => Err(format!("invalid command {line:?}")),
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_start())
}

fn milliseconds(text: &str) -> Parsed<i64> {
    duration::parse(text)
        .map_err(|e| e.to_string())
        .and_then(|d| i64::try_from(d.as_millis()).map_err(|e| e.to_string()))
}

fn load(step: &str, with_nhcb: bool, lines: &mut Lines<'_>) -> Parsed<Command> {
    let line = lines.number;
    let gap = milliseconds(step).map_err(|e| format!("invalid step {step:?}: {e}"))?;
    let mut series: Vec<Loaded> = Vec::new();
    let mut starts: Option<Starts> = None;
    while let Some(detail) = lines.next_detail() {
        if let Some(line) = start_line(detail)? {
            if starts.replace(line).is_some() {
                return Err("@st line has no following sample line".to_owned());
            }
            continue;
        }
        let parsed = parse_series(detail)?;
        let starts = starts.take();
        if let Some(starts) = &starts {
            if starts.labels != parsed.labels {
                let message = "@st metric does not match the following sample line metric";
                return Err(message.to_owned());
            }
            if starts.offsets.len() != parsed.points.len() {
                let (n, m) = (starts.offsets.len(), parsed.points.len());
                return Err(format!("@st line has {n} values but sample line has {m}"));
            }
        }
        let mut samples = Vec::with_capacity(parsed.points.len());
        for (i, point) in parsed.points.into_iter().enumerate() {
            let value = match point {
                Point::Omitted => continue,
                Point::Float(v) => SampleValue::Float(v),
                Point::Histogram(h) => SampleValue::Histogram(Box::new(h.histogram)),
            };
            let t = i as i64 * gap;
            let offset = starts.as_ref().and_then(|s| s.offsets.get(i).copied().flatten());
            samples.push(LoadedSample { t, start: offset.map(|offset| t + offset), value });
        }
        // Of two lines with the same series the later one counts.
        series.retain(|s| s.labels != parsed.labels);
        series.push(Loaded { labels: parsed.labels, samples });
    }
    if starts.is_some() {
        return Err("@st line has no following sample line".to_owned());
    }
    if with_nhcb {
        series.extend(nhcb::converted(&series)?);
    }
    Ok(Command::Load(Load { line, series }))
}

/// Start timestamps of a series, as offsets from its samples' timestamps in milliseconds.
struct Starts {
    labels: Labels,
    offsets: Vec<Option<i64>>,
}

/// `metric{...}@st -30s -1m+1sx3 _x2`
fn start_line(line: &str) -> Parsed<Option<Starts>> {
    let end = metric_end(line);
    let (metric, rest) = line.split_at(end);
    let (metric, values) = match rest.strip_prefix("@st") {
        Some(values) => (metric, values),
        None => match metric.strip_suffix("@st") {
            Some(metric) => (metric, rest),
            None => return Ok(None),
        },
    };
    let labels = parse_series(metric)?.labels;
    let mut offsets = Vec::new();
    for item in values.split_whitespace() {
        start_item(item, &mut offsets).map_err(|e| format!("invalid ST item {item:?}: {e}"))?;
    }
    Ok(Some(Starts { labels, offsets }))
}

fn start_item(item: &str, offsets: &mut Vec<Option<i64>>) -> Parsed<()> {
    const MAX: usize = 1_000_000;
    let (values, repeat) = match item.split_once('x') {
        Some((values, n)) => (values, n.parse::<usize>().map_err(|e| e.to_string())?),
        None => (item, 0),
    };
    if repeat > MAX {
        return Err(format!("more than {MAX} values"));
    }
    if values == "_" {
        offsets.extend(std::iter::repeat_n(None, repeat.max(1)));
        return Ok(());
    }
    // The sign of the step is the second one, or the first behind a digit.
    let step_at = values.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-'));
    let (first, step) = values.split_at(step_at.map_or(values.len(), |(i, _)| i));
    let mut offset = signed_milliseconds(first)?;
    let step = if step.is_empty() { 0 } else { signed_milliseconds(step)? };
    for _ in 0..=repeat {
        offsets.push(Some(offset));
        offset += step;
    }
    Ok(())
}

fn signed_milliseconds(text: &str) -> Parsed<i64> {
    match text.strip_prefix('-') {
        Some(rest) => milliseconds(rest).map(|ms| -ms),
        None => milliseconds(text.strip_prefix('+').unwrap_or(text)),
    }
}

fn eval(word: &str, rest: &str, lines: &mut Lines<'_>) -> Parsed<Case> {
    let line = lines.number;
    let legacy = match word {
        "eval" => None,
        "eval_fail" => Some(Expect::Fail(Text::Any)),
        "eval_warn" => Some(Expect::SomeWarning),
        "eval_info" => Some(Expect::SomeInfo),
        "eval_ordered" => Some(Expect::Ordered),
        _ => return Err(format!("invalid command {word:?}")),
    };
    let (mode, rest) = split_word(rest);
    let (kind, query) = match mode {
        "instant" => {
            let (at, rest) = keyed(rest, "at")?;
            (Kind::Instant(at), rest)
        }
        "range" => {
            let (times, rest) = times(rest)?;
            (Kind::Range(times), rest)
        }
        _ => return Err("expected `instant` or `range`".to_owned()),
    };
    let mut case = Case {
        line,
        query: query.to_owned(),
        kind,
        expects: legacy.into_iter().collect(),
        expected: Expected::Series(Vec::new()),
        matrix_times: None,
    };
    while let Some(detail) = lines.next_detail() {
        if case.detail(detail)? {
            break;
        }
    }
    Ok(case)
}

/// `key <duration> rest`
fn keyed<'a>(text: &'a str, key: &str) -> Parsed<(i64, &'a str)> {
    let (word, rest) = split_word(text);
    if word != key {
        return Err(format!("expected `{key}`, got {word:?}"));
    }
    let (value, rest) = split_word(rest);
    let ms = milliseconds(value).map_err(|e| format!("invalid `{key}` {value:?}: {e}"))?;
    Ok((ms, rest))
}

/// `from <start> to <end> step <step> rest`
fn times(text: &str) -> Parsed<(Times, &str)> {
    let (start, rest) = keyed(text, "from")?;
    let (end, rest) = keyed(rest, "to")?;
    let (step, rest) = keyed(rest, "step")?;
    if end < start {
        return Err("the end is before the start".to_owned());
    }
    Ok((Times { start, end, step: Duration::from_millis(step.unsigned_abs()) }, rest))
}

impl Case {
    /// Reads a line; returns whether the case ends with it.
    fn detail(&mut self, line: &str) -> Parsed<bool> {
        if let Some(message) = line.strip_prefix("expected_fail_message") {
            let text = Text::Exact(message.trim().to_owned());
            return self.fail_text(text).map(|()| true);
        }
        if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
            let text = matching(pattern.trim())?;
            return self.fail_text(text).map(|()| true);
        }
        let (word, rest) = split_word(line);
        if word == "expect" {
            return self.expectation(rest).map(|()| false);
        }
        if let Some(v) = scalar(line) {
            self.expected = Expected::Scalar(v);
            return Ok(true);
        }
        let series = parse_series(line)?;
        let many = series.points.len() > 1;
        if many && matches!(self.kind, Kind::Instant(_)) && self.matrix_times.is_none() {
            return Err("several values for an instant query".to_owned());
        }
        if !matches!(self.expected, Expected::Series(_)) {
            self.expected = Expected::Series(Vec::new());
        }
        if let Expected::Series(all) = &mut self.expected {
            all.push((series.labels, series.points));
        }
        Ok(false)
    }

    fn fail_text(&mut self, text: Text) -> Parsed<()> {
        let fail = self.expects.iter_mut().find_map(|e| match e {
            Expect::Fail(text) => Some(text),
            _ => None,
        });
        *fail.ok_or("only eval_fail has a message")? = text;
        Ok(())
    }

    fn expectation(&mut self, rest: &str) -> Parsed<()> {
        let (kind, rest) = split_word(rest);
        if kind == "string" {
            let text = go::unquote_bytes(rest).and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or("a quoted string is required")?;
            self.expected = Expected::String(text);
            return Ok(());
        }
        if kind == "range" {
            let (word, rest) = split_word(rest);
            if word != "vector" {
                return Err("expected `range vector`".to_owned());
            }
            self.matrix_times = Some(times(rest)?.0);
            return Ok(());
        }
        let text = match rest.split_once(':') {
            _ if rest.is_empty() => Text::Any,
            Some(("msg", text)) => Text::Exact(text.trim().to_owned()),
            Some(("regex", pattern)) => matching(pattern.trim())?,
            _ => return Err(format!("invalid expectation {rest:?}")),
        };
        let expect = match kind {
            "fail" if self.expects.iter().any(|e| matches!(e, Expect::Fail(_))) => {
                return Err("several `expect fail` lines".to_owned());
            }
            "fail" => Expect::Fail(text),
            "warn" => Expect::Warn(text),
            "info" => Expect::Info(text),
            "no_warn" => Expect::NoWarn,
            "no_info" => Expect::NoInfo,
            "ordered" => Expect::Ordered,
            _ => return Err(format!("invalid expectation {kind:?}")),
        };
        self.expects.push(expect);
        Ok(())
    }
}

fn matching(pattern: &str) -> Parsed<Text> {
    let regex = Regex::unanchored(pattern).map_err(|e| e.to_string())?;
    Ok(Text::Matching(regex.into()))
}

/// A number that stands alone, with or without sign.
fn scalar(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let v = syntax::number(unsigned).ok()?;
    Some(if text.starts_with('-') { -v } else { v })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_script() {
        let text = "
# comment
load 1m
  m{a=\"1\"}@st -30s _x2
  m{a=\"1\"} 1 2 3
  n stale {{sum:1}}

clear
eval instant at 50m sum(m)
  expect no_warn
  expect fail msg: some: text
  {a=\"1\"} 5

eval_ordered instant at 0 m
  2
eval range from 1m to 2m step 30s m + 1
  expect info regex: a.*b
  {} 1 2 _

eval instant at 1m m[1m]
  expect range vector from 10s to 1m step 10s
  m 1 2

eval instant at 0 (\"a\")
  expect string \"a\\n\"
";
        let script = Script::parse(text).unwrap();
        let [Command::Load(load), Command::Clear, rest @ ..] = &script.commands[..] else {
            panic!("{script:?}")
        };
        assert_eq!(load.series.len(), 2);
        let starts: Vec<_> = load.series[0].samples.iter().map(|s| s.start).collect();
        assert_eq!(starts, [Some(-30_000), None, None]);
        let cases: Vec<&Case> = rest
            .iter()
            .map(|c| if let Command::Eval(case) = c { case } else { panic!("{c:?}") })
            .collect();
        assert_eq!((cases[0].line, cases[0].kind), (9, Kind::Instant(3_000_000)));
        assert_eq!(cases[0].query, "sum(m)");
        assert!(matches!(&cases[0].expects[1], Expect::Fail(Text::Exact(t)) if t == "some: text"));
        assert!(matches!(cases[1].expected, Expected::Scalar(2.0)));
        assert!(matches!(cases[1].expects[0], Expect::Ordered));
        let Kind::Range(times) = cases[2].kind else { panic!() };
        assert_eq!(times, Times { start: 60_000, end: 120_000, step: Duration::from_secs(30) });
        assert_eq!(cases[2].query, "m + 1");
        assert!(cases[3].matrix_times.is_some());
        assert!(matches!(&cases[4].expected, Expected::String(s) if s == "a\n"));
    }

    #[test]
    fn says_which_line_is_wrong() {
        for (text, line, part) in [
            ("foo", 1, "invalid command"),
            ("clear\nload 1x", 2, "invalid step"),
            ("load 1m\n a 1\n b{ 2", 3, "braces"),
            ("eval instant at 1m a\n b 1 2", 2, "several values"),
            ("eval range from 2m to 1m step 1m a", 1, "before the start"),
        ] {
            let error = Script::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.message.contains(part), "{error}");
        }
    }
}
