//! `info`: adds labels of info series to the series that they describe.
//!
//! Source: Prometheus `promql/info.go`. Info series are found by the labels `instance` and `job`.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_model::{METRIC_NAME, MatchOp, Matcher, Timestamp, storage::SelectHints};

use super::{
    block::{Block, bits},
    error::{EvalError, execution, same_labelset},
    eval::Evaluator,
    labels::{Numbering, Pair, SetId},
    limits::Room,
    plan::{Call, Kind, NodeId},
    scan::{Input, Job, Output, Target},
    source::Source,
};
use crate::window::{Grid, InstantJob, Pick};

/// Labels that identify what an info series is about.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// Info series at all steps; values are the times of their samples.
struct InfoSeries {
    block: Block,
    /// Name and identifying labels of each row, as a set.
    signatures: Vec<SetId>,
    /// Distinct names.
    names: Vec<u32>,
}

impl Evaluator<'_> {
    /// Evaluates `info`.
    #[inline(never)]
    pub(crate) fn info(&mut self, call: &Call, grid: Grid) -> Result<Block, EvalError> {
        let base_id = call.args.first().copied().unwrap_or_default();
        let (at, offset) = self.info_reference(base_id);
        let base = self.argument(call, 0, grid)?;
        let plan = self.plan;
        let matchers: &[Matcher] = match call.args.get(1).map(|id| &plan.node(*id).kind) {
            Some(Kind::InfoSelector(matchers)) => matchers,
            _ => &[],
        };
        let (names, data): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|m| m.name() == METRIC_NAME);
        let names = name_matchers(&names)?;
        // Info series themselves are left alone.
        let ignored: Vec<bool> = base
            .sets
            .iter()
            .map(|set| names.iter().all(|m| m.matches(self.store.metric_name(*set))))
            .collect();
        let info = self.info_series(&base, &ignored, &names, &data, at, offset, grid)?;
        self.join_info(&base, &ignored, &info, &data, grid)
    }

    /// The time and offset at which info series are looked at: those of the first selector in the
    /// argument.
    fn info_reference(&self, id: NodeId) -> (Option<Timestamp>, i64) {
        // Offsets of the subqueries around, innermost last.
        let mut stack: Vec<(NodeId, Vec<(i64, Option<Timestamp>)>)> = vec![(id, Vec::new())];
        while let Some((id, around)) = stack.pop() {
            match &self.plan.node(id).kind {
                Kind::Vector(s) | Kind::Matrix(s) => {
                    let selector = &self.plan.selectors[*s];
                    let (mut at, mut offset) = (selector.at, selector.offset);
                    for (outer, pinned) in around.iter().rev() {
                        if at.is_some() {
                            break;
                        }
                        offset = offset.saturating_add(*outer);
                        at = *pinned;
                    }
                    return (at, offset);
                }
                Kind::Subquery(s) => {
                    let mut around = around;
                    around.push((s.offset, s.at));
                    stack.push((s.expr, around));
                }
                Kind::StepInvariant(inner) | Kind::Negate(inner) | Kind::Plus(inner) => {
                    stack.push((*inner, around));
                }
                Kind::Binary(b) => stack.extend([(b.rhs, around.clone()), (b.lhs, around)]),
                Kind::Aggregate(a) => {
                    stack.extend(a.param.map(|p| (p, around.clone())));
                    stack.push((a.expr, around));
                }
                Kind::Call(c) => {
                    stack.extend(c.args.iter().rev().map(|a| (*a, around.clone())));
                }
                Kind::Number(_) | Kind::String(_) | Kind::InfoSelector(_) => {}
            }
        }
        (None, 0)
    }

    /// Selects the info series of the base series.
    #[expect(clippy::too_many_arguments, reason = "all of it decides about the selection")]
    fn info_series(
        &mut self,
        base: &Block,
        ignored: &[bool],
        names: &[Matcher],
        data: &[&Matcher],
        at: Option<Timestamp>,
        offset: i64,
        grid: Grid,
    ) -> Result<InfoSeries, EvalError> {
        let mut info =
            InfoSeries { block: Block::new(grid.n), signatures: Vec::new(), names: Vec::new() };
        let mut matchers: Vec<Matcher> = Vec::new();
        for label in IDENTIFYING {
            let Some(id) = self.store.interner.lookup(label) else { continue };
            let wanted = base.sets.iter().zip(ignored).filter(|(_, ignored)| !**ignored);
            let values: BTreeSet<&str> = wanted
                .map(|(set, _)| self.store.text(*set, id))
                .filter(|value| !value.is_empty())
                .collect();
            if values.is_empty() {
                continue;
            }
            let pattern = values.into_iter().map(quote_meta).collect::<Vec<_>>().join("|");
            let matcher = Matcher::new(MatchOp::Regex, label, &pattern);
            matchers.push(matcher.map_err(|e| execution(e.to_string()))?);
        }
        if matchers.is_empty() {
            return Ok(info);
        }
        matchers.extend(data.iter().map(|m| (*m).clone()));
        matchers.extend(names.iter().cloned());
        let (first, last) = at.map_or((grid.start, grid.end()), |at| (at, at));
        let start = first.saturating_sub(self.lookback).saturating_add(1).saturating_sub(offset);
        let hints = SelectHints {
            step: grid.step,
            function: "info".to_owned(),
            ..SelectHints::range(start, last.saturating_sub(offset))
        };
        let querier = std::sync::Arc::clone(&self.querier);
        let mut source = Source::select(
            &*querier,
            self.ctx,
            &matchers,
            &hints,
            &mut self.store.interner,
            &mut self.annotations,
        )?;
        let sets = source.sets(&mut self.store)?.to_vec();
        let job = InstantJob { grid, offset, at, lookback: self.lookback, pick: Pick::Millis };
        let target = Target::Keep { sets: &sets, drop_name: &|_| false };
        let scanned = self.scan(Input::Series(&source.series, None), Job::Instant(job), &target)?;
        let Output::Rows(block) = scanned.output else {
            return Err(execution("rows expected"));
        };
        let name = self.store.name_label();
        for &set in &block.sets {
            let signature = self.identity(set, self.store.value(set, name))?;
            info.signatures.push(signature);
            if let Some(name) = self.store.value(set, name)
                && !info.names.contains(&name)
            {
                info.names.push(name);
            }
        }
        info.block = block;
        Ok(info)
    }

    /// The identifying labels of a set, with a name.
    fn identity(&mut self, set: SetId, name: Option<u32>) -> Result<SetId, EvalError> {
        let mut labels = [0; 2];
        for (id, label) in labels.iter_mut().zip(IDENTIFYING) {
            *id = self.store.interner.intern(label)?;
        }
        let identity = self.store.filtered(set, |label| labels.contains(&label))?;
        match name {
            Some(name) => Ok(self.store.with_label(identity, self.store.name_label(), name)?),
            None => Ok(identity),
        }
    }

    fn join_info(
        &mut self,
        base: &Block,
        ignored: &[bool],
        info: &InfoSeries,
        data: &[&Matcher],
        grid: Grid,
    ) -> Result<Block, EvalError> {
        // Rows of info series by signature.
        let mut by_signature: BTreeMap<SetId, Vec<usize>> = BTreeMap::new();
        for (row, signature) in info.signatures.iter().enumerate() {
            by_signature.entry(*signature).or_default().push(row);
        }
        let wanted: BTreeSet<&str> = data.iter().map(|m| m.name()).collect();
        let all_match_empty = data.iter().all(|m| m.matches_empty());
        let mut result = Block::new(grid.n);
        let mut room = Room::new(&self.ctx.budget)?;
        let mut numbering = Numbering::default();
        for (row, &ignored) in ignored.iter().enumerate() {
            let mut candidates: Vec<&Vec<usize>> = Vec::new();
            if !ignored {
                for &name in &info.names {
                    let signature = self.identity(base.sets[row], Some(name))?;
                    candidates.extend(by_signature.get(&signature));
                }
            }
            let mut last: Option<(Vec<usize>, Option<SetId>)> = None;
            for step in bits::ones(base.present(row)) {
                let mut chosen = Vec::with_capacity(candidates.len());
                for rows in &candidates {
                    chosen.extend(self.newest(&info.block, rows, step)?);
                }
                let set = match &last {
                    Some((same, set)) if *same == chosen => *set,
                    _ => {
                        let set = if ignored {
                            Some(base.sets[row])
                        } else if chosen.is_empty() && !all_match_empty {
                            None
                        } else {
                            Some(self.enriched(base.sets[row], &info.block, &chosen, &wanted)?)
                        };
                        last = Some((chosen, set));
                        set
                    }
                };
                let Some(set) = set else { continue };
                let known = numbering.len();
                let target = numbering.number(set);
                if target == known {
                    room.row(&mut result)?;
                    result.push_row(set, base.drop_name[row]);
                }
                if result.row(target).has(step) {
                    return Err(same_labelset());
                }
                result.copy_sample(target, step, base.row(row));
            }
            self.ctx.check()?;
            self.account_labels()?;
        }
        room.give(&mut result);
        Ok(result)
    }

    /// The info series with the newest sample at a step.
    fn newest(
        &self,
        block: &Block,
        rows: &[usize],
        step: usize,
    ) -> Result<Option<usize>, EvalError> {
        let mut newest: Option<usize> = None;
        for &row in rows.iter().filter(|row| block.row(**row).has(step)) {
            let t = block.values(row)[step];
            match newest {
                Some(old) if block.values(old)[step] > t => {}
                Some(old) if block.values(old)[step] == t => {
                    return Err(execution(format!(
                        "found duplicate series for info metric: existing {} @ {t}, new {} @ {t}",
                        self.store.labels(block.sets[old]),
                        self.store.labels(block.sets[row]),
                    )));
                }
                _ => newest = Some(row),
            }
        }
        Ok(newest)
    }

    /// A base series' labels with those of its info series.
    fn enriched(
        &mut self,
        base: SetId,
        block: &Block,
        rows: &[usize],
        wanted: &BTreeSet<&str>,
    ) -> Result<SetId, EvalError> {
        let name = self.store.name_label();
        let mut added: Vec<Pair> = Vec::new();
        for row in rows {
            for &(label, value) in self.store.pairs(block.sets[*row]) {
                let text = self.store.interner.text(label);
                if label == name || !wanted.is_empty() && !wanted.contains(text) {
                    continue;
                }
                if added.iter().any(|p| p.0 == label && p.1 != value) {
                    return Err(execution(format!("conflicting label: {text}")));
                }
                if self.store.value(base, label).is_none() {
                    added.push((label, value));
                }
            }
        }
        let mut set = base;
        for (label, value) in added {
            set = self.store.with_label(set, label, value)?;
        }
        Ok(set)
    }
}

/// The conditions on the names of info series: `target_info` if there are none, and names ending in
/// `_info` if there are only negative ones.
fn name_matchers(given: &[&Matcher]) -> Result<Vec<Matcher>, EvalError> {
    if given.is_empty() {
        return Ok(vec![Matcher::equal(METRIC_NAME, "target_info")]);
    }
    let mut names: Vec<Matcher> = Vec::new();
    if given.iter().all(|m| m.op().is_negative()) {
        let any_info = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info");
        names.push(any_info.map_err(|e| execution(e.to_string()))?);
    }
    names.extend(given.iter().map(|m| (*m).clone()));
    Ok(names)
}

/// A text as a regular expression that matches it alone.
fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
