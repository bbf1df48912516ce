//! Names for readers that know the old syntax alone: the escaping schemes of content negotiation.
//!
//! Source: `EscapeName`, `UnescapeName` in `prometheus/common/model/metric.go`.

use std::borrow::Cow;

use crate::is_legacy_metric_name;

/// What becomes of names that are not in the old syntax (`[a-zA-Z_:][a-zA-Z0-9_:]*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EscapingScheme {
    /// They stay as they are, in quotes: `allow-utf-8`.
    #[default]
    AllowUtf8,
    /// Each other character becomes `_`: `underscores`.
    Underscores,
    /// `.` becomes `_dot_`, `_` becomes `__`, each other character `__`: `dots`.
    Dots,
    /// `U__`, then `_` doubled and each other character as its number in hexadecimal between
    /// underscores: `values`. The one scheme that can be undone for every name.
    Values,
}

const PREFIX: &str = "U__";

const fn is_plain(c: char, first: bool) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | ':') || (!first && c.is_ascii_digit())
}

impl EscapingScheme {
    /// The name in `escaping=` of `Accept` and `Content-Type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    /// Reads [`Self::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values]
            .into_iter()
            .find(|scheme| scheme.name() == name)
    }

    /// The scheme that an `Accept` or `Content-Type` header asks for in its first `escaping`
    /// parameter; `None` if it has none or an unknown one.
    #[must_use]
    pub fn from_header(header: &str) -> Option<Self> {
        header.split([';', ',']).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let is_escaping = name.trim().eq_ignore_ascii_case("escaping");
            is_escaping.then(|| Self::from_name(value.trim().trim_matches('"')))
        })?
    }

    /// The name of a metric or a label in this scheme. Allocates only where something changes;
    /// linear in its length.
    #[must_use]
    pub fn escape(self, name: &str) -> Cow<'_, str> {
        if name.is_empty() || self == Self::AllowUtf8 {
            return Cow::Borrowed(name);
        }
        // Dots doubles underscores in every name.
        if self != Self::Dots && is_legacy_metric_name(name) {
            return Cow::Borrowed(name);
        }
        let mut out = String::with_capacity(name.len() + 8);
        if self == Self::Values {
            out.push_str(PREFIX);
        }
        for (i, c) in name.char_indices() {
            match (self, c) {
                (Self::Dots | Self::Values, '_') => out.push_str("__"),
                (Self::Dots, '.') => out.push_str("_dot_"),
                (_, c) if is_plain(c, i == 0) => out.push(c),
                (Self::Dots, _) => out.push_str("__"),
                (Self::Values, c) => out.push_str(&format!("_{:x}_", u32::from(c))),
                _ => out.push('_'),
            }
        }
        Cow::Owned(out)
    }

    /// Undoes [`Self::escape`] where that is possible; what is not an escaped name comes back as it
    /// is.
    #[must_use]
    pub fn unescape(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::AllowUtf8 | Self::Underscores => Cow::Borrowed(name),
            Self::Dots => Cow::Owned(name.replace("_dot_", ".").replace("__", "_")),
            Self::Values => match name.strip_prefix(PREFIX).and_then(unescape_values) {
                Some(unescaped) => Cow::Owned(unescaped),
                None => Cow::Borrowed(name),
            },
        }
    }
}

fn unescape_values(mut rest: &str) -> Option<String> {
    let mut out = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('_') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let (digits, after) = after.split_once('_')?;
        let hexadecimal = digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u32::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)?;
        out.push(char::from_u32(number)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use EscapingScheme::{AllowUtf8, Dots, Underscores, Values};

    // The cases are those of `TestEscapeName`.
    #[test]
    fn names_in_every_scheme() {
        for (name, underscores, dots, values) in [
            ("", "", "", ""),
            (
                "no:escaping_required",
                "no:escaping_required",
                "no:escaping__required",
                "no:escaping_required",
            ),
            (
                "mysystem.prod.west.cpu.load",
                "mysystem_prod_west_cpu_load",
                "mysystem_dot_prod_dot_west_dot_cpu_dot_load",
                "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load",
            ),
            (
                "mysystem.prod.west.cpu.load_total",
                "mysystem_prod_west_cpu_load_total",
                "mysystem_dot_prod_dot_west_dot_cpu_dot_load__total",
                "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load__total",
            ),
            ("http.status:sum", "http_status:sum", "http_dot_status:sum", "U__http_2e_status:sum"),
            (
                "name with spaces and \u{540d}\u{5b57}",
                "name_with_spaces_and___",
                "name__with__spaces__and______",
                "U__name_20_with_20_spaces_20_and_20__540d__5b57_",
            ),
            ("1a", "_a", "__a", "U___31_a"),
        ] {
            assert_eq!(Underscores.escape(name), underscores);
            assert_eq!(Dots.escape(name), dots);
            assert_eq!(Values.escape(name), values);
            assert_eq!(AllowUtf8.escape(name), name);
            assert_eq!(Values.unescape(values), name);
        }
        for name in ["U__", "U___3_a", "U__bad_zz_", "U___d800_", "U___1234567_", "U__x_", "plain"]
        {
            let _ = Values.unescape(name);
        }
        assert_eq!(Values.unescape("U__bad_zz_"), "U__bad_zz_");
        assert_eq!(Values.unescape("U__cut_2e"), "U__cut_2e");
        assert_eq!(Dots.unescape("http_dot_status__sum"), "http.status_sum");
    }

    #[test]
    fn headers_name_schemes() {
        let accept = "application/openmetrics-text;version=1.0.0;escaping=dots;q=0.6,*/*;q=0.1";
        assert_eq!(EscapingScheme::from_header(accept), Some(Dots));
        assert_eq!(EscapingScheme::from_header("text/plain; Escaping=\"values\""), Some(Values));
        assert_eq!(EscapingScheme::from_header("text/plain; escaping=x"), None);
        assert_eq!(EscapingScheme::from_header("text/plain"), None);
    }
}
