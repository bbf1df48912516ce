//! Prometheus text, versions 0.0.4 and 1.0.0: one parser reads both.
//!
//! Source: `model/textparse/promparse.go`, `promlex.l`. What is tolerated there is tolerated here:
//! blanks and tabs between tokens, blank lines, a missing line feed at the end, trailing and missing
//! commas between labels, any comment. Two oddities are kept as well: blanks before a metric name
//! are part of it, and a NUL where an entry begins ends the page.

use std::borrow::Cow;

use firesteel_model::MetricType;

use crate::{
    Entry, Error, Parser,
    entry::{RawLabel, unescape, unescape_slow},
    error::quote,
    lex::State,
    number,
    parser::{Found, Tail},
    scan::{self, LABEL, LABEL_START, NAME_START, Quoting, skip, skip_blanks},
};

/// Strings where Prometheus' lexer skips NULs, and where it does not.
const VALUE: Quoting = Quoting { line_feeds: true, nuls: true };
const QUOTED_NAME: Quoting = Quoting { line_feeds: true, nuls: false };

/// Labels of a series or an exemplar, at most. No honest page comes near; without a limit one line
/// could take many times its size in memory.
pub(crate) const MAX_LABELS: usize = 10_000;

/// A metric name where it stands: its range and whether it has escapes.
type NameAt = (usize, usize, bool);

impl<'a> Parser<'a> {
    pub(crate) fn text_entry(&mut self) -> Result<Found<'a>, Error> {
        loop {
            let start = self.at;
            let token = skip_blanks(self.page, start);
            match self.byte(token) {
                None | Some(0) => return Ok(Found::End),
                Some(b'\n') => self.at = token + 1,
                Some(b'#') => return self.text_comment(start, token),
                Some(b'{') => return self.text_series(start, token + 1, None),
                Some(c) if scan::is(c, NAME_START) => {
                    let end = self.name_end(token);
                    return self.text_series(start, end, Some((start, end, false)));
                }
                Some(_) => {
                    let what = "expected a valid start token";
                    return Err(self.place(start).unexpected(what, State::TextInit, token));
                }
            }
        }
    }

    /// A series from the end of its name, or from behind the brace that opens it.
    #[inline(always)]
    fn text_series(
        &mut self,
        start: usize,
        at: usize,
        name: Option<NameAt>,
    ) -> Result<Found<'a>, Error> {
        let mut name = name;
        let mut end = at;
        if name.is_none() {
            end = self.text_labels(start, at, &mut name)?;
        } else {
            let next = skip_blanks(self.page, at);
            if self.byte(next) == Some(b'{') {
                end = self.text_labels(start, next + 1, &mut name)?;
            }
        }
        let Some((a, b, name_escaped)) = name else {
            return Err(self.text_without_name(start, end));
        };
        let Some(name) = self.text(a, b) else {
            let text = quote(self.page.get(a..b).unwrap_or_default());
            return Err(self.place(start).plain(format!("invalid UTF-8 metric name: {text}"), a));
        };
        let tail = self.text_tail(start, end)?;
        let raw = self.page.get(start..end).unwrap_or_default();
        (self.line.name, self.line.name_escaped) = (name, name_escaped);
        Ok(Found::Series(raw, tail))
    }

    /// The labels from behind the opening brace; returns the position behind the closing one.
    #[inline(always)]
    fn text_labels(
        &mut self,
        start: usize,
        mut at: usize,
        metric: &mut Option<NameAt>,
    ) -> Result<usize, Error> {
        loop {
            at = skip_blanks(self.page, at);
            let (end, quoted, escaped) = match self.byte(at) {
                Some(b'}') => return Ok(at + 1),
                Some(c) if scan::is(c, LABEL_START) => (skip(self.page, at, LABEL), false, false),
                Some(b'"') => match scan::quoted(self.page, at, QUOTED_NAME) {
                    Some((end, escaped)) => (end, true, escaped),
                    None => return Err(self.text_label_error(start, "expected label name", at)),
                },
                _ => return Err(self.text_label_error(start, "expected label name", at)),
            };
            let next = skip_blanks(self.page, end);
            let after = self.byte(next);
            if quoted && matches!(after, Some(b',' | b'}')) {
                // A quoted string that stands alone is the metric name.
                if metric.is_some() {
                    let what = "metric name already set";
                    return Err(self.place(start).failed(what, at, next + 1));
                }
                *metric = Some((at + 1, end - 1, escaped));
                if after == Some(b'}') {
                    return Ok(next + 1);
                }
                at = next + 1;
                continue;
            }
            if after != Some(b'=') {
                return Err(self.text_label_error(start, "expected equal", next));
            }
            let value = skip_blanks(self.page, next + 1);
            let closed = match self.byte(value) {
                Some(b'"') => scan::quoted(self.page, value, VALUE),
                _ => None,
            };
            let Some((value_end, value_escaped)) = closed else {
                let what = "expected label value";
                return Err(self.place(start).unexpected(what, State::TextLabelValue, value));
            };
            let name = if quoted { (at + 1, end - 1) } else { (at, end) };
            self.push_label(start, name, escaped, (value, value_end), value_escaped)?;
            at = skip_blanks(self.page, value_end);
            if self.byte(at) == Some(b',') {
                at += 1;
            }
        }
    }

    /// Adds a label to the current series; `value` is its range with the quotes.
    #[inline(always)]
    pub(crate) fn push_label(
        &mut self,
        start: usize,
        name: (usize, usize),
        name_escaped: bool,
        value: (usize, usize),
        value_escaped: bool,
    ) -> Result<(), Error> {
        let label = self.raw_label(start, name, name_escaped, value, value_escaped)?;
        if self.line.labels.len() >= MAX_LABELS {
            return Err(self.too_many_labels(start, name.0));
        }
        self.line.labels.push(label);
        Ok(())
    }

    #[cold]
    pub(crate) fn too_many_labels(&self, start: usize, at: usize) -> Error {
        self.place(start).plain(format!("more than {MAX_LABELS} labels"), at)
    }

    #[inline(always)]
    pub(crate) fn raw_label(
        &mut self,
        start: usize,
        name: (usize, usize),
        name_escaped: bool,
        value: (usize, usize),
        value_escaped: bool,
    ) -> Result<RawLabel<'a>, Error> {
        let text = (self.text(name.0, name.1), self.text(value.0 + 1, value.1 - 1));
        let (Some(name), Some(value)) = text else {
            return Err(self.not_utf8(start, name, value));
        };
        Ok(RawLabel { name, value, name_escaped, value_escaped })
    }

    #[cold]
    fn not_utf8(&mut self, start: usize, name: (usize, usize), value: (usize, usize)) -> Error {
        let (what, (a, b)) = match self.text(name.0, name.1) {
            None => ("name", name),
            Some(_) => ("value", value),
        };
        let text = quote(self.page.get(a..b).unwrap_or_default());
        self.place(start).plain(format!("invalid UTF-8 label {what}: {text}"), a)
    }

    #[cold]
    fn text_label_error(&self, start: usize, what: &str, at: usize) -> Error {
        self.place(start).unexpected(what, State::TextLabels, at)
    }

    /// Braces without a metric name; Prometheus has read the value by the time it complains.
    #[cold]
    fn text_without_name(&self, start: usize, at: usize) -> Error {
        let token = skip_blanks(self.page, at);
        let (_, end) = State::TextValue.lex(self.page, token, true);
        self.place(start).failed("metric name not set", start, end)
    }

    /// Value and timestamp, from the end of the series' text to the end of the line.
    #[inline(always)]
    pub(crate) fn text_tail(&mut self, start: usize, at: usize) -> Result<Tail, Error> {
        let at = skip_blanks(self.page, at);
        if matches!(self.byte(at), None | Some(0 | b'\n' | b'{')) {
            let what = "expected value after metric";
            return Err(self.place(start).unexpected(what, State::TextValue, at));
        }
        let ends = |b| matches!(b, 0 | b' ' | b'\t' | b'\n' | b'{');
        let (value, end) = self.number(start, at, ends)?;
        // Fast path: the line ends here.
        let mut at = end;
        let mut timestamp = None;
        if self.byte(at) != Some(b'\n') {
            (timestamp, at) = self.text_timestamp(start, at)?;
        }
        self.at = self.page.len().min(at + 1);
        Ok(Tail { value, timestamp })
    }

    /// What follows a value: perhaps a timestamp, then the line's end, whose position is returned.
    fn text_timestamp(&self, start: usize, at: usize) -> Result<(Option<i64>, usize), Error> {
        let at = skip_blanks(self.page, at);
        if matches!(self.byte(at), None | Some(b'\n')) {
            return Ok((None, at));
        }
        let rest = self.page.get(at..).unwrap_or_default();
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let digits = rest.get(..count).unwrap_or_default();
        if digits.is_empty() {
            let what = "expected timestamp or new record";
            return Err(self.place(start).unexpected(what, State::TextTimestamp, at));
        }
        let timestamp = number::integer(digits).map_err(|e| {
            self.place(start).failed(&e.describe("ParseInt", digits), at, at + count)
        })?;
        let end = skip_blanks(self.page, at + count);
        if !matches!(self.byte(end), None | Some(b'\n')) {
            let what = "expected next entry after timestamp";
            return Err(self.place(start).unexpected(what, State::TextTimestamp, end));
        }
        Ok((Some(timestamp), end))
    }

    /// A line that begins with `#`, at `token`.
    fn text_comment(&mut self, start: usize, token: usize) -> Result<Found<'a>, Error> {
        let word = skip_blanks(self.page, token + 1);
        let rest = self.page.get(word..).unwrap_or_default();
        let help = rest.starts_with(b"HELP");
        let keyword = word > token + 1 && (help || rest.starts_with(b"TYPE"));
        let name = skip_blanks(self.page, word + 4);
        if keyword && name > word + 4 {
            return self.text_metadata(start, name, help);
        }
        // Outside of words Prometheus' lexer takes a NUL for the end of the page.
        let end = memchr::memchr(b'\n', rest).map_or(self.page.len(), |i| word + i);
        let line = self.page.get(token..end).unwrap_or_default();
        let nul_ends = if word > token + 1 {
            self.byte(word) == Some(0)
        } else {
            memchr::memchr(0, line).is_some()
        };
        if nul_ends {
            return Ok(Found::End);
        }
        self.at = self.page.len().min(end + 1);
        Ok(Found::Other(Entry::Comment(line)))
    }

    /// `HELP` or `TYPE` from the family's name on.
    fn text_metadata(&mut self, start: usize, at: usize, help: bool) -> Result<Found<'a>, Error> {
        let keyword = if help { "HELP" } else { "TYPE" };
        let Some((a, b, escaped, end)) = self.meta_name(at) else {
            let what = format!("expected metric name after {keyword}");
            return Err(self.place(start).unexpected(&what, State::TextMetaName, at));
        };
        let rest = self.page.get(end..).unwrap_or_default();
        let line_end = memchr::memchr(b'\n', rest).map_or(self.page.len(), |i| end + i);
        if rest.first() == Some(&0) {
            let what = "linebreak expected after metadata";
            return Err(self.place(start).unexpected(what, State::TextInit, end));
        }
        let text = self.metadata_text(end, line_end);
        let found = if help {
            self.help_entry(start, (a, b, escaped), text, false)?
        } else {
            let kind = match self.page.get(text.0..text.1).unwrap_or_default() {
                b"counter" => MetricType::Counter,
                b"gauge" => MetricType::Gauge,
                b"histogram" => MetricType::Histogram,
                b"summary" => MetricType::Summary,
                b"untyped" => MetricType::Unknown,
                other => {
                    let message = format!("invalid metric type {}", quote(other));
                    return Err(self.place(start).plain(message, text.0));
                }
            };
            self.line.kind = kind;
            Entry::Type { family: self.family(start, (a, b, escaped))?, kind }
        };
        self.at = self.page.len().min(line_end + 1);
        Ok(Found::Other(found))
    }

    /// The range of a metadata line's text: what follows the one byte after the name. A line that
    /// has only blanks there has no text.
    fn metadata_text(&self, name_end: usize, line_end: usize) -> (usize, usize) {
        let rest = self.page.get(name_end..line_end).unwrap_or_default();
        if rest.iter().all(|b| matches!(b, b' ' | b'\t' | 0)) {
            (line_end, line_end)
        } else {
            (name_end + 1, line_end)
        }
    }

    pub(crate) fn family(&mut self, start: usize, name: NameAt) -> Result<Cow<'a, str>, Error> {
        let (a, b, escaped) = name;
        match self.text(a, b) {
            Some(text) => Ok(unescape(text, escaped)),
            None => {
                let text = quote(self.page.get(a..b).unwrap_or_default());
                Err(self.place(start).plain(format!("invalid UTF-8 metric name: {text}"), a))
            }
        }
    }

    pub(crate) fn help_entry(
        &mut self,
        start: usize,
        name: NameAt,
        text: (usize, usize),
        quotes: bool,
    ) -> Result<Entry<'a, 'a>, Error> {
        let Some(help) = self.text(text.0, text.1) else {
            let text_bytes = quote(self.page.get(text.0..text.1).unwrap_or_default());
            let message = format!("help text {text_bytes} is not a valid utf8 string");
            return Err(self.place(start).plain(message, text.0));
        };
        let family = self.family(start, name)?;
        let escaped = memchr::memchr(b'\\', help.as_bytes()).is_some();
        let text = if escaped { unescape_slow(help, quotes) } else { Cow::Borrowed(help) };
        Ok(Entry::Help { family, text })
    }
}
