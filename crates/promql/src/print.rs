//! Prints expressions: on one line as Prometheus' `String()` ([`std::fmt::Display`]), and broken
//! into lines as its `/api/v1/format_query` ([`Expr::pretty`]).
//!
//! Source: Prometheus `promql/parser/{printer,prettier}.go`.

use std::{collections::HashMap, fmt, fmt::Write as _, ops::Range};

use firesteel_model::{METRIC_NAME, MatchOp, duration, is_legacy_label_name};

use crate::{
    ast::{
        Aggregate, At, Binary, Cardinality, DurationExpr, DurationValue, Expr, MatrixSelector,
        NumberLiteral, Subquery, VectorSelector,
    },
    go,
};

/// The longest expression that stays on one line, in bytes.
const MAX_LINE: usize = 100;

/// Lines are indented at most this many levels, so that a deep query cannot become a huge text.
const MAX_INDENT: usize = 256;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut flat = Flat::default();
        flat.expr(self);
        f.write_str(&flat.text)
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Step(_) => f.write_str("step()"),
            Self::Range(_) => f.write_str("range()"),
            Self::MinOf(operands, _) => write!(f, "min_of({}, {})", operands[0], operands[1]),
            Self::MaxOf(operands, _) => write!(f, "max_of({}, {})", operands[0], operands[1]),
            Self::Neg(operand, _) => write!(f, "-{operand}"),
            Self::Binary { op, operands } => write!(f, "{} {op} {}", operands[0], operands[1]),
            Self::Paren(inner, _) => write!(f, "({inner})"),
        }
    }
}

impl fmt::Display for NumberLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_duration {
            return f.write_str(&go::format_f(self.value));
        }
        // Cut to nanoseconds, then to milliseconds, as Prometheus does.
        let ms = (self.value.abs() * 1e9) as i64 / 1_000_000;
        let sign = if self.value < 0.0 { "-" } else { "" };
        write!(f, "{sign}{}", Millis(ms))
    }
}

/// Prints milliseconds as a duration.
struct Millis(i64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = std::time::Duration::from_millis(self.0.unsigned_abs());
        write!(f, "{sign}{}", duration::format(magnitude))
    }
}

impl fmt::Display for DurationValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Millis(ms) => Millis(*ms).fmt(f),
            Self::Expr(expr) => expr.fmt(f),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timestamp(ms) => write!(f, "{:.3}", *ms as f64 / 1000.0),
            Self::Start => f.write_str("start()"),
            Self::End => f.write_str("end()"),
        }
    }
}

impl Expr {
    /// Prints the expression broken into lines: what is longer than 100 bytes is split and its
    /// parts indented.
    #[must_use]
    pub fn pretty(&self) -> String {
        let mut flat = Flat { ranges: Some(HashMap::new()), ..Flat::default() };
        flat.expr(self);
        let mut pretty = Pretty { flat: &flat, out: String::with_capacity(flat.text.len() * 2) };
        pretty.expr(self, 0);
        pretty.out
    }
}

/// Prints on one line.
#[derive(Default)]
struct Flat {
    text: String,
    /// Where each expression stands in the text, by its address; recorded for [`Pretty`].
    ranges: Option<HashMap<*const Expr, Range<usize>>>,
}

impl Flat {
    fn expr(&mut self, expr: &Expr) {
        let start = self.text.len();
        match expr {
            Expr::Number(n) => self.push(n),
            Expr::String(s) => {
                let bytes = s.bytes.as_deref().unwrap_or(s.value.as_bytes());
                self.text.push_str(&go::quote_bytes(bytes));
            }
            Expr::Vector(v) => self.vector(v),
            Expr::Matrix(m) => self.matrix(m),
            Expr::Subquery(s) => {
                self.expr(&s.expr);
                self.push(SubquerySuffix(s));
            }
            Expr::Call(c) => {
                self.text.push_str(c.func.name);
                self.text.push('(');
                for (i, arg) in c.args.iter().enumerate() {
                    self.text.push_str(if i > 0 { ", " } else { "" });
                    self.expr(arg);
                }
                self.text.push(')');
            }
            Expr::Aggregate(a) => {
                self.push(AggregateHead(a));
                self.text.push('(');
                if let Some(param) = &a.param {
                    self.expr(param);
                    self.text.push_str(", ");
                }
                self.expr(&a.expr);
                self.text.push(')');
            }
            Expr::Binary(b) => return self.binary(expr, b),
            Expr::Unary(u) => {
                self.text.push(if u.negative { '-' } else { '+' });
                self.expr(&u.expr);
            }
            Expr::Paren(p) => {
                self.text.push('(');
                self.expr(&p.expr);
                self.text.push(')');
            }
        }
        self.record(expr, start);
    }

    fn binary(&mut self, expr: &Expr, binary: &Binary) {
        let start = self.text.len();
        let (spine, left) = binary.spine();
        self.expr(left);
        for (i, binary) in spine.iter().enumerate().rev() {
            self.push(format_args!(" {} ", Operator(binary)));
            self.expr(&binary.rhs);
            let whole =
                i.checked_sub(1).and_then(|outer| spine.get(outer)).map_or(expr, |b| &b.lhs);
            self.record(whole, start);
        }
    }

    fn record(&mut self, expr: &Expr, start: usize) {
        if let Some(ranges) = &mut self.ranges {
            ranges.insert(expr, start..self.text.len());
        }
    }

    fn push(&mut self, part: impl fmt::Display) {
        let _ = write!(self.text, "{part}");
    }

    fn vector(&mut self, v: &VectorSelector) {
        self.selection(v);
        if let Some(at) = &v.at {
            self.push(format_args!(" @ {at}"));
        }
        self.extension(v);
        if !v.offset.is_zero() {
            self.push(format_args!(" offset {}", v.offset));
        }
    }

    fn matrix(&mut self, m: &MatrixSelector) {
        self.selection(&m.vector);
        self.push(format_args!("[{}]", m.range));
        self.extension(&m.vector);
        if let Some(at) = &m.vector.at {
            self.push(format_args!(" @ {at}"));
        }
        if !m.vector.offset.is_zero() {
            self.push(format_args!(" offset {}", m.vector.offset));
        }
    }

    fn extension(&mut self, v: &VectorSelector) {
        if v.anchored {
            self.text.push_str(" anchored");
        } else if v.smoothed {
            self.text.push_str(" smoothed");
        }
    }

    /// Name and matchers, the matchers sorted by their texts.
    fn selection(&mut self, v: &VectorSelector) {
        let name = v.name.as_deref().unwrap_or_default();
        self.text.push_str(name);
        let mut matchers: Vec<String> = v
            .matchers
            .iter()
            .filter(|m| {
                let is_name = m.name() == METRIC_NAME && m.op() == MatchOp::Equal;
                !(is_name && m.value() == name && !name.is_empty())
            })
            .map(ToString::to_string)
            .collect();
        if matchers.is_empty() {
            return;
        }
        matchers.sort_unstable();
        self.push(format_args!("{{{}}}", matchers.join(",")));
    }
}

/// `[1h:5m] @ 100.000 offset 5m`
struct SubquerySuffix<'a>(&'a Subquery);

impl fmt::Display for SubquerySuffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:", self.0.range)?;
        if let Some(step) = &self.0.step {
            step.fmt(f)?;
        }
        f.write_str("]")?;
        if let Some(at) = &self.0.at {
            write!(f, " @ {at}")?;
        }
        if !self.0.offset.is_zero() {
            write!(f, " offset {}", self.0.offset)?;
        }
        Ok(())
    }
}

/// `sum by (job) `, before the parenthesis.
struct AggregateHead<'a>(&'a Aggregate);

impl fmt::Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Aggregate { op, grouping, without, .. } = self.0;
        op.fmt(f)?;
        if *without {
            write!(f, " without ({}) ", LabelList(grouping))
        } else if grouping.is_empty() {
            Ok(())
        } else {
            write!(f, " by ({}) ", LabelList(grouping))
        }
    }
}

/// `== bool on (job) group_left (instance)`
struct Operator<'a>(&'a Binary);

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binary { op, return_bool, matching, .. } = self.0;
        write!(f, "{op}{}", if *return_bool { " bool" } else { "" })?;
        let Some(m) = matching else { return Ok(()) };
        let group = match m.card {
            Cardinality::ManyToOne => Some("left"),
            Cardinality::OneToMany => Some("right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if m.on || group.is_some() || !m.labels.is_empty() {
            let word = if m.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", LabelList(&m.labels))?;
        }
        if let Some(side) = group {
            write!(f, " group_{side} ({})", LabelList(&m.include))?;
        }
        if m.fill_left.is_some() && m.fill_left == m.fill_right {
            return write!(f, " fill ({})", go::format_g(m.fill_left.unwrap_or_default()));
        }
        if let Some(v) = m.fill_left {
            write!(f, " fill_left ({})", go::format_g(v))?;
        }
        if let Some(v) = m.fill_right {
            write!(f, " fill_right ({})", go::format_g(v))?;
        }
        Ok(())
    }
}

struct LabelList<'a>(&'a [String]);

impl fmt::Display for LabelList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, label) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            if is_legacy_label_name(label) {
                f.write_str(label)?;
            } else {
                f.write_str(&go::quote(label))?;
            }
        }
        Ok(())
    }
}

/// Prints broken into lines, from the parts of the one line.
struct Pretty<'a> {
    flat: &'a Flat,
    out: String,
}

impl<'a> Pretty<'a> {
    /// Prints `expr`, its first line indented too.
    fn expr(&mut self, expr: &Expr, level: usize) {
        // Prometheus forgets to indent these; they are short or begin with what they are of.
        if let Expr::Subquery(s) = expr {
            let text = self.one_line(expr);
            if text.len() <= MAX_LINE {
                self.out.push_str(text);
            } else {
                self.expr(&s.expr, level);
                let _ = write!(self.out, "{}", SubquerySuffix(s));
            }
            return;
        }
        if let Expr::Unary(u) = expr {
            return self.unary(u.negative, &u.expr, level);
        }
        if let Expr::Binary(b) = expr {
            return self.binary(expr, b, level);
        }
        self.indent(level);
        let text = self.one_line(expr);
        let split = text.len() > MAX_LINE;
        match expr {
            Expr::Call(c) if split => {
                self.out.push_str(c.func.name);
                self.out.push_str("(\n");
                for (i, arg) in c.args.iter().enumerate() {
                    self.out.push_str(if i > 0 { ",\n" } else { "" });
                    self.expr(arg, level + 1);
                }
            }
            Expr::Aggregate(a) if split => {
                let _ = writeln!(self.out, "{}(", AggregateHead(a));
                if let Some(param) = &a.param {
                    self.expr(param, level + 1);
                    self.out.push_str(",\n");
                }
                self.expr(&a.expr, level + 1);
            }
            Expr::Paren(p) if split => {
                self.out.push_str("(\n");
                self.expr(&p.expr, level + 1);
            }
            _ => return self.out.push_str(text),
        }
        self.out.push('\n');
        self.indent(level);
        self.out.push(')');
    }

    fn unary(&mut self, negative: bool, operand: &Expr, level: usize) {
        self.indent(level);
        self.out.push(if negative { '-' } else { '+' });
        let start = self.out.len();
        self.expr(operand, level);
        let blanks = self.out.get(start..).map_or(0, |s| s.len() - s.trim_start().len());
        self.out.replace_range(start..start + blanks, "");
    }

    /// Operations down the left operands, each a level deeper, until one fits on a line.
    fn binary(&mut self, expr: &Expr, binary: &Binary, level: usize) {
        let mut split: Vec<&Binary> = Vec::new();
        let mut left = expr;
        let mut next = Some(binary);
        while let Some(binary) = next.filter(|_| self.one_line(left).len() > MAX_LINE) {
            split.push(binary);
            left = &binary.lhs;
            next = if let Expr::Binary(b) = left { Some(b) } else { None };
        }
        let deepest = level + split.len();
        if matches!(left, Expr::Binary(_)) {
            self.indent(deepest);
            let text = self.one_line(left);
            self.out.push_str(text);
        } else {
            self.expr(left, deepest);
        }
        for (i, binary) in split.iter().enumerate().rev() {
            self.out.push('\n');
            self.indent(level + i);
            let _ = writeln!(self.out, "{}", Operator(binary));
            self.expr(&binary.rhs, level + i + 1);
        }
    }

    fn one_line(&self, expr: &Expr) -> &'a str {
        let flat = self.flat;
        let range = flat.ranges.as_ref().and_then(|ranges| ranges.get(&std::ptr::from_ref(expr)));
        range.and_then(|range| flat.text.get(range.clone())).unwrap_or_default()
    }

    fn indent(&mut self, level: usize) {
        self.out.extend(std::iter::repeat_n("  ", level.min(MAX_INDENT)));
    }
}
