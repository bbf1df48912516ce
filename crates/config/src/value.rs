//! A document after its schema has been applied: values of known types under known keys.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Place, Secret, Url,
    schema::{Print, Schema},
};

/// A value of a known type.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that is not negative.
    Uint(u64),
    /// A float.
    Float(f64),
    /// A string.
    Text(String),
    /// A string that is not shown.
    Secret(Secret),
    /// A duration.
    Duration(Duration),
    /// A size in bytes.
    Size(i64),
    /// A URL.
    Url(Url),
    /// A list.
    List(Vec<Item>),
    /// Free keys, sorted.
    Map(BTreeMap<String, Item>),
    /// Known keys.
    Section(Section),
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// Where; line 0 for a default.
    pub place: Place,
}

/// A part of the configuration with known keys: a table that follows its schema. Keys that are
/// neither in the file nor have a default are absent and read as zero values.
#[derive(Clone)]
pub struct Section {
    schema: &'static Schema,
    /// One per field of the schema, in its order.
    slots: Vec<Option<Item>>,
    place: Place,
    null: bool,
}

impl Section {
    /// A section with its defaults.
    pub(crate) fn with_defaults(schema: &'static Schema, place: Place) -> Self {
        let slots = schema
            .fields()
            .map(|f| f.preset.value(f.kind).map(|value| Item { value, place: Place::default() }))
            .collect();
        Self { schema, slots, place, null: false }
    }

    /// A section of zero values, what go-yaml makes of `key:` without a value.
    pub(crate) fn zero(schema: &'static Schema, place: Place) -> Self {
        Self { schema, slots: vec![None; schema.fields().count()], place, null: true }
    }

    /// Whether nothing stood where the section should.
    pub(crate) const fn is_null(&self) -> bool {
        self.null
    }

    pub(crate) const fn schema(&self) -> &'static Schema {
        self.schema
    }

    fn index(&self, key: &str) -> Option<usize> {
        let index = self.schema.fields().position(|f| f.name == key);
        debug_assert!(index.is_some(), "{} has no key {key}", self.schema.go_type);
        index
    }

    pub(crate) fn set(&mut self, key: &str, item: Option<Item>) {
        if let Some(slot) = self.index(key).and_then(|i| self.slots.get_mut(i)) {
            *slot = item;
        }
    }

    /// Sets a value that the file does not hold.
    pub(crate) fn fill(&mut self, key: &str, value: Value) {
        self.set(key, Some(Item { value, place: Place::default() }));
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Item> {
        self.index(key).and_then(|i| self.slots.get_mut(i)).and_then(Option::as_mut)
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Item> {
        self.index(key).and_then(|i| self.slots.get_mut(i)).and_then(Option::take)
    }

    pub(crate) fn slots(&self) -> &[Option<Item>] {
        &self.slots
    }

    pub(crate) fn slots_mut(&mut self) -> &mut [Option<Item>] {
        &mut self.slots
    }

    /// Whether nothing differs from zero values.
    pub(crate) fn is_zero(&self) -> bool {
        // What Go holds by a pointer is zero only where it is not set at all.
        self.schema.fields().zip(&self.slots).all(|(field, slot)| match slot {
            Some(item) => field.print != Print::WhenSet && item.value.is_zero(),
            None => true,
        })
    }

    /// Where the section stands.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// Where a key's value stands, or else the section.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Place {
        self.get(key).map(|item| item.place).filter(|p| p.line > 0).unwrap_or(self.place)
    }

    /// The keys that have a value, in the order in which they are printed.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Item)> {
        let fields = self.schema.fields().zip(&self.slots);
        fields.filter_map(|(field, slot)| slot.as_ref().map(|item| (field.name, item)))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.index(key).and_then(|i| self.slots.get(i)).and_then(Option::as_ref)
    }

    /// Whether a key has a value other than zero.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|item| !item.value.is_zero())
    }

    /// A string; empty where there is none.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        match self.get(key).map(|item| &item.value) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// A secret; empty where there is none.
    #[must_use]
    pub fn secret(&self, key: &str) -> Secret {
        match self.get(key).map(|item| &item.value) {
            Some(Value::Secret(secret)) => secret.clone(),
            _ => Secret::default(),
        }
    }

    /// A boolean; false where there is none.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some(Item { value: Value::Bool(true), .. }))
    }

    /// A whole number; 0 where there is none.
    #[must_use]
    pub fn int(&self, key: &str) -> i64 {
        match self.get(key).map(|item| &item.value) {
            Some(Value::Int(n) | Value::Size(n)) => *n,
            Some(Value::Uint(n)) => i64::try_from(*n).unwrap_or(i64::MAX),
            _ => 0,
        }
    }

    /// A whole number that is not negative; 0 where there is none.
    #[must_use]
    pub fn uint(&self, key: &str) -> u64 {
        match self.get(key).map(|item| &item.value) {
            Some(Value::Uint(n)) => *n,
            Some(Value::Int(n) | Value::Size(n)) => u64::try_from(*n).unwrap_or(0),
            _ => 0,
        }
    }

    /// A float; 0 where there is none.
    #[must_use]
    pub fn float(&self, key: &str) -> f64 {
        match self.get(key).map(|item| &item.value) {
            Some(Value::Float(v)) => *v,
            _ => 0.0,
        }
    }

    /// A duration; zero where there is none.
    #[must_use]
    pub fn duration(&self, key: &str) -> Duration {
        match self.get(key).map(|item| &item.value) {
            Some(Value::Duration(d)) => *d,
            _ => Duration::ZERO,
        }
    }

    /// A URL.
    #[must_use]
    pub fn url(&self, key: &str) -> Option<&Url> {
        match self.get(key).map(|item| &item.value) {
            Some(Value::Url(url)) => Some(url),
            _ => None,
        }
    }

    /// The items of a list; empty where there is none.
    #[must_use]
    pub fn list(&self, key: &str) -> &[Item] {
        match self.get(key).map(|item| &item.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// The strings of a list.
    pub fn texts(&self, key: &str) -> impl Iterator<Item = &str> {
        self.list(key).iter().filter_map(|item| match &item.value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The sections of a list.
    pub fn sections(&self, key: &str) -> impl Iterator<Item = &Self> {
        self.list(key).iter().filter_map(|item| item.value.as_section())
    }

    /// A section.
    #[must_use]
    pub fn section(&self, key: &str) -> Option<&Self> {
        self.get(key).and_then(|item| item.value.as_section())
    }

    /// The pairs of a mapping with free keys, sorted.
    pub fn pairs(&self, key: &str) -> impl Iterator<Item = (&str, &Item)> {
        let map = match self.get(key).map(|item| &item.value) {
            Some(Value::Map(map)) => Some(map),
            _ => None,
        };
        map.into_iter().flatten().map(|(key, item)| (key.as_str(), item))
    }
}

impl Value {
    /// The section, if the value is one.
    #[must_use]
    pub const fn as_section(&self) -> Option<&Section> {
        match self {
            Self::Section(section) => Some(section),
            _ => None,
        }
    }

    /// The string, if the value is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether Go would call the value zero, so that `omitempty` leaves it out.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Bool(b) => !b,
            Self::Int(n) | Self::Size(n) => *n == 0,
            Self::Uint(n) => *n == 0,
            Self::Float(v) => *v == 0.0,
            Self::Text(text) => text.is_empty(),
            Self::Secret(secret) => secret.is_empty(),
            Self::Duration(d) => d.is_zero(),
            Self::Url(_) => false,
            Self::List(items) => items.is_empty(),
            Self::Map(map) => map.is_empty(),
            Self::Section(section) => section.is_zero(),
        }
    }
}

/// Equal where the values are; places do not count.
impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        let value = |item: &Option<Item>| item.as_ref().map(|i| i.value.clone());
        std::ptr::eq(self.schema, other.schema)
            && self.slots.iter().map(value).eq(other.slots.iter().map(value))
    }
}

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, item)| (key, &item.value))).finish()
    }
}
