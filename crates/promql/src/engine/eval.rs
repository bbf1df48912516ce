//! Evaluates plans, node by node, each over all steps at once.

use std::sync::{Arc, atomic::Ordering};

use firesteel_model::storage::{Querier, QueryContext, StorageError};

use super::{
    EngineFlags,
    block::{Block, bits},
    error::{EvalError, execution, same_labelset},
    executor::Executor,
    labels::{LabelStore, Numbering},
    limits::{self, Samples},
    plan::{Kind, NodeId, Plan},
    profile::Recorder,
    source::Source,
};
use crate::{
    Annotations,
    ast::{Span, ValueType},
    window::{Grid, Pick},
};

/// Evaluates one query.
pub(crate) struct Evaluator<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) ctx: &'a QueryContext,
    pub(crate) flags: EngineFlags,
    pub(crate) executor: &'a dyn Executor,
    pub(crate) querier: Arc<dyn Querier>,
    /// Milliseconds.
    pub(crate) lookback: i64,
    pub(crate) store: LabelStore,
    /// What `plan.sources` select.
    pub(crate) sources: Vec<Source>,
    pub(crate) annotations: Annotations,
    pub(crate) samples: Samples,
    /// Samples of the arguments of the current call at its widest step.
    pub(crate) gathered: usize,
    /// Takes down what each node takes, where a profile is wanted.
    pub(crate) recorder: Option<Box<Recorder>>,
    /// Accounts for the labels' memory.
    pub(crate) label_memory: firesteel_model::budget::Reservation,
}

impl Evaluator<'_> {
    /// The value of a scalar or instant vector at all times of `grid`.
    pub(crate) fn eval(&mut self, id: NodeId, grid: Grid) -> Result<Block, EvalError> {
        if self.recorder.is_some() || limits::is_long(grid.n) {
            return self.eval_watched(id, grid);
        }
        self.eval_node(id, grid)
    }

    /// The same with scratch memory accounted for, and with a note of what it took where a profile
    /// is wanted. Apart from the way that most queries go, so that it costs deep ones no stack.
    #[inline(never)]
    fn eval_watched(&mut self, id: NodeId, grid: Grid) -> Result<Block, EvalError> {
        let before = self.figures();
        let scratch = limits::reserve_scratch(&self.ctx.budget, grid.n);
        let result = scratch.and_then(|_held| self.eval_node(id, grid));
        let now = self.figures();
        if let Some(recorder) = &mut self.recorder {
            recorder.record(id, &before, &now, result.as_ref().ok());
        }
        result
    }

    fn eval_node(&mut self, id: NodeId, grid: Grid) -> Result<Block, EvalError> {
        self.ctx.check()?;
        self.samples.check_steps(grid.n)?;
        if grid.n == 0 {
            return Ok(Block::new(0));
        }
        let plan = self.plan;
        match &plan.node(id).kind {
            Kind::Number(v) => self.scalar(grid, *v),
            Kind::Vector(selector) => self.instant_selector(*selector, grid, Pick::Value, id),
            Kind::StepInvariant(inner) => self.step_invariant(*inner, grid),
            Kind::Negate(inner) => self.negate(*inner, grid),
            Kind::Plus(inner) => self.eval(*inner, grid),
            Kind::Binary(_) => self.binary_chain(id, grid),
            Kind::Aggregate(aggregate) => self.aggregate(id, aggregate, grid),
            Kind::Call(call) => self.call(id, call, grid),
            Kind::String(_) | Kind::Matrix(_) | Kind::Subquery(_) | Kind::InfoSelector(_) => {
                Err(execution("range vectors and strings have no value at a step"))
            }
        }
    }

    pub(crate) fn span(&self, id: NodeId) -> Span {
        self.plan.node(id).span
    }

    #[inline(never)]
    pub(crate) fn scalar(&mut self, grid: Grid, v: f64) -> Result<Block, EvalError> {
        let before = self.samples.current();
        let reserved = limits::reserve_rows(&self.ctx.budget, 1, grid.n)?;
        let mut block = Block::scalar(grid.n, v);
        block.reserved = Some(reserved);
        self.finish(before, 0, block)
    }

    /// The values of a scalar expression, one per step.
    pub(crate) fn scalar_values(&mut self, id: NodeId, grid: Grid) -> Result<Vec<f64>, EvalError> {
        let block = self.eval(id, grid)?;
        if block.len() == 0 {
            return Ok(vec![f64::NAN; grid.n]);
        }
        Ok(block.values(0).to_vec())
    }

    /// Closes an operation that took its inputs when `before` samples were held: counts its result,
    /// and accounts for its memory. `gathered` samples were looked at per step.
    pub(crate) fn finish(
        &mut self,
        before: u64,
        gathered: usize,
        mut block: Block,
    ) -> Result<Block, EvalError> {
        let returned = block.samples();
        self.samples.add(returned, gathered as u64)?;
        self.samples.settle(before, returned);
        limits::account(&self.ctx.budget, &mut block)?;
        self.account_labels()?;
        Ok(block)
    }

    /// Accounts for the labels' memory as it is now. Where an operation makes labels, this is
    /// called series by series.
    pub(crate) fn account_labels(&mut self) -> Result<(), EvalError> {
        let labels = self.store.bytes() as u64;
        if labels > self.label_memory.bytes() {
            self.label_memory.grow(labels - self.label_memory.bytes())?;
        }
        Ok(())
    }

    #[inline(never)]
    fn step_invariant(&mut self, inner: NodeId, grid: Grid) -> Result<Block, EvalError> {
        let looked_at = self.samples.total.load(Ordering::Relaxed);
        let block = self.eval(inner, Grid::instant(grid.start))?;
        if grid.n == 1 {
            return Ok(block);
        }
        // As if it had been evaluated at each step.
        let once = self.samples.total.load(Ordering::Relaxed) - looked_at;
        self.samples.total.fetch_add(once.saturating_mul(grid.n as u64 - 1), Ordering::Relaxed);
        self.samples.add(block.samples().saturating_mul(grid.n as u64 - 1), 0)?;
        let reserved = limits::reserve_rows(&self.ctx.budget, block.len(), grid.n)?;
        let mut repeated = block.repeat(grid.n);
        repeated.reserved = Some(reserved);
        limits::account(&self.ctx.budget, &mut repeated)?;
        Ok(repeated)
    }

    #[inline(never)]
    fn negate(&mut self, inner: NodeId, grid: Grid) -> Result<Block, EvalError> {
        let mut block = self.eval(inner, grid)?;
        for row in 0..block.len() {
            block.values_mut(row).iter_mut().for_each(|v| *v = -*v);
            if block.has_histograms() {
                for slot in block.histograms_mut(row).iter_mut().flatten() {
                    let mut h = (**slot).clone();
                    crate::histogram::scale(&mut h, -1.0);
                    *slot = Arc::new(h);
                }
            }
        }
        self.drop_names(&mut block)?;
        if self.flags.delayed_name_removal { Ok(block) } else { self.merge_same_sets(block) }
    }

    /// Drops name, type and unit of all rows, now or at the end of the query.
    pub(crate) fn drop_names(&mut self, block: &mut Block) -> Result<(), StorageError> {
        block.drop_name.fill(true);
        if !self.flags.delayed_name_removal {
            for set in &mut block.sets {
                *set = self.store.drop_metadata(*set)?;
            }
        }
        Ok(())
    }

    /// What is left to do for functions of instant vectors: rows without samples go, rows of the
    /// same labels become one where they have no step in common; else it is an error.
    pub(crate) fn merge_results(&self, block: Block, grid: Grid) -> Result<Block, EvalError> {
        if grid.n == 1 && self.flags.delayed_name_removal {
            return Ok(block);
        }
        self.merge_same_sets(block)
    }

    /// Makes one row of all rows with the same labels.
    pub(crate) fn merge_same_sets(&self, block: Block) -> Result<Block, EvalError> {
        let mut numbering = Numbering::default();
        block.sets.iter().for_each(|&set| {
            numbering.number(set);
        });
        if numbering.len() == block.len() {
            return Ok(block);
        }
        let mut merged = Block::new(block.steps());
        merged.reserved =
            limits::reserve_rows(&self.ctx.budget, numbering.len(), block.steps())?.into();
        let mut numbering = Numbering::default();
        for row in 0..block.len() {
            if block.is_row_empty(row) {
                continue;
            }
            let known = numbering.len();
            let target = numbering.number(block.sets[row]);
            if target == known {
                merged.push(block.sets[row], block.drop_name[row], block.row(row));
                continue;
            }
            let from = block.row(row);
            if bits::first_common(merged.present(target), from.present).is_some() {
                return Err(same_labelset());
            }
            // As in Prometheus the first sample decides about the name.
            if bits::ones(from.present).next() < bits::ones(merged.present(target)).next() {
                merged.drop_name[target] = block.drop_name[row];
            }
            for step in bits::ones(from.present) {
                merged.copy_sample(target, step, from);
            }
        }
        Ok(merged)
    }

    /// Fails if two rows have the same labels, whether or not they have a step in common.
    pub(crate) fn check_same_sets(&self, block: &Block) -> Result<(), EvalError> {
        let mut numbering = Numbering::default();
        for (row, &set) in block.sets.iter().enumerate() {
            if numbering.number(set) != row {
                return Err(same_labelset());
            }
        }
        Ok(())
    }

    /// Ends delayed name removal.
    pub(crate) fn remove_names(&mut self, mut block: Block) -> Result<Block, EvalError> {
        if !self.flags.delayed_name_removal {
            return Ok(block);
        }
        for row in 0..block.len() {
            if block.drop_name[row] {
                block.sets[row] = self.store.drop_metadata(block.sets[row])?;
            }
        }
        self.merge_same_sets(block)
    }

    /// The value type of a node.
    pub(crate) fn value_type(&self, id: NodeId) -> ValueType {
        self.plan.node(id).value_type
    }
}
