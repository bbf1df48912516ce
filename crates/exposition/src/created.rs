//! Start timestamps from the `_created` lines of OpenMetrics 1.0.
//!
//! A `_created` line stands behind the series that it is about, so it has to be looked for. What is
//! found holds for all lines before it, so that every line is looked at once more at most: linear
//! time, where Prometheus reads a family without such lines again for each of its series.
//! Source: `StartTimestamp` in `model/textparse/openmetricsparse.go`.

use firesteel_model::{MetricType, Timestamp};

use crate::{
    Entry, Format, Parser,
    entry::{Line, RawLabel},
};

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
struct CreatedLine<'a> {
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
    ahead: Option<CreatedLine<'a>>,
    /// The line that the last series had.
    last: Option<CreatedLine<'a>>,
}

impl CreatedLine<'_> {
    fn is_for(&self, name: &str, line: &Line<'_>) -> bool {
        let own = |l: &&RawLabel<'_>| {
            !matches!(
                (line.kind, l.name),
                (MetricType::Summary, "quantile") | (MetricType::Histogram, "le")
            )
        };
        let pair = |l: &RawLabel<'_>| (l.name.len(), l.value.len());
        let same = |a: &RawLabel<'_>, b: &RawLabel<'_>| {
            pair(a) == pair(b) && a.name == b.name && a.value == b.value
        };
        let mut theirs = line.labels.iter().filter(own);
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
        family_len: usize,
        line: &Line<'a>,
    ) -> Option<Timestamp> {
        if !has_start(line.kind) {
            self.last = None;
            return None;
        }
        let name = line.name.get(..family_len).unwrap_or(line.name);
        if let Some(last) = &self.last
            && last.start > 0
            && last.is_for(name, line)
        {
            return Some(last.start);
        }
        if at > self.until {
            self.look_ahead(page, at, line.kind);
        }
        let ahead = self.ahead.as_ref().filter(|ahead| ahead.is_for(name, line));
        self.last = ahead.cloned();
        self.last.as_ref().map(|last| last.start).filter(|start| *start != 0)
    }

    fn look_ahead(&mut self, page: &'a [u8], at: usize, kind: MetricType) {
        self.ahead = None;
        let mut parser = Parser::new(Format::OpenMetrics, page);
        (parser.at, parser.line.kind) = (at, kind);
        loop {
            let before = parser.at;
            self.until = before;
            let Ok(Some(Entry::Series(series))) = parser.next_entry() else { return };
            if let Some(base) = series.line.name.strip_suffix(SUFFIX) {
                let start = (series.value * 1000.0) as i64;
                self.ahead = Some(CreatedLine { base, labels: series.line.labels.clone(), start });
                return;
            }
        }
    }
}
