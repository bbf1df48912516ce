//! Annotations: warnings and remarks that come along with a result.

use std::{collections::BTreeMap, fmt};

use crate::{ast::Span, go};

/// How serious an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The result may be wrong.
    Warning,
    /// Something to know about.
    Info,
}

impl Severity {
    /// What Prometheus puts before the text.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Warning => "PromQL warning",
            Self::Info => "PromQL info",
        }
    }
}

/// What `histogram_quantile` changed to make buckets monotonic, over all steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForcedMonotonicity {
    /// First evaluation time, milliseconds.
    pub min_t: i64,
    /// Last evaluation time, milliseconds.
    pub max_t: i64,
    /// Lowest upper bound of a changed bucket.
    pub min_bucket: f64,
    /// Highest upper bound of a changed bucket.
    pub max_bucket: f64,
    /// Greatest change.
    pub max_diff: f64,
    /// Number of samples.
    pub samples: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    span: Option<Span>,
    monotonicity: Option<ForcedMonotonicity>,
}

/// Annotations of a query, without duplicates: two are the same if their texts are, wherever in the
/// query they arose; the position is the one where it arose last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    entries: BTreeMap<(Severity, String), Entry>,
}

impl Annotations {
    /// No annotations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a warning about the expression at `span`; `text` without "PromQL warning: ".
    pub fn warn(&mut self, span: Span, text: impl fmt::Display) {
        self.add(Severity::Warning, span, text);
    }

    /// Adds a remark about the expression at `span`; `text` without "PromQL info: ".
    pub fn info(&mut self, span: Span, text: impl fmt::Display) {
        self.add(Severity::Info, span, text);
    }

    /// Adds an annotation.
    pub fn add(&mut self, severity: Severity, span: Span, text: impl fmt::Display) {
        let key = (severity, format!("{}: {text}", severity.prefix()));
        self.insert(key, Entry { span: Some(span), monotonicity: None });
    }

    /// Adds a warning of the storage, which has no position and no prefix.
    pub fn storage_warning(&mut self, text: impl Into<String>) {
        let key = (Severity::Warning, text.into());
        self.insert(key, Entry { span: None, monotonicity: None });
    }

    /// Adds the remark that `histogram_quantile` changed buckets; `metric` may be empty.
    pub fn forced_monotonicity(&mut self, span: Span, metric: &str, what: ForcedMonotonicity) {
        let mut text = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity \
             (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
            .to_owned();
        if !metric.is_empty() {
            text.push_str(" for metric name ");
            text.push_str(&go::quote(metric));
        }
        let entry = Entry { span: Some(span), monotonicity: Some(what) };
        self.insert((Severity::Info, text), entry);
    }

    /// Adds all annotations of `other`, which arose later.
    pub fn merge(&mut self, other: Self) {
        for (key, entry) in other.entries {
            self.insert(key, entry);
        }
    }

    fn insert(&mut self, key: (Severity, String), entry: Entry) {
        let Some(old) = self.entries.get_mut(&key) else {
            self.entries.insert(key, entry);
            return;
        };
        // Prometheus keeps the position that came last, but where it merges what was noted, the first.
        if entry.monotonicity.is_none() {
            old.span = entry.span;
        }
        if let (Some(a), Some(b)) = (&mut old.monotonicity, entry.monotonicity) {
            a.min_t = a.min_t.min(b.min_t);
            a.max_t = a.max_t.max(b.max_t);
            a.min_bucket = a.min_bucket.min(b.min_bucket);
            a.max_bucket = a.max_bucket.max(b.max_bucket);
            a.max_diff = a.max_diff.max(b.max_diff);
            a.samples += b.samples;
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Texts of the warnings, with positions in `query`: `... (1:5)`. At most `limit` (0 for all),
    /// then one that says how many were left out.
    #[must_use]
    pub fn warnings(&self, query: &str, limit: usize) -> Vec<String> {
        self.texts(Severity::Warning, query, limit, "warning")
    }

    /// Texts of the remarks, as [`Annotations::warnings`].
    #[must_use]
    pub fn infos(&self, query: &str, limit: usize) -> Vec<String> {
        self.texts(Severity::Info, query, limit, "info")
    }

    fn texts(&self, severity: Severity, query: &str, limit: usize, word: &str) -> Vec<String> {
        let all = self.entries.iter().filter(|((s, _), _)| *s == severity);
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut texts: Vec<_> =
            all.clone().take(limit).map(|((_, text), entry)| entry.text(text, query)).collect();
        let omitted = all.count() - texts.len();
        if omitted > 0 {
            texts.push(format!("{omitted} more {word} annotations omitted"));
        }
        texts
    }
}

impl Entry {
    fn text(&self, text: &str, query: &str) -> String {
        let mut out = text.to_owned();
        if query.is_empty() {
            return out;
        }
        if let Some(m) = &self.monotonicity {
            out.push_str(&format!(
                ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
                go::format_g(m.min_bucket),
                go::format_g(m.max_bucket),
                go::format_2g(m.max_diff),
                m.samples,
                go::rfc3339(m.min_t.div_euclid(1000)),
                go::rfc3339(m.max_t.div_euclid(1000)),
            ));
        }
        if let Some(span) = self.span {
            let (line, column) = span.line_column(query);
            out.push_str(&format!(" ({line}:{column})"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_texts_are_one_at_the_last_position() {
        let query = "a\n+ bb";
        let of = |start: u32, t: i64| {
            let mut a = Annotations::new();
            a.warn(Span::new(start, start + 1), "something");
            a.info(Span::new(0, 1), format_args!("of {t}"));
            a.storage_warning("disk");
            let what = ForcedMonotonicity {
                min_t: t,
                max_t: t,
                min_bucket: 0.5,
                max_bucket: 2.0,
                max_diff: 0.25,
                samples: 1,
            };
            a.forced_monotonicity(Span::new(0, 1), "m", what);
            a
        };
        let (mut a, mut b) = (of(4, 1000), of(0, 5000));
        a.merge(of(0, 5000));
        b.merge(of(4, 1000));
        assert_eq!(a.warnings(query, 0), ["PromQL warning: something (1:1)", "disk"]);
        assert_eq!(b.warnings(query, 0), ["PromQL warning: something (2:3)", "disk"]);
        assert_eq!(a.infos(query, 0), b.infos(query, 0));
        let infos = a.infos(query, 0);
        assert_eq!(infos.len(), 3);
        assert!(
            infos[0].ends_with(
                "#histogram_quantile) for metric name \"m\", from buckets 0.5 to 2, with a max \
                 diff of 0.25, over 2 samples from 1970-01-01T00:00:01Z to \
                 1970-01-01T00:00:05Z (1:1)"
            ),
            "{infos:?}"
        );
        let cut = a.infos(query, 1);
        assert_eq!(cut[1], "2 more info annotations omitted");
    }
}
