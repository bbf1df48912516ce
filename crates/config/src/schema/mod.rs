//! What may stand in a configuration: tables of keys with their types and defaults, one per section
//! of Prometheus 3.14, in the order in which Prometheus prints them.
//!
//! The decoder, the emitter, the suggestions and the list of what is not served all work from these
//! tables, so a key is described once.

pub(crate) mod alerting;
pub(crate) mod discovery;
mod discovery_checks;
pub(crate) mod http;
pub(crate) mod relabel;
pub(crate) mod remote;
pub(crate) mod root;
pub(crate) mod scrape;
pub(crate) mod web;

use std::time::Duration;

use crate::{
    Place, Secret,
    diagnose::Diagnostics,
    value::{Section, Value},
};

/// The keys of one kind of section.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The name of Prometheus' Go type, as its messages give it.
    pub(crate) go_type: &'static str,
    /// The keys; in parts, because some are shared.
    pub(crate) parts: &'static [&'static [Field]],
    /// What holds between the keys; may fill in what depends on others.
    pub(crate) check: Check,
}

pub(crate) type Check = fn(&mut Section, &mut Diagnostics);

/// One key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) print: Print,
    pub(crate) preset: Preset,
}

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Bool,
    Int,
    Uint,
    Float,
    Text,
    Secret,
    Duration,
    Size,
    Url,
    /// A path, relative to the configuration file.
    Path,
    /// A string that must pass a test; the test may rewrite it.
    Checked(fn(&str) -> Result<String, String>),
    /// A label set.
    Labels,
    Section(&'static Schema),
    /// A list of sections.
    Sections(&'static Schema),
    /// Sections under free keys.
    SectionMap(&'static Schema),
    List(&'static Self),
    /// Free keys.
    Map(&'static Self),
}

/// When a key is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Print {
    /// If it is not zero (`omitempty`).
    NonZero,
    Always,
    /// If it is set, even to zero (`omitempty` on a pointer).
    WhenSet,
    /// If it is not empty, as `[a, b]`.
    Flow,
}

/// The value of a key that does not stand in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Preset {
    Zero,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Text(&'static str),
    Seconds(u64),
    Millis(u64),
    /// The section with its own defaults.
    Defaults,
}

impl Preset {
    pub(crate) fn value(self, kind: Kind) -> Option<Value> {
        Some(match (self, kind) {
            (Self::Zero, _) => return None,
            (Self::Bool(b), _) => Value::Bool(b),
            (Self::Int(n), _) => Value::Int(n),
            (Self::Uint(n), _) => Value::Uint(n),
            (Self::Text(text), Kind::Secret) => Value::Secret(Secret::new(text)),
            (Self::Text(text), _) => Value::Text(text.to_owned()),
            (Self::Seconds(s), _) => Value::Duration(Duration::from_secs(s)),
            (Self::Millis(ms), _) => Value::Duration(Duration::from_millis(ms)),
            (Self::Defaults, Kind::Section(schema)) => {
                Value::Section(Section::with_defaults(schema, Place::default()))
            }
            (Self::Defaults, _) => return None,
        })
    }
}

/// A key that is printed unless zero and has no default.
pub(crate) const fn key(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, print: Print::NonZero, preset: Preset::Zero }
}

impl Field {
    pub(crate) const fn always(mut self) -> Self {
        self.print = Print::Always;
        self
    }

    pub(crate) const fn when_set(mut self) -> Self {
        self.print = Print::WhenSet;
        self
    }

    pub(crate) const fn flow(mut self) -> Self {
        self.print = Print::Flow;
        self
    }

    pub(crate) const fn or(mut self, preset: Preset) -> Self {
        self.preset = preset;
        self
    }
}

impl Schema {
    pub(crate) const fn new(
        go_type: &'static str,
        parts: &'static [&'static [Field]],
        check: Check,
    ) -> Self {
        Self { go_type, parts, check }
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    pub(crate) fn field(&self, name: &str) -> Option<(usize, &'static Field)> {
        self.fields().enumerate().find(|(_, f)| f.name == name)
    }
}

/// For sections whose keys are independent.
pub(crate) fn anything_goes(_: &mut Section, _: &mut Diagnostics) {}

/// Lists of strings.
pub(crate) const TEXTS: Kind = Kind::List(&Kind::Text);
