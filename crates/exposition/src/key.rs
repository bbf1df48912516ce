//! Byte strings that identify entries which do not stand on their page as a text of their own:
//! those of protobuf, and converted histograms. They begin with 0xff, which no text page can have
//! in a name, and use it as a separator:
//!
//! ```text
//! ff name (ff label-name ff label-value)*         a series
//! ff ff 'H'|'T'|'U' family ff text                help, type or unit
//! ```

use firesteel_model::{MetricType, float::write_om};

use crate::{
    Entry, Error, Format, Parser, Series,
    entry::{Line, Part, RawLabel, unescape},
};

const SEPARATOR: u8 = 0xff;

/// The key of a series.
pub(crate) fn series(out: &mut Vec<u8>, name: &str, part: &Part, labels: &[RawLabel<'_>]) {
    out.clear();
    out.push(SEPARATOR);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(part.suffix.as_bytes());
    let mut add = |text: &str| {
        out.push(SEPARATOR);
        out.extend_from_slice(text.as_bytes());
    };
    for label in labels {
        add(&unescape(label.name, label.name_escaped));
        add(&unescape(label.value, label.value_escaped));
    }
    if let Some((name, bound)) = part.bound {
        let mut text = String::with_capacity(24);
        write_om(&mut text, bound);
        add(name);
        add(&text);
    }
}

/// The key of a metadata entry; `tag` is `H`, `T` or `U`.
pub(crate) fn metadata(out: &mut Vec<u8>, tag: u8, family: &str, text: &str) {
    out.clear();
    out.extend_from_slice(&[SEPARATOR, SEPARATOR, tag]);
    out.extend_from_slice(family.as_bytes());
    out.push(SEPARATOR);
    out.extend_from_slice(text.as_bytes());
}

fn label_of<'a>(pair: &[&'a str]) -> Option<RawLabel<'a>> {
    match *pair {
        [name, value] => Some(RawLabel { name, value, name_escaped: false, value_escaped: false }),
        _ => None,
    }
}

impl Format {
    /// Calls `f` with the series that has this [`Series::raw`] on a page in this format, where
    /// `kind` is the type of its family; value and times are not set.
    ///
    /// # Errors
    /// `raw` is not such a text.
    pub fn read_series<R>(
        self,
        raw: &[u8],
        kind: MetricType,
        f: impl FnOnce(&Series<'_, '_>) -> R,
    ) -> Result<R, Error> {
        let damaged = || Error::at(raw, 0, "not a series".to_owned());
        if let Some(key) = raw.strip_prefix(&[SEPARATOR]) {
            let parts = key.split(|b| *b == SEPARATOR).map(std::str::from_utf8);
            let Ok(parts) = parts.collect::<Result<Vec<_>, _>>() else { return Err(damaged()) };
            let (Some(name), pairs) = (parts.first(), parts.get(1..).unwrap_or_default()) else {
                return Err(damaged());
            };
            let labels = pairs.chunks(2).map(label_of).collect::<Option<Vec<_>>>();
            let labels = labels.ok_or_else(damaged)?;
            let part = Some(Part::default());
            let line = Line { name, labels, kind, part, ..Line::default() };
            let series = Series { raw, value: 0.0, timestamp: None, line: &line };
            return Ok(f(&series));
        }
        let type_name = match (self, kind) {
            (Self::PrometheusText, MetricType::Unknown) => "untyped",
            (_, kind) => kind.as_str(),
        };
        let mut page = format!("# TYPE x {type_name}\n").into_bytes();
        page.extend_from_slice(raw);
        page.extend_from_slice(b" 0\n# EOF\n");
        let mut parser = Parser::new(self, &page);
        while let Some(entry) = parser.next_entry()? {
            if let Entry::Series(series) = entry {
                return Ok(f(&series));
            }
        }
        Err(damaged())
    }

    /// The metric family that a metadata entry is about, from its [`Parser::entry_text`] on a page
    /// in this format.
    #[must_use]
    pub fn family_of(self, text: &[u8]) -> Option<String> {
        if let [SEPARATOR, SEPARATOR, _, rest @ ..] = text {
            let family = rest.split(|b| *b == SEPARATOR).next()?;
            return std::str::from_utf8(family).ok().map(str::to_owned);
        }
        match Parser::new(self, text).next_entry() {
            Ok(Some(
                Entry::Type { family, .. }
                | Entry::Help { family, .. }
                | Entry::Unit { family, .. },
            )) => Some(family.into_owned()),
            _ => None,
        }
    }
}
