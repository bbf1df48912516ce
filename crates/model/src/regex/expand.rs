//! Templates: `$1`, `${1}`, `$name`, `${name}` and `$$`, as Go's `Regexp.Expand` reads them.

use crate::unicode;

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// Text as it stands.
    Text(&'t str),
    /// A group by number.
    Index(usize),
    /// A group by name.
    Name(&'t str),
}

/// Cuts a template into pieces. A dollar without a name after it is text.
pub(super) struct Pieces<'t> {
    rest: &'t str,
}

impl<'t> Pieces<'t> {
    pub(super) const fn new(template: &'t str) -> Self {
        Self { rest: template }
    }

    fn take(&mut self, len: usize) -> &'t str {
        let (head, tail) = self.rest.split_at(len);
        self.rest = tail;
        head
    }
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Piece<'t>;

    fn next(&mut self) -> Option<Piece<'t>> {
        if self.rest.is_empty() {
            return None;
        }
        let dollar = self.rest.find('$').unwrap_or(self.rest.len());
        if dollar > 0 {
            return Some(Piece::Text(self.take(dollar)));
        }
        let sign = self.take(1);
        if self.rest.starts_with('$') {
            return Some(Piece::Text(self.take(1)));
        }
        let Some((name, rest)) = reference(self.rest) else { return Some(Piece::Text(sign)) };
        self.rest = rest;
        Some(number(name).map_or(Piece::Name(name), Piece::Index))
    }
}

/// The name after a dollar, in braces or the longest run of word characters, and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (braced, text) = text.strip_prefix('{').map_or((false, text), |text| (true, text));
    let (name, rest) = text.split_at(text.find(|c| !unicode::is_word(c)).unwrap_or(text.len()));
    if name.is_empty() {
        return None;
    }
    Some((name, if braced { rest.strip_prefix('}')? } else { rest }))
}

/// A name that is a group's number: digits, no leading zero, not longer than Go reads.
fn number(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|b| b.is_ascii_digit()) && name.len() <= 9;
    if !plain || (name.len() > 1 && name.starts_with('0')) {
        return None;
    }
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_as_go_does() {
        use Piece::{Index, Name, Text};
        for (template, pieces) in [
            ("", vec![]),
            ("plain", vec![Text("plain")]),
            ("$1", vec![Index(1)]),
            ("$1x", vec![Name("1x")]),
            ("${1}x", vec![Index(1), Text("x")]),
            ("a$name-b", vec![Text("a"), Name("name"), Text("-b")]),
            ("$$1", vec![Text("$"), Text("1")]),
            ("$", vec![Text("$")]),
            ("a$-", vec![Text("a"), Text("$"), Text("-")]),
            ("${}", vec![Text("$"), Text("{}")]),
            ("${a", vec![Text("$"), Text("{a")]),
            ("${a b}", vec![Text("$"), Text("{a b}")]),
            ("$01", vec![Name("01")]),
            ("$0", vec![Index(0)]),
            ("$\u{e9}t\u{e9}.", vec![Name("\u{e9}t\u{e9}"), Text(".")]),
            ("$999999999", vec![Index(999_999_999)]),
            ("$1000000000", vec![Name("1000000000")]),
        ] {
            assert_eq!(Pieces::new(template).collect::<Vec<_>>(), pieces, "{template}");
        }
    }
}
