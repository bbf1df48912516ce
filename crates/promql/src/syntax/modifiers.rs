//! What stands behind an operand (`[5m]`, `[1h:5m]`, `offset`, `@`, `anchored`, `smoothed`) and
//! behind an operator (`bool`, `on`, `ignoring`, `group_left`, `group_right`, `fill`).

use super::{
    expr::Operand,
    literal,
    parser::{Parsed, Parser},
    token::{Tok, Token},
};
use crate::{
    ast::{
        At, BinaryOp, Cardinality, DurationValue, Expr, MatrixSelector, Span, Subquery,
        VectorMatching, VectorSelector,
    },
    go,
};

/// What stands behind an operator.
#[derive(Debug)]
pub(super) struct BinaryModifiers {
    pub(super) return_bool: bool,
    pub(super) matching: VectorMatching,
}

impl Parser<'_> {
    /// Applies the next modifier to `operand`.
    pub(super) fn modify(&mut self, mut operand: Operand) -> Parsed<Operand> {
        let token = self.next()?;
        match token.tok {
            Tok::LeftBracket => return self.range(operand, token),
            Tok::Offset => self.offset(&mut operand.expr)?,
            Tok::At => self.at(&mut operand.expr)?,
            Tok::Anchored => self.extended(&mut operand.expr, true)?,
            _ => self.extended(&mut operand.expr, false)?,
        }
        Ok(operand)
    }

    /// `[range]`, `[range:]` or `[range:step]`, behind the bracket.
    fn range(&mut self, operand: Operand, bracket: Token) -> Parsed<Operand> {
        let range = self.positive_duration(
            "subquery or range selector",
            "number, duration, step(), or range()",
        )?;
        let token = self.next()?;
        match token.tok {
            Tok::RightBracket => self.matrix_selector(operand, range, bracket.span.to(token.span)),
            Tok::Colon => self.subquery(operand, range),
            _ => Err(self.unexpected_in(token, "subquery or range", r#"":" or "]""#)),
        }
    }

    fn matrix_selector(
        &self,
        operand: Operand,
        range: DurationValue,
        brackets: Span,
    ) -> Parsed<Operand> {
        let error = match &operand.expr {
            Expr::Vector(v) if !v.offset.is_zero() => "no offset modifiers allowed before range",
            Expr::Vector(v) if v.at.is_some() => "no @ modifiers allowed before range",
            Expr::Vector(_) => "",
            _ => "ranges only allowed for vector selectors",
        };
        match operand.expr {
            Expr::Vector(vector) if error.is_empty() => {
                let span = vector.span.to(brackets);
                let matrix = MatrixSelector { vector: *vector, range, span };
                self.operand_of(Expr::Matrix(Box::new(matrix)), 0, 0)
            }
            _ => self.error(brackets, error),
        }
    }

    /// The rest of a subquery, behind the colon.
    fn subquery(&mut self, operand: Operand, range: DurationValue) -> Parsed<Operand> {
        const CONTEXT: &str = "subquery selector";
        let (step, end) = if let Some(end) = self.accept(Tok::RightBracket)? {
            (None, end)
        } else {
            let expected = "number, duration, step(), range(), or \"]\"";
            let step = self.positive_duration(CONTEXT, expected)?;
            let end = self.next()?;
            if end.tok != Tok::RightBracket {
                return Err(self.unexpected_in(end, CONTEXT, r#""]""#));
            }
            (Some(step), end)
        };
        let span = operand.expr.span().to(end.span);
        let nesting = operand.outer_nesting();
        let offset = DurationValue::ZERO;
        let subquery = Subquery { expr: operand.expr, range, step, offset, at: None, span };
        self.operand_of(Expr::Subquery(Box::new(subquery)), nesting, 0)
    }

    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        let (offset, end) = self.offset_duration()?;
        let span = expr.span();
        let (slot, whole) = match expr {
            Expr::Vector(v) => (&mut v.offset, &mut v.span),
            Expr::Matrix(m) => (&mut m.vector.offset, &mut m.span),
            Expr::Subquery(s) => (&mut s.offset, &mut s.span),
            _ => {
                let message = "offset modifier must be preceded by an instant vector selector \
                               or range vector selector or a subquery";
                return self.error(span, message);
            }
        };
        if !slot.is_zero() {
            return self.error(span, "offset may not be set multiple times");
        }
        *slot = offset;
        whole.end = end;
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Parsed<()> {
        let (at, end) = self.at_value(expr.span())?;
        let span = expr.span();
        let (slot, whole) = match expr {
            Expr::Vector(v) => (&mut v.at, &mut v.span),
            Expr::Matrix(m) => (&mut m.vector.at, &mut m.span),
            Expr::Subquery(s) => (&mut s.at, &mut s.span),
            _ => {
                let message = "@ modifier must be preceded by an instant vector selector \
                               or range vector selector or a subquery";
                return self.error(span, message);
            }
        };
        if slot.is_some() {
            return self.error(span, "@ <timestamp> may not be set multiple times");
        }
        *slot = Some(at);
        whole.end = end;
        Ok(())
    }

    /// What stands behind `@`, and where it ends.
    fn at_value(&mut self, expr: Span) -> Parsed<(At, u32)> {
        let mut token = self.next()?;
        let mut negative = false;
        if let Tok::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) = token.tok {
            negative = op == BinaryOp::Sub;
            token = self.peek_token()?;
        } else if let Tok::Start | Tok::End = token.tok {
            let at = if token.tok == Tok::Start { At::Start } else { At::End };
            for expected in [Tok::LeftParen, Tok::RightParen] {
                token = self.next()?;
                if token.tok != expected {
                    return Err(self.unexpected_in(token, "@", "timestamp"));
                }
            }
            return Ok((at, token.span.end));
        } else {
            self.put_back(token);
        }
        if !matches!(token.tok, Tok::Number | Tok::Duration) {
            return Err(self.unexpected_in(token, "@", "timestamp"));
        }
        let seconds = self.literal_seconds()?;
        let seconds = if negative { -seconds } else { seconds };
        // The greatest i64, as a float.
        const LIMIT: f64 = 9_223_372_036_854_775_807.0;
        if seconds.is_nan() || seconds.abs() >= LIMIT {
            let text =
                if seconds.is_finite() { format!("{seconds:.6}") } else { go::format_f(seconds) };
            let message = format!("timestamp out of bounds for @ modifier: {text}");
            return self.error(expr, message);
        }
        Ok((At::Timestamp((seconds * 1000.0).round() as i64), token.span.end))
    }

    fn extended(&self, expr: &mut Expr, anchored: bool) -> Parsed<()> {
        let word = if anchored { "anchored" } else { "smoothed" };
        let span = expr.span();
        if !self.options.extended_range_selectors {
            return self.error(span, format!("{word} modifier is experimental and not enabled"));
        }
        let vector: &mut VectorSelector = match expr {
            Expr::Vector(v) => v,
            Expr::Matrix(m) => &mut m.vector,
            Expr::Subquery(_) => {
                let message = format!("{word} modifier is not supported for subqueries");
                return self.error(span, message);
            }
            _ => return self.error(span, format!("{word} modifier not implemented")),
        };
        vector.anchored |= anchored;
        vector.smoothed |= !anchored;
        if vector.anchored && vector.smoothed {
            return self.error(span, "anchored and smoothed modifiers cannot be used together");
        }
        Ok(())
    }

    /// What stands behind a binary operator.
    pub(super) fn binary_modifiers(&mut self) -> Parsed<BinaryModifiers> {
        let return_bool = self.accept(Tok::Bool)?.is_some();
        let mut matching = VectorMatching::default();
        if let tok @ (Tok::On | Tok::Ignoring) = self.peek()? {
            self.next()?;
            matching.on = tok == Tok::On;
            matching.labels = self.grouping_labels()?;
            if let tok @ (Tok::GroupLeft | Tok::GroupRight) = self.peek()? {
                self.next()?;
                matching.card = if tok == Tok::GroupLeft {
                    Cardinality::ManyToOne
                } else {
                    Cardinality::OneToMany
                };
                let next = self.peek()?;
                // Where nothing can go on, labels were meant.
                if next == Tok::LeftParen || !next.begins_operand() {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        match self.peek()? {
            Tok::Fill => {
                matching.fill_left = Some(self.fill_value()?);
                matching.fill_right = matching.fill_left;
            }
            Tok::FillLeft => {
                matching.fill_left = Some(self.fill_value()?);
                if self.peek()? == Tok::FillRight {
                    matching.fill_right = Some(self.fill_value()?);
                }
            }
            Tok::FillRight => {
                matching.fill_right = Some(self.fill_value()?);
                if self.peek()? == Tok::FillLeft {
                    matching.fill_left = Some(self.fill_value()?);
                }
            }
            _ => {}
        }
        Ok(BinaryModifiers { return_bool, matching })
    }

    /// `fill(value)`, of which the word comes next.
    fn fill_value(&mut self) -> Parsed<f64> {
        self.next()?;
        let paren = self.next()?;
        if paren.tok != Tok::LeftParen {
            return Err(self.unexpected(paren));
        }
        let mut negative = false;
        if let Tok::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.peek()? {
            self.next()?;
            negative = op == BinaryOp::Sub;
        }
        let token = self.peek_token()?;
        if !matches!(token.tok, Tok::Number | Tok::Duration) {
            return Err(self.unexpected(token));
        }
        let value = self.literal_seconds()?;
        let end = self.next()?;
        if end.tok != Tok::RightParen {
            return Err(self.unexpected(end));
        }
        Ok(if negative { -value } else { value })
    }

    fn literal_seconds(&mut self) -> Parsed<f64> {
        match self.number_literal()? {
            Expr::Number(number) => Ok(number.value),
            _ => Ok(f64::NAN),
        }
    }

    /// `(label, "label", ...)`
    pub(super) fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        let paren = self.next()?;
        if paren.tok != Tok::LeftParen {
            return Err(self.unexpected_in(paren, CONTEXT, r#""(""#));
        }
        let mut labels = Vec::new();
        if self.accept(Tok::RightParen)?.is_some() {
            return Ok(labels);
        }
        loop {
            let label = self.next()?;
            let name = match label.tok {
                Tok::String => {
                    let literal = self.string_literal(label)?;
                    let bytes = literal.bytes.as_deref().unwrap_or(literal.value.as_bytes());
                    if literal.bytes.is_some() || literal.value.is_empty() {
                        let quoted = go::quote_bytes(bytes);
                        let message = format!("invalid label name for grouping: {quoted}");
                        return self.error(label.span, message);
                    }
                    literal.value
                }
                tok if tok.is_grouping_label() => self.text(label).to_owned(),
                _ => return Err(self.unexpected_in(label, CONTEXT, "label")),
            };
            labels.push(name);
            let token = self.next()?;
            match token.tok {
                Tok::RightParen => return Ok(labels),
                Tok::Comma if self.accept(Tok::RightParen)?.is_some() => return Ok(labels),
                Tok::Comma => {}
                _ => return Err(self.unexpected_in(token, CONTEXT, r#""," or ")""#)),
            }
        }
    }

    /// A duration of a range or step: more than 0 where that is known.
    fn positive_duration(&mut self, context: &str, expected: &str) -> Parsed<DurationValue> {
        let duration = self.duration(context, expected)?;
        if let crate::ast::DurationExpr::Number(number) = &duration {
            // Not `<= 0.0`: NaN is no literal here, but would have to be refused.
            if number.value <= 0.0 || number.value.is_nan() {
                return self.error(number.span, "duration must be greater than 0");
            }
            return Ok(DurationValue::Millis(literal::seconds_to_millis(number.value)));
        }
        Ok(DurationValue::Expr(Box::new(duration)))
    }
}
