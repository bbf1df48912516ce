//! Go's own functions. Source: Go's `text/template/funcs.go`.

use std::borrow::Cow;

use super::{
    compare, escape, format,
    functions::joined,
    value::{IntType, Value},
};

type Called = Result<Value, String>;

/// Calls one of Go's functions; `None` if the name is not one of theirs.
pub(super) fn call(
    name: &str,
    arguments: &[Value],
    first: Option<&str>,
    limit: usize,
) -> Option<Called> {
    Some(match (name, arguments) {
        ("not", [value]) => Ok(Value::Bool(!value.truth())),
        ("len", [value]) => len(value),
        ("index", [value, indexes @ ..]) => index(value, indexes),
        ("slice", [value, indexes @ ..]) => slice(value, indexes),
        ("call", [function, ..]) => Err(not_callable(function, first)),
        ("print", values) => format::print(values, limit).map(Value::from),
        ("println", values) => format::println(values, limit).map(Value::from),
        ("printf", [Value::String(text, _), values @ ..]) => {
            format::printf(text, values, limit).map(Value::from)
        }
        ("html", values) => joined(values, limit).map(|text| escape::html(&text).into()),
        ("js", values) => joined(values, limit).map(|text| escape::js(&text).into()),
        ("urlquery", values) => joined(values, limit).map(|text| escape::url_query(&text).into()),
        ("eq", [first, others @ ..]) => compare::eq(first, others).map(Value::Bool),
        ("ne", [a, b]) => compare::eq(a, std::slice::from_ref(b)).map(|eq| Value::Bool(!eq)),
        ("lt", [a, b]) => compare::lt(a, b).map(Value::Bool),
        ("le", [a, b]) => compare::le(a, b).map(Value::Bool),
        ("gt", [a, b]) => compare::le(a, b).map(|le| Value::Bool(!le)),
        ("ge", [a, b]) => compare::lt(a, b).map(|lt| Value::Bool(!lt)),
        _ => return None,
    })
}

fn not_callable(function: &Value, name: Option<&str>) -> String {
    match function {
        Value::None | Value::NilInterface => "call of nil".to_owned(),
        function => {
            let name = match (name, function) {
                (Some(name), _) => name.to_owned(),
                (None, Value::String(text, _)) => text.to_string(),
                (None, value) => format!("<{} Value>", value.type_name()),
            };
            format!("non-function {name} of type {}", function.type_name())
        }
    }
}

fn len(value: &Value) -> Called {
    let (value, nothing) = value.clone().indirect();
    let len = match &value {
        _ if nothing => return Err("len of nil pointer".to_owned()),
        Value::String(text, _) => text.len(),
        Value::Labels(labels) => labels.len(),
        Value::Map(map) => map.len(),
        Value::Vector(vector) => vector.len(),
        // Go panics over the type of nothing.
        Value::None => {
            return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
        }
        value => return Err(format!("len of type {}", value.type_name())),
    };
    Ok(Value::int(i64::try_from(len).unwrap_or(i64::MAX)))
}

/// An index that is at most `capacity`.
fn index_of(index: &Value, capacity: usize) -> Result<usize, String> {
    match index {
        Value::Int(n, _) => usize::try_from(*n)
            .ok()
            .filter(|n| *n <= capacity)
            .ok_or_else(|| format!("index out of range: {n}")),
        Value::None | Value::NilInterface => Err("cannot index slice/array with nil".to_owned()),
        index => Err(format!("cannot index slice/array with type {}", index.type_name())),
    }
}

/// What Go's `reflect` panics with for an index just behind the end.
fn behind_end(kind: &str) -> String {
    format!("reflect: {kind} index out of range")
}

fn index(value: &Value, indexes: &[Value]) -> Called {
    let mut value = value.clone().out_of_interface();
    if matches!(value, Value::None) {
        return Err("index of untyped nil".to_owned());
    }
    for index in indexes {
        let (target, nothing) = value.indirect();
        if nothing {
            return Err("index of nil pointer".to_owned());
        }
        value = match &target {
            Value::String(text, _) => {
                let at = index_of(index, text.len())?;
                let byte = text.as_bytes().get(at).ok_or_else(|| behind_end("string"))?;
                Value::Int((*byte).into(), IntType::Byte)
            }
            Value::Vector(vector) => {
                let at = index_of(index, vector.len())?;
                vector.get(at).ok_or_else(|| behind_end("slice"))?.into()
            }
            Value::Labels(labels) => labels.get(&key(index)?).unwrap_or_default().into(),
            Value::Map(map) => map.get(&*key(index)?).cloned().unwrap_or(Value::NilInterface),
            value => return Err(format!("can't index item of type {}", value.type_name())),
        };
    }
    Ok(value)
}

/// A key of a map with strings for keys.
fn key(index: &Value) -> Result<Cow<'_, str>, String> {
    match index {
        Value::String(text, super::value::StringType::Plain) => Ok(Cow::Borrowed(text)),
        Value::None | Value::NilInterface => {
            Err("value is nil; should be of type string".to_owned())
        }
        value => Err(format!("value has type {}; should be string", value.type_name())),
    }
}

fn slice(value: &Value, indexes: &[Value]) -> Called {
    let value = value.clone().out_of_interface();
    if matches!(value, Value::None) {
        return Err("slice of untyped nil".to_owned());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let (len, capacity) = match &value {
        Value::String(..) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::String(text, _) => (text.len(), text.len()),
        Value::Vector(vector) => (vector.len(), vector.capacity()),
        value => return Err(format!("can't slice item of type {}", value.type_name())),
    };
    let mut bounds = [0, len, capacity];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = index_of(index, capacity)?;
    }
    let [from, to, end] = bounds;
    let out_of_order = |a: usize, b: usize| Err(format!("invalid slice index: {a} > {b}"));
    if from > to {
        return out_of_order(from, to);
    }
    if to > end {
        return out_of_order(to, end);
    }
    Ok(match &value {
        Value::String(text, kind) => {
            let bytes = text.as_bytes().get(from..to).unwrap_or_default();
            Value::String(String::from_utf8_lossy(bytes).into(), *kind)
        }
        Value::Vector(vector) => Value::Vector(vector.slice(from, to)),
        value => value.clone(),
    })
}
