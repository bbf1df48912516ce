//! Label matchers.

use std::{fmt, sync::Arc};

use crate::regex::{Regex, RegexError};

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }

    /// Whether the operator is `!=` or `!~`.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotRegex)
    }
}

/// Why a matcher could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MatcherError {
    /// The regular expression does not compile.
    Regex(RegexError),
}

impl fmt::Display for MatcherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Regex(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for MatcherError {}

impl From<RegexError> for MatcherError {
    fn from(e: RegexError) -> Self {
        Self::Regex(e)
    }
}

/// A condition on one label. A label that a series does not have counts as the empty string.
/// Regular expressions are Go's (RE2) and match the whole value: `^(?s:...)$`.
#[derive(Clone)]
pub struct Matcher {
    name: Arc<str>,
    op: MatchOp,
    value: Arc<str>,
    regex: Option<Arc<Regex>>,
}

impl Matcher {
    /// Makes a matcher; `value` is a regular expression for `=~` and `!~`.
    ///
    /// # Errors
    /// The regular expression does not compile as a Go regular expression, or is too large.
    pub fn new(op: MatchOp, name: &str, value: &str) -> Result<Self, MatcherError> {
        let regex = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(Regex::anchored(value)?)),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Self { name: name.into(), op, value: value.into(), regex })
    }

    /// `name = value`.
    #[must_use]
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// `name != value`.
    #[must_use]
    pub fn not_equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), op: MatchOp::NotEqual, value: value.into(), regex: None }
    }

    /// The label's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    #[must_use]
    pub const fn op(&self) -> MatchOp {
        self.op
    }

    /// The text to compare with: a value, or the source of a regular expression.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The compiled regular expression of `=~` and `!~`.
    #[must_use]
    pub fn regex(&self) -> Option<&Regex> {
        self.regex.as_deref()
    }

    /// Whether a label with this value satisfies the matcher.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let positive = match &self.regex {
            Some(regex) => regex.is_match(value),
            None => &*self.value == value,
        };
        positive != self.op.is_negative()
    }

    /// Whether a series without the label satisfies the matcher.
    #[must_use]
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.op, &self.name, &self.value) == (other.op, &other.name, &other.value)
    }
}

impl Eq for Matcher {}

impl std::hash::Hash for Matcher {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.op, &self.name, &self.value).hash(state);
    }
}

/// As PromQL writes it: `name=~"value"`.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = crate::float::go_quote(&self.value);
        if crate::is_legacy_label_name(&self.name) {
            write!(f, "{}{}{value}", self.name, self.op.as_str())
        } else {
            write!(f, "{}{}{value}", crate::float::go_quote(&self.name), self.op.as_str())
        }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regexes_are_anchored_and_dot_matches_newline() {
        let m = Matcher::new(MatchOp::Regex, "a", "b.*|c").unwrap();
        assert!(m.matches("b\nx") && m.matches("c") && !m.matches("xc") && !m.matches_empty());
        let m = Matcher::new(MatchOp::NotRegex, "a", "b.*|c").unwrap();
        assert!(!m.matches("bx") && m.matches_empty());
        assert_eq!(m.to_string(), r#"a!~"b.*|c""#);
    }
}
