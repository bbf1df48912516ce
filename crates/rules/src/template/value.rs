//! The values that a template handles, with Go's types as far as a template shows them.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use firesteel_model::{FloatHistogram, Labels};
use firesteel_promql::SampleValue;

use super::time::Time;

/// A value. Clones share what is behind it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing at all: Go's untyped nil.
    None,
    /// An interface that holds nothing.
    NilInterface,
    Bool(bool),
    Int(i64, IntType),
    Float(f64),
    String(Rc<str>, StringType),
    /// `map[string]string`
    Labels(Labels),
    /// `map[string]interface {}`
    Map(Rc<BTreeMap<String, Value>>),
    /// What a query returned.
    Vector(Vector),
    Sample(Rc<Sample>),
    /// What an alert's template begins with.
    Data(Rc<Data>),
    Time(Time),
    Histogram(Rc<FloatHistogram>),
    Pointer(Box<Value>),
    /// A value in a place of type `interface {}`.
    Interface(Box<Value>),
}

/// Which of Go's types an integer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntType {
    Int,
    Int64,
    Byte,
    Duration,
    Month,
    Weekday,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StringType {
    Plain,
    /// `safeHtml`'s.
    Html,
}

/// A sample of a query's result.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) value: Value,
}

/// The dot of an alert's template.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) labels: Labels,
    pub(super) external_labels: Labels,
    pub(super) external_url: Rc<str>,
    pub(super) value: Value,
}

/// A slice: sorting it sorts what all its copies see, as in Go.
#[derive(Clone, Debug)]
pub(super) struct Vector {
    all: Rc<RefCell<Vec<Rc<Sample>>>>,
    start: usize,
    end: usize,
}

impl Vector {
    pub(super) fn new(samples: Vec<Rc<Sample>>) -> Self {
        Self { end: samples.len(), start: 0, all: Rc::new(RefCell::new(samples)) }
    }

    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }

    /// How long a slice of it may become.
    pub(super) fn capacity(&self) -> usize {
        self.all.borrow().len() - self.start
    }

    pub(super) fn get(&self, index: usize) -> Option<Rc<Sample>> {
        if index >= self.len() {
            return None;
        }
        self.all.borrow().get(self.start + index).cloned()
    }

    /// From `from` to `to`, which are at most its capacity, in order.
    pub(super) fn slice(&self, from: usize, to: usize) -> Self {
        Self { all: self.all.clone(), start: self.start + from, end: self.start + to }
    }

    pub(super) fn sort_by_label(&self, name: &str) {
        let mut all = self.all.borrow_mut();
        if let Some(samples) = all.get_mut(self.start..self.end) {
            samples.sort_by(|a, b| {
                a.labels.get(name).unwrap_or_default().cmp(b.labels.get(name).unwrap_or_default())
            });
        }
    }
}

impl From<SampleValue> for Value {
    fn from(value: SampleValue) -> Self {
        match value {
            SampleValue::Float(v) => Self::Float(v),
            SampleValue::Histogram(h) => Self::pointer(Self::Histogram(Rc::from(h))),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into(), StringType::Plain)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into(), StringType::Plain)
    }
}

impl From<Rc<Sample>> for Value {
    fn from(sample: Rc<Sample>) -> Self {
        Self::Pointer(Box::new(Self::Sample(sample)))
    }
}

/// Go's name of the type of [`Data`].
const DATA_TYPE: &str = "struct { Labels map[string]string; ExternalLabels map[string]string; \
                         ExternalURL string; Value interface {} }";

impl Value {
    pub(super) const fn int(value: i64) -> Self {
        Self::Int(value, IntType::Int)
    }

    pub(super) fn pointer(value: Self) -> Self {
        Self::Pointer(Box::new(value))
    }

    /// The value as a field or element of type `interface {}` holds it.
    pub(super) fn in_interface(self) -> Self {
        match self {
            Self::None => Self::NilInterface,
            Self::Interface(_) | Self::NilInterface => self,
            value => Self::Interface(Box::new(value)),
        }
    }

    /// What an interface holds.
    pub(super) fn out_of_interface(self) -> Self {
        match self {
            Self::Interface(value) => *value,
            Self::NilInterface => Self::None,
            value => value,
        }
    }

    /// What pointers and interfaces lead to; `true` if that is nothing.
    pub(super) fn indirect(mut self) -> (Self, bool) {
        loop {
            match self {
                Self::Pointer(value) | Self::Interface(value) => self = *value,
                Self::NilInterface => return (self, true),
                value => return (value, false),
            }
        }
    }

    /// Go's name of the type.
    pub(super) fn type_name(&self) -> String {
        match self {
            Self::None => "<nil>".to_owned(),
            Self::Pointer(value) => format!("*{}", value.type_name()),
            value => value.plain_type_name().to_owned(),
        }
    }

    const fn plain_type_name(&self) -> &'static str {
        match self {
            Self::None | Self::Pointer(_) => "",
            Self::NilInterface | Self::Interface(_) => "interface {}",
            Self::Bool(_) => "bool",
            Self::Int(_, kind) => kind.name(),
            Self::Float(_) => "float64",
            Self::String(_, StringType::Plain) => "string",
            Self::String(_, StringType::Html) => "template.HTML",
            Self::Labels(_) => "map[string]string",
            Self::Map(_) => "map[string]interface {}",
            Self::Vector(_) => "template.queryResult",
            Self::Sample(_) => "template.sample",
            Self::Data(_) => DATA_TYPE,
            Self::Time(_) => "time.Time",
            Self::Histogram(_) => "histogram.FloatHistogram",
        }
    }

    /// Whether `if` takes it for true: it is not the zero of its type.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::None | Self::NilInterface => false,
            Self::Bool(value) => *value,
            Self::Int(value, _) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::String(text, _) => !text.is_empty(),
            Self::Labels(labels) => !labels.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Vector(vector) => vector.len() > 0,
            Self::Interface(value) => value.truth(),
            Self::Sample(_)
            | Self::Data(_)
            | Self::Time(_)
            | Self::Histogram(_)
            | Self::Pointer(_) => true,
        }
    }
}

impl IntType {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Byte => "uint8",
            Self::Duration => "time.Duration",
            Self::Month => "time.Month",
            Self::Weekday => "time.Weekday",
        }
    }
}
