//! Comparisons. Integers compare with integers, floats with floats, strings with strings. Source:
//! Go's `text/template/funcs.go`.

use std::rc::Rc;

use super::value::Value;

/// What can be compared with what.
#[derive(PartialEq, Eq)]
enum Kind {
    Other,
    Bool,
    Number,
    Float,
    String,
}

const BAD_TYPE: &str = "invalid type for comparison";

const fn kind(value: &Value) -> Kind {
    match value {
        Value::Bool(_) => Kind::Bool,
        Value::Int(..) => Kind::Number,
        Value::Float(_) => Kind::Float,
        Value::String(..) => Kind::String,
        _ => Kind::Other,
    }
}

fn incompatible<T>(a: &Value, b: &Value) -> Result<T, String> {
    let (a, b) = (a.type_name(), b.type_name());
    Err(format!("incompatible types for comparison: {a} and {b}"))
}

const fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::None | Value::NilInterface)
}

/// Whether the first value equals any of the others.
pub(super) fn eq(first: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a, _), Value::Int(b, _)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::String(a, _), Value::String(b, _)) => Ok(a == b),
        (a, b) if is_nothing(a) || is_nothing(b) => Ok(is_nothing(a) && is_nothing(b)),
        (a, b) if kind(a) != kind(b) => incompatible(a, b),
        (a, b) => same(a, b),
    }
}

/// Values of other types: pointers are the same or not, maps and slices are not comparable.
fn same(a: &Value, b: &Value) -> Result<bool, String> {
    let shape = |value: &Value| match value {
        Value::Pointer(_) => 0,
        Value::Labels(_) | Value::Map(_) => 1,
        Value::Vector(_) => 2,
        _ => 3,
    };
    if shape(a) != shape(b) {
        return Err(format!(
            "non-comparable types {}: {}, {}: {}",
            super::format::plain(a),
            a.type_name(),
            b.type_name(),
            super::format::plain(b)
        ));
    }
    match (a, b) {
        (Value::Pointer(a), Value::Pointer(b)) => Ok(match (&**a, &**b) {
            (Value::Sample(a), Value::Sample(b)) => Rc::ptr_eq(a, b),
            (Value::Histogram(a), Value::Histogram(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }),
        (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (_, b) => {
            Err(format!("non-comparable type {}: {}", super::format::plain(b), b.type_name()))
        }
    }
}

/// Whether `a` is less than `b`.
pub(super) fn lt(a: &Value, b: &Value) -> Result<bool, String> {
    if kind(a) == Kind::Other || kind(b) == Kind::Other {
        return Err(BAD_TYPE.to_owned());
    }
    match (a, b) {
        (Value::Int(a, _), Value::Int(b, _)) => Ok(a < b),
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::String(a, _), Value::String(b, _)) => Ok(a < b),
        (Value::Bool(_), Value::Bool(_)) => Err(BAD_TYPE.to_owned()),
        _ => incompatible(a, b),
    }
}

/// Whether `a` is less than `b` or equal to it.
pub(super) fn le(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(lt(a, b)? || equal(a, b)?)
}
