//! Label sets.
//!
//! A [`Labels`] is one shared, packed allocation in the very encoding that Prometheus hashes
//! (`model/labels/labels_stringlabels.go`): pairs sorted by name, each string preceded by its
//! length, one byte for 0 to 254, else 255 and three bytes little-endian. So cloning is an atomic
//! increment, equality is a byte comparison and [`Labels::prom_hash`] needs no copy.

use std::{cmp::Ordering, fmt, sync::Arc};

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// The longest name or value that the encoding can hold, in bytes.
const MAX_STRING: usize = (1 << 24) - 1;

/// An immutable set of label pairs, sorted by name, without empty values and without duplicates.
///
/// Cheap to clone. Ordered as Prometheus orders label sets: pair by pair, name before value,
/// bytewise, a prefix before what it begins.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

impl Labels {
    /// The empty label set. Does not allocate.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Builds a set from pairs in any order. Pairs with an empty value are left out; of two pairs
    /// with the same name the later one counts. Strings longer than 16 MiB are cut.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// Builds a set from pairs that the caller has sorted by name, without duplicates; the fast
    /// way in for parsers and storage. Pairs with an empty value are left out.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::from_sorted_in(&mut Vec::with_capacity(128), pairs)
    }

    /// [`Labels::from_sorted`] by way of a buffer that is kept from set to set, so that the set
    /// itself is all that is allocated.
    pub fn from_sorted_in<'a>(
        buffer: &mut Vec<u8>,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        buffer.clear();
        let mut previous: Option<&str> = None;
        for (name, value) in pairs {
            debug_assert!(previous.is_none_or(|p| p < name), "label names must be sorted");
            previous = Some(name);
            if !value.is_empty() {
                push_str(buffer, name);
                push_str(buffer, value);
            }
        }
        Self(buffer.as_slice().into())
    }

    /// The pairs in order of their names.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { data: &self.0 }
    }

    /// The value of label `name`, `None` where the set does not have it. O(pairs).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n >= name).and_then(|(n, v)| (n == name).then_some(v))
    }

    /// The metric name, that is the value of `__name__`.
    #[must_use]
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// Whether the set has label `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Number of pairs. O(pairs).
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether the set has no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// XXH64 (seed 0) of Prometheus' own encoding. Equal to what a default build of Prometheus
    /// computes; it decides the members of `limit_ratio`, rule slots and scrape offsets. Not meant
    /// for hash tables: use [`std::hash::Hash`].
    #[must_use]
    pub fn prom_hash(&self) -> u64 {
        xxhash_rust::xxh64::xxh64(&self.0, 0)
    }

    /// The set without the labels of which `drop` is true.
    #[must_use]
    pub fn without(&self, mut drop: impl FnMut(&str) -> bool) -> Self {
        Self::from_sorted(self.iter().filter(|(name, _)| !drop(name)))
    }

    /// The set without its metric name.
    #[must_use]
    pub fn without_name(&self) -> Self {
        if self.has(METRIC_NAME) { self.without(|n| n == METRIC_NAME) } else { self.clone() }
    }

    /// A builder that starts from this set.
    #[must_use]
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// Size of the packed encoding in bytes.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        self.0.len()
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::from_pairs(pairs)
    }
}

/// As Prometheus prints a label set: `{a="1", b="2"}`, values quoted as Go's `%q` does.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(name) {
                f.write_str(name)?;
            } else {
                f.write_str(&crate::float::go_quote(name))?;
            }
            write!(f, "={}", crate::float::go_quote(value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Iterator over the pairs of a [`Labels`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    data: &'a [u8],
}

impl<'a> Iter<'a> {
    fn take_str(&mut self) -> Option<&'a str> {
        let (len, rest) = match *self.data {
            [255, a, b, c, ref rest @ ..] => (u32::from_le_bytes([a, b, c, 0]) as usize, rest),
            [len, ref rest @ ..] => (usize::from(len), rest),
            [] => return None,
        };
        let (string, rest) = rest.split_at_checked(len)?;
        self.data = rest;
        // The bytes were copied from a `str` when the set was built.
        std::str::from_utf8(string).ok()
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let name = self.take_str()?;
        Some((name, self.take_str()?))
    }
}

#[inline]
fn push_str(data: &mut Vec<u8>, s: &str) {
    let mut len = s.len();
    if len > MAX_STRING {
        len = (0..=MAX_STRING).rev().find(|&i| s.is_char_boundary(i)).unwrap_or(0);
    }
    let s = s.get(..len).unwrap_or_default();
    if len < 255 {
        data.push(len as u8);
    } else {
        data.push(255);
        data.extend_from_slice(&(len as u32).to_le_bytes()[..3]);
    }
    data.extend_from_slice(s.as_bytes());
}

/// Edits a label set: set, delete, keep, then build.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Sorted by name, no empty values.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }

    /// Sets a label; an empty value deletes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.position(name) {
            Ok(i) if value.is_empty() => {
                self.pairs.remove(i);
            }
            Ok(i) => value.clone_into(&mut self.pairs[i].1),
            Err(_) if value.is_empty() => {}
            Err(i) => self.pairs.insert(i, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Deletes a label.
    pub fn del(&mut self, name: &str) -> &mut Self {
        if let Ok(i) = self.position(name) {
            self.pairs.remove(i);
        }
        self
    }

    /// Keeps the labels of which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) -> &mut Self {
        self.pairs.retain(|(n, v)| keep(n, v));
        self
    }

    /// The value of a label as it stands.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).ok().map(|i| self.pairs[i].1.as_str())
    }

    /// The pairs as they stand, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Whether no label is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Removes all labels and keeps the allocation.
    pub fn clear(&mut self) -> &mut Self {
        self.pairs.clear();
        self
    }

    /// The label set as it stands.
    #[must_use]
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }
}

/// Which metric and label names are valid, `metric_name_validation_scheme` in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ValidationScheme {
    /// Any text that is not empty.
    #[default]
    Utf8,
    /// The characters that Prometheus 2 allowed.
    Legacy,
}

impl ValidationScheme {
    /// Whether `name` may name a label.
    #[must_use]
    pub fn is_label_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => is_utf8_label_name(name),
            Self::Legacy => is_legacy_label_name(name),
        }
    }

    /// Whether `name` may name a metric.
    #[must_use]
    pub fn is_metric_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy_metric_name(name),
        }
    }
}

/// Whether `name` matches `[a-zA-Z_][a-zA-Z0-9_]*`.
#[must_use]
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
        && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

/// Whether `name` matches `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[must_use]
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| matches!(b, b'_' | b':') || b.is_ascii_alphabetic())
        && bytes.all(|b| matches!(b, b'_' | b':') || b.is_ascii_alphanumeric())
}

/// Whether `name` is a valid label name under Prometheus 3's UTF-8 scheme: not empty (a `str` is
/// valid UTF-8 already).
#[must_use]
pub const fn is_utf8_label_name(name: &str) -> bool {
    !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sorts_drops_empty_values_and_lets_the_last_win() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1"), ("c", ""), ("b", "3")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
        assert_eq!(labels.to_string(), r#"{a="1", b="3"}"#);
        assert_eq!(labels.get("b"), Some("3"));
        assert_eq!(labels.get("c"), None);
    }

    #[test]
    fn encodes_as_prometheus_does() {
        let long = "x".repeat(300);
        let labels = Labels::from_pairs([("a", long.as_str()), ("bb", "c")]);
        let mut expected = vec![1, b'a', 255, 44, 1, 0];
        expected.extend_from_slice(long.as_bytes());
        expected.extend_from_slice(&[2, b'b', b'b', 1, b'c']);
        assert_eq!(&*labels.0, expected);
        assert_eq!(Labels::empty().prom_hash(), 0xef46_db37_51d8_e999);
    }

    #[test]
    fn orders_as_prometheus_does() {
        let a = Labels::from_pairs([("a", "1")]);
        let ab = Labels::from_pairs([("a", "1"), ("b", "1")]);
        let a2 = Labels::from_pairs([("a", "2")]);
        let b = Labels::from_pairs([("b", "0")]);
        assert!(Labels::empty() < a && a < ab && ab < a2 && a2 < b);
    }

    proptest! {
        #[test]
        fn builder_agrees_with_a_map(edits in prop::collection::vec(("[a-d]", "[x-z]{0,2}"), 0..20)) {
            let mut builder = LabelsBuilder::new();
            let mut map = std::collections::BTreeMap::new();
            for (name, value) in &edits {
                builder.set(name, value);
                if value.is_empty() { map.remove(name); } else { map.insert(name.clone(), value.clone()); }
            }
            let built = builder.build();
            let pairs: Vec<_> = built.iter().collect();
            let expected: Vec<_> = map.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            prop_assert_eq!(pairs, expected);
            prop_assert_eq!(built.to_builder().build(), built);
        }
    }
}
