//! Start timestamps from the `_created` lines of OpenMetrics 1.0.
//!
//! A `_created` line stands behind the series that it is about, so it has to be looked for. What is
//! found holds for all lines before it, so that every line is looked at once more at most: linear
//! time, where Prometheus reads a family without such lines again for each of its series.
//! Source: `StartTimestamp` in `model/textparse/openmetricsparse.go`.

use firesteel_model::{MetricType, Timestamp};

use crate::{Entry, Format, Parser, entry::RawLabel, parser::Sample};

const SUFFIX: &str = "_created";

/// Whether metrics of this type have `_created` lines.
pub(crate) const fn has_start(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter | MetricType::Summary | MetricType::Histogram)
}

/// Whether a series is such a line.
pub(crate) fn is_created(name: &str, kind: MetricType) -> bool {
    has_start(kind) && name.ends_with(SUFFIX)
}

/// A `_created` line: whose it is, and what it says.
#[derive(Clone, Debug)]
struct Line<'a> {
    base: &'a str,
    labels: Vec<RawLabel<'a>>,
    start: Timestamp,
}

/// What is known about the lines ahead.
#[derive(Debug, Default)]
pub(crate) struct Created<'a> {
    /// Where the next `_created` line or metadata line begins; what is before was looked through.
    until: usize,
    /// The line there, if it is a `_created` one.
    ahead: Option<Line<'a>>,
    /// The line that the last series had.
    last: Option<Line<'a>>,
}

impl<'a> Line<'a> {
    fn is_for(&self, name: &str, labels: &[RawLabel<'_>], kind: MetricType) -> bool {
        let own = |l: &&RawLabel<'_>| {
            !matches!(
                (kind, l.name),
                (MetricType::Summary, "quantile") | (MetricType::Histogram, "le")
            )
        };
        let pair = |l: &RawLabel<'_>| (l.name.len(), l.value.len());
        let same = |a: &RawLabel<'_>, b: &RawLabel<'_>| {
            pair(a) == pair(b) && a.name == b.name && a.value == b.value
        };
        let mut theirs = labels.iter().filter(own);
        let mut mine = self.labels.iter().filter(own);
        if self.base != name {
            return false;
        }
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if same(a, b) => {}
                _ => return false,
            }
        }
    }
}

impl<'a> Created<'a> {
    /// The start of a series that ends before `at` on the page; `family_len` is the length of its
    /// family's name.
    pub(crate) fn start_of(
        &mut self,
        page: &'a [u8],
        at: usize,
        kind: MetricType,
        family_len: usize,
        sample: &Sample<'a>,
        labels: &[RawLabel<'a>],
    ) -> Option<Timestamp> {
        if !has_start(kind) {
            self.last = None;
            return None;
        }
        let name = sample.name.get(..family_len).unwrap_or(sample.name);
        if let Some(last) = &self.last
            && last.start > 0
            && last.is_for(name, labels, kind)
        {
            return Some(last.start);
        }
        if at > self.until {
            self.look_ahead(page, at, kind);
        }
        let line = self.ahead.as_ref().filter(|line| line.is_for(name, labels, kind));
        self.last = line.cloned();
        self.last.as_ref().map(|line| line.start).filter(|start| *start != 0)
    }

    fn look_ahead(&mut self, page: &'a [u8], at: usize, kind: MetricType) {
        self.ahead = None;
        let mut parser = Parser::new(Format::OpenMetrics, page);
        (parser.at, parser.kind) = (at, kind);
        loop {
            let before = parser.at;
            self.until = before;
            let Ok(Some(Entry::Series(series))) = parser.next_entry() else { return };
            if let Some(base) = series.name.strip_suffix(SUFFIX) {
                let start = (series.value * 1000.0) as i64;
                self.ahead = Some(Line { base, labels: series.labels.to_vec(), start });
                return;
            }
        }
    }
}
