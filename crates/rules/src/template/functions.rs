//! Calls the functions of templates, Go's and Prometheus'.

use std::{borrow::Cow, collections::BTreeMap, rc::Rc};

use firesteel_model::{duration, regex::Regex};

use super::{
    builtins, escape,
    exec::Execution,
    format, humanize, network,
    time::Time,
    title::title,
    value::{IntType, Sample, StringType, Value, Vector},
};

/// Calls a function; `first` is its first argument as it is written.
///
/// # Errors
/// What the function says.
pub(super) fn call(
    execution: &mut Execution<'_, '_>,
    name: &str,
    arguments: &[Value],
    first: Option<&str>,
) -> Result<Value, String> {
    let limit = execution.budget.limits().output_bytes;
    let value = match arguments {
        [] if name == "now" => Value::Float(execution.environment.at as f64 / 1000.0),
        [] if name == "externalURL" => execution.environment.external_url.into(),
        [] if name == "pathPrefix" => network::path(execution.environment.external_url).into(),
        [Value::String(text, StringType::Plain)] if name == "query" => query(execution, text)?,
        [Value::String(pattern, _), Value::String(new, _), Value::String(text, _)]
            if name == "reReplaceAll" =>
        {
            replace_all(execution, pattern, new, text)?.into()
        }
        arguments => match builtins::call(name, arguments, first, limit) {
            Some(result) => result?,
            None => prometheus(name, arguments)?,
        },
    };
    if let Value::String(text, _) = &value {
        execution.budget.made(text.len())?;
    }
    Ok(value)
}

/// Functions that depend on nothing but their arguments.
fn prometheus(name: &str, arguments: &[Value]) -> Result<Value, String> {
    Ok(match (name, arguments) {
        ("args", values) => numbered(values),
        ("first", [Value::Vector(vector)]) => match vector.get(0) {
            Some(sample) => sample.into(),
            None => return Err("first() called on vector with no elements".to_owned()),
        },
        ("first", [Value::None]) => {
            return Err("first() called on vector with no elements".to_owned());
        }
        ("label" | "strvalue" | "value", [.., Value::None]) => {
            return Err("runtime error: invalid memory address or nil pointer dereference".into());
        }
        ("label", [Value::String(label, _), sample]) => {
            sample_of(sample).and_then(|s| s.labels.get(label)).unwrap_or_default().into()
        }
        ("strvalue", [sample]) => {
            sample_of(sample).and_then(|s| s.labels.get("__value__")).unwrap_or_default().into()
        }
        ("value", [sample]) => sample_of(sample).map_or(Value::None, |s| s.value.clone()),
        ("sortByLabel", [Value::String(label, _), Value::Vector(vector)]) => {
            vector.sort_by_label(label);
            Value::Vector(vector.clone())
        }
        ("sortByLabel", [_, Value::None]) => Value::Vector(Vector::new(Vec::new())),
        ("match", [Value::String(pattern, _), Value::String(text, _)]) => {
            let regex = Regex::unanchored(pattern).map_err(|error| error.to_string())?;
            Value::Bool(regex.is_match(text))
        }
        (name, [Value::String(text, StringType::Plain)]) => match of_text(name, text) {
            Some(result) => result?,
            None => of_number(name, &arguments[0])?,
        },
        (name, [value]) => of_number(name, value)?,
        (name, _) => return Err(format!("no function {name}")),
    })
}

/// Functions of one string; `None` for others.
fn of_text(name: &str, text: &str) -> Option<Result<Value, String>> {
    Some(Ok(match name {
        "safeHtml" => Value::String(text.into(), StringType::Html),
        "title" => title(text).into(),
        "toUpper" => escape::to_upper(text).into(),
        "toLower" => escape::to_lower(text).into(),
        "graphLink" => format!("/graph?g0.expr={}&g0.tab=0", escape::url_query(text)).into(),
        "tableLink" => format!("/graph?g0.expr={}&g0.tab=1", escape::url_query(text)).into(),
        "urlQueryEscape" => escape::url_query(text).into(),
        "stripPort" => network::strip_port(text).into(),
        "stripDomain" => network::strip_domain(text).into(),
        "parseDuration" => match duration::parse_signed(text) {
            Ok(ms) => Value::Float(ms as f64 / 1000.0),
            Err(error) => return Some(Err(error.to_string())),
        },
        _ => return None,
    }))
}

/// Functions of anything that is a number, or a text that reads as one.
fn of_number(name: &str, value: &Value) -> Result<Value, String> {
    let v = humanize::to_float(value)?;
    Ok(match name {
        "humanize" => humanize::decimal(v).into(),
        "humanize1024" => humanize::binary(v).into(),
        "humanizeDuration" => humanize::duration(v).into(),
        "humanizePercentage" => humanize::percentage(v).into(),
        "humanizeTimestamp" => humanize::timestamp(v)?.into(),
        "toTime" => Value::pointer(Value::Time(humanize::to_time(v)?)),
        "toDuration" => Value::pointer(Value::Int(humanize::go_int(v * 1e9), IntType::Duration)),
        name => return Err(format!("no function {name}")),
    })
}

fn sample_of(value: &Value) -> Option<&Sample> {
    match value {
        Value::Pointer(target) => match &**target {
            Value::Sample(sample) => Some(sample),
            _ => None,
        },
        _ => None,
    }
}

/// `args`: the values under the names `arg0`, `arg1` ...
fn numbered(values: &[Value]) -> Value {
    let named = values.iter().enumerate();
    let map: BTreeMap<_, _> =
        named.map(|(i, value)| (format!("arg{i}"), value.clone().in_interface())).collect();
    Value::Map(Rc::new(map))
}

fn query(execution: &mut Execution<'_, '_>, text: &str) -> Result<Value, String> {
    execution.budget.query()?;
    let samples = execution.environment.query.query(text)?;
    let samples =
        samples.into_iter().map(|(labels, value)| Rc::new(Sample { labels, value: value.into() }));
    Ok(Value::Vector(Vector::new(samples.collect())))
}

fn replace_all(
    execution: &Execution<'_, '_>,
    pattern: &str,
    new: &str,
    text: &str,
) -> Result<String, String> {
    let regex = Regex::unanchored(pattern).map_err(|error| must_compile(pattern, &error))?;
    let limit = execution.budget.limits().output_bytes;
    // Every character and the end may be a place for the new text, in which each reference may
    // stand for all of the text.
    let references = new.bytes().filter(|b| *b == b'$').count();
    let places = text.chars().count() + 1;
    let most = new.len().saturating_add(references.saturating_mul(text.len()));
    let most = text.len().saturating_add(most.saturating_mul(places));
    if most <= limit {
        return Ok(regex.replace_all(text, new));
    }
    regex
        .replace_all_within(text, new, limit)
        .ok_or_else(|| format!("makes texts of more than {limit} bytes"))
}

/// What Go's `regexp.MustCompile` panics with.
fn must_compile(pattern: &str, error: &dyn std::fmt::Display) -> String {
    let quoted: Cow<'_, str> = match pattern.contains('`') {
        true => firesteel_model::float::go_quote(pattern).into(),
        false => format!("`{pattern}`").into(),
    };
    format!("regexp: Compile({quoted}): {error}")
}

/// Go's `Sprint` of arguments as `html`, `js` and `urlquery` take them.
///
/// # Errors
/// More than `limit` bytes.
pub(super) fn joined(arguments: &[Value], limit: usize) -> Result<String, String> {
    let printable: Vec<Value> = arguments.iter().cloned().map(format::printable).collect();
    format::print(&printable, limit)
}

/// The moment of a number of seconds, to the millisecond.
pub(super) const fn moment(ms: i64) -> Time {
    Time::from_millis(ms)
}
