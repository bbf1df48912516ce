//! Evaluates calls of functions, those of range vectors excepted.
//!
//! Calls nest hundreds of levels deep: what a level takes of the stack is kept small by functions
//! that are not inlined into the one that chooses among them.

use std::collections::HashMap;

use firesteel_model::{METRIC_NAME, MatchOp, Matcher, regex::Regex};

use super::{
    block::{Block, bits},
    error::{EvalError, execution},
    eval::Evaluator,
    labels::SetId,
    leaf, limits, notes as text,
    plan::{Call, Kind, NodeId},
};
use crate::{
    aggregate::select::widest_step,
    functions::{FunctionId, label::precedes, math, name_of},
    go, histogram,
    window::{Grid, Pick},
};

impl Evaluator<'_> {
    /// Evaluates a call.
    pub(crate) fn call(&mut self, id: NodeId, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        use FunctionId as F;
        if let Some(arg) = self.matrix_argument(call) {
            return self.range_function(call, arg, grid);
        }
        let before = self.samples.current();
        let outer = std::mem::take(&mut self.gathered);
        let block = match call.func {
            F::Time => {
                let mut block = Block::scalar(grid.n, 0.0);
                for (i, v) in block.values_mut(0).iter_mut().enumerate() {
                    *v = grid.time(i) as f64 / 1000.0;
                }
                block
            }
            F::Pi => Block::scalar(grid.n, std::f64::consts::PI),
            F::MaxOf | F::MinOf => self.extreme_of(call, grid)?,
            F::Scalar => self.scalar_of(call, grid)?,
            F::Vector => self.argument(call, 0, grid)?,
            F::Timestamp | F::StartTimestamp => self.timestamp(call, grid)?,
            F::Absent => {
                let block = self.argument(call, 0, grid)?;
                let set = self.absent_labels(call.args[0])?;
                leaf::absent(&block, set, grid)
            }
            F::Sort | F::SortDesc | F::SortByLabel | F::SortByLabelDesc => {
                self.sort(id, call, grid)?
            }
            F::LabelReplace => self.label_replace(call, grid)?,
            F::LabelJoin => self.label_join(call, grid)?,
            F::Info => self.info(call, grid)?,
            F::HistogramQuantile | F::HistogramQuantiles | F::HistogramFraction => {
                self.histogram_function(call, grid)?
            }
            F::HistogramCount
            | F::HistogramSum
            | F::HistogramAvg
            | F::HistogramStddev
            | F::HistogramStdvar => self.histogram_statistic(call, grid)?,
            F::Round | F::Clamp | F::ClampMin | F::ClampMax => self.with_scalars(call, grid)?,
            func => {
                let Some(f) = math::elementwise(func) else {
                    let name = name_of(func);
                    return Err(execution(format!("function {name} cannot be evaluated here")));
                };
                self.map_floats(call, grid, f)?
            }
        };
        let gathered = std::mem::replace(&mut self.gathered, outer);
        if matches!(call.func, F::LabelReplace | F::LabelJoin) {
            // These change labels in place.
            self.samples.settle(before, 0);
            return self.finish(before, 0, block);
        }
        self.finish(before, gathered, block)
    }

    /// The value of an argument.
    pub(crate) fn argument(
        &mut self,
        call: &Call,
        index: usize,
        grid: Grid,
    ) -> Result<Block, EvalError> {
        match call.args.get(index) {
            Some(arg) => {
                let others = self.gathered;
                let block = self.eval(*arg, grid)?;
                self.gathered = others + widest_step(&block);
                Ok(block)
            }
            None => Err(execution(format!("missing argument of {}", name_of(call.func)))),
        }
    }

    /// The value of a scalar argument at each step.
    pub(crate) fn scalar_argument(
        &mut self,
        call: &Call,
        index: usize,
        grid: Grid,
    ) -> Result<Vec<f64>, EvalError> {
        match call.args.get(index) {
            Some(arg) => {
                let others = self.gathered;
                let values = self.scalar_values(*arg, grid)?;
                self.gathered = others + 1;
                Ok(values)
            }
            None => Err(execution(format!("missing argument of {}", name_of(call.func)))),
        }
    }

    /// The text of a string argument.
    fn text_argument(&self, call: &Call, index: usize) -> &str {
        call.args.get(index).map_or("", |arg| self.plan.text(*arg))
    }

    /// A function of single floats; date functions without an argument take the time.
    #[inline(never)]
    fn map_floats(
        &mut self,
        call: &Call,
        grid: Grid,
        f: fn(f64) -> f64,
    ) -> Result<Block, EvalError> {
        if call.args.is_empty() {
            let mut block = Block::scalar(grid.n, 0.0);
            for (i, v) in block.values_mut(0).iter_mut().enumerate() {
                *v = f(grid.time(i).div_euclid(1000) as f64);
            }
            return Ok(block);
        }
        let mut block = self.argument(call, 0, grid)?;
        block.remove_histograms();
        for row in 0..block.len() {
            block.values_mut(row).iter_mut().for_each(|v| *v = f(*v));
        }
        self.renamed(block, grid)
    }

    /// Drops names, then what follows from it.
    fn renamed(&mut self, mut block: Block, grid: Grid) -> Result<Block, EvalError> {
        block.remove_empty_rows();
        self.drop_names(&mut block)?;
        self.merge_results(block, grid)
    }

    #[inline(never)]
    fn with_scalars(&mut self, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        use FunctionId as F;
        let mut block = self.argument(call, 0, grid)?;
        block.remove_histograms();
        let first = match call.args.get(1) {
            Some(_) => self.scalar_argument(call, 1, grid)?,
            None => vec![1.0; grid.n],
        };
        if call.func == F::Round {
            let inverse: Vec<f64> = first.iter().map(|to| 1.0 / to).collect();
            for row in 0..block.len() {
                let values = block.values_mut(row).iter_mut().zip(&inverse);
                values.for_each(|(v, inverse)| *v = math::round(*v, *inverse));
            }
            return self.renamed(block, grid);
        }
        let (min, max) = match call.func {
            F::ClampMin => (first, vec![f64::INFINITY; grid.n]),
            F::ClampMax => (vec![f64::NEG_INFINITY; grid.n], first),
            _ => (first, self.scalar_argument(call, 2, grid)?),
        };
        for row in 0..block.len() {
            let (values, present) = block.columns_mut(row);
            for (step, v) in values.iter_mut().enumerate() {
                if max[step] < min[step] {
                    bits::clear(present, step);
                } else {
                    *v = math::clamp(*v, min[step], max[step]);
                }
            }
        }
        self.renamed(block, grid)
    }

    #[inline(never)]
    fn extreme_of(&mut self, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        let a = self.scalar_argument(call, 0, grid)?;
        let b = self.scalar_argument(call, 1, grid)?;
        let f = if call.func == FunctionId::MaxOf { math::go_max } else { math::go_min };
        let mut block = Block::scalar(grid.n, 0.0);
        for (v, (a, b)) in block.values_mut(0).iter_mut().zip(a.iter().zip(&b)) {
            *v = f(*a, *b);
        }
        Ok(block)
    }

    /// `scalar`: the float at each step, if there is exactly one.
    #[inline(never)]
    fn scalar_of(&mut self, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        let mut vector = self.argument(call, 0, grid)?;
        vector.remove_histograms();
        let mut counts = vec![0_u32; grid.n];
        let mut block = Block::scalar(grid.n, f64::NAN);
        let values = block.values_mut(0);
        for row in 0..vector.len() {
            let samples = vector.row(row);
            for step in bits::ones(samples.present) {
                counts[step] = counts[step].saturating_add(1);
                values[step] = samples.values[step];
            }
        }
        for (v, count) in values.iter_mut().zip(counts) {
            if count != 1 {
                *v = f64::NAN;
            }
        }
        Ok(block)
    }

    /// `timestamp` and `start_timestamp`: of the samples for plain selectors, else the time.
    #[inline(never)]
    fn timestamp(&mut self, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        let start = call.func == FunctionId::StartTimestamp;
        let plan = self.plan;
        let arg = call.args.first().copied();
        let selector = arg.and_then(|id| match &plan.node(id).kind {
            Kind::Vector(selector) => Some((*selector, id)),
            _ => None,
        });
        let block = if let Some((selector, id)) = selector {
            if start && !self.flags.use_start_timestamps {
                return Ok(Block::new(grid.n));
            }
            let pick = if start { Pick::StartTime } else { Pick::Time };
            let before = self.samples.current();
            let block = self.instant_selector(selector, grid, pick, id)?;
            // They are looked at step by step.
            self.samples.settle(before, 0);
            self.gathered = widest_step(&block);
            block
        } else {
            let mut block = self.argument(call, 0, grid)?;
            if start {
                return Ok(Block::new(grid.n));
            }
            let _reserved = limits::reserve_rows(&self.ctx.budget, block.len(), grid.n)?;
            let mut times = Block::new(grid.n);
            for row in 0..block.len() {
                let target = times.push_row(block.sets[row], block.drop_name[row]);
                let (values, present) = times.columns_mut(target);
                present.copy_from_slice(block.present(row));
                values.iter_mut().enumerate().for_each(|(i, v)| *v = grid.time(i) as f64 / 1000.0);
            }
            times.reserved = block.reserved.take();
            times
        };
        self.renamed(block, grid)
    }

    /// The labels that `absent` can give its result: those that a selector pins down.
    #[inline(never)]
    pub(crate) fn absent_labels(&mut self, arg: NodeId) -> Result<SetId, EvalError> {
        let plan = self.plan;
        let (Kind::Vector(selector) | Kind::Matrix(selector)) = plan.node(arg).kind else {
            return Ok(SetId::EMPTY);
        };
        let (_, matchers) = plan.selector(selector);
        let mut builder = firesteel_model::LabelsBuilder::new();
        let mut seen: Vec<&str> = Vec::new();
        // Prometheus' storage puts what excludes series behind what finds them, and `absent` sees
        // the matchers in that order.
        let set = |name: &str| matchers.iter().any(|m| m.name() == name && !m.matches_empty());
        let excludes = |m: &&Matcher| {
            let negative = matches!(m.op(), MatchOp::NotEqual | MatchOp::NotRegex);
            !set(m.name()) || negative && m.matches_empty()
        };
        let (last, first): (Vec<_>, Vec<_>) =
            matchers.iter().filter(|m| m.name() != METRIC_NAME).partition(excludes);
        for m in first.into_iter().chain(last) {
            if m.op() == MatchOp::Equal && !seen.contains(&m.name()) {
                builder.set(m.name(), m.value());
                seen.push(m.name());
            } else {
                builder.del(m.name());
            }
        }
        Ok(self.store.intern_labels(&builder.build())?)
    }

    #[inline(never)]
    fn sort(&mut self, id: NodeId, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        use FunctionId as F;
        let by_value = matches!(call.func, F::Sort | F::SortDesc);
        let range_query = grid.n > 1;
        if range_query {
            let span = self.span(id);
            self.annotations.warn(span, text::SORT_IN_RANGE_QUERY);
        }
        let mut block = self.argument(call, 0, grid)?;
        if by_value {
            block.remove_histograms();
        }
        block.remove_empty_rows();
        if range_query || block.len() < 2 {
            return Ok(block);
        }
        let mut order: Vec<usize> = (0..block.len()).collect();
        if by_value {
            let descending = call.func == F::SortDesc;
            // NaN comes last in both.
            go::sort::sort_by(&mut order, |a, b| {
                let (a, b) = (block.values(*a)[0], block.values(*b)[0]);
                b.is_nan() || if descending { b < a } else { b > a }
            });
        } else {
            let labels = (1..call.args.len())
                .map(|i| self.store.interner.lookup(self.text_argument(call, i)))
                .collect::<Vec<_>>();
            let descending = call.func == F::SortByLabelDesc;
            let store = &self.store;
            go::sort::sort_by(&mut order, |a, b| {
                let (a, b) = (block.sets[*a], block.sets[*b]);
                let texts = |label: &u32| (store.text(a, *label), store.text(b, *label));
                match labels.iter().flatten().map(texts).find(|(x, y)| x != y) {
                    Some((x, y)) => precedes(x, y) != descending,
                    None if descending => store.compare(a, b).is_gt(),
                    None => store.compare(a, b).is_lt(),
                }
            });
        }
        block.reorder(&order);
        Ok(block)
    }

    #[inline(never)]
    fn label_replace(&mut self, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        let get = |i| self.text_argument(call, i).to_owned();
        let (destination, template, source, pattern) = (get(1), get(2), get(3), get(4));
        let regex = Regex::anchored(&pattern).map_err(|_| {
            execution(format!("invalid regular expression in label_replace(): {pattern}"))
        })?;
        if !is_label_name(&destination) {
            return Err(execution(format!(
                "invalid destination label name in label_replace(): {destination}"
            )));
        }
        let mut block = self.argument(call, 0, grid)?;
        let destination = self.store.interner.intern(&destination)?;
        let source = self.store.interner.intern(&source)?;
        let empty = self.store.interner.intern("")?;
        let renames = destination == self.store.name_label();
        // What each source value becomes, `None` where the expression does not match.
        let mut known: HashMap<u32, Option<u32>> = HashMap::new();
        for row in 0..block.len() {
            let value = self.store.value(block.sets[row], source).unwrap_or(empty);
            let result = match known.get(&value) {
                Some(result) => *result,
                None => {
                    let text = self.store.interner.text(value);
                    // A template may have the text in it many times.
                    let parts = template.matches('$').count() as u64 + 1;
                    let most = parts.saturating_mul(text.len() as u64);
                    let _room = limits::room_for_text(&self.ctx.budget, most)?;
                    let replaced = regex.captures(text).map(|captures| {
                        let mut out = String::new();
                        regex.expand(&template, text, &captures, &mut out);
                        out
                    });
                    let result = match replaced {
                        Some(out) => Some(self.store.interner.intern(&out)?),
                        None => None,
                    };
                    known.insert(value, result);
                    result
                }
            };
            self.account_labels()?;
            // Each time: a template can be long.
            self.ctx.check()?;
            if let Some(result) = result {
                block.sets[row] = self.store.with_label(block.sets[row], destination, result)?;
                if renames {
                    block.drop_name[row] = false;
                }
            }
        }
        self.merge_same_sets(block)
    }

    #[inline(never)]
    fn label_join(&mut self, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        let get = |i| self.text_argument(call, i).to_owned();
        let (destination, separator) = (get(1), get(2));
        let sources: Vec<String> = (3..call.args.len()).map(get).collect();
        if let Some(bad) = sources.iter().find(|s| !is_label_name(s)) {
            return Err(execution(format!("invalid source label name in label_join(): {bad}")));
        }
        if !is_label_name(&destination) {
            return Err(execution(format!(
                "invalid destination label name in label_join(): {destination}"
            )));
        }
        let mut block = self.argument(call, 0, grid)?;
        let destination = self.store.interner.intern(&destination)?;
        let sources = self.store.label_ids(&sources)?;
        let renames = destination == self.store.name_label();
        let mut joined = String::new();
        for row in 0..block.len() {
            self.account_labels()?;
            if row % 256 == 0 {
                self.ctx.check()?;
            }
            joined.clear();
            let texts = sources.iter().map(|s| self.store.text(block.sets[row], *s).len());
            let most = texts.map(|len| (len + separator.len()) as u64).sum::<u64>();
            let _room = limits::room_for_text(&self.ctx.budget, most.saturating_mul(2))?;
            for (i, source) in sources.iter().enumerate() {
                if i > 0 {
                    joined.push_str(&separator);
                }
                joined.push_str(self.store.text(block.sets[row], *source));
            }
            let value = self.store.interner.intern(&joined)?;
            block.sets[row] = self.store.with_label(block.sets[row], destination, value)?;
            if renames {
                block.drop_name[row] = false;
            }
        }
        self.merge_same_sets(block)
    }

    /// Functions of native histograms alone.
    #[inline(never)]
    fn histogram_statistic(&mut self, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        use FunctionId as F;
        let block = self.argument(call, 0, grid)?;
        let reserved = limits::reserve_rows(&self.ctx.budget, block.len(), grid.n)?;
        let mut result = Block::new(grid.n);
        result.reserved = Some(reserved);
        for row in 0..block.len() {
            let samples = block.row(row);
            if samples.histograms.is_empty() {
                continue;
            }
            let set = if self.flags.delayed_name_removal {
                block.sets[row]
            } else {
                self.store.drop_name(block.sets[row])?
            };
            let target = result.push_row(set, true);
            for (step, h) in samples.histograms.iter().enumerate() {
                let Some(h) = h else { continue };
                let v = match call.func {
                    F::HistogramCount => h.count,
                    F::HistogramSum => h.sum,
                    F::HistogramAvg => h.sum / h.count,
                    F::HistogramStddev => histogram::variance(h).sqrt(),
                    _ => histogram::variance(h),
                };
                result.set(target, step, v);
            }
        }
        result.remove_empty_rows();
        self.merge_results(result, grid)
    }
}

/// Whether a string literal can name a label. Strings of a query are Rust strings, in which bytes
/// that are not UTF-8 have become replacement characters; Prometheus refuses those.
pub(crate) fn is_label_name(name: &str) -> bool {
    firesteel_model::is_utf8_label_name(name) && !name.contains(char::REPLACEMENT_CHARACTER)
}
