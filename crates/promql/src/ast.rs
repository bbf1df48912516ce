//! The syntax tree.
//!
//! [`parse`](crate::parse) builds trees that are type-checked already: a [`Call`] has arguments of
//! the right number and types, a [`Binary`] has operands that its operator takes, and so on.
//!
//! # How deep a tree can be
//! A tree comes from the network, so its depth is bounded (see
//! [`ParserOptions`](crate::ParserOptions)). Two bounds are kept apart: *nesting* counts every edge
//! but the one to the left operand of a [`Binary`]; *chains* are those left edges, as in
//! `a + b + c + d`, and may be longer. Code that walks a tree may recurse into everything
//! but must go down left operands with a loop: [`Binary::spine`] does that.

mod ops;

use std::fmt;

use firesteel_model::{Matcher, Timestamp};

pub use ops::{AggregateOp, BinaryOp, Cardinality, VectorMatching};

use crate::functions::Function;

/// A range of bytes of the query's text: `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// From `start` to before `end`.
    #[must_use]
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// From the beginning of `self` to the end of `last`.
    #[must_use]
    pub const fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }

    /// Line and column of the beginning, both from 1, as Prometheus counts them: columns are bytes.
    #[must_use]
    pub fn line_column(self, query: &str) -> (usize, usize) {
        let start = (self.start as usize).min(query.len());
        let before = query.as_bytes().get(..start).unwrap_or_default();
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        (before.iter().filter(|&&b| b == b'\n').count() + 1, start - line_start + 1)
    }
}

/// The type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A number.
    Scalar,
    /// An instant vector: a set of series with one sample each.
    Vector,
    /// A range vector: a set of series with samples of a range of time.
    Matrix,
    /// A text.
    String,
}

impl ValueType {
    /// The name in Prometheus' API: `scalar`, `vector`, `matrix`, `string`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }

    /// The name in Prometheus' documentation and errors: `instant vector`, `range vector`.
    #[must_use]
    pub const fn documented(self) -> &'static str {
        match self {
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::Scalar | Self::String => self.as_str(),
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An expression. Prints itself as Prometheus does, in a form that parses to the same tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `1.5`, `0x1f`, `5m`
    Number(NumberLiteral),
    /// `"text"`
    String(StringLiteral),
    /// `name{label="value"} offset 5m @ 100`
    Vector(Box<VectorSelector>),
    /// `name[5m]`
    Matrix(Box<MatrixSelector>),
    /// `expr[5m:1m]`
    Subquery(Box<Subquery>),
    /// `rate(...)`
    Call(Box<Call>),
    /// `sum by (label) (...)`
    Aggregate(Box<Aggregate>),
    /// `a + on (label) b`
    Binary(Box<Binary>),
    /// `-a`
    Unary(Box<Unary>),
    /// `(a)`
    Paren(Box<Paren>),
}

/// A number.
#[derive(Clone, Copy, Debug)]
pub struct NumberLiteral {
    /// Its value; seconds where it was written as a duration.
    pub value: f64,
    /// Whether it was written as a duration, as `5m`.
    pub is_duration: bool,
    /// Where it stands.
    pub span: Span,
}

/// Bit for bit, so that NaN equals itself.
impl PartialEq for NumberLiteral {
    fn eq(&self, other: &Self) -> bool {
        (self.value.to_bits(), self.is_duration, self.span)
            == (other.value.to_bits(), other.is_duration, other.span)
    }
}

/// A text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringLiteral {
    /// The text, unquoted; U+FFFD stands for bytes that are not UTF-8.
    pub value: String,
    /// The text as it was written, where it is not UTF-8 (`"\xff"`).
    pub bytes: Option<Box<[u8]>>,
    /// Where it stands.
    pub span: Span,
}

/// A time that a selector or subquery is pinned to with `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// `@ 1700000000.123`, in milliseconds.
    Timestamp(Timestamp),
    /// `@ start()`: the first step of the query.
    Start,
    /// `@ end()`: the last step of the query.
    End,
}

/// A duration as it stands in a range, a step or an offset.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationValue {
    /// Known when the query is parsed. Milliseconds; negative only in offsets.
    Millis(i64),
    /// To be computed when the query runs, since it may use `step()` and `range()`.
    Expr(Box<DurationExpr>),
}

impl DurationValue {
    /// No duration.
    pub const ZERO: Self = Self::Millis(0);

    /// Whether it is the literal 0, as where no offset was given.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        matches!(self, Self::Millis(0))
    }

    /// The milliseconds of a literal.
    #[must_use]
    pub const fn as_millis(&self) -> Option<i64> {
        match self {
            Self::Millis(ms) => Some(*ms),
            Self::Expr(_) => None,
        }
    }
}

impl Default for DurationValue {
    fn default() -> Self {
        Self::ZERO
    }
}

/// An arithmetic expression over durations. Its value is in seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationExpr {
    /// A number or a duration literal, in seconds.
    Number(NumberLiteral),
    /// `step()`: the query's step, 0 in an instant query.
    Step(Span),
    /// `range()`: from the query's start to its end.
    Range(Span),
    /// `min_of(a, b)`
    MinOf(Box<[DurationExpr; 2]>, Span),
    /// `max_of(a, b)`
    MaxOf(Box<[DurationExpr; 2]>, Span),
    /// `-a`, from the sign to the end of the operand.
    Neg(Box<DurationExpr>, Span),
    /// `a op b`, where `op` is `+ - * / % ^`.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left and right operand.
        operands: Box<[DurationExpr; 2]>,
    },
    /// `(a)`
    Paren(Box<DurationExpr>, Span),
}

impl DurationExpr {
    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Number(n) => n.span,
            Self::Step(span)
            | Self::Range(span)
            | Self::MinOf(_, span)
            | Self::MaxOf(_, span)
            | Self::Neg(_, span)
            | Self::Paren(_, span) => *span,
            Self::Binary { operands, .. } => operands[0].span().to(operands[1].span()),
        }
    }
}

/// A selector of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The metric's name, where it stands before the braces. There is a matcher for it in
    /// `matchers` too; a name in quotes within the braces is a matcher only.
    pub name: Option<String>,
    /// The conditions, in the order of the text, that of `name` last.
    pub matchers: Vec<Matcher>,
    /// `offset`: how far to look back from the evaluation time.
    pub offset: DurationValue,
    /// `@`
    pub at: Option<At>,
    /// `anchored`
    pub anchored: bool,
    /// `smoothed`
    pub smoothed: bool,
    /// Whether it is the second argument of `info`, where matchers that match the empty string are
    /// enough.
    pub is_info_selector: bool,
    /// Where it stands, modifiers included.
    pub span: Span,
}

/// A selector of a range vector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// The series; offset, `@`, `anchored` and `smoothed` of the whole are kept here.
    pub vector: VectorSelector,
    /// The range, more than 0.
    pub range: DurationValue,
    /// Where it stands, modifiers included.
    pub span: Span,
}

/// An expression evaluated over a range of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated: an instant vector.
    pub expr: Expr,
    /// The range, more than 0.
    pub range: DurationValue,
    /// The step; `None` where the server's default applies.
    pub step: Option<DurationValue>,
    /// `offset`
    pub offset: DurationValue,
    /// `@`
    pub at: Option<At>,
    /// Where it stands, modifiers included.
    pub span: Span,
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which function.
    pub func: &'static Function,
    /// Its arguments.
    pub args: Vec<Expr>,
    /// Where it stands.
    pub span: Span,
}

/// An aggregation of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// The vector.
    pub expr: Expr,
    /// The parameter of operators that have one: a string for `count_values`, else a scalar.
    pub param: Option<Expr>,
    /// Labels of `by` or `without`, as written.
    pub grouping: Vec<String>,
    /// Whether `grouping` says what to leave out.
    pub without: bool,
    /// Where it stands.
    pub span: Span,
}

/// An operation on two operands.
#[derive(Debug)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// The left operand.
    pub lhs: Expr,
    /// The right operand.
    pub rhs: Expr,
    /// How series are matched, where both operands are vectors.
    pub matching: Option<VectorMatching>,
    /// `bool`: a comparison returns 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// [`ValueType::Scalar`] if both operands are scalars, else [`ValueType::Vector`].
    pub value_type: ValueType,
}

impl Binary {
    /// The operations from this one down the left operands, outermost first, and the expression
    /// that is the left operand of the last one and not a [`Binary`] itself.
    #[must_use]
    pub fn spine(&self) -> (Vec<&Self>, &Expr) {
        let mut spine = vec![self];
        let mut left = &self.lhs;
        while let Expr::Binary(binary) = left {
            spine.push(binary);
            left = &binary.lhs;
        }
        (spine, left)
    }

    fn with_lhs(&self, lhs: Expr) -> Self {
        Self {
            op: self.op,
            lhs,
            rhs: self.rhs.clone(),
            matching: self.matching.clone(),
            return_bool: self.return_bool,
            value_type: self.value_type,
        }
    }
}

/// Takes chains of left operands apart with a loop: they may be too long to recurse.
impl Drop for Binary {
    fn drop(&mut self) {
        let mut left = self.lhs.take();
        while let Expr::Binary(binary) = &mut left {
            let next = binary.lhs.take();
            left = next;
        }
    }
}

/// With a loop down the left operands.
impl Clone for Binary {
    fn clone(&self) -> Self {
        let (spine, left) = self.spine();
        let mut clone = left.clone();
        for binary in spine.iter().skip(1).rev() {
            clone = Expr::Binary(Box::new(binary.with_lhs(clone)));
        }
        self.with_lhs(clone)
    }
}

/// With a loop down the left operands.
impl PartialEq for Binary {
    fn eq(&self, other: &Self) -> bool {
        let ((ours, left), (theirs, their_left)) = (self.spine(), other.spine());
        let same = |(a, b): (&&Self, &&Self)| {
            (a.op, a.return_bool, a.value_type) == (b.op, b.return_bool, b.value_type)
                && a.matching == b.matching
                && a.rhs == b.rhs
        };
        ours.len() == theirs.len() && left == their_left && ours.iter().zip(&theirs).all(same)
    }
}

/// A sign before an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// Whether the sign is a minus; a plus has no effect.
    pub negative: bool,
    /// A scalar or an instant vector.
    pub expr: Expr,
    /// Where it stands.
    pub span: Span,
}

/// An expression in parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct Paren {
    /// What stands between them.
    pub expr: Expr,
    /// Where it stands, parentheses included.
    pub span: Span,
}

impl Expr {
    /// The type of its value. Constant time but for parentheses and signs.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Vector(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Call(call) => call.func.return_type,
            Self::Binary(binary) => binary.value_type,
            Self::Unary(unary) => unary.expr.value_type(),
            Self::Paren(paren) => paren.expr.value_type(),
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Number(n) => n.span,
            Self::String(s) => s.span,
            Self::Vector(v) => v.span,
            Self::Matrix(m) => m.span,
            Self::Subquery(s) => s.span,
            Self::Call(c) => c.span,
            Self::Aggregate(a) => a.span,
            Self::Unary(u) => u.span,
            Self::Paren(p) => p.span,
            Self::Binary(binary) => {
                let (spine, left) = binary.spine();
                let end = spine.first().map_or_else(|| left.span(), |b| b.rhs.span());
                left.span().to(end)
            }
        }
    }

    /// The expression without the parentheses around it.
    #[must_use]
    pub fn unwrap_parens(&self) -> &Self {
        let mut expr = self;
        while let Self::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }

    /// Calls `f` with this expression and all expressions within it, each before those within it,
    /// left before right. The selector of a [`MatrixSelector`] is not an expression of its own.
    /// Does not recurse.
    pub fn walk<'a>(&'a self, f: &mut dyn FnMut(&'a Self)) {
        let mut stack = vec![self];
        while let Some(expr) = stack.pop() {
            f(expr);
            match expr {
                Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => {}
                Self::Subquery(s) => stack.push(&s.expr),
                Self::Call(c) => stack.extend(c.args.iter().rev()),
                Self::Aggregate(a) => {
                    stack.push(&a.expr);
                    stack.extend(&a.param);
                }
                Self::Binary(b) => stack.extend([&b.rhs, &b.lhs]),
                Self::Unary(u) => stack.push(&u.expr),
                Self::Paren(p) => stack.push(&p.expr),
            }
        }
    }

    /// The selectors within the expression, from left to right.
    #[must_use]
    pub fn selectors(&self) -> Vec<&VectorSelector> {
        let mut selectors = Vec::new();
        self.walk(&mut |expr| match expr {
            Self::Vector(v) => selectors.push(&**v),
            Self::Matrix(m) => selectors.push(&m.vector),
            _ => {}
        });
        selectors
    }

    /// Calls `f` with each selector within the expression, from left to right, to change it. Does
    /// not recurse.
    pub fn for_each_selector_mut(&mut self, f: &mut dyn FnMut(&mut VectorSelector)) {
        let mut stack = vec![self];
        while let Some(expr) = stack.pop() {
            match expr {
                Self::Number(_) | Self::String(_) => {}
                Self::Vector(v) => f(v),
                Self::Matrix(m) => f(&mut m.vector),
                Self::Subquery(s) => stack.push(&mut s.expr),
                Self::Call(c) => stack.extend(c.args.iter_mut().rev()),
                Self::Aggregate(a) => {
                    stack.push(&mut a.expr);
                    stack.extend(&mut a.param);
                }
                Self::Binary(b) => {
                    let b = &mut **b;
                    stack.extend([&mut b.rhs, &mut b.lhs]);
                }
                Self::Unary(u) => stack.push(&mut u.expr),
                Self::Paren(p) => stack.push(&mut p.expr),
            }
        }
    }

    /// Takes the expression away and leaves a number in its place.
    pub(crate) fn take(&mut self) -> Self {
        let nothing = NumberLiteral { value: 0.0, is_duration: false, span: Span::default() };
        std::mem::replace(self, Self::Number(nothing))
    }
}
