//! Durations in ranges, steps and offsets: literals, and expressions where these are enabled.

use super::{
    literal,
    parser::{Parsed, Parser},
    token::{Tok, Token},
};
use crate::ast::{BinaryOp, DurationExpr, DurationValue, Expr, Span};

/// How many operators, signs and parentheses one duration may have.
const MAX_OPERATIONS: usize = 100;

/// Beyond this many seconds a duration does not fit Prometheus' 64 bits of nanoseconds.
const MAX_SECONDS: f64 = 9_223_372_036.854_776;

/// What errors call the place, and what could stand there.
#[derive(Clone, Copy)]
struct Place<'p> {
    context: &'p str,
    expected: &'p str,
}

impl Parser<'_> {
    /// A duration expression as it stands in brackets.
    pub(super) fn duration(&mut self, context: &str, expected: &str) -> Parsed<DurationExpr> {
        let mut left = MAX_OPERATIONS;
        self.duration_operation(Place { context, expected }, 0, &mut left)
    }

    /// What stands behind `offset`, and where it ends. Without parentheses that is a single
    /// operand: in `a offset 5m + 1` the sum is one of vectors.
    pub(super) fn offset_duration(&mut self) -> Parsed<(DurationValue, u32)> {
        let place = Place { context: "offset", expected: "number, duration, step(), or range()" };
        let mut left = MAX_OPERATIONS;
        let first = self.peek_token()?;
        let duration = match first.tok {
            Tok::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.next()?;
                let operand = match self.accept(Tok::LeftParen)? {
                    // Here, as in Prometheus, the parentheses alone need not be enabled.
                    Some(paren) => self.duration_in_parens(place, paren, &mut left)?,
                    None => self.duration_operand(place, &mut left)?,
                };
                self.signed(op, first, operand)
            }
            Tok::LeftParen => self.duration_operation(place, 0, &mut left)?,
            _ => self.duration_operand(place, &mut left)?,
        };
        let end = duration.span().end;
        Ok(match duration {
            DurationExpr::Number(n) => {
                (DurationValue::Millis(literal::seconds_to_millis(n.value)), end)
            }
            duration => (DurationValue::Expr(Box::new(duration)), end),
        })
    }

    /// Operators that bind at least as strongly as `least`, and their operands.
    fn duration_operation(
        &mut self,
        place: Place<'_>,
        least: u8,
        left: &mut usize,
    ) -> Parsed<DurationExpr> {
        let first = self.peek_token()?;
        let mut value = match first.tok {
            Tok::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.next()?;
                self.count(first, left)?;
                // A sign binds like `*`, so that only `^` stays within.
                let operand = self.duration_operation(place, BinaryOp::Pow.precedence(), left)?;
                self.signed(op, first, operand)
            }
            _ => self.duration_operand(place, left)?,
        };
        loop {
            let token = self.peek_token()?;
            let Tok::Op(op) = token.tok else { return Ok(value) };
            let arithmetic = matches!(
                op,
                BinaryOp::Add
                    | BinaryOp::Sub
                    | BinaryOp::Mul
                    | BinaryOp::Div
                    | BinaryOp::Mod
                    | BinaryOp::Pow
            );
            if !arithmetic || op.precedence() < least {
                return Ok(value);
            }
            self.next()?;
            self.count(token, left)?;
            let right_least = op.precedence() + u8::from(op != BinaryOp::Pow);
            let rhs = self.duration_operation(place, right_least, left)?;
            self.enabled(value.span())?;
            if let (BinaryOp::Div | BinaryOp::Mod, DurationExpr::Number(n)) = (op, &rhs)
                && n.value == 0.0
            {
                let word = if op == BinaryOp::Div { "division" } else { "modulo" };
                return self.error(token.span, format!("{word} by zero"));
            }
            value = DurationExpr::Binary { op, operands: Box::new([value, rhs]) };
        }
    }

    /// A literal, a call or an expression in parentheses.
    fn duration_operand(&mut self, place: Place<'_>, left: &mut usize) -> Parsed<DurationExpr> {
        let token = self.peek_token()?;
        match token.tok {
            Tok::Number | Tok::Duration => {
                let Expr::Number(number) = self.number_literal()? else {
                    return Err(self.unexpected_in(token, place.context, place.expected));
                };
                if number.value.abs() > MAX_SECONDS {
                    return self.error(number.span, "duration out of range");
                }
                Ok(DurationExpr::Number(number))
            }
            Tok::Step | Tok::Range => {
                self.next()?;
                self.expect(Tok::LeftParen, place)?;
                let span = token.span.to(self.expect(Tok::RightParen, place)?);
                self.enabled(span)?;
                Ok(if token.tok == Tok::Step {
                    DurationExpr::Step(span)
                } else {
                    DurationExpr::Range(span)
                })
            }
            Tok::MinOf | Tok::MaxOf => {
                self.next()?;
                self.count(token, left)?;
                self.expect(Tok::LeftParen, place)?;
                let a = self.duration_operation(place, 0, left)?;
                self.expect(Tok::Comma, place)?;
                let b = self.duration_operation(place, 0, left)?;
                let span = token.span.to(self.expect(Tok::RightParen, place)?);
                self.enabled(span)?;
                let operands = Box::new([a, b]);
                Ok(if token.tok == Tok::MinOf {
                    DurationExpr::MinOf(operands, span)
                } else {
                    DurationExpr::MaxOf(operands, span)
                })
            }
            Tok::LeftParen => {
                self.next()?;
                self.count(token, left)?;
                let operand = self.duration_in_parens(place, token, left)?;
                if let DurationExpr::Paren(inner, _) = &operand {
                    self.enabled(inner.span())?;
                }
                Ok(operand)
            }
            _ => {
                self.next()?;
                Err(self.unexpected_in(token, place.context, place.expected))
            }
        }
    }

    /// The rest of an expression in parentheses, behind the opening one.
    fn duration_in_parens(
        &mut self,
        place: Place<'_>,
        paren: Token,
        left: &mut usize,
    ) -> Parsed<DurationExpr> {
        let inner = self.duration_operation(place, 0, left)?;
        let end = self.expect(Tok::RightParen, place)?;
        Ok(match inner {
            // Prometheus keeps one pair of parentheses.
            DurationExpr::Paren(..) => inner,
            inner => DurationExpr::Paren(Box::new(inner), paren.span.to(end)),
        })
    }

    /// `operand` behind a sign.
    fn signed(&self, op: BinaryOp, sign: Token, operand: DurationExpr) -> DurationExpr {
        let span = sign.span.to(operand.span());
        match operand {
            DurationExpr::Number(mut number) => {
                number.value = if op == BinaryOp::Sub { -number.value } else { number.value };
                number.span = span;
                DurationExpr::Number(number)
            }
            operand if op == BinaryOp::Sub => DurationExpr::Neg(Box::new(operand), span),
            operand => operand,
        }
    }

    fn expect(&mut self, tok: Tok, place: Place<'_>) -> Parsed<Span> {
        let token = self.next()?;
        if token.tok == tok {
            Ok(token.span)
        } else {
            Err(self.unexpected_in(token, place.context, place.expected))
        }
    }

    fn enabled(&self, span: Span) -> Parsed<()> {
        if self.options.duration_expressions {
            return Ok(());
        }
        self.error(span, "experimental duration expression is not enabled")
    }

    fn count(&self, token: Token, left: &mut usize) -> Parsed<()> {
        let Some(rest) = left.checked_sub(1) else {
            let message = format!("duration expression is too long: limit {MAX_OPERATIONS}");
            return self.error(token.span, message);
        };
        *left = rest;
        Ok(())
    }
}
