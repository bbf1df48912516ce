//! The tokens of both formats, as Prometheus' lexers cut them.
//!
//! The scanners do not work with tokens. This module is for error texts alone: given the state of
//! the lexer and a position it says which token Prometheus would have seen there and where it ends.
//! Source: `model/textparse/{promlex.l,openmetricslex.l}`.

/// What may come next, and in which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    TextInit,
    TextMetaName,
    TextLabels,
    TextLabelValue,
    TextValue,
    TextTimestamp,
    OmInit,
    OmMetaName,
    OmLabels,
    OmLabelValue,
    OmValue,
    OmTimestamp,
    OmExemplar,
    OmExemplarValue,
    OmExemplarTimestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Invalid,
    Eof,
    LineBreak,
    MetricName,
    QuotedString,
    BraceOpen,
    BraceClose,
    LabelName,
    LabelValue,
    Comma,
    Equal,
    Timestamp,
    Value,
    Comment,
}

impl Token {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::Eof => "EOF",
            Self::LineBreak => "LINEBREAK",
            Self::MetricName => "MNAME",
            Self::QuotedString => "QSTRING",
            Self::BraceOpen => "BOPEN",
            Self::BraceClose => "BCLOSE",
            Self::LabelName => "LNAME",
            Self::LabelValue => "LVALUE",
            Self::Comma => "COMMA",
            Self::Equal => "EQUAL",
            Self::Timestamp => "TIMESTAMP",
            Self::Value => "VALUE",
            Self::Comment => "COMMENT",
        }
    }
}

struct Lexer<'a> {
    page: &'a [u8],
    line_feed_at_end: bool,
    skip_nul: bool,
    at: usize,
}

impl Lexer<'_> {
    /// The byte at the position; 0 past the end, as in the original.
    fn cur(&self) -> u8 {
        match self.page.get(self.at) {
            Some(&b) => b,
            None if self.at == self.page.len() && self.line_feed_at_end => b'\n',
            None => 0,
        }
    }

    fn rest(&self) -> &[u8] {
        self.page.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self) -> u8 {
        self.at += 1;
        while self.skip_nul && self.page.get(self.at) == Some(&0) {
            self.at += 1;
        }
        self.cur()
    }

    fn while_(&mut self, keep: impl Fn(u8) -> bool) {
        while keep(self.step()) {}
    }

    /// A quoted string from its opening quote; invalid where it does not end.
    fn quoted(&mut self, ok: Token, line_feeds: bool) -> Token {
        loop {
            match self.step() {
                b'"' => {
                    self.step();
                    return ok;
                }
                b'\\' => {
                    if matches!(self.step(), 0 | b'\n') {
                        return Token::Invalid;
                    }
                }
                0 => return Token::Invalid,
                b'\n' if !line_feeds => return Token::Invalid,
                _ => {}
            }
        }
    }

    fn one(&mut self, token: Token) -> Token {
        self.step();
        token
    }

    fn name(&mut self, token: Token, colon: bool) -> Token {
        self.while_(|c| c.is_ascii_alphanumeric() || c == b'_' || (colon && c == b':'));
        token
    }

    /// A blank and what follows it up to a blank or the line's end.
    fn after_blank(&mut self, token: Token) -> Token {
        if matches!(self.step(), 0 | b' ' | b'\n') {
            return Token::Invalid;
        }
        self.while_(|c| !matches!(c, 0 | b' ' | b'\n'));
        token
    }
}

const fn starts_name(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_'
}

impl State {
    /// The token at `start` and its end; for an invalid one the position that made it so.
    pub(crate) fn lex(self, page: &[u8], start: usize, line_feed_at_end: bool) -> (Token, usize) {
        let skip_nul = matches!(self, Self::TextLabelValue | Self::OmLabelValue);
        let mut lexer = Lexer { page, line_feed_at_end, skip_nul, at: start };
        if start >= page.len() + usize::from(line_feed_at_end) {
            return (Token::Eof, page.len());
        }
        let token = self.token(&mut lexer);
        (token, lexer.at)
    }

    fn token(self, l: &mut Lexer<'_>) -> Token {
        use Token::*;
        let c = l.cur();
        match (self, c) {
            (Self::TextInit, b'\n') => l.one(LineBreak),
            (Self::TextInit | Self::OmInit, b':') => l.name(MetricName, true),
            (Self::TextInit | Self::OmInit, b'{') => l.one(BraceOpen),
            (Self::TextInit | Self::OmInit | Self::TextMetaName | Self::OmMetaName, c)
                if starts_name(c) =>
            {
                l.name(MetricName, true)
            }
            (Self::OmInit, b'#') => om_comment(l),
            (Self::TextMetaName | Self::OmMetaName, b'"') => l.quoted(MetricName, true),
            (Self::TextLabels | Self::OmLabels, b'"') => l.quoted(QuotedString, true),
            (Self::OmExemplar, b'"') => l.quoted(QuotedString, false),
            (Self::TextLabels | Self::OmLabels | Self::OmExemplar, c) => match c {
                b'}' => l.one(BraceClose),
                b'=' => l.one(Equal),
                b',' => l.one(Comma),
                c if starts_name(c) => l.name(LabelName, false),
                _ => Invalid,
            },
            (Self::TextLabelValue, b'"') => l.quoted(LabelValue, true),
            (Self::OmLabelValue | Self::OmExemplarValue, b'"') => l.quoted(LabelValue, false),
            (Self::TextValue | Self::OmValue, b'{') => l.one(BraceOpen),
            (Self::TextValue, c) if !matches!(c, 0 | b' ' | b'\t' | b'\n') => {
                l.while_(|c| !matches!(c, 0 | b' ' | b'\t' | b'\n' | b'{'));
                Value
            }
            (Self::TextTimestamp | Self::OmTimestamp | Self::OmExemplarTimestamp, b'\n') => {
                l.one(LineBreak)
            }
            (Self::TextTimestamp, c) if c.is_ascii_digit() => {
                l.while_(|c| c.is_ascii_digit());
                Timestamp
            }
            (Self::OmValue | Self::OmExemplarValue, b' ') => l.after_blank(Value),
            // What looks like an exemplar is not taken for a timestamp.
            (Self::OmTimestamp, b' ') if l.rest().starts_with(b" # ") => {
                l.at += 3;
                if l.cur() == b'{' { l.one(Comment) } else { Invalid }
            }
            (Self::OmTimestamp | Self::OmExemplarTimestamp, b' ') => l.after_blank(Timestamp),
            _ => Invalid,
        }
    }
}

/// A `#` that begins none of OpenMetrics' comments: how far the lexer gets.
fn om_comment(l: &mut Lexer<'_>) -> Token {
    let mut words: Vec<&[u8]> = vec![b" HELP ", b" TYPE ", b" UNIT ", b" EOF"];
    for i in 0.. {
        let c = l.step();
        words.retain(|w| w.get(i) == Some(&c));
        if words.is_empty() {
            return Token::Invalid;
        }
        if words.iter().any(|w| w.len() == i + 1) {
            return Token::Comment;
        }
    }
    Token::Invalid
}
