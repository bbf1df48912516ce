//! The functions that templates know, and what they take.

use std::{collections::HashSet, sync::LazyLock};

/// Go's type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    /// `interface {}`
    Any,
    /// Any value as it is, nothing too.
    Raw,
    String,
    /// `template.queryResult`
    Vector,
    /// `*template.sample`
    Sample,
    /// `time.Time`
    Time,
    /// `time.Duration`
    Duration,
    Int,
}

impl Parameter {
    /// Go's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Raw => "reflect.Value",
            Self::String => "string",
            Self::Vector => "template.queryResult",
            Self::Sample => "*template.sample",
            Self::Time => "time.Time",
            Self::Duration => "time.Duration",
            Self::Int => "int",
        }
    }
}

/// What a function takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    pub(super) fixed: &'static [Parameter],
    /// The type of any further arguments.
    pub(super) rest: Option<Parameter>,
}

const fn takes(fixed: &'static [Parameter]) -> Signature {
    Signature { fixed, rest: None }
}

const fn takes_more(fixed: &'static [Parameter], rest: Parameter) -> Signature {
    Signature { fixed, rest: Some(rest) }
}

use Parameter::{Any, Raw, Sample, String, Vector};

/// Go's functions, then Prometheus'.
const FUNCTIONS: &[(&str, Signature)] = &[
    ("and", takes_more(&[Raw], Raw)),
    ("call", takes_more(&[Raw], Raw)),
    ("eq", takes_more(&[Raw], Raw)),
    ("ge", takes(&[Raw, Raw])),
    ("gt", takes(&[Raw, Raw])),
    ("html", takes_more(&[], Any)),
    ("index", takes_more(&[Raw], Raw)),
    ("js", takes_more(&[], Any)),
    ("le", takes(&[Raw, Raw])),
    ("len", takes(&[Raw])),
    ("lt", takes(&[Raw, Raw])),
    ("ne", takes(&[Raw, Raw])),
    ("not", takes(&[Raw])),
    ("or", takes_more(&[Raw], Raw)),
    ("print", takes_more(&[], Any)),
    ("printf", takes_more(&[String], Any)),
    ("println", takes_more(&[], Any)),
    ("slice", takes_more(&[Raw], Raw)),
    ("urlquery", takes_more(&[], Any)),
    ("args", takes_more(&[], Any)),
    ("externalURL", takes(&[])),
    ("first", takes(&[Vector])),
    ("graphLink", takes(&[String])),
    ("humanize", takes(&[Any])),
    ("humanize1024", takes(&[Any])),
    ("humanizeDuration", takes(&[Any])),
    ("humanizePercentage", takes(&[Any])),
    ("humanizeTimestamp", takes(&[Any])),
    ("label", takes(&[String, Sample])),
    ("match", takes(&[String, String])),
    ("now", takes(&[])),
    ("parseDuration", takes(&[String])),
    ("pathPrefix", takes(&[])),
    ("query", takes(&[String])),
    ("reReplaceAll", takes(&[String, String, String])),
    ("safeHtml", takes(&[String])),
    ("sortByLabel", takes(&[String, Vector])),
    ("stripDomain", takes(&[String])),
    ("stripPort", takes(&[String])),
    ("strvalue", takes(&[Sample])),
    ("tableLink", takes(&[String])),
    ("title", takes(&[String])),
    ("toDuration", takes(&[Any])),
    ("toLower", takes(&[String])),
    ("toTime", takes(&[Any])),
    ("toUpper", takes(&[String])),
    ("urlQueryEscape", takes(&[String])),
    ("value", takes(&[Sample])),
];

/// What the function of a name takes.
pub(super) fn of(name: &str) -> Option<Signature> {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, signature)| *signature)
}

/// The names of all functions.
pub(super) fn names() -> &'static HashSet<&'static str> {
    static NAMES: LazyLock<HashSet<&str>> =
        LazyLock::new(|| FUNCTIONS.iter().map(|(name, _)| *name).collect());
    &NAMES
}
