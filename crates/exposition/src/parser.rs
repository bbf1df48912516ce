//! The parser: the part that both formats share.

use firesteel_model::{Exemplar, MetricType, Timestamp};

use crate::{
    Entry, Error, Format, HistogramSample, NativeHistogram,
    created::{self, Created},
    entry::{ExemplarEntry, Line, Part, Series},
    error::Place,
    nhcb::Collector,
    number,
    proto::{self, Proto},
    scan,
};

/// What a parser makes of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParserOptions {
    /// Protobuf: takes native histograms for classic ones, even where they have no buckets.
    pub ignore_native_histograms: bool,
    /// Shows the classic series of a histogram beside the native one, be it its twin in protobuf or
    /// what it is converted to.
    pub keep_classic_histograms: bool,
    /// Makes classic histograms native ones with custom buckets.
    pub convert_classic_histograms: bool,
    /// OpenMetrics: takes `_created` lines for the start timestamps of the series before them
    /// instead of showing them as series.
    pub start_timestamps: bool,
}

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
    /// The last metric name that was not quoted: lines next to each other have the same or one that
    /// begins with it, so it need not be looked at byte by byte again.
    pub(crate) last_name: &'a [u8],
    pub(crate) line: Line<'a>,
    /// Length of the last family's name in OpenMetrics.
    pub(crate) family_len: usize,
    created: Option<Box<Created<'a>>>,
    collector: Option<Box<Collector<'a>>>,
    proto: Option<Box<Proto<'a>>>,
}

/// What the scanner of a format found.
pub(crate) enum Found<'a> {
    /// The text of a series and its sample; the rest is in the parser's line.
    Series(&'a [u8], Tail),
    Other(Entry<'a, 'a>),
    End,
}

/// What follows the series' text on its line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tail {
    pub(crate) value: f64,
    pub(crate) timestamp: Option<Timestamp>,
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

impl<'a> Parser<'a> {
    /// A parser at the beginning of `page`.
    #[must_use]
    pub fn new(format: Format, page: &'a [u8]) -> Self {
        Self::with_options(format, page, ParserOptions::default())
    }

    /// A parser at the beginning of `page`.
    #[must_use]
    pub fn with_options(format: Format, page: &'a [u8], options: ParserOptions) -> Self {
        let is_proto = format == Format::Protobuf;
        let collector = Collector::new(options.keep_classic_histograms);
        let created = options.start_timestamps && format == Format::OpenMetrics;
        let convert = options.convert_classic_histograms && !is_proto;
        Self {
            page,
            valid: None,
            format,
            at: 0,
            start: 0,
            finished: false,
            last_name: &[],
            line: Line::default(),
            family_len: 0,
            created: created.then(Box::default),
            collector: convert.then(|| Box::new(collector)),
            proto: is_proto.then(|| Box::new(Proto::new(page, options))),
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
        if self.proto.is_some() {
            return self.next_proto();
        }
        if self.collector.is_some() || self.created.is_some() {
            return self.next_with_options();
        }
        match self.scan() {
            Ok(Found::Series(raw, tail)) => Ok(Some(Entry::Series(self.series(raw, tail)))),
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

    /// The next entry of a text page as it stands there.
    #[inline(always)]
    fn scan(&mut self) -> Result<Found<'a>, Error> {
        self.start = self.at;
        self.line.labels.clear();
        match self.format {
            Format::PrometheusText => self.text_entry(),
            Format::OpenMetrics => self.openmetrics_entry(),
            Format::Protobuf => Ok(Found::End),
        }
    }

    #[inline(always)]
    fn series(&self, raw: &'a [u8], tail: Tail) -> Series<'_, 'a> {
        Series { raw, value: tail.value, timestamp: tail.timestamp, line: &self.line }
    }

    /// The next entry where lines are not shown as they come: `_created` lines are looked for,
    /// classic histograms converted.
    fn next_with_options(&mut self) -> Result<Option<Entry<'_, 'a>>, Error> {
        loop {
            let kind = self.line.kind;
            let found = self.scan().inspect_err(|_| self.finished = true)?;
            let (raw, tail) = match found {
                Found::Series(raw, tail) => (raw, tail),
                found => {
                    if let Some(converted) = self.converted(kind) {
                        return Ok(Some(self.converted_entry(converted)));
                    }
                    let Found::Other(entry) = found else {
                        self.finished = true;
                        return Ok(None);
                    };
                    if let (Entry::Type { family, kind }, Some(c)) = (&entry, &mut self.collector) {
                        c.set_type(*kind, family);
                    }
                    return Ok(Some(entry));
                }
            };
            if let Some(created) = &mut self.created {
                if created::is_created(self.line.name, self.line.kind) {
                    continue;
                }
                let (at, len) = (self.at, self.family_len);
                self.line.start = created.start_of(self.page, at, len, &self.line);
            }
            let ends = self.collector.as_ref().is_some_and(|c| c.differs(&self.line));
            if ends && let Some(converted) = self.converted(kind) {
                return Ok(Some(self.converted_entry(converted)));
            }
            if let Some(c) = &mut self.collector
                && c.collect(&self.line, tail)
            {
                if !c.keep {
                    continue;
                }
                // It went to the native histogram.
                self.line.exemplar = None;
            }
            return Ok(Some(Entry::Series(self.series(raw, tail))));
        }
    }

    /// Ends the classic histogram that is being collected, if there is one. The entry that was read
    /// last is put back, for it comes behind the histogram.
    fn converted(&mut self, kind: MetricType) -> Option<(NativeHistogram, Vec<Exemplar>)> {
        let collector = self.collector.as_mut().filter(|c| c.collecting)?;
        let converted = collector.finish()?;
        (self.at, self.line.kind) = (self.start, kind);
        Some(converted)
    }

    fn converted_entry(
        &self,
        (histogram, exemplars): (NativeHistogram, Vec<Exemplar>),
    ) -> Entry<'_, 'a> {
        let (raw, timestamp, line) = match &self.collector {
            Some(c) => (&*c.key, c.timestamp, &c.line),
            None => (&[][..], None, &self.line),
        };
        let series = Series { raw, value: histogram.sum(), timestamp, line };
        Entry::Histogram(Box::new(HistogramSample { series, histogram, exemplars }))
    }

    fn next_proto(&mut self) -> Result<Option<Entry<'_, 'a>>, Error> {
        let Some(proto) = &mut self.proto else { return Ok(None) };
        let found = match proto.next(&mut self.line.labels, &mut self.line.exemplar_labels) {
            Ok(found) => found,
            Err(e) => {
                self.finished = true;
                return Err(e);
            }
        };
        self.line.kind = proto.kind();
        let (part, value, exemplar, histogram) = match found {
            proto::Found::End => {
                self.finished = true;
                return Ok(None);
            }
            proto::Found::Metadata(entry) => return Ok(Some(entry)),
            proto::Found::Series { part, value, exemplar } => (part, value, exemplar, None),
            proto::Found::Histogram(histogram, exemplars) => {
                (Part::default(), histogram.sum(), None, Some((histogram, exemplars)))
            }
        };
        self.line.name = proto.name();
        self.line.start = proto.metric.start;
        (self.line.part, self.line.exemplar) = (Some(part), exemplar);
        let timestamp = Some(proto.metric.timestamp).filter(|t| *t != 0);
        let series = Series { raw: &proto.key, value, timestamp, line: &self.line };
        Ok(Some(match histogram {
            None => Entry::Series(series),
            Some((histogram, exemplars)) => {
                Entry::Histogram(Box::new(HistogramSample { series, histogram, exemplars }))
            }
        }))
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
        if (self.created.is_some() || self.collector.is_some())
            && created::has_start(self.line.kind)
        {
            return None;
        }
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
            Format::Protobuf => return None,
        };
        if tail.is_err() {
            self.finished = true;
        }
        Some(tail.map(|tail| KnownSample {
            value: tail.value,
            timestamp: tail.timestamp,
            exemplar: self.line.exemplar(),
        }))
    }

    /// If the next entry is the metadata line `raw` (as [`Parser::entry_text`] gave it, line feed
    /// included), skips it; `kind` is what it said if it was a `# TYPE` line.
    #[inline]
    pub fn skip_known(&mut self, raw: &[u8], kind: Option<MetricType>) -> bool {
        let rest = self.page.get(self.at..).unwrap_or_default();
        let known = !self.finished
            && raw.ends_with(b"\n")
            && rest.starts_with(raw)
            && self.collector.is_none()
            && self.created.is_none()
            && self.proto.is_none();
        if known {
            self.start = self.at;
            self.at += raw.len();
            self.line.kind = kind.unwrap_or(self.line.kind);
        }
        known
    }

    /// The text of the entry that was read last, with its line feed where it has one. In protobuf a
    /// byte string that stands for it.
    #[must_use]
    pub fn entry_text(&self) -> &[u8] {
        if let Some(proto) = &self.proto {
            return &proto.key;
        }
        self.page.get(self.start..self.at).unwrap_or_default()
    }

    /// The type that the last `# TYPE` line gave.
    #[must_use]
    pub const fn kind(&self) -> MetricType {
        self.line.kind
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
