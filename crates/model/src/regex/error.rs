//! Why a regular expression was refused.

use std::fmt;

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

/// What can be wrong, named as in Go's `regexp/syntax`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    CharRange,
    Escape,
    NamedCapture,
    PerlOp,
    RepeatOp,
    RepeatSize,
    MissingBracket,
    MissingParen,
    MissingRepeatArgument,
    TrailingBackslash,
    UnexpectedParen,
    NestingDepth,
    Large,
}

impl Code {
    const fn text(self) -> &'static str {
        match self {
            Self::CharRange => "invalid character class range",
            Self::Escape => "invalid escape sequence",
            Self::NamedCapture => "invalid named capture",
            Self::PerlOp => "invalid or unsupported Perl syntax",
            Self::RepeatOp => "invalid nested repetition operator",
            Self::RepeatSize => "invalid repeat count",
            Self::MissingBracket => "missing closing ]",
            Self::MissingParen => "missing closing )",
            Self::MissingRepeatArgument => "missing argument to repetition operator",
            Self::TrailingBackslash => "trailing backslash at end of expression",
            Self::UnexpectedParen => "unexpected )",
            Self::NestingDepth => "expression nests too deeply",
            Self::Large => "expression too large",
        }
    }

    /// The error, about this part of the expression.
    pub(super) fn at(self, part: &str) -> RegexError {
        RegexError { message: format!("{}: `{part}`", self.text()) }
    }
}
