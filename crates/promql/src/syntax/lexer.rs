//! From text to tokens. Context matters: words within braces are no keywords, a colon is part of a
//! name outside brackets and separates within them. Source: Prometheus `promql/parser/lex.go`.

use super::token::{Tok, Token};
use crate::{
    ast::{BinaryOp, Span},
    go,
};

/// Why a text cannot be cut into tokens.
#[derive(Debug)]
pub(super) struct LexError {
    pub(super) start: usize,
    pub(super) message: String,
}

type Lexed = Result<Tok, LexError>;

#[derive(Debug)]
pub(super) struct Lexer<'a> {
    input: &'a str,
    pos: usize,
    start: usize,
    paren_depth: usize,
    brace_open: bool,
    bracket_open: bool,
    /// Directly after `[`, before the first number.
    in_duration: bool,
    got_colon: bool,
    got_duration: bool,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(input: &'a str) -> Self {
        Self {
            input,
            pos: 0,
            start: 0,
            paren_depth: 0,
            brace_open: false,
            bracket_open: false,
            in_duration: false,
            got_colon: false,
            got_duration: false,
        }
    }

    /// The next token; [`Tok::Eof`] at the end, again and again.
    pub(super) fn next_token(&mut self) -> Result<Token, LexError> {
        self.skip_blanks();
        self.start = self.pos;
        let tok = if self.brace_open {
            self.inside_braces()?
        } else if self.in_duration {
            self.duration_expression()?
        } else {
            self.statement()?
        };
        Ok(Token { tok, span: Span::new(self.start as u32, self.pos as u32) })
    }

    fn skip_blanks(&mut self) {
        loop {
            self.accept_run(is_space);
            if self.in_duration && !self.brace_open || self.peek_byte() != Some(b'#') {
                return;
            }
            self.accept_run(|b| !matches!(b, b'\n' | b'\r'));
        }
    }

    fn statement(&mut self) -> Lexed {
        let Some(c) = self.next_char() else {
            return if self.paren_depth != 0 {
                self.error("unclosed left parenthesis")
            } else if self.bracket_open {
                self.error("unclosed left bracket")
            } else {
                Ok(Tok::Eof)
            };
        };
        Ok(match c {
            ',' => Tok::Comma,
            '*' => Tok::Op(BinaryOp::Mul),
            '/' => Tok::Op(BinaryOp::Div),
            '%' => Tok::Op(BinaryOp::Mod),
            '+' => Tok::Op(BinaryOp::Add),
            '-' => Tok::Op(BinaryOp::Sub),
            '^' => Tok::Op(BinaryOp::Pow),
            '=' if self.accept(b'=') => Tok::Op(BinaryOp::Eq),
            '=' if self.peek_byte() == Some(b'~') => {
                return self.error("unexpected character after '=': '~'");
            }
            '=' => Tok::Eql,
            '!' if self.accept(b'=') => Tok::Op(BinaryOp::Ne),
            '!' => {
                let after = self.next_char();
                return self
                    .error(format!("unexpected character after '!': {}", go::quote_char(after)));
            }
            '<' if self.accept(b'=') => Tok::Op(BinaryOp::Le),
            '<' if self.accept(b'/') => Tok::Op(BinaryOp::TrimUpper),
            '<' => Tok::Op(BinaryOp::Lt),
            '>' if self.accept(b'=') => Tok::Op(BinaryOp::Ge),
            '>' if self.accept(b'/') => Tok::Op(BinaryOp::TrimLower),
            '>' => Tok::Op(BinaryOp::Gt),
            '@' => Tok::At,
            '0'..='9' => return self.number_or_duration(),
            '.' if self.peek_byte().is_some_and(|b| b.is_ascii_digit()) => {
                return self.number_or_duration();
            }
            '"' | '\'' => return self.string(c),
            '`' => return self.raw_string(),
            'a'..='z' | 'A'..='Z' | '_' | ':' if !self.bracket_open => self.word(),
            ':' if self.got_colon => return self.error("unexpected colon ':'"),
            ':' => {
                self.got_colon = true;
                Tok::Colon
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let Some(tok) = self.duration_keyword(c) else {
                    let c = go::quote_char(Some(c));
                    return self.error(format!("unexpected character: {c}, expected ':'"));
                };
                tok
            }
            '(' => self.open_paren(),
            ')' => return self.close_paren(),
            '{' => {
                self.brace_open = true;
                Tok::LeftBrace
            }
            '[' if self.bracket_open => return self.error("unexpected left bracket '['"),
            '[' => {
                self.got_colon = false;
                self.bracket_open = true;
                self.in_duration = true;
                Tok::LeftBracket
            }
            ']' if !self.bracket_open => return self.error("unexpected right bracket ']'"),
            ']' => {
                self.bracket_open = false;
                Tok::RightBracket
            }
            c => {
                return self.error(format!("unexpected character: {}", go::quote_char(Some(c))));
            }
        })
    }

    fn inside_braces(&mut self) -> Lexed {
        let Some(c) = self.next_char() else {
            return self.error("unexpected end of input inside braces");
        };
        Ok(match c {
            'a'..='z' | 'A'..='Z' | '_' => {
                self.accept_run(is_alphanumeric);
                Tok::Identifier
            }
            ',' => Tok::Comma,
            '"' | '\'' => return self.string(c),
            '`' => return self.raw_string(),
            '=' if self.accept(b'~') => Tok::EqlRegex,
            '=' => Tok::Eql,
            '!' if self.accept(b'~') => Tok::NeqRegex,
            '!' if self.accept(b'=') => Tok::Op(BinaryOp::Ne),
            '!' => {
                let after = go::quote_char(self.next_char());
                return self
                    .error(format!("unexpected character after '!' inside braces: {after}"));
            }
            '{' => return self.error("unexpected left brace '{'"),
            '}' => {
                self.brace_open = false;
                Tok::RightBrace
            }
            c => {
                let c = go::quote_char(Some(c));
                return self.error(format!("unexpected character inside braces: {c}"));
            }
        })
    }

    /// Directly after `[`, until the first number.
    fn duration_expression(&mut self) -> Lexed {
        let Some(c) = self.next_char() else {
            return self.error("unexpected end of input in duration expression");
        };
        Ok(match c {
            ']' => {
                self.bracket_open = false;
                self.got_colon = false;
                self.in_duration = false;
                Tok::RightBracket
            }
            ':' => {
                self.start = self.pos;
                if !self.got_duration {
                    return self.error("unexpected colon before duration in duration expression");
                }
                if self.got_colon {
                    return self.error("unexpected repeated colon in duration expression");
                }
                self.start -= 1;
                self.got_colon = true;
                Tok::Colon
            }
            '(' => self.open_paren(),
            ')' => return self.close_paren(),
            '+' => Tok::Op(BinaryOp::Add),
            '-' => Tok::Op(BinaryOp::Sub),
            '*' => Tok::Op(BinaryOp::Mul),
            '/' => Tok::Op(BinaryOp::Div),
            '%' => Tok::Op(BinaryOp::Mod),
            '^' => Tok::Op(BinaryOp::Pow),
            ',' => Tok::Comma,
            '0'..='9' => {
                self.got_duration = true;
                return self.number_or_duration();
            }
            '.' if self.peek_byte().is_some_and(|b| b.is_ascii_digit()) => {
                self.got_duration = true;
                return self.number_or_duration();
            }
            c => {
                let Some(tok) = self.duration_keyword(c) else {
                    let c = go::quote_char(Some(c));
                    return self.error(format!("unexpected character in duration expression: {c}"));
                };
                tok
            }
        })
    }

    const fn open_paren(&mut self) -> Tok {
        self.paren_depth += 1;
        Tok::LeftParen
    }

    fn close_paren(&mut self) -> Lexed {
        if self.paren_depth == 0 {
            // The position is behind the parenthesis, as in Prometheus.
            self.start = self.pos;
            return self.error("unexpected right parenthesis ')'");
        }
        self.paren_depth -= 1;
        Ok(Tok::RightParen)
    }

    /// `step`, `range`, `max_of` or `min_of`, the first character of which has been read.
    fn duration_keyword(&mut self, first: char) -> Option<Tok> {
        if !matches!(first.to_ascii_lowercase(), 's' | 'r' | 'm') {
            return None;
        }
        self.accept_run(|b| b == b'_' || b.is_ascii_alphabetic());
        Tok::keyword(self.input.get(self.start..self.pos)?)
            .filter(|tok| matches!(tok, Tok::Step | Tok::Range | Tok::MaxOf | Tok::MinOf))
    }

    fn word(&mut self) -> Tok {
        self.accept_run(|b| b == b':' || is_alphanumeric(b));
        let word = self.input.get(self.start..self.pos).unwrap_or_default();
        match Tok::keyword(word) {
            // As names these are older than as keywords.
            Some(Tok::Fill | Tok::FillLeft | Tok::FillRight) if !self.before_paren() => {
                Tok::Identifier
            }
            Some(keyword) => keyword,
            None if word.contains(':') => Tok::MetricIdentifier,
            None => Tok::Identifier,
        }
    }

    fn before_paren(&self) -> bool {
        let rest = self.input.as_bytes().get(self.pos..).unwrap_or_default();
        rest.iter().find(|b| !is_space(**b)) == Some(&b'(')
    }

    fn number_or_duration(&mut self) -> Lexed {
        self.pos = self.start;
        self.in_duration = false;
        if self.number() {
            return Ok(Tok::Number);
        }
        if self.rest_of_duration() {
            return Ok(Tok::Duration);
        }
        let text = self.input.get(self.start..self.pos).unwrap_or_default();
        self.error(format!("bad number or duration syntax: {}", go::quote(text)))
    }

    /// Whether the text behind the digits that [`Lexer::number`] read makes them a duration. Bad
    /// units like `hs` are found when the value is read.
    fn rest_of_duration(&mut self) -> bool {
        if !self.accept_any(b"smhdwy") {
            return false;
        }
        self.accept(b's');
        while self.peek_byte().is_some_and(|b| b.is_ascii_digit()) {
            self.accept_run(|b| b.is_ascii_digit());
            if !self.accept_any(b"smhdw") {
                return false;
            }
            self.accept(b's');
        }
        if self.peek_byte().is_some_and(is_alphanumeric) {
            self.pos += 1;
            return false;
        }
        true
    }

    /// Reads what looks like a number; where it fails, what it read stays read.
    fn number(&mut self) -> bool {
        let initial = self.pos;
        let mut is_digit: fn(&u8) -> bool = u8::is_ascii_digit;
        let mut hex = false;
        if self.accept(b'0') && self.accept_any(b"xX") {
            self.accept(b'_');
            is_digit = u8::is_ascii_hexdigit;
            hex = true;
        }
        let digit = |lexer: &Self| lexer.peek_byte().filter(is_digit).is_some();
        // A leading dot does not count: `.5.5` is refused when its value is read.
        self.accept(b'.');
        let (mut dot, mut exponent) = (false, false);
        if digit(self) {
            self.pos += 1;
        }
        while let Some(b) = self.peek_byte() {
            let is_exponent = matches!(b, b'e' | b'E');
            if !(is_digit(&b) || matches!(b, b'.' | b'_') || is_exponent) {
                break;
            }
            if b == b'.' && dot || is_exponent && exponent {
                self.pos += 1;
                return false;
            }
            if self.accept(b'.') {
                dot = true;
                if self.accept_any(b"_.") || hex {
                    return false;
                }
            } else if self.accept_any(b"eE") {
                exponent = true;
                self.accept_any(b"+-");
                if self.accept_any(b"._eE") || self.peek_byte().is_none() {
                    return false;
                }
            } else if self.accept(b'_') {
                if self.accept_any(b"._eE") || self.peek_byte().is_none() {
                    return false;
                }
            } else {
                while digit(self) {
                    self.pos += 1;
                }
            }
        }
        self.pos != initial && !self.peek_byte().is_some_and(is_alphanumeric)
    }

    fn string(&mut self, quote: char) -> Lexed {
        loop {
            match self.next_char() {
                None | Some('\n') => return self.error("unterminated quoted string"),
                Some('\\') => self.escape(quote)?,
                Some('\u{fffd}') => return self.error("invalid UTF-8 rune"),
                Some(c) if c == quote => return Ok(Tok::String),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Lexed {
        loop {
            match self.next_char() {
                None => return self.error("unterminated raw string"),
                Some('\u{fffd}') => return self.error("invalid UTF-8 rune"),
                Some('`') => return Ok(Tok::String),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<(), LexError> {
        let unterminated = "escape sequence not terminated";
        let Some(first) = self.next_char() else { return self.error(unterminated) };
        let (digits, base, max, mut next) = match first {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            '0'..='7' => (3, 8, 255, Some(first)),
            'x' => (2, 16, 255, self.next_char()),
            'u' => (4, 16, 0x10_ffff, self.next_char()),
            'U' => (8, 16, 0x10_ffff, self.next_char()),
            c => return self.error(format!("unknown escape sequence {}", go::code_point(c))),
        };
        let mut value: u32 = 0;
        for i in 0..digits {
            if i > 0 {
                next = self.next_char();
            }
            let Some(c) = next else { return self.error(unterminated) };
            let Some(digit) = c.to_digit(base) else {
                let c = go::code_point(c);
                return self.error(format!("illegal character {c} in escape sequence"));
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return self.error("escape sequence is an invalid Unicode code point");
        }
        Ok(())
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, LexError> {
        Err(LexError { start: self.start, message: message.into() })
    }

    fn peek_byte(&self) -> Option<u8> {
        self.input.as_bytes().get(self.pos).copied()
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.input.get(self.pos..)?.chars().next()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, byte: u8) -> bool {
        let accepted = self.peek_byte() == Some(byte);
        self.pos += usize::from(accepted);
        accepted
    }

    fn accept_any(&mut self, bytes: &[u8]) -> bool {
        let accepted = self.peek_byte().is_some_and(|b| bytes.contains(&b));
        self.pos += usize::from(accepted);
        accepted
    }

    fn accept_run(&mut self, valid: impl Fn(u8) -> bool) {
        let rest = self.input.as_bytes().get(self.pos..).unwrap_or_default();
        self.pos += rest.iter().position(|b| !valid(*b)).unwrap_or(rest.len());
    }
}

const fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

const fn is_alphanumeric(b: u8) -> bool {
    b == b'_' || b.is_ascii_alphanumeric()
}
