//! Leaves of a plan: selectors, and functions of range vectors, which are computed per series.

use std::sync::atomic::Ordering;

use firesteel_model::storage::StorageError;

use super::{
    block::{Block, bits},
    error::{EvalError, execution, same_labelset},
    eval::Evaluator,
    labels::{Numbering, Projection, SetId},
    plan::{Call, Kind, NodeId, Subquery},
    scan::{Input, Job, Output, Scanned, Target, finish_folds},
};
use crate::{
    aggregate::fold::FoldNotes,
    ast::{AggregateOp, Span, ValueType},
    functions::FunctionId,
    window::{Extend, Grid, InstantJob, Notes, Pick, RangeJob, WindowSpec},
};

/// A leaf with everything evaluated that it needs.
pub(crate) struct Leaf {
    input: LeafInput,
    job: LeafJob,
    /// Whether the function drops the name.
    drops_name: bool,
    /// What annotations point at.
    span: Span,
}

enum LeafInput {
    /// Index of a source.
    Source(usize),
    /// The result of a subquery and its times.
    Rows(Block, Grid),
}

enum LeafJob {
    Instant(InstantJob),
    Range {
        func: FunctionId,
        spec: WindowSpec,
        extend: Extend,
        params: Vec<Vec<f64>>,
        starts: bool,
        interpolate: bool,
    },
}

/// How a leaf is folded into an aggregation.
pub(crate) struct FoldInto<'a> {
    pub(crate) op: AggregateOp,
    pub(crate) projection: &'a Projection,
}

/// The function of a call, if it is one of a range vector, and the index of that argument.
fn range_argument(evaluator: &Evaluator<'_>, call: &Call) -> Option<usize> {
    call.args.iter().position(|arg| evaluator.value_type(*arg) == ValueType::Matrix)
}

impl Evaluator<'_> {
    /// The leaf behind a node, if it is one.
    #[inline(never)]
    pub(crate) fn leaf(&mut self, id: NodeId, grid: Grid) -> Result<Option<Leaf>, EvalError> {
        let plan = self.plan;
        match &plan.node(id).kind {
            Kind::Vector(selector) => Ok(Some(self.instant_leaf(*selector, grid, Pick::Value, id))),
            Kind::Call(call) => match range_argument(self, call) {
                Some(arg) => Ok(Some(self.range_leaf(call, arg, grid)?)),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn instant_leaf(&self, selector: usize, grid: Grid, pick: Pick, id: NodeId) -> Leaf {
        let s = &self.plan.selectors[selector];
        let lookback = self.lookback;
        let job = if s.smoothed && pick == Pick::Value {
            LeafJob::Range {
                func: FunctionId::LastOverTime,
                spec: WindowSpec {
                    grid,
                    range: lookback.saturating_mul(2),
                    offset: s.offset.saturating_sub(lookback),
                    at: s.at,
                    before: 0,
                    after: 0,
                },
                extend: Extend::None,
                params: Vec::new(),
                starts: false,
                interpolate: true,
            }
        } else if s.at.is_some() && matches!(pick, Pick::Time | Pick::StartTime) {
            // Prometheus looks at the pinned time, whatever the offset, but only at samples that
            // the selector would find with it.
            let lookback = lookback.saturating_sub(s.offset.saturating_abs());
            let offset = s.offset.max(0);
            LeafJob::Instant(InstantJob { grid, offset, at: s.at, lookback, pick })
        } else {
            LeafJob::Instant(InstantJob { grid, offset: s.offset, at: s.at, lookback, pick })
        };
        Leaf { input: LeafInput::Source(s.source), job, drops_name: false, span: self.span(id) }
    }

    #[inline(never)]
    fn range_leaf(&mut self, call: &Call, arg: usize, grid: Grid) -> Result<Leaf, EvalError> {
        let plan = self.plan;
        let arg_id = call.args[arg];
        let subquery = match &plan.node(arg_id).kind {
            Kind::Subquery(s) => {
                // Its samples count where the function looks at them.
                let looked_at = self.samples.total.load(Ordering::Relaxed);
                let result = self.subquery(s, grid)?;
                self.samples.total.store(looked_at, Ordering::Relaxed);
                Some(result)
            }
            _ => None,
        };
        let mut params = Vec::new();
        for (i, param) in call.args.iter().enumerate() {
            if i != arg {
                params.push(self.scalar_values(*param, grid)?);
            }
        }
        let func = call.func;
        let starts = self.flags.use_start_timestamps
            && matches!(
                func,
                FunctionId::Rate | FunctionId::Irate | FunctionId::Increase | FunctionId::Resets
            );
        let (input, spec, extend) = match (&plan.node(arg_id).kind, subquery) {
            (Kind::Subquery(s), Some((block, times))) => {
                let spec = WindowSpec {
                    grid,
                    range: s.range,
                    offset: s.offset,
                    at: s.at,
                    before: 0,
                    after: 0,
                };
                (LeafInput::Rows(block, times), spec, Extend::None)
            }
            (Kind::Matrix(selector), _) => {
                let s = &plan.selectors[*selector];
                let extend = extend_of(s.anchored, s.smoothed, call)?;
                let beyond = |wanted: bool| if wanted { self.lookback } else { 0 };
                let spec = WindowSpec {
                    grid,
                    range: s.range,
                    offset: s.offset,
                    at: s.at,
                    before: beyond(s.anchored || s.smoothed),
                    after: beyond(s.smoothed),
                };
                (LeafInput::Source(s.source), spec, extend)
            }
            _ => return Err(execution("unexpected argument of a function of a range vector")),
        };
        // Annotations point at the first argument, whichever that is. Where it is a subquery
        // Prometheus has lost its position and points at the query's begin.
        let span = match plan.node(call.args[0]).kind {
            Kind::Subquery(_) => Span::default(),
            _ => self.span(call.args[0]),
        };
        let keeps_name = matches!(func, FunctionId::LastOverTime | FunctionId::FirstOverTime);
        Ok(Leaf {
            input,
            job: LeafJob::Range { func, spec, extend, params, starts, interpolate: false },
            drops_name: !keeps_name,
            span,
        })
    }

    /// Evaluates what is inside a subquery, at its own times.
    pub(crate) fn subquery(
        &mut self,
        s: &Subquery,
        grid: Grid,
    ) -> Result<(Block, Grid), EvalError> {
        // Prometheus evaluates a pinned subquery that is asked for at many steps beyond its end, for
        // as long as these go on; nothing looks at that but annotations tell.
        let first = s.at.unwrap_or(grid.start);
        let last = first.saturating_add(grid.end().saturating_sub(grid.start));
        let end = last.saturating_sub(s.offset);
        let after = first.saturating_sub(s.offset).saturating_sub(s.range);
        // The first multiple of the step behind the begin of the range, which is open. Go rounds
        // towards zero.
        let step = s.step.max(1);
        let mut start = step.saturating_mul(after / step);
        if start <= after {
            start = start.saturating_add(step);
        }
        let times = Grid::range(start, end, step);
        let block = self.eval(s.expr, times)?;
        Ok((block, times))
    }

    /// Series of an instant selector.
    #[inline(never)]
    pub(crate) fn instant_selector(
        &mut self,
        selector: usize,
        grid: Grid,
        pick: Pick,
        id: NodeId,
    ) -> Result<Block, EvalError> {
        let leaf = self.instant_leaf(selector, grid, pick, id);
        self.run_leaf(leaf)
    }

    /// Series of a function of a range vector.
    #[inline(never)]
    pub(crate) fn range_function(
        &mut self,
        call: &Call,
        arg: usize,
        grid: Grid,
    ) -> Result<Block, EvalError> {
        let before = self.samples.current();
        let leaf = self.range_leaf(call, arg, grid)?;
        if call.func == FunctionId::AbsentOverTime {
            return self.absent_over_time(leaf, call.args[arg], grid, before);
        }
        // Prometheus goes on counting the values of scalar arguments.
        let held = leaf.params().saturating_mul(grid.n as u64);
        let block = self.run_leaf(leaf)?;
        self.samples.settle(before.saturating_add(held), block.samples());
        Ok(block)
    }

    /// Index of the range vector among the arguments of a call.
    pub(crate) fn matrix_argument(&self, call: &Call) -> Option<usize> {
        range_argument(self, call)
    }

    /// Runs a leaf and keeps its rows.
    #[inline(never)]
    fn run_leaf(&mut self, leaf: Leaf) -> Result<Block, EvalError> {
        let before = self.samples.current();
        let originals = self.leaf_sets(&leaf)?;
        let sets = self.result_sets(&leaf, &originals)?;
        let scanned = {
            let drop = |i: usize| leaf.drops_name || leaf.input.drop_name(i);
            let target = Target::Keep { sets: &sets, drop_name: &drop };
            self.scan_leaf(&leaf, &target)?
        };
        self.annotate(&leaf, &scanned);
        let Output::Rows(block) = scanned.output else {
            return Err(execution("rows expected"));
        };
        if leaf.drops_name && !self.flags.delayed_name_removal {
            self.check_same_sets(&block)?;
        }
        drop(leaf);
        self.finish_scanned(before, block)
    }

    /// Runs a leaf and folds its rows into an aggregation.
    #[inline(never)]
    pub(crate) fn fold_leaf(
        &mut self,
        leaf: Leaf,
        fold: &FoldInto<'_>,
    ) -> Result<(Block, FoldNotes, Vec<SetId>), EvalError> {
        let (groups, sets) = self.leaf_groups(&leaf, fold.projection)?;
        let needs_sets = !self.has_distinct_results(&leaf);
        let originals = if needs_sets { self.leaf_sets(&leaf)? } else { Vec::new() };
        let scanned = {
            let drop = |i: usize| leaf.drops_name || leaf.input.drop_name(i);
            let target =
                Target::Fold { op: fold.op, groups: &groups, count: sets.len(), drop_name: &drop };
            self.scan_leaf(&leaf, &target)?
        };
        if needs_sets {
            let results = self.result_sets(&leaf, &originals)?;
            check_distinct(&results, &scanned.seen.any)?;
        }
        self.annotate(&leaf, &scanned);
        let Output::Folds(folds) = scanned.output else {
            return Err(execution("accumulators expected"));
        };
        let (block, notes) = finish_folds(&self.ctx.budget, folds, &sets)?;
        let incompatible = self.sets_of(&leaf, &notes.incompatible)?;
        Ok((block, notes, incompatible))
    }

    #[inline(never)]
    fn absent_over_time(
        &mut self,
        leaf: Leaf,
        arg: NodeId,
        grid: Grid,
        before: u64,
    ) -> Result<Block, EvalError> {
        let set = self.absent_labels(arg)?;
        let n = leaf.len(self);
        let groups = vec![0; n];
        let target = Target::Fold {
            op: AggregateOp::Group,
            groups: &groups,
            count: 1,
            drop_name: &|_| false,
        };
        let scanned = self.scan_leaf(&leaf, &target)?;
        let Output::Folds(folds) = scanned.output else {
            return Err(execution("accumulators expected"));
        };
        let (present, _) = finish_folds(&self.ctx.budget, folds, &[SetId::EMPTY])?;
        let mut block = absent(&present, set, grid);
        // As in Prometheus what was looked at stays counted, and not what is returned.
        self.samples.settle(before, scanned.samples);
        super::limits::account(&self.ctx.budget, &mut block)?;
        Ok(block)
    }

    fn finish_scanned(&mut self, before: u64, mut block: Block) -> Result<Block, EvalError> {
        self.samples.settle(before, block.samples());
        super::limits::account(&self.ctx.budget, &mut block)?;
        Ok(block)
    }

    fn scan_leaf(&self, leaf: &Leaf, target: &Target<'_>) -> Result<Scanned, EvalError> {
        let input = match &leaf.input {
            LeafInput::Source(source) => {
                let spec = &self.plan.sources[*source];
                let resets_from = spec.detects_resets.then_some(spec.hints.start);
                Input::Series(&self.sources[*source].series, resets_from)
            }
            LeafInput::Rows(block, grid) => Input::Rows(block, *grid),
        };
        match &leaf.job {
            LeafJob::Instant(job) => self.scan(input, Job::Instant(*job), target),
            LeafJob::Range { func, spec, extend, params, starts, interpolate } => {
                let job = RangeJob {
                    func: *func,
                    spec: *spec,
                    extend: *extend,
                    params,
                    starts: *starts,
                    interpolate: *interpolate,
                };
                self.scan(input, Job::Range(&job), target)
            }
        }
    }

    /// The label sets of a leaf's series.
    fn leaf_sets(&mut self, leaf: &Leaf) -> Result<Vec<SetId>, EvalError> {
        Ok(match &leaf.input {
            LeafInput::Source(source) => {
                let Self { sources, store, .. } = self;
                sources[*source].sets(store)?.to_vec()
            }
            LeafInput::Rows(block, _) => block.sets.clone(),
        })
    }

    /// Label sets of some of a leaf's series.
    fn sets_of(&mut self, leaf: &Leaf, series: &[usize]) -> Result<Vec<SetId>, EvalError> {
        if series.is_empty() {
            return Ok(Vec::new());
        }
        let originals = self.leaf_sets(leaf)?;
        let results = self.result_sets(leaf, &originals)?;
        Ok(series.iter().filter_map(|s| results.get(*s).copied()).collect())
    }

    /// The label sets of the results.
    fn result_sets(&mut self, leaf: &Leaf, sets: &[SetId]) -> Result<Vec<SetId>, StorageError> {
        if self.flags.delayed_name_removal {
            return Ok(sets.to_vec());
        }
        let mut results = Vec::with_capacity(sets.len());
        for (i, &set) in sets.iter().enumerate() {
            let drops = leaf.drops_name || leaf.input.drop_name(i);
            results.push(if drops { self.store.drop_metadata(set)? } else { set });
        }
        Ok(results)
    }

    /// Whether the labels of the results are distinct without looking.
    fn has_distinct_results(&self, leaf: &Leaf) -> bool {
        if !leaf.drops_name || self.flags.delayed_name_removal {
            return true;
        }
        match leaf.input {
            LeafInput::Source(source) => {
                let source = &self.sources[source];
                source.one_name && !self.flags.type_and_unit_labels
            }
            LeafInput::Rows(..) => false,
        }
    }

    /// The group of each series of a leaf, and the label sets of the groups.
    fn leaf_groups(
        &mut self,
        leaf: &Leaf,
        projection: &Projection,
    ) -> Result<(Vec<u32>, Vec<SetId>), EvalError> {
        let n = leaf.len(self);
        if projection.keep && projection.labels.is_empty() {
            return Ok((vec![0; n], vec![SetId::EMPTY]));
        }
        let mut numbering = Numbering::default();
        let mut groups = Vec::with_capacity(n);
        let mut scratch = Vec::new();
        let drops = leaf.drops_name && !self.flags.delayed_name_removal;
        let Self { sources, store, .. } = self;
        for i in 0..n {
            scratch.clear();
            let pairs = match &leaf.input {
                LeafInput::Source(source) => sources[*source].series.pairs(i),
                LeafInput::Rows(block, _) => store.pairs(block.sets[i]),
            };
            // What the function drops cannot be grouped by.
            let decides = |label| projection.has(label) && !(drops && store.is_metadata(label));
            scratch.extend(pairs.iter().copied().filter(|p| decides(p.0)));
            let set = store.intern(&scratch)?;
            groups.push(numbering.number(set) as u32);
        }
        Ok((groups, numbering.sets))
    }

    /// Turns what kernels noticed into annotations.
    fn annotate(&mut self, leaf: &Leaf, scanned: &Scanned) {
        for (series, notes) in &scanned.notes {
            let name = self.leaf_name(leaf, *series);
            self.annotate_notes(leaf.span, &name, notes);
        }
        if let LeafJob::Range { func: FunctionId::Rate | FunctionId::Increase, .. } = leaf.job {
            self.annotate_counters(leaf, &scanned.seen.floats);
        }
    }

    /// The metric name of one of a leaf's series.
    fn leaf_name(&self, leaf: &Leaf, series: usize) -> String {
        let pairs = match &leaf.input {
            LeafInput::Source(source) => self.sources[*source].series.pairs(series),
            LeafInput::Rows(block, _) => self.store.pairs(block.sets[series]),
        };
        let name = self.store.name_label();
        let value = pairs.iter().find(|p| p.0 == name).map(|p| p.1);
        value.map_or_else(String::new, |v| self.store.interner.text(v).to_owned())
    }

    fn annotate_notes(&mut self, span: Span, name: &str, notes: &Notes) {
        use crate::engine::notes as text;
        let a = &mut self.annotations;
        if notes.mixed {
            a.warn(span, text::mixed_floats_histograms(name));
        }
        if notes.ignored {
            a.info(span, text::ignored_in_mixed_range(name));
        }
        if notes.not_counter {
            a.warn(span, text::not_counter(name));
        }
        if notes.not_gauge {
            a.warn(span, text::not_gauge(name));
        }
        if notes.mixed_schemas {
            a.warn(span, text::mixed_schemas(name));
        }
        if notes.reset_collision {
            a.warn(span, text::reset_collision("aggregation"));
        }
        for (happened, operation) in [
            (notes.reconciled_add, "addition"),
            (notes.reconciled_sub, "subtraction"),
            (notes.reconciled_agg, "aggregation"),
        ] {
            if happened {
                a.info(span, text::reconciled(operation));
            }
        }
        if notes.start_overlaps > 0 {
            a.warn(span, text::start_overlap(name));
        }
        for q in &notes.bad_quantiles {
            a.warn(span, text::invalid_quantile(*q));
        }
    }

    /// Says which metrics under `rate` or `increase` do not look like counters.
    fn annotate_counters(&mut self, leaf: &Leaf, with_floats: &[u64]) {
        let (name_label, type_label) =
            (self.store.name_label(), self.store.interner.lookup("__type__"));
        let mut seen: Vec<(u32, Option<u32>)> = Vec::new();
        for i in bits::ones(with_floats) {
            let pairs = match &leaf.input {
                LeafInput::Source(source) => self.sources[*source].series.pairs(i),
                LeafInput::Rows(block, _) => self.store.pairs(block.sets[i]),
            };
            let get = |label: u32| pairs.iter().find(|p| p.0 == label).map(|p| p.1);
            let Some(name) = get(name_label) else { continue };
            let kind =
                if self.flags.type_and_unit_labels { type_label.and_then(get) } else { None };
            if seen.last() != Some(&(name, kind)) && !seen.contains(&(name, kind)) {
                seen.push((name, kind));
            }
        }
        for (name, kind) in seen {
            let name = self.store.interner.text(name);
            if self.flags.type_and_unit_labels {
                let kind = kind.map_or("", |k| self.store.interner.text(k));
                if !matches!(kind, "counter" | "histogram") {
                    let text = crate::engine::notes::maybe_no_counter_label(name, kind);
                    self.annotations.info(leaf.span, text);
                }
            } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|s| name.ends_with(s)) {
                self.annotations.info(leaf.span, crate::engine::notes::maybe_no_counter(name));
            }
        }
    }
}

impl Leaf {
    /// Number of scalar arguments.
    const fn params(&self) -> u64 {
        match &self.job {
            LeafJob::Instant(_) => 0,
            LeafJob::Range { params, .. } => params.len() as u64,
        }
    }

    fn len(&self, evaluator: &Evaluator<'_>) -> usize {
        match &self.input {
            LeafInput::Source(source) => evaluator.sources[*source].series.len(),
            LeafInput::Rows(block, _) => block.len(),
        }
    }
}

impl LeafInput {
    /// Whether the name of a series is to be dropped at the end of the query anyway.
    fn drop_name(&self, series: usize) -> bool {
        match self {
            Self::Source(_) => false,
            Self::Rows(block, _) => block.drop_name[series],
        }
    }
}

/// The modifier of a range selector, if the function can be used with it.
fn extend_of(anchored: bool, smoothed: bool, call: &Call) -> Result<Extend, EvalError> {
    use FunctionId as F;
    let refuse = |modifier: &str, with: &str| {
        let name = crate::functions::name_of(call.func);
        Err(execution(format!(
            "{modifier} modifier can only be used with: {with} - not with {name}"
        )))
    };
    let plain = matches!(call.func, F::Rate | F::Increase | F::Delta);
    if anchored {
        if plain || matches!(call.func, F::Resets | F::Changes) {
            return Ok(Extend::Anchored);
        }
        return refuse("anchored", "changes, delta, increase, rate, resets");
    }
    if smoothed {
        return if plain {
            Ok(Extend::Smoothed)
        } else {
            refuse("smoothed", "delta, increase, rate")
        };
    }
    Ok(Extend::None)
}

/// Fails if two of the series that gave samples have the same labels.
fn check_distinct(sets: &[SetId], present: &[u64]) -> Result<(), EvalError> {
    let mut numbering = Numbering::default();
    for (count, series) in bits::ones(present).enumerate() {
        if numbering.number(sets[series]) != count {
            return Err(same_labelset());
        }
    }
    Ok(())
}

/// A series of ones where no row of `present` has a sample.
pub(crate) fn absent(present: &Block, set: SetId, grid: Grid) -> Block {
    let mut any = vec![0; bits::words(grid.n)];
    for row in 0..present.len() {
        bits::or(&mut any, present.present(row));
    }
    let mut all = vec![0; any.len()];
    bits::fill(&mut all, grid.n);
    all.iter_mut().zip(&any).for_each(|(all, any)| *all &= !any);
    let mut block = Block::new(grid.n);
    if bits::any(&all) {
        let row = block.push_row(set, false);
        let (values, present) = block.columns_mut(row);
        values.fill(1.0);
        present.copy_from_slice(&all);
    }
    block
}
