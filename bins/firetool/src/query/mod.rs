//! `query`: asks a server, and prints as promtool does.

mod analyze;
mod client;
mod explain;
mod value;

use std::{io::Write, path::PathBuf};

use firesteel_model::float;
use serde_json::Value;

use crate::{Failure, Outcome};
pub(crate) use analyze::{Analysis, run as analyze};
pub(crate) use client::Client;

/// Which server, how, and in which form its answers are printed.
pub(crate) struct Server {
    /// Its URL; without a scheme http is meant.
    pub(crate) url: String,
    /// `--http.config.file`
    pub(crate) config: Option<PathBuf>,
    /// `NAME=VALUE` each.
    pub(crate) headers: Vec<String>,
    /// `-o json`
    pub(crate) json: bool,
}

impl Server {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.url, self.config.as_deref(), &self.headers)
    }

    fn print(
        &self,
        data: &Value,
        lines: impl Fn(&Value) -> String,
        out: &mut dyn Write,
    ) -> Outcome {
        if self.json {
            // As Go's encoder, which writes for web pages too.
            let text = data.to_string();
            let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
            return Ok(writeln!(out, "{text}")?);
        }
        Ok(writeln!(out, "{}", lines(data))?)
    }
}

/// Times of a range query: texts as they were given, seconds of the step.
pub(crate) struct Range {
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) step: Option<f64>,
}

/// Prints a query's value at one time.
pub(crate) fn instant(
    server: &Server,
    expr: &str,
    time: Option<&str>,
    out: &mut dyn Write,
) -> Outcome {
    let at = match time {
        Some(text) => parse_time(text, "error parsing evaluation time")?,
        None => now(),
    };
    let pairs = [("query", expr.to_owned()), ("time", seconds(at))];
    print_value(server, &server.client()?.call("query", &pairs)?, out)
}

/// Prints a query's values over a range of time.
pub(crate) fn range(server: &Server, expr: &str, range: &Range, out: &mut dyn Write) -> Outcome {
    let pairs = range_pairs(expr, range)?;
    print_value(server, &server.client()?.call("query_range", &pairs)?, out)
}

/// Prints a query's plan and what each part of it took.
pub(crate) fn explain(
    server: &Server,
    expr: &str,
    time: Option<&str>,
    range: &Range,
    out: &mut dyn Write,
) -> Outcome {
    let pairs = if range.start.is_some() || range.step.is_some() {
        range_pairs(expr, range)?
    } else {
        let at = match time {
            Some(text) => parse_time(text, "error parsing evaluation time")?,
            None => now(),
        };
        vec![("query", expr.to_owned()), ("time", seconds(at))]
    };
    let data = server.client()?.call("explain", &pairs)?;
    server.print(&data, explain::lines, out)
}

fn range_pairs(expr: &str, range: &Range) -> Result<Vec<(&'static str, String)>, Failure> {
    let end = match &range.end {
        Some(text) => parse_time(text, "error parsing end time")?,
        None => now(),
    };
    let start = match &range.start {
        Some(text) => parse_time(text, "error parsing start time")?,
        None => end - 300.0,
    };
    if start >= end {
        return Err(Failure::Message("start time is not before end time".to_owned()));
    }
    let step = range.step.filter(|s| *s != 0.0);
    let step = step.unwrap_or_else(|| ((end - start) / 250.0).floor().max(1.0));
    Ok(vec![
        ("query", expr.to_owned()),
        ("start", seconds(start)),
        ("end", seconds(end)),
        ("step", seconds(step)),
    ])
}

fn print_value(server: &Server, data: &Value, out: &mut dyn Write) -> Outcome {
    if server.json {
        return server.print(&value::without_exponents(data), value::lines, out);
    }
    server.print(data, value::lines, out)
}

/// Prints the label sets of series.
pub(crate) fn series(
    server: &Server,
    matchers: &[String],
    range: &Range,
    out: &mut dyn Write,
) -> Outcome {
    let mut pairs = wide(range)?;
    pairs.extend(matchers.iter().map(|m| ("match[]", m.clone())));
    let data = server.client()?.call("series", &pairs)?;
    print_list(server, &data, value::label_set, out)
}

/// Prints the values of a label.
pub(crate) fn labels(
    server: &Server,
    name: &str,
    matchers: &[String],
    range: &Range,
    out: &mut dyn Write,
) -> Outcome {
    let mut pairs = wide(range)?;
    pairs.extend(matchers.iter().map(|m| ("match[]", m.clone())));
    let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let data = server.client()?.get(&format!("label/{name}/values"), &pairs)?;
    print_list(server, &data, |v| v.as_str().unwrap_or_default().to_owned(), out)
}

fn print_list(
    server: &Server,
    data: &Value,
    line: impl Fn(&Value) -> String,
    out: &mut dyn Write,
) -> Outcome {
    if server.json {
        return server.print(data, value::lines, out);
    }
    for item in data.as_array().into_iter().flatten() {
        writeln!(out, "{}", line(item))?;
    }
    Ok(())
}

/// Times that take in everything unless others were given.
fn wide(range: &Range) -> Result<Vec<(&'static str, String)>, Failure> {
    const FAR: f64 = 9999.0 * 3600.0;
    let start = match &range.start {
        Some(text) => parse_time(text, "error parsing start time")?,
        None => now() - FAR,
    };
    let end = match &range.end {
        Some(text) => parse_time(text, "error parsing end time")?,
        None => now() + FAR,
    };
    Ok(vec![("start", seconds(start)), ("end", seconds(end))])
}

fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |d| d.as_millis() as f64 / 1000.0)
}

/// Seconds without an exponent.
fn seconds(t: f64) -> String {
    float::format_f(t)
}

/// Seconds since 1970: a number, or RFC 3339.
fn parse_time(text: &str, context: &str) -> Result<f64, Failure> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok(seconds);
    }
    let time = text.parse::<jiff::Timestamp>().map_err(|_| {
        let text = float::go_quote(text);
        Failure::Message(format!("{context}: cannot parse {text} to a valid timestamp"))
    })?;
    Ok(time.as_millisecond() as f64 / 1000.0)
}
