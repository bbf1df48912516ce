//! Go's regular expressions, the one place that compiles them.

mod expand;

use std::{fmt, sync::Arc};

use regex_automata::{Input, meta, util::primitives::NonMaxUsize};

use expand::{Piece, Pieces};

/// Why a regular expression was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegexError {
    /// Go's text: what is wrong, and the part of the expression.
    pub message: String,
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error parsing regexp: {}", self.message)
    }
}

impl std::error::Error for RegexError {}

/// A compiled Go regular expression. Linear time, bounded memory. Clones share the program.
#[derive(Clone)]
pub struct Regex(Arc<Inner>);

struct Inner {
    pattern: String,
    anchored: bool,
    program: meta::Regex,
    /// Names of the groups, by index; group 0 has none.
    names: Vec<Option<String>>,
}

/// What the groups of an expression matched. Up to seven groups it is made without an allocation.
#[derive(Clone, Debug)]
pub struct Captures(Slots);

type Slot = Option<NonMaxUsize>;
const INLINE: usize = 16;

#[derive(Clone, Debug)]
enum Slots {
    Inline([Slot; INLINE]),
    Heap(Vec<Slot>),
}

impl Captures {
    fn new(groups: usize) -> Self {
        let slots = groups * 2;
        Self(if slots <= INLINE {
            Slots::Inline([None; INLINE])
        } else {
            Slots::Heap(vec![None; slots])
        })
    }

    fn slots(&self) -> &[Slot] {
        match &self.0 {
            Slots::Inline(slots) => slots,
            Slots::Heap(slots) => slots,
        }
    }

    fn slots_mut(&mut self) -> &mut [Slot] {
        match &mut self.0 {
            Slots::Inline(slots) => slots,
            Slots::Heap(slots) => slots,
        }
    }

    /// Start and end of a group.
    fn span(&self, index: usize) -> Option<(usize, usize)> {
        let at = index.checked_mul(2)?;
        let &[start, end] = self.slots().get(at..at.checked_add(2)?)? else { return None };
        Some((start?.get(), end?.get()))
    }

    /// The text of group `index`, where group 0 is the whole match; `None` if it did not take part.
    #[must_use]
    pub fn group<'t>(&self, text: &'t str, index: usize) -> Option<&'t str> {
        let (start, end) = self.span(index)?;
        text.get(start..end)
    }
}

impl Regex {
    /// Compiles an expression that must match the whole text, dot matching newlines too:
    /// `^(?s:pattern)$`.
    ///
    /// # Errors
    /// Not a Go regular expression, or too large.
    pub fn anchored(pattern: &str) -> Result<Self, RegexError> {
        Self::compile(pattern, &format!("^(?s:{pattern})$"), true)
    }

    /// Compiles an expression that may match anywhere.
    ///
    /// # Errors
    /// As [`Regex::anchored`].
    pub fn unanchored(pattern: &str) -> Result<Self, RegexError> {
        Self::compile(pattern, pattern, false)
    }

    fn compile(pattern: &str, full: &str, anchored: bool) -> Result<Self, RegexError> {
        let program = meta::Regex::new(full).map_err(|e| RegexError { message: e.to_string() })?;
        let names =
            program.group_info().all_names().map(|(_, _, name)| name.map(str::to_owned)).collect();
        Ok(Self(Arc::new(Inner { pattern: pattern.to_owned(), anchored, program, names })))
    }

    /// The source, as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.0.pattern
    }

    /// Whether both are clones of one compilation.
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.0.program.is_match(text)
    }

    /// The groups of the first match.
    #[must_use]
    pub fn captures(&self, text: &str) -> Option<Captures> {
        self.captures_at(text, 0)
    }

    /// The groups of the first match at or after byte `start`.
    fn captures_at(&self, text: &str, start: usize) -> Option<Captures> {
        let mut captures = Captures::new(self.0.names.len());
        let input = Input::new(text).range(start..);
        self.0.program.search_slots(&input, captures.slots_mut()).map(|_| captures)
    }

    /// Appends `template` with `$1`, `${1}`, `$name` and `${name}` replaced by what the groups
    /// matched and `$$` by a dollar, as Go's `Regexp.Expand`. A name is the longest run of letters,
    /// digits and `_`; groups that do not exist or did not take part are empty.
    pub fn expand(&self, template: &str, text: &str, captures: &Captures, out: &mut String) {
        for piece in Pieces::new(template) {
            match piece {
                Piece::Text(plain) => out.push_str(plain),
                Piece::Index(index) => {
                    out.push_str(captures.group(text, index).unwrap_or_default());
                }
                Piece::Name(name) => {
                    let named = |(_, n): &(usize, &Option<String>)| n.as_deref() == Some(name);
                    let mut groups = self.0.names.iter().enumerate().filter(named);
                    // Of several groups with the name, the first that took part.
                    let matched = groups.find_map(|(index, _)| captures.group(text, index));
                    out.push_str(matched.unwrap_or_default());
                }
            }
        }
    }

    /// Replaces every match by `template`, expanded as [`Regex::expand`] does. An empty match right
    /// after another match is not replaced.
    #[must_use]
    pub fn replace_all(&self, text: &str, template: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let (mut search, mut copied) = (0, 0);
        while search <= text.len() {
            let Some(captures) = self.captures_at(text, search) else { break };
            let Some((start, end)) = captures.span(0) else { break };
            out.push_str(text.get(copied..start).unwrap_or_default());
            if end > copied || start == 0 {
                self.expand(template, text, &captures, &mut out);
            }
            copied = end;
            // Always go on by at least one character.
            let width = text.get(search..).and_then(|t| t.chars().next()).map_or(1, char::len_utf8);
            search = end.max(search + width);
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        out
    }

    /// All the texts that an anchored expression matches, where these are few: `a|b|c[de]`.
    #[must_use]
    pub fn literals(&self) -> Option<&[String]> {
        None
    }

    /// A literal that every match of an anchored expression begins with; empty where unknown.
    #[must_use]
    pub fn prefix(&self) -> &str {
        ""
    }
}

/// Equal sources, compiled the same way.
impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other)
            || (&self.0.pattern, self.0.anchored) == (&other.0.pattern, other.0.anchored)
    }
}

impl Eq for Regex {}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.pattern())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_go_does() {
        let regex = Regex::unanchored(r"(?P<key>\w+):\s*(?P<value>\w+)(x)?").unwrap();
        let text = "  name: Ann!";
        let captures = regex.captures(text).unwrap();
        for (template, expected) in [
            ("$key=$value", "name=Ann"),
            ("${key}s $1s ${1}s", "names  names"),
            ("$0|$2|$3|$4|$nope", "name: Ann|Ann|||"),
            ("$$1 $ ${ ${key", "$1 $ ${ ${key"),
        ] {
            let mut out = String::new();
            regex.expand(template, text, &captures, &mut out);
            assert_eq!(out, expected, "{template}");
        }
    }

    #[test]
    fn replaces_as_go_does() {
        // Rows: expression, template, text, result; from what Go's documentation promises.
        for (pattern, template, text, expected) in [
            ("a*", "x", "", "x"),
            ("a*", "x", "abcd", "xbxcxdx"),
            ("a*", "x", "baaau", "xbxux"),
            ("[a-c]*", "x", "def", "xdxexfx"),
            ("b|^", "x", "abb", "xaxx"),
            ("^", "x", "ab", "xab"),
            ("$", "x", "ab", "abx"),
            ("", "-", "\u{65e5}\u{672c}", "-\u{65e5}-\u{672c}-"),
            ("(.)(.)", "$2$1", "abcde", "badce"),
            ("x", "y", "abc", "abc"),
        ] {
            let regex = Regex::unanchored(pattern).unwrap();
            assert_eq!(regex.replace_all(text, template), expected, "{pattern} on {text}");
        }
        let regex = Regex::anchored("__meta_(.*)").unwrap();
        assert_eq!(regex.replace_all("__meta_a", "l_$1"), "l_a");
        assert_eq!(regex.replace_all("meta_a", "l_$1"), "meta_a");
    }
}
