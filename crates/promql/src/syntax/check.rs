//! Checks types and what else the grammar cannot say. Source: `checkAST` in Prometheus'
//! `promql/parser/parse.go`; errors come in its order.

use std::fmt;

use firesteel_model::METRIC_NAME;

use crate::{
    ParseError,
    ast::{
        Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, Span, ValueType, VectorSelector,
    },
    functions::FunctionId,
    go,
};

/// Returns all that is wrong with `expr`. Completes what depends on types: the matching of
/// operations, and which selector is an argument of `info`.
pub(super) fn check(query: &str, expr: &mut Expr) -> Vec<ParseError> {
    let mut checker = Checker { query, errors: Vec::new() };
    checker.expr(expr);
    checker.errors
}

struct Checker<'a> {
    query: &'a str,
    errors: Vec<ParseError>,
}

impl Checker<'_> {
    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError::new(self.query, span, message));
    }

    fn expr(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Number(_) | Expr::String(_) => {}
            Expr::Vector(vector) => self.selector(vector),
            Expr::Matrix(matrix) => self.selector(&matrix.vector),
            Expr::Paren(paren) => self.expr(&mut paren.expr),
            Expr::Call(call) => self.call(call),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Binary(_) => self.binary_chain(expr),
            Expr::Unary(unary) => {
                self.expr(&mut unary.expr);
                let ty = unary.expr.value_type();
                if !is_number(ty) {
                    let message = format!(
                        "unary expression only allowed on expressions of type scalar or instant \
                         vector, got {}",
                        go::quote(ty.documented())
                    );
                    self.error(unary.span, message);
                }
            }
            Expr::Subquery(subquery) => {
                self.expr(&mut subquery.expr);
                let ty = subquery.expr.value_type();
                if ty != ValueType::Vector {
                    let message =
                        format!("subquery is only allowed on instant vector, got {ty} instead");
                    self.error(subquery.span, message);
                }
            }
        }
    }

    fn aggregate(&mut self, aggregate: &mut Aggregate) {
        self.typed(&mut aggregate.expr, ValueType::Vector, format_args!("aggregation expression"));
        let want = match aggregate.op {
            AggregateOp::CountValues => ValueType::String,
            _ => ValueType::Scalar,
        };
        if let Some(param) = &mut aggregate.param {
            self.typed(param, want, format_args!("aggregation parameter"));
        }
    }

    fn typed(&mut self, expr: &mut Expr, want: ValueType, context: fmt::Arguments<'_>) {
        self.expr(expr);
        let got = expr.value_type();
        if got != want {
            let (want, got) = (want.documented(), got.documented());
            self.error(expr.span(), format!("expected type {want} in {context}, got {got}"));
        }
    }

    fn call(&mut self, call: &mut Call) {
        let (func, got) = (call.func, call.args.len());
        let wrong = |bound: &str, n| {
            format!("expected {bound}{n} argument(s) in call to \"{func}\", got {got}")
        };
        if Some(func.min_args) == func.max_args {
            if got != func.min_args {
                self.error(call.span, wrong("", func.min_args));
            }
        } else if got < func.min_args {
            self.error(call.span, wrong("at least ", func.min_args));
        } else if let Some(max) = func.max_args.filter(|max| got > *max) {
            self.error(call.span, wrong("at most ", max));
        }
        if func.id == FunctionId::Info {
            self.info_selector(call);
        }
        for (i, arg) in call.args.iter_mut().enumerate() {
            if i >= func.arg_types.len() && Some(func.min_args) == func.max_args {
                break;
            }
            if let Some(want) = func.arg_type(i) {
                self.typed(arg, want, format_args!("call to function \"{func}\""));
            }
        }
    }

    fn info_selector(&mut self, call: &mut Call) {
        let Some(arg) = call.args.get_mut(1) else { return };
        let ty = arg.value_type();
        if ty != ValueType::Vector {
            let message = format!(
                "expected type instant vector in call to function \"info\", got {}",
                ty.documented()
            );
            self.error(call.span, message);
        }
        match arg {
            Expr::Vector(vector) if vector.name.is_none() => vector.is_info_selector = true,
            Expr::Vector(vector) => {
                let message = "expected label selectors only, got vector selector instead";
                self.error(vector.span, message);
            }
            other => {
                let span = other.span();
                self.error(span, "expected label selectors only");
            }
        }
    }

    fn selector(&mut self, vector: &VectorSelector) {
        if let Some(name) = &vector.name {
            // The last matcher is that of the name itself.
            let others = vector.matchers.split_last().map_or(&[][..], |(_, others)| others);
            for other in others.iter().filter(|m| m.name() == METRIC_NAME) {
                let message = format!(
                    "metric name must not be set twice: {} or {}",
                    go::quote(name),
                    go::quote(other.value())
                );
                self.error(vector.span, message);
            }
        } else if !vector.is_info_selector && vector.matchers.iter().all(|m| m.matches_empty()) {
            let message = "vector selector must contain at least one non-empty matcher";
            self.error(vector.span, message);
        }
    }

    /// Checks an operation and those down its left operands, innermost first, without recursing
    /// into the left ones: these are taken off and put back.
    fn binary_chain(&mut self, expr: &mut Expr) {
        let mut outer = Vec::new();
        let mut left = expr.take();
        while let Expr::Binary(mut binary) = left {
            left = binary.lhs.take();
            outer.push(binary);
        }
        self.expr(&mut left);
        while let Some(mut binary) = outer.pop() {
            binary.lhs = left;
            self.expr(&mut binary.rhs);
            self.binary(&mut binary);
            left = Expr::Binary(binary);
        }
        *expr = left;
    }

    fn binary(&mut self, binary: &mut Binary) {
        let (op, lt, rt) = (binary.op, binary.lhs.value_type(), binary.rhs.value_type());
        if binary.return_bool && !op.is_comparison() {
            let message = "bool modifier can only be used on comparison operators";
            self.error(self.operator_span(binary), message);
        }
        let scalars = lt == ValueType::Scalar && rt == ValueType::Scalar;
        if op.is_comparison() && !binary.return_bool && scalars {
            let message = "comparisons between scalars must use BOOL modifier";
            self.error(self.operator_span(binary), message);
        }
        let Some(mut matching) = binary.matching.take() else { return };
        if op.is_set() && matching.card == Cardinality::OneToOne {
            matching.card = Cardinality::ManyToMany;
        }
        for label in matching.labels.iter().filter(|_| matching.on) {
            for _ in matching.include.iter().filter(|l| *l == label) {
                let label = go::quote(label);
                let message =
                    format!("label {label} must not occur in ON and GROUP clause at once");
                self.error(self.operator_span(binary), message);
            }
        }
        for operand in [&binary.lhs, &binary.rhs] {
            if !is_number(operand.value_type()) {
                let message = "binary expression must contain only scalar and instant vector types";
                self.error(operand.span(), message);
            }
        }
        let fills = matching.fill_left.or(matching.fill_right).is_some();
        let mut whole = Vec::new();
        if lt != ValueType::Vector || rt != ValueType::Vector {
            if !matching.labels.is_empty() {
                whole.push("vector matching only allowed between instant vectors".to_owned());
            }
            if fills {
                let message = "filling in missing series only allowed between instant vectors";
                whole.push(message.to_owned());
            }
        } else {
            if op.is_set() {
                if matching.card != Cardinality::ManyToMany {
                    let op = go::quote(op.as_str());
                    whole.push(format!("no grouping allowed for {op} operation"));
                    whole.push("set operations must always be many-to-many".to_owned());
                }
                if fills {
                    let message = "filling in missing series not allowed for set operators";
                    whole.push(message.to_owned());
                }
            }
            binary.matching = Some(matching);
        }
        if (lt == ValueType::Scalar || rt == ValueType::Scalar) && op.is_set() {
            let op = go::quote(op.as_str());
            whole.push(format!("set operator {op} not allowed in binary scalar expression"));
        }
        if !whole.is_empty() {
            let span = binary.lhs.span().to(binary.rhs.span());
            for message in whole {
                self.error(span, message);
            }
        }
    }

    /// Where the operator stands, modifiers included: what is between the operands, without the
    /// blanks around it.
    fn operator_span(&self, binary: &Binary) -> Span {
        let (start, end) = (binary.lhs.span().end as usize, binary.rhs.span().start as usize);
        let between = self.query.get(start..end).unwrap_or_default();
        let start = start + (between.len() - between.trim_ascii_start().len());
        Span::new(start as u32, (start + between.trim_ascii().len()) as u32)
    }
}

const fn is_number(ty: ValueType) -> bool {
    matches!(ty, ValueType::Scalar | ValueType::Vector)
}
