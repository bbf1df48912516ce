//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction`, of classic histograms (a
//! series per bucket) and native ones.

use firesteel_model::float::format_f;

use super::{
    block::{Block, bits},
    error::EvalError,
    eval::Evaluator,
    labels::{Numbering, SetId},
    limits::{self, Room},
    notes as text,
    plan::{Call, NodeId},
};
use crate::{
    ForcedMonotonicity,
    ast::Span,
    functions::FunctionId,
    histogram,
    quantile::{self, Bucket},
    window::Grid,
};

/// The series of a classic histogram.
struct Group {
    /// Its labels without `le`.
    set: SetId,
    /// Upper bound and row of each bucket, by bound.
    rows: Vec<(f64, usize)>,
    /// The row that may have native histograms of the same labels.
    native: Option<usize>,
    drop_name: bool,
}

/// What is asked of the histograms.
enum Question {
    /// A quantile per step, and where annotations about it point.
    Quantile(Vec<f64>),
    /// Bounds per step.
    Fraction(Vec<f64>, Vec<f64>),
}

impl Evaluator<'_> {
    /// Evaluates a function of histograms of either kind.
    #[inline(never)]
    pub(crate) fn histogram_function(
        &mut self,
        call: &Call,
        grid: Grid,
    ) -> Result<Block, EvalError> {
        use FunctionId as F;
        match call.func {
            F::HistogramQuantile => {
                let q = self.scalar_argument(call, 0, grid)?;
                let block = self.argument(call, 1, grid)?;
                self.warn_of_quantiles(&q, call.args[0]);
                let span = self.span(call.args[1]);
                let groups = self.split(&block, span)?;
                let result = self.answer(&block, &groups, &Question::Quantile(q), span, grid)?;
                self.merge_results(result, grid)
            }
            F::HistogramFraction => {
                let lower = self.scalar_argument(call, 0, grid)?;
                let upper = self.scalar_argument(call, 1, grid)?;
                let block = self.argument(call, 2, grid)?;
                let span = self.span(call.args[2]);
                let groups = self.split(&block, span)?;
                let question = Question::Fraction(lower, upper);
                let result = self.answer(&block, &groups, &question, span, grid)?;
                self.merge_results(result, grid)
            }
            _ => self.quantiles(call, grid),
        }
    }

    /// `histogram_quantiles(v, "label", q...)`: a series per quantile.
    fn quantiles(&mut self, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        let block = self.argument(call, 0, grid)?;
        let label = call.args.get(1).map_or("", |a| self.plan.text(*a)).to_owned();
        let label = self.store.interner.intern(&label)?;
        let span = self.span(call.args[0]);
        let mut questions = Vec::new();
        for i in 2..call.args.len() {
            questions.push((self.scalar_argument(call, i, grid)?, call.args[i]));
        }
        for (q, arg) in &questions {
            self.warn_of_quantiles(q, *arg);
        }
        let groups = self.split(&block, span)?;
        let mut all = Block::new(grid.n);
        let mut room = Room::new(&self.ctx.budget)?;
        for (q, _) in questions {
            // Almost always the quantile is the same at all steps.
            let mut distinct = q.clone();
            distinct.sort_by(f64::total_cmp);
            distinct.dedup_by_key(|v| v.to_bits());
            let answers =
                self.answer(&block, &groups, &Question::Quantile(q.clone()), span, grid)?;
            for value in distinct {
                let shown = self.store.interner.intern(&open_metrics_float(value))?;
                for row in 0..answers.len() {
                    let set = self.store.with_label(answers.sets[row], label, shown)?;
                    room.row(&mut all)?;
                    let target = all.push(set, answers.drop_name[row], answers.row(row));
                    let present = all.present_mut(target);
                    for (step, q) in q.iter().enumerate() {
                        if q.to_bits() != value.to_bits() {
                            bits::clear(present, step);
                        }
                    }
                }
            }
        }
        room.give(&mut all);
        all.remove_empty_rows();
        self.merge_results(all, grid)
    }

    /// Warns of quantiles that are none. To be called when all arguments have been evaluated: theirs
    /// come first.
    fn warn_of_quantiles(&mut self, q: &[f64], arg: NodeId) {
        let span = self.span(arg);
        let mut last = None;
        for bad in q.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
            if last != Some(bad.to_bits()) {
                self.annotations.warn(span, text::invalid_quantile(*bad));
                last = Some(bad.to_bits());
            }
        }
    }

    /// Sorts rows into histograms.
    fn split(&mut self, block: &Block, span: Span) -> Result<Vec<Group>, EvalError> {
        let le = self.store.interner.intern("le")?;
        let mut numbering = Numbering::default();
        let mut groups: Vec<Group> = Vec::new();
        let mut group_of = |groups: &mut Vec<Group>, set: SetId, drop_name: bool| {
            let known = numbering.len();
            let number = numbering.number(set);
            if number == known {
                groups.push(Group { set, rows: Vec::new(), native: None, drop_name });
            }
            number
        };
        for row in 0..block.len() {
            let samples = block.row(row);
            let natives = samples.histograms.iter().flatten().count();
            if natives > 0 {
                let group = group_of(&mut groups, block.sets[row], block.drop_name[row]);
                groups[group].native = Some(row);
            }
            if bits::count(samples.present) == natives {
                continue;
            }
            let bound = self.store.text(block.sets[row], le);
            match bound.parse::<f64>() {
                Ok(upper) => {
                    let set = self.store.filtered(block.sets[row], |label| label != le)?;
                    let group = group_of(&mut groups, set, block.drop_name[row]);
                    groups[group].rows.push((upper, row));
                }
                Err(_) => {
                    let name = if self.flags.delayed_name_removal {
                        self.store.metric_name(block.sets[row])
                    } else {
                        ""
                    };
                    let note = text::bad_bucket_label(name, bound);
                    self.annotations.warn(span, note);
                }
            }
        }
        for group in &mut groups {
            group.rows.sort_by(|a, b| quantile::nan_first(&a.0, &b.0));
        }
        Ok(groups)
    }

    /// Answers a question about each histogram.
    fn answer(
        &mut self,
        block: &Block,
        groups: &[Group],
        question: &Question,
        span: Span,
        grid: Grid,
    ) -> Result<Block, EvalError> {
        let reserved = limits::reserve_rows(&self.ctx.budget, groups.len(), grid.n)?;
        let mut result = Block::new(grid.n);
        result.reserve_rows(groups.len());
        result.reserved = Some(reserved);
        let mut buckets: Vec<Bucket> = Vec::new();
        for group in groups {
            let set = if self.flags.delayed_name_removal {
                group.set
            } else {
                self.store.drop_metadata(group.set)?
            };
            let name = if self.flags.delayed_name_removal {
                self.store.metric_name(group.set).to_owned()
            } else {
                String::new()
            };
            self.ctx.check()?;
            let target = result.push_row(set, true);
            let _ = group.drop_name;
            for step in 0..grid.n {
                buckets.clear();
                for &(upper, row) in &group.rows {
                    let samples = block.row(row);
                    if samples.has(step) && samples.histogram(step).is_none() {
                        buckets.push(Bucket { upper, count: samples.values[step] });
                    }
                }
                let native = group.native.and_then(|row| block.row(row).histogram(step));
                if let Some(h) = native {
                    if !buckets.is_empty() {
                        self.annotations.warn(span, text::mixed_classic_native(&name));
                        continue;
                    }
                    let (v, note) = match question {
                        Question::Quantile(q) => histogram::quantile(q[step], h),
                        Question::Fraction(lower, upper) => {
                            histogram::fraction(lower[step], upper[step], h)
                        }
                    };
                    if let Some(note) = note {
                        self.annotations.info(span, text::quantile_note(note, &name));
                    }
                    result.set(target, step, v);
                    continue;
                }
                if buckets.is_empty() {
                    continue;
                }
                match question {
                    Question::Fraction(lower, upper) => {
                        let v = quantile::bucket_fraction(lower[step], upper[step], &mut buckets);
                        result.set(target, step, v);
                    }
                    Question::Quantile(q) => {
                        let (v, forced) = quantile::bucket_quantile(q[step], &mut buckets);
                        if let Some(forced) = forced {
                            let t = grid.time(step);
                            let what = ForcedMonotonicity {
                                min_t: t,
                                max_t: t,
                                min_bucket: forced.min_bucket,
                                max_bucket: forced.max_bucket,
                                max_diff: forced.max_diff,
                                samples: 1,
                            };
                            self.annotations.forced_monotonicity(span, &name, what);
                        }
                        result.set(target, step, v);
                    }
                }
            }
        }
        result.remove_empty_rows();
        Ok(result)
    }
}

/// A float as OpenMetrics writes it: with a point, if it has no exponent.
fn open_metrics_float(v: f64) -> String {
    match v {
        1.0 => return "1.0".to_owned(),
        0.0 => return "0.0".to_owned(),
        -1.0 => return "-1.0".to_owned(),
        _ => {}
    }
    if !v.is_finite() {
        return format_f(v);
    }
    let text = crate::go::format_g(v);
    if text.contains(['e', '.']) { text } else { text + ".0" }
}
