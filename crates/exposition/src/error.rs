//! Errors, with the place where a page is wrong.

use std::{error, fmt};

use crate::lex::{State, Token};

/// What can be wrong with a page or with its description.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The page breaks the rules of its format.
    Syntax(Box<SyntaxError>),
    /// The `Content-Type` names no format that can be read; the text is Prometheus'.
    ContentType(String),
    /// A series has a label twice.
    DuplicateLabel(String),
    /// A protobuf page is damaged or says what it must not.
    Protobuf {
        /// Where, in bytes from the start of the page: the fault or the family that has it.
        offset: usize,
        /// What is wrong, in Prometheus' words where it has some.
        message: String,
    },
}

/// Where a page is wrong and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Offset of the offending token from the start of the page, bytes.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in bytes, from 1.
    pub column: usize,
    /// What was expected and what was found, in Prometheus' words; long excerpts are cut.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(e) => f.write_str(&e.message),
            Self::ContentType(message) | Self::Protobuf { message, .. } => f.write_str(message),
            Self::DuplicateLabel(name) => {
                write!(f, "label name {} is not unique: invalid sample", quote(name.as_bytes()))
            }
        }
    }
}

impl error::Error for Error {}

impl Error {
    /// The place of a syntax error.
    #[must_use]
    pub fn syntax(&self) -> Option<&SyntaxError> {
        match self {
            Self::Syntax(e) => Some(e),
            _ => None,
        }
    }

    pub(crate) fn at(page: &[u8], offset: usize, message: String) -> Self {
        let offset = offset.min(page.len());
        let before = page.get(..offset).unwrap_or_default();
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |i| i + 1);
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let column = offset - line_start + 1;
        Self::Syntax(Box::new(SyntaxError { offset, line, column, message }))
    }
}

/// The place of a parser in a page, from which error texts are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) page: &'a [u8],
    /// Start of the entry.
    pub(crate) entry: usize,
    /// Prometheus' text parser appends a line feed to the page before it reads it.
    pub(crate) line_feed_at_end: bool,
}

impl Place<'_> {
    fn excerpt(&self, from: usize, to: usize) -> String {
        let len = self.page.len();
        let mut text = self.page.get(from.min(len)..to.min(len)).unwrap_or_default().to_vec();
        if self.line_feed_at_end && from <= len && to > len {
            text.push(b'\n');
        }
        quote(&text)
    }

    /// `<what>, got "<token>" ("<kind>") while parsing: "<entry>"`.
    pub(crate) fn unexpected(&self, what: &str, state: State, start: usize) -> Error {
        self.unexpected_after(what, state, start, start)
    }

    /// As [`Self::unexpected`]; at the end of the page the token before it is shown.
    pub(crate) fn unexpected_after(
        &self,
        what: &str,
        state: State,
        start: usize,
        before: usize,
    ) -> Error {
        let (token, end) = state.lex(self.page, start, self.line_feed_at_end);
        let shown = if token == Token::Eof { before } else { start };
        let message = format!(
            "{what}, got {} ({}) while parsing: {}",
            self.excerpt(shown, end + 1),
            quote(token.name().as_bytes()),
            self.excerpt(self.entry, end + 1),
        );
        Error::at(self.page, start, message)
    }

    /// `<what> while parsing: "<entry up to end>"`.
    pub(crate) fn failed(&self, what: &str, start: usize, end: usize) -> Error {
        let message = format!("{what} while parsing: {}", self.excerpt(self.entry, end));
        Error::at(self.page, start, message)
    }

    pub(crate) fn plain(&self, message: impl Into<String>, start: usize) -> Error {
        Error::at(self.page, start, message.into())
    }
}

/// Excerpts longer than this are cut in the middle.
const MAX_EXCERPT: usize = 320;

/// Quotes bytes as Go's `%q`, invalid UTF-8 as `\xff`; cuts long text in the middle.
pub(crate) fn quote(bytes: &[u8]) -> String {
    if bytes.len() > MAX_EXCERPT {
        let (head, tail) =
            (bytes.get(..MAX_EXCERPT / 2), bytes.get(bytes.len() - MAX_EXCERPT / 4..));
        let head = quote_whole(head.unwrap_or_default());
        let tail = quote_whole(tail.unwrap_or_default());
        return format!("{}...{}", head.trim_end_matches('"'), tail.trim_start_matches('"'));
    }
    quote_whole(bytes)
}

fn quote_whole(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        let quoted = firesteel_model::float::go_quote(chunk.valid());
        out.push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}
