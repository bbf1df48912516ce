//! Cuts a template into tokens. Source: Go's `text/template/parse`.

use std::borrow::Cow;

use firesteel_model::float::go_quote;

use super::token::{Kind, Token};

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
/// What stands between a delimiter and a minus that trims: one byte of space and the minus.
const TRIM_MARKER: usize = 2;

/// The state of the scan. Tokens come one at a time; after an error only [`Kind::Eof`] follows.
pub(super) struct Lexer<'t> {
    input: &'t str,
    pos: usize,
    start: usize,
    line: usize,
    start_line: usize,
    paren_depth: usize,
    inside_action: bool,
}

/// A token, or nothing where the scan goes on.
type Scanned<'t> = Option<Token<'t>>;

const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}

fn has_left_trim_marker(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

fn has_right_trim_marker(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(is_space) && chars.next() == Some('-')
}

/// A character as Go's `%#U`: `U+0040 '@'`.
fn unicode(c: Option<char>) -> String {
    match c {
        // Go's end of input is the number -1.
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(c)
            if go_quote(c.encode_utf8(&mut [0; 4])).starts_with("\"\\")
                && c != '\\'
                && c != '"' =>
        {
            format!("U+{:04X}", u32::from(c))
        }
        Some(c) => format!("U+{:04X} '{c}'", u32::from(c)),
    }
}

impl<'t> Lexer<'t> {
    pub(super) const fn new(input: &'t str) -> Self {
        Self {
            input,
            pos: 0,
            start: 0,
            line: 1,
            start_line: 1,
            paren_depth: 0,
            inside_action: false,
        }
    }

    /// The next token.
    pub(super) fn next_token(&mut self) -> Token<'t> {
        loop {
            let scanned = match self.inside_action {
                true => self.scan_inside(),
                false => self.scan_text(),
            };
            if let Some(token) = scanned {
                return token;
            }
        }
    }

    fn rest(&self) -> &'t str {
        self.input.get(self.pos..).unwrap_or_default()
    }

    fn pending(&self) -> &'t str {
        self.input.get(self.start..self.pos).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn bump_while(&mut self, mut take: impl FnMut(char) -> bool) {
        while self.peek().is_some_and(&mut take) {
            self.bump();
        }
    }

    fn accept(&mut self, valid: &str) -> bool {
        let accepted = self.peek().is_some_and(|c| valid.contains(c));
        if accepted {
            self.bump();
        }
        accepted
    }

    /// Moves to `pos`, which lies ahead; what is passed counts for lines.
    fn advance_to(&mut self, pos: usize) {
        let passed = self.input.get(self.pos..pos).unwrap_or_default();
        self.line += passed.bytes().filter(|b| *b == b'\n').count();
        self.pos = pos;
    }

    /// Forgets what is pending.
    const fn ignore(&mut self) {
        self.start = self.pos;
        self.start_line = self.line;
    }

    fn emit(&mut self, kind: Kind) -> Scanned<'t> {
        let text = Cow::Borrowed(self.pending());
        let token = Token { kind, pos: self.start, text, line: self.start_line };
        self.ignore();
        Some(token)
    }

    fn error(&mut self, message: impl Into<String>) -> Scanned<'t> {
        let text = Cow::Owned(message.into());
        let token = Token { kind: Kind::Error, pos: self.start, text, line: self.start_line };
        (self.input, self.pos, self.start) = ("", 0, 0);
        self.inside_action = false;
        Some(token)
    }

    /// Text up to an action.
    fn scan_text(&mut self) -> Scanned<'t> {
        let Some(offset) = self.rest().find(LEFT) else {
            self.advance_to(self.input.len());
            return self.emit(if self.pos > self.start { Kind::Text } else { Kind::Eof });
        };
        let delimiter = self.pos + offset;
        let text = self.input.get(self.start..delimiter).unwrap_or_default();
        let after = self.input.get(delimiter + LEFT.len()..).unwrap_or_default();
        let kept = match has_left_trim_marker(after) {
            true => text.trim_end_matches(is_space),
            false => text,
        };
        if kept.is_empty() {
            self.advance_to(delimiter);
            self.ignore();
            return self.scan_left_delimiter();
        }
        self.advance_to(self.start + kept.len());
        let token = self.emit(Kind::Text);
        self.advance_to(delimiter);
        self.ignore();
        token
    }

    fn scan_left_delimiter(&mut self) -> Scanned<'t> {
        self.pos += LEFT.len();
        let marker = if has_left_trim_marker(self.rest()) { TRIM_MARKER } else { 0 };
        let after = self.input.get(self.pos + marker..).unwrap_or_default();
        if after.starts_with("/*") {
            self.advance_to(self.pos + marker);
            self.ignore();
            return self.scan_comment();
        }
        let token = self.emit(Kind::LeftDelim);
        self.advance_to(self.pos + marker);
        self.ignore();
        self.inside_action = true;
        self.paren_depth = 0;
        token
    }

    /// Whether a right delimiter stands here, and whether it trims.
    fn at_right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        let marked = has_right_trim_marker(rest)
            && rest.get(TRIM_MARKER..).is_some_and(|r| r.starts_with(RIGHT));
        (marked || rest.starts_with(RIGHT)).then_some(marked)
    }

    fn scan_comment(&mut self) -> Scanned<'t> {
        let Some(end) = self.rest().get(2..).and_then(|rest| rest.find("*/")) else {
            return self.error("unclosed comment");
        };
        self.advance_to(self.pos + 2 + end + 2);
        let Some(trims) = self.at_right_delimiter() else {
            return self.error("comment ends before closing delimiter");
        };
        self.pass_right_delimiter(trims);
        self.ignore();
        None
    }

    /// Steps over a right delimiter, and over the space after it if it trims.
    fn pass_right_delimiter(&mut self, trims: bool) {
        let marker = if trims { TRIM_MARKER } else { 0 };
        self.advance_to(self.pos + marker + RIGHT.len());
        if trims {
            self.bump_while(is_space);
        }
    }

    fn scan_right_delimiter(&mut self, trims: bool) -> Scanned<'t> {
        if trims {
            self.advance_to(self.pos + TRIM_MARKER);
            self.ignore();
        }
        self.pos += RIGHT.len();
        let token = self.emit(Kind::RightDelim);
        if trims {
            self.bump_while(is_space);
            self.ignore();
        }
        self.inside_action = false;
        token
    }

    /// One token between delimiters.
    fn scan_inside(&mut self) -> Scanned<'t> {
        if let Some(trims) = self.at_right_delimiter() {
            return match self.paren_depth {
                0 => self.scan_right_delimiter(trims),
                _ => self.error("unclosed left paren"),
            };
        }
        let Some(c) = self.peek() else { return self.error("unclosed action") };
        if is_space(c) {
            return self.scan_space();
        }
        if is_alphanumeric(c) && !c.is_ascii_digit() {
            return self.scan_word();
        }
        self.bump();
        match c {
            '=' => self.emit(Kind::Assign),
            ':' if self.accept("=") => self.emit(Kind::Declare),
            ':' => self.error("expected :="),
            '|' => self.emit(Kind::Pipe),
            '"' => self.scan_quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => self.scan_quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => self.scan_raw(),
            '$' => self.scan_name(Kind::Variable),
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => self.scan_name(Kind::Field),
            '.' | '+' | '-' | '0'..='9' => {
                self.pos = self.start;
                self.scan_number()
            }
            '(' => {
                self.paren_depth += 1;
                self.emit(Kind::LeftParen)
            }
            ')' => {
                let Some(depth) = self.paren_depth.checked_sub(1) else {
                    return self.error("unexpected right paren");
                };
                self.paren_depth = depth;
                self.emit(Kind::RightParen)
            }
            c if c.is_ascii_graphic() => self.emit(Kind::Char),
            c => self.error(format!("unrecognized character in action: {}", unicode(Some(c)))),
        }
    }

    /// A run of spaces; the last of them may belong to a delimiter that trims.
    fn scan_space(&mut self) -> Scanned<'t> {
        while self.peek().is_some_and(is_space) && self.at_right_delimiter().is_none() {
            self.bump();
        }
        self.emit(Kind::Space)
    }

    fn scan_word(&mut self) -> Scanned<'t> {
        self.bump_while(is_alphanumeric);
        if !self.at_terminator() {
            let message = format!("bad character {}", unicode(self.peek()));
            return self.error(message);
        }
        let kind = match self.pending() {
            "true" | "false" => Kind::Bool,
            word => Kind::keyword(word).unwrap_or(Kind::Identifier),
        };
        self.emit(kind)
    }

    /// A field or variable whose first character is behind.
    fn scan_name(&mut self, kind: Kind) -> Scanned<'t> {
        if self.at_terminator() {
            return self.emit(if kind == Kind::Field { Kind::Dot } else { kind });
        }
        self.bump_while(is_alphanumeric);
        if !self.at_terminator() {
            let message = format!("bad character {}", unicode(self.peek()));
            return self.error(message);
        }
        self.emit(kind)
    }

    /// Whether a name may end here.
    fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(c) => is_space(c) || ".,|:()".contains(c) || self.rest().starts_with(RIGHT),
        }
    }

    fn scan_quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Scanned<'t> {
        loop {
            match self.bump() {
                Some('\\') if !matches!(self.peek(), None | Some('\n')) => {
                    self.bump();
                }
                None | Some('\\' | '\n') => return self.error(unterminated),
                Some(c) if c == quote => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn scan_raw(&mut self) -> Scanned<'t> {
        self.bump_while(|c| c != '`');
        match self.bump() {
            Some(_) => self.emit(Kind::RawString),
            None => self.error("unterminated raw quoted string"),
        }
    }

    /// Takes more than numbers; the parser finds out.
    fn scan_number(&mut self) -> Scanned<'t> {
        let mut complex = false;
        let mut good = self.pass_number();
        if good && matches!(self.peek(), Some('+' | '-')) {
            complex = true;
            good = self.pass_number() && self.pending().ends_with('i');
        }
        match (good, complex) {
            (false, _) => {
                let message = format!("bad number syntax: {}", go_quote(self.pending()));
                self.error(message)
            }
            (true, true) => self.emit(Kind::Complex),
            (true, false) => self.emit(Kind::Number),
        }
    }

    fn pass_number(&mut self) -> bool {
        const DECIMAL: &str = "0123456789_";
        const HEX: &str = "0123456789abcdefABCDEF_";
        self.accept("+-");
        let mut digits = DECIMAL;
        // A leading zero does not make an octal number in a float.
        if self.accept("0") {
            if self.accept("xX") {
                digits = HEX;
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.bump_while(|c| digits.contains(c));
        if self.accept(".") {
            self.bump_while(|c| digits.contains(c));
        }
        let exponent = match digits {
            DECIMAL => self.accept("eE"),
            HEX => self.accept("pP"),
            _ => false,
        };
        if exponent {
            self.accept("+-");
            self.bump_while(|c| DECIMAL.contains(c));
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.bump();
            return false;
        }
        true
    }
}
