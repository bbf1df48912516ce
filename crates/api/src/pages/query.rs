//! `/query`: a box for an expression and a table of its instant result. Takes the parameters of
//! Prometheus' own page (`g0.expr`, `g0.end_input`), so old links work.

use firesteel_promql::{QueryOptions, QueryResult, QueryValue, SampleValue};

use super::html::Html;
use crate::{params::Params, service::Inner};

/// Rows that a page shows; the API gives all.
const MAX_ROWS: usize = 1000;

pub(super) fn render(inner: &Inner, params: &Params) -> String {
    let given = [params.first("query"), params.first("g0.expr")];
    let expr = given.into_iter().find(|e| !e.is_empty()).unwrap_or_default();
    let mut html = Html::page(inner, "/query");
    html.raw("<form method=\"get\" action=\"").text(&inner.prefix).raw("/query\">");
    html.raw("<textarea name=\"query\" rows=\"3\" autofocus placeholder=\"Expression\">");
    html.text(expr).raw("</textarea>");
    html.raw("<label>Time <input name=\"time\" placeholder=\"now\" value=\"");
    html.text(params.first("time")).raw("\"></label><button>Execute</button></form>");
    if expr.is_empty() {
        return html.finish();
    }
    let time = match params.time_or("time", inner.clock.now()) {
        Ok(time) => time,
        Err(error) => return with_error(html, &error.message),
    };
    if !inner.can_query() {
        return with_error(html, "the storage is not open yet");
    }
    let began = inner.clock.monotonic();
    match inner.engine.instant(inner.queryable.as_ref(), expr, time, &QueryOptions::default()) {
        Ok(result) => {
            let took = inner.clock.monotonic().saturating_sub(began);
            show(&mut html, expr, &result, took.as_secs_f64() * 1e3);
            html.finish()
        }
        Err(error) => with_error(html, &error.to_string()),
    }
}

fn with_error(mut html: Html, text: &str) -> String {
    html.raw("<p class=\"down\" role=\"alert\">").text(text).raw("</p>");
    html.finish()
}

fn show(html: &mut Html, expr: &str, result: &QueryResult, ms: f64) {
    let warnings = result.annotations.warnings(expr, 10);
    let infos = result.annotations.infos(expr, 10);
    for text in warnings.iter().chain(&infos) {
        html.raw("<p class=\"unknown\">").text(text).raw("</p>");
    }
    let rows: Vec<(String, String)> = match &result.value {
        QueryValue::Scalar(s) => vec![("scalar".to_owned(), number(s.v))],
        QueryValue::String { value, .. } => vec![("string".to_owned(), value.clone())],
        QueryValue::Vector(samples) => samples
            .iter()
            .take(MAX_ROWS)
            .map(|s| match &s.value {
                SampleValue::Float(v) => (s.labels.to_string(), number(*v)),
                SampleValue::Histogram(h) => {
                    let text = format!("count {}, sum {}", number(h.count), number(h.sum));
                    (s.labels.to_string(), text)
                }
            })
            .collect(),
        QueryValue::Matrix(series) => series
            .iter()
            .take(MAX_ROWS)
            .map(|s| {
                let points: Vec<_> = s
                    .floats
                    .iter()
                    .map(|p| format!("{} @{}", number(p.v), p.t as f64 / 1e3))
                    .collect();
                (s.labels.to_string(), points.join("\n"))
            })
            .collect(),
    };
    let total = match &result.value {
        QueryValue::Vector(samples) => samples.len(),
        QueryValue::Matrix(series) => series.len(),
        _ => 1,
    };
    html.raw("<p>").display(format_args!("{total} results in {ms:.1} ms"));
    if total > MAX_ROWS {
        html.display(format_args!("; the first {MAX_ROWS} are shown"));
    }
    html.raw("</p><table class=\"result\">");
    for (labels, value) in &rows {
        html.raw("<tr><td><code>").text(labels).raw("</code></td><td>");
        html.text(value).raw("</td></tr>");
    }
    html.raw("</table>");
}

fn number(v: f64) -> String {
    firesteel_model::float::format_f(v)
}
