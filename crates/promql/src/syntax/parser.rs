//! What all parts of the parser share: the tokens with one of lookahead, errors, entry points.
//!
//! The grammar and the texts of errors are those of Prometheus'
//! `promql/parser/generated_parser.y`. The first error ends parsing: it is the one that Prometheus
//! shows. Where an error happens decides which construct its text names, as the error rules of that
//! grammar do; types are checked when the whole text has been read.

use firesteel_model::{Labels, Matcher};

use super::{
    check::check,
    lexer::Lexer,
    token::{Tok, Token},
};
use crate::{
    ParseError, ParseErrors, ParserOptions,
    ast::{Expr, Span, StringLiteral},
    go,
};

/// Parses and type-checks an expression. Linear in the length of the text, does not recurse.
///
/// ```
/// use firesteel_promql::{ParserOptions, parse};
///
/// let expr = parse("sum by (job) (rate(http_requests_total[5m]))", &ParserOptions::default())?;
/// assert_eq!(expr.to_string(), "sum by (job) (rate(http_requests_total[5m]))");
///
/// let errors = parse("sum(foo bar)", &ParserOptions::default()).unwrap_err();
/// assert_eq!(errors.to_string(), "1:9: parse error: unexpected identifier \"bar\" in aggregation");
/// # Ok::<(), firesteel_promql::ParseErrors>(())
/// ```
///
/// # Errors
/// The text is not a query; the errors are Prometheus'. Limits of `options` are errors of our own.
pub fn parse(query: &str, options: &ParserOptions) -> Result<Expr, ParseErrors> {
    let mut expr = Parser::new(query, options)
        .and_then(|mut parser| parser.whole_expression())
        .map_err(|error| ParseErrors(vec![error]))?;
    let errors = check(query, &mut expr);
    if errors.is_empty() { Ok(expr) } else { Err(ParseErrors(errors)) }
}

/// Parses a selector such as `up{job="node"}` and returns its matchers, that of the name last.
/// Unlike in an expression, they may all match the empty string.
///
/// # Errors
/// The text is not a selector.
pub fn parse_metric_selector(text: &str) -> Result<Vec<Matcher>, ParseErrors> {
    Parser::new(text, &ParserOptions::default())
        .and_then(|mut parser| {
            let selector = parser.selector()?;
            parser.expect_end()?;
            Ok(selector.matchers)
        })
        .map_err(|error| ParseErrors(vec![error]))
}

/// Parses a metric such as `up{job="node"}`.
///
/// # Errors
/// The text is not a metric.
pub fn parse_metric(text: &str) -> Result<Labels, ParseErrors> {
    Parser::new(text, &ParserOptions::default())
        .and_then(|mut parser| {
            let labels = parser.metric()?;
            parser.expect_end()?;
            Ok(labels)
        })
        .map_err(|error| ParseErrors(vec![error]))
}

pub(super) type Parsed<T> = Result<T, ParseError>;

#[derive(Debug)]
pub(super) struct Parser<'a> {
    pub(super) query: &'a str,
    pub(super) options: &'a ParserOptions,
    lexer: Lexer<'a>,
    peeked: Option<Token>,
    /// How many aggregations are being read: they are what an error is said to be in.
    pub(super) open_aggregations: usize,
}

impl<'a> Parser<'a> {
    fn new(query: &'a str, options: &'a ParserOptions) -> Parsed<Self> {
        let limit = options.max_length.min(u32::MAX as usize - 1);
        if query.len() > limit {
            let message = format!("query is too long: {} bytes, limit {limit}", query.len());
            return Err(ParseError::new(query, Span::default(), message));
        }
        let lexer = Lexer::new(query);
        Ok(Self { query, options, lexer, peeked: None, open_aggregations: 0 })
    }

    fn whole_expression(&mut self) -> Parsed<Expr> {
        if self.peek()? == Tok::Eof {
            return self.error(Span::default(), "no expression found in input");
        }
        self.expression()
    }

    fn expect_end(&mut self) -> Parsed<()> {
        let token = self.next()?;
        if token.tok == Tok::Eof { Ok(()) } else { Err(self.unexpected(token)) }
    }

    /// The next token, which stays.
    pub(super) fn peek(&mut self) -> Parsed<Tok> {
        Ok(self.peek_token()?.tok)
    }

    /// The next token, which stays.
    pub(super) fn peek_token(&mut self) -> Parsed<Token> {
        if let Some(token) = self.peeked {
            return Ok(token);
        }
        let token = self.lexer.next_token().map_err(|e| {
            let span = Span::new(e.start as u32, self.query.len() as u32);
            ParseError::new(self.query, span, e.message)
        })?;
        self.peeked = Some(token);
        Ok(token)
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Parsed<Token> {
        let token = self.peek_token()?;
        self.peeked = None;
        Ok(token)
    }

    /// Makes `token`, the one just taken, the next one again.
    pub(super) const fn put_back(&mut self, token: Token) {
        self.peeked = Some(token);
    }

    /// Takes the next token if it is `tok`.
    pub(super) fn accept(&mut self, tok: Tok) -> Parsed<Option<Token>> {
        if self.peek()? == tok { self.next().map(Some) } else { Ok(None) }
    }

    pub(super) fn text(&self, token: Token) -> &'a str {
        token.text(self.query)
    }

    pub(super) fn unquote(&self, token: Token) -> Parsed<String> {
        self.string_literal(token).map(|literal| literal.value)
    }

    pub(super) fn string_literal(&self, token: Token) -> Parsed<StringLiteral> {
        let text = self.text(token);
        let Some(bytes) = go::unquote_bytes(text) else {
            let message = format!("error unquoting string {}: invalid syntax", go::quote(text));
            return self.error(token.span, message);
        };
        let (value, bytes) = match String::from_utf8(bytes) {
            Ok(value) => (value, None),
            Err(e) => {
                let bytes = e.into_bytes();
                (String::from_utf8_lossy(&bytes).into_owned(), Some(bytes.into()))
            }
        };
        Ok(StringLiteral { value, bytes, span: token.span })
    }

    pub(super) fn error<T>(&self, span: Span, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError::new(self.query, span, message))
    }

    /// The error that `token` is out of place in an expression.
    pub(super) fn unexpected(&self, token: Token) -> ParseError {
        let context = if self.open_aggregations > 0 { " in aggregation" } else { "" };
        let message = format!("unexpected {}{context}", token.describe(self.query));
        ParseError::new(self.query, token.span, message)
    }

    /// The error that `token` is out of place in `context`, where `expected` should be.
    pub(super) fn unexpected_in(&self, token: Token, context: &str, expected: &str) -> ParseError {
        let token_text = token.describe(self.query);
        let message = format!("unexpected {token_text} in {context}, expected {expected}");
        ParseError::new(self.query, token.span, message)
    }
}
