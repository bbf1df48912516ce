//! From the syntax tree to the plan.

use firesteel_model::{
    Timestamp,
    storage::{SampleNeed, SelectHints},
};

use super::{
    error::{EvalError, execution},
    plan::{self, Kind, Node, NodeId, Plan, Selector, SourceSpec},
};
use crate::{
    ast::{self, AggregateOp, At, BinaryOp, DurationExpr, DurationValue, Expr, Span, ValueType},
    functions::FunctionId,
    go,
};

/// The times of a query, and the defaults that its text leaves open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// 0 in an instant query.
    pub(crate) step: i64,
    pub(crate) lookback: i64,
    /// Step of subqueries that have none.
    pub(crate) subquery_step: i64,
}

/// Makes the plan of a query.
pub(crate) fn lower(expr: &Expr, times: Times) -> Result<Plan, EvalError> {
    let mut lowering = Lowering { times, plan: Plan::default() };
    let root = lowering.expr(expr, &Context::default())?;
    lowering.plan.root = lowering.wrapped(root);
    Ok(lowering.plan)
}

struct Lowering {
    times: Times,
    plan: Plan,
}

/// What surrounds an expression.
#[derive(Clone, Copy, Default)]
struct Context<'a> {
    /// The innermost function or aggregation, up to a binary operator.
    function: &'a str,
    /// The aggregation directly around.
    aggregate: Option<&'a ast::Aggregate>,
    /// Sums of the offsets and ranges of the subqueries around, from the innermost that is pinned.
    offset: i64,
    range: i64,
    at: Option<Timestamp>,
    /// Step of the innermost subquery.
    step: Option<i64>,
    /// Whether only the presence of samples matters.
    presence: bool,
    /// Whether a function of the count and sum of histograms is around.
    stats: bool,
    /// Whether something that needs their buckets is around.
    buckets: bool,
}

/// A lowered expression.
#[derive(Clone, Copy)]
struct Lowered {
    id: NodeId,
    /// Whether its value is the same at all steps.
    invariant: bool,
    /// Whether it is worth to be evaluated once, then.
    wrap: bool,
}

/// Functions whose value may depend on the step even if their arguments do not.
const fn depends_on_time(func: FunctionId) -> bool {
    use FunctionId as F;
    matches!(
        func,
        F::DaysInMonth
            | F::DayOfMonth
            | F::DayOfWeek
            | F::DayOfYear
            | F::End
            | F::Hour
            | F::Minute
            | F::Month
            | F::Year
            | F::PredictLinear
            | F::Range
            | F::Start
            | F::Step
            | F::Time
            | F::Timestamp
    )
}

impl Lowering {
    fn push(&mut self, kind: Kind, span: Span, value_type: ValueType) -> NodeId {
        self.plan.nodes.push(Node { kind, span, value_type });
        self.plan.nodes.len() - 1
    }

    /// The node, marked as step-invariant if it is worth it.
    fn wrapped(&mut self, lowered: Lowered) -> NodeId {
        if !lowered.wrap {
            return lowered.id;
        }
        let Node { span, value_type, .. } = *self.plan.node(lowered.id);
        self.push(Kind::StepInvariant(lowered.id), span, value_type)
    }

    fn expr(&mut self, expr: &Expr, context: &Context<'_>) -> Result<Lowered, EvalError> {
        match expr.unwrap_parens() {
            Expr::Number(n) => Ok(self.literal(Kind::Number(n.value), n.span, ValueType::Scalar)),
            Expr::String(s) => {
                Ok(self.literal(Kind::String(s.value.clone()), s.span, ValueType::String))
            }
            Expr::Vector(v) => self.vector(v, context),
            Expr::Matrix(m) => self.matrix(m, context),
            Expr::Subquery(s) => self.subquery(s, context),
            Expr::Call(c) => self.call(c, context),
            Expr::Aggregate(a) => self.aggregate(a, context),
            Expr::Binary(b) => self.binary(b, context),
            Expr::Unary(u) => {
                let inner = self.expr(&u.expr, context)?;
                let value_type = self.plan.node(inner.id).value_type;
                let kind = if u.negative { Kind::Negate } else { Kind::Plus }(inner.id);
                let id = self.push(kind, u.span, value_type);
                Ok(Lowered { id, ..inner })
            }
            // Unwrapped above.
            Expr::Paren(p) => self.expr(&p.expr, context),
        }
    }

    fn literal(&mut self, kind: Kind, span: Span, value_type: ValueType) -> Lowered {
        Lowered { id: self.push(kind, span, value_type), invariant: true, wrap: false }
    }

    fn vector(
        &mut self,
        v: &ast::VectorSelector,
        context: &Context<'_>,
    ) -> Result<Lowered, EvalError> {
        if v.is_info_selector {
            let kind = Kind::InfoSelector(v.matchers.clone());
            return Ok(self.literal(kind, v.span, ValueType::Vector));
        }
        let selector = self.selector(v, 0, context)?;
        let invariant = self.plan.selectors[selector].at.is_some();
        let id = self.push(Kind::Vector(selector), v.span, ValueType::Vector);
        Ok(Lowered { id, invariant, wrap: invariant })
    }

    fn matrix(
        &mut self,
        m: &ast::MatrixSelector,
        context: &Context<'_>,
    ) -> Result<Lowered, EvalError> {
        let range = self.duration(&m.range, false)?;
        let context = Context { aggregate: None, ..*context };
        let selector = self.selector(&m.vector, range, &context)?;
        let invariant = self.plan.selectors[selector].at.is_some();
        let id = self.push(Kind::Matrix(selector), m.span, ValueType::Matrix);
        Ok(Lowered { id, invariant, wrap: false })
    }

    fn selector(
        &mut self,
        v: &ast::VectorSelector,
        range: i64,
        context: &Context<'_>,
    ) -> Result<usize, EvalError> {
        let offset = self.duration(&v.offset, true)?;
        let at = self.at(v.at);
        let selector =
            Selector { source: 0, offset, at, range, anchored: v.anchored, smoothed: v.smoothed };
        let (start, end) = self.time_range(&selector, context);
        let (by, grouping) = context.aggregate.map_or((false, Vec::new()), |a| {
            let mut grouping = a.grouping.clone();
            grouping.sort_unstable();
            (!a.without, grouping)
        });
        let hints = SelectHints {
            start,
            end,
            step: context.step.unwrap_or(self.times.step),
            range,
            function: context.function.to_owned(),
            grouping,
            by,
            need: self.need((start, end), &selector, context.presence),
            ..SelectHints::default()
        };
        let source = self.source(v, hints, context.stats && !context.buckets);
        self.plan.selectors.push(Selector { source, ..selector });
        Ok(self.plan.selectors.len() - 1)
    }

    /// The source of a selector: a known one if it selects the same series of the same time.
    fn source(
        &mut self,
        v: &ast::VectorSelector,
        hints: SelectHints,
        detects_resets: bool,
    ) -> usize {
        let sources = &mut self.plan.sources;
        let same = |s: &SourceSpec| {
            (s.hints.start, s.hints.end, s.detects_resets)
                == (hints.start, hints.end, detects_resets)
                && s.matchers == v.matchers
        };
        if let Some(known) = sources.iter().position(same) {
            let shared = &mut sources[known].hints;
            // What only some of its users say does not hold.
            let said =
                |h: &SelectHints| (h.function.clone(), h.grouping.clone(), h.by, h.step, h.range);
            if said(shared) != said(&hints) {
                *shared = SelectHints {
                    step: if shared.step == hints.step { shared.step } else { 0 },
                    range: if shared.range == hints.range { shared.range } else { 0 },
                    need: shared.need,
                    ..SelectHints::range(hints.start, hints.end)
                };
            }
            if shared.need != hints.need {
                shared.need = SampleNeed::Values;
            }
            return known;
        }
        sources.push(SourceSpec { matchers: v.matchers.clone(), hints, detects_resets });
        sources.len() - 1
    }

    /// What a selector that looks at these times needs of them.
    fn need(
        &self,
        (start, end): (Timestamp, Timestamp),
        s: &Selector,
        presence: bool,
    ) -> SampleNeed {
        if s.range > 0 || s.anchored || s.smoothed {
            return SampleNeed::Values;
        }
        let once = start == end.saturating_sub(self.times.lookback).saturating_add(1);
        match presence {
            _ if once => SampleNeed::Newest,
            true => SampleNeed::Presence,
            false => SampleNeed::Values,
        }
    }

    /// The times that a selector may look at, both inclusive.
    fn time_range(&self, s: &Selector, context: &Context<'_>) -> (Timestamp, Timestamp) {
        let (mut start, mut end) = match context.at {
            Some(at) => (at, at),
            None => (self.times.start, self.times.end),
        };
        if let Some(at) = s.at {
            (start, end) = (at, at);
        } else {
            start = start.saturating_sub(context.offset).saturating_sub(context.range);
            end = end.saturating_sub(context.offset);
        }
        let lookback = self.times.lookback;
        let back = match s.range {
            0 => lookback,
            range if s.anchored || s.smoothed => range.saturating_add(lookback),
            range => range,
        };
        // Windows are open on the left.
        start = start.saturating_sub(back).saturating_add(1);
        if s.smoothed {
            end = end.saturating_add(lookback);
        }
        (start.saturating_sub(s.offset), end.saturating_sub(s.offset))
    }

    fn subquery(&mut self, s: &ast::Subquery, context: &Context<'_>) -> Result<Lowered, EvalError> {
        let offset = self.duration(&s.offset, true)?;
        let range = self.duration(&s.range, false)?;
        let step = match &s.step {
            Some(step) => self.duration(step, false)?,
            None => 0,
        };
        let step = if step > 0 { step } else { self.times.subquery_step.max(1) };
        let at = self.at(s.at);
        let (outer_offset, outer_range) =
            if at.is_some() { (0, 0) } else { (context.offset, context.range) };
        let inside = Context {
            aggregate: None,
            offset: outer_offset.saturating_add(offset),
            range: outer_range.saturating_add(range),
            at: at.or(context.at),
            step: Some(step),
            presence: false,
            buckets: true,
            ..*context
        };
        let inner = self.expr(&s.expr, &inside)?;
        let invariant =
            inner.invariant && !matches!(self.plan.node(inner.id).kind, Kind::Number(_));
        let expr = self.wrapped(Lowered { wrap: invariant, ..inner });
        let kind = Kind::Subquery(plan::Subquery { expr, range, step, offset, at });
        let id = self.push(kind, s.span, ValueType::Matrix);
        Ok(Lowered { id, invariant: at.is_some(), wrap: false })
    }

    fn call(&mut self, c: &ast::Call, context: &Context<'_>) -> Result<Lowered, EvalError> {
        if let Some(value) = self.query_constant(c.func.id) {
            return Ok(self.literal(Kind::Number(value), c.span, ValueType::Scalar));
        }
        let inside = Context {
            function: c.func.name,
            aggregate: None,
            presence: matches!(c.func.id, FunctionId::Absent),
            stats: context.stats
                || matches!(
                    c.func.id,
                    FunctionId::HistogramCount
                        | FunctionId::HistogramSum
                        | FunctionId::HistogramAvg
                ),
            buckets: context.buckets
                || matches!(
                    c.func.id,
                    FunctionId::HistogramQuantile
                        | FunctionId::HistogramQuantiles
                        | FunctionId::HistogramFraction
                ),
            ..*context
        };
        let args =
            c.args.iter().map(|a| self.expr(a, &inside)).collect::<Result<Vec<_>, EvalError>>()?;
        let all_invariant = args.iter().all(|a| a.invariant);
        let all_selectors =
            args.iter().all(|a| matches!(self.plan.node(a.id).kind, Kind::Vector(_)));
        // The times of a pinned selector's samples do not depend on the step.
        let timestamp = c.func.id == FunctionId::Timestamp && all_selectors;
        let invariant = all_invariant && (!depends_on_time(c.func.id) || timestamp);
        let args = args
            .into_iter()
            .map(|a| self.wrapped(Lowered { wrap: a.wrap && !invariant, ..a }))
            .collect();
        let call = plan::Call { func: c.func.id, args };
        let id = self.push(Kind::Call(call), c.span, c.func.return_type);
        Ok(Lowered { id, invariant, wrap: invariant })
    }

    /// `start()`, `end()`, `range()` and `step()`, which are the same for the whole query.
    fn query_constant(&self, func: FunctionId) -> Option<f64> {
        let t = &self.times;
        let seconds = |ms: i64| ms as f64 / 1000.0;
        Some(match func {
            FunctionId::Start => seconds(t.start),
            FunctionId::End => seconds(t.end),
            FunctionId::Range => seconds(t.end.saturating_sub(t.start)),
            FunctionId::Step => {
                if t.start == t.end {
                    0.0
                } else {
                    seconds(t.step)
                }
            }
            _ => return None,
        })
    }

    fn aggregate(
        &mut self,
        a: &ast::Aggregate,
        context: &Context<'_>,
    ) -> Result<Lowered, EvalError> {
        let inside = Context {
            function: a.op.as_str(),
            aggregate: Some(a),
            presence: matches!(a.op, AggregateOp::Count | AggregateOp::Group),
            ..*context
        };
        if let (AggregateOp::CountValues, Some(Expr::String(label))) =
            (a.op, a.param.as_ref().map(Expr::unwrap_parens))
            && let Some(bytes) = &label.bytes
        {
            let quoted = go::quote_bytes(bytes);
            return Err(execution(format!("invalid label name {quoted}")));
        }
        let param = match &a.param {
            Some(param) => {
                let context = Context { presence: false, ..inside };
                let param = self.expr(param, &context)?;
                Some(self.wrapped(param))
            }
            None => None,
        };
        let expr = self.expr(&a.expr, &inside)?;
        let call = plan::Aggregate {
            op: a.op,
            expr: expr.id,
            param,
            grouping: a.grouping.clone(),
            without: a.without,
        };
        // As in Prometheus the parameter is not asked whether it depends on the step.
        let id = self.push(Kind::Aggregate(call), a.span, ValueType::Vector);
        Ok(Lowered { id, ..expr })
    }

    /// Goes down chains of left operands with a loop.
    fn binary(&mut self, b: &ast::Binary, context: &Context<'_>) -> Result<Lowered, EvalError> {
        let inside = Context { function: "", aggregate: None, presence: false, ..*context };
        let (spine, first) = b.spine();
        let trims = spine.iter().any(|b| matches!(b.op, BinaryOp::TrimUpper | BinaryOp::TrimLower));
        let inside = Context { buckets: context.buckets || trims, ..inside };
        let mut left = self.expr(first, &inside)?;
        for b in spine.into_iter().rev() {
            let right = self.expr(&b.rhs, &inside)?;
            let invariant = left.invariant && right.invariant;
            let span = first.span().to(b.rhs.span());
            let (lhs, rhs) = if invariant {
                (left.id, right.id)
            } else {
                (self.wrapped(left), self.wrapped(right))
            };
            let kind = Kind::Binary(plan::Binary {
                op: b.op,
                lhs,
                rhs,
                matching: b.matching.clone(),
                return_bool: b.return_bool,
            });
            let id = self.push(kind, span, b.value_type);
            left = Lowered { id, invariant, wrap: invariant };
        }
        Ok(left)
    }

    fn at(&self, at: Option<At>) -> Option<Timestamp> {
        Some(match at? {
            At::Timestamp(t) => t,
            At::Start => self.times.start,
            At::End => self.times.end,
        })
    }

    /// The milliseconds of a duration.
    fn duration(&self, value: &DurationValue, may_be_negative: bool) -> Result<i64, EvalError> {
        let expr = match value {
            DurationValue::Millis(ms) => return Ok(*ms),
            DurationValue::Expr(expr) => expr,
        };
        let seconds = self.seconds(expr)?;
        let span = expr.span();
        let refuse =
            |what: &str| Err(EvalError::Invalid(format!("{}:{}: {what}", span.start, span.end)));
        if !seconds.is_finite() {
            return refuse("duration is NaN or infinite");
        }
        if seconds <= 0.0 && !may_be_negative {
            return refuse("duration must be greater than 0");
        }
        if seconds.abs() > (1_u64 << 63) as f64 / 1e9 {
            return refuse("duration is out of range");
        }
        Ok((seconds * 1000.0) as i64)
    }

    /// The seconds of a duration expression.
    fn seconds(&self, expr: &DurationExpr) -> Result<f64, EvalError> {
        let pair = |operands: &[DurationExpr; 2]| {
            Ok::<_, EvalError>((self.seconds(&operands[0])?, self.seconds(&operands[1])?))
        };
        Ok(match expr {
            DurationExpr::Number(n) => n.value,
            DurationExpr::Step(_) => self.times.step as f64 / 1000.0,
            DurationExpr::Range(_) => {
                self.times.end.saturating_sub(self.times.start) as f64 / 1000.0
            }
            DurationExpr::MinOf(operands, _) => {
                let (a, b) = pair(operands)?;
                crate::functions::math::go_min(a, b)
            }
            DurationExpr::MaxOf(operands, _) => {
                let (a, b) = pair(operands)?;
                crate::functions::math::go_max(a, b)
            }
            DurationExpr::Neg(operand, _) => -self.seconds(operand)?,
            DurationExpr::Paren(inner, _) => self.seconds(inner)?,
            DurationExpr::Binary { op, operands } => {
                let (a, b) = pair(operands)?;
                let span = expr.span();
                let by_zero = |what: &str| {
                    Err(EvalError::Invalid(format!("{}:{}: {what} by zero", span.start, span.end)))
                };
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div if b == 0.0 => return by_zero("division"),
                    BinaryOp::Div => a / b,
                    BinaryOp::Mod if b == 0.0 => return by_zero("modulo"),
                    BinaryOp::Mod => a % b,
                    BinaryOp::Pow => crate::functions::gomath::pow(a, b),
                    other => {
                        let text = format!("unexpected duration expression operator \"{other}\"");
                        return Err(EvalError::Invalid(text));
                    }
                }
            }
        })
    }
}
