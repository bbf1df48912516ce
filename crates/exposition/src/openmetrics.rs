//! OpenMetrics text, versions 0.0.1 and 1.0.0.
//!
//! Source: `model/textparse/openmetricsparse.go`, `openmetricslex.l`. Prometheus is laxer than the
//! specification and so is this parser: it checks lines, not how families are made of them.

use firesteel_model::{MetricType, float::write_g};

use crate::{
    Entry, Error, Parser,
    error::quote,
    lex::State,
    parser::{Found, Tail},
    scan::{self, LABEL, LABEL_START, NAME_START, Quoting, skip},
    text::MAX_LABELS,
};

const VALUE: Quoting = Quoting { line_feeds: false, nuls: true };
const QUOTED_NAME: Quoting = Quoting { line_feeds: true, nuls: false };
const IN_EXEMPLAR: Quoting = Quoting { line_feeds: false, nuls: false };

const NO_EOF: &str = "data does not end with # EOF";

/// The states and rules that differ between the labels of a series and those of an exemplar.
struct LabelRules {
    names: State,
    values: State,
    quoted_name: Quoting,
    quoted_value: Quoting,
}

const SERIES: LabelRules = LabelRules {
    names: State::OmLabels,
    values: State::OmLabelValue,
    quoted_name: QUOTED_NAME,
    quoted_value: VALUE,
};
const EXEMPLAR: LabelRules = LabelRules {
    names: State::OmExemplar,
    values: State::OmExemplarValue,
    quoted_name: IN_EXEMPLAR,
    quoted_value: IN_EXEMPLAR,
};

/// Where the metric name was found.
type NameAt = (usize, usize, bool);

impl<'a> Parser<'a> {
    pub(crate) fn openmetrics_entry(&mut self) -> Result<Found<'a>, Error> {
        let start = self.at;
        match self.byte(start) {
            None => Err(self.place(start).plain(NO_EOF, start)),
            Some(b'#') => self.openmetrics_comment(start),
            Some(b'{') => self.openmetrics_series(start, start + 1, None),
            Some(c) if scan::is(c, NAME_START) => {
                let end = self.name_end(start);
                self.openmetrics_series(start, end, Some((start, end, false)))
            }
            Some(_) => Err(self.no_start(start)),
        }
    }

    #[cold]
    fn no_start(&self, start: usize) -> Error {
        self.place(start).unexpected("expected a valid start token", State::OmInit, start)
    }

    #[inline(always)]
    fn openmetrics_series(
        &mut self,
        start: usize,
        at: usize,
        mut name: Option<NameAt>,
    ) -> Result<Found<'a>, Error> {
        let mut end = at;
        if name.is_none() {
            end = self.openmetrics_labels(start, at, Some(&mut name), &SERIES)?;
        } else if self.byte(at) == Some(b'{') {
            end = self.openmetrics_labels(start, at + 1, Some(&mut name), &SERIES)?;
        }
        let Some((a, b, name_escaped)) = name else {
            let (_, end) = State::OmValue.lex(self.page, end, false);
            return Err(self.place(start).failed("metric name not set", start, end));
        };
        let Some(name) = self.text(a, b) else {
            let text = quote(self.page.get(a..b).unwrap_or_default());
            return Err(self.place(start).plain(format!("invalid UTF-8 metric name: {text}"), a));
        };
        let tail = self.openmetrics_tail(start, end)?;
        let raw = self.page.get(start..end).unwrap_or_default();
        (self.line.name, self.line.name_escaped) = (name, name_escaped);
        Ok(Found::Series(raw, tail))
    }

    /// The labels from behind the opening brace; returns the position behind the closing one.
    /// `metric` is where a metric name among the labels goes; `None` in an exemplar.
    #[inline(always)]
    fn openmetrics_labels(
        &mut self,
        start: usize,
        mut at: usize,
        mut metric: Option<&mut Option<NameAt>>,
        rules: &LabelRules,
    ) -> Result<usize, Error> {
        let mut before = at - 1;
        loop {
            let wrong = |p: &Self, what: &str, at: usize, before: usize| {
                p.place(start).unexpected_after(what, rules.names, at, before)
            };
            let (end, quoted, escaped) = match self.byte(at) {
                Some(b'}') => return Ok(at + 1),
                Some(c) if scan::is(c, LABEL_START) => (skip(self.page, at, LABEL), false, false),
                Some(b'"') => match scan::quoted(self.page, at, rules.quoted_name) {
                    Some((end, escaped)) => (end, true, escaped),
                    None => return Err(wrong(self, "expected label name", at, before)),
                },
                _ => return Err(wrong(self, "expected label name", at, before)),
            };
            let after = self.byte(end);
            if quoted && matches!(after, Some(b',' | b'}')) {
                let Some(metric) = &mut metric else {
                    return Err(wrong(self, "expected label name", end, at));
                };
                if metric.is_some() {
                    let what = "metric name already set";
                    return Err(self.place(start).failed(what, at, end + 1));
                }
                **metric = Some((at + 1, end - 1, escaped));
                if after == Some(b'}') {
                    return Ok(end + 1);
                }
                (before, at) = (end, end + 1);
                continue;
            }
            if after != Some(b'=') {
                return Err(wrong(self, "expected equal", end, at));
            }
            let value = end + 1;
            let closed = match self.byte(value) {
                Some(b'"') => scan::quoted(self.page, value, rules.quoted_value),
                _ => None,
            };
            let Some((value_end, value_escaped)) = closed else {
                let place = self.place(start);
                return Err(place.unexpected_after(
                    "expected label value",
                    rules.values,
                    value,
                    end,
                ));
            };
            let name = if quoted { (at + 1, end - 1) } else { (at, end) };
            let value_at = (value, value_end);
            let label = self.raw_label(start, name, escaped, value_at, value_escaped)?;
            let line = &mut self.line;
            let labels =
                if metric.is_some() { &mut line.labels } else { &mut line.exemplar_labels };
            if labels.len() >= MAX_LABELS {
                return Err(self.too_many_labels(start, name.0));
            }
            labels.push(label);
            match self.byte(value_end) {
                Some(b',') => (before, at) = (value_end, value_end + 1),
                Some(b'}') => return Ok(value_end + 1),
                _ => return Err(wrong(self, "expected comma or brace close", value_end, value)),
            }
        }
    }

    /// Value, timestamp and exemplar, from the end of the series' text to the end of the line.
    #[inline(always)]
    pub(crate) fn openmetrics_tail(&mut self, start: usize, at: usize) -> Result<Tail, Error> {
        let (value, mut at) = self.openmetrics_value(start, at, State::OmValue, "metric")?;
        let mut tail = Tail { value, timestamp: None };
        self.line.exemplar = None;
        // Fast path: the line ends here.
        if self.byte(at) != Some(b'\n') {
            at = self.openmetrics_rest(start, at, &mut tail)?;
        }
        self.at = at + 1;
        Ok(tail)
    }

    /// A blank and a number; the number and its end.
    #[inline(always)]
    fn openmetrics_value(
        &self,
        start: usize,
        at: usize,
        state: State,
        after: &str,
    ) -> Result<(f64, usize), Error> {
        let blank = self.byte(at) == Some(b' ');
        if !blank || matches!(self.byte(at + 1), None | Some(0 | b' ' | b'\n')) {
            let before = if state == State::OmValue { start } else { at.saturating_sub(1) };
            let what = format!("expected value after {after}");
            return Err(self.place(start).unexpected_after(&what, state, at, before));
        }
        self.number(start, at + 1, |b| matches!(b, 0 | b' ' | b'\n'))
    }

    /// What follows a value, up to the line feed, whose position is returned.
    fn openmetrics_rest(
        &mut self,
        start: usize,
        at: usize,
        tail: &mut Tail,
    ) -> Result<usize, Error> {
        let rest = self.page.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return Err(self.place(start).plain(NO_EOF, at));
        }
        if rest.starts_with(b" # {") {
            return self.openmetrics_exemplar(start, at + 4);
        }
        let no_timestamp = matches!(rest.get(1), None | Some(0 | b' ' | b'\n'));
        if rest.first() != Some(&b' ') || no_timestamp || rest.starts_with(b" # ") {
            // Prometheus takes the sample and stumbles at the entry that seems to begin here.
            let (_, stop) = State::OmTimestamp.lex(self.page, at, false);
            if stop >= self.page.len() {
                return Err(self.place(start).plain(NO_EOF, at));
            }
            let what = "expected a valid start token";
            return Err(self.place(stop).unexpected(what, State::OmTimestamp, stop));
        }
        let (timestamp, end) = self.openmetrics_timestamp(start, at + 1, "timestamp")?;
        tail.timestamp = Some(timestamp);
        let rest = self.page.get(end..).unwrap_or_default();
        if rest.first() == Some(&b'\n') {
            return Ok(end);
        }
        if rest.starts_with(b" # {") {
            return self.openmetrics_exemplar(start, end + 4);
        }
        let what = "expected next entry after timestamp";
        Err(self.place(start).unexpected_after(what, State::OmTimestamp, end, at))
    }

    /// Seconds as a float, returned as milliseconds.
    fn openmetrics_timestamp(
        &self,
        start: usize,
        at: usize,
        what: &str,
    ) -> Result<(i64, usize), Error> {
        let (seconds, end) = self.number(start, at, |b| matches!(b, 0 | b' ' | b'\n'))?;
        if !seconds.is_finite() {
            let mut text = String::new();
            write_g(&mut text, seconds);
            return Err(self.place(start).plain(format!("invalid {what} {text}"), at));
        }
        Ok(((seconds * 1000.0) as i64, end))
    }

    /// An exemplar from behind its opening brace, up to the line feed, whose position is returned.
    #[cold]
    fn openmetrics_exemplar(&mut self, start: usize, at: usize) -> Result<usize, Error> {
        self.line.exemplar_labels.clear();
        let end = self.openmetrics_labels(start, at, None, &EXEMPLAR)?;
        let state = State::OmExemplarValue;
        let (value, end) = self.openmetrics_value(start, end, state, "exemplar labels")?;
        let mut timestamp = None;
        let mut at = end;
        match (self.byte(at), self.byte(at + 1)) {
            (None, _) => return Err(self.place(start).plain(NO_EOF, at)),
            (Some(b'\n'), _) => {}
            (Some(b' '), Some(c)) if !matches!(c, 0 | b' ' | b'\n') => {
                let (t, end) = self.openmetrics_timestamp(start, at + 1, "exemplar timestamp")?;
                if self.byte(end) != Some(b'\n') {
                    let what = "expected next entry after exemplar timestamp";
                    let state = State::OmExemplarTimestamp;
                    return Err(self.place(start).unexpected_after(what, state, end, at));
                }
                timestamp = Some(t);
                at = end;
            }
            _ => {
                let what = "expected timestamp or comment";
                return Err(self.place(start).unexpected(what, State::OmExemplarTimestamp, at));
            }
        }
        self.line.exemplar = Some((value, timestamp));
        Ok(at)
    }

    /// A line that begins with `#`.
    fn openmetrics_comment(&mut self, start: usize) -> Result<Found<'a>, Error> {
        let rest = self.page.get(start..).unwrap_or_default();
        let keyword = match rest.first_chunk::<7>() {
            Some(b"# HELP ") => "HELP",
            Some(b"# TYPE ") => "TYPE",
            Some(b"# UNIT ") => "UNIT",
            _ if rest.starts_with(b"# EOF") => {
                if !matches!(rest.get(5..), Some(b"" | b"\n")) {
                    return Err(self.place(start).plain("unexpected data after # EOF", start + 5));
                }
                return Ok(Found::End);
            }
            _ => return Err(self.no_start(start)),
        };
        let at = start + 7;
        let Some((a, b, escaped, end)) = self.meta_name(at) else {
            let what = format!("expected metric name after {keyword}");
            return Err(self.place(start).unexpected_after(&what, State::OmMetaName, at, start));
        };
        self.family_len = b - a;
        let rest = self.page.get(end..).unwrap_or_default();
        let line_feed = memchr::memchr(b'\n', rest).filter(|_| rest.first() == Some(&b' '));
        let Some(line_feed) = line_feed else {
            return Err(self.place(start).plain(format!("expected text in {keyword}"), end));
        };
        let text = (end + 1, end + line_feed);
        let name = (a, b, escaped);
        let found = match keyword {
            "HELP" => self.help_entry(start, name, text, true)?,
            "TYPE" => self.openmetrics_type(start, name, text)?,
            _ => self.openmetrics_unit(start, name, text)?,
        };
        self.at = text.1 + 1;
        Ok(Found::Other(found))
    }

    fn openmetrics_type(
        &mut self,
        start: usize,
        name: NameAt,
        text: (usize, usize),
    ) -> Result<Entry<'a, 'a>, Error> {
        let bytes = self.page.get(text.0..text.1).unwrap_or_default();
        let kind = std::str::from_utf8(bytes).ok().and_then(MetricType::from_name);
        let Some(kind) = kind else {
            let message = format!("invalid metric type {}", quote(bytes));
            return Err(self.place(start).plain(message, text.0));
        };
        self.line.kind = kind;
        Ok(Entry::Type { family: self.family(start, name)?, kind })
    }

    fn openmetrics_unit(
        &mut self,
        start: usize,
        name: NameAt,
        text: (usize, usize),
    ) -> Result<Entry<'a, 'a>, Error> {
        let unit = self.page.get(text.0..text.1).unwrap_or_default();
        let metric = self.page.get(name.0..name.1).unwrap_or_default();
        let suffix = metric.strip_suffix(unit).is_some_and(|head| head.ends_with(b"_"));
        let unit_text = self.text(text.0, text.1);
        let Some(unit_text) = unit_text.filter(|u| u.is_empty() || suffix) else {
            let (unit, metric) = (quote(unit), quote(metric));
            let message = format!("unit {unit} not a suffix of metric {metric}");
            return Err(self.place(start).plain(message, text.0));
        };
        Ok(Entry::Unit { family: self.family(start, name)?, unit: unit_text.into() })
    }
}
