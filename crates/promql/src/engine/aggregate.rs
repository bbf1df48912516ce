//! Evaluates aggregations.

use std::collections::HashMap;

use firesteel_model::float::format_f;

use super::{
    block::{Block, bits},
    error::{EvalError, execution},
    eval::Evaluator,
    labels::{Numbering, Projection, SetId},
    leaf::FoldInto,
    limits::{self, Room},
    notes as text,
    plan::{Aggregate, NodeId},
};
use crate::{
    aggregate::{
        fold::{FoldNotes, Folds, is_foldable},
        select::{self, Choice},
    },
    ast::{AggregateOp, Span},
    window::Grid,
};

/// The largest float that Prometheus takes for a 64-bit integer.
const MAX_INT: f64 = 9_223_372_036_854_774_784.0;
/// The least.
const MIN_INT: f64 = -9_223_372_036_854_775_808.0;

impl Evaluator<'_> {
    /// Evaluates an aggregation.
    pub(crate) fn aggregate(
        &mut self,
        id: NodeId,
        aggregate: &Aggregate,
        grid: Grid,
    ) -> Result<Block, EvalError> {
        let before = self.samples.current();
        let outer = std::mem::take(&mut self.gathered);
        let block = if is_foldable(aggregate.op) {
            self.fold(aggregate, grid)?
        } else if aggregate.op == AggregateOp::CountValues {
            self.count_values(aggregate, grid)?
        } else {
            self.select(id, aggregate, grid)?
        };
        let gathered = std::mem::replace(&mut self.gathered, outer);
        if aggregate.op != AggregateOp::CountValues {
            // Prometheus does not count input and result of an aggregation at the same time.
            self.samples.settle(before, 0);
        }
        self.finish(before, gathered, block)
    }

    fn projection(&mut self, aggregate: &Aggregate) -> Result<Projection, EvalError> {
        Ok(Projection::new(&mut self.store, &aggregate.grouping, !aggregate.without)?)
    }

    /// The group of each row, and the label sets of the groups.
    fn groups(
        &mut self,
        block: &Block,
        projection: &Projection,
    ) -> Result<(Vec<usize>, Vec<SetId>), EvalError> {
        let mut numbering = Numbering::default();
        let mut groups = Vec::with_capacity(block.len());
        for &set in &block.sets {
            let group = projection.of(&mut self.store, set)?;
            groups.push(numbering.number(group));
        }
        Ok((groups, numbering.sets))
    }

    /// Aggregations into which series are folded one after the other; if their input comes from
    /// storage it is folded while it is read.
    #[inline(never)]
    fn fold(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Block, EvalError> {
        let projection = self.projection(aggregate)?;
        let inner = aggregate.expr;
        let span = self.span(inner);
        let is_absent = matches!(
            &self.plan.node(inner).kind,
            super::plan::Kind::Call(call) if call.func == crate::functions::FunctionId::AbsentOverTime
        );
        let leaf = if is_absent { None } else { self.leaf(inner, grid)? };
        let (block, notes, incompatible) = if let Some(leaf) = leaf {
            let fold = FoldInto { op: aggregate.op, projection: &projection };
            self.fold_leaf(leaf, &fold)?
        } else {
            let block = self.eval(inner, grid)?;
            let (groups, sets) = self.groups(&block, &projection)?;
            let bytes = Folds::bytes(sets.len(), grid.n);
            let _reserved = self.ctx.budget.reserve(bytes)?;
            let mut folds = Folds::new(aggregate.op, sets.len(), grid.n);
            for (row, group) in groups.into_iter().enumerate() {
                if row % 256 == 0 {
                    self.ctx.check()?;
                }
                folds.fold(group, row, block.row(row), block.drop_name[row]);
            }
            let (result, notes) = folds.finish(&sets);
            let incompatible = notes.incompatible.iter().map(|row| block.sets[*row]).collect();
            (result, notes, incompatible)
        };
        self.annotate_fold(aggregate.op, span, &notes, &incompatible);
        Ok(block)
    }

    fn annotate_fold(
        &mut self,
        op: AggregateOp,
        span: Span,
        notes: &FoldNotes,
        incompatible: &[SetId],
    ) {
        for set in incompatible {
            let name = text::mixed_schemas(self.store.metric_name(*set));
            self.annotations.warn(span, name);
        }
        if notes.ignored {
            self.annotations.info(span, text::ignored_in_aggregation(op.as_str()));
        }
        if notes.mixed {
            self.annotations.warn(span, text::MIXED_AGGREGATION);
        }
        if notes.reset_collision {
            self.annotations.warn(span, text::reset_collision("aggregation"));
        }
        if notes.reconciled {
            self.annotations.info(span, text::reconciled("aggregation"));
        }
    }

    /// Aggregations with a parameter that look at all series at once.
    #[inline(never)]
    fn select(
        &mut self,
        id: NodeId,
        aggregate: &Aggregate,
        grid: Grid,
    ) -> Result<Block, EvalError> {
        use AggregateOp as Op;
        let Some(param) = aggregate.param else { return Err(execution("missing parameter")) };
        let params = self.scalar_values(param, grid)?;
        let param_span = self.span(param);
        let block = self.eval(aggregate.expr, grid)?;
        let max = params.iter().copied().fold(-f64::MAX, crate::functions::math::go_max);
        let min = params.iter().copied().fold(f64::MAX, crate::functions::math::go_min);
        let any_nan = params.iter().any(|p| p.is_nan());
        let choice = match aggregate.op {
            Op::Quantile => {
                let bad = [(any_nan, f64::NAN), (max > 1.0, max), (min < 0.0, min)];
                for (_, q) in bad.into_iter().filter(|b| b.0) {
                    self.annotations.warn(param_span, text::invalid_quantile(q));
                }
                let projection = self.projection(aggregate)?;
                let (groups, sets) = self.groups(&block, &projection)?;
                let _reserved = limits::reserve_rows(&self.ctx.budget, sets.len(), grid.n)?;
                let (result, ignored) = select::quantiles(&block, &groups, &sets, &params);
                if ignored {
                    let span = self.span(aggregate.expr);
                    self.annotations.info(span, text::ignored_in_aggregation("quantile"));
                }
                return Ok(result);
            }
            Op::LimitRatio => {
                if max == 0.0 && min == 0.0 {
                    return Ok(Block::new(grid.n));
                }
                if any_nan {
                    return Err(execution("Ratio value is NaN"));
                }
                for (bad, value, cap) in [(max > 1.0, max, 1.0), (min < -1.0, min, -1.0)] {
                    if bad {
                        self.annotations.warn(param_span, text::invalid_ratio(value, cap));
                    }
                }
                Choice::Ratio
            }
            op => {
                if max < 1.0 {
                    return Ok(Block::new(grid.n));
                }
                if any_nan {
                    return Err(execution("Parameter value is NaN"));
                }
                if min <= MIN_INT {
                    let v = crate::go::format_g(min);
                    return Err(execution(format!("Scalar value {v} underflows int64")));
                }
                if max >= MAX_INT {
                    let v = crate::go::format_g(max);
                    return Err(execution(format!("Scalar value {v} overflows int64")));
                }
                match op {
                    Op::Topk => Choice::Top,
                    Op::Bottomk => Choice::Bottom,
                    _ => Choice::First,
                }
            }
        };
        let projection = self.projection(aggregate)?;
        let (groups, sets) = self.groups(&block, &projection)?;
        let offsets: Vec<f64> = if choice == Choice::Ratio {
            let hash = |set: &SetId| self.store.labels(*set).prom_hash() as f64 / u64::MAX as f64;
            block.sets.iter().map(hash).collect()
        } else {
            Vec::new()
        };
        let _reserved = limits::reserve_rows(&self.ctx.budget, block.len(), grid.n)?;
        let (result, ignored) =
            select::choose(choice, &block, &groups, sets.len(), &params, &offsets);
        if ignored {
            let span = self.span(id);
            self.annotations.info(span, text::ignored_in_aggregation(aggregate.op.as_str()));
        }
        Ok(result)
    }

    /// `count_values`: a series per group and value.
    #[inline(never)]
    fn count_values(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Block, EvalError> {
        let label = aggregate.param.map_or("", |p| self.plan.text(p)).to_owned();
        if !super::call::is_label_name(&label) {
            let quoted = firesteel_model::float::go_quote(&label);
            return Err(execution(format!("invalid label name {quoted}")));
        }
        let mut grouping = aggregate.grouping.clone();
        if !aggregate.without {
            grouping.push(label.clone());
        }
        let projection = Projection::new(&mut self.store, &grouping, !aggregate.without)?;
        let label = self.store.interner.intern(&label)?;
        let block = self.eval(aggregate.expr, grid)?;
        self.gathered = select::widest_step(&block);
        let mut result = Block::new(grid.n);
        let mut room = Room::new(&self.ctx.budget)?;
        let mut numbering = Numbering::default();
        // Rows of the result by row and value.
        let mut known: HashMap<u64, usize> = HashMap::new();
        for row in 0..block.len() {
            known.clear();
            self.ctx.check()?;
            self.account_labels()?;
            let samples = block.row(row);
            for step in bits::ones(samples.present) {
                let v = samples.values[step];
                let histogram = samples.histogram(step);
                let target = match (known.get(&v.to_bits()), histogram) {
                    (Some(target), None) => *target,
                    _ => {
                        let value = match histogram {
                            Some(h) => {
                                crate::SampleValue::Histogram(Box::new((**h).clone())).to_string()
                            }
                            None => format_f(v),
                        };
                        let value = self.store.interner.intern(&value)?;
                        let labelled = self.store.with_label(block.sets[row], label, value)?;
                        let set = projection.of(&mut self.store, labelled)?;
                        let new = numbering.len();
                        let target = numbering.number(set);
                        if target == new {
                            room.row(&mut result)?;
                            result.push_row(set, false);
                        }
                        if histogram.is_none() {
                            known.insert(v.to_bits(), target);
                        }
                        target
                    }
                };
                let (values, present) = result.columns_mut(target);
                values[step] += 1.0;
                bits::set(present, step);
            }
        }
        room.give(&mut result);
        Ok(result)
    }
}
