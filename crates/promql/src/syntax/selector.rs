//! Selectors and metrics.

use firesteel_model::{Labels, METRIC_NAME, MatchOp, Matcher};

use super::{
    parser::{Parsed, Parser},
    token::{Tok, Token},
};
use crate::ast::{BinaryOp, DurationValue, VectorSelector};

impl Parser<'_> {
    /// `name`, `name{...}` or `{...}`.
    pub(super) fn selector(&mut self) -> Parsed<VectorSelector> {
        let token = self.next()?;
        match token.tok {
            Tok::LeftBrace => self.selector_in_braces(token),
            tok if tok.is_metric_name() => self.selector_after_name(token),
            _ => Err(self.unexpected(token)),
        }
    }

    /// The rest of a selector the name of which has been read.
    pub(super) fn selector_after_name(&mut self, name: Token) -> Parsed<VectorSelector> {
        let text = self.text(name);
        let mut selector = match self.accept(Tok::LeftBrace)? {
            Some(brace) => self.selector_in_braces(brace)?,
            None => new_selector(Vec::new(), name),
        };
        selector.span = name.span.to(selector.span);
        selector.matchers.push(Matcher::equal(METRIC_NAME, text));
        selector.name = Some(text.to_owned());
        Ok(selector)
    }

    fn selector_in_braces(&mut self, brace: Token) -> Parsed<VectorSelector> {
        let mut matchers = Vec::new();
        if let Some(end) = self.accept(Tok::RightBrace)? {
            let mut selector = new_selector(matchers, brace);
            selector.span = brace.span.to(end.span);
            return Ok(selector);
        }
        loop {
            matchers.push(self.matcher()?);
            let mut token = self.next()?;
            if token.tok == Tok::Comma {
                let Some(end) = self.accept(Tok::RightBrace)? else { continue };
                token = end;
            }
            if token.tok != Tok::RightBrace {
                return Err(self.unexpected_in(token, "label matching", r#""," or "}""#));
            }
            let mut selector = new_selector(matchers, brace);
            selector.span = brace.span.to(token.span);
            return Ok(selector);
        }
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        const CONTEXT: &str = "label matching";
        let label = self.next()?;
        let name = match label.tok {
            Tok::Identifier => self.text(label).to_owned(),
            Tok::String => self.unquote(label)?,
            _ => return Err(self.unexpected_in(label, CONTEXT, r#"identifier or "}""#)),
        };
        let op = match self.peek()? {
            Tok::Eql => MatchOp::Equal,
            Tok::Op(BinaryOp::Ne) => MatchOp::NotEqual,
            Tok::EqlRegex => MatchOp::Regex,
            Tok::NeqRegex => MatchOp::NotRegex,
            _ if label.tok == Tok::String => return Ok(Matcher::equal(METRIC_NAME, &name)),
            _ => {
                let token = self.peek_token()?;
                return Err(self.unexpected_in(token, CONTEXT, "label matching operator"));
            }
        };
        self.next()?;
        let value = self.next()?;
        if value.tok != Tok::String {
            return Err(self.unexpected_in(value, CONTEXT, "string"));
        }
        let text = self.unquote(value)?;
        Matcher::new(op, &name, &text)
            .or_else(|e| self.error(label.span.to(value.span), e.to_string()))
    }

    /// `name`, `name{...}` or `{...}`, where the braces hold values, not conditions.
    pub(super) fn metric(&mut self) -> Parsed<Labels> {
        let mut labels = Vec::new();
        let mut name = None;
        if self.peek()?.is_metric_name() {
            let token = self.next()?;
            name = Some(self.text(token).to_owned());
        }
        if self.accept(Tok::LeftBrace)?.is_some() && self.accept(Tok::RightBrace)?.is_none() {
            loop {
                labels.push(self.label()?);
                let mut token = self.next()?;
                if token.tok == Tok::Comma {
                    let Some(end) = self.accept(Tok::RightBrace)? else { continue };
                    token = end;
                }
                if token.tok != Tok::RightBrace {
                    return Err(self.unexpected_in(token, "label set", r#""," or "}""#));
                }
                break;
            }
        }
        labels.extend(name.map(|name| (METRIC_NAME.to_owned(), name)));
        Ok(Labels::from_pairs(labels))
    }

    fn label(&mut self) -> Parsed<(String, String)> {
        const CONTEXT: &str = "label set";
        let label = self.next()?;
        let name = match label.tok {
            Tok::Identifier => self.text(label).to_owned(),
            Tok::String => self.unquote(label)?,
            _ => return Err(self.unexpected_in(label, CONTEXT, r#"identifier or "}""#)),
        };
        if self.accept(Tok::Eql)?.is_none() {
            if label.tok == Tok::String {
                return Ok((METRIC_NAME.to_owned(), name));
            }
            let token = self.peek_token()?;
            return Err(self.unexpected_in(token, CONTEXT, r#""=""#));
        }
        let value = self.next()?;
        if value.tok != Tok::String {
            return Err(self.unexpected_in(value, CONTEXT, "string"));
        }
        Ok((name, self.unquote(value)?))
    }
}

fn new_selector(matchers: Vec<Matcher>, token: Token) -> VectorSelector {
    VectorSelector {
        name: None,
        matchers,
        offset: DurationValue::ZERO,
        at: None,
        anchored: false,
        smoothed: false,
        is_info_selector: false,
        span: token.span,
    }
}
