//! Runs scripts.

use std::{collections::BTreeMap, fmt, time::Duration};

use firesteel_model::{Labels, Sample, Timestamp};

use super::{
    backend::{Backend, Outcome},
    compare::sorted,
    script::{Case, Command, Expect, Expected, Kind, Script, Text},
    series::Point,
};
use crate::{
    ParserOptions,
    ast::{At, Expr},
    functions::FunctionId,
    parse,
    value::{QueryValue, SampleValue, VectorSample},
};

/// What a case needs of an engine, told from its text and the series it selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Nothing special.
    Plain,
    /// Native histograms, as samples or as results.
    NativeHistograms,
    /// What is off by default: experimental syntax or functions, or start timestamps.
    Experimental,
}

/// How a case went.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// Where it stands, from 1.
    pub line: usize,
    /// The query, or `load`.
    pub query: String,
    /// What it needs.
    pub category: Category,
    /// Why it failed.
    pub failure: Option<String>,
}

/// How a script went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Its cases; a load or clear that failed is one too.
    pub cases: Vec<CaseReport>,
}

impl Report {
    /// Number of passed and of all cases of a category.
    #[must_use]
    pub fn counts(&self, category: Category) -> (usize, usize) {
        let of = || self.cases.iter().filter(|c| c.category == category);
        (of().filter(|c| c.failure.is_none()).count(), of().count())
    }

    /// The cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|c| c.failure.is_some())
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = self.failure.as_deref().unwrap_or("passed");
        write!(f, "line {}: {}: {how}", self.line, self.query)
    }
}

/// Runs a script on an empty storage. Goes on when a case fails.
pub fn run(script: &Script, backend: &mut dyn Backend) -> Report {
    let mut report = Report::default();
    let mut kinds = SeriesKinds::default();
    note(&mut report, 1, "clear", backend.clear());
    for command in &script.commands {
        match command {
            Command::Clear => {
                kinds = SeriesKinds::default();
                note(&mut report, 1, "clear", backend.clear());
            }
            Command::Load(load) => {
                kinds.add(load);
                note(&mut report, load.line, "load", backend.load(&load.series));
            }
            Command::Eval(case) => report.cases.push(CaseReport {
                line: case.line,
                query: case.query.clone(),
                category: case.category(&kinds),
                failure: case.run(backend).err(),
            }),
        }
    }
    report
}

fn note(report: &mut Report, line: usize, what: &str, result: Result<(), String>) {
    if let Err(failure) = result {
        report.cases.push(CaseReport {
            line,
            query: what.to_owned(),
            category: Category::Plain,
            failure: Some(failure),
        });
    }
}

/// Which of the loaded series have native histograms or start timestamps.
#[derive(Default)]
struct SeriesKinds(BTreeMap<Labels, Category>);

impl SeriesKinds {
    fn add(&mut self, load: &super::script::Load) {
        for series in &load.series {
            let native =
                series.samples.iter().any(|s| matches!(s.value, SampleValue::Histogram(_)));
            let category = if series.samples.iter().any(|s| s.start.is_some()) {
                Category::Experimental
            } else if native {
                Category::NativeHistograms
            } else {
                Category::Plain
            };
            let known = self.0.entry(series.labels.clone()).or_insert(category);
            *known = category.max(*known);
        }
    }

    fn selected_by(&self, expr: &Expr) -> Category {
        let selectors = expr.selectors();
        let selected = |labels: &Labels| {
            selectors.iter().any(|selector| {
                let matches = |m: &firesteel_model::Matcher| {
                    m.matches(labels.get(m.name()).unwrap_or_default())
                };
                selector.matchers.iter().all(matches)
            })
        };
        let kinds = self.0.iter().filter(|(labels, _)| selected(labels)).map(|(_, kind)| *kind);
        kinds.max().unwrap_or(Category::Plain)
    }
}

impl Case {
    fn category(&self, kinds: &SeriesKinds) -> Category {
        if parse(&self.query, &ParserOptions::default()).is_err() {
            return Category::Experimental;
        }
        let Ok(expr) = parse(&self.query, &ParserOptions::experimental()) else {
            return Category::Plain;
        };
        let mut category = kinds.selected_by(&expr);
        expr.walk(&mut |e| {
            if let Expr::Call(call) = e
                && matches!(
                    call.func.id,
                    FunctionId::HistogramAvg
                        | FunctionId::HistogramCount
                        | FunctionId::HistogramSum
                        | FunctionId::HistogramStddev
                        | FunctionId::HistogramStdvar
                )
            {
                category = category.max(Category::NativeHistograms);
            }
        });
        if let Expected::Series(series) = &self.expected
            && series.iter().flat_map(|(_, p)| p).any(|p| matches!(p, Point::Histogram(_)))
        {
            category = category.max(Category::NativeHistograms);
        }
        category
    }

    fn run(&self, backend: &mut dyn Backend) -> Result<(), String> {
        match self.kind {
            Kind::Range(times) => {
                let result = backend.range(&self.query, times.start, times.end, times.step);
                self.judge(result).map(drop)
            }
            Kind::Instant(t) => {
                // A range vector is to have the times that the script states.
                let t = self.matrix_times.map_or(t, |times| times.end);
                self.run_instant(backend, &self.query, t)?;
                for (query, t) in pinned(&self.query, t)? {
                    self.run_instant(backend, &query, t)
                        .map_err(|e| format!("as {query} at {t}: {e}"))?;
                }
                Ok(())
            }
        }
    }

    fn run_instant(
        &self,
        backend: &mut dyn Backend,
        query: &str,
        t: Timestamp,
    ) -> Result<(), String> {
        let Some(value) = self.judge(backend.instant(query, t))? else { return Ok(()) };
        let only_instant =
            self.matrix_times.is_some() || matches!(self.expected, Expected::String(_));
        let asks_for_time =
            ["start()", "end()", "range()", "step()"].iter().any(|call| query.contains(call));
        if only_instant || asks_for_time || self.is_ordered() {
            return Ok(());
        }
        // The same again, as the middle step of a range query.
        let minute = 60_000;
        let range = backend.range(query, t - minute, t + minute, Duration::from_secs(60));
        let outcome = range.map_err(|e| format!("in a range query: {e}"))?;
        let middle = middle_step(outcome.value, t, matches!(value, QueryValue::Scalar(_)))?;
        self.compare(&middle).map_err(|e| format!("in a range query: {e}"))
    }

    /// Compares a result with all that is expected; returns the value unless a failure was
    /// expected and came.
    fn judge(&self, result: Result<Outcome, String>) -> Result<Option<QueryValue>, String> {
        let fail = self.expects.iter().find_map(|e| match e {
            Expect::Fail(text) => Some(text),
            _ => None,
        });
        let outcome = match (result, fail) {
            (Ok(outcome), None) => outcome,
            (Ok(outcome), Some(text)) => {
                return Err(format!("expected failure {text}, got {}", outcome.value));
            }
            (Err(error), None) => return Err(format!("failed: {error}")),
            (Err(error), Some(text)) if text.accepts(&error) => return Ok(None),
            (Err(error), Some(text)) => {
                return Err(format!("expected failure {text}, got {error:?}"));
            }
        };
        self.judge_annotations(&outcome)?;
        self.compare(&outcome.value)?;
        Ok(Some(outcome.value))
    }

    fn judge_annotations(&self, outcome: &Outcome) -> Result<(), String> {
        let expected = |pick: fn(&Expect) -> Option<&Text>| -> Vec<&Text> {
            self.expects.iter().filter_map(pick).collect()
        };
        let warnings = expected(|e| if let Expect::Warn(text) = e { Some(text) } else { None });
        let infos = expected(|e| if let Expect::Info(text) = e { Some(text) } else { None });
        annotations("warning", &warnings, &outcome.warnings)?;
        annotations("info", &infos, &outcome.infos)?;
        for expect in &self.expects {
            match expect {
                Expect::NoWarn if !outcome.warnings.is_empty() => {
                    return Err(format!("unexpected warnings {:?}", outcome.warnings));
                }
                Expect::NoInfo if !outcome.infos.is_empty() => {
                    return Err(format!("unexpected infos {:?}", outcome.infos));
                }
                Expect::SomeWarning if outcome.warnings.is_empty() => {
                    return Err("expected a warning".to_owned());
                }
                Expect::SomeInfo if outcome.infos.is_empty() => {
                    return Err("expected an info".to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Each expected text must come, and each that comes must be expected, if any is.
fn annotations(kind: &str, expected: &[&Text], got: &[String]) -> Result<(), String> {
    for text in expected {
        if !got.iter().any(|g| text.accepts(g)) {
            return Err(format!("expected {kind} {text}, got {got:?}"));
        }
    }
    match got.iter().find(|g| !expected.is_empty() && !expected.iter().any(|e| e.accepts(g))) {
        Some(extra) => Err(format!("unexpected {kind} {extra:?}")),
        None => Ok(()),
    }
}

/// What a range query returned at `t`, as an instant query returns it.
fn middle_step(value: QueryValue, t: Timestamp, scalar: bool) -> Result<QueryValue, String> {
    let QueryValue::Matrix(matrix) = value else {
        return Err(format!("a range query returned a {}", value.value_type()));
    };
    sorted(&matrix)?;
    let mut vector = Vec::new();
    for series in matrix {
        let labels = series.labels;
        if let Some(s) = series.floats.iter().find(|s| s.t == t) {
            let value = SampleValue::Float(s.v);
            vector.push(VectorSample { labels: labels.clone(), t, value });
        }
        if let Some((_, h)) = series.histograms.into_iter().find(|(at, _)| *at == t) {
            vector.push(VectorSample { labels, t, value: SampleValue::Histogram(Box::new(h)) });
        }
    }
    if !scalar {
        return Ok(QueryValue::Vector(vector));
    }
    match vector.first().map(|s| &s.value) {
        Some(SampleValue::Float(v)) => Ok(QueryValue::Scalar(Sample { t, v: *v })),
        other => Err(format!("a range query over a scalar returned {other:?}")),
    }
}

/// The query with all selectors and subqueries pinned to `t`, to be evaluated at other times:
/// the result must not change. None where the query looks at the evaluation time itself.
fn pinned(query: &str, t: Timestamp) -> Result<Vec<(String, Timestamp)>, String> {
    let mut expr =
        parse(query, &ParserOptions::experimental()).map_err(|e| format!("failed: {e}"))?;
    let mut asks_for_time = false;
    expr.walk(&mut |e| {
        if let Expr::Call(call) = e {
            asks_for_time |= is_time_dependent(call.func.id);
        }
    });
    if asks_for_time {
        return Ok(Vec::new());
    }
    pin(&mut expr, At::Timestamp(t));
    let query = expr.to_string();
    let times = if t == 0 { vec![-1000, 0, 1000] } else { vec![-10 * t, 0, t / 5, t, 10 * t] };
    Ok(times.into_iter().map(|t| (query.clone(), t)).collect())
}

const fn is_time_dependent(id: FunctionId) -> bool {
    matches!(
        id,
        FunctionId::DaysInMonth
            | FunctionId::DayOfMonth
            | FunctionId::DayOfWeek
            | FunctionId::DayOfYear
            | FunctionId::End
            | FunctionId::Hour
            | FunctionId::Minute
            | FunctionId::Month
            | FunctionId::Year
            | FunctionId::PredictLinear
            | FunctionId::Range
            | FunctionId::Start
            | FunctionId::Step
            | FunctionId::Time
            | FunctionId::Timestamp
    )
}

/// Pins what is not pinned to a timestamp yet; what is in a subquery is pinned by it.
fn pin(expr: &mut Expr, at: At) {
    let unpinned = |old: &Option<At>| !matches!(old, Some(At::Timestamp(_)));
    match expr {
        Expr::Number(_) | Expr::String(_) => {}
        Expr::Vector(v) if unpinned(&v.at) => v.at = Some(at),
        Expr::Matrix(m) if unpinned(&m.vector.at) => m.vector.at = Some(at),
        Expr::Subquery(s) if unpinned(&s.at) => s.at = Some(at),
        Expr::Vector(_) | Expr::Matrix(_) | Expr::Subquery(_) => {}
        Expr::Call(c) => c.args.iter_mut().for_each(|arg| pin(arg, at)),
        Expr::Aggregate(a) => {
            pin(&mut a.expr, at);
            a.param.iter_mut().for_each(|param| pin(param, at));
        }
        Expr::Binary(b) => {
            pin(&mut b.lhs, at);
            pin(&mut b.rhs, at);
        }
        Expr::Unary(u) => pin(&mut u.expr, at),
        Expr::Paren(p) => pin(&mut p.expr, at),
    }
}
