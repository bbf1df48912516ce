//! Tokens.

use crate::{
    ast::{AggregateOp, BinaryOp, Span},
    go,
};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tok {
    Eof,
    Comma,
    Colon,
    Eql,
    EqlRegex,
    NeqRegex,
    At,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Identifier,
    MetricIdentifier,
    Number,
    Duration,
    String,
    Op(BinaryOp),
    Aggregate(AggregateOp),
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Ignoring,
    Offset,
    Smoothed,
    Anchored,
    On,
    Without,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

impl Tok {
    /// The keyword that `word` is, in any case; `inf` and `nan` are numbers.
    pub(crate) fn keyword(word: &str) -> Option<Self> {
        let mut lower = [0_u8; 12];
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word.as_bytes());
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"and" => Self::Op(BinaryOp::And),
            b"or" => Self::Op(BinaryOp::Or),
            b"unless" => Self::Op(BinaryOp::Unless),
            b"atan2" => Self::Op(BinaryOp::Atan2),
            b"offset" => Self::Offset,
            b"smoothed" => Self::Smoothed,
            b"anchored" => Self::Anchored,
            b"by" => Self::By,
            b"without" => Self::Without,
            b"on" => Self::On,
            b"ignoring" => Self::Ignoring,
            b"group_left" => Self::GroupLeft,
            b"group_right" => Self::GroupRight,
            b"fill" => Self::Fill,
            b"fill_left" => Self::FillLeft,
            b"fill_right" => Self::FillRight,
            b"bool" => Self::Bool,
            b"start" => Self::Start,
            b"end" => Self::End,
            b"step" => Self::Step,
            b"range" => Self::Range,
            b"max_of" => Self::MaxOf,
            b"min_of" => Self::MinOf,
            b"inf" | b"nan" => Self::Number,
            lower => {
                let op = AggregateOp::ALL.iter().find(|op| op.as_str().as_bytes() == lower)?;
                Self::Aggregate(*op)
            }
        })
    }

    /// Whether the token, where an operand is expected, can be a metric's name.
    pub(crate) const fn is_metric_name(self) -> bool {
        matches!(
            self,
            Self::Identifier
                | Self::MetricIdentifier
                | Self::Aggregate(_)
                | Self::Op(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
                | Self::By
                | Self::Without
                | Self::Offset
                | Self::Fill
                | Self::FillLeft
                | Self::FillRight
                | Self::Smoothed
                | Self::Anchored
                | Self::Start
                | Self::End
                | Self::Step
                | Self::Range
                | Self::MaxOf
                | Self::MinOf
        )
    }

    /// Whether the token can be a label in `by (...)` and the like.
    pub(crate) const fn is_grouping_label(self) -> bool {
        self.is_metric_name() && !matches!(self, Self::Without)
            || matches!(
                self,
                Self::Bool
                    | Self::GroupLeft
                    | Self::GroupRight
                    | Self::Ignoring
                    | Self::On
                    | Self::Op(BinaryOp::Atan2)
            )
    }

    /// Whether the token can begin an expression.
    pub(crate) const fn begins_operand(self) -> bool {
        self.is_metric_name()
            || matches!(
                self,
                Self::LeftParen
                    | Self::LeftBrace
                    | Self::Number
                    | Self::Duration
                    | Self::String
                    | Self::Op(BinaryOp::Add | BinaryOp::Sub)
            )
    }

    const fn is_keyword(self) -> bool {
        matches!(
            self,
            Self::Bool
                | Self::By
                | Self::GroupLeft
                | Self::GroupRight
                | Self::Fill
                | Self::FillLeft
                | Self::FillRight
                | Self::Ignoring
                | Self::Offset
                | Self::Smoothed
                | Self::Anchored
                | Self::On
                | Self::Without
        )
    }
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) span: Span,
}

impl Token {
    /// How errors call the token.
    pub(crate) fn describe(self, query: &str) -> String {
        let text = self.text(query);
        let kind = match self.tok {
            Tok::Eof => return "end of input".to_owned(),
            Tok::Identifier => return format!("identifier {}", go::quote(text)),
            Tok::MetricIdentifier => return format!("metric identifier {}", go::quote(text)),
            Tok::Op(_) | Tok::EqlRegex | Tok::NeqRegex | Tok::At => return format!("<op:{text}>"),
            Tok::Aggregate(_) => return format!("<aggr:{text}>"),
            tok if tok.is_keyword() => return format!("<{text}>"),
            Tok::String => "string ",
            Tok::Number => "number ",
            Tok::Duration => "duration ",
            _ => "",
        };
        if text.len() > 10 {
            let cut: String = text.chars().take(10).collect();
            format!("{kind}{}...", go::quote(&cut))
        } else {
            format!("{kind}{}", go::quote(text))
        }
    }

    pub(crate) fn text(self, query: &str) -> &str {
        query.get(self.span.start as usize..self.span.end as usize).unwrap_or_default()
    }
}
