//! The parser: the part that both formats share.

use firesteel_model::{MetricType, Timestamp};

use crate::{
    Entry, Error, Format,
    entry::{ExemplarEntry, RawLabel, Series},
    error::Place,
    number, scan,
};

/// Reads a page entry by entry. Borrows from the page; keeps one small buffer for the labels of the
/// current series. After an error or the end there are no more entries.
#[derive(Debug)]
pub struct Parser<'a> {
    pub(crate) page: &'a [u8],
    /// The page up to its first byte that is not UTF-8; checked once, on the first need.
    valid: Option<&'a str>,
    pub(crate) format: Format,
    /// Where the next entry starts.
    pub(crate) at: usize,
    /// Where the current entry started.
    start: usize,
    finished: bool,
    pub(crate) kind: MetricType,
    /// The last metric name that was not quoted: lines next to each other have the same or one that
    /// begins with it, so it need not be looked at byte by byte again.
    pub(crate) last_name: &'a [u8],
    pub(crate) labels: Vec<RawLabel<'a>>,
    pub(crate) exemplar_labels: Vec<RawLabel<'a>>,
}

/// What the scanner of a format found.
pub(crate) enum Found<'a> {
    Series(Sample<'a>),
    Other(Entry<'a, 'a>),
    End,
}

/// A series' text and its sample; labels and exemplar labels are in the parser.
pub(crate) struct Sample<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) name: &'a str,
    pub(crate) name_escaped: bool,
    pub(crate) tail: Tail,
}

/// What follows the series' text on its line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tail {
    pub(crate) value: f64,
    pub(crate) timestamp: Option<Timestamp>,
    /// Value and timestamp of the exemplar.
    pub(crate) exemplar: Option<(f64, Option<Timestamp>)>,
}

/// A sample whose series the caller knew.
#[derive(Clone, Debug)]
pub struct KnownSample<'p, 'a> {
    /// The value.
    pub value: f64,
    /// The timestamp in milliseconds where the page gives one.
    pub timestamp: Option<Timestamp>,
    /// The exemplar where there is one.
    pub exemplar: Option<ExemplarEntry<'p, 'a>>,
}

fn exemplar_of<'p, 'a>(tail: Tail, labels: &'p [RawLabel<'a>]) -> Option<ExemplarEntry<'p, 'a>> {
    tail.exemplar.map(|(value, timestamp)| ExemplarEntry { value, timestamp, labels })
}

impl<'a> Parser<'a> {
    /// A parser at the beginning of `page`.
    #[must_use]
    pub fn new(format: Format, page: &'a [u8]) -> Self {
        Self {
            page,
            valid: None,
            format,
            at: 0,
            start: 0,
            finished: false,
            kind: MetricType::Unknown,
            last_name: &[],
            labels: Vec::new(),
            exemplar_labels: Vec::new(),
        }
    }

    /// The next entry, `None` at the end of the page.
    ///
    /// # Errors
    /// The page breaks the rules of its format.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_, 'a>>, Error> {
        if self.finished {
            return Ok(None);
        }
        self.start = self.at;
        self.labels.clear();
        let found = match self.format {
            Format::PrometheusText => self.text_entry(),
            Format::OpenMetrics => self.openmetrics_entry(),
        };
        match found {
            Ok(Found::Series(sample)) => Ok(Some(Entry::Series(Series {
                raw: sample.raw,
                value: sample.tail.value,
                timestamp: sample.tail.timestamp,
                name: sample.name,
                name_escaped: sample.name_escaped,
                labels: &self.labels,
                kind: self.kind,
                exemplar: exemplar_of(sample.tail, &self.exemplar_labels),
            }))),
            Ok(Found::Other(entry)) => Ok(Some(entry)),
            Ok(Found::End) => {
                self.finished = true;
                Ok(None)
            }
            Err(e) => {
                self.finished = true;
                Err(e)
            }
        }
    }

    /// If the next entry is a sample of the series whose text on an earlier page was `raw`, reads
    /// value and timestamp alone; `None`, and nothing is read, if it is not or if only the full
    /// scanner can tell. `raw` must come from [`Series::raw`] of a page in the same format.
    ///
    /// # Errors
    /// The series is the expected one, and what follows breaks the rules of the format.
    #[inline]
    pub fn next_known(&mut self, raw: &[u8]) -> Option<Result<KnownSample<'_, 'a>, Error>> {
        let rest = self.page.get(self.at..)?;
        // A blank ends the series' text in every state of the scanner, so the same text is the
        // same series; other ends are left to the scanner.
        if self.finished || !rest.starts_with(raw) || rest.get(raw.len()) != Some(&b' ') {
            return None;
        }
        let end = self.at + raw.len();
        if rest.get(raw.len() + 1) == Some(&b' ') || rest.get(raw.len() + 1) == Some(&b'{') {
            return None;
        }
        self.start = self.at;
        let tail = match self.format {
            Format::PrometheusText => self.text_tail(self.start, end),
            Format::OpenMetrics => self.openmetrics_tail(self.start, end),
        };
        if tail.is_err() {
            self.finished = true;
        }
        Some(tail.map(|tail| KnownSample {
            value: tail.value,
            timestamp: tail.timestamp,
            exemplar: exemplar_of(tail, &self.exemplar_labels),
        }))
    }

    /// If the next entry is the metadata line `raw` (as [`Parser::entry_text`] gave it, line feed
    /// included), skips it; `kind` is what it said if it was a `# TYPE` line.
    #[inline]
    pub fn skip_known(&mut self, raw: &[u8], kind: Option<MetricType>) -> bool {
        let rest = self.page.get(self.at..).unwrap_or_default();
        let known = !self.finished && raw.ends_with(b"\n") && rest.starts_with(raw);
        if known {
            self.start = self.at;
            self.at += raw.len();
            self.kind = kind.unwrap_or(self.kind);
        }
        known
    }

    /// The text of the entry that was read last, with its line feed where it has one.
    #[must_use]
    pub fn entry_text(&self) -> &'a [u8] {
        self.page.get(self.start..self.at).unwrap_or_default()
    }

    /// The type that the last `# TYPE` line gave.
    #[must_use]
    pub const fn kind(&self) -> MetricType {
        self.kind
    }

    /// The part of the page from `a` to `b` as text, if it is valid UTF-8.
    #[inline]
    pub(crate) fn text(&mut self, a: usize, b: usize) -> Option<&'a str> {
        let valid = match self.valid {
            Some(valid) => valid,
            None => self.validate(),
        };
        match valid.get(a..b) {
            Some(text) => Some(text),
            None => std::str::from_utf8(self.page.get(a..b)?).ok(),
        }
    }

    #[cold]
    fn validate(&mut self) -> &'a str {
        let valid = match std::str::from_utf8(self.page) {
            Ok(text) => text,
            Err(e) => self
                .page
                .get(..e.valid_up_to())
                .and_then(|head| std::str::from_utf8(head).ok())
                .unwrap_or_default(),
        };
        self.valid = Some(valid);
        valid
    }

    #[inline]
    pub(crate) fn byte(&self, at: usize) -> Option<u8> {
        self.page.get(at).copied()
    }

    /// The end of the metric name that begins at `at`.
    #[inline(always)]
    pub(crate) fn name_end(&mut self, at: usize) -> usize {
        let rest = self.page.get(at..).unwrap_or_default();
        let known = if rest.starts_with(self.last_name) { self.last_name.len() } else { 0 };
        let end = scan::skip(self.page, at + known, scan::NAME);
        self.last_name = self.page.get(at..end).unwrap_or_default();
        end
    }

    pub(crate) fn place(&self, entry: usize) -> Place<'a> {
        let line_feed_at_end = self.format == Format::PrometheusText;
        Place { page: self.page, entry, line_feed_at_end }
    }

    /// Reads the number that begins at `at` and ends before the first byte for which `ends` is
    /// true; `entry` is for the error text.
    #[inline(always)]
    pub(crate) fn number(
        &self,
        entry: usize,
        at: usize,
        ends: impl Fn(u8) -> bool,
    ) -> Result<(f64, usize), Error> {
        if let Some((v, end)) = number::simple_float(self.page, at)
            && self.byte(end).is_none_or(&ends)
        {
            return Ok((v, end));
        }
        let rest = self.page.get(at..).unwrap_or_default();
        let end = at + rest.iter().position(|&b| ends(b)).unwrap_or(rest.len());
        let token = self.page.get(at..end).unwrap_or_default();
        match number::float(token) {
            Ok(v) => Ok((v, end)),
            Err(e) => Err(self.place(entry).failed(&e.describe("ParseFloat", token), at, end)),
        }
    }

    /// Reads the name of a metadata line, quoted or not, that begins at `at`: the name and its end.
    pub(crate) fn meta_name(&mut self, at: usize) -> Option<(usize, usize, bool, usize)> {
        match self.byte(at)? {
            b'"' => {
                let rules = scan::Quoting { line_feeds: true, nuls: false };
                let (end, escaped) = scan::quoted(self.page, at, rules)?;
                Some((at + 1, end - 1, escaped, end))
            }
            c if scan::is(c, scan::NAME_START) => {
                let end = self.name_end(at);
                Some((at, end, false, end))
            }
            _ => None,
        }
    }
}
