//! Expressions: operator precedence with a stack of its own, so that the depth of a query costs no
//! stack of the thread.

use super::{
    literal,
    modifiers::BinaryModifiers,
    parser::{Parsed, Parser},
    token::{Tok, Token},
};
use crate::{
    ParseError,
    ast::{
        Aggregate, AggregateOp, Binary, BinaryOp, Call, Expr, NumberLiteral, Paren, Span, Unary,
        ValueType,
    },
    functions::Function,
    go,
};

/// An expression that has been read, and how deep it is.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) expr: Expr,
    /// Edges to the deepest expression within, those to left operands not counted.
    nesting: usize,
    /// Number of operations down the left operands.
    chain: usize,
}

/// Something that has been begun and waits for an operand.
#[derive(Debug)]
enum Open {
    Paren { start: Span },
    Call { name: Token, args: Vec<Operand> },
    Aggregate { op: AggregateOp, start: Span, grouping: Option<Grouping>, args: Vec<Operand> },
    Sign { negative: bool, start: Span },
    Binary { op: BinaryOp, lhs: Operand, modifiers: BinaryModifiers },
}

/// `by (...)` or `without (...)`.
#[derive(Debug)]
struct Grouping {
    labels: Vec<String>,
    without: bool,
}

/// Signs bind like `*`: `-a^b` is `-(a^b)`.
const SIGN_PRECEDENCE: u8 = BinaryOp::Mul.precedence();

impl Parser<'_> {
    /// Reads an expression up to the end of the text.
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        let mut open = Vec::new();
        let mut value = self.operand(&mut open)?;
        loop {
            let token = self.peek_token()?;
            match token.tok {
                Tok::LeftBracket | Tok::Offset | Tok::At | Tok::Anchored | Tok::Smoothed => {
                    value = self.modify(value)?;
                }
                Tok::Op(op) => {
                    self.next()?;
                    let modifiers = self.binary_modifiers()?;
                    let lhs =
                        self.reduce(&mut open, value, op.precedence(), op == BinaryOp::Pow)?;
                    self.push(&mut open, Open::Binary { op, lhs, modifiers }, token)?;
                    value = self.operand(&mut open)?;
                }
                Tok::RightParen => {
                    value = self.reduce(&mut open, value, 0, false)?;
                    let end = self.next()?;
                    value = self.close(&mut open, Some(value), end)?;
                }
                Tok::Comma => {
                    value = self.reduce(&mut open, value, 0, false)?;
                    let Some(Open::Call { args, .. } | Open::Aggregate { args, .. }) =
                        open.last_mut()
                    else {
                        return Err(self.unexpected(token));
                    };
                    args.push(value);
                    self.next()?;
                    if !self.peek()?.begins_operand() {
                        let message = "trailing commas not allowed in function call args";
                        return self.error(token.span, message);
                    }
                    value = self.operand(&mut open)?;
                }
                Tok::Eof => {
                    value = self.reduce(&mut open, value, 0, false)?;
                    return if open.is_empty() {
                        Ok(value.expr)
                    } else {
                        Err(self.unexpected(token))
                    };
                }
                _ => return Err(self.unexpected(token)),
            }
        }
    }

    /// Reads up to the end of the next operand without modifiers, pushing what it opens.
    fn operand(&mut self, open: &mut Vec<Open>) -> Parsed<Operand> {
        loop {
            let token = self.peek_token()?;
            match token.tok {
                Tok::Number | Tok::Duration => return self.number_literal().map(Operand::leaf),
                Tok::String => {
                    self.next()?;
                    let literal = self.string_literal(token)?;
                    return Ok(Operand::leaf(Expr::String(literal)));
                }
                Tok::LeftBrace => return self.selector_operand(),
                Tok::LeftParen => {
                    self.next()?;
                    self.push(open, Open::Paren { start: token.span }, token)?;
                }
                Tok::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                    self.next()?;
                    let negative = op == BinaryOp::Sub;
                    self.push(open, Open::Sign { negative, start: token.span }, token)?;
                }
                Tok::RightParen => {
                    let empty = match open.last() {
                        Some(Open::Call { args, .. } | Open::Aggregate { args, .. }) => {
                            args.is_empty()
                        }
                        _ => false,
                    };
                    if !empty {
                        return Err(self.unexpected(token));
                    }
                    self.next()?;
                    return self.close(open, None, token);
                }
                tok if tok.is_metric_name() => {
                    if let Some(operand) = self.word_operand(open, token)? {
                        return Ok(operand);
                    }
                }
                _ => return Err(self.unexpected(token)),
            }
        }
    }

    /// An operand that begins with a word: a selector, or a call or aggregation, which is opened.
    fn word_operand(&mut self, open: &mut Vec<Open>, word: Token) -> Parsed<Option<Operand>> {
        let lexed = self.next()?;
        let next = self.peek()?;
        match word.tok {
            Tok::Aggregate(op) if matches!(next, Tok::LeftParen | Tok::By | Tok::Without) => {
                self.open_aggregations += 1;
                let grouping = self.grouping()?;
                let paren = self.next()?;
                if paren.tok != Tok::LeftParen {
                    return Err(self.unexpected(paren));
                }
                let aggregate =
                    Open::Aggregate { op, start: word.span, grouping, args: Vec::new() };
                self.push(open, aggregate, paren)?;
                Ok(None)
            }
            Tok::Identifier
            | Tok::Start
            | Tok::End
            | Tok::Step
            | Tok::Range
            | Tok::MaxOf
            | Tok::MinOf
                if next == Tok::LeftParen =>
            {
                let paren = self.next()?;
                self.push(open, Open::Call { name: word, args: Vec::new() }, paren)?;
                Ok(None)
            }
            _ => {
                let selector = self.selector_after_name(lexed)?;
                Ok(Some(Operand::leaf(Expr::Vector(Box::new(selector)))))
            }
        }
    }

    fn selector_operand(&mut self) -> Parsed<Operand> {
        let selector = self.selector()?;
        Ok(Operand::leaf(Expr::Vector(Box::new(selector))))
    }

    /// `by (...)` or `without (...)`, if it comes next.
    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = match self.peek()? {
            Tok::By => false,
            Tok::Without => true,
            _ => return Ok(None),
        };
        self.next()?;
        Ok(Some(Grouping { labels: self.grouping_labels()?, without }))
    }

    pub(super) fn number_literal(&mut self) -> Parsed<Expr> {
        let token = self.next()?;
        let text = self.text(token);
        let is_duration = token.tok == Tok::Duration;
        let value = if is_duration {
            literal::duration_seconds(text)
        } else {
            literal::number(text).map_err(|e| format!("error parsing number: {e}"))
        };
        let value = value.or_else(|message| self.error(token.span, message))?;
        Ok(Expr::Number(NumberLiteral { value, is_duration, span: token.span }))
    }

    fn push(&self, open: &mut Vec<Open>, item: Open, token: Token) -> Parsed<()> {
        if open.len() >= self.options.max_nesting {
            return Err(self.too_deep(token.span));
        }
        open.push(item);
        Ok(())
    }

    fn too_deep(&self, span: Span) -> ParseError {
        let limit = self.options.max_nesting;
        let message = format!("expression is nested too deeply: more than {limit} levels");
        ParseError::new(self.query, span, message)
    }

    /// Completes the operators that bind at least as strongly as `precedence` (more strongly, if
    /// that operator is right-associative), with `value` as their right operand.
    fn reduce(
        &mut self,
        open: &mut Vec<Open>,
        mut value: Operand,
        precedence: u8,
        right_associative: bool,
    ) -> Parsed<Operand> {
        let least = precedence + u8::from(right_associative);
        loop {
            let complete = match open.last() {
                Some(Open::Binary { op, .. }) => op.precedence() >= least,
                Some(Open::Sign { .. }) => SIGN_PRECEDENCE >= least,
                _ => false,
            };
            if !complete {
                return Ok(value);
            }
            value = match open.pop() {
                Some(Open::Binary { op, lhs, modifiers }) => {
                    self.binary(op, lhs, modifiers, value)?
                }
                Some(Open::Sign { negative, start }) => self.sign(negative, start, value)?,
                _ => return Ok(value),
            };
        }
    }

    fn binary(
        &self,
        op: BinaryOp,
        lhs: Operand,
        modifiers: BinaryModifiers,
        rhs: Operand,
    ) -> Parsed<Operand> {
        let fills = &modifiers.matching;
        if !self.options.fill_modifiers && (fills.fill_left.or(fills.fill_right)).is_some() {
            let message = "binop fill modifiers are experimental and not enabled";
            return self.error(lhs.expr.span(), message);
        }
        let chain = if matches!(lhs.expr, Expr::Binary(_)) { lhs.chain + 1 } else { 1 };
        if chain > self.options.max_chain {
            let limit = self.options.max_chain;
            let message = format!("too many operators in a row: more than {limit}");
            return self.error(rhs.expr.span(), message);
        }
        let scalars = [&lhs, &rhs].iter().all(|o| o.expr.value_type() == ValueType::Scalar);
        let nesting = lhs.nesting.max(rhs.nesting + 1);
        let expr = Expr::Binary(Box::new(Binary {
            op,
            lhs: lhs.expr,
            rhs: rhs.expr,
            matching: Some(modifiers.matching),
            return_bool: modifiers.return_bool,
            value_type: if scalars { ValueType::Scalar } else { ValueType::Vector },
        }));
        self.operand_of(expr, nesting, chain)
    }

    fn sign(&self, negative: bool, start: Span, value: Operand) -> Parsed<Operand> {
        let span = start.to(value.expr.span());
        if let Expr::Number(mut number) = value.expr {
            number.value = if negative { -number.value } else { number.value };
            number.span = span;
            return Ok(Operand::leaf(Expr::Number(number)));
        }
        let expr = Expr::Unary(Box::new(Unary { negative, expr: value.expr, span }));
        self.operand_of(expr, value.nesting + 1, 0)
    }

    /// Completes what the closing parenthesis `end` closes; `last` is what stands before it.
    fn close(
        &mut self,
        open: &mut Vec<Open>,
        last: Option<Operand>,
        end: Token,
    ) -> Parsed<Operand> {
        match (open.pop(), last) {
            (Some(Open::Paren { start }), Some(value)) => {
                let span = start.to(end.span);
                let nesting = value.nesting + 1;
                let expr = Expr::Paren(Box::new(Paren { expr: value.expr, span }));
                self.operand_of(expr, nesting, 0)
            }
            (Some(Open::Call { name, mut args }), last) => {
                args.extend(last);
                self.call(name, args, end)
            }
            (Some(Open::Aggregate { op, start, mut grouping, mut args }), last) => {
                args.extend(last);
                if grouping.is_none() {
                    grouping = self.grouping()?;
                }
                self.open_aggregations -= 1;
                self.aggregate(op, start.to(end.span), grouping, args)
            }
            _ => Err(self.unexpected(end)),
        }
    }

    fn call(&self, name: Token, args: Vec<Operand>, end: Token) -> Parsed<Operand> {
        let text = self.text(name);
        let Some(func) = Function::by_name(text) else {
            let message = format!("unknown function with name {}", go::quote(text));
            return self.error(name.span, message);
        };
        if func.experimental && !self.options.experimental_functions {
            let message = format!("function {} is not enabled", go::quote(text));
            return self.error(name.span, message);
        }
        let nesting = args.iter().map(|arg| arg.nesting + 1).max().unwrap_or_default();
        let args = args.into_iter().map(|arg| arg.expr).collect();
        let span = name.span.to(end.span);
        self.operand_of(Expr::Call(Box::new(Call { func, args, span })), nesting, 0)
    }

    fn aggregate(
        &self,
        op: AggregateOp,
        span: Span,
        grouping: Option<Grouping>,
        args: Vec<Operand>,
    ) -> Parsed<Operand> {
        if args.is_empty() {
            return self.error(span, "no arguments for aggregate expression provided");
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let message = format!(
                "{op}() is experimental and must be enabled with \
                 --enable-feature=promql-experimental-functions"
            );
            return self.error(span, message);
        }
        let (expected, got) = (1 + usize::from(op.has_param()), args.len());
        let nesting = args.iter().map(|arg| arg.nesting + 1).max().unwrap_or_default();
        let mut args = args.into_iter().map(|arg| arg.expr);
        let param = if op.has_param() { args.next() } else { None };
        let (Some(expr), None) = (args.next(), args.next()) else {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, \
                 expected {expected}, got {got}"
            );
            return self.error(span, message);
        };
        let Grouping { labels, without } =
            grouping.unwrap_or(Grouping { labels: Vec::new(), without: false });
        let aggregate = Aggregate { op, expr, param, grouping: labels, without, span };
        self.operand_of(Expr::Aggregate(Box::new(aggregate)), nesting, 0)
    }

    pub(super) fn operand_of(&self, expr: Expr, nesting: usize, chain: usize) -> Parsed<Operand> {
        if nesting > self.options.max_nesting {
            return Err(self.too_deep(expr.span()));
        }
        Ok(Operand { expr, nesting, chain })
    }
}

impl Operand {
    fn leaf(expr: Expr) -> Self {
        Self { expr, nesting: 0, chain: 0 }
    }

    /// How deep an expression directly around this one is.
    pub(super) const fn outer_nesting(&self) -> usize {
        self.nesting + 1
    }
}
