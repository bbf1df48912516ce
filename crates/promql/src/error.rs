//! Errors.

use std::fmt;

use crate::ast::Span;

/// Why a text is not a query, and where. Prints as Prometheus does: `1:5: parse error: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The part of the query that is wrong.
    pub span: Span,
    /// Line of the beginning of `span`, from 1; 0 if the query is empty.
    pub line: usize,
    /// Column of the beginning of `span` in bytes, from 1; 0 if the query is empty.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(query: &str, span: Span, message: impl Into<String>) -> Self {
        let (line, column) = if query.is_empty() { (0, 0) } else { span.line_column(query) };
        Self { span, line, column, message: message.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "unknown position: parse error: {}", self.message);
        }
        write!(f, "{}:{}: parse error: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// All that is wrong with a query, at least one error, in the order they were found. Prints the
/// first, as Prometheus does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors(pub Vec<ParseError>);

impl ParseErrors {
    /// The first error.
    #[must_use]
    pub fn first(&self) -> Option<&ParseError> {
        self.0.first()
    }
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.first().map_or(Ok(()), |error| error.fmt(f))
    }
}

impl std::error::Error for ParseErrors {}
