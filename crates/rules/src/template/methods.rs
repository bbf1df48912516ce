//! Fields and methods of the values that templates get: samples, alerts' data, times, durations and
//! histograms.

use firesteel_model::calendar::Date;

use super::{
    duration,
    signature::Parameter,
    time::{self, Time},
    value::{IntType, Value},
};

/// What a method takes, and how many results it has; only those with one can be called.
pub(super) struct Method {
    pub(super) takes: &'static [Parameter],
    pub(super) results: usize,
}

use Parameter::{Duration, Int, String as Text, Time as Moment};

const TIME: &[(&str, &[Parameter], usize)] = &[
    ("Add", &[Duration], 1),
    ("AddDate", &[Int, Int, Int], 1),
    ("After", &[Moment], 1),
    ("Before", &[Moment], 1),
    ("Clock", &[], 3),
    ("Compare", &[Moment], 1),
    ("Date", &[], 3),
    ("Day", &[], 1),
    ("Equal", &[Moment], 1),
    ("Format", &[Text], 1),
    ("GoString", &[], 1),
    ("Hour", &[], 1),
    ("ISOWeek", &[], 2),
    ("IsDST", &[], 1),
    ("IsZero", &[], 1),
    ("Local", &[], 1),
    ("Minute", &[], 1),
    ("Month", &[], 1),
    ("Nanosecond", &[], 1),
    ("Round", &[Duration], 1),
    ("Second", &[], 1),
    ("String", &[], 1),
    ("Sub", &[Moment], 1),
    ("Truncate", &[Duration], 1),
    ("UTC", &[], 1),
    ("Unix", &[], 1),
    ("UnixMicro", &[], 1),
    ("UnixMilli", &[], 1),
    ("UnixNano", &[], 1),
    ("Weekday", &[], 1),
    ("Year", &[], 1),
    ("YearDay", &[], 1),
    ("Zone", &[], 2),
];

const DURATION: &[(&str, &[Parameter], usize)] = &[
    ("Abs", &[], 1),
    ("Hours", &[], 1),
    ("Microseconds", &[], 1),
    ("Milliseconds", &[], 1),
    ("Minutes", &[], 1),
    ("Nanoseconds", &[], 1),
    ("Round", &[Duration], 1),
    ("Seconds", &[], 1),
    ("String", &[], 1),
    ("Truncate", &[Duration], 1),
];

const STRING: &[(&str, &[Parameter], usize)] = &[("String", &[], 1)];

/// The method of a value, pointers aside.
pub(super) fn find(value: &Value, name: &str) -> Option<Method> {
    let methods = match value {
        Value::Time(_) => TIME,
        Value::Int(_, IntType::Duration) => DURATION,
        Value::Int(_, IntType::Month | IntType::Weekday) | Value::Histogram(_) => STRING,
        _ => return None,
    };
    let found = methods.iter().find(|(known, ..)| *known == name);
    found.map(|&(_, takes, results)| Method { takes, results })
}

/// Go's type of the second of two results, of the methods of times that have two.
pub(super) const SECOND_RESULT: &str = "int";

/// Calls a method that [`find`] found, with arguments of the types that it takes.
///
/// # Errors
/// There is no such method.
pub(super) fn call(value: &Value, name: &str, arguments: &[Value]) -> Result<Value, String> {
    let result = match value {
        Value::Time(time) => of_time(*time, name, arguments),
        Value::Int(nanos, IntType::Duration) => of_duration(*nanos, name, arguments),
        Value::Histogram(histogram) => Some(histogram.to_string().into()),
        value => string_method(value).map(Value::from),
    };
    result.ok_or_else(|| format!("no method {name}"))
}

fn of_time(time: Time, name: &str, arguments: &[Value]) -> Option<Value> {
    let Date { year, month, day } = time.date();
    let (hour, minute, second) = time.clock();
    let number = |i: usize| match arguments.get(i) {
        Some(Value::Int(n, _)) => Some(*n),
        _ => None,
    };
    let other = || match arguments.first() {
        Some(Value::Time(time)) => Some(*time),
        _ => None,
    };
    let int = |n: i64| Value::Int(n, IntType::Int64);
    Some(match name {
        "Add" => Value::Time(time.add(number(0)?)),
        "AddDate" => Value::Time(time.add_date(number(0)?, number(1)?, number(2)?)),
        "After" => Value::Bool(time > other()?),
        "Before" => Value::Bool(time < other()?),
        "Compare" => Value::int(time.compare(other()?)),
        "Day" => Value::int(day),
        "Equal" => Value::Bool(time == other()?),
        "Format" => match arguments.first()? {
            Value::String(layout, _) => time.format(layout).into(),
            _ => return None,
        },
        "GoString" => time.go_string().into(),
        "Hour" => Value::int(hour),
        "IsDST" => Value::Bool(false),
        "IsZero" => Value::Bool(time.is_zero()),
        "Local" | "UTC" => Value::Time(time),
        "Minute" => Value::int(minute),
        "Month" => Value::Int(month, IntType::Month),
        "Nanosecond" => Value::int(time.nanos.into()),
        "Round" => Value::Time(time.multiple_of(number(0)?, true)),
        "Second" => Value::int(second),
        "String" => time.to_string().into(),
        "Sub" => Value::Int(time.since(other()?), IntType::Duration),
        "Truncate" => Value::Time(time.multiple_of(number(0)?, false)),
        "Unix" => int(time.seconds),
        "UnixMicro" => int(time.unix_nanos().div_euclid(1000)),
        "UnixMilli" => int(time.unix_nanos().div_euclid(1_000_000)),
        "UnixNano" => int(time.unix_nanos()),
        "Weekday" => Value::Int(time.weekday(), IntType::Weekday),
        "Year" => Value::int(year),
        "YearDay" => Value::int(time.year_day()),
        _ => return None,
    })
}

fn of_duration(nanos: i64, name: &str, arguments: &[Value]) -> Option<Value> {
    let number = || match arguments.first() {
        Some(Value::Int(n, _)) => Some(*n),
        _ => None,
    };
    // As Go: whole units and their rest apart, so that no digit is lost.
    let units = |unit: i64| (nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64;
    let int = |n: i64| Value::Int(n, IntType::Int64);
    let of = |n: i64| Value::Int(n, IntType::Duration);
    Some(match name {
        "Abs" => of(nanos.saturating_abs()),
        "Hours" => Value::Float(units(3_600_000_000_000)),
        "Microseconds" => int(nanos / 1000),
        "Milliseconds" => int(nanos / 1_000_000),
        "Minutes" => Value::Float(units(60_000_000_000)),
        "Nanoseconds" => int(nanos),
        "Round" => of(duration::round(nanos, number()?)),
        "Seconds" => Value::Float(units(1_000_000_000)),
        "String" => duration::format(nanos).into(),
        "Truncate" => of(duration::truncate(nanos, number()?)),
        _ => return None,
    })
}

/// The names of a struct's fields.
pub(super) const fn field_names(value: &Value) -> &'static [&'static str] {
    match value {
        Value::Sample(_) => &["Labels", "Value"],
        Value::Data(_) => &["Labels", "ExternalLabels", "ExternalURL", "Value"],
        Value::Histogram(_) => &["Schema", "ZeroThreshold", "ZeroCount", "Count", "Sum"],
        _ => &[],
    }
}

/// A field of a struct or an element of a map.
pub(super) fn field(value: &Value, name: &str) -> Option<Value> {
    match (value, name) {
        (Value::Labels(labels), name) => labels.get(name).map(Value::from),
        (Value::Map(map), name) => map.get(name).cloned(),
        (Value::Sample(sample), "Labels") => Some(Value::Labels(sample.labels.clone())),
        (Value::Sample(sample), "Value") => Some(sample.value.clone().in_interface()),
        (Value::Data(data), "Labels") => Some(Value::Labels(data.labels.clone())),
        (Value::Data(data), "ExternalLabels") => Some(Value::Labels(data.external_labels.clone())),
        (Value::Data(data), "ExternalURL") => Some((&*data.external_url).into()),
        (Value::Data(data), "Value") => Some(data.value.clone().in_interface()),
        (Value::Histogram(histogram), name) => Some(match name {
            "Schema" => Value::int(histogram.layout.schema.into()),
            "ZeroThreshold" => Value::Float(histogram.layout.zero_threshold),
            "ZeroCount" => Value::Float(histogram.zero_count),
            "Count" => Value::Float(histogram.count),
            "Sum" => Value::Float(histogram.sum),
            _ => return None,
        }),
        _ => None,
    }
}

/// What a value's method `String` returns.
pub(super) fn string_method(value: &Value) -> Option<String> {
    match value {
        Value::Pointer(target) => match &**target {
            Value::Histogram(histogram) => Some(histogram.to_string()),
            Value::Pointer(_) => None,
            target => string_method(target),
        },
        Value::Time(time) => Some(time.to_string()),
        Value::Int(n, IntType::Duration) => Some(duration::format(*n)),
        Value::Int(n, IntType::Month) => Some(time::month_name(*n)),
        Value::Int(n, IntType::Weekday) => Some(time::weekday_name(*n)),
        _ => None,
    }
}
